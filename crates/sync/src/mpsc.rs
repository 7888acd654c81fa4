//! Many senders, one receiver.
//!
//! The problem: to hand messages over in order, with back-pressure, such that a send or a receive that is cancelled at any point neither loses nor doubles one.
//!
//! # Two phases
//! [`Sender::reserve`] waits for a slot and gives a [`SendPermit`], an obligation of the reserving task; [`SendPermit::send`] fills it and cannot fail for want of room.
//! [`Sender::send`] is the fused form: no obligation outlives the call, and a message that was not sent is handed back.
//!
//! [`Sender::reserve_many`] and [`Sender::send_all`] are the same for many messages.
//!
//! # What an outcome means
//! `Ok` of a send is *committed*: the message is received, or dropped with the receiver.
//! Every error is *not started*: the message is in the error, in the hands of the caller, or still in the channel.
//! Nothing here is *unknown*; the errors say so by `effect()`.
//!
//! # States
//! open → closed to new reservations ([`Receiver::close`]) → gone (the receiver was dropped).
//! Permits that were given before `close` still deliver; with the receiver gone they hand the message back, and what was buffered is dropped at once.
//!
//! # Invariants
//! - Messages in = received + handed back + buffered + dropped with the receiver.
//! - buffered + reserved <= capacity; a slot is free again as soon as its message is taken.
//! - Messages of one sender arrive in the order in which they were sent, and those who wait for a slot are served first come, first served.

mod batch;
mod bounded;
mod chan;
mod error;
#[cfg(all(test, loom))]
mod loom_tests;
mod permit;
mod ring;
mod unbounded;

pub use batch::SendAll;
pub use bounded::{Closed, Receiver, Recv, RecvMany, Send, Sender, WeakSender, channel};
pub use error::{
    RecvError, ReserveError, SendError, SendFailure, TryRecvError, TryReserveError, TrySendError,
};
pub use permit::{OwnedSendPermit, Reserve, ReserveMany, ReserveOwned, SendPermit, SendPermits};
pub use unbounded::{
    UnboundedClosed, UnboundedReceiver, UnboundedRecv, UnboundedRecvMany, UnboundedSender,
    WeakUnboundedSender, unbounded_channel,
};
