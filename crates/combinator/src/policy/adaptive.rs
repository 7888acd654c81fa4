//! A limit of concurrent calls that finds itself.
//!
//! The problem: how many calls a server takes at a time is not known, and changes.
//! The limit grows while calls are quick and falls when they fail or slow down.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;

use super::error::PolicyError;
use super::observe::rejected;
use super::{Call, Strategy};

/// How the limit is found.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum LimitAlgorithm {
    /// One more after each limit's worth of good calls, and a share less after a bad one, as TCP does.
    Aimd {
        /// What is left after a bad call, in percent, 1..=99.
        keep_percent: u8,
        /// A call that takes so long is a bad one; so is one that fails by overload.
        slow: Duration,
    },
    /// By how the latency lately compares with that of a longer time; above `tolerance` the limit falls.
    Gradient {
        /// How many times the usual latency is fine, 1.0 or more.
        tolerance: f64,
    },
}

/// How an [`AdaptiveLimit`] is made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdaptiveOptions {
    algorithm: LimitAlgorithm,
    initial: u32,
    min: u32,
    max: u32,
}

impl AdaptiveOptions {
    /// From 20, between 1 and 1000.
    #[must_use]
    pub const fn new(algorithm: LimitAlgorithm) -> Self {
        Self {
            algorithm,
            initial: 20,
            min: 1,
            max: 1000,
        }
    }

    /// The limit to begin with, and its bounds.
    #[must_use]
    pub const fn limits(mut self, initial: u32, min: u32, max: u32) -> Self {
        self.initial = initial;
        self.min = min;
        self.max = max;
        self
    }
}

/// Bounds how many calls run at a time, by what their latencies say.
///
/// A call that is cancelled or dropped says nothing; one that fails, times out or is kept away by an inner strategy is a sign of overload.
/// # Errors
/// [`PolicyError::LimitReached`].
/// # Examples
/// ```
/// use asupersync_combinator::{AdaptiveLimit, AdaptiveOptions, LimitAlgorithm, Policy};
/// use std::sync::Arc;
/// let algorithm = LimitAlgorithm::Gradient { tolerance: 1.5 };
/// let limit = Arc::new(AdaptiveLimit::new(AdaptiveOptions::new(algorithm)));
/// let policy = Policy::builder().with(Arc::clone(&limit)).build();
/// assert_eq!((limit.limit(), limit.in_flight()), (20, 0));
/// # let _ = policy;
/// ```
/// # Source
/// The law `I76`. Netflix, *Performance Under Load* (2018), for the gradient.
#[derive(Debug)]
pub struct AdaptiveLimit {
    state: Mutex<Limit>,
}

impl AdaptiveLimit {
    /// A limit that has seen no call.
    ///
    /// # Panics
    /// If the bounds are not `1 <= min <= initial <= max`, or the algorithm's numbers are not as they say.
    #[must_use]
    pub fn new(options: AdaptiveOptions) -> Self {
        Self {
            state: Mutex::new(Limit::new(options)),
        }
    }

    /// The limit now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.state().current()
    }

    /// How many calls are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state().in_flight
    }

    fn state(&self) -> MutexGuard<'_, Limit> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call says of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sample {
    Took(Duration),
    Overload,
    Nothing,
}

/// The limit as a state machine.
#[derive(Debug)]
struct Limit {
    options: AdaptiveOptions,
    limit: f64,
    in_flight: u32,
    /// The usual latency, in seconds.
    usual: Option<f64>,
}

impl Limit {
    fn new(options: AdaptiveOptions) -> Self {
        let AdaptiveOptions {
            initial, min, max, ..
        } = options;
        assert!(
            1 <= min && min <= initial && initial <= max,
            "a limit's bounds are 1 <= {min} <= {initial} <= {max}"
        );
        match options.algorithm {
            LimitAlgorithm::Aimd { keep_percent, .. } => assert!(
                (1..=99).contains(&keep_percent),
                "what is kept is 1..=99 percent"
            ),
            LimitAlgorithm::Gradient { tolerance } => {
                assert!(tolerance >= 1.0, "the usual latency is fine");
            }
        }
        Self {
            options,
            limit: f64::from(initial),
            in_flight: 0,
            usual: None,
        }
    }

    /// The limit as a count; it is within `u32`'s range by its bounds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is between the bounds, which are `u32`"
    )]
    fn current(&self) -> u32 {
        self.limit as u32
    }

    fn enter(&mut self) -> Result<(), u32> {
        let limit = self.current();
        if self.in_flight >= limit {
            return Err(limit);
        }
        self.in_flight += 1;
        Ok(())
    }

    fn leave(&mut self, sample: Sample) {
        // Whether the limit was made use of; one that nobody reaches says nothing of more.
        let is_used = self.in_flight.saturating_mul(2) >= self.current();
        self.in_flight -= 1;
        let limit = match self.options.algorithm {
            LimitAlgorithm::Aimd { keep_percent, slow } => match sample {
                Sample::Nothing => return,
                Sample::Took(took) if took < slow => {
                    if is_used {
                        self.limit + 1.0 / self.limit
                    } else {
                        return;
                    }
                }
                Sample::Took(_) | Sample::Overload => self.limit * f64::from(keep_percent) / 100.0,
            },
            LimitAlgorithm::Gradient { tolerance } => match sample {
                Sample::Nothing => return,
                Sample::Overload => self.limit * OVERLOAD_KEEPS,
                Sample::Took(took) => match self.gradient(took, tolerance, is_used) {
                    Some(limit) => limit,
                    None => return,
                },
            },
        };
        let (min, max) = (self.options.min, self.options.max);
        self.limit = limit.clamp(f64::from(min), f64::from(max));
    }

    fn gradient(&mut self, took: Duration, tolerance: f64, is_used: bool) -> Option<f64> {
        let took = took.as_secs_f64().max(SHORTEST);
        let usual = self.usual.get_or_insert(took);
        *usual += (took - *usual) * USUAL_WEIGHT;
        // After a time of overload the usual latency is too high; it comes down faster than it went up.
        if *usual > took * 2.0 {
            *usual *= 1.0 - USUAL_WEIGHT;
        }
        let gradient = (tolerance * *usual / took).clamp(0.5, 1.0);
        if gradient >= 1.0 && !is_used {
            return None;
        }
        let aim = self.limit * gradient + self.limit.sqrt();
        Some(self.limit + (aim - self.limit) * SMOOTHING)
    }
}

/// What a gradient's limit keeps after a sign of overload.
const OVERLOAD_KEEPS: f64 = 0.9;
/// How much one call changes what is usual: far less than the calls of one round together must.
const USUAL_WEIGHT: f64 = 1.0 / 600.0;
/// How far one call moves the limit.
const SMOOTHING: f64 = 0.2;
/// A call of no time, in virtual time, has a latency all the same.
const SHORTEST: f64 = 1e-9;

/// A call under way.
struct Entered<'a> {
    limit: &'a AdaptiveLimit,
    sample: Sample,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.limit.state().leave(self.sample);
    }
}

impl<C, T, E> Strategy<C, T, E> for AdaptiveLimit
where
    C: HasTime + 'static,
    T: Send,
    E: Send,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let entered = self.state().enter();
        if let Err(limit) = entered {
            let error = PolicyError::LimitReached { limit };
            return Outcome::Err(rejected(next.observer(), error));
        }
        let mut entered = Entered {
            limit: self,
            sample: Sample::Nothing,
        };
        let start = cx.now();
        let end = next.call(cx).await;
        entered.sample = match &end {
            Outcome::Ok(_) => Sample::Took(cx.now() - start),
            Outcome::Err(_) | Outcome::Panicked(_) => Sample::Overload,
            Outcome::Cancelled(_) => Sample::Nothing,
        };
        drop(entered);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    const AIMD: LimitAlgorithm = LimitAlgorithm::Aimd {
        keep_percent: 50,
        slow: Duration::from_millis(100),
    };
    const GRADIENT: LimitAlgorithm = LimitAlgorithm::Gradient { tolerance: 1.5 };

    fn limit(algorithm: LimitAlgorithm) -> Limit {
        Limit::new(AdaptiveOptions::new(algorithm).limits(8, 2, 64))
    }

    /// As many calls as are allowed, which all end so.
    fn round(limit: &mut Limit, sample: Sample) {
        let mut entered = 0;
        while limit.enter().is_ok() {
            entered += 1;
        }
        for _ in 0..entered {
            limit.leave(sample);
        }
    }

    #[test]
    fn aimd_adds_about_one_a_round_and_halves_on_overload() {
        let mut limit = limit(AIMD);
        for _ in 0..12 {
            round(&mut limit, Sample::Took(MS));
        }
        assert!((12..=16).contains(&limit.current()), "{limit:?}");
        let before = limit.current();
        assert!(limit.enter().is_ok());
        limit.leave(Sample::Overload);
        assert_eq!(limit.current(), before / 2);
        assert!(limit.enter().is_ok());
        limit.leave(Sample::Took(MS * 100));
        assert_eq!(limit.current(), before / 4, "a slow one is a bad one");
    }

    #[test]
    fn a_limit_that_nobody_reaches_does_not_grow() {
        for algorithm in [AIMD, GRADIENT] {
            let mut limit = limit(algorithm);
            for _ in 0..100 {
                assert!(limit.enter().is_ok());
                limit.leave(Sample::Took(MS));
            }
            assert_eq!(limit.current(), 8);
        }
    }

    #[test]
    fn the_gradient_grows_while_latency_is_usual_and_falls_when_it_rises() {
        let mut limit = limit(GRADIENT);
        for _ in 0..20 {
            round(&mut limit, Sample::Took(MS * 10));
        }
        let grown = limit.current();
        assert!(grown > 30, "{limit:?}");
        for _ in 0..3 {
            round(&mut limit, Sample::Took(MS * 60));
        }
        assert!(limit.current() < grown, "{limit:?}");
    }

    proptest! {
        #[test]
        fn the_limit_stays_in_its_bounds_and_places_are_conserved(
            is_aimd in any::<bool>(),
            steps in prop::collection::vec((any::<bool>(), 0_u8..4, 0_u32..500), 0..500),
        ) {
            let mut limit = limit(if is_aimd { AIMD } else { GRADIENT });
            let mut out = 0;
            for (enters, end, took) in steps {
                if enters {
                    let was_below = out < limit.current();
                    prop_assert_eq!(limit.enter().is_ok(), was_below);
                    out += u32::from(was_below);
                } else if out > 0 {
                    limit.leave(match end {
                        0 => Sample::Overload,
                        1 => Sample::Nothing,
                        _ => Sample::Took(MS * took),
                    });
                    out -= 1;
                }
                prop_assert_eq!(limit.in_flight, out);
                prop_assert!((2..=64).contains(&limit.current()));
            }
        }
    }
}
