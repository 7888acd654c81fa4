//! What the scenarios share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync_core::{CancelReason, Cancelled, Outcome, OutcomeError, PanicPayload};

/// The scenarios' error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("a child panicked")]
    Panicked(#[from] PanicPayload),
    #[error("failed: {0}")]
    Failed(u32),
}

impl From<OutcomeError<Self>> for AppError {
    fn from(error: OutcomeError<Self>) -> Self {
        match error {
            OutcomeError::Err(error) => error,
            OutcomeError::Cancelled(reason) => Self::Cancelled(Cancelled::new(reason)),
            OutcomeError::Panicked(payload) => Self::Panicked(payload),
        }
    }
}

/// What most bodies return.
pub(crate) type End<T = ()> = Result<T, AppError>;

/// Longer than any test waits for real.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// A moment.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Counts what is alive.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(crate) fn enter(&self) -> LiveGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        LiveGuard(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct LiveGuard(Live);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Notes what happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no holder panics").push(what.into());
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }
}

/// The reason of a cancelled outcome.
pub(crate) fn reason_of<T: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Outcome<T, E>,
) -> CancelReason {
    match outcome {
        Outcome::Cancelled(reason) => reason,
        other => panic!("expected a cancellation, got {other:?}"),
    }
}
