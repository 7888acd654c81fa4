//! Maps by process and by task.

use std::hash::{BuildHasherDefault, Hasher};

use asupersync_core::TaskId;
use asupersync_trace::ProcessKey;

/// A map by process.
#[expect(
    clippy::disallowed_types,
    reason = "the hasher is fixed, so two runs iterate in the same order"
)]
pub(crate) type KeyedMap<T> =
    std::collections::HashMap<ProcessKey, T, BuildHasherDefault<KeyHasher>>;

/// A map by task.
#[expect(
    clippy::disallowed_types,
    reason = "the hasher is fixed, so two runs iterate in the same order"
)]
pub(crate) type TaskMap<T> = std::collections::HashMap<TaskId, T, BuildHasherDefault<KeyHasher>>;

/// Cheap, since nobody chooses these keys to collide.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(GOLDEN);
    }
}

/// The golden ratio as a fraction of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
