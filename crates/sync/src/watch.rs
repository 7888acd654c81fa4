//! The latest value, and the news that it changed.
//!
//! The problem: to publish a state such that every receiver sees the newest one, never a torn or a lost one, and can wait for the next change.
//!
//! # States
//! open → closed ([`Sender::close`], or the last sender has gone): the last value stays, an unseen change is still reported, then waits end.
//!
//! # Invariants
//! - A value and its version change together, under one lock: who sees a version has its value.
//! - A receiver that waits for a change is woken by the first one after what it has seen, also if that was published before the wait.
//! - A value is never changed in place: [`Ref`] is a snapshot, so a receiver that keeps one holds up nobody, on no thread and across any await.
//! - Writers go one at a time, so a modification is never lost between two others.
//!
//! # Absent
//! Values in between: a slow receiver sees the latest only; use [`broadcast`](crate::broadcast) where each one counts.
//! Reservations: a send never waits, and replaces what was there.

mod ends;
mod error;
mod shared;

pub use ends::{Changed, Closed, Receiver, Sender, WaitFor, channel};
pub use error::{RecvError, SendError};
pub use shared::Ref;
