//! Identifiers, outcomes, budgets, time, cancellation reasons and policies: the words every other crate speaks.
//!
//! Nothing here waits, allocates threads or reads a clock.
//! The types are values; the `kernel` crate gives them their dynamics.
#![forbid(unsafe_code)]

mod time;

pub use time::Time;
