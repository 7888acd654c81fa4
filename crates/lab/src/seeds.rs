//! Running a test under several seeds.

use std::ops::Range;

use asupersync_core::{IntoOutcome, Outcome};
use asupersync_kernel::Cx;

use crate::config::LabConfig;
use crate::lab::LabRuntime;

/// The variable that narrows a test to one seed.
const SEED_VARIABLE: &str = "ASUPERSYNC_SEED";

/// Which seeds a test runs under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seeds(Range<u64>);

impl Seeds {
    /// The seeds from 0 to `count`, or the one that `ASUPERSYNC_SEED` names.
    ///
    /// # Panics
    /// If the variable is set to something that is not a number.
    #[must_use]
    pub fn first(count: u64) -> Self {
        match std::env::var(SEED_VARIABLE) {
            Ok(seed) => {
                let seed: u64 = seed.parse().unwrap_or_else(|_| {
                    panic!("{SEED_VARIABLE} must be a number, not `{seed}`");
                });
                Self(seed..seed + 1)
            }
            Err(_) => Self(0..count),
        }
    }
}

/// Runs `test` once for each seed and fails on the first that is not clean, or whose outcome is not a value.
///
/// # Panics
/// On that failure, with the seed and how to replay it.
#[track_caller]
pub fn check_seeds<F, Fut>(seeds: Seeds, test: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome<Ok: std::fmt::Debug, Err: std::fmt::Debug>>,
{
    for seed in seeds.0 {
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(&test);
        if let Outcome::Panicked(payload) = &report.outcome {
            panic!("{payload}\n  with seed {seed}; replay: {SEED_VARIABLE}={seed} cargo test");
        }
        report.assert_clean();
        assert!(
            report.outcome.is_ok(),
            "the test ended with {:?}\n  replay: {SEED_VARIABLE}={seed} cargo test",
            report.outcome
        );
    }
}
