//! What a policy tells about its calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use asupersync_core::{Severity, Time};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;

use super::breaker_state::BreakerState;
use super::chaos::Fault;
use super::error::PolicyError;

/// Is told what happens in the calls of a policy, as it happens.
///
/// It is called in the calling task, outside of every lock; it should be quick, and its panic is the call's.
/// # Examples
/// ```
/// use asupersync_combinator::{Observer, PolicyEvent};
/// use std::sync::atomic::{AtomicU64, Ordering};
/// #[derive(Default)]
/// struct Retries(AtomicU64);
/// impl Observer for Retries {
///     fn event(&self, event: &PolicyEvent) {
///         if matches!(event, PolicyEvent::RetryScheduled { .. }) {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Hears of one event.
    fn event(&self, event: &PolicyEvent);
}

/// What happened in a call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyEvent {
    /// The function was started.
    Started,
    /// The function has ended; `Cancelled` also if it was dropped.
    Ended {
        /// How.
        severity: Severity,
        /// How long it ran.
        took: Duration,
    },
    /// A retry starts an attempt.
    AttemptStarted {
        /// Which, from 1.
        attempt: u32,
    },
    /// An attempt of a retry has ended.
    AttemptEnded {
        /// Which, from 1.
        attempt: u32,
        /// How.
        severity: Severity,
    },
    /// A retry will make another attempt.
    RetryScheduled {
        /// Which, from 2.
        attempt: u32,
        /// In how long.
        after: Duration,
    },
    /// A strategy kept the call away.
    Rejected(Rejection),
    /// The time of a call or an attempt was up.
    TimedOut {
        /// The time that it had.
        after: Duration,
    },
    /// A circuit breaker changed its state in this call.
    BreakerChanged {
        /// From.
        from: BreakerState,
        /// To.
        to: BreakerState,
    },
    /// A hedge starts a further attempt.
    HedgeStarted {
        /// Which, from 1; the first attempt, 0, is not told.
        attempt: u32,
    },
    /// The fallback takes over.
    FellBack,
    /// A value came from the cache.
    CacheHit {
        /// How old it is.
        age: Duration,
        /// Whether it was past its time.
        is_stale: bool,
    },
    /// A value was not in the cache, or too old.
    CacheMissed,
    /// A fault was put in.
    Injected(Fault),
}

/// Which strategy kept a call away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// [`RateLimiter`](crate::RateLimiter).
    RateLimited,
    /// [`CircuitBreaker`](crate::CircuitBreaker).
    CircuitOpen,
    /// [`Bulkhead`](crate::Bulkhead).
    BulkheadFull,
    /// [`LoadShed`](crate::LoadShed), or the delay control of a bulkhead.
    Shed,
    /// [`AdaptiveLimit`](crate::AdaptiveLimit).
    LimitReached,
}

impl Rejection {
    /// What `error` is as a rejection.
    const fn of<E>(error: &PolicyError<E>) -> Option<Self> {
        Some(match error {
            PolicyError::RateLimited { .. } => Self::RateLimited,
            PolicyError::CircuitOpen { .. } => Self::CircuitOpen,
            PolicyError::BulkheadFull { .. } => Self::BulkheadFull,
            PolicyError::Shed { .. } => Self::Shed,
            PolicyError::LimitReached { .. } => Self::LimitReached,
            _ => return None,
        })
    }
}

/// Tells of a rejection, and gives it back.
pub(super) fn rejected<E>(observer: &dyn Observer, error: PolicyError<E>) -> PolicyError<E> {
    if let Some(rejection) = Rejection::of(&error) {
        observer.event(&PolicyEvent::Rejected(rejection));
    }
    error
}

/// Nobody listens.
pub(super) struct Nobody;

impl Observer for Nobody {
    fn event(&self, _: &PolicyEvent) {}
}

/// Tells of a run's start, and of its end however it ends.
pub(super) struct Watch<'a, C: HasTime> {
    cx: &'a Cx<C>,
    observer: &'a dyn Observer,
    started: Time,
    severity: Severity,
}

impl<'a, C: HasTime> Watch<'a, C> {
    pub(super) fn start(cx: &'a Cx<C>, observer: &'a dyn Observer) -> Self {
        observer.event(&PolicyEvent::Started);
        Self {
            cx,
            observer,
            started: cx.now(),
            severity: Severity::Cancelled,
        }
    }

    pub(super) fn ended(mut self, severity: Severity) {
        self.severity = severity;
    }
}

impl<C: HasTime> Drop for Watch<'_, C> {
    fn drop(&mut self) {
        let event = PolicyEvent::Ended {
            severity: self.severity,
            took: self.cx.now() - self.started,
        };
        let tell = || self.observer.event(&event);
        if std::thread::panicking() {
            // The panic that unwinds here is the call's; a second one would end the process.
            let _ = catch_unwind(AssertUnwindSafe(tell));
        } else {
            tell();
        }
    }
}
