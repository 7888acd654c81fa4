//! Hand-over without a buffer: a send completes when a receiver takes the value.
//!
//! The problem: to know, when a send returns, that somebody has the value, without losing it when one of the two goes away in between.
//!
//! # Two phases
//! [`Sender::reserve`] waits until a receiver waits, and binds it: the [`SendPermit`] is an obligation of the reserving task, and the receiver waits for nothing else.
//! [`SendPermit::send`] gives it the value; dropping the permit lets the receiver go on waiting, in its old place.
//! [`Sender::send`] is the fused form.
//!
//! # States
//! A send: in line → taken. A reservation: in line → bound → sent or aborted.
//! A receive: in line → done, or in line → bound → given a value, and back into the line if the permit is aborted.
//! The channel: open → closed, when a receiver closes it, or when all of one side have gone.
//!
//! # Invariants
//! - Values in = received + handed back + returned + dropped with the last receiver.
//! - A value stays with its send until a receiver's poll takes it, so a wait that is cut short on either side loses nothing.
//! - A value that a permit sent, and whose receiver left before its next poll, is *returned*: the next receiver takes it before all others. There are never more of these than there were bound receivers.
//! - Both sides are served first come, first served: who is first of its side meets who is first of the other.
//!
//! # What an outcome means
//! `Ok` is *committed*, each error *not started*: the value is in the error. Nothing here is *unknown*.

mod ends;
mod error;
mod meeting;
mod permit;

pub use ends::{Closed, Receiver, Recv, Send, Sender, WeakSender, channel};
pub use error::{RecvError, ReserveError, SendError, SendFailure, TryRecvError, TrySendError};
pub use permit::{Reserve, SendPermit};
