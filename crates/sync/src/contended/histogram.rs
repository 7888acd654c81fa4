//! Counts of durations in steps that grow with the duration.
//!
//! # Shape
//! Each power of two of nanoseconds is cut into four steps, so a step is at most a quarter of its durations wide.
//! Everything fits, from zero to the longest that a `u64` of nanoseconds can say: 252 counters.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Parts of each power of two, as a power of two.
const PART_BITS: u32 = 2;
const PARTS: u64 = 1 << PART_BITS;
/// The first `PARTS` values have a step each; each of the remaining powers of two has `PARTS`.
const STEPS: usize = ((64 - PART_BITS + 1) << PART_BITS) as usize;

/// Which step a number of nanoseconds falls into.
const fn step_of(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let power = 63 - nanos.leading_zeros();
    let part = (nanos >> (power - PART_BITS)) & (PARTS - 1);
    (((power - PART_BITS + 1) << PART_BITS) as u64 + part) as usize
}

/// The largest number of nanoseconds that falls into a step.
const fn end_of(step: usize) -> u64 {
    let step = step as u64;
    if step < PARTS {
        return step;
    }
    let (group, part) = (step >> PART_BITS, step & (PARTS - 1));
    let width = 1_u64 << (group - 1);
    // The last step ends at the largest number; the sum of what is below it does not overflow.
    ((PARTS + part) << (group - 1)) + (width - 1)
}

/// A histogram that is written from everywhere.
pub(super) struct Shared {
    steps: [AtomicU64; STEPS],
    nanos: AtomicU64,
    max: AtomicU64,
}

impl Shared {
    pub(super) const fn new() -> Self {
        Self {
            steps: [const { AtomicU64::new(0) }; STEPS],
            nanos: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.steps[step_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.max.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Histogram {
        Histogram {
            steps: self
                .steps
                .iter()
                .map(|step| step.load(Ordering::Relaxed))
                .collect(),
            nanos: self.nanos.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
        }
    }
}

/// How many durations were how long, at one moment.
///
/// # Shape and units
/// Nanoseconds, exact below four, and to within a quarter above; total and longest are exact, the total wraps after 584 years.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    steps: Box<[u64]>,
    nanos: u64,
    max: u64,
}

impl Histogram {
    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// The sum of all durations.
    #[must_use]
    pub const fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The longest duration.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The mean duration; zero if there is none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.nanos
            .checked_div(self.count())
            .map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// A duration that so many percent of all did not exceed; zero if there is none.
    ///
    /// It is never less than the true one, nor more than a quarter above it.
    /// # Shape and units
    /// `percent` from 0 to 100; what is outside counts as the nearer end.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        let count = self.count();
        // Divided last, so that whole percentages of whole counts stay exact.
        let rank = (count as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil() as u64;
        // The first duration counts for every percentage below its own.
        let rank = rank.clamp(1, count.max(1));
        let mut seen = 0;
        for (step, number) in self.steps.iter().enumerate() {
            seen += number;
            if seen >= rank {
                return Duration::from_nanos(end_of(step).min(self.max));
            }
        }
        Duration::ZERO
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_follow_each_other_without_gap_up_to_the_largest_number() {
        let mut next = 0_u64;
        for step in 0..STEPS {
            assert_eq!(step_of(next), step, "a step begins where the last ended");
            assert_eq!(step_of(end_of(step)), step);
            next = end_of(step).wrapping_add(1);
        }
        assert_eq!(next, 0, "the last step ends at the largest number");
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_true_one_or_up_to_a_quarter_more(
            mut nanos in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 64)), 1..200),
            percent in 0..=100_u32,
        ) {
            let shared = Shared::new();
            for nanos in &nanos {
                shared.record(Duration::from_nanos(*nanos));
            }
            let histogram = shared.snapshot();
            nanos.sort_unstable();
            let rank = (nanos.len() * percent as usize).div_ceil(100).max(1);
            let truth = u128::from(nanos[rank - 1]);
            let said = histogram.percentile(f64::from(percent)).as_nanos();
            prop_assert!(said >= truth);
            prop_assert!(said <= truth + truth / 4, "{said} for {truth}");
            prop_assert_eq!(histogram.count(), nanos.len() as u64);
            prop_assert_eq!(histogram.max().as_nanos(), u128::from(nanos[nanos.len() - 1]));
        }
    }

    #[test]
    fn an_empty_histogram_has_no_durations() {
        let histogram = Shared::new().snapshot();
        assert_eq!(histogram.percentile(99.0), Duration::ZERO);
        assert_eq!(histogram.mean(), Duration::ZERO);
    }
}
