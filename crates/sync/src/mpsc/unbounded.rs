//! A channel whose senders never wait.
//!
//! The problem: to hand messages over where waiting for room would be a deadlock; what bounds the channel is the program.
//!
//! # Invariants
//! - Senders append to `inbox` under a short lock; the receiver exchanges it for its own empty queue and drains that without a lock.
//! - Who waits says so first and looks again after; who sends looks for a waiting receiver after. Both are sequentially consistent.
//!
//! # Absent
//! Reservations: a send cannot fail for want of room.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx, Resource, wake_contained};

use super::error::{RecvError, SendError, SendFailure, TryRecvError};
use crate::line::InLine;
use crate::primitive::{AtomicBool, AtomicUsize, Mutex, Ordering, lock, total_order};
use crate::thread;
use crate::waiters::{Grant, WaitList};

/// An empty queue that grew larger than this is given back.
const KEPT_MESSAGES: usize = 4096;

struct Inbox<T> {
    queue: VecDeque<T>,
    is_closed: bool,
    rx_waker: Option<Waker>,
    /// Who waits for the end of the receiver.
    closed: WaitList,
}

pub(super) struct Chan<T> {
    inbox: Mutex<Inbox<T>>,
    rx_waiting: AtomicBool,
    /// Sent and not received.
    count: AtomicUsize,
    senders: AtomicUsize,
    resource: Resource,
}

impl<T> Chan<T> {
    pub(super) fn new() -> Self {
        Self {
            inbox: Mutex::new(Inbox {
                queue: VecDeque::new(),
                is_closed: false,
                rx_waker: None,
                closed: WaitList::new(),
            }),
            rx_waiting: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            senders: AtomicUsize::new(1),
            resource: Resource::new(),
        }
    }

    pub(super) fn send(&self, value: T) -> Result<(), T> {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.is_closed {
                return Err(value);
            }
            inbox.queue.push_back(value);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.resource.trace("mpsc.send");
        self.wake_receiver();
        Ok(())
    }

    fn wake_receiver(&self) {
        if self.rx_waiting.load(Ordering::SeqCst) && self.rx_waiting.swap(false, Ordering::SeqCst) {
            let waker = lock(&self.inbox).rx_waker.take();
            waker.into_iter().for_each(wake_contained);
        }
    }

    pub(super) fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            total_order();
            self.resource.trace("mpsc.close");
            self.wake_receiver();
        }
    }

    /// Takes the next message out of the receiver's own queue, which is filled from the inbox when it is empty.
    pub(super) fn take(&self, own: &mut VecDeque<T>) -> Option<T> {
        if own.is_empty() {
            if own.capacity() > KEPT_MESSAGES {
                *own = VecDeque::new();
            }
            std::mem::swap(&mut lock(&self.inbox).queue, own);
        }
        let value = own.pop_front()?;
        self.taken(1);
        Some(value)
    }

    fn taken(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
        for _ in 0..count {
            self.resource.trace("mpsc.recv");
        }
    }

    fn take_many(&self, own: &mut VecDeque<T>, into: &mut Vec<T>, limit: usize) -> usize {
        let mut count = 0;
        while count < limit {
            if own.is_empty() {
                std::mem::swap(&mut lock(&self.inbox).queue, own);
            }
            let batch = own.len().min(limit - count);
            if batch == 0 {
                break;
            }
            into.reserve(batch);
            into.extend(own.drain(..batch));
            count += batch;
        }
        if count > 0 {
            self.taken(count);
        }
        count
    }

    pub(super) fn poll_recv<R>(
        &self,
        own: &mut VecDeque<T>,
        waker: &Waker,
        mut take: impl FnMut(&Self, &mut VecDeque<T>) -> Option<R>,
    ) -> Poll<Option<R>> {
        if let Some(found) = take(self, own) {
            return Poll::Ready(Some(found));
        }
        self.register_receiver(waker);
        // In this order: what was sent before the end is seen after it.
        let is_over = self.is_over();
        let found = take(self, own);
        if found.is_some() || is_over {
            self.rx_waiting.swap(false, Ordering::SeqCst);
            if found.is_none() {
                self.resource.trace("mpsc.end");
            }
            return Poll::Ready(found);
        }
        self.resource.trace("mpsc.wait");
        Poll::Pending
    }

    fn register_receiver(&self, waker: &Waker) {
        let is_known = lock(&self.inbox)
            .rx_waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            let old = lock(&self.inbox).rx_waker.replace(waker);
            drop(old);
        }
        self.rx_waiting.swap(true, Ordering::SeqCst);
        total_order();
    }

    fn is_over(&self) -> bool {
        self.senders.load(Ordering::SeqCst) == 0 || lock(&self.inbox).is_closed
    }

    fn close(&self) {
        let mut wakers = {
            let mut inbox = lock(&self.inbox);
            inbox.is_closed = true;
            inbox.closed.grant_all(Grant::All)
        };
        self.resource.trace("mpsc.close");
        wakers.wake();
    }
}

/// A channel without a bound; its senders never wait.
///
/// # Examples
/// ```
/// use asupersync_sync::mpsc;
/// let (tx, mut rx) = mpsc::unbounded_channel();
/// tx.send(1).expect("the receiver is here");
/// assert_eq!(rx.try_recv(), Ok(1));
/// drop(tx);
/// assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Closed));
/// ```
#[must_use]
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let chan = Arc::new(Chan::new());
    let sender = UnboundedSender {
        chan: Arc::clone(&chan),
    };
    let receiver = UnboundedReceiver {
        chan,
        own: VecDeque::new(),
    };
    (sender, receiver)
}

/// Sends messages without waiting; cloned for each task that does.
pub struct UnboundedSender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> UnboundedSender<T> {
    /// Sends `value`; never waits.
    ///
    /// # Errors
    /// [`SendError`] hands the value back if the receiver has gone or was closed.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.chan
            .send(value)
            .map_err(|value| SendError::new(value, SendFailure::Closed))
    }

    /// Waits until the receiver has gone or was closed.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> UnboundedClosed<'a, T> {
        let _ = cx;
        UnboundedClosed {
            chan: &self.chan,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Whether the receiver has gone or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.chan.inbox).is_closed
    }

    /// How many senders there are.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.chan.senders.load(Ordering::Acquire)
    }

    /// How many messages are buffered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.count.load(Ordering::Relaxed)
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

    /// A sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender {
            chan: Arc::clone(&self.chan),
        }
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        self.chan.senders.fetch_add(1, Ordering::Relaxed);
        Self {
            chan: Arc::clone(&self.chan),
        }
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

/// A sender that does not keep the channel open.
pub struct WeakUnboundedSender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> WeakUnboundedSender<T> {
    /// A sender, unless the last one has gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<UnboundedSender<T>> {
        let mut count = self.chan.senders.load(Ordering::Relaxed);
        while count != 0 {
            match self.chan.senders.compare_exchange_weak(
                count,
                count + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let chan = Arc::clone(&self.chan);
                    return Some(UnboundedSender { chan });
                }
                Err(seen) => count = seen,
            }
        }
        None
    }
}

impl<T> Clone for WeakUnboundedSender<T> {
    fn clone(&self) -> Self {
        Self {
            chan: Arc::clone(&self.chan),
        }
    }
}

/// Receives messages; dropping it drops what is buffered.
pub struct UnboundedReceiver<T> {
    chan: Arc<Chan<T>>,
    own: VecDeque<T>,
}

impl<T> UnboundedReceiver<T> {
    /// Receives a message, waiting while the channel is empty.
    ///
    /// Cost: one lock for as many messages as were sent since the last one.
    /// # Errors
    /// [`RecvError::Closed`] once the channel is empty and every sender has gone, or it was closed.
    /// [`RecvError::Cancelled`] if the context being polled must stop; messages stay in the channel.
    /// # Cancel safety
    /// Safe: the call has taken no message.
    pub const fn recv<'a, C>(&'a mut self, cx: &'a Cx<C>) -> UnboundedRecv<'a, T> {
        let _ = cx;
        UnboundedRecv {
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
    ) -> UnboundedRecvMany<'a, T> {
        let _ = cx;
        UnboundedRecvMany {
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
        let is_over = self.chan.is_over();
        match self.chan.take(&mut self.own) {
            Some(value) => Ok(value),
            None => {
                self.chan.resource.trace("mpsc.look");
                Err(if is_over {
                    TryRecvError::Closed
                } else {
                    TryRecvError::Empty
                })
            }
        }
    }

    /// Blocks the thread until there is a message; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none will come.
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        let Self { chan, own } = self;
        thread::wait(|task| chan.poll_recv(own, task.waker(), Chan::take)).ok_or(RecvError::Closed)
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
        let Self { chan, own } = self;
        let count = thread::wait(|task| {
            chan.poll_recv(own, task.waker(), |chan, own| {
                let count = chan.take_many(own, into, limit);
                (count > 0).then_some(count)
            })
        });
        count.ok_or(RecvError::Closed)
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.chan.inbox).is_closed
    }

    /// How many senders there are.
    #[must_use]
    pub fn sender_strong_count(&self) -> usize {
        self.chan.senders.load(Ordering::Acquire)
    }

    /// Accepts no more messages; those that are buffered can still be received.
    pub fn close(&mut self) {
        self.chan.close();
    }

    /// How many messages are buffered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan.count.load(Ordering::Relaxed)
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for UnboundedReceiver<T> {
    fn drop(&mut self) {
        self.chan.close();
        // The queue's messages are dropped without the lock, and with this end, not with the last sender.
        let inbox = std::mem::take(&mut lock(&self.chan.inbox).queue);
        drop(inbox);
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len();
        f.debug_struct("UnboundedSender")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WeakUnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakUnboundedSender")
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for UnboundedReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len();
        f.debug_struct("UnboundedReceiver")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

/// Receives one message; from [`UnboundedReceiver::recv`].
///
/// # Cancel safety
/// Safe: the call has taken no message.
#[must_use = "futures do nothing unless polled"]
pub struct UnboundedRecv<'a, T> {
    receiver: &'a mut UnboundedReceiver<T>,
    cancel: CancelWait,
}

impl<T> Future for UnboundedRecv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let UnboundedReceiver { chan, own } = &mut *this.receiver;
        if CancelWait::check().is_none()
            && let Some(value) = chan.take(own)
        {
            return Poll::Ready(Ok(value));
        }
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        let next = chan.poll_recv(own, task.waker(), Chan::take);
        next.map(|value| value.ok_or(RecvError::Closed))
    }
}

/// Receives several messages; from [`UnboundedReceiver::recv_many`].
///
/// # Cancel safety
/// Safe: the call has taken no message.
#[must_use = "futures do nothing unless polled"]
pub struct UnboundedRecvMany<'a, T> {
    receiver: &'a mut UnboundedReceiver<T>,
    into: &'a mut Vec<T>,
    limit: usize,
    cancel: CancelWait,
}

impl<T> Future for UnboundedRecvMany<'_, T> {
    type Output = Result<usize, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        if this.limit == 0 {
            return Poll::Ready(Ok(0));
        }
        let UnboundedReceiver { chan, own } = &mut *this.receiver;
        let next = chan.poll_recv(own, task.waker(), |chan, own| {
            let count = chan.take_many(own, this.into, this.limit);
            (count > 0).then_some(count)
        });
        next.map(|count| count.ok_or(RecvError::Closed))
    }
}

/// Waits for the end of the receiver; from [`UnboundedSender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct UnboundedClosed<'a, T> {
    chan: &'a Chan<T>,
    wait: InLine,
    cancel: CancelWait,
}

impl<T> Future for UnboundedClosed<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.wait
            .poll(
                &this.chan.inbox,
                |inbox| &mut inbox.closed,
                task.waker(),
                |inbox| inbox.is_closed.then_some(()),
            )
            .map(Ok)
    }
}

impl<T> Drop for UnboundedClosed<'_, T> {
    fn drop(&mut self) {
        self.wait.leave(&self.chan.inbox, |inbox| &mut inbox.closed);
    }
}
