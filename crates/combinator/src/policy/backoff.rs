//! How long to wait before the next attempt.
//!
//! Pure: which retry it is and a random number in, a delay out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before the next attempt.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Backoff, Jitter};
/// use std::time::Duration;
/// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10))
///     .jitter(Jitter::Full);
/// let decorrelated = Backoff::decorrelated(Duration::from_millis(100), Duration::from_secs(10));
/// # let _ = (backoff, decorrelated);
/// ```
/// # Source
/// M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog (2015), for full and decorrelated jitter.
#[derive(Clone)]
pub struct Backoff {
    curve: Curve,
    jitter: Jitter,
}

/// How a delay is spread, so that those who failed together do not come back together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Evenly between nothing and the whole delay.
    Full,
    /// Evenly between half of the delay and the whole.
    Half,
}

#[derive(Clone)]
enum Curve {
    Constant(Duration),
    Linear {
        step: Duration,
        max: Duration,
    },
    Exponential {
        base: Duration,
        factor: u32,
        max: Duration,
    },
    Decorrelated {
        base: Duration,
        max: Duration,
    },
    Custom(Arc<dyn Fn(u32) -> Duration + Send + Sync>),
}

impl Backoff {
    const fn new(curve: Curve) -> Self {
        Self {
            curve,
            jitter: Jitter::None,
        }
    }

    /// No wait at all: other tasks get their turn, and then the next attempt starts.
    #[must_use]
    pub const fn none() -> Self {
        Self::constant(Duration::ZERO)
    }

    /// Always so long.
    #[must_use]
    pub const fn constant(delay: Duration) -> Self {
        Self::new(Curve::Constant(delay))
    }

    /// `step` before the second attempt, twice that before the third, and so on up to `max`.
    #[must_use]
    pub const fn linear(step: Duration, max: Duration) -> Self {
        Self::new(Curve::Linear { step, max })
    }

    /// `base` before the second attempt, and twice as long each time, up to `max`.
    #[must_use]
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self::new(Curve::Exponential {
            base,
            factor: 2,
            max,
        })
    }

    /// Each delay drawn evenly from `base` to three times the one before, up to `max`.
    #[must_use]
    pub const fn decorrelated(base: Duration, max: Duration) -> Self {
        Self::new(Curve::Decorrelated { base, max })
    }

    /// What `delay` says for the retry of this number, from 1.
    #[must_use]
    pub fn custom(delay: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        Self::new(Curve::Custom(Arc::new(delay)))
    }

    /// Spreads the delays; decorrelated ones are spread already, and stay as they are.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Grows by `factor` each time instead of twice, if it is exponential.
    #[must_use]
    pub const fn factor(mut self, factor: u32) -> Self {
        if let Curve::Exponential {
            factor: old_factor, ..
        } = &mut self.curve
        {
            *old_factor = factor;
        }
        self
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Backoff");
        match &self.curve {
            Curve::Constant(delay) => debug.field("constant", delay),
            Curve::Linear { step, max } => debug.field("step", step).field("max", max),
            Curve::Exponential { base, factor, max } => debug
                .field("base", base)
                .field("factor", factor)
                .field("max", max),
            Curve::Decorrelated { base, max } => {
                debug.field("decorrelated_base", base).field("max", max)
            }
            Curve::Custom(_) => debug.field("custom", &".."),
        };
        debug.field("jitter", &self.jitter).finish()
    }
}

/// The delays of one call.
#[derive(Debug, Default)]
pub(super) struct Delays {
    retries: u32,
    last: Option<Duration>,
}

impl Delays {
    /// The delay before the next retry; `random` is asked only if chance has a part in it.
    pub(super) fn next(&mut self, backoff: &Backoff, random: impl FnOnce() -> u64) -> Duration {
        self.retries = self.retries.saturating_add(1);
        let delay = match &backoff.curve {
            Curve::Constant(delay) => *delay,
            Curve::Linear { step, max } => step.saturating_mul(self.retries).min(*max),
            Curve::Exponential { base, factor, max } => {
                let grown = factor.saturating_pow(self.retries - 1);
                base.saturating_mul(grown).min(*max)
            }
            Curve::Decorrelated { base, max } => {
                let high = self.last.unwrap_or(*base).saturating_mul(3);
                let delay = between(*base, high, random()).min(*max);
                self.last = Some(delay);
                return delay;
            }
            Curve::Custom(custom) => custom(self.retries),
        };
        match backoff.jitter {
            Jitter::None => delay,
            Jitter::Full => between(Duration::ZERO, delay, random()),
            Jitter::Half => between(delay / 2, delay, random()),
        }
    }
}

/// A duration from `low` to `high`, by a random number; `low` if it is above `high`.
pub(super) fn between(low: Duration, high: Duration, random: u64) -> Duration {
    let span = high.saturating_sub(low).min(SPAN_MAX).as_nanos();
    // Below 2^64 * 2^62, since the span is bounded.
    let nanos = (u128::from(random) * (span + 1)) >> 64;
    low.saturating_add(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// About 146 years: no delay is spread wider.
const SPAN_MAX: Duration = Duration::from_nanos(1 << 62);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[track_caller]
    fn check(backoff: &Backoff, expected: &[u32]) {
        let mut delays = Delays::default();
        for expected in expected {
            let delay = delays.next(backoff, || panic!("chance has no part in it"));
            assert_eq!(delay, MS * *expected);
        }
    }

    #[test]
    fn the_curves_grow_as_stated_up_to_their_maximum() {
        check(&Backoff::none(), &[0, 0, 0]);
        check(&Backoff::constant(MS * 7), &[7, 7, 7]);
        check(&Backoff::linear(MS * 3, MS * 8), &[3, 6, 8, 8]);
        check(&Backoff::exponential(MS, MS * 9), &[1, 2, 4, 8, 9, 9]);
        check(
            &Backoff::exponential(MS, MS * 50).factor(3),
            &[1, 3, 9, 27, 50],
        );
        check(&Backoff::custom(|retry| MS * (10 - retry)), &[9, 8, 7]);
    }

    #[test]
    fn the_ends_of_chance_are_the_ends_of_the_delay() {
        assert_eq!(between(MS, MS * 3, 0), MS);
        assert_eq!(between(MS, MS * 3, u64::MAX), MS * 3);
        assert_eq!(between(MS * 3, MS, 77), MS * 3);
    }

    #[test]
    fn nothing_overflows_in_a_long_call() {
        let backoff = Backoff::exponential(Duration::MAX, Duration::MAX).jitter(Jitter::Full);
        let mut delays = Delays {
            retries: u32::MAX - 1,
            last: None,
        };
        assert!(delays.next(&backoff, || u64::MAX) > Duration::from_secs(1));
        let backoff = Backoff::decorrelated(Duration::MAX, Duration::MAX);
        assert_eq!(delays.next(&backoff, || u64::MAX), Duration::MAX);
    }

    proptest! {
        #[test]
        fn decorrelated_delays_stay_within_thrice_the_last(
            base in 1_u64..1_000,
            max in 1_000_u64..100_000,
            draws in prop::collection::vec(any::<u64>(), 1..40),
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let backoff = Backoff::decorrelated(base, max);
            let mut delays = Delays::default();
            let mut last = base;
            for draw in draws {
                let delay = delays.next(&backoff, || draw);
                prop_assert!(delay >= base);
                prop_assert!(delay <= max.min(last * 3));
                last = delay;
            }
        }

        #[test]
        fn jitter_stays_within_the_delay(draw in any::<u64>(), millis in 0_u32..100_000) {
            let delay = MS * millis;
            let of = |jitter| {
                Delays::default().next(&Backoff::constant(delay).jitter(jitter), || draw)
            };
            prop_assert!(of(Jitter::Full) <= delay);
            prop_assert!((delay / 2..=delay).contains(&of(Jitter::Half)));
        }
    }
}
