//! Faults put into calls on purpose.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::caps::{HasEntropy, HasSpawn, HasTime};
use asupersync_kernel::{Cx, Scope};

use super::backoff::between;
use super::error::PolicyError;
use super::observe::PolicyEvent;
use super::{Call, Strategy};
use crate::branches::{collect, lift};

/// A fault that was put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call was held up.
    Latency(Duration),
    /// The call failed instead of being made.
    Error,
    /// The call was cancelled after so long, if it had not ended.
    Cancel(Duration),
}

/// Puts faults into the calls that pass: delays, errors and cancellations, each with a chance of its own.
///
/// The chances are drawn from the context's entropy, so that under the lab a seed gives the same faults.
/// It is made switched off, and costs a branch then.
/// # Examples
/// ```
/// use asupersync_combinator::{Chaos, Policy, PolicyError};
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let chaos = Chaos::new()
///     .latency(1.0, Duration::from_secs(2)..=Duration::from_secs(2))
///     .error(1.0, || "no route");
/// chaos.switch(true);
/// let policy = Policy::builder().with(chaos).build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     policy.run(&cx, async |_: Cx| Outcome::<(), &str>::Ok(())).await
/// });
/// assert_eq!(report.outcome, Outcome::Err(PolicyError::Failed("no route")));
/// assert_eq!(report.elapsed, Duration::from_secs(2));
/// ```
pub struct Chaos<E> {
    is_on: AtomicBool,
    latency: Option<(Chance, Duration, Duration)>,
    error: Option<(Chance, MakeError<E>)>,
    cancel: Option<(Chance, Duration)>,
}

/// Makes the error that a fault is.
type MakeError<E> = Arc<dyn Fn() -> E + Send + Sync>;

impl<E> Chaos<E> {
    /// Without a fault, and switched off.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            latency: None,
            error: None,
            cancel: None,
        }
    }

    /// Holds calls up, for a time drawn from the range.
    ///
    /// # Panics
    /// If the chance is not 0.0..=1.0.
    #[must_use]
    pub fn latency(mut self, chance: f64, range: std::ops::RangeInclusive<Duration>) -> Self {
        self.latency = Some((Chance::new(chance), *range.start(), *range.end()));
        self
    }

    /// Fails calls instead of making them.
    ///
    /// # Panics
    /// If the chance is not 0.0..=1.0.
    #[must_use]
    pub fn error(mut self, chance: f64, error: impl Fn() -> E + Send + Sync + 'static) -> Self {
        self.error = Some((Chance::new(chance), Arc::new(error)));
        self
    }

    /// Cancels calls under way, at a time drawn from nothing to `within`; they are drained, and their outcome is theirs.
    ///
    /// # Panics
    /// If the chance is not 0.0..=1.0.
    #[must_use]
    pub fn cancel(mut self, chance: f64, within: Duration) -> Self {
        self.cancel = Some((Chance::new(chance), within));
        self
    }

    /// Switches the faults on or off.
    pub fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }
}

impl<E> Default for Chaos<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Chaos<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("is_on", &self.is_on)
            .finish_non_exhaustive()
    }
}

/// A chance, as how many of 2^64 draws hit it.
#[derive(Clone, Copy, Debug)]
struct Chance(u128);

impl Chance {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a chance is 0.0..=1.0, so the product is 0..=2^64"
    )]
    fn new(chance: f64) -> Self {
        assert!((0.0..=1.0).contains(&chance), "a chance is 0.0..=1.0");
        Self((chance * 2.0_f64.powi(64)) as u128)
    }

    fn hits<C: HasEntropy>(self, cx: &Cx<C>) -> bool {
        u128::from(cx.random_u64()) < self.0
    }
}

impl<C, T, E> Strategy<C, T, E> for Chaos<E>
where
    C: HasSpawn + HasTime + HasEntropy + 'static,
    T: Send,
    E: Send,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        if !self.is_on.load(Ordering::Relaxed) {
            return next.call(cx).await;
        }
        let injected = |fault| next.observer().event(&PolicyEvent::Injected(fault));
        if let Some((chance, low, high)) = self.latency
            && chance.hits(cx)
        {
            let delay = between(low, high, cx.random_u64());
            injected(Fault::Latency(delay));
            if let Err(cancelled) = cx.sleep(delay).await {
                return Outcome::Cancelled(cancelled.into_reason());
            }
        }
        if let Some((chance, error)) = &self.error
            && chance.hits(cx)
        {
            injected(Fault::Error);
            return Outcome::Err(PolicyError::Failed(error()));
        }
        if let Some((chance, within)) = self.cancel
            && chance.hits(cx)
        {
            let after = between(Duration::ZERO, within, cx.random_u64());
            injected(Fault::Cancel(after));
            return cancelled_after(cx, next, after).await;
        }
        next.call(cx).await
    }
}

/// Makes a call that is cancelled after so long.
async fn cancelled_after<C, N>(
    cx: &Cx<C>,
    next: &N,
    after: Duration,
) -> Outcome<N::Ok, PolicyError<N::Err>>
where
    C: HasSpawn + HasTime + 'static,
    N: Call<C>,
{
    let end = cx
        .region_with(collect(), async |scope: Scope<'_, Infallible, C>| {
            let mut work = pin!(scope.fiber(|cx: Cx<C>| async move { next.call(&cx).await }));
            let mut sleep = pin!(Some(scope.cx().sleep(after)));
            let end = std::future::poll_fn(|task| {
                if let Some(asleep) = sleep.as_mut().as_pin_mut()
                    && let Poll::Ready(end) = asleep.poll(task)
                {
                    sleep.set(None);
                    // A sleep that was cancelled says nothing of the time; the work hears of that itself.
                    if end.is_ok() {
                        work.cancel(CancelKind::User);
                    }
                }
                work.as_mut().poll(task)
            })
            .await;
            Outcome::Ok(end)
        })
        .await;
    match end {
        Outcome::Ok(end) => end,
        bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
    }
}
