//! Policies: what a call passes through, in the order in which it was stated.
//!
//! The problem: calls to what may be slow, overloaded or broken need retries, timeouts, breakers and limits, and what they do together depends on which is around which.
//!
//! # How it is put together
//! A [`Strategy`] is one such thing.
//! [`Policy::builder`] takes strategies one after the other, the outermost first; each sees as one call what those after it do.
//! Innermost stands the user's function, run in a region of its own: when a strategy hears of a call's end, nothing of that call is left.
//!
//! # Recommended order
//! From the outside: [`Fallback`], [`CacheAt`], [`LoadShed`], [`Retry`], [`CircuitBreaker`], [`RateLimiter`], [`Bulkhead`] or [`AdaptiveLimit`], [`Timeout`], [`Chaos`].
//! So a retry is a call of its own to breaker, limits and timeout, and faults come in where real ones would.
//! A [`Timeout`] around the retry bounds the whole; one behind the bulkhead bounds the attempt and not its wait in line.
//!
//! # Invariants
//! - A call passes the strategies in the order in which they were added; its end passes them in the opposite order.
//! - Cancellation and panics are no errors: every strategy passes them on, and no strategy retries, caches or replaces them.
//! - What a strategy lent to a call (a permit, a probe's place) is back when the call has ended, however it ended.
//!
//! # Deliberately absent
//! Policies for work that is not `Send`: a policy's futures are `Send`, so that one can stand behind a service whose type is not written out.
//! A registry of policies by name; a `static` or a field does that.

mod adaptive;
mod backoff;
mod breaker;
mod breaker_state;
mod bulkhead;
mod cache;
mod chaos;
mod codel;
mod error;
mod hedged;
mod observe;
mod rate;
mod rate_limit;
mod retry;
mod retry_budget;
mod service;
mod shed;
mod substitute;
mod timed;
mod window;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use asupersync_core::{ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_kernel::{Cx, Scope};

pub use adaptive::{AdaptiveLimit, AdaptiveOptions, LimitAlgorithm};
pub use backoff::{Backoff, Jitter};
pub use breaker::{AnyFailure, BreakerChange, BreakerPermit, CircuitBreaker, FailureRule};
pub use breaker_state::{BreakerMetrics, BreakerOptions, BreakerState};
pub use bulkhead::{Bulkhead, BulkheadOptions, BulkheadPermit};
pub use cache::{CacheAside, CacheAt, CacheOptions};
pub use chaos::{Chaos, Fault};
pub use codel::CodelOptions;
pub use error::{PolicyError, RetryStop};
pub use observe::{Observer, PolicyEvent, Rejection};
pub use rate::{Rate, RateAlgorithm};
pub use rate_limit::{AcquireRate, RateLimitError, RateLimitOptions, RateLimiter};
pub use retry::{Retry, RetryDecision, RetryRule, Transient};
pub use retry_budget::RetryBudget;
pub use service::{PolicyLayer, PolicyService, ServiceError};
pub use shed::LoadShed;
pub use substitute::Fallback;
pub use timed::Timeout;
pub use window::Window;

use self::observe::Watch;

/// What a strategy stands around: the strategies behind it, and at last the user's function.
///
/// It may be called not at all, once, or several times, also at the same time.
pub trait Call<C>: Sync {
    /// The value's type.
    type Ok: Send;
    /// The type of the user's error.
    type Err: Send;

    /// Makes the call.
    ///
    /// # Cancel safety
    /// Drains: a dropped call drops what runs; what that had opened is closed by the region around it.
    fn call(
        &self,
        cx: &Cx<C>,
    ) -> impl Future<Output = Outcome<Self::Ok, PolicyError<Self::Err>>> + Send;

    /// Who is told what happens.
    fn observer(&self) -> &dyn Observer;
}

/// One thing that a call passes through.
///
/// Implemented for references and `Arc`s of strategies, so that several policies can share one.
/// # Examples
/// A strategy of one's own:
/// ```
/// use asupersync_combinator::{Call, Policy, PolicyError, Strategy};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// /// Asks again, once, for a value that is not there yet.
/// struct OnceMore;
/// impl<C: 'static, T: Send, E: Send> Strategy<C, Option<T>, E> for OnceMore {
///     async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<Option<T>, PolicyError<E>>
///     where
///         N: Call<C, Ok = Option<T>, Err = E>,
///     {
///         match next.call(cx).await {
///             Outcome::Ok(None) => next.call(cx).await,
///             end => end,
///         }
///     }
/// }
/// let policy = Policy::builder().with(OnceMore).build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let made = std::sync::atomic::AtomicU32::new(0);
///     policy
///         .run(&cx, |_: Cx| async {
///             let before = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///             Ok::<_, Cancelled>((before > 0).then_some("there"))
///         })
///         .await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(Some("there")));
/// ```
pub trait Strategy<C, T, E>: Send + Sync {
    /// Passes a call through, to `next` or not.
    ///
    /// # Errors
    /// Those of `next`, and the strategy's own.
    /// # Cancel safety
    /// Drains: a dropped call drops what runs; what that had opened is closed by the region around it, and what the strategy lent is given back.
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>;
}

impl<C, T, E, S> Strategy<C, T, E> for &S
where
    S: Strategy<C, T, E>,
{
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>,
    {
        (**self).call(cx, next)
    }
}

impl<C, T, E, S> Strategy<C, T, E> for Arc<S>
where
    S: Strategy<C, T, E>,
{
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>,
    {
        (**self).call(cx, next)
    }
}

/// No strategy: the call itself.
#[derive(Clone, Copy, Default, Debug)]
pub struct Direct;

impl<C, T, E> Strategy<C, T, E> for Direct {
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>,
    {
        next.call(cx)
    }
}

/// One strategy around another.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stack<Outer, Inner> {
    outer: Outer,
    inner: Inner,
}

impl<C, T, E, Outer, Inner> Strategy<C, T, E> for Stack<Outer, Inner>
where
    C: 'static,
    T: Send,
    E: Send,
    Outer: Strategy<C, T, E>,
    Inner: Strategy<C, T, E>,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let inner = Through {
            strategy: &self.inner,
            next,
        };
        self.outer.call(cx, &inner).await
    }
}

/// Boxed at each strategy: otherwise a few strategies make a type too deep for the compiler, and a future of kilobytes.
type Boxed<'a, T, E> = Pin<Box<dyn Future<Output = Outcome<T, PolicyError<E>>> + Send + 'a>>;

/// A strategy with what stands behind it.
struct Through<'a, S, N> {
    strategy: &'a S,
    next: &'a N,
}

impl<C, S, N> Call<C> for Through<'_, S, N>
where
    C: 'static,
    N: Call<C>,
    S: Strategy<C, N::Ok, N::Err>,
{
    type Ok = N::Ok;
    type Err = N::Err;

    async fn call(&self, cx: &Cx<C>) -> Outcome<Self::Ok, PolicyError<Self::Err>> {
        let boxed: Boxed<'_, Self::Ok, Self::Err> = Box::pin(self.strategy.call(cx, self.next));
        boxed.await
    }

    fn observer(&self) -> &dyn Observer {
        self.next.observer()
    }
}

/// The user's function.
struct Leaf<'a, F> {
    function: &'a F,
    observer: &'a dyn Observer,
}

impl<C, F, Fut> Call<C> for Leaf<'_, F>
where
    C: HasSpawn + HasTime + 'static,
    F: Fn(Cx<C>) -> Fut + Sync,
    Fut: Future<Output: IntoOutcome> + Send,
    OkOf<Fut>: Send,
    ErrOf<Fut>: Send,
{
    type Ok = OkOf<Fut>;
    type Err = ErrOf<Fut>;

    async fn call(&self, cx: &Cx<C>) -> Outcome<Self::Ok, PolicyError<Self::Err>> {
        if let Err(cancelled) = cx.checkpoint() {
            return Outcome::Cancelled(cancelled.into_reason());
        }
        let watch = Watch::start(cx, self.observer);
        let end = cx
            .region(|scope: Scope<'_, ErrOf<Fut>, C>| (self.function)(scope.cx().clone()))
            .await
            .map_err(PolicyError::Failed);
        watch.ended(end.severity());
        end
    }

    fn observer(&self) -> &dyn Observer {
        self.observer
    }
}

/// Strategies in a stated order, through which calls are made; from [`Policy::builder`].
///
/// Cost of a call: an allocation for each strategy, one for the whole, and a region.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Backoff, Policy, Retry, Timeout};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let second = Duration::from_secs(1);
/// let policy = Policy::builder()
///     .with(Retry::new(3, Backoff::constant(second)))
///     .with(Timeout::new(second * 5))
///     .build();
/// let made = AtomicU32::new(0);
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     policy
///         .run(&cx, async |cx: Cx| {
///             // The first attempt hangs, the second answers.
///             let hangs = made.fetch_add(1, Ordering::Relaxed) == 0;
///             cx.sleep(second * if hangs { 60 } else { 1 }).await?;
///             Ok::<_, Cancelled>("answer")
///         })
///         .await
/// });
/// assert_eq!(report.outcome, Outcome::Ok("answer"));
/// assert_eq!(report.elapsed, second * (5 + 1 + 1));
/// ```
#[derive(Clone)]
pub struct Policy<S = Direct> {
    strategy: S,
    observer: Arc<dyn Observer>,
}

impl Policy {
    /// A policy without a strategy, to which some are added.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder {
            policy: Self {
                strategy: Direct,
                observer: Arc::new(observe::Nobody),
            },
        }
    }
}

impl<S> Policy<S> {
    /// Calls `function` as the strategies have it: once, several times or not at all.
    ///
    /// Each call of it runs in a region of its own, inline in the caller's task, and may borrow.
    /// The calls spend the caller's budget.
    /// # Errors
    /// [`PolicyError::Failed`] with the function's error, or what a strategy made of the call.
    /// A cancellation and a panic of the function are the outcome.
    /// # Cancel safety
    /// Drains: a dropped call drops what runs; what that had opened is closed by the region around it, and what strategies lent is given back.
    /// # Source
    /// The law `I70`.
    pub async fn run<C, F, Fut>(
        &self,
        cx: &Cx<C>,
        function: F,
    ) -> Outcome<OkOf<Fut>, PolicyError<ErrOf<Fut>>>
    where
        C: HasSpawn + HasTime + 'static,
        S: Strategy<C, OkOf<Fut>, ErrOf<Fut>>,
        F: Fn(Cx<C>) -> Fut + Send + Sync,
        Fut: Future<Output: IntoOutcome> + Send,
        OkOf<Fut>: Send,
        ErrOf<Fut>: Send,
    {
        if let Err(cancelled) = cx.checkpoint() {
            return Outcome::Cancelled(cancelled.into_reason());
        }
        let leaf = Leaf {
            function: &function,
            observer: &*self.observer,
        };
        let boxed: Boxed<'_, OkOf<Fut>, ErrOf<Fut>> = Box::pin(self.strategy.call(cx, &leaf));
        boxed.await
    }
}

impl<C, T, E, S> Strategy<C, T, E> for Policy<S>
where
    S: Strategy<C, T, E>,
{
    /// As part of another policy: what happens within is told to that one's observer.
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>,
    {
        self.strategy.call(cx, next)
    }
}

impl<S: fmt::Debug> fmt::Debug for Policy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

/// A policy under construction; from [`Policy::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct PolicyBuilder<S = Direct> {
    policy: Policy<S>,
}

impl<S> PolicyBuilder<S> {
    /// Adds a strategy within those that were added before.
    pub fn with<Inner>(self, inner: Inner) -> PolicyBuilder<Stack<S, Inner>> {
        PolicyBuilder {
            policy: Policy {
                strategy: Stack {
                    outer: self.policy.strategy,
                    inner,
                },
                observer: self.policy.observer,
            },
        }
    }

    /// Tells `observer` what happens in every call.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.policy.observer = observer;
        self
    }

    /// The policy.
    #[must_use]
    pub fn build(self) -> Policy<S> {
        self.policy
    }
}
