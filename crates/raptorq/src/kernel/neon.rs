//! NEON, which every AArch64 processor has.

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vcltzq_s8, vdupq_n_u8, veorq_u8, vld1q_u8, vqtbl1q_u8,
    vreinterpretq_s8_u8, vshlq_n_u8, vshrq_n_u8, vst1q_u8,
};

use crate::octet::NIBBLES;

type V = uint8x16_t;
type Factor = (uint8x16_t, uint8x16_t);
const BYTES: usize = 16;

#[target_feature(enable = "neon")]
fn load(from: &[u8; BYTES]) -> V {
    // SAFETY: the reference covers the 16 octets read.
    unsafe { vld1q_u8(from.as_ptr()) }
}

#[target_feature(enable = "neon")]
fn store(to: &mut [u8; BYTES], v: V) {
    // SAFETY: the reference covers the 16 octets written.
    unsafe { vst1q_u8(to.as_mut_ptr(), v) }
}

#[target_feature(enable = "neon")]
fn zero() -> V {
    vdupq_n_u8(0)
}

#[target_feature(enable = "neon")]
fn xor(a: V, b: V) -> V {
    veorq_u8(a, b)
}

#[target_feature(enable = "neon")]
fn factor(octet: u8) -> Factor {
    let (low, high) = NIBBLES[octet as usize].split_at(BYTES);
    let low = low.first_chunk().expect("the row holds 32 octets");
    let high = high.first_chunk().expect("the row holds 32 octets");
    (load(low), load(high))
}

#[target_feature(enable = "neon")]
fn mul((low, high): Factor, v: V) -> V {
    let product = vqtbl1q_u8(low, vandq_u8(v, vdupq_n_u8(15)));
    veorq_u8(product, vqtbl1q_u8(high, vshrq_n_u8::<4>(v)))
}

#[target_feature(enable = "neon")]
fn double(v: V) -> V {
    let carry = vcltzq_s8(vreinterpretq_s8_u8(v));
    veorq_u8(vshlq_n_u8::<1>(v), vandq_u8(carry, vdupq_n_u8(0x1D)))
}

vector_loops!([target_feature(enable = "neon")], 10, 5);
