//! What is known about an operation that did not end well.

/// Whether an operation's effect took place.
///
/// Every error of a two-phase operation answers this question, so that a caller can decide about a retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Effect {
    /// Nothing happened; the operation may be repeated.
    NotStarted,
    /// The effect took place, although the caller was not told.
    Committed,
    /// The effect may or may not have taken place; only the other side knows.
    Unknown,
}
