//! What a program of the zoo fails with.

use asupersync_core::{Cancelled, PanicPayload};
use asupersync_sync::{AcquireError, LockError, mpsc, oneshot, rendezvous};

/// Why a program did not end well.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// What the program promises does not hold: its bug has shown.
    #[error("broken: {0}")]
    Broken(&'static str),
    /// The other end of a channel has gone too early.
    #[error("a channel was closed too early")]
    Closed,
    /// A lock was not taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A permit was not acquired.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// A task was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A task panicked.
    #[error(transparent)]
    Panicked(#[from] PanicPayload),
}

impl<T> From<mpsc::SendError<T>> for ZooError {
    fn from(error: mpsc::SendError<T>) -> Self {
        match error.failure {
            mpsc::SendFailure::Cancelled(cancelled) => cancelled.into(),
            _ => Self::Closed,
        }
    }
}

impl From<mpsc::RecvError> for ZooError {
    fn from(error: mpsc::RecvError) -> Self {
        match error {
            mpsc::RecvError::Cancelled(cancelled) => cancelled.into(),
            _ => Self::Closed,
        }
    }
}

impl<T> From<rendezvous::SendError<T>> for ZooError {
    fn from(error: rendezvous::SendError<T>) -> Self {
        match error.failure {
            rendezvous::SendFailure::Cancelled(cancelled) => cancelled.into(),
            _ => Self::Closed,
        }
    }
}

impl From<rendezvous::RecvError> for ZooError {
    fn from(error: rendezvous::RecvError) -> Self {
        match error {
            rendezvous::RecvError::Cancelled(cancelled) => cancelled.into(),
            _ => Self::Closed,
        }
    }
}

impl From<oneshot::RecvError> for ZooError {
    fn from(error: oneshot::RecvError) -> Self {
        match error {
            oneshot::RecvError::Cancelled(cancelled) => cancelled.into(),
            _ => Self::Closed,
        }
    }
}
