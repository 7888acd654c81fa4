//! A fair lock that may be held across waits.
//!
//! The problem: one task at a time on a value, first come first served, where a waiter may vanish at any moment.
//! Who comes while somebody has got the lock and not run since gives it a turn, once, before it gets in line.
//!
//! # Poison
//! A panic while the lock is held may leave the value half-changed, so it poisons the lock: from then on [`Mutex::lock`] fails with [`LockError::Poisoned`] until [`Mutex::clear_poison`].
//! A value that no panic can tear stands behind [`Mutex::new_unpoisoned`], which ignores panics.
//! A task that is cancelled, or whose future is dropped, while it holds the lock does not poison it.
//!
//! # Absent
//! An obligation for each guard: a lock costs one compare-and-swap, and dropping the guard is all that its holder owes.

mod cell;
mod guard;
mod head;
mod raw;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use self::cell::Guarded;
use self::head::Head;
use self::raw::Seize;
use crate::thread;

pub use guard::{MappedMutexGuard, MutexGuard, OwnedMappedMutexGuard, OwnedMutexGuard};

/// Why the lock was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A task panicked while it held the lock.
    #[error("the lock is poisoned: its holder panicked")]
    Poisoned,
    /// The context had to stop.
    #[error("cancelled while waiting for a lock")]
    Cancelled(#[from] Cancelled),
}

/// Why the lock could not be taken without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryLockError {
    /// Somebody holds it.
    #[error("the lock is held")]
    Locked,
    /// A task panicked while it held the lock.
    #[error("the lock is poisoned: its holder panicked")]
    Poisoned,
}

/// Mutual exclusion between tasks, first come first served.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{LockError, Mutex};
/// async fn deposit(cx: &Cx, balance: &Mutex<u64>, amount: u64) -> Result<u64, LockError> {
///     let mut balance = balance.lock(cx).await?;
///     *balance += amount;
///     Ok(*balance)
/// }
/// ```
pub struct Mutex<T: ?Sized> {
    guarded: Guarded<T>,
}

impl<T> Mutex<T> {
    crate::primitive::const_unless_loom! {
        /// An unlocked mutex that a panic of its holder poisons.
        pub fn new(value: T) -> Self {
            Self {
                guarded: Guarded::new(value, true),
            }
        }
    }

    crate::primitive::const_unless_loom! {
        /// An unlocked mutex that ignores panics, for a value that no panic can leave half-changed.
        pub fn new_unpoisoned(value: T) -> Self {
            Self {
                guarded: Guarded::new(value, false),
            }
        }
    }

    /// The value, poisoned or not; [`is_poisoned`](Self::is_poisoned) tells.
    pub fn into_inner(self) -> T {
        self.guarded.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    ///
    /// Cost: one compare-and-swap while it is free, and no allocation once as many have waited before.
    /// # Errors
    /// [`LockError::Poisoned`] if a holder panicked, [`LockError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a lock that was handed to it goes to the next in line.
    pub const fn lock<'a, C>(&'a self, cx: &'a Cx<C>) -> Lock<'a, T> {
        let _ = cx;
        Lock {
            mutex: self,
            waiting: Waiting::new(self.head()),
        }
    }

    /// Waits for the lock, for whoever has a context in another call.
    pub(crate) const fn lock_again(&self) -> Lock<'_, T> {
        Lock {
            mutex: self,
            waiting: Waiting::new(self.head()),
        }
    }

    /// Like [`lock`](Self::lock); the guard keeps the mutex alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    /// # Cancel safety
    /// Requeues: a lock that was handed to it goes to the next in line.
    pub fn lock_owned<'a, C>(self: &'a Arc<Self>, cx: &'a Cx<C>) -> LockOwned<'a, T> {
        let _ = cx;
        LockOwned {
            mutex: self,
            waiting: Waiting::new(self.head()),
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.try_take()?;
        Ok(MutexGuard::new(self))
    }

    /// Like [`try_lock`](Self::try_lock); the guard keeps the mutex alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    pub fn try_lock_owned(self: &Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
        self.try_take()?;
        Ok(OwnedMutexGuard::new(Arc::clone(self)))
    }

    /// Blocks the thread until the lock is taken; for threads outside the runtime.
    ///
    /// On a worker it would keep the holder from running.
    /// # Errors
    /// [`LockError::Poisoned`] if a holder panicked.
    pub fn blocking_lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.take_blocking()?;
        Ok(MutexGuard::new(self))
    }

    /// Like [`blocking_lock`](Self::blocking_lock); the guard keeps the mutex alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`blocking_lock`](Self::blocking_lock).
    pub fn blocking_lock_owned(self: &Arc<Self>) -> Result<OwnedMutexGuard<T>, LockError> {
        self.take_blocking()?;
        Ok(OwnedMutexGuard::new(Arc::clone(self)))
    }

    /// Whether a holder panicked.
    pub fn is_poisoned(&self) -> bool {
        self.head().raw.is_poisoned()
    }

    /// Takes the value as it is for good.
    pub fn clear_poison(&self) {
        self.head().raw.clear_poison();
    }

    /// The value; exclusive access needs no lock.
    pub const fn get_mut(&mut self) -> &mut T {
        self.guarded.get_mut()
    }

    const fn head(&self) -> &Head {
        &self.guarded.head
    }

    fn try_take(&self) -> Result<(), TryLockError> {
        if !self.head().raw.try_lock() {
            return Err(TryLockError::Locked);
        }
        self.head().admit().map_err(|_| TryLockError::Poisoned)
    }

    fn take_blocking(&self) -> Result<(), LockError> {
        let mut seize = Seize::new();
        thread::wait(|task| seize.poll(&self.head().raw, task.waker()));
        self.head().admit()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => out.field("value", &&*guard),
            Err(TryLockError::Locked) => out.field("value", &format_args!("<locked>")),
            Err(TryLockError::Poisoned) => out.field("value", &format_args!("<poisoned>")),
        };
        out.finish_non_exhaustive()
    }
}

/// One wait for the lock.
struct Waiting<'a> {
    head: &'a Head,
    seize: Seize,
    cancel: CancelWait,
}

impl<'a> Waiting<'a> {
    const fn new(head: &'a Head) -> Self {
        Self {
            head,
            seize: Seize::new(),
            cancel: CancelWait::new(),
        }
    }

    #[inline]
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        if !self.seize.is_in_line() && CancelWait::check().is_none() && self.head.raw.try_lock() {
            return Poll::Ready(self.head.admit());
        }
        self.poll_slow(task)
    }

    fn poll_slow(&mut self, task: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        if let Poll::Ready(cancelled) = self.cancel.poll(task) {
            self.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        let seized = self.seize.poll(&self.head.raw, task.waker());
        if seized.is_pending() && !self.seize.is_in_line() {
            // Who comes back has no place that somebody could hand it.
            self.head.raw.resource.trace("mutex.look");
        }
        seized.map(|()| self.head.admit())
    }

    fn leave(&mut self) {
        self.seize.leave(&self.head.raw);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits for the lock; from [`Mutex::lock`].
///
/// # Cancel safety
/// Requeues: a lock that was handed to it goes to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Lock<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    waiting: Waiting<'a>,
}

/// Waits for the lock; from [`Mutex::lock_owned`].
///
/// # Cancel safety
/// Requeues: a lock that was handed to it goes to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct LockOwned<'a, T: ?Sized> {
    mutex: &'a Arc<Mutex<T>>,
    waiting: Waiting<'a>,
}

impl<'a, T: ?Sized> Future for Lock<'a, T> {
    type Output = Result<MutexGuard<'a, T>, LockError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.waiting
            .poll(task)
            .map_ok(|()| MutexGuard::new(this.mutex))
    }
}

impl<T: ?Sized> Future for LockOwned<'_, T> {
    type Output = Result<OwnedMutexGuard<T>, LockError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.waiting
            .poll(task)
            .map_ok(|()| OwnedMutexGuard::new(Arc::clone(this.mutex)))
    }
}
