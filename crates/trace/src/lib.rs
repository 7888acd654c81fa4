//! What events tell: pure functions over what a host recorded.
//!
//! [`Holds`] follows who holds a lock and who waits for it; the lab asks it of a whole run, the runtime of the present moment.
#![forbid(unsafe_code)]

mod holds;

pub use holds::{Hold, Holds};
