//! What can go wrong with a call.

use std::error::Error;
use std::fmt;

use asupersync_core::{Cancelled, Effect};

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// The server has gone or was closed before it took the request.
    #[error("the session is closed")]
    Closed,
    /// The server took the request, and dropped or forgot its reply.
    #[error("the request was taken, but not answered")]
    NotAnswered,
    /// The context had to stop.
    #[error("cancelled while waiting for an answer")]
    Cancelled(#[from] Cancelled),
    /// The permit outlived the task that owed it.
    #[error("the permit was leaked: the task that reserved it ended before it was used")]
    Leaked,
}

/// A call was not answered; a request that nobody took is handed back.
///
/// `?` keeps the reason as the source, so that a cancellation stays one.
#[derive(Clone, PartialEq, Eq)]
pub struct CallError<Req> {
    /// The request, if it was not taken.
    pub request: Option<Req>,
    /// Why.
    pub failure: CallFailure,
}

impl<Req> CallError<Req> {
    pub(super) const fn new(request: Option<Req>, failure: CallFailure) -> Self {
        Self { request, failure }
    }

    /// Whether the server may have acted on the request: not started if it was handed back, unknown if the server took it.
    pub const fn effect(&self) -> Effect {
        match self.request {
            Some(_) => Effect::NotStarted,
            None => Effect::Unknown,
        }
    }

    /// Whether the failure was a cancellation of the caller.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self.failure, CallFailure::Cancelled(_))
    }
}

impl<Req> fmt::Debug for CallError<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError")
            .field("failure", &self.failure)
            .field("effect", &self.effect())
            .finish_non_exhaustive()
    }
}

impl<Req> fmt::Display for CallError<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.effect() {
            Effect::NotStarted => "the call failed before its request was taken",
            Effect::Committed | Effect::Unknown => "the call failed after its request was taken",
        })
    }
}

impl<Req> Error for CallError<Req> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}

/// Why no place for a request was reserved.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The server has gone or was closed.
    #[error("the session is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a place for a request")]
    Cancelled(#[from] Cancelled),
}

impl ReserveError {
    /// Whether a place may be reserved: none is.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no request was accepted; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nothing is left, and nobody can call any more.
    #[error("the session is closed and every request was taken")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a request")]
    Cancelled(#[from] Cancelled),
}

impl AcceptError {
    /// Whether a request may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no request could be accepted without waiting; none was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcceptError {
    /// No request waits.
    #[error("no request waits")]
    Empty,
    /// Nothing is left, and nobody can call any more.
    #[error("the session is closed and every request was taken")]
    Closed,
}

impl TryAcceptError {
    /// Whether a request may have been taken: none was.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why a reply did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyFailure {
    /// The caller was cancelled, timed out or dropped.
    #[error("the caller has gone")]
    Unwanted,
    /// The task that owed the reply ended before; the caller was told that there is no answer.
    #[error("the reply was leaked: the task that owed it ended before it was sent")]
    Leaked,
}

/// A reply did not arrive; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReplyError<Resp> {
    /// The reply.
    pub response: Resp,
    /// Why.
    pub failure: ReplyFailure,
}

impl<Resp> ReplyError<Resp> {
    /// The reply.
    pub fn into_inner(self) -> Resp {
        self.response
    }

    /// Whether the caller may have the reply: it has not.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

impl<Resp> fmt::Debug for ReplyError<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyError")
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl<Resp> fmt::Display for ReplyError<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply did not arrive")
    }
}

impl<Resp> Error for ReplyError<Resp> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}
