//! What is wrong with a run.

use std::fmt;

use asupersync_core::Outcome;
use asupersync_kernel::{Event, Unfinished};
use asupersync_trace::Trace;

use crate::interrupt::UNWOUND_TASK;
use crate::oracle::{Law, Violation};
use crate::report::{LabEnd, LabReport};

/// What a search looks for: a run that did not end well.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// A law was broken; the first of them.
    Violated(Violation),
    /// The program panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The program gave an error.
    Failed {
        /// The error, as its `Debug` form says it.
        error: String,
    },
    /// The program was cancelled.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// Nothing could wake any more what had not ended.
    Stalled {
        /// What that is.
        left: Vec<Unfinished>,
    },
    /// The limit of steps was reached.
    StepLimit {
        /// What had not ended.
        left: Vec<Unfinished>,
    },
}

impl Finding {
    /// What is wrong with this run, if anything is.
    ///
    /// A panic or an error comes first, since a broken law may be its consequence; then a broken law, then how the run ended.
    #[must_use]
    pub fn of<T, E: fmt::Debug>(report: &LabReport<T, E>) -> Option<Self> {
        match &report.outcome {
            Outcome::Panicked(payload) => {
                let message = payload.message().to_owned();
                return Some(Self::Panicked { message });
            }
            Outcome::Err(error) => {
                let error = format!("{error:?}");
                return Some(Self::Failed { error });
            }
            Outcome::Ok(_) | Outcome::Cancelled(_) => {}
        }
        if let Some(violation) = report.violations.first() {
            return Some(Self::Violated(violation.clone()));
        }
        match &report.end {
            LabEnd::Stalled(left) => return Some(Self::Stalled { left: left.clone() }),
            LabEnd::StepLimit(left) => return Some(Self::StepLimit { left: left.clone() }),
            LabEnd::Finished | LabEnd::Abandoned => {}
        }
        match &report.outcome {
            Outcome::Cancelled(reason) if report.end == LabEnd::Finished => {
                let reason = reason.to_string();
                Some(Self::Cancelled { reason })
            }
            Outcome::Ok(_) | Outcome::Err(_) | Outcome::Cancelled(_) | Outcome::Panicked(_) => None,
        }
    }

    /// Whether this is wrong also of a run that was disturbed: cancelled, failed, or unwound by what was done to it, a program may well be.
    #[must_use]
    pub(crate) fn is_wrong_when_disturbed(&self) -> bool {
        match self {
            Self::Violated(_) | Self::Stalled { .. } | Self::StepLimit { .. } => true,
            Self::Panicked { message } => message != UNWOUND_TASK,
            Self::Failed { .. } | Self::Cancelled { .. } => false,
        }
    }

    /// Whether both are the same kind of defect, so that one may stand for the other when a schedule is made smaller.
    ///
    /// Who took part may differ, and what a message says of them.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Violated(one), Self::Violated(other)) => one.law == other.law,
            (Self::Panicked { message: one }, Self::Panicked { message: other }) => {
                gist(one) == gist(other)
            }
            (Self::Failed { error: one }, Self::Failed { error: other }) => {
                gist(one) == gist(other)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The law that was broken, if it is one.
    #[must_use]
    pub const fn law(&self) -> Option<Law> {
        match self {
            Self::Violated(violation) => Some(violation.law),
            _ => None,
        }
    }

    /// The place in the trace up to which events can have led to it.
    #[must_use]
    pub fn event(&self, trace: &Trace) -> usize {
        let end = trace.events.len();
        match self {
            Self::Violated(violation) => violation.event.min(end),
            Self::Panicked { .. } => first_bad_end(trace, asupersync_core::Severity::Panicked),
            Self::Failed { .. } => first_bad_end(trace, asupersync_core::Severity::Err),
            Self::Cancelled { .. } | Self::Stalled { .. } | Self::StepLimit { .. } => end,
        }
    }
}

/// Where the first task or region body ended so, or the end.
fn first_bad_end(trace: &Trace, bad: asupersync_core::Severity) -> usize {
    let ended_so = |event: &Event| match event {
        Event::TaskEnded { severity, .. } => *severity == bad,
        Event::RegionClosing { body, .. } => *body == bad,
        _ => false,
    };
    let place = trace.iter().position(ended_so);
    place.map_or(trace.events.len(), |place| place + 1)
}

/// A message without its numbers, which name tasks and values of one schedule.
fn gist(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violated(violation) => write!(f, "{violation}"),
            Self::Panicked { message } => write!(f, "panicked: {message}"),
            Self::Failed { error } => write!(f, "ended with the error {error}"),
            Self::Cancelled { reason } => write!(f, "was cancelled: {reason}"),
            Self::Stalled { left } => {
                write!(f, "stalled: nothing can wake")?;
                list(f, left)
            }
            Self::StepLimit { left } => {
                write!(f, "was given up at the limit of steps with")?;
                list(f, left)
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, left: &[Unfinished]) -> fmt::Result {
    let mut separator = " ";
    for unfinished in left {
        write!(f, "{separator}{:?}", unfinished.subject)?;
        if let Some(name) = &unfinished.name {
            write!(f, " ({name})")?;
        }
        separator = ", ";
    }
    Ok(())
}
