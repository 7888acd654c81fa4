//! The guards that keep the lock alive.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use asupersync_kernel::Cx;

use super::RwLock;
use super::guard::{Carried, pointer};
use super::raw::Mode;
use super::wait::Hold;
use crate::mutex::LockError;

/// The lock, held for reading by a guard that keeps it alive; `U` is the part in sight.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct OwnedRwLockReadGuard<T: ?Sized, U: ?Sized = T> {
    hold: Hold<Arc<RwLock<T>>>,
    value: NonNull<U>,
    access: PhantomData<Box<U>>,
}

/// The lock, held for reading with the right to become the writer, by a guard that keeps it alive.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct OwnedRwLockUpgradableReadGuard<T: ?Sized> {
    hold: Hold<Arc<RwLock<T>>>,
    value: NonNull<T>,
    access: PhantomData<Box<T>>,
}

/// The lock, held for writing by a guard that keeps it alive.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct OwnedRwLockWriteGuard<T: ?Sized> {
    hold: Hold<Arc<RwLock<T>>>,
    value: NonNull<T>,
    access: PhantomData<Box<T>>,
}

/// The lock, held for writing, with a part of the value in sight; from [`OwnedRwLockWriteGuard::map`].
#[must_use = "the lock is let go when the guard is dropped"]
pub struct OwnedRwLockMappedWriteGuard<T: ?Sized, U: ?Sized = T> {
    hold: Hold<Arc<RwLock<T>>>,
    value: NonNull<U>,
    access: PhantomData<Box<U>>,
}

impl<T: ?Sized> OwnedRwLockReadGuard<T> {
    /// For who holds the lock for reading only: the guard stands for that.
    pub(super) fn new(lock: &Arc<RwLock<T>>) -> Self {
        Self::held(Hold::new(Arc::clone(lock), Mode::Read), pointer(lock))
    }
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockReadGuard<T, U> {
    const fn held(hold: Hold<Arc<RwLock<T>>>, value: NonNull<U>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// A guard of a part of the value.
    pub fn map<V: ?Sized>(guard: Self, part: impl FnOnce(&U) -> &V) -> OwnedRwLockReadGuard<T, V> {
        let value = NonNull::from(part(&guard));
        OwnedRwLockReadGuard::held(guard.hold, value)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<V: ?Sized>(
        guard: Self,
        part: impl FnOnce(&U) -> Option<&V>,
    ) -> Result<OwnedRwLockReadGuard<T, V>, Self> {
        match part(&guard).map(NonNull::from) {
            Some(value) => Ok(OwnedRwLockReadGuard::held(guard.hold, value)),
            None => Err(guard),
        }
    }
}

impl<T: ?Sized> OwnedRwLockUpgradableReadGuard<T> {
    /// For who holds the lock as the upgradable reader only: the guard stands for that.
    pub(super) fn new(lock: &Arc<RwLock<T>>) -> Self {
        Self::held(Hold::new(Arc::clone(lock), Mode::Upgradable), pointer(lock))
    }

    const fn held(hold: Hold<Arc<RwLock<T>>>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// Waits until the other readers have let go, and becomes the writer; nobody writes in between.
    ///
    /// # Errors
    /// [`LockError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Lossy: the read is let go with the call.
    pub async fn upgrade<C>(self, cx: &Cx<C>) -> Result<OwnedRwLockWriteGuard<T>, LockError> {
        let _ = cx;
        let Self {
            mut hold, value, ..
        } = self;
        let value = Carried::new(value);
        hold.upgrade().await?;
        Ok(OwnedRwLockWriteGuard::held(hold, value.get()))
    }

    /// Becomes the writer if there is no other reader.
    ///
    /// # Errors
    /// The guard itself, if there is.
    pub fn try_upgrade(mut self) -> Result<OwnedRwLockWriteGuard<T>, Self> {
        if self.hold.try_upgrade() {
            Ok(OwnedRwLockWriteGuard::held(self.hold, self.value))
        } else {
            Err(self)
        }
    }

    /// Becomes a plain reader, and lets another be the upgradable one.
    pub fn downgrade(mut self) -> OwnedRwLockReadGuard<T> {
        self.hold.downgrade(Mode::Read);
        OwnedRwLockReadGuard::held(self.hold, self.value)
    }
}

impl<T: ?Sized> OwnedRwLockWriteGuard<T> {
    /// For who holds the lock for writing only: the guard stands for that.
    pub(super) fn new(lock: &Arc<RwLock<T>>) -> Self {
        Self::held(Hold::new(Arc::clone(lock), Mode::Write), pointer(lock))
    }

    const fn held(hold: Hold<Arc<RwLock<T>>>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// Becomes a reader, and lets the readers in line up to the next writer in; nobody writes in between.
    pub fn downgrade(mut self) -> OwnedRwLockReadGuard<T> {
        self.hold.downgrade(Mode::Read);
        OwnedRwLockReadGuard::held(self.hold, self.value)
    }

    /// Becomes the upgradable reader, and lets the readers in line up to the next writer in.
    pub fn downgrade_to_upgradable(mut self) -> OwnedRwLockUpgradableReadGuard<T> {
        self.hold.downgrade(Mode::Upgradable);
        OwnedRwLockUpgradableReadGuard::held(self.hold, self.value)
    }

    /// A guard of a part of the value.
    pub fn map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> OwnedRwLockMappedWriteGuard<T, U> {
        let value = NonNull::from(part(&mut guard));
        OwnedRwLockMappedWriteGuard::held(guard.hold, value)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<OwnedRwLockMappedWriteGuard<T, U>, Self> {
        match part(&mut guard).map(NonNull::from) {
            Some(value) => Ok(OwnedRwLockMappedWriteGuard::held(guard.hold, value)),
            None => Err(guard),
        }
    }
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockMappedWriteGuard<T, U> {
    const fn held(hold: Hold<Arc<RwLock<T>>>, value: NonNull<U>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// A guard of a part of the part.
    pub fn map<V: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut U) -> &mut V,
    ) -> OwnedRwLockMappedWriteGuard<T, V> {
        let value = NonNull::from(part(&mut guard));
        OwnedRwLockMappedWriteGuard::held(guard.hold, value)
    }
}

// SAFETY: the guard gives out `&U`, and drops the lock with its value where it ends.
unsafe impl<T: ?Sized + Send + Sync, U: ?Sized + Sync> Send for OwnedRwLockReadGuard<T, U> {}
// SAFETY: a shared guard gives out `&U` only.
unsafe impl<T: ?Sized + Send + Sync, U: ?Sized + Sync> Sync for OwnedRwLockReadGuard<T, U> {}
// SAFETY: the guard gives out `&T` or becomes one that gives out `&mut T`, and drops the lock with its value.
unsafe impl<T: ?Sized + Send + Sync> Send for OwnedRwLockUpgradableReadGuard<T> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Send + Sync> Sync for OwnedRwLockUpgradableReadGuard<T> {}
// SAFETY: the guard gives out `&mut T`, and drops the lock with its value where it ends.
unsafe impl<T: ?Sized + Send + Sync> Send for OwnedRwLockWriteGuard<T> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Send + Sync> Sync for OwnedRwLockWriteGuard<T> {}
// SAFETY: the guard gives out `&mut U`, and drops the lock with its value where it ends.
unsafe impl<T: ?Sized + Send + Sync, U: ?Sized + Send> Send for OwnedRwLockMappedWriteGuard<T, U> {}
// SAFETY: a shared guard gives out `&U` only.
unsafe impl<T: ?Sized + Send + Sync, U: ?Sized + Sync> Sync for OwnedRwLockMappedWriteGuard<T, U> {}

/// What guards give: a shared reference from all, an exclusive one from writers.
macro_rules! reads {
    ($($guard:ident<T $(, $part:ident)?> of $of:ident),*) => {$(
        impl<T: ?Sized $(, $part: ?Sized)?> Deref for $guard<T $(, $part)?> {
            type Target = $of;

            #[inline]
            fn deref(&self) -> &$of {
                // SAFETY: the hold keeps the lock alive and excludes writers, or makes the guard the writer,
                // which is then borrowed.
                unsafe { self.value.as_ref() }
            }
        }

        impl<T: ?Sized $(, $part: ?Sized)?> fmt::Debug for $guard<T $(, $part)?>
        where
            $of: fmt::Debug,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}
macro_rules! writes {
    ($($guard:ident<T $(, $part:ident)?> of $of:ident),*) => {$(
        impl<T: ?Sized $(, $part: ?Sized)?> DerefMut for $guard<T $(, $part)?> {
            #[inline]
            fn deref_mut(&mut self) -> &mut $of {
                // SAFETY: the hold keeps the lock alive and excludes everybody else; the guard is borrowed exclusively.
                unsafe { self.value.as_mut() }
            }
        }
    )*};
}
reads!(
    OwnedRwLockReadGuard<T, U> of U,
    OwnedRwLockUpgradableReadGuard<T> of T,
    OwnedRwLockWriteGuard<T> of T,
    OwnedRwLockMappedWriteGuard<T, U> of U
);
writes!(
    OwnedRwLockWriteGuard<T> of T,
    OwnedRwLockMappedWriteGuard<T, U> of U
);
