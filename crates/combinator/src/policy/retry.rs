//! Further attempts after an error.

use std::sync::Arc;
use std::time::Duration;

use asupersync_core::{Outcome, Time};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::{HasEntropy, HasSpawn, HasTime};

use super::backoff::{Backoff, Delays};
use super::error::{PolicyError, RetryStop};
use super::observe::PolicyEvent;
use super::retry_budget::RetryBudget;
use super::timed::within;
use super::{Call, Strategy};

/// What to do after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryDecision {
    /// Try again, after the backoff's delay.
    Retry,
    /// Try again, after so long or the backoff's delay, whichever is longer.
    RetryAfter(Duration),
    /// Do not try again: the error is the call's.
    GiveUp,
}

/// Decides which errors are retried: a closure `|error: &PolicyError<E>| ..`, or [`Transient`].
pub trait RetryRule<E>: Send + Sync {
    /// Decides.
    fn decide(&self, error: &PolicyError<E>) -> RetryDecision;
}

impl<E, F> RetryRule<E> for F
where
    F: Fn(&PolicyError<E>) -> RetryDecision + Send + Sync,
{
    fn decide(&self, error: &PolicyError<E>) -> RetryDecision {
        self(error)
    }
}

/// Retries what may be different next time: every error of the function, timeouts and rejections.
///
/// A rejection that names a time is retried no sooner.
/// An open circuit is not retried, since it is open to keep calls away; nor is what was retried already.
#[derive(Clone, Copy, Default, Debug)]
pub struct Transient;

impl<E> RetryRule<E> for Transient {
    fn decide(&self, error: &PolicyError<E>) -> RetryDecision {
        match error {
            PolicyError::RateLimited { retry_after } => RetryDecision::RetryAfter(*retry_after),
            PolicyError::CircuitOpen { .. } | PolicyError::RetriesExhausted { .. } => {
                RetryDecision::GiveUp
            }
            PolicyError::Failed(_)
            | PolicyError::TimedOut { .. }
            | PolicyError::AllFailed { .. }
            | PolicyError::BulkheadFull { .. }
            | PolicyError::Shed { .. }
            | PolicyError::LimitReached { .. } => RetryDecision::Retry,
        }
    }
}

/// Makes further attempts after an error.
///
/// An attempt starts when the one before has ended with everything it had opened.
/// A cancellation and a panic are no errors and end the call.
/// No attempt is waited for that would start after the caller's deadline or the retry's own.
/// # Errors
/// [`PolicyError::RetriesExhausted`] with the last error; an error that is not to be retried, as it is; [`PolicyError::TimedOut`] if the whole took too long.
/// A retry of one attempt adds nothing: its error is the attempt's.
/// # Examples
/// ```
/// use asupersync_combinator::{Backoff, Policy, PolicyError, Retry, RetryDecision};
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// enum ApiError {
///     #[error("busy for {0:?}")]
///     Busy(Duration),
///     #[error("no such thing")]
///     NotFound,
/// }
/// let retry = Retry::new(5, Backoff::exponential(Duration::from_secs(1), Duration::from_secs(9)))
///     .when(|error: &PolicyError<ApiError>| match error {
///         PolicyError::Failed(ApiError::Busy(pause)) => RetryDecision::RetryAfter(*pause),
///         _ => RetryDecision::GiveUp,
///     });
/// let policy = Policy::builder().with(retry).build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let start = cx.now();
///     policy
///         .run(&cx, async |cx: Cx| {
///             let is_early = cx.now() == start;
///             let busy = ApiError::Busy(Duration::from_secs(30));
///             Err::<(), _>(if is_early { busy } else { ApiError::NotFound })
///         })
///         .await
/// });
/// assert_eq!(report.outcome, Outcome::Err(PolicyError::Failed(ApiError::NotFound)));
/// assert_eq!(report.elapsed, Duration::from_secs(30));
/// ```
/// # Source
/// The law `I71`.
#[derive(Clone, Debug)]
pub struct Retry<R = Transient> {
    attempts_max: u32,
    backoff: Backoff,
    attempt_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
    budget: Option<Arc<RetryBudget>>,
    rule: R,
}

impl Retry {
    /// So many attempts in all, the first included, with waits between them.
    ///
    /// # Panics
    /// If there is no attempt.
    #[must_use]
    pub fn new(attempts_max: u32, backoff: Backoff) -> Self {
        assert!(attempts_max > 0, "a call makes an attempt");
        Self {
            attempts_max,
            backoff,
            attempt_timeout: None,
            total_timeout: None,
            budget: None,
            rule: Transient,
        }
    }
}

impl<R> Retry<R> {
    /// Bounds each attempt; one that takes longer is cancelled and drained, and has failed with [`PolicyError::TimedOut`].
    #[must_use]
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Bounds the whole, waits included.
    #[must_use]
    pub const fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// Takes a token for each retry, from a bucket that several may share.
    #[must_use]
    pub fn budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Decides by `rule` which errors are retried, and when; [`Transient`] unless set.
    #[must_use]
    pub fn when<E, F>(self, rule: F) -> Retry<F>
    where
        F: Fn(&PolicyError<E>) -> RetryDecision + Send + Sync,
    {
        Retry {
            attempts_max: self.attempts_max,
            backoff: self.backoff,
            attempt_timeout: self.attempt_timeout,
            total_timeout: self.total_timeout,
            budget: self.budget,
            rule,
        }
    }

    /// Why attempt `made` was the last; or nothing, and a token is taken.
    fn stop(&self, made: u32, next_at: Time, limit: Time) -> Option<RetryStop> {
        if made >= self.attempts_max {
            Some(RetryStop::Attempts)
        } else if next_at >= limit {
            Some(RetryStop::Time)
        } else if self.budget.as_ref().is_some_and(|budget| !budget.take()) {
            Some(RetryStop::Budget)
        } else {
            None
        }
    }

    async fn attempts<C, N>(
        &self,
        cx: &Cx<C>,
        next: &N,
        limit: Time,
    ) -> Outcome<N::Ok, PolicyError<N::Err>>
    where
        C: HasSpawn + HasTime + HasEntropy + 'static,
        N: Call<C>,
        R: RetryRule<N::Err>,
    {
        if let Some(budget) = &self.budget {
            budget.pay_in();
        }
        let mut delays = Delays::default();
        for attempt in 1_u32.. {
            let observer = next.observer();
            observer.event(&PolicyEvent::AttemptStarted { attempt });
            let end = match self.attempt_timeout {
                Some(after) => within(cx, next, after).await,
                None => next.call(cx).await,
            };
            let severity = end.severity();
            observer.event(&PolicyEvent::AttemptEnded { attempt, severity });
            let error = match end {
                Outcome::Err(error) => error,
                end => return end,
            };
            let asked = match self.rule.decide(&error) {
                RetryDecision::Retry => Duration::ZERO,
                RetryDecision::RetryAfter(asked) => asked,
                RetryDecision::GiveUp => return Outcome::Err(error),
            };
            if self.attempts_max == 1 {
                return Outcome::Err(error);
            }
            let after = delays.next(&self.backoff, || cx.random_u64()).max(asked);
            if let Some(why) = self.stop(attempt, cx.now() + after, limit) {
                let last = Box::new(error);
                return Outcome::Err(PolicyError::RetriesExhausted {
                    attempts: attempt,
                    why,
                    last,
                });
            }
            let next_attempt = attempt + 1;
            observer.event(&PolicyEvent::RetryScheduled {
                attempt: next_attempt,
                after,
            });
            drop(error);
            if let Err(cancelled) = pause(cx, after).await {
                return Outcome::Cancelled(cancelled.into_reason());
            }
        }
        unreachable!("attempts are at most `attempts_max`")
    }
}

/// Waits; others get their turn also if there is nothing to wait for.
async fn pause<C: HasTime>(
    cx: &Cx<C>,
    duration: Duration,
) -> Result<(), asupersync_core::Cancelled> {
    if duration.is_zero() {
        cx.yield_now().await
    } else {
        cx.sleep(duration).await
    }
}

impl<C, T, E, R> Strategy<C, T, E> for Retry<R>
where
    C: HasSpawn + HasTime + HasEntropy + 'static,
    T: Send,
    E: Send,
    R: RetryRule<E>,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let deadline = cx.budget().deadline.unwrap_or(Time::MAX);
        let Some(total) = self.total_timeout else {
            return self.attempts(cx, next, deadline).await;
        };
        let whole = Whole {
            retry: self,
            next,
            limit: deadline.min(cx.now() + total),
        };
        within(cx, &whole, total).await
    }
}

/// All attempts, as one call under a timeout.
struct Whole<'a, R, N> {
    retry: &'a Retry<R>,
    next: &'a N,
    limit: Time,
}

impl<C, R, N> Call<C> for Whole<'_, R, N>
where
    C: HasSpawn + HasTime + HasEntropy + 'static,
    N: Call<C>,
    R: RetryRule<N::Err>,
{
    type Ok = N::Ok;
    type Err = N::Err;

    async fn call(&self, cx: &Cx<C>) -> Outcome<Self::Ok, PolicyError<Self::Err>> {
        self.retry.attempts(cx, self.next, self.limit).await
    }

    fn observer(&self) -> &dyn super::Observer {
        self.next.observer()
    }
}
