//! The handles of a bounded channel.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use super::batch::SendAll;
use super::chan::{AwaitClosed, Chan, Enter};
use super::error::{
    RecvError, SendError, SendFailure, TryRecvError, TryReserveError, TrySendError,
};
use super::permit::{self, Reserve, ReserveMany, ReserveOwned, SendPermit};
use super::ring::{CAPACITY_MAX, Consumer, Refusal};
use crate::thread;

/// A channel that holds at most `capacity` messages.
///
/// Memory for messages is taken as they come, and then kept.
/// # Shape and units
/// `capacity` counts messages and reservations, 1..=16,777,215.
/// # Panics
/// If `capacity` is out of range.
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::mpsc;
/// #[derive(Debug, thiserror::Error)]
/// enum AppError {
///     #[error(transparent)]
///     Reserve(#[from] mpsc::ReserveError),
///     #[error(transparent)]
///     Send(#[from] mpsc::SendError<u32>),
///     #[error(transparent)]
///     Recv(#[from] mpsc::RecvError),
/// }
/// async fn pass(cx: &Cx) -> Result<u32, AppError> {
///     let (tx, mut rx) = mpsc::channel(8);
///     let permit = tx.reserve(cx).await?;
///     // Whatever it takes to make the message, there is room for it.
///     permit.send(1)?;
///     tx.send(cx, 2).await?;
///     Ok(rx.recv(cx).await? + rx.recv(cx).await?)
/// }
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        (1..=CAPACITY_MAX).contains(&capacity),
        "a bounded channel holds 1 to {CAPACITY_MAX} messages, not {capacity}"
    );
    let (chan, consumer) = Chan::new(capacity);
    let chan = Arc::new(chan);
    let sender = Sender {
        chan: Arc::clone(&chan),
        is_counted: true,
    };
    (sender, Receiver { chan, consumer })
}

/// Sends messages; cloned for each task that does.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
    /// Not so once a leaked permit's sender was taken back.
    is_counted: bool,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting while the channel is full.
    ///
    /// Cost: two atomic exchanges and no allocation while there is room.
    /// # Errors
    /// [`SendError`] hands the value back, which was not sent: the channel is closed, or the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a dropped call drops the value if it was not sent; a cancelled one hands it back. To keep it in any case, [`reserve`](Self::reserve) first.
    pub fn send<'a, C>(&'a self, cx: &'a Cx<C>, value: T) -> Send<'a, T> {
        let _ = cx;
        Send {
            chan: &self.chan,
            value: Some(value),
            enter: Enter::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Sends `values` from the front on, waiting for room as it is needed; what was not sent stays there.
    ///
    /// What has left `values` is *committed*, what is left is *not started*.
    /// Other senders may come in between.
    /// # Errors
    /// [`SendFailure::Closed`] if the receiver has gone or was closed, [`SendFailure::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: what was not sent stays in `values`.
    pub fn send_all<'a, C>(&'a self, cx: &'a Cx<C>, values: &'a mut VecDeque<T>) -> SendAll<'a, T> {
        let _ = cx;
        SendAll::new(&self.chan, values)
    }

    /// Sends `value` if there is room and nobody waits.
    ///
    /// # Errors
    /// [`TrySendError`] hands the value back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.chan
            .try_send(value)
            .map_err(|(value, refusal)| match refusal {
                Refusal::Full => TrySendError::Full(value),
                Refusal::Closed => TrySendError::Closed(value),
            })
    }

    /// Blocks the thread until `value` is sent; for threads outside the runtime.
    ///
    /// # Errors
    /// [`SendError`] hands the value back if the channel is closed.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let mut enter = Enter::new();
        let sent = match thread::wait(|task| enter.poll(&self.chan, task.waker())) {
            Ok(reserved) => self.chan.send_reserved(reserved, value),
            Err(refusal) => Err((value, refusal)),
        };
        sent.map_err(|(value, _)| SendError::new(value, SendFailure::Closed))
    }

    /// Waits until the receiver has gone or was closed.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> Closed<'a, T> {
        let _ = cx;
        Closed {
            chan: &self.chan,
            wait: AwaitClosed::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Whether the receiver has gone or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.chan.ring.is_closed()
    }

    /// How many messages fit in now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chan.ring.free()
    }

    /// How many messages fit in at all.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.chan.ring.capacity()
    }

    /// How many messages are buffered; reservations are not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.ring.len()
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both send to the same receiver.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }

    /// How many senders there are.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.chan.sender_count()
    }

    /// A sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            chan: Arc::clone(&self.chan),
        }
    }

    pub(super) const fn chan(&self) -> &Arc<Chan<T>> {
        &self.chan
    }

    /// Another than this has already taken the sender out of the count.
    pub(super) const fn forget_count(&mut self) {
        self.is_counted = false;
    }
}

impl<T: std::marker::Send + 'static> Sender<T> {
    /// Waits for a slot and reserves it.
    ///
    /// The permit is an obligation of `cx`'s task: it is used, aborted by dropping it, or reported as leaked when the task ends.
    /// # Errors
    /// [`ReserveError::Closed`](super::ReserveError::Closed) if the receiver has gone or was closed, [`ReserveError::Cancelled`](super::ReserveError::Cancelled) if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a slot that it had got goes to the next in line.
    #[track_caller]
    pub fn reserve<'a, C>(&'a self, cx: &'a Cx<C>) -> Reserve<'a, T, C> {
        Reserve::new(self, cx)
    }

    /// Waits for `count` slots and reserves them, all at once.
    ///
    /// Each permit is an obligation of `cx`'s task, as one from [`reserve`](Self::reserve).
    /// Who waits for many slots stands in line as everybody else, so nobody overtakes it with less.
    /// # Shape and units
    /// `count` counts messages, 0..=[`max_capacity`](Self::max_capacity).
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`ReserveError::TooMany`](super::ReserveError::TooMany) if the channel has fewer slots.
    /// # Cancel safety
    /// Requeues: slots that it had got go to the next in line.
    #[track_caller]
    pub fn reserve_many<'a, C>(&'a self, cx: &'a Cx<C>, count: usize) -> ReserveMany<'a, T, C> {
        ReserveMany::new(self, cx, count)
    }

    /// Like [`reserve`](Self::reserve); the permit owns this sender and gives it back when it is used.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    /// # Cancel safety
    /// Requeues: a slot that it had got goes to the next in line; the sender is dropped.
    #[track_caller]
    pub fn reserve_owned<C>(self, cx: &Cx<C>) -> ReserveOwned<'_, T, C> {
        ReserveOwned::new(self, cx)
    }

    /// Reserves a slot if there is room and nobody waits.
    ///
    /// # Errors
    /// [`TryReserveError`] says what stands in the way.
    #[track_caller]
    pub fn try_reserve<C>(&self, cx: &Cx<C>) -> Result<SendPermit<'_, T>, TryReserveError> {
        permit::try_reserve(self, cx)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.chan.add_sender();
        Self {
            chan: Arc::clone(&self.chan),
            is_counted: true,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.is_counted {
            self.chan.remove_sender();
        }
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
            is_counted: true,
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

/// Receives messages; dropping it drops what is buffered.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
    consumer: Consumer,
}

impl<T> Receiver<T> {
    /// Receives a message, waiting while the channel is empty.
    ///
    /// Cost: one atomic exchange and no allocation while there are messages.
    /// # Errors
    /// [`RecvError::Closed`] once the channel is empty and every sender has gone, or it was closed and no permit is left.
    /// [`RecvError::Cancelled`] if the context being polled must stop; messages stay in the channel.
    /// # Cancel safety
    /// Safe: the call has taken no message.
    pub const fn recv<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Recv<'a, T> {
        let _ = cx;
        Recv {
            receiver: self,
            cancel: CancelWait::new(),
        }
    }

    /// Receives up to `limit` messages at once, waiting while the channel is empty; appends them to `into` and says how many.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
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
            cancel: CancelWait::new(),
        }
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether one may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.chan.look(&mut self.consumer) {
            Poll::Ready(Some(value)) => Ok(value),
            Poll::Ready(None) => Err(TryRecvError::Closed),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    /// Blocks the thread until there is a message; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none will come.
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        thread::wait(|task| self.poll_next(task)).ok_or(RecvError::Closed)
    }

    /// Blocks the thread until there are messages, and takes up to `limit` of them; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none will come.
    pub fn blocking_recv_many(
        &mut self,
        into: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let Self { chan, consumer } = self;
        let count = thread::wait(|task| {
            chan.poll_recv(consumer, task.waker(), |chan, consumer| {
                let count = chan.take_many(consumer, into, limit);
                (count > 0).then_some(count)
            })
        });
        count.ok_or(RecvError::Closed)
    }

    /// How many senders there are.
    #[must_use]
    pub fn sender_strong_count(&self) -> usize {
        self.chan.sender_count()
    }

    /// Makes no more room: who waits for a slot fails, and permits that were given before still deliver.
    ///
    /// Receive until [`RecvError::Closed`] to have every message.
    pub fn close(&mut self) {
        self.chan.close();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.chan.ring.is_closed()
    }

    /// How many messages fit in now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chan.ring.free()
    }

    /// How many messages fit in at all.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.chan.ring.capacity()
    }

    /// How many messages are buffered; reservations are not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.ring.len()
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn poll_next(&mut self, task: &Context<'_>) -> Poll<Option<T>> {
        self.chan
            .poll_recv(&mut self.consumer, task.waker(), Chan::take)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.abandon(&mut self.consumer);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("Sender", &self.chan, f)
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("WeakSender", &self.chan, f)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("Receiver", &self.chan, f)
    }
}

fn describe<T>(name: &str, chan: &Chan<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("len", &chan.ring.len())
        .field("max_capacity", &chan.ring.capacity())
        .field("is_closed", &chan.ring.is_closed())
        .finish_non_exhaustive()
}

/// Sends one message; from [`Sender::send`].
///
/// # Cancel safety
/// Lossy: a dropped call drops the value if it was not sent; a cancelled one hands it back.
#[must_use = "futures do nothing unless polled"]
pub struct Send<'a, T> {
    chan: &'a Chan<T>,
    value: Option<T>,
    enter: Enter,
    cancel: CancelWait,
}

/// The value is moved, never pinned.
impl<T> Unpin for Send<'_, T> {}

impl<T> Send<'_, T> {
    fn value(&mut self) -> T {
        self.value
            .take()
            .expect("a future is not polled after its end")
    }

    fn end(&mut self, failure: SendFailure) -> Poll<Result<(), SendError<T>>> {
        Poll::Ready(Err(SendError::new(self.value(), failure)))
    }

    fn poll_slow(&mut self, task: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        if let Poll::Ready(cancelled) = self.cancel.poll(task) {
            self.enter.leave(self.chan);
            return self.end(cancelled.into());
        }
        match self.enter.poll(self.chan, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => self.end(SendFailure::Closed),
            Poll::Ready(Ok(reserved)) => {
                let value = self.value();
                let sent = self.chan.send_reserved(reserved, value);
                Poll::Ready(sent.map_err(|(value, _)| SendError::new(value, SendFailure::Closed)))
            }
        }
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.enter.is_in_line() || CancelWait::check().is_some() {
            return this.poll_slow(task);
        }
        let value = this.value();
        match this.chan.try_send(value) {
            Ok(()) => Poll::Ready(Ok(())),
            Err((value, refusal)) => {
                this.value = Some(value);
                match refusal {
                    Refusal::Closed => this.end(SendFailure::Closed),
                    Refusal::Full => this.poll_slow(task),
                }
            }
        }
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        self.enter.leave(self.chan);
    }
}

/// Receives one message; from [`Receiver::recv`].
///
/// # Cancel safety
/// Safe: the call has taken no message.
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
    cancel: CancelWait,
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if CancelWait::check().is_none() {
            let Receiver { chan, consumer } = &mut *this.receiver;
            if let Some(value) = chan.take(consumer) {
                return Poll::Ready(Ok(value));
            }
        }
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        let next = this.receiver.poll_next(task);
        next.map(|value| value.ok_or(RecvError::Closed))
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
    cancel: CancelWait,
}

impl<T> Future for RecvMany<'_, T> {
    type Output = Result<usize, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        if this.limit == 0 {
            return Poll::Ready(Ok(0));
        }
        let Receiver { chan, consumer } = &mut *this.receiver;
        let next = chan.poll_recv(consumer, task.waker(), |chan, consumer| {
            let count = chan.take_many(consumer, this.into, this.limit);
            (count > 0).then_some(count)
        });
        next.map(|count| count.ok_or(RecvError::Closed))
    }
}

/// Waits for the end of the receiver; from [`Sender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    chan: &'a Chan<T>,
    wait: AwaitClosed,
    cancel: CancelWait,
}

impl<T> Future for Closed<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.wait.poll(this.chan, task.waker()).map(Ok)
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.wait.leave(self.chan);
    }
}
