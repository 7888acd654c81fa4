//! How often something may happen: token bucket and GCRA, exact, with time in.
//!
//! Pure: the time and a cost in, a decision or the time at which to ask again out.
//! Both count in nanoseconds times the rate's count, so that nothing is ever rounded in anybody's favour: a rate of 7 in 3 seconds is just that, for ever.
//!
//! # Invariants
//! - In any span of time `d` at most `burst + d * count / per` is let through.
//! - Both let the same through at the same times; a test says so.

use std::time::Duration;

use asupersync_core::Time;

/// So many in so long.
///
/// # Examples
/// ```
/// use asupersync_combinator::Rate;
/// use std::time::Duration;
/// let rate = Rate::new(100, Duration::from_secs(1)).burst(20);
/// # let _ = rate;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    count: u32,
    per_ns: u64,
    burst: u32,
}

impl Rate {
    /// `count` in each `per`, of which all may come at once.
    ///
    /// # Panics
    /// If nothing may ever happen, or the time is none or longer than 584 years.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Self {
        assert!(count > 0, "a rate lets something through");
        let per_ns = u64::try_from(per.as_nanos()).expect("a rate's time is below 584 years");
        assert!(per_ns > 0, "a rate has a time");
        Self {
            count,
            per_ns,
            burst: count,
        }
    }

    /// How many may come at once, after a rest; 1 spaces them evenly.
    ///
    /// # Panics
    /// If none may.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        assert!(burst > 0, "nothing could ever come");
        self.burst = burst;
        self
    }

    /// The most that can be asked for at once.
    pub(super) const fn most(&self) -> u32 {
        self.burst
    }

    /// A cost, in nanoseconds times count.
    fn units(&self, cost: u64) -> u128 {
        u128::from(cost) * u128::from(self.per_ns)
    }

    /// A moment, in nanoseconds times count.
    fn scaled(&self, now: Time) -> u128 {
        u128::from(now.as_nanos()) * u128::from(self.count)
    }

    /// The first whole nanosecond at or after a scaled moment.
    fn moment(&self, scaled: u128) -> Time {
        let nanos = scaled.div_ceil(u128::from(self.count));
        u64::try_from(nanos).map_or(Time::MAX, Time::from_nanos)
    }
}

/// How a rate limiter counts; both let the same through.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RateAlgorithm {
    /// One number, the theoretical arrival time of the next (ITU-T I.371, the virtual scheduling algorithm).
    #[default]
    Gcra,
    /// A level that fills with time, and the time at which it was computed.
    TokenBucket,
}

/// What a limiter knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meter {
    Gcra {
        rate: Rate,
        /// When the next would arrive if all came evenly, scaled.
        arrival: u128,
    },
    Bucket {
        rate: Rate,
        /// In units of a cost.
        level: u128,
        /// Scaled.
        seen: u128,
    },
}

impl Meter {
    pub(super) fn new(rate: Rate, algorithm: RateAlgorithm) -> Self {
        match algorithm {
            RateAlgorithm::Gcra => Self::Gcra { rate, arrival: 0 },
            RateAlgorithm::TokenBucket => Self::Bucket {
                rate,
                level: rate.units(rate.burst.into()),
                seen: 0,
            },
        }
    }

    /// Takes `cost`, if it may be taken now.
    pub(super) fn take(&mut self, now: Time, cost: u32) -> bool {
        let is_free = self.free_at(now, cost.into()) <= now;
        if is_free {
            match self {
                Self::Gcra { rate, arrival } => {
                    *arrival = (*arrival).max(rate.scaled(now)) + rate.units(cost.into());
                }
                Self::Bucket { rate, level, seen } => {
                    (*level, *seen) = filled(rate, *level, *seen, now);
                    *level -= rate.units(cost.into());
                }
            }
        }
        is_free
    }

    /// When `cost` may be taken, if nobody takes anything before.
    ///
    /// A cost above the burst is reckoned as what several calls take one after the other.
    pub(super) fn free_at(&self, now: Time, cost: u64) -> Time {
        match self {
            Self::Gcra { rate, arrival } => {
                let base = (*arrival).max(rate.scaled(now));
                let due = base + rate.units(cost);
                let early = due.saturating_sub(rate.units(rate.burst.into()));
                rate.moment(early).max(now)
            }
            Self::Bucket { rate, level, seen } => {
                let (level, seen) = filled(rate, *level, *seen, now);
                let missing = rate.units(cost).saturating_sub(level);
                rate.moment(seen + missing).max(now)
            }
        }
    }
}

/// A bucket's level and time, as of now.
fn filled(rate: &Rate, level: u128, seen: u128, now: Time) -> (u128, u128) {
    // A clock that was read before another is no step back.
    let now = rate.scaled(now).max(seen);
    let level = (level + (now - seen)).min(rate.units(rate.burst.into()));
    (level, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALGORITHMS: [RateAlgorithm; 2] = [RateAlgorithm::Gcra, RateAlgorithm::TokenBucket];

    #[test]
    fn a_burst_and_then_the_rate_to_the_nanosecond() {
        for algorithm in ALGORITHMS {
            let rate = Rate::new(3, Duration::from_nanos(10)).burst(2);
            let mut meter = Meter::new(rate, algorithm);
            let mut taken = Vec::new();
            for now in 0..40 {
                while meter.take(Time::from_nanos(now), 1) {
                    taken.push(now);
                }
            }
            // The n-th after the burst comes at the first whole nanosecond after n * 10 / 3.
            let expected: Vec<u64> = (0_u64..12).map(|n| (n * 10).div_ceil(3)).collect();
            assert_eq!(taken, [&[0], &expected[..]].concat(), "{algorithm:?}");
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for algorithm in ALGORITHMS {
            let rate = Rate::new(u32::MAX, Duration::from_nanos(u64::MAX));
            let mut meter = Meter::new(rate, algorithm);
            assert!(meter.take(Time::MAX, u32::MAX));
            let free = meter.free_at(Time::MAX, u64::from(u32::MAX) * 9);
            assert_eq!(free, Time::MAX);
        }
    }

    /// A rate, and calls: how long after the one before, and for how much.
    fn calls() -> impl Strategy<Value = (Rate, Vec<(u64, u32)>)> {
        let rate = (1_u32..9, 1_u64..50, 1_u32..6)
            .prop_map(|(n, per, burst)| Rate::new(n, Duration::from_nanos(per)).burst(burst));
        (rate, prop::collection::vec((0_u64..20, 1_u32..4), 0..80))
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_burst_and_rate((rate, calls) in calls()) {
            for algorithm in ALGORITHMS {
                let mut meter = Meter::new(rate, algorithm);
                let (mut now, mut taken) = (0, Vec::<(u64, u32)>::new());
                for (step, cost) in &calls {
                    now += step;
                    if meter.take(Time::from_nanos(now), *cost) {
                        taken.push((now, *cost));
                    }
                }
                for (first, (start, _)) in taken.iter().enumerate() {
                    let mut sum = 0;
                    for (end, cost) in &taken[first..] {
                        sum += u64::from(*cost);
                        let allowed = u64::from(rate.burst) * rate.per_ns
                            + (end - start) * u64::from(rate.count);
                        prop_assert!(sum * rate.per_ns <= allowed);
                    }
                }
            }
        }

        #[test]
        fn both_algorithms_decide_alike((rate, calls) in calls()) {
            let [mut one, mut other] = ALGORITHMS.map(|algorithm| Meter::new(rate, algorithm));
            let mut now = 0;
            for (step, cost) in calls {
                now += step;
                let at = Time::from_nanos(now);
                prop_assert_eq!(one.free_at(at, cost.into()), other.free_at(at, cost.into()));
                prop_assert_eq!(one.take(at, cost), other.take(at, cost));
            }
        }

        #[test]
        fn who_waits_as_long_as_told_gets_through_and_no_earlier((rate, calls) in calls()) {
            for algorithm in ALGORITHMS {
                let mut meter = Meter::new(rate, algorithm);
                let mut now = Time::ZERO;
                for (step, cost) in &calls {
                    now += Duration::from_nanos(*step);
                    let cost = (*cost).min(rate.burst);
                    let free = meter.free_at(now, cost.into());
                    if free > now {
                        let early = Time::from_nanos(free.as_nanos() - 1);
                        prop_assert!(!meter.clone().take(early, cost));
                    }
                    now = free;
                    prop_assert!(meter.take(now, cost));
                }
            }
        }
    }
}
