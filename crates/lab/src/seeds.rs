//! Running a test under several seeds.

use std::ops::Range;

use asupersync_core::{IntoOutcome, Outcome};
use asupersync_kernel::Cx;

use crate::config::LabConfig;
use crate::lab::LabRuntime;

/// The variable that narrows a test to one seed.
pub(crate) const SEED_VARIABLE: &str = "ASUPERSYNC_SEED";

/// The variable that raises how many seeds a test runs under.
const COUNT_VARIABLE: &str = "ASUPERSYNC_SEEDS";

/// Which seeds a test runs under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seeds(Range<u64>);

impl Seeds {
    /// The seeds from 0 to `count`, or the one that `ASUPERSYNC_SEED` names.
    ///
    /// `ASUPERSYNC_SEEDS` raises the count, for a long run.
    /// # Panics
    /// If a variable is set to something that is not a number.
    #[must_use]
    pub fn first(count: u64) -> Self {
        match number(SEED_VARIABLE) {
            Some(seed) => Self(seed..seed + 1),
            None => Self(0..number(COUNT_VARIABLE).map_or(count, |raised| raised.max(count))),
        }
    }
}

impl IntoIterator for Seeds {
    type Item = u64;
    type IntoIter = Range<u64>;

    fn into_iter(self) -> Range<u64> {
        self.0
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} must be a number, not `{value}`")))
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
    for seed in seeds {
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
