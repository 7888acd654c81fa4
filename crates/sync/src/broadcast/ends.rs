//! The handles of a broadcast channel.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use super::chan::{Chan, Cursor, Found, Freed};
use super::error::{RecvError, SendError, TryRecvError};
use crate::line::InLine;
use crate::thread;

/// The most messages that a broadcast channel may keep.
const CAPACITY_MAX: usize = (1 << 24) - 1;

/// A channel that keeps at most the last `capacity` messages for receivers that are behind.
///
/// Memory for messages is taken as they come.
/// # Shape and units
/// `capacity` counts messages, 1..=16,777,215.
/// # Panics
/// If `capacity` is out of range.
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::broadcast::{self, RecvError};
/// async fn news(cx: &Cx) -> Result<(), RecvError> {
///     let (tx, mut first) = broadcast::channel(2);
///     let mut second = tx.subscribe();
///     for n in 1..=3 {
///         assert_eq!(tx.send(n), Ok(2));
///     }
///     assert_eq!(first.recv(cx).await, Err(RecvError::Lagged { missed: 1 }));
///     assert_eq!(first.recv(cx).await?, 2);
///     assert_eq!(first.recv(cx).await?, 3);
///     assert_eq!(second.len(), 2);
///     Ok(())
/// }
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        (1..=CAPACITY_MAX).contains(&capacity),
        "a broadcast channel keeps 1 to {CAPACITY_MAX} messages, not {capacity}"
    );
    let (chan, cursor) = Chan::new(capacity);
    let chan = Arc::new(chan);
    let sender = Sender {
        chan: Arc::clone(&chan),
    };
    (sender, Receiver { chan, cursor })
}

/// Sends messages to every receiver; cloned for each task that does.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// Sends `value` to every receiver that there is, and says how many; never waits.
    ///
    /// Overwrites the oldest message if `capacity` are kept.
    /// The effect is *committed*: each of these receivers gets the message, counts it as missed, or goes.
    /// Cost: one lock, and an allocation for each block of 32 messages.
    /// # Errors
    /// [`SendError`] hands the value back, which nobody got: there are no receivers, or the channel was closed.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        self.chan
            .send(value)
            .map_err(|(value, failure)| SendError { value, failure })
    }

    /// A receiver of every message that is sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver {
            cursor: self.chan.subscribe(),
            chan: Arc::clone(&self.chan),
        }
    }

    /// Ends the channel for all senders: receivers take what is kept, then end.
    pub fn close(&self) {
        self.chan.close();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }

    /// Waits until there is no receiver, or the channel was closed.
    ///
    /// Somebody may subscribe after that.
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> Closed<'a, T> {
        let _ = cx;
        Closed {
            chan: &self.chan,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// How many messages are kept for receivers that have not taken them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether every receiver has taken every message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chan.capacity()
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.chan.receivers()
    }

    /// How many senders there are.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.chan.senders()
    }

    /// Whether both send to the same receivers.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }

    /// A sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            chan: Arc::clone(&self.chan),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.chan.add_sender();
        Self {
            chan: Arc::clone(&self.chan),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

/// A sender that does not keep the channel open.
pub struct WeakSender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, unless the last one has gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.chan.revive_sender().then(|| Sender {
            chan: Arc::clone(&self.chan),
        })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self {
            chan: Arc::clone(&self.chan),
        }
    }
}

/// Receives every message that was sent since it subscribed.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
    cursor: Cursor<T>,
}

impl<T> Receiver<T> {
    /// A receiver of every message that is sent from now on; what this one has not seen is not repeated.
    #[must_use]
    pub fn resubscribe(&self) -> Self {
        Self {
            cursor: self.chan.subscribe(),
            chan: Arc::clone(&self.chan),
        }
    }

    /// How many messages this receiver can still get; those that it missed do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.len_of(&self.cursor)
    }

    /// Whether this receiver has seen everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chan.capacity()
    }

    /// How many senders there are.
    #[must_use]
    pub fn sender_strong_count(&self) -> usize {
        self.chan.senders()
    }

    /// Whether nothing more will be sent; messages may be left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.chan.is_over()
    }

    /// Whether both receive from the same senders.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }
}

impl<T: Clone> Receiver<T> {
    /// Receives a message, waiting while there is none.
    ///
    /// Cost: a clone of the message, two loads, and one lock for each block of 32.
    /// # Errors
    /// [`RecvError::Lagged`] if messages were overwritten before this receiver took them; the next call goes on with the oldest kept.
    /// [`RecvError::Closed`] once there is nothing left, and every sender has gone or the channel was closed.
    /// [`RecvError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: the call has taken no message.
    pub const fn recv<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Recv<'a, T> {
        let _ = cx;
        Recv {
            receiver: self,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Receives up to `limit` messages at once, waiting while there is none; appends them to `into` and says how many.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); a lag is reported before the messages that follow it, never after.
    /// # Cancel safety
    /// Safe: the call has taken no message.
    pub const fn recv_many<'a, C>(
        &'a mut self,
        cx: &'a Cx<C>,
        into: &'a mut Vec<T>,
        limit: usize,
    ) -> RecvMany<'a, T> {
        let _ = cx;
        RecvMany {
            receiver: self,
            into,
            limit,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether one may still come, or how many were missed.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.chan.take(&mut self.cursor) {
            Some(Found::Message(message)) => Ok(message),
            Some(Found::Lagged(missed)) => Err(TryRecvError::Lagged { missed }),
            Some(Found::Closed) => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Blocks the thread until there is a message; for threads outside the runtime.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), without a cancellation.
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        let mut wait = InLine::new();
        thread::wait(|task| self.poll_next(&mut wait, task))
    }

    /// Blocks the thread until there are messages, and takes up to `limit` of them; for threads outside the runtime.
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many), without a cancellation.
    pub fn blocking_recv_many(
        &mut self,
        into: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        let mut wait = InLine::new();
        thread::wait(|task| self.poll_many(&mut wait, task, into, limit))
    }

    fn poll_found(&mut self, wait: &mut InLine, task: &Context<'_>) -> Poll<Found<T>> {
        let Self { chan, cursor } = self;
        if let Some(found) = chan.take_own(cursor) {
            // Who was in line then was released by the send that made this so.
            wait.forget_released();
            return Poll::Ready(found);
        }
        wait.tell(&chan.resource, "broadcast.wait");
        if chan.is_drained(cursor) && cursor.cools_down() {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut freed = Freed::none();
        let looked = wait.poll(
            &chan.state,
            |state| &mut state.waiting,
            task.waker(),
            |state| chan.look(state, cursor, &mut freed),
        );
        drop(freed);
        looked.map(|looked| {
            wait.end();
            chan.found(cursor, &looked)
        })
    }

    fn poll_next(&mut self, wait: &mut InLine, task: &Context<'_>) -> Poll<Result<T, RecvError>> {
        self.poll_found(wait, task).map(received)
    }

    fn poll_many(
        &mut self,
        wait: &mut InLine,
        task: &Context<'_>,
        into: &mut Vec<T>,
        limit: usize,
    ) -> Poll<Result<usize, RecvError>> {
        if limit == 0 {
            return Poll::Ready(Ok(0));
        }
        let first = match self.poll_next(wait, task) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(first) => first,
        };
        Poll::Ready(first.map(|first| {
            into.push(first);
            1 + self.take_more(into, limit - 1)
        }))
    }

    /// Takes what is there, up to the end or a lag, which the next call reports.
    fn take_more(&mut self, into: &mut Vec<T>, limit: usize) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(message) = self.chan.take_next(&mut self.cursor) else {
                break;
            };
            into.push(message);
            count += 1;
        }
        count
    }
}

fn received<T>(found: Found<T>) -> Result<T, RecvError> {
    match found {
        Found::Message(message) => Ok(message),
        Found::Lagged(missed) => Err(RecvError::Lagged { missed }),
        Found::Closed => Err(RecvError::Closed),
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.unsubscribe(&mut self.cursor);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Receives one message; from [`Receiver::recv`].
///
/// # Cancel safety
/// Safe: the call has taken no message.
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
    wait: InLine,
    cancel: CancelWait,
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if CancelWait::check().is_none() {
            let Receiver { chan, cursor } = &mut *this.receiver;
            if let Some(found) = chan.take_own(cursor) {
                this.wait.forget_released();
                return Poll::Ready(received(found));
            }
        }
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        this.receiver.poll_next(&mut this.wait, task)
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        let chan = &self.receiver.chan;
        self.wait.tell_left(&chan.resource, "broadcast.leave");
        self.wait.leave(&chan.state, |state| &mut state.waiting);
    }
}

/// Receives several messages; from [`Receiver::recv_many`].
///
/// # Cancel safety
/// Safe: the call has taken no message.
#[must_use = "futures do nothing unless polled"]
pub struct RecvMany<'a, T> {
    receiver: &'a mut Receiver<T>,
    into: &'a mut Vec<T>,
    limit: usize,
    wait: InLine,
    cancel: CancelWait,
}

impl<T: Clone> Future for RecvMany<'_, T> {
    type Output = Result<usize, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        this.receiver
            .poll_many(&mut this.wait, task, this.into, this.limit)
    }
}

impl<T> Drop for RecvMany<'_, T> {
    fn drop(&mut self) {
        let chan = &self.receiver.chan;
        self.wait.tell_left(&chan.resource, "broadcast.leave");
        self.wait.leave(&chan.state, |state| &mut state.waiting);
    }
}

/// Waits for the end of the receivers; from [`Sender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    chan: &'a Chan<T>,
    wait: InLine,
    cancel: CancelWait,
}

impl<T> Future for Closed<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.wait
            .poll(
                &this.chan.state,
                |state| &mut state.gone,
                task.waker(),
                |state| state.is_unheard().then_some(()),
            )
            .map(Ok)
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.wait.leave(&self.chan.state, |state| &mut state.gone);
    }
}
