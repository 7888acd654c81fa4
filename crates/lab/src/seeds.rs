//! Running a test under several seeds.

use std::ops::Range;

use asupersync_core::IntoOutcome;
use asupersync_kernel::Cx;

use crate::check::Check;

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

/// A number that depends on both in no simple way.
///
/// Source: the finalizer of SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, OOPSLA 2014).
pub(crate) const fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} must be a number, not `{value}`")))
}

/// Runs `test` once for each seed and fails on the first run that does not go well, as [`Check`] does.
///
/// # Panics
/// On that failure, with what led to it and how to replay it.
#[track_caller]
pub fn check_seeds<F, Fut>(seeds: Seeds, test: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome<Err: std::fmt::Debug>>,
{
    let here = std::panic::Location::caller();
    // The test harness names its threads after the tests.
    let thread = std::thread::current();
    let name = match thread.name() {
        None | Some("main") => format!("{}:{}", here.file(), here.line()),
        Some(test) => test.to_owned(),
    };
    Check::new(name).over(seeds).run(test);
}
