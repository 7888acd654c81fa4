//! Why a call through a policy gave no value.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a call through a policy gave no value.
///
/// Cancellation and panics are not here: they are outcomes of their own.
// By hand and not derived: the error holds itself, and the derived bounds on that would have no end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError<E> {
    /// The function failed.
    Failed(E),
    /// The time of a [`Timeout`](crate::Timeout) or of a retry's attempt was up; what ran was cancelled and has ended.
    TimedOut {
        /// The time that it had.
        after: Duration,
    },
    /// No attempt succeeded and no other is made.
    RetriesExhausted {
        /// How many were made.
        attempts: u32,
        /// Why no other is made.
        why: RetryStop,
        /// The last attempt's error.
        last: Box<Self>,
    },
    /// No hedged attempt succeeded.
    AllFailed {
        /// Their errors, in the order in which they came.
        errors: Vec<Self>,
    },
    /// The rate is used up, and the line is too long; nothing was started.
    RateLimited {
        /// When a call would be let through if nobody else came.
        retry_after: Duration,
    },
    /// The circuit breaker keeps calls away; nothing was started.
    CircuitOpen {
        /// When it may let a probe through; `None` while probes are under way, and if it was opened by hand.
        retry_after: Option<Duration>,
    },
    /// The bulkhead and its line are full, or the wait in line took too long; nothing was started.
    BulkheadFull {
        /// How long the call waited in line.
        waited: Duration,
    },
    /// The call was shed because the load is too high; nothing was started.
    Shed {
        /// How long the call had waited by then.
        waited: Duration,
    },
    /// As many calls are under way as the adaptive limit allows; nothing was started.
    LimitReached {
        /// The limit at that time.
        limit: u32,
    },
}

/// Why a retry makes no further attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RetryStop {
    /// It made as many as it may.
    Attempts,
    /// The next would start when the time is up: that of the retry, or the caller's deadline.
    Time,
    /// The shared budget for retries is used up.
    Budget,
}

impl<E> PolicyError<E> {
    /// The function's own error, if that is what it came to; the last one, if several attempts failed.
    #[must_use]
    pub fn failure(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::RetriesExhausted { last, .. } => last.failure(),
            Self::AllFailed { errors } => errors.last().and_then(Self::failure),
            _ => None,
        }
    }

    /// Whether a strategy kept the call away, so that the function was not started.
    #[must_use]
    pub const fn is_rejection(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::CircuitOpen { .. }
            | Self::BulkheadFull { .. }
            | Self::Shed { .. }
            | Self::LimitReached { .. } => true,
            Self::Failed(_)
            | Self::TimedOut { .. }
            | Self::RetriesExhausted { .. }
            | Self::AllFailed { .. } => false,
        }
    }
}

impl<E: fmt::Display> fmt::Display for PolicyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::TimedOut { after } => write!(f, "timed out after {after:?}"),
            Self::RetriesExhausted { attempts, why, .. } => {
                let why = match why {
                    RetryStop::Attempts => "none is left",
                    RetryStop::Time => "the time is up",
                    RetryStop::Budget => "the budget for retries is used up",
                };
                write!(f, "gave up after {attempts} attempts, because {why}")
            }
            Self::AllFailed { errors } => {
                write!(f, "none of {} attempts succeeded", errors.len())
            }
            Self::RateLimited { retry_after } => {
                write!(f, "the rate limit is reached, retry after {retry_after:?}")
            }
            Self::CircuitOpen { retry_after: None } => write!(f, "the circuit is open"),
            Self::CircuitOpen {
                retry_after: Some(after),
            } => write!(f, "the circuit is open, retry after {after:?}"),
            Self::BulkheadFull { waited } => {
                write!(f, "the bulkhead is full, after a wait of {waited:?}")
            }
            Self::Shed { waited } => {
                write!(f, "shed because of overload, after a wait of {waited:?}")
            }
            Self::LimitReached { limit } => {
                write!(f, "the limit of {limit} concurrent calls is reached")
            }
        }
    }
}

impl<E: Error + 'static> Error for PolicyError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Transparent: what it says is what the error says, so its source is the error's.
            Self::Failed(error) => error.source(),
            Self::RetriesExhausted { last, .. } => Some(&**last),
            Self::AllFailed { errors } => errors.last().map(|error| error as &dyn Error),
            Self::TimedOut { .. }
            | Self::RateLimited { .. }
            | Self::CircuitOpen { .. }
            | Self::BulkheadFull { .. }
            | Self::Shed { .. }
            | Self::LimitReached { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
    #[error("no route")]
    struct NoRoute;

    #[test]
    fn the_chain_leads_from_the_retries_to_the_last_error() {
        let error = PolicyError::RetriesExhausted {
            attempts: 3,
            why: RetryStop::Attempts,
            last: Box::new(PolicyError::Failed(NoRoute)),
        };
        assert_eq!(error.failure(), Some(&NoRoute));
        assert_eq!(
            error.to_string(),
            "gave up after 3 attempts, because none is left"
        );
        let source = error.source().map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("no route"));
    }

    #[test]
    fn rejections_are_told_from_failures() {
        let full = PolicyError::<NoRoute>::BulkheadFull {
            waited: Duration::ZERO,
        };
        assert!(full.is_rejection());
        assert!(!PolicyError::Failed(NoRoute).is_rejection());
    }
}
