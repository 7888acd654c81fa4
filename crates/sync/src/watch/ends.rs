//! The handles of a watch channel.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{CancelWait, Cx, Resource};

use super::error::{RecvError, SendError};
use super::shared::{Ref, Shared};
use crate::line::InLine;
use crate::primitive::lock;
use crate::thread;

/// A watch that holds `value`, which its first receiver has seen.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::watch;
/// async fn ready(cx: &Cx) -> Result<(), watch::RecvError> {
///     let (tx, mut rx) = watch::channel("starting");
///     tx.send("ready").expect("the receiver is here");
///     rx.changed(cx).await?;
///     assert_eq!(*rx.borrow(), "ready");
///     assert_eq!(*rx.wait_for(cx, |state| state.starts_with('r')).await?, "ready");
///     Ok(())
/// }
/// ```
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(value));
    let sender = Sender {
        shared: Arc::clone(&shared),
    };
    let receiver = Receiver::at(shared, 0);
    (sender, receiver)
}

/// Publishes values; cloned for each task that does.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Publishes `value`; never waits for a task.
    ///
    /// The effect is *committed*: every receiver sees this value or a later one.
    /// Cost: one allocation and two locks.
    /// # Errors
    /// [`SendError`] hands the value back if there is no receiver, or the watch was closed; [`send_replace`](Self::send_replace) publishes in any case.
    /// # Panics
    /// If it is called by a modification of the same watch.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let published = {
            let writing = self.shared.writing();
            if lock(&self.shared.state).is_unseen() {
                drop(writing);
                return Err(SendError { value });
            }
            writing.publish(Arc::new(value))
        };
        drop(published.finish());
        Ok(())
    }

    /// Publishes `value`, whoever sees it, and gives the one that was there before.
    ///
    /// # Panics
    /// If it is called by a modification of the same watch.
    pub fn send_replace(&self, value: T) -> Ref<T> {
        let published = self.shared.writing().publish(Arc::new(value));
        Ref::new(published.finish(), false)
    }

    /// The latest value.
    #[must_use]
    pub fn borrow(&self) -> Ref<T> {
        Ref::new(self.shared.latest().0, false)
    }

    /// A receiver that has seen the latest value.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::at(Arc::clone(&self.shared), self.shared.subscribe())
    }

    /// Ends the watch for all senders: receivers see the latest value, then end.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether there is no receiver, or [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared.state).is_unseen()
    }

    /// Waits until there is no receiver, or the watch was closed.
    ///
    /// Somebody may subscribe after that.
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> Closed<'a, T> {
        let _ = cx;
        Closed {
            shared: &self.shared,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        lock(&self.shared.state).receivers
    }

    /// How many senders there are.
    #[must_use]
    pub fn sender_count(&self) -> usize {
        lock(&self.shared.state).senders
    }

    /// Whether both publish to the same receivers.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: Clone> Sender<T> {
    /// Changes a copy of the value and publishes it, whoever sees it.
    ///
    /// Other writers wait meanwhile, receivers do not.
    /// If `change` panics, the value stays as it is.
    /// # Panics
    /// If it is called by a modification of the same watch.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes a copy of the value, and publishes it if `change` says so; otherwise the copy is dropped, and nobody sees it.
    ///
    /// Says whether it was published.
    /// # Panics
    /// If it is called by a modification of the same watch.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let published = {
            let writing = self.shared.writing();
            let mut value = T::clone(&self.shared.latest().0);
            change(&mut value).then(|| writing.publish(Arc::new(value)))
        };
        let is_published = published.is_some();
        drop(published.map(super::shared::Published::finish));
        is_published
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.add_sender();
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

/// Sees the latest value, and waits for the next; a clone has seen what the original has.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version that was seen last.
    seen: u64,
    /// It has seen a change since it last gave others their turn.
    is_hot: bool,
    /// What it has seen, for a host that records.
    own: Resource,
}

impl<T> Receiver<T> {
    const fn at(shared: Arc<Shared<T>>, seen: u64) -> Self {
        Self {
            shared,
            seen,
            is_hot: false,
            own: Resource::new(),
        }
    }

    /// The latest value; does not mark it as seen.
    #[must_use]
    pub fn borrow(&self) -> Ref<T> {
        let (value, version) = self.shared.latest();
        Ref::new(value, version != self.seen)
    }

    /// The latest value, which is then seen: [`changed`](Self::changed) waits for a later one.
    pub fn borrow_and_update(&mut self) -> Ref<T> {
        let (value, version) = self.shared.latest();
        let before = std::mem::replace(&mut self.seen, version);
        self.tell_seen(None, before, version);
        Ref::new(value, before != version)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if there is none, and nothing more will come.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let state = lock(&self.shared.state);
        if state.version != self.seen {
            Ok(true)
        } else if state.is_over() {
            Err(RecvError::Closed)
        } else {
            Ok(false)
        }
    }

    /// Waits for a value that was not seen, and marks it as seen.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if the latest was seen, and every sender has gone or the watch was closed.
    /// [`RecvError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: no change was marked as seen.
    pub const fn changed<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Changed<'a, T> {
        let _ = cx;
        Changed {
            receiver: self,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Waits until the latest value is as wanted, and gives it; it may be so already.
    ///
    /// Values that are not as wanted are marked as seen.
    /// # Errors
    /// As [`changed`](Self::changed).
    /// # Cancel safety
    /// Safe: a dropped call has seen no value that is as wanted.
    pub const fn wait_for<'a, C, F: FnMut(&T) -> bool>(
        &'a mut self,
        cx: &'a Cx<C>,
        is_wanted: F,
    ) -> WaitFor<'a, T, F> {
        let _ = cx;
        WaitFor {
            receiver: self,
            is_wanted,
            is_first: true,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Blocks the thread until there is a value that was not seen; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none will come.
    pub fn blocking_changed(&mut self) -> Result<(), RecvError> {
        let mut wait = InLine::new();
        thread::wait(|task| self.poll_changed(&mut wait, task))
    }

    /// Blocks the thread until the latest value is as wanted; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if it will not be.
    pub fn blocking_wait_for(
        &mut self,
        mut is_wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if is_wanted(&value) {
                return Ok(value);
            }
            self.blocking_changed()?;
        }
    }

    /// Makes the latest value one that was not seen.
    pub fn mark_changed(&mut self) {
        // Versions count from 0 and do not come round.
        self.seen = self.shared.version().wrapping_sub(1);
        self.own = Resource::new();
    }

    /// Makes the latest value one that was seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version();
        self.own = Resource::new();
    }

    /// Whether nothing more will be published.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared.state).is_over()
    }

    /// Whether both watch the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Tells that it went from one version to another, which is the latest that was published.
    fn tell_seen(&self, operation: Option<&'static str>, from: u64, to: u64) {
        self.shared.resource.trace_messages(operation, 0, || to);
        let change = to.wrapping_sub(from).cast_signed();
        self.own.trace_messages(None, change, || to);
    }

    fn poll_changed(
        &mut self,
        wait: &mut InLine,
        task: &Context<'_>,
    ) -> Poll<Result<(), RecvError>> {
        let from = self.seen;
        let polled = self.poll_version(wait, task);
        match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.tell_seen(Some("watch.changed"), from, self.seen);
                if is_on(Mutation::VersionIsForgotten) {
                    self.seen = from;
                }
            }
            Poll::Ready(Err(_)) => self.shared.resource.trace("watch.end"),
        }
        wait.end();
        polled
    }

    /// Ready with a version that was not seen, which then is.
    fn poll_version(
        &mut self,
        wait: &mut InLine,
        task: &Context<'_>,
    ) -> Poll<Result<(), RecvError>> {
        let Self {
            shared,
            seen,
            is_hot,
            ..
        } = self;
        let version = shared.version();
        if version != *seen {
            *seen = version;
            *is_hot = true;
            // Who was in line then was released by the send that made this so.
            wait.forget_released();
            return Poll::Ready(Ok(()));
        }
        // Once after each change: while a sender is busy, it then has nobody to wake.
        if std::mem::take(is_hot) {
            wait.tell(&shared.resource, "watch.wait");
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let end = wait.poll(
            &shared.state,
            |state| &mut state.waiting,
            task.waker(),
            |state| {
                if state.version != *seen {
                    *seen = state.version;
                    Some(Ok(()))
                } else {
                    state.is_over().then_some(Err(RecvError::Closed))
                }
            },
        );
        if end.is_pending() {
            wait.tell(&shared.resource, "watch.wait");
        }
        end
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.add_receiver();
        Self::at(Arc::clone(&self.shared), self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.remove_receiver();
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("value", &self.borrow())
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("value", &self.borrow())
            .finish_non_exhaustive()
    }
}

/// Waits for a change; from [`Receiver::changed`].
///
/// # Cancel safety
/// Safe: no change was marked as seen.
#[must_use = "futures do nothing unless polled"]
pub struct Changed<'a, T> {
    receiver: &'a mut Receiver<T>,
    wait: InLine,
    cancel: CancelWait,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        this.receiver.poll_changed(&mut this.wait, task)
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        let shared = &self.receiver.shared;
        self.wait.tell_left(&shared.resource, "watch.leave");
        self.wait.leave(&shared.state, |state| &mut state.waiting);
    }
}

/// Waits for a value that is as wanted; from [`Receiver::wait_for`].
///
/// # Cancel safety
/// Safe: a dropped call has seen no value that is as wanted.
#[must_use = "futures do nothing unless polled"]
pub struct WaitFor<'a, T, F> {
    receiver: &'a mut Receiver<T>,
    is_wanted: F,
    is_first: bool,
    wait: InLine,
    cancel: CancelWait,
}

/// The closure is called, never pinned.
impl<T, F> Unpin for WaitFor<'_, T, F> {}

impl<T, F: FnMut(&T) -> bool> Future for WaitFor<'_, T, F> {
    type Output = Result<Ref<T>, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        loop {
            // The first value counts even if it was seen.
            if !std::mem::take(&mut this.is_first) {
                match this.receiver.poll_changed(&mut this.wait, task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {}
                }
            }
            // Without the lock: the closure is the program's code.
            let value = this.receiver.borrow_and_update();
            if (this.is_wanted)(&value) {
                return Poll::Ready(Ok(value));
            }
        }
    }
}

impl<T, F> Drop for WaitFor<'_, T, F> {
    fn drop(&mut self) {
        let shared = &self.receiver.shared;
        self.wait.tell_left(&shared.resource, "watch.leave");
        self.wait.leave(&shared.state, |state| &mut state.waiting);
    }
}

/// Waits for the end of the receivers; from [`Sender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    shared: &'a Shared<T>,
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
                &this.shared.state,
                |state| &mut state.gone,
                task.waker(),
                |state| state.is_unseen().then_some(()),
            )
            .map(Ok)
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.wait.leave(&self.shared.state, |state| &mut state.gone);
    }
}
