//! The first phase of a send: a reserved slot, and the obligation to use it or give it back.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::ObligationKind;
use asupersync_kernel::{CancelWait, Cx, Leaked, Obligation};

use super::bounded::Sender;
use super::chan::{Chan, Enter, OWNED};
use super::error::{ReserveError, SendError, SendFailure, TryReserveError};
use super::ring::{Refusal, Reserved};

/// The ticket of a permit that borrows its sender.
const BORROWED: u64 = 0;

/// A slot and its obligation.
struct Promise {
    reserved: Reserved,
    obligation: Obligation,
}

/// How a promise ended.
enum End {
    /// The slot is as it should be.
    Done,
    /// The slot was taken back before, by the kernel.
    Recovered,
}

impl Promise {
    fn new<T: Send + 'static, C>(
        cx: &Cx<C>,
        chan: &Arc<Chan<T>>,
        reserved: Reserved,
        ticket: u64,
        site: &'static Location<'static>,
    ) -> Self {
        let obligation =
            Obligation::reserve_recoverable_at(cx, ObligationKind::SendPermit, chan, ticket, site);
        chan.resource.trace("mpsc.reserve");
        Self {
            reserved,
            obligation,
        }
    }

    fn send<T>(self, chan: &Chan<T>, value: T) -> (End, Result<(), SendError<T>>) {
        let Self {
            reserved,
            obligation,
        } = self;
        if chan.ring.is_gone() {
            let end = settle(chan, reserved, obligation.abort());
            return (end, Err(SendError::new(value, SendFailure::Closed)));
        }
        match obligation.commit() {
            Ok(()) => {
                let sent = chan.send_reserved(reserved, value);
                let sent = sent.map_err(|(value, _)| SendError::new(value, SendFailure::Closed));
                (End::Done, sent)
            }
            leaked => {
                let end = settle(chan, reserved, leaked);
                (end, Err(SendError::new(value, SendFailure::Leaked)))
            }
        }
    }

    fn abort<T>(self, chan: &Chan<T>) -> End {
        settle(chan, self.reserved, self.obligation.abort())
    }

    fn discard<T>(self, chan: &Chan<T>) -> End {
        settle(chan, self.reserved, self.obligation.discard())
    }
}

/// Gives the slot back, unless the kernel has done so.
fn settle<T>(chan: &Chan<T>, reserved: Reserved, settled: Result<(), Leaked>) -> End {
    match settled {
        Err(leaked) if leaked.is_recovered() => End::Recovered,
        Ok(()) | Err(_) => {
            chan.give_back(reserved);
            End::Done
        }
    }
}

/// A reserved slot; dropping it gives the slot back.
#[must_use = "dropping the permit gives the slot back"]
pub struct SendPermit<'a, T> {
    chan: &'a Chan<T>,
    promise: Option<Promise>,
}

impl<T> SendPermit<'_, T> {
    /// Sends `value` into the slot; never waits.
    ///
    /// # Errors
    /// [`SendError`] hands the value back: the receiver has gone, or the task that reserved has ended, which leaked the permit.
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        let promise = self.promise.take();
        promise
            .expect("only `send`, `abort` and `drop` take the promise")
            .send(self.chan, value)
            .1
    }

    /// Gives the slot back, on purpose: strict mode does not report it.
    pub fn abort(mut self) {
        if let Some(promise) = self.promise.take() {
            promise.abort(self.chan);
        }
    }
}

impl<T> Drop for SendPermit<'_, T> {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            promise.discard(self.chan);
        }
    }
}

/// Several reserved slots: an iterator of [`SendPermit`]s; dropping it gives those that are left back.
#[must_use = "dropping the permits gives the slots back"]
pub struct SendPermits<'a, T> {
    chan: &'a Chan<T>,
    promises: Vec<Promise>,
}

impl<'a, T> Iterator for SendPermits<'a, T> {
    type Item = SendPermit<'a, T>;

    fn next(&mut self) -> Option<Self::Item> {
        let promise = self.promises.pop()?;
        Some(SendPermit {
            chan: self.chan,
            promise: Some(promise),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.promises.len(), Some(self.promises.len()))
    }
}

impl<T> ExactSizeIterator for SendPermits<'_, T> {}

impl<T> SendPermits<'_, T> {
    /// Gives the slots that are left back, on purpose: strict mode does not report it.
    pub fn abort(mut self) {
        while let Some(promise) = self.promises.pop() {
            promise.abort(self.chan);
        }
    }
}

impl<T> Drop for SendPermits<'_, T> {
    fn drop(&mut self) {
        while let Some(promise) = self.promises.pop() {
            promise.discard(self.chan);
        }
    }
}

impl<T> fmt::Debug for SendPermits<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermits")
            .field("len", &self.promises.len())
            .finish_non_exhaustive()
    }
}

/// A reserved slot that owns its sender; dropping it gives the slot back.
#[must_use = "dropping the permit gives the slot back"]
pub struct OwnedSendPermit<T> {
    sender: Option<Sender<T>>,
    promise: Option<Promise>,
}

impl<T> OwnedSendPermit<T> {
    /// Sends `value` into the slot, and gives the sender back; never waits.
    ///
    /// # Errors
    /// [`SendError`] hands the value back: the receiver has gone, or the task that reserved has ended, which leaked the permit.
    pub fn send(mut self, value: T) -> Result<Sender<T>, SendError<T>> {
        match self.end(|promise, chan| promise.send(chan, value)) {
            Some((sender, sent)) => sent.map(|()| sender),
            None => unreachable!("only `send`, `abort` and `drop` take the promise"),
        }
    }

    /// Gives the slot back, on purpose, and gives the sender back; strict mode does not report it.
    ///
    /// A permit that was leaked has no sender any more if its leak was recovered.
    #[must_use = "the sender keeps the channel open"]
    pub fn abort(mut self) -> Option<Sender<T>> {
        let (sender, recovered) = self.end(|promise, chan| match promise.abort(chan) {
            End::Done => (End::Done, false),
            End::Recovered => (End::Recovered, true),
        })?;
        (!recovered).then_some(sender)
    }

    fn end<R>(
        &mut self,
        settle: impl FnOnce(Promise, &Chan<T>) -> (End, R),
    ) -> Option<(Sender<T>, R)> {
        let (promise, mut sender) = (self.promise.take()?, self.sender.take()?);
        let (end, result) = settle(promise, sender.chan());
        if matches!(end, End::Recovered) {
            sender.forget_count();
        }
        Some((sender, result))
    }
}

impl<T> Drop for OwnedSendPermit<T> {
    fn drop(&mut self) {
        self.end(|promise, chan| (promise.discard(chan), ()));
    }
}

impl<T> fmt::Debug for SendPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for OwnedSendPermit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSendPermit").finish_non_exhaustive()
    }
}

#[track_caller]
pub(super) fn try_reserve<'a, T: Send + 'static, C>(
    sender: &'a Sender<T>,
    cx: &Cx<C>,
) -> Result<SendPermit<'a, T>, TryReserveError> {
    let chan = sender.chan();
    match chan.ring.reserve(1) {
        Ok(reserved) => {
            let promise = Promise::new(cx, chan, reserved, BORROWED, Location::caller());
            Ok(SendPermit {
                chan,
                promise: Some(promise),
            })
        }
        Err(refusal) => {
            chan.resource.trace("mpsc.look");
            Err(match refusal {
                Refusal::Full => TryReserveError::Full,
                Refusal::Closed => TryReserveError::Closed,
            })
        }
    }
}

/// One wait for a slot, below both futures.
struct Waiting<'a, C> {
    cx: &'a Cx<C>,
    enter: Enter,
    cancel: CancelWait,
    site: &'static Location<'static>,
}

impl<'a, C> Waiting<'a, C> {
    #[track_caller]
    const fn new(cx: &'a Cx<C>, need: u32) -> Self {
        Self {
            cx,
            enter: Enter::for_many(need),
            cancel: CancelWait::new(),
            site: Location::caller(),
        }
    }

    fn poll<T: Send + 'static>(
        &mut self,
        chan: &Arc<Chan<T>>,
        ticket: u64,
        task: &mut Context<'_>,
    ) -> Poll<Result<Promise, ReserveError>> {
        self.poll_slots(chan, task)
            .map_ok(|reserved| Promise::new(self.cx, chan, reserved, ticket, self.site))
    }

    fn poll_slots<T>(
        &mut self,
        chan: &Chan<T>,
        task: &mut Context<'_>,
    ) -> Poll<Result<Reserved, ReserveError>> {
        if let Poll::Ready(cancelled) = self.cancel.poll(task) {
            self.enter.leave(chan);
            return Poll::Ready(Err(cancelled.into()));
        }
        let reserved = self.enter.poll(chan, task.waker());
        reserved.map_err(|_| ReserveError::Closed)
    }
}

/// Waits for a slot; from [`Sender::reserve`].
///
/// # Cancel safety
/// Requeues: a slot that it had got goes to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Reserve<'a, T, C> {
    sender: &'a Sender<T>,
    waiting: Waiting<'a, C>,
}

impl<'a, T, C> Reserve<'a, T, C> {
    #[track_caller]
    pub(super) const fn new(sender: &'a Sender<T>, cx: &'a Cx<C>) -> Self {
        Self {
            sender,
            waiting: Waiting::new(cx, 1),
        }
    }
}

impl<'a, T: Send + 'static, C> Future for Reserve<'a, T, C> {
    type Output = Result<SendPermit<'a, T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let chan = this.sender.chan();
        let promise = this.waiting.poll(chan, BORROWED, task);
        promise.map_ok(|promise| SendPermit {
            chan,
            promise: Some(promise),
        })
    }
}

impl<T, C> Drop for Reserve<'_, T, C> {
    fn drop(&mut self) {
        self.waiting.enter.leave(self.sender.chan());
    }
}

/// Waits for several slots; from [`Sender::reserve_many`].
///
/// # Cancel safety
/// Requeues: slots that it had got go to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct ReserveMany<'a, T, C> {
    sender: &'a Sender<T>,
    count: usize,
    waiting: Waiting<'a, C>,
}

impl<'a, T, C> ReserveMany<'a, T, C> {
    #[track_caller]
    pub(super) fn new(sender: &'a Sender<T>, cx: &'a Cx<C>, count: usize) -> Self {
        // What is more than that fails before it waits.
        let need = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            sender,
            count,
            waiting: Waiting::new(cx, need),
        }
    }
}

impl<'a, T: Send + 'static, C> Future for ReserveMany<'a, T, C> {
    type Output = Result<SendPermits<'a, T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let chan = this.sender.chan();
        let (count, capacity) = (this.count, chan.ring.capacity());
        if count > capacity {
            return Poll::Ready(Err(ReserveError::TooMany { count, capacity }));
        }
        let Waiting { cx, site, .. } = this.waiting;
        let reserved = this.waiting.poll_slots(chan, task);
        reserved.map_ok(|reserved| {
            let slots = reserved.split();
            let promises = slots.map(|slot| Promise::new(cx, chan, slot, BORROWED, site));
            SendPermits {
                chan,
                promises: promises.collect(),
            }
        })
    }
}

impl<T, C> Drop for ReserveMany<'_, T, C> {
    fn drop(&mut self) {
        self.waiting.enter.leave(self.sender.chan());
    }
}

/// Waits for a slot; from [`Sender::reserve_owned`].
///
/// # Cancel safety
/// Requeues: a slot that it had got goes to the next in line; the sender is dropped.
#[must_use = "futures do nothing unless polled"]
pub struct ReserveOwned<'a, T, C> {
    sender: Option<Sender<T>>,
    waiting: Waiting<'a, C>,
}

impl<'a, T, C> ReserveOwned<'a, T, C> {
    #[track_caller]
    pub(super) const fn new(sender: Sender<T>, cx: &'a Cx<C>) -> Self {
        Self {
            sender: Some(sender),
            waiting: Waiting::new(cx, 1),
        }
    }
}

impl<T: Send + 'static, C> Future for ReserveOwned<'_, T, C> {
    type Output = Result<OwnedSendPermit<T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let sender = this.sender.as_ref();
        let chan = sender.expect("a future is not polled after its end").chan();
        let promise = this.waiting.poll(chan, OWNED, task);
        promise.map_ok(|promise| OwnedSendPermit {
            sender: this.sender.take(),
            promise: Some(promise),
        })
    }
}

impl<T, C> Drop for ReserveOwned<'_, T, C> {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            self.waiting.enter.leave(sender.chan());
        }
    }
}
