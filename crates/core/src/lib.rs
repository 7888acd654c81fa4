//! Identifiers, outcomes, budgets, time, cancellation reasons and policies: the words every other crate speaks.
//!
//! Nothing here waits, starts a thread or reads a clock.
//! The types are values with laws (lattices, semilattices, saturating arithmetic); the `kernel` crate gives them their dynamics.
#![forbid(unsafe_code)]

mod budget;
mod cancel;
mod collections;
mod effect;
mod id;
mod obligation;
mod outcome;
mod panic;
mod policy;
mod time;

pub use budget::Budget;
pub use cancel::{CAUSES_MAX, CancelKind, CancelReason, CancelStage, Cancelled, Origin};
pub use collections::{DetHashMap, DetHashSet};
pub use effect::Effect;
pub use id::{ObligationId, RegionId, TaskId};
pub use obligation::{LeakResponse, ObligationKind};
pub use outcome::{ErrOf, IntoOutcome, OkOf, Outcome, OutcomeError, Severity, join_outcomes};
pub use panic::PanicPayload;
pub use policy::{ChildEnd, Collect, Decision, FailFast, Policy};
pub use time::Time;
