//! Waiting under a lock for what it guards to change.
//!
//! The problem: to give a lock up and wait in one step, so that a change made by the next owner is not missed.
//!
//! # Invariants
//! - A waiter is in line before its lock is given up, so whoever changes the value under the lock and notifies after finds it there.
//! - A notification for one that does not lead to a held lock (the waiter was dropped, cancelled, or found the lock poisoned) goes to the next in line.
//! - A notification while nobody waits is lost, as with every condition variable: the value says what has happened.
//! - Nobody wakes without a notification.
//!
//! # Cancellation
//! A cancelled wait does *not* take the lock again: that could take as long as others hold it, and a task that must stop must come to an end.
//! `docs/design/locks.md` has the reasons.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{CancelWait, Cx, Resource, wake_contained};

use crate::mutex::{LockError, MutexGuard, OwnedMutexGuard};
use crate::primitive::{Mutex, lock};
use crate::spot::Spot;
use crate::waiters::{Grant, WaitList};

/// Lets tasks wait for a change of what a [`Mutex`](crate::Mutex) guards.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{Condvar, LockError, Mutex};
/// struct Queue {
///     jobs: Mutex<Vec<u32>>,
///     changed: Condvar,
/// }
/// async fn take(cx: &Cx, queue: &Queue) -> Result<Option<u32>, LockError> {
///     let jobs = queue.jobs.lock(cx).await?;
///     let mut jobs = queue
///         .changed
///         .wait_while(cx, jobs, |jobs| jobs.is_empty())
///         .await?;
///     Ok(jobs.pop())
/// }
/// ```
pub struct Condvar {
    line: Mutex<WaitList>,
    resource: Resource,
}

impl Condvar {
    crate::primitive::const_unless_loom! {
        /// Without waiters.
        #[must_use]
        pub fn new() -> Self {
            Self {
                line: Mutex::new(WaitList::new()),
                resource: Resource::new(),
            }
        }
    }

    /// Gives the lock up, waits for a notification, and takes the lock again.
    ///
    /// It is in line, first come first served, before the lock is given up, which happens when the call is first polled.
    /// # Errors
    /// [`LockError::Cancelled`] if the context being polled must stop, [`LockError::Poisoned`] if a holder panicked meanwhile.
    /// In both cases the lock is not held.
    /// # Cancel safety
    /// Lossy: the lock is given up and not taken again; a notification that it had got goes to the next in line.
    pub async fn wait<'a, T: ?Sized, C>(
        &self,
        cx: &Cx<C>,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, LockError> {
        let mutex = MutexGuard::mutex(&guard);
        let notified = Parked::new(self, guard).await?;
        let _ = cx;
        let guard = mutex.lock_again().await?;
        notified.used();
        Ok(guard)
    }

    /// Waits as long as `condition` holds of the guarded value; looks before it waits, and after each notification.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    /// # Cancel safety
    /// Lossy: as [`wait`](Self::wait).
    pub async fn wait_while<'a, T: ?Sized, C>(
        &self,
        cx: &Cx<C>,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, LockError> {
        while condition(&mut guard) {
            guard = self.wait(cx, guard).await?;
        }
        Ok(guard)
    }

    /// Like [`wait`](Self::wait), for a guard that keeps the mutex alive.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    /// # Cancel safety
    /// Lossy: as [`wait`](Self::wait).
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use asupersync_kernel::Cx;
    /// use asupersync_sync::{Condvar, LockError, Mutex, OwnedMutexGuard};
    /// async fn next_change(
    ///     cx: &Cx,
    ///     count: &Arc<Mutex<u32>>,
    ///     changed: &Condvar,
    /// ) -> Result<OwnedMutexGuard<u32>, LockError> {
    ///     let held = count.lock_owned(cx).await?;
    ///     changed.wait_owned(cx, held).await
    /// }
    /// ```
    pub async fn wait_owned<T: ?Sized, C>(
        &self,
        cx: &Cx<C>,
        guard: OwnedMutexGuard<T>,
    ) -> Result<OwnedMutexGuard<T>, LockError> {
        let mutex = Arc::clone(OwnedMutexGuard::mutex(&guard));
        let notified = Parked::new(self, guard).await?;
        let guard = mutex.lock_owned(cx).await?;
        notified.used();
        Ok(guard)
    }

    /// Like [`wait_while`](Self::wait_while), for a guard that keeps the mutex alive.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    /// # Cancel safety
    /// Lossy: as [`wait`](Self::wait).
    pub async fn wait_while_owned<T: ?Sized, C>(
        &self,
        cx: &Cx<C>,
        mut guard: OwnedMutexGuard<T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<OwnedMutexGuard<T>, LockError> {
        while condition(&mut guard) {
            guard = self.wait_owned(cx, guard).await?;
        }
        Ok(guard)
    }

    /// Wakes the first in line, if there is one.
    ///
    /// The lock need not be held.
    pub fn notify_one(&self) {
        self.resource.trace("condvar.one");
        self.hand_on();
    }

    /// Wakes everybody in line.
    pub fn notify_all(&self) {
        self.resource.trace("condvar.all");
        let mut wakers = lock(&self.line).grant_all(Grant::All);
        wakers.wake();
    }

    fn hand_on(&self) {
        let next = lock(&self.line).grant_front(Grant::One);
        let next = next.filter(|_| !is_on(Mutation::CondvarIsSilent));
        next.into_iter().for_each(wake_contained);
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("has_waiters", &!lock(&self.line).is_empty())
            .finish_non_exhaustive()
    }
}

/// A notification that has come; goes to the next in line unless it is used.
struct Notification<'c> {
    condvar: &'c Condvar,
    /// Whether it came to this waiter alone.
    is_own: bool,
}

impl Notification<'_> {
    fn used(mut self) {
        self.is_own = false;
    }
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        if self.is_own {
            self.condvar.notify_one();
        }
    }
}

/// The wait for a notification, from the lock's giving up on; `G` is the guard.
struct Parked<'c, G> {
    condvar: &'c Condvar,
    guard: Option<G>,
    place: Spot,
    cancel: CancelWait,
}

/// The guard is dropped, never pinned.
impl<G> Unpin for Parked<'_, G> {}

impl<'c, G> Parked<'c, G> {
    const fn new(condvar: &'c Condvar, guard: G) -> Self {
        Self {
            condvar,
            guard: Some(guard),
            place: Spot::new(),
            cancel: CancelWait::new(),
        }
    }

    fn leave(&mut self) {
        if !self.place.is_in_line() {
            return;
        }
        self.condvar.resource.trace("condvar.leave");
        let (old, next) = {
            let mut line = lock(&self.condvar.line);
            let (grant, old) = self.place.leave(&mut line);
            let next = match grant {
                Some(Grant::One) => line.grant_front(Grant::One),
                Some(Grant::All | Grant::Closed) | None => None,
            };
            (old, next)
        };
        drop(old);
        next.into_iter().for_each(wake_contained);
    }
}

impl<'c, G> Future for Parked<'c, G> {
    type Output = Result<Notification<'c>, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled));
        }
        if let Some(guard) = this.guard.take() {
            let waker = task.waker().clone();
            this.place.enter(&mut lock(&this.condvar.line), waker, ());
            this.condvar.resource.trace("condvar.wait");
            // Given up once it is in line, and without the line's lock: that wakes the next owner.
            drop(guard);
            return Poll::Pending;
        }
        let looked = this
            .place
            .look(&this.condvar.line, |line| line, task.waker());
        looked.map(|grant| {
            Ok(Notification {
                condvar: this.condvar,
                is_own: grant == Grant::One,
            })
        })
    }
}

impl<G> Drop for Parked<'_, G> {
    fn drop(&mut self) {
        self.leave();
    }
}
