//! Waiting for a task's outcome.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use asupersync_core::{CancelKind, CancelReason, Cancelled, Outcome, TaskId};

use crate::cancel::{self, CancelWait};
use crate::cx::Cx;
use crate::event::Event;
use crate::node::NodeRef;
use crate::task;
use crate::waker::Waiter;

/// A task's handle: joins it, or cancels it.
///
/// Dropping the handle neither cancels nor detaches the task: its region still owns it, and hears of its error.
pub struct JoinHandle<T, E> {
    node: NodeRef,
    outcome: PhantomData<(T, E)>,
}

// SAFETY: the handle gives access to the outcome, which moves with it only if it is `Send`; everything
// else behind the node is shared safely (see `NodeRef`).
unsafe impl<T: Send, E: Send> Send for JoinHandle<T, E> {}
// SAFETY: a shared handle gives no access to the outcome.
unsafe impl<T: Send, E: Send> Sync for JoinHandle<T, E> {}

impl<T, E> JoinHandle<T, E> {
    /// # Safety
    /// The outcome of the task's future is an `Outcome<T, E>`.
    pub(crate) const unsafe fn new(node: NodeRef) -> Self {
        Self {
            node,
            outcome: PhantomData,
        }
    }

    /// The task's name.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.node.task_id()
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        looked(&self.node)
    }

    /// Asks the task to stop, with the kind `User`; it ends when it has cleaned up.
    pub fn cancel(&self) {
        self.cancel_with(CancelKind::User);
    }

    /// Asks the task to stop, for a reason of the given kind.
    pub fn cancel_with(&self, kind: CancelKind) {
        cancel::request_now(&self.node, kind);
    }

    /// Waits until the task has ended and takes its outcome.
    ///
    /// A task that has ended gives its outcome also to a caller that was cancelled.
    /// # Errors
    /// The outcome is the task's; or `Cancelled` with the caller's reason, if the caller had to stop before the task ended.
    /// The task's own error then goes to its region.
    /// # Cancel safety
    /// Lossy: a dropped call gives up the handle; the value of a task is then dropped, its error goes to the region.
    /// To keep the handle, await [`wait`](Self::wait) first.
    #[inline]
    pub const fn join<'a, C>(self, _cx: &'a Cx<C>) -> Join<'a, T, E> {
        Join {
            handle: Some(self),
            cancel: CancelWait::new(),
            context: PhantomData,
        }
    }

    /// Waits until the task has ended, and leaves its outcome where it is.
    ///
    /// # Errors
    /// [`Cancelled`] if the caller must stop first.
    /// # Cancel safety
    /// Safe: nothing was taken.
    pub fn wait<'a, C>(&'a mut self, _cx: &'a Cx<C>) -> Wait<'a, T, E> {
        Wait {
            handle: self,
            cancel: CancelWait::new(),
        }
    }

    /// Takes the outcome if the task has ended.
    ///
    /// # Errors
    /// The handle, if the task still runs.
    pub fn try_join(self) -> Result<Outcome<T, E>, Self> {
        if self.is_finished() {
            Ok(self.take())
        } else {
            Err(self)
        }
    }

    fn take(self) -> Outcome<T, E> {
        let taken = if self.node.is_sole() {
            self.node.state.take_alone()
        } else {
            self.node.state.take()
        };
        debug_assert!(
            taken,
            "the region takes an outcome only after the handle is gone, or closes"
        );
        if !taken {
            return Outcome::Cancelled(taken_before(&self.node));
        }
        self.node.tell_failure_taken();
        // SAFETY: the task is complete, `take` made the outcome this handle's, and its type is what the
        // constructor was promised.
        unsafe { task::take_outcome(&self.node) }
    }
}

/// Whether a task has ended; that somebody asked is told.
#[inline]
fn looked(node: &NodeRef) -> bool {
    let ended = node.state.is_complete();
    node.record(|| Event::TaskAwaited {
        task: node.task_id(),
        ended,
    });
    ended
}

/// Why a handle has no outcome.
#[cold]
fn taken_before(node: &NodeRef) -> CancelReason {
    let now = node.host().now();
    CancelReason::new(CancelKind::ResourceUnavailable, node.origin(), now)
        .with_message("the region has closed and took the outcome")
}

/// Leaves a waker with a task, for the one handle that there is; false if the task ended before.
fn register(node: &NodeRef, waker: &Waker) -> bool {
    if node.state.has_waiter() {
        if node.joiner.is_task(waker) {
            return true;
        }
        if !node.state.withdraw_waiter() {
            return false;
        }
        drop(node.joiner.take());
    }
    node.joiner.put(Waiter::any(waker.clone()));
    if node.state.announce_waiter() {
        drop(node.joiner.take());
        return false;
    }
    true
}

impl<T, E> Drop for JoinHandle<T, E> {
    fn drop(&mut self) {
        // The last reference says the same by itself.
        if !self.node.is_sole() && self.node.state.drop_handle() {
            task::discard_unwanted(&self.node);
        }
    }
}

impl<T, E> fmt::Debug for JoinHandle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("finished", &self.node.state.is_complete())
            .finish()
    }
}

/// Waits for a task's end; from [`JoinHandle::wait`].
#[must_use = "futures do nothing unless polled"]
pub struct Wait<'a, T, E> {
    handle: &'a mut JoinHandle<T, E>,
    cancel: CancelWait,
}

impl<T, E> Future for Wait<'_, T, E> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        poll_end(&this.handle.node, &mut this.cancel, task)
    }
}

/// Waits for a task's outcome; from [`JoinHandle::join`].
///
/// # Panics
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Join<'a, T, E> {
    handle: Option<JoinHandle<T, E>>,
    cancel: CancelWait,
    context: PhantomData<&'a ()>,
}

// Nothing in it is pinned.
impl<T, E> Unpin for Join<'_, T, E> {}

impl<T, E> Future for Join<'_, T, E> {
    type Output = Outcome<T, E>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let handle = this.handle.as_ref();
        let node = &handle.expect("a join that has ended is not polled").node;
        let end = ready!(poll_end(node, &mut this.cancel, task));
        let handle = this.handle.take().expect("it was there above");
        if let Err(cancelled) = end {
            return Poll::Ready(Outcome::Cancelled(cancelled.into_reason()));
        }
        Poll::Ready(handle.take())
    }
}

impl<T, E> fmt::Debug for Join<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Join").field(&self.handle).finish()
    }
}

/// Waits until a task has ended.
fn poll_end(
    node: &NodeRef,
    cancel: &mut CancelWait,
    task: &mut Context<'_>,
) -> Poll<Result<(), Cancelled>> {
    if looked(node) {
        return Poll::Ready(Ok(()));
    }
    if let Poll::Ready(cancelled) = cancel.poll(task) {
        return Poll::Ready(Err(cancelled));
    }
    if register(node, task.waker()) {
        Poll::Pending
    } else {
        Poll::Ready(Ok(()))
    }
}
