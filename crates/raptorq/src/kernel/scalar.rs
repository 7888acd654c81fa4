//! Eight octets in an integer register; the measure for every other backend.

use crate::octet::NIBBLES;

type V = u64;
type Factor = &'static [u8; 32];
const BYTES: usize = 8;

fn load(from: &[u8; BYTES]) -> V {
    u64::from_le_bytes(*from)
}

fn store(to: &mut [u8; BYTES], v: V) {
    *to = v.to_le_bytes();
}

fn zero() -> V {
    0
}

fn xor(a: V, b: V) -> V {
    a ^ b
}

fn factor(octet: u8) -> Factor {
    &NIBBLES[octet as usize]
}

fn mul(factor: Factor, v: V) -> V {
    let product = v
        .to_le_bytes()
        .map(|x| factor[(x & 15) as usize] ^ factor[16 + (x >> 4) as usize]);
    u64::from_le_bytes(product)
}

fn double(v: V) -> V {
    double_word(v)
}

vector_loops!([], 10, 5);
