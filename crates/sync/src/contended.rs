//! A mutex that can tell how long it was waited for and held.
//!
//! The problem: to find the lock that makes a program slow, without paying for it when nobody looks.
//!
//! Without the feature `lock-metrics` this is the plain [`Mutex`]: the same size, the same steps, no clock.
//! With it, each lock reads the clock of its context when it is taken and given up, and when it has to be waited for.
//!
//! # Absent
//! What was waited for in vain: a wait that is cancelled or dropped is counted, but has no place in the histogram.

#[cfg(feature = "lock-metrics")]
mod histogram;
#[cfg(feature = "lock-metrics")]
mod metrics;

use std::fmt;
use std::ops::{Deref, DerefMut};

use asupersync_kernel::Cx;
use asupersync_kernel::caps::{Includes, OnlyTime};

use crate::mutex::{LockError, Mutex, MutexGuard, TryLockError};

#[cfg(feature = "lock-metrics")]
pub use histogram::Histogram;
#[cfg(feature = "lock-metrics")]
pub use metrics::LockMetrics;

/// A [`Mutex`] with histograms of waiting and holding, under the feature `lock-metrics`.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{ContendedMutex, LockError};
/// async fn count(cx: &Cx, hits: &ContendedMutex<u64>) -> Result<(), LockError> {
///     *hits.lock(cx).await? += 1;
///     Ok(())
/// }
/// ```
pub struct ContendedMutex<T: ?Sized> {
    #[cfg(feature = "lock-metrics")]
    metrics: metrics::Recorder,
    mutex: Mutex<T>,
}

impl<T> ContendedMutex<T> {
    crate::primitive::const_unless_loom! {
        /// An unlocked mutex that a panic of its holder poisons.
        pub fn new(value: T) -> Self {
            Self {
                #[cfg(feature = "lock-metrics")]
                metrics: metrics::Recorder::new(),
                mutex: Mutex::new(value),
            }
        }
    }

    /// The value, poisoned or not.
    pub fn into_inner(self) -> T {
        self.mutex.into_inner()
    }
}

impl<T: ?Sized> ContendedMutex<T> {
    /// Waits for the lock; see [`Mutex::lock`].
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    /// # Cancel safety
    /// Requeues: a lock that was handed to it goes to the next in line.
    pub async fn lock<'a, C>(&'a self, cx: &'a Cx<C>) -> Result<ContendedGuard<'a, T>, LockError>
    where
        C: Includes<OnlyTime>,
    {
        #[cfg(not(feature = "lock-metrics"))]
        return Ok(ContendedGuard {
            guard: self.mutex.lock(cx).await?,
        });
        #[cfg(feature = "lock-metrics")]
        {
            let cx = cx.restrict::<OnlyTime>();
            let waiting = self.metrics.waiting(&cx);
            let guard = self.mutex.lock_again().await?;
            let hold = waiting.taken();
            Ok(ContendedGuard { guard, _hold: hold })
        }
    }

    /// Takes the lock if it is free; see [`Mutex::try_lock`].
    ///
    /// # Errors
    /// As [`Mutex::try_lock`].
    pub fn try_lock<C>(&self, cx: &Cx<C>) -> Result<ContendedGuard<'_, T>, TryLockError>
    where
        C: Includes<OnlyTime>,
    {
        let guard = self.mutex.try_lock()?;
        #[cfg(not(feature = "lock-metrics"))]
        {
            let _ = cx;
            Ok(ContendedGuard { guard })
        }
        #[cfg(feature = "lock-metrics")]
        {
            let hold = self.metrics.taken(cx.restrict());
            Ok(ContendedGuard { guard, _hold: hold })
        }
    }

    /// How long the lock was waited for and held so far.
    #[cfg(feature = "lock-metrics")]
    #[must_use]
    pub fn metrics(&self) -> LockMetrics {
        self.metrics.snapshot()
    }

    /// Whether a holder panicked.
    pub fn is_poisoned(&self) -> bool {
        self.mutex.is_poisoned()
    }

    /// Takes the value as it is for good.
    pub fn clear_poison(&self) {
        self.mutex.clear_poison();
    }

    /// The value; exclusive access needs no lock.
    pub const fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut()
    }
}

impl<T: Default> Default for ContendedMutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ContendedMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContendedMutex").field(&&self.mutex).finish()
    }
}

/// The lock, held; dropping it gives the lock up.
#[must_use = "the lock is given up when the guard is dropped"]
pub struct ContendedGuard<'a, T: ?Sized> {
    // Declared first: the lock is given up before its holding is recorded, so that recording delays nobody.
    guard: MutexGuard<'a, T>,
    #[cfg(feature = "lock-metrics")]
    _hold: metrics::Hold<'a>,
}

impl<T: ?Sized> Deref for ContendedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for ContendedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ContendedGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
