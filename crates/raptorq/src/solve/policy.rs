//! How the next inactivation is chosen, and what may stop a solution.
//!
//! | policy | chosen when | does |
//! | --- | --- | --- |
//! | baseline | always first, unless low-degree rows are scarce | the RFC's choice: the largest component of rows of degree two, then the row of least degree |
//! | high support | rows of degree one and two are scarce, or have run out early | inactivates the column with the most rows |
//! | block Schur | the inactive columns reach [`BLOCK_COLUMNS_MIN`] | eliminates the dense part in panels, one look-up for each row and panel |
//!
//! The choice is a function of the matrix alone, so both ends of a transcript make the same one.

use thiserror::Error;

/// Inactive columns from which the dense part is eliminated in panels.
pub(crate) const BLOCK_COLUMNS_MIN: usize = 48;

/// A matrix is scarce in low-degree rows when fewer than one row in this many has degree one or two.
pub(crate) const SCARCE_ONE_IN: usize = 6;

/// A way of choosing what to eliminate next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The RFC's own heuristic (Section 5.4.2.2).
    Baseline,
    /// The column with the most rows is made inactive first.
    HighSupport,
    /// The dense part is eliminated in panels, the HDPC rows bordering it as a low-rank correction.
    BlockSchur,
}

/// Why the solver moved from one policy to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyReason {
    /// Few rows have degree one or two from the start.
    LowDegreeRowsScarce,
    /// Rows of degree two came back after columns of high support were made inactive.
    LowDegreeRowsReturned,
    /// No active column has a row left.
    SupportExhausted,
    /// The inactive columns are many.
    DensePartLarge,
    /// The binary rows alone determine every column: the HDPC rows are not touched.
    BinaryRowsSuffice,
}

/// One change of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyEvent {
    /// The policy that was in force.
    pub from: Policy,
    /// The policy that is in force from here on.
    pub to: Policy,
    /// Why.
    pub reason: PolicyReason,
    /// Columns already inactive.
    pub inactive: u32,
}

/// Bounds on the work of solving.
///
/// # Shape and units
/// `inactive_max` counts columns. Time grows with its cube and memory with its square: 57,326
/// columns, the most there can be, would take minutes and some 800 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SolveOptions {
    /// Most columns that may become inactive; honest rows need fewer than a thousand.
    pub inactive_max: u32,
    /// Start with this policy instead of the one that the matrix suggests.
    pub policy: Option<Policy>,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            inactive_max: 4096,
            policy: None,
        }
    }
}

/// Why rows do not lead to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SolveError {
    /// The rows do not determine every symbol; more are needed.
    #[error("the received symbols leave at least {missing} dimensions undetermined")]
    RankDeficient {
        /// A lower bound on the rows still needed.
        missing: u32,
    },
    /// The rows are so dense that the caller's bound on work was met.
    #[error("the received symbols need more than {limit} inactive columns")]
    TooDense {
        /// The bound, [`SolveOptions::inactive_max`].
        limit: u32,
    },
}
