//! SSSE3, AVX2, AVX-512BW and GFNI.

use std::arch::is_x86_feature_detected;

pub(super) fn has_ssse3() -> bool {
    is_x86_feature_detected!("ssse3")
}

pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

pub(super) fn has_gfni() -> bool {
    has_avx512() && is_x86_feature_detected!("gfni")
}

/// Two 16-octet look-up tables of a factor.
fn tables(octet: u8) -> (&'static [u8; 16], &'static [u8; 16]) {
    let row = &crate::octet::NIBBLES[octet as usize];
    let (low, high) = row.split_at(16);
    let low = low.first_chunk().expect("the row holds 32 octets");
    let high = high.first_chunk().expect("the row holds 32 octets");
    (low, high)
}

pub(super) mod ssse3 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_set1_epi8,
        _mm_setzero_si128, _mm_shuffle_epi8, _mm_srli_epi64, _mm_storeu_si128, _mm_xor_si128,
    };

    use super::tables;

    type V = __m128i;
    type Factor = (__m128i, __m128i);
    const BYTES: usize = 16;

    #[target_feature(enable = "ssse3")]
    fn load(from: &[u8; BYTES]) -> V {
        // SAFETY: the reference covers the 16 octets read; no alignment is needed.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "ssse3")]
    fn store(to: &mut [u8; BYTES], v: V) {
        // SAFETY: the reference covers the 16 octets written; no alignment is needed.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), v) }
    }

    #[target_feature(enable = "ssse3")]
    fn zero() -> V {
        _mm_setzero_si128()
    }

    #[target_feature(enable = "ssse3")]
    fn xor(a: V, b: V) -> V {
        _mm_xor_si128(a, b)
    }

    #[target_feature(enable = "ssse3")]
    fn factor(octet: u8) -> Factor {
        let (low, high) = tables(octet);
        (load(low), load(high))
    }

    #[target_feature(enable = "ssse3")]
    fn mul((low, high): Factor, v: V) -> V {
        let mask = _mm_set1_epi8(15);
        let product = _mm_shuffle_epi8(low, _mm_and_si128(v, mask));
        let upper = _mm_and_si128(_mm_srli_epi64::<4>(v), mask);
        _mm_xor_si128(product, _mm_shuffle_epi8(high, upper))
    }

    #[target_feature(enable = "ssse3")]
    fn double(v: V) -> V {
        let carry = _mm_cmpgt_epi8(_mm_setzero_si128(), v);
        _mm_xor_si128(
            _mm_add_epi8(v, v),
            _mm_and_si128(carry, _mm_set1_epi8(0x1D)),
        )
    }

    vector_loops!([target_feature(enable = "ssse3")], 10, 5);
}

pub(super) mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_add_epi8, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
    };

    use super::tables;

    type V = __m256i;
    type Factor = (__m256i, __m256i);
    const BYTES: usize = 32;

    #[target_feature(enable = "avx2")]
    fn load(from: &[u8; BYTES]) -> V {
        // SAFETY: the reference covers the 32 octets read; no alignment is needed.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(to: &mut [u8; BYTES], v: V) {
        // SAFETY: the reference covers the 32 octets written; no alignment is needed.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }

    #[target_feature(enable = "avx2")]
    fn zero() -> V {
        _mm256_setzero_si256()
    }

    #[target_feature(enable = "avx2")]
    fn xor(a: V, b: V) -> V {
        _mm256_xor_si256(a, b)
    }

    #[target_feature(enable = "avx2")]
    fn spread(table: &[u8; 16]) -> V {
        // SAFETY: the reference covers the 16 octets read; no alignment is needed.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx2")]
    fn factor(octet: u8) -> Factor {
        let (low, high) = tables(octet);
        (spread(low), spread(high))
    }

    #[target_feature(enable = "avx2")]
    fn mul((low, high): Factor, v: V) -> V {
        let mask = _mm256_set1_epi8(15);
        let product = _mm256_shuffle_epi8(low, _mm256_and_si256(v, mask));
        let upper = _mm256_and_si256(_mm256_srli_epi64::<4>(v), mask);
        _mm256_xor_si256(product, _mm256_shuffle_epi8(high, upper))
    }

    #[target_feature(enable = "avx2")]
    fn double(v: V) -> V {
        let carry = _mm256_cmpgt_epi8(_mm256_setzero_si256(), v);
        _mm256_xor_si256(
            _mm256_add_epi8(v, v),
            _mm256_and_si256(carry, _mm256_set1_epi8(0x1D)),
        )
    }

    vector_loops!([target_feature(enable = "avx2")], 10, 5);
}

pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm_loadu_si128, _mm512_add_epi8, _mm512_and_si512, _mm512_broadcast_i32x4,
        _mm512_loadu_si512, _mm512_maskz_set1_epi8, _mm512_movepi8_mask, _mm512_set1_epi8,
        _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi64, _mm512_storeu_si512,
        _mm512_xor_si512,
    };

    use super::tables;

    type V = __m512i;
    type Factor = (__m512i, __m512i);
    const BYTES: usize = 64;

    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(from: &[u8; BYTES]) -> V {
        // SAFETY: the reference covers the 64 octets read; no alignment is needed.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn store(to: &mut [u8; BYTES], v: V) {
        // SAFETY: the reference covers the 64 octets written; no alignment is needed.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn zero() -> V {
        _mm512_setzero_si512()
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn xor(a: V, b: V) -> V {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn spread(table: &[u8; 16]) -> V {
        // SAFETY: the reference covers the 16 octets read; no alignment is needed.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn factor(octet: u8) -> Factor {
        let (low, high) = tables(octet);
        (spread(low), spread(high))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn mul((low, high): Factor, v: V) -> V {
        let mask = _mm512_set1_epi8(15);
        let product = _mm512_shuffle_epi8(low, _mm512_and_si512(v, mask));
        let upper = _mm512_and_si512(_mm512_srli_epi64::<4>(v), mask);
        _mm512_xor_si512(product, _mm512_shuffle_epi8(high, upper))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn double(v: V) -> V {
        let reduction = _mm512_maskz_set1_epi8(_mm512_movepi8_mask(v), 0x1D);
        _mm512_xor_si512(_mm512_add_epi8(v, v), reduction)
    }

    vector_loops!([target_feature(enable = "avx512f,avx512bw")], 20, 10);
}

pub(super) mod gfni {
    use std::arch::x86_64::{
        __m512i, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64,
        _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
    };

    use crate::octet::AFFINE;

    type V = __m512i;
    type Factor = __m512i;
    const BYTES: usize = 64;

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn load(from: &[u8; BYTES]) -> V {
        // SAFETY: the reference covers the 64 octets read; no alignment is needed.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn store(to: &mut [u8; BYTES], v: V) {
        // SAFETY: the reference covers the 64 octets written; no alignment is needed.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn zero() -> V {
        _mm512_setzero_si512()
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn xor(a: V, b: V) -> V {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn factor(octet: u8) -> Factor {
        _mm512_set1_epi64(AFFINE[octet as usize].cast_signed())
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn mul(factor: Factor, v: V) -> V {
        _mm512_gf2p8affine_epi64_epi8::<0>(v, factor)
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    fn double(v: V) -> V {
        _mm512_gf2p8affine_epi64_epi8::<0>(v, factor(2))
    }

    vector_loops!([target_feature(enable = "avx512f,avx512bw,gfni")], 20, 10);
}
