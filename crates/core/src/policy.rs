//! What a region does when one of its children ends.

use crate::{Severity, TaskId};

/// A child's end, as a policy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChildEnd {
    /// Who ended.
    pub child: TaskId,
    /// How it ended.
    pub severity: Severity,
}

impl ChildEnd {
    /// The end of `child` with an outcome of `severity`.
    #[must_use]
    pub const fn new(child: TaskId, severity: Severity) -> Self {
        Self { child, severity }
    }
}

/// What a policy decides about the rest of the region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Body and siblings go on.
    Continue,
    /// Body and siblings are cancelled with `FailFast`, naming the child.
    CancelRest,
}

/// Decides, for every child outcome of a region, whether the rest goes on.
///
/// The region consults its policy exactly once for each child, in the order in which they end.
/// # Examples
/// ```
/// use asupersync_core::{ChildEnd, Decision, Policy, Severity};
/// /// Panics are fatal, errors are not.
/// struct TolerateErrors;
/// impl Policy for TolerateErrors {
///     fn on_child_end(&self, end: &ChildEnd) -> Decision {
///         if end.severity == Severity::Panicked { Decision::CancelRest } else { Decision::Continue }
///     }
/// }
/// ```
pub trait Policy: Send + Sync {
    /// Called when a child has ended; must not wait.
    fn on_child_end(&self, end: &ChildEnd) -> Decision;
}

/// Cancels the rest of the region when a child fails or panics; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailFast;

impl Policy for FailFast {
    #[inline]
    fn on_child_end(&self, end: &ChildEnd) -> Decision {
        match end.severity {
            Severity::Err | Severity::Panicked => Decision::CancelRest,
            Severity::Ok | Severity::Cancelled => Decision::Continue,
        }
    }
}

/// Lets siblings go on whatever happens to a child; the region reports the worst at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collect;

impl Policy for Collect {
    fn on_child_end(&self, _end: &ChildEnd) -> Decision {
        Decision::Continue
    }
}
