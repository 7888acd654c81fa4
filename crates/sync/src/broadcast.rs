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
//! - Every receiver can get the last `capacity` messages, and no older one.
//! - Messages are freed by blocks of 32, or of `capacity` if that is less: a block goes when it was overwritten as a whole or every receiver is past it, and when the last receiver goes; beyond that, each receiver keeps the block that it reads.
//! - A receiver that lags goes on with the oldest of the last `capacity` messages.
//!
//! # How
//! A message is written into its block once, and then only looked at: a receiver holds the block that it reads, checks with one load that the message has not been overwritten, and clones it.
//! The lock is taken once a block, and to wait.
//! A receiver that has just got a message and finds no other gives the others their turn once before it gets in line: while a sender is busy, it need not be woken for each message.
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
