//! What can go wrong with a channel.

use std::error::Error;
use std::fmt;

use asupersync_core::{Cancelled, Effect};

/// Why a message was not sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The receiver has gone or was closed.
    #[error("the channel is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting to send")]
    Cancelled(#[from] Cancelled),
    /// The permit outlived the task that owed it.
    #[error("the permit was leaked: the task that reserved it ended before it was used")]
    Leaked,
}

impl SendFailure {
    /// Whether the message that failed may have arrived: it has not.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// A message was not sent; it is handed back.
///
/// `?` keeps the reason as the source, so that a cancellation stays one.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T> {
    /// The message.
    pub value: T,
    /// Why.
    pub failure: SendFailure,
}

impl<T> SendError<T> {
    pub(super) const fn new(value: T, failure: SendFailure) -> Self {
        Self { value, failure }
    }

    /// The message.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether the message may have arrived: it has not, and so it may be sent again.
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
        f.write_str("the message was not sent")
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}

/// A message could not be sent without waiting; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel is full, or others wait in line.
    #[error("the channel is full")]
    Full(T),
    /// The receiver has gone or was closed.
    #[error("the channel is closed")]
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// Whether the message may have arrived: it has not.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// Why no slot was reserved.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The receiver has gone or was closed.
    #[error("the channel is closed")]
    Closed,
    /// More slots than the channel has.
    #[error("{count} slots were asked for, and the channel has {capacity}")]
    TooMany {
        /// How many were asked for.
        count: usize,
        /// How many there are at all.
        capacity: usize,
    },
    /// The context had to stop.
    #[error("cancelled while waiting for a slot in a channel")]
    Cancelled(#[from] Cancelled),
}

impl ReserveError {
    /// Whether a slot may be reserved: none is.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no slot could be reserved without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryReserveError {
    /// The channel is full, or others wait in line.
    #[error("the channel is full")]
    Full,
    /// The receiver has gone or was closed.
    #[error("the channel is closed")]
    Closed,
}

impl TryReserveError {
    /// Whether a slot may be reserved: none is.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no message was received; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The channel is empty, and nothing more will come.
    #[error("the channel is closed and empty")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a message")]
    Cancelled(#[from] Cancelled),
}

impl RecvError {
    /// Whether a message may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no message could be received without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    #[error("the channel is empty")]
    Empty,
    /// The channel is empty, and nothing more will come.
    #[error("the channel is closed and empty")]
    Closed,
}

impl TryRecvError {
    /// Whether a message may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}
