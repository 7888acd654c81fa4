//! What can go wrong between a source and its reactor.

use std::io;

use crate::Direction;

/// Why an operation on a source failed that the operating system did not refuse.
///
/// It arrives inside an [`io::Error`]: `error.get_ref().and_then(|e| e.downcast_ref::<ReactorError>())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReactorError {
    /// The reactor has been dropped, so that nobody would ever wake the caller.
    #[error("the reactor has been shut down: its runtime is gone, and with it all waiting for I/O")]
    Closed,
    /// The source was registered without interest in this direction.
    #[error("the source was not registered for {direction}, so waiting for it would never end")]
    NotRegistered {
        /// The direction that was waited for.
        direction: Direction,
    },
    /// No more sources fit.
    #[error("the reactor already has {limit} sources, which is its limit")]
    TooManySources {
        /// How many sources a reactor can have.
        limit: usize,
    },
}

impl From<ReactorError> for io::Error {
    fn from(error: ReactorError) -> Self {
        let kind = match error {
            ReactorError::Closed => io::ErrorKind::Other,
            ReactorError::NotRegistered { .. } => io::ErrorKind::InvalidInput,
            ReactorError::TooManySources { .. } => io::ErrorKind::QuotaExceeded,
        };
        Self::new(kind, error)
    }
}
