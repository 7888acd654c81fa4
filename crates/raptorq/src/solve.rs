//! Solving the constraint matrix: from the numbers of the rows to a plan, from a plan to symbols.
//!
//! The matrix has `L` columns, the intermediate symbols, and three kinds of rows: `S` sparse binary
//! LDPC rows, one sparse binary row for each encoding symbol, and `H` dense octet rows (HDPC).
//! Solving has two halves that never mix:
//!
//! 1. *planning* looks at row numbers only. [`peel`] orders the sparse rows so that each has one new
//!    column, moving some columns to the inactive side; [`dense`] solves what is left of them and of
//!    the HDPC rows, over the inactive columns alone;
//! 2. *execution* ([`plan`]) replays the plan on symbols, strip by strip.
//!
//! A plan depends on `K'` and the rows' numbers, not on data, so it can be kept and used again.
//!
//! Deliberately absent: the row and column exchanges of the RFC's description. Nothing is moved;
//! an order is recorded.

mod dense;
mod peel;
mod plan;
mod policy;
mod rows;

pub use plan::{Plan, PlanStats};
pub use policy::{Policy, PolicyEvent, PolicyReason, SolveError, SolveOptions};

pub(crate) use plan::{DENSE_STRIP_BYTES_MAX, Intermediate, Source};

#[cfg(test)]
mod tests;
