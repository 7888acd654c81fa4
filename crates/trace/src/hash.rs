//! Hashes that are the same in every run, on every machine, and cheap.

use std::hash::{BuildHasherDefault, Hasher};

/// Spreads every bit of `value` over the whole word.
///
/// # Source
/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014, figure 16).
pub(crate) const fn mix(value: u64) -> u64 {
    let first = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let second = (first ^ (first >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    second ^ (second >> 31)
}

/// The hash of a pair, whose order counts.
pub(crate) const fn pair(first: u64, second: u64) -> u64 {
    mix(mix(first.wrapping_add(GOLDEN)).wrapping_add(second))
}

/// The hash of a text.
pub(crate) fn text(text: &str) -> u64 {
    let chunks = text.as_bytes().chunks(size_of::<u64>());
    chunks.fold(text.len() as u64, |hash, chunk| {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        pair(hash, u64::from_le_bytes(word))
    })
}

/// A map with fixed hashes; its order of iteration means nothing and must not be relied on.
#[expect(
    clippy::disallowed_types,
    reason = "its hashes have no random seed, and are cheaper than those of `DetHashMap`"
)]
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Hashes keys that are a few integers.
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(GOLDEN);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.cast_unsigned() as u64);
    }
}

/// The golden ratio as a fraction of 2^64: odd, and without pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_only_in_zeros_at_the_end_have_different_hashes() {
        assert_ne!(text("a"), text("a\0"));
        assert_ne!(text(""), text("\0\0\0\0\0\0\0\0"));
        assert_ne!(text("mutex.lock"), text("mutex.wait"));
    }

    #[test]
    fn the_order_of_a_pair_counts() {
        assert_ne!(pair(1, 2), pair(2, 1));
        assert_ne!(pair(0, 0), 0);
    }
}
