//! The field of 256 elements: exponents, logarithms and the tables that the kernels read.
//!
//! Every table is computed at compile time from the polynomial; none is copied.
//!
//! # Source
//! RFC 6330, Section 5.7: polynomial `x^8 + x^4 + x^3 + x^2 + 1`, generator `x`.

/// The field polynomial, without its leading term, as an octet.
pub(crate) const POLYNOMIAL: u8 = 0x1D;

const EXP: [u8; 510] = exponents();
const LOG: [u8; 256] = logarithms();

/// For each factor: its products with the 16 low nibbles, then with the 16 high nibbles.
pub(crate) static NIBBLES: [[u8; 32]; 256] = nibbles();

/// For each factor: the 8x8 bit matrix of the multiplication, as `GF2P8AFFINEQB` wants it.
///
/// That instruction's own multiplication is modulo 0x11B; its affine map takes any matrix.
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) static AFFINE: [u64; 256] = affine();

/// Multiplies two octets.
pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[LOG[a as usize] as usize + LOG[b as usize] as usize]
}

/// The inverse of a non-zero octet.
///
/// # Panics
/// If `a` is zero, which has none.
pub(crate) const fn inverse(a: u8) -> u8 {
    assert!(a != 0, "zero has no inverse");
    EXP[255 - LOG[a as usize] as usize]
}

/// The octet times the generator.
pub(crate) const fn double(a: u8) -> u8 {
    (a << 1) ^ (POLYNOMIAL * (a >> 7))
}

const fn exponents() -> [u8; 510] {
    let mut table = [0; 510];
    let mut value = 1;
    let mut i = 0;
    while i < 510 {
        table[i] = value;
        value = double(value);
        i += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[EXP[i] as usize] = i as u8;
        i += 1;
    }
    table
}

const fn nibbles() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut n = 0;
        while n < 16 {
            table[factor][n] = mul(factor as u8, n as u8);
            table[factor][16 + n] = mul(factor as u8, (n << 4) as u8);
            n += 1;
        }
        factor += 1;
    }
    table
}

#[cfg(any(target_arch = "x86_64", test))]
const fn affine() -> [u64; 256] {
    let mut table = [0; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut matrix = 0_u64;
        let mut output = 0;
        while output < 8 {
            let mut input = 0;
            while input < 8 {
                let product = mul(factor as u8, 1 << input);
                let bit = ((product >> output) & 1) as u64;
                // Output bit `i` is described by byte `7 - i` of the matrix.
                matrix |= bit << ((7 - output) * 8 + input);
                input += 1;
            }
            output += 1;
        }
        table[factor] = matrix;
        factor += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carry-less multiplication, reduced bit by bit: shares nothing with the tables.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut product = 0_u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..15).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11D << (bit - 8);
            }
        }
        product as u8
    }

    #[test]
    fn products_equal_the_polynomial_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn inverses_multiply_to_one() {
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1);
        }
    }

    #[test]
    fn nibble_and_affine_tables_equal_the_product() {
        for c in 0..=255_u8 {
            for x in 0..=255_u8 {
                let row = &NIBBLES[c as usize];
                let by_nibble = row[(x & 15) as usize] ^ row[16 + (x >> 4) as usize];
                assert_eq!(by_nibble, slow_mul(c, x));
                let matrix = AFFINE[c as usize].to_le_bytes();
                let by_matrix = (0..8).fold(0, |out, i| {
                    out | ((matrix[7 - i] & x).count_ones() as u8 & 1) << i
                });
                assert_eq!(by_matrix, slow_mul(c, x));
            }
        }
    }
}
