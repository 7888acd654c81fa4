//! What can go wrong with a broadcast channel.

use std::error::Error;
use std::fmt;

use asupersync_core::{Cancelled, Effect};

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// Nobody would receive it; that may change when somebody subscribes.
    #[error("the channel has no receivers")]
    NoReceivers,
    /// The channel was closed.
    #[error("the channel is closed")]
    Closed,
}

/// A message was not sent; it is handed back.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T> {
    /// The message.
    pub value: T,
    /// Why.
    pub failure: SendFailure,
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether somebody may have received the message: nobody has.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
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
        f.write_str("the message was not broadcast")
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}

/// Why no message was received; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing is left, and nothing more will come.
    #[error("the channel is closed and empty")]
    Closed,
    /// Messages were overwritten before this receiver took them; the next call goes on with the oldest that is kept.
    #[error("the receiver fell behind and missed {missed} messages")]
    Lagged {
        /// How many, exactly.
        missed: u64,
    },
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

/// Why no message could be received without waiting; none was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// This receiver has seen everything.
    #[error("the channel is empty")]
    Empty,
    /// Nothing is left, and nothing more will come.
    #[error("the channel is closed and empty")]
    Closed,
    /// As [`RecvError::Lagged`].
    #[error("the receiver fell behind and missed {missed} messages")]
    Lagged {
        /// How many, exactly.
        missed: u64,
    },
}

impl TryRecvError {
    /// Whether a message may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}
