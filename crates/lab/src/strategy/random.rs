//! Equal chances.

use asupersync_trace::ProcessKey;

use super::Chooser;
use crate::seeds::mix;

pub(super) struct Random {
    seed: u64,
    rng: fastrand::Rng,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Chooser for Random {
    fn begin(&mut self, number: u64) -> bool {
        self.rng = fastrand::Rng::with_seed(mix(self.seed, number));
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        Some(match runnable.len() {
            1 => 0,
            count => self.rng.usize(..count),
        })
    }
}
