//! One value from one task to another: one allocation, no lock.
//!
//! The problem: to hand over a result or a reply once, such that either side learns when the other has gone.
//! The [`Sender`] is itself the permit: it is used up by sending, and dropping it tells the receiver that nothing will come.
//!
//! # Invariants
//! A value that was sent is received, handed back to the sender, or dropped with the receiver that it was meant for; never two of these.
//!
//! # Examples
//! ```
//! use asupersync_kernel::Cx;
//! use asupersync_sync::oneshot;
//! async fn ask(cx: &Cx) -> Result<u32, oneshot::RecvError> {
//!     let (answer, mut question) = oneshot::channel();
//!     answer.send(42).expect("the receiver is here");
//!     question.recv(cx).await
//! }
//! ```

mod ends;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_core::{Cancelled, Effect};
use asupersync_kernel::{CancelWait, Cx};

use self::ends::{Look, Rx, Tx};
use crate::thread;

/// Why no value was received; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The sender was dropped without sending, the receiver was closed, or the value was taken before.
    #[error("the sender has gone without a value")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a value")]
    Cancelled(#[from] Cancelled),
}

impl RecvError {
    /// Whether the value may have been taken by the call that failed: it was not.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// Why no value could be received without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing was sent yet.
    #[error("no value was sent yet")]
    Empty,
    /// Nothing will be sent any more.
    #[error("the sender has gone without a value")]
    Closed,
}

impl TryRecvError {
    /// Whether the value may have been taken by the call that failed: it was not.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

/// A channel for one value.
///
/// Cost: one allocation.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = ends::pair();
    (Sender(tx), Receiver(rx))
}

/// Sends the one value.
pub struct Sender<T>(Tx<T>);

impl<T> Sender<T> {
    /// Sends the value; never waits.
    ///
    /// The effect is *committed*: the receiver takes the value, or drops it with itself.
    /// # Errors
    /// Hands the value back, *not started*, if the receiver has gone or was closed.
    pub fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }

    /// Whether the receiver has gone or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until the receiver has gone or was closed, so that nobody wants the value any more.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub const fn closed<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Closed<'a, T> {
        let _ = cx;
        Closed {
            tx: &mut self.0,
            cancel: CancelWait::new(),
        }
    }
}

/// Receives the one value.
pub struct Receiver<T>(Rx<T>);

impl<T> Receiver<T> {
    /// Waits for the value; after a call that failed or was dropped it can be called again.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if nothing will come, [`RecvError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: the value stays in the channel.
    pub const fn recv<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Recv<'a, T> {
        let _ = cx;
        Recv {
            rx: &mut self.0,
            cancel: CancelWait::new(),
        }
    }

    /// Takes the value if it is there.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether it may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.look() {
            Look::Value(value) => Ok(value),
            Look::Empty => Err(TryRecvError::Empty),
            Look::Closed => Err(TryRecvError::Closed),
        }
    }

    /// Blocks the thread until the value is there; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if nothing will come.
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        thread::wait(|task| self.0.poll(task.waker())).ok_or(RecvError::Closed)
    }

    /// Refuses a value from now on: [`Sender::send`] hands it back.
    ///
    /// A value that was sent before can still be received.
    pub fn close(&mut self) {
        self.0.close();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Waits for the value; from [`Receiver::recv`].
///
/// # Cancel safety
/// Safe: the value stays in the channel.
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, T> {
    rx: &'a mut Rx<T>,
    cancel: CancelWait,
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        let value = this.rx.poll(task.waker());
        value.map(|value| value.ok_or(RecvError::Closed))
    }
}

/// Waits until the receiver has gone; from [`Sender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    tx: &'a mut Tx<T>,
    cancel: CancelWait,
}

impl<T> Future for Closed<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.tx.poll_closed(task.waker()).map(Ok)
    }
}
