//! Keeps calls away from what fails.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asupersync_core::{Outcome, Time};
use asupersync_kernel::caps::HasTime;
use asupersync_kernel::{Cx, Resource};

use super::breaker_state::{
    Breaker, BreakerMetrics, BreakerOptions, BreakerState, CallEnd, Change, Ticket,
};
use super::error::PolicyError;
use super::observe::{Nobody, Observer, PolicyEvent, rejected};
use super::{Call, Strategy};

/// A change of a circuit breaker's state, as its listener hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerChange {
    /// From.
    pub from: BreakerState,
    /// To.
    pub to: BreakerState,
    /// When.
    pub at: Time,
}

type Listener = dyn Fn(BreakerChange) + Send + Sync;

/// Decides which errors are failures: a closure `|error: &PolicyError<E>| ..`, or [`AnyFailure`].
pub trait FailureRule<E>: Send + Sync {
    /// Whether a circuit breaker counts the error as a failure; otherwise the call succeeded.
    fn is_failure(&self, error: &PolicyError<E>) -> bool;
}

impl<E, F> FailureRule<E> for F
where
    F: Fn(&PolicyError<E>) -> bool + Send + Sync,
{
    fn is_failure(&self, error: &PolicyError<E>) -> bool {
        self(error)
    }
}

/// Every error is a failure.
#[derive(Clone, Copy, Default, Debug)]
pub struct AnyFailure;

impl<E> FailureRule<E> for AnyFailure {
    fn is_failure(&self, _: &PolicyError<E>) -> bool {
        true
    }
}

/// Keeps calls away while too many of the last failed or were slow.
///
/// It counts errors of the function, timeouts and panics as failures; cancelled and dropped calls, and those that an inner strategy kept away, count as nothing and give a probe's place back.
/// Shared by all who call the same thing, as an `Arc`.
/// # Errors
/// [`PolicyError::CircuitOpen`], with the time until probes are let through.
/// # Examples
/// ```
/// use asupersync_combinator::{
///     BreakerOptions, BreakerState, CircuitBreaker, Policy, PolicyError, Window,
/// };
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use std::sync::Arc;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let options = BreakerOptions::new(Window::Calls(2)).calls_min(2);
/// let breaker = Arc::new(CircuitBreaker::new(options));
/// let policy = Policy::builder().with(Arc::clone(&breaker)).build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let call = async |_: Cx| Outcome::<(), &str>::Err("refused");
///     assert_eq!(policy.run(&cx, call).await, Outcome::Err(PolicyError::Failed("refused")));
///     assert_eq!(policy.run(&cx, call).await, Outcome::Err(PolicyError::Failed("refused")));
///     assert_eq!(breaker.metrics(&cx).state, BreakerState::Open);
///     policy.run(&cx, call).await
/// });
/// let retry_after = Some(Duration::from_secs(30));
/// assert_eq!(report.outcome, Outcome::Err(PolicyError::CircuitOpen { retry_after }));
/// ```
/// # Source
/// The law `I73`. M. Nygard, *Release It!* (2007), for the pattern.
pub struct CircuitBreaker<R = AnyFailure> {
    core: Core,
    rule: R,
}

/// What permits borrow, whatever the rule is.
struct Core {
    state: Mutex<Breaker>,
    listener: Option<Box<Listener>>,
    resource: Resource,
}

impl CircuitBreaker {
    /// A closed breaker that has seen no call.
    ///
    /// # Panics
    /// If a threshold is not 1..=100 percent, there is no probe, the window is empty, or it cannot hold the minimum of calls.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            core: Core {
                state: Mutex::new(Breaker::new(options)),
                listener: None,
                resource: Resource::new(),
            },
            rule: AnyFailure,
        }
    }
}

impl<R> CircuitBreaker<R> {
    /// Tells `listener` of every change, in the task that caused it and outside of locks.
    #[must_use]
    pub fn on_change(mut self, listener: impl Fn(BreakerChange) + Send + Sync + 'static) -> Self {
        self.core.listener = Some(Box::new(listener));
        self
    }

    /// Counts only those errors as failures for which `rule` says so; the others count as successes.
    ///
    /// # Examples
    /// ```
    /// use asupersync_combinator::{BreakerOptions, CircuitBreaker, PolicyError, Window};
    /// enum ApiError { NotFound, Broken }
    /// let breaker = CircuitBreaker::new(BreakerOptions::new(Window::Calls(100)))
    ///     .failure_if(|error: &PolicyError<ApiError>| {
    ///         !matches!(error, PolicyError::Failed(ApiError::NotFound))
    ///     });
    /// # let _ = (breaker, ApiError::Broken);
    /// ```
    #[must_use]
    pub fn failure_if<E, F>(self, rule: F) -> CircuitBreaker<F>
    where
        F: Fn(&PolicyError<E>) -> bool + Send + Sync,
    {
        CircuitBreaker {
            core: self.core,
            rule,
        }
    }

    /// Lets a call through whose end the caller tells by hand.
    ///
    /// # Errors
    /// [`PolicyError::CircuitOpen`].
    pub fn enter<C: HasTime, E>(&self, cx: &Cx<C>) -> Result<BreakerPermit<'_>, PolicyError<E>> {
        self.core.enter(cx, &Nobody)
    }

    /// What it saw lately.
    #[must_use]
    pub fn metrics<C: HasTime>(&self, cx: &Cx<C>) -> BreakerMetrics {
        self.core.state().metrics(cx.now())
    }

    /// Sets the state: one that is forced, or one that it then leaves by itself.
    ///
    /// Calls under way count for nothing any more.
    pub fn set<C: HasTime>(&self, cx: &Cx<C>, state: BreakerState) {
        let now = cx.now();
        let change = self.core.state().set(now, state);
        self.core.resource.trace("breaker.set");
        self.core.tell(now, change, &Nobody);
    }

    fn end_of<T, E>(&self, end: &Outcome<T, PolicyError<E>>) -> CallEnd
    where
        R: FailureRule<E>,
    {
        match end {
            Outcome::Ok(_) => CallEnd::Success,
            Outcome::Cancelled(_) => CallEnd::Nothing,
            Outcome::Panicked(_) => CallEnd::Failure,
            Outcome::Err(error) if error.is_rejection() => CallEnd::Nothing,
            Outcome::Err(error) if self.rule.is_failure(error) => CallEnd::Failure,
            Outcome::Err(_) => CallEnd::Success,
        }
    }
}

impl Core {
    fn enter<'a, C: HasTime, E>(
        &'a self,
        cx: &Cx<C>,
        observer: &dyn Observer,
    ) -> Result<BreakerPermit<'a>, PolicyError<E>> {
        let now = cx.now();
        let (entered, change) = self.state().enter(now);
        let permit = entered.map(|ticket| BreakerPermit {
            core: self,
            ticket: Some(ticket),
            entered: now,
        });
        self.resource.trace(match &permit {
            Ok(_) => "breaker.enter",
            Err(_) => "breaker.reject",
        });
        self.tell(now, change, observer);
        permit.map_err(|retry_after| rejected(observer, PolicyError::CircuitOpen { retry_after }))
    }

    fn tell(&self, at: Time, change: Change, observer: &dyn Observer) {
        let Some((from, to)) = change else {
            return;
        };
        observer.event(&PolicyEvent::BreakerChanged { from, to });
        if let Some(listener) = &self.listener {
            listener(BreakerChange { from, to, at });
        }
    }

    fn state(&self) -> MutexGuard<'_, Breaker> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> fmt::Debug for CircuitBreaker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("state", &*self.core.state())
            .finish_non_exhaustive()
    }
}

/// A call that a circuit breaker let through; from [`CircuitBreaker::enter`].
///
/// Dropping it says nothing of the call, and gives a probe's place back.
#[must_use = "a permit that is dropped says nothing of its call"]
pub struct BreakerPermit<'a> {
    core: &'a Core,
    ticket: Option<Ticket>,
    entered: Time,
}

impl BreakerPermit<'_> {
    /// The call succeeded, now.
    pub fn succeeded<C: HasTime>(self, cx: &Cx<C>) {
        self.leave(cx.now(), CallEnd::Success, &Nobody);
    }

    /// The call failed, now.
    pub fn failed<C: HasTime>(self, cx: &Cx<C>) {
        self.leave(cx.now(), CallEnd::Failure, &Nobody);
    }

    fn leave(mut self, now: Time, end: CallEnd, observer: &dyn Observer) {
        if let Some(ticket) = self.ticket.take() {
            let took = now - self.entered;
            let change = self.core.state().leave(now, ticket, end, took);
            self.core.resource.trace("breaker.leave");
            self.core.tell(now, change, observer);
        }
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // What says nothing changes no state, so the time does not matter.
            let _ = self
                .core
                .state()
                .leave(self.entered, ticket, CallEnd::Nothing, Duration::ZERO);
            self.core.resource.trace("breaker.leave");
        }
    }
}

impl fmt::Debug for BreakerPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerPermit")
            .field("entered", &self.entered)
            .finish_non_exhaustive()
    }
}

impl<C, T, E, R> Strategy<C, T, E> for CircuitBreaker<R>
where
    C: HasTime + 'static,
    T: Send,
    E: Send,
    R: FailureRule<E>,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let permit = match self.core.enter(cx, next.observer()) {
            Ok(permit) => permit,
            Err(error) => return Outcome::Err(error),
        };
        let end = next.call(cx).await;
        permit.leave(cx.now(), self.end_of(&end), next.observer());
        end
    }
}
