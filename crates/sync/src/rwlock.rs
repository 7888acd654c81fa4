//! Many readers or one writer, fairly, across waits.
//!
//! The problem: readers together, a writer alone, where neither starves the other and a waiter may vanish at any moment.
//!
//! # Who goes when
//! First come, first served: a writer in line stops new readers, and when a writer lets go the readers in line up to the next writer go together.
//! Who comes while somebody has got the lock and not run since gives it a turn, once, before it gets in line.
//! One reader at a time may be *upgradable*: it reads beside the others and may become the writer without letting go in between.
//! Its upgrade goes before the line, which could not move without it.
//!
//! # Poison
//! As of [`Mutex`](crate::Mutex): a panic while the lock is held for writing poisons it, unless it was made by [`RwLock::new_unpoisoned`]; readers leave no poison.
//!
//! # Absent
//! Recursive reading: a reader that reads again waits behind a writer in line, which waits for it; the lab names such a task as a futurelock.

mod guard;
mod owned;
mod raw;
mod wait;

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::Arc;

use asupersync_kernel::Cx;

use self::raw::{Mode, Raw, Seize};
use crate::mutex::{LockError, TryLockError};
use crate::thread;

pub use guard::{
    RwLockMappedWriteGuard, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard,
};
pub use owned::{
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockUpgradableReadGuard,
    OwnedRwLockWriteGuard,
};
pub use wait::RwLockWait;

/// Many readers or one writer.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{LockError, RwLock};
/// async fn rename(cx: &Cx, name: &RwLock<String>, to: &str) -> Result<bool, LockError> {
///     let seen = name.upgradable_read(cx).await?;
///     if *seen == to {
///         return Ok(false);
///     }
///     // Nobody else writes between the look and the change.
///     let mut name = seen.upgrade(cx).await?;
///     name.clear();
///     name.push_str(to);
///     Ok(true)
/// }
/// ```
pub struct RwLock<T: ?Sized> {
    raw: Raw,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through guards only: by many threads as `&T`, so it must be `Sync`, and by
// one at a time as `&mut T`, so it must be `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    crate::primitive::const_unless_loom! {
        /// A free lock that a panic of its writer poisons.
        pub fn new(value: T) -> Self {
            Self {
                raw: Raw::new(true),
                value: UnsafeCell::new(value),
            }
        }
    }

    crate::primitive::const_unless_loom! {
        /// A free lock that ignores panics, for a value that no panic can leave half-changed.
        pub fn new_unpoisoned(value: T) -> Self {
            Self {
                raw: Raw::new(false),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value, poisoned or not; [`is_poisoned`](Self::is_poisoned) tells.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits to read.
    ///
    /// Cost: one compare-and-swap while nobody writes or waits, and no allocation once as many have waited before.
    /// # Errors
    /// [`LockError::Poisoned`] if a writer panicked, [`LockError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a read that it had got is let go, and who may then come in comes in.
    pub const fn read<'a, C>(
        &'a self,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Self, RwLockReadGuard<'a, T>> {
        let _ = cx;
        RwLockWait::new(self, &self.raw, Mode::Read, RwLockReadGuard::new)
    }

    /// Waits to write, alone.
    ///
    /// Cost: as [`read`](Self::read).
    /// # Errors
    /// As [`read`](Self::read).
    /// # Cancel safety
    /// Requeues: a lock that was handed to it goes to the next in line.
    pub const fn write<'a, C>(
        &'a self,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Self, RwLockWriteGuard<'a, T>> {
        let _ = cx;
        RwLockWait::new(self, &self.raw, Mode::Write, RwLockWriteGuard::new)
    }

    /// Waits to read beside other readers, with the right to become the writer; one holder at a time.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    /// # Cancel safety
    /// Requeues: a read that it had got is let go, and who may then come in comes in.
    pub const fn upgradable_read<'a, C>(
        &'a self,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Self, RwLockUpgradableReadGuard<'a, T>> {
        let _ = cx;
        RwLockWait::new(
            self,
            &self.raw,
            Mode::Upgradable,
            RwLockUpgradableReadGuard::new,
        )
    }

    /// Like [`read`](Self::read); the guard keeps the lock alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    /// # Cancel safety
    /// Requeues: a read that it had got is let go, and who may then come in comes in.
    pub fn read_owned<'a, C>(
        self: &'a Arc<Self>,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Arc<Self>, OwnedRwLockReadGuard<T>> {
        let _ = cx;
        RwLockWait::new(self, &self.raw, Mode::Read, OwnedRwLockReadGuard::new)
    }

    /// Like [`write`](Self::write); the guard keeps the lock alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    /// # Cancel safety
    /// Requeues: a lock that was handed to it goes to the next in line.
    pub fn write_owned<'a, C>(
        self: &'a Arc<Self>,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Arc<Self>, OwnedRwLockWriteGuard<T>> {
        let _ = cx;
        RwLockWait::new(self, &self.raw, Mode::Write, OwnedRwLockWriteGuard::new)
    }

    /// Like [`upgradable_read`](Self::upgradable_read); the guard keeps the lock alive instead of borrowing it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    /// # Cancel safety
    /// Requeues: a read that it had got is let go, and who may then come in comes in.
    pub fn upgradable_read_owned<'a, C>(
        self: &'a Arc<Self>,
        cx: &'a Cx<C>,
    ) -> RwLockWait<'a, Arc<Self>, OwnedRwLockUpgradableReadGuard<T>> {
        let _ = cx;
        RwLockWait::new(
            self,
            &self.raw,
            Mode::Upgradable,
            OwnedRwLockUpgradableReadGuard::new,
        )
    }

    /// Reads if nobody writes and nobody is in line.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.try_take(Mode::Read)?;
        Ok(RwLockReadGuard::new(self))
    }

    /// Writes if nobody reads, writes or is in line.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.try_take(Mode::Write)?;
        Ok(RwLockWriteGuard::new(self))
    }

    /// Reads with the right to upgrade, if nobody else has it, writes or is in line.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_upgradable_read(&self) -> Result<RwLockUpgradableReadGuard<'_, T>, TryLockError> {
        self.try_take(Mode::Upgradable)?;
        Ok(RwLockUpgradableReadGuard::new(self))
    }

    /// Like [`try_read`](Self::try_read); the guard keeps the lock alive instead of borrowing it.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_read_owned(self: &Arc<Self>) -> Result<OwnedRwLockReadGuard<T>, TryLockError> {
        self.try_take(Mode::Read)?;
        Ok(OwnedRwLockReadGuard::new(self))
    }

    /// Like [`try_write`](Self::try_write); the guard keeps the lock alive instead of borrowing it.
    ///
    /// # Errors
    /// [`TryLockError`] says what stands in the way.
    pub fn try_write_owned(self: &Arc<Self>) -> Result<OwnedRwLockWriteGuard<T>, TryLockError> {
        self.try_take(Mode::Write)?;
        Ok(OwnedRwLockWriteGuard::new(self))
    }

    /// Blocks the thread until it may read; for threads outside the runtime.
    ///
    /// On a worker it would keep the writer from running.
    /// # Errors
    /// [`LockError::Poisoned`] if a writer panicked.
    pub fn blocking_read(&self) -> Result<RwLockReadGuard<'_, T>, LockError> {
        self.take_blocking(Mode::Read)?;
        Ok(RwLockReadGuard::new(self))
    }

    /// Blocks the thread until it may write; for threads outside the runtime.
    ///
    /// On a worker it would keep the holder from running.
    /// # Errors
    /// [`LockError::Poisoned`] if a writer panicked.
    pub fn blocking_write(&self) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.take_blocking(Mode::Write)?;
        Ok(RwLockWriteGuard::new(self))
    }

    /// Whether a writer panicked.
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Takes the value as it is for good.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// The value; exclusive access needs no lock.
    pub const fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn try_take(&self, mode: Mode) -> Result<(), TryLockError> {
        if !self.raw.try_take(mode) {
            return Err(TryLockError::Locked);
        }
        self.raw
            .admitted(mode, false)
            .map_err(|_| TryLockError::Poisoned)
    }

    fn take_blocking(&self, mode: Mode) -> Result<(), LockError> {
        let mut seize = Seize::new(mode);
        thread::wait(|task| seize.poll(&self.raw, task.waker()));
        self.raw.admitted(mode, false)
    }
}

impl Raw {
    /// What the new holder is told; a poisoned lock is let go again.
    #[inline]
    fn admitted(&self, mode: Mode, was_in_line: bool) -> Result<(), LockError> {
        if self.is_poisoned() {
            self.resource.trace("rwlock.give_back");
            self.release(mode);
            return Err(LockError::Poisoned);
        }
        self.resource.trace(mode.operation(was_in_line));
        Ok(())
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("value", &&*guard),
            Err(TryLockError::Locked) => out.field("value", &format_args!("<locked>")),
            Err(TryLockError::Poisoned) => out.field("value", &format_args!("<poisoned>")),
        };
        out.finish_non_exhaustive()
    }
}
