//! What can go wrong with a watch channel.

use std::error::Error;
use std::fmt;

use asupersync_core::{Cancelled, Effect};

/// A value was not published, because nobody would see it; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T> {
    /// The value.
    pub value: T,
}

impl<T> SendError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether somebody may have seen the value: nobody has.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError { .. }")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value was not published: the watch has no receivers, or was closed")
    }
}

impl<T> Error for SendError<T> {}

/// Why no change was seen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Every change was seen, and nothing more will come.
    #[error("the watch is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a change")]
    Cancelled(#[from] Cancelled),
}

impl RecvError {
    /// Whether a change may have been marked as seen: none was by a wait for a change.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}
