//! What can go wrong with a rendezvous.

use std::error::Error;
use std::fmt;

use asupersync_core::{Cancelled, Effect};

/// Why a value was not handed over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The receivers have gone, or one of them closed the channel.
    #[error("the channel is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a receiver")]
    Cancelled(#[from] Cancelled),
    /// The receiver that the permit had bound was cancelled or dropped before the value was sent.
    #[error("the receiver left before the value was sent")]
    ReceiverLeft,
    /// The permit outlived the task that owed it.
    #[error("the permit was leaked: the task that reserved it ended before it was used")]
    Leaked,
}

/// A value was not handed over; it is handed back.
///
/// `?` keeps the reason as the source, so that a cancellation stays one.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T> {
    /// The value.
    pub value: T,
    /// Why.
    pub failure: SendFailure,
}

impl<T> SendError<T> {
    pub(super) const fn new(value: T, failure: SendFailure) -> Self {
        Self { value, failure }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether somebody may have the value: nobody has.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }

    /// Whether the failure was a cancellation.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self.failure, SendFailure::Cancelled(_))
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value was not handed over")
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}

/// A value could not be handed over without waiting; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// No receiver waits, or other senders wait in line.
    #[error("no receiver waits")]
    NoReceiver(T),
    /// The channel is closed.
    #[error("the channel is closed")]
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            Self::NoReceiver(value) | Self::Closed(value) => value,
        }
    }

    /// Whether somebody may have the value: nobody has.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReceiver(_) => "NoReceiver(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// Why no receiver was bound.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The receivers have gone, or one of them closed the channel.
    #[error("the channel is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a receiver")]
    Cancelled(#[from] Cancelled),
}

impl ReserveError {
    /// Whether a receiver may be bound: none is.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no value was received; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The senders have gone, or the channel was closed.
    #[error("the channel is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a sender")]
    Cancelled(#[from] Cancelled),
}

impl RecvError {
    /// Whether a value may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no value could be received without waiting; none was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No sender waits with a value, or other receivers wait in line.
    #[error("no sender waits")]
    NoSender,
    /// The senders have gone, or the channel was closed.
    #[error("the channel is closed")]
    Closed,
}

impl TryRecvError {
    /// Whether a value may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}
