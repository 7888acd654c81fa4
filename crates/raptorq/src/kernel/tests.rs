use super::*;
use crate::octet;

fn stream(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

fn supported() -> Vec<Kernel> {
    Backend::ALL.into_iter().filter_map(Kernel::of).collect()
}

#[test]
fn every_product_of_every_backend_equals_the_field() {
    let values: Vec<u8> = (0..=255).collect();
    for kernel in supported() {
        for factor in 0..=255 {
            let mut out = vec![0; 256];
            let strip = Strip {
                stride: 256,
                offset: 0,
            };
            kernel.combine(&mut out, &values, &[0], &[factor], strip);
            let expected: Vec<u8> = values.iter().map(|&x| octet::mul(factor, x)).collect();
            assert_eq!(out, expected, "{kernel:?} factor {factor}");
        }
    }
}

#[test]
fn sums_equal_octet_by_octet_sums_at_every_alignment_and_length() {
    let base = stream(1, 9 * 3000);
    for kernel in supported() {
        for (case, len) in (0..200)
            .chain([255, 256, 257, 511, 640, 1279, 1280, 1281, 2600])
            .enumerate()
        {
            let strip = Strip {
                stride: 2999 - case % 7,
                offset: case % 67,
            };
            let slots: Vec<u16> = (0..(case % 8) as u16).collect();
            let seed = if case % 3 == 0 {
                Vec::new()
            } else {
                stream(7, len)
            };
            let expected: Vec<u8> = (0..len)
                .map(|i| {
                    slots
                        .iter()
                        .fold(seed.get(i).copied().unwrap_or(0), |sum, &slot| {
                            sum ^ base[slot as usize * strip.stride + strip.offset + i]
                        })
                })
                .collect();
            let skew = case % 64;
            let mut out = vec![0xAA; skew + len + 64];
            kernel.gather(&mut out[skew..skew + len], &seed, &base, &slots, strip);
            assert_eq!(&out[skew..skew + len], expected, "{kernel:?} length {len}");
            assert!(
                out[..skew]
                    .iter()
                    .chain(&out[skew + len..])
                    .all(|&x| x == 0xAA)
            );

            let mut arena = base.clone();
            let start = 8 * strip.stride + skew;
            kernel.gather_within(&mut arena, (start, len), &seed, &slots, strip);
            assert_eq!(
                &arena[start..start + len],
                expected,
                "{kernel:?} within {len}"
            );
            assert_eq!(arena[..start], base[..start]);
            assert_eq!(arena[start + len..], base[start + len..]);
        }
    }
}

#[test]
fn a_sum_may_include_its_own_output() {
    let base = stream(3, 4 * 700);
    for kernel in supported() {
        let mut arena = base.clone();
        let strip = Strip {
            stride: 700,
            offset: 0,
        };
        kernel.gather_within(&mut arena, (700, 700), &[], &[1, 3], strip);
        let expected: Vec<u8> = (0..700).map(|i| base[700 + i] ^ base[2100 + i]).collect();
        assert_eq!(arena[700..1400], expected);
    }
}

#[test]
fn combinations_equal_octet_by_octet_combinations() {
    let base = stream(4, 6 * 1500);
    for kernel in supported() {
        for len in (0..140).chain([511, 512, 513, 1280]) {
            let strip = Strip {
                stride: 1490,
                offset: len % 11,
            };
            let factors = [0, 1, 2, 0x8E, 255];
            let mut out = stream(9, len);
            let before = out.clone();
            kernel.combine(&mut out, &base, &[4, 3, 2, 1, 0], &factors, strip);
            for i in 0..len {
                let expected = (0..5).fold(before[i], |sum, t| {
                    sum ^ octet::mul(factors[t], base[(4 - t) * 1490 + strip.offset + i])
                });
                assert_eq!(out[i], expected, "{kernel:?} length {len} octet {i}");
            }
        }
    }
}

/// `alpha` to a power, by repeated multiplication.
fn power(exponent: usize) -> u8 {
    (0..exponent).fold(1, |power, _| octet::mul(power, 2))
}

/// Row `h` of MT times GAMMA, from their definitions.
fn hdpc_row(h: usize, rows: &[u8]) -> Vec<u8> {
    let mt = |m: usize, pair: u8| {
        if m + 1 == rows.len() {
            power(h)
        } else {
            u8::from(usize::from(pair >> 4) == h) ^ u8::from(usize::from(pair & 15) == h)
        }
    };
    (0..rows.len())
        .map(|j| {
            let below = rows.iter().enumerate().skip(j);
            below.fold(0, |sum, (m, &pair)| {
                sum ^ octet::mul(mt(m, pair), power(m - j))
            })
        })
        .collect()
}

#[test]
fn folds_equal_the_matrix_product() {
    let (columns, heights) = (23, 10);
    let base = stream(5, columns * 1300);
    let rows: Vec<u8> = (0..columns as u8)
        .map(|j| (j % 10) << 4 | ((j * 7 + 3) % 10))
        .collect();
    let matrix: Vec<Vec<u8>> = (0..heights).map(|h| hdpc_row(h, &rows)).collect();
    for kernel in supported() {
        for len in (1..80).chain([255, 256, 290, 640, 1280]) {
            let strip = Strip {
                stride: 1300,
                offset: len % 10,
            };
            let mut sums = vec![0; heights * len];
            kernel.fold(&mut sums, len, &base, &rows, strip);
            for (h, sum) in sums.chunks(len).enumerate() {
                for (i, &octet) in sum.iter().enumerate() {
                    let symbols = base.iter().skip(strip.offset + i).step_by(strip.stride);
                    let terms = matrix[h].iter().zip(symbols);
                    let expected = terms.fold(0, |sum, (&w, &x)| sum ^ octet::mul(w, x));
                    assert_eq!(octet, expected, "{kernel:?} length {len}");
                }
            }
        }
    }
}

#[test]
fn a_second_choice_is_refused() {
    let chosen = Backend::chosen();
    assert_eq!(chosen.select(), Ok(()));
    let other = if chosen == Backend::Scalar {
        Backend::Neon
    } else {
        Backend::Scalar
    };
    assert!(other.select().is_err());
}
