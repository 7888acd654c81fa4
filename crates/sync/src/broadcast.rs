//! Many senders, many receivers, and every receiver sees every message.
//!
//! The problem: to tell many without waiting for the slowest, such that who falls behind learns how many messages it missed, to the one.
//!
//! # States
//! open → closed ([`Sender::close`], or the last sender has gone): receivers take what is kept, then end.
//! Without receivers a message is handed back; [`Sender::subscribe`] makes new ones at any time before the end.
//!
//! # Invariants
//! - A receiver sees each message that was sent after it subscribed, in order, or counts it in [`RecvError::Lagged`].
//! - At most `capacity` messages are kept, and each only until every receiver has taken it.
//! - A receiver that lags goes on with the oldest of the last `capacity` messages.
//!
//! # How
//! Messages stand in a ring behind a lock, each with the number of receivers that have not taken it.
//! A receiver takes a few of them with one lock, and then checks with one load that what it hands out has not been overwritten meanwhile.
//! So cloning, which is the program's code, runs without a lock; the last receiver of a message gets it without a clone.
//!
//! # Absent
//! Reservations: a send never waits and cannot fail for want of room, since it overwrites the oldest; so there is nothing to reserve.
//! Back-pressure, for the same reason: use an [`mpsc`](crate::mpsc) channel for each receiver that must miss nothing.

mod chan;
mod ends;
mod error;
#[cfg(all(test, loom))]
mod loom_tests;

pub use ends::{Closed, Receiver, Recv, RecvMany, Sender, WeakSender, channel};
pub use error::{RecvError, SendError, SendFailure, TryRecvError};
