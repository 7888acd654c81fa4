//! Maps by process.

use std::hash::{BuildHasherDefault, Hasher};

use asupersync_trace::ProcessKey;

/// A map by process; a key is a hash already, so it is not hashed again.
#[expect(
    clippy::disallowed_types,
    reason = "the hasher is fixed, so two runs iterate in the same order"
)]
pub(crate) type KeyedMap<T> =
    std::collections::HashMap<ProcessKey, T, BuildHasherDefault<KeyHasher>>;

#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}
