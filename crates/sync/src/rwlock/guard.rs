//! The guards that borrow the lock.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use asupersync_kernel::Cx;

use super::RwLock;
use super::raw::{Mode, Raw};
use super::wait::Hold;
use crate::mutex::LockError;

/// The lock, held for reading; dropping it lets go.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    // Declared first: the hold is dropped while the value is still there.
    hold: Hold<&'a Raw>,
    value: NonNull<T>,
    access: PhantomData<&'a T>,
}

/// The lock, held for reading with the right to become the writer; dropping it lets go.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct RwLockUpgradableReadGuard<'a, T: ?Sized> {
    hold: Hold<&'a Raw>,
    value: NonNull<T>,
    access: PhantomData<&'a mut T>,
}

/// The lock, held for writing; dropping it lets go.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    hold: Hold<&'a Raw>,
    value: NonNull<T>,
    access: PhantomData<&'a mut T>,
}

/// The lock, held for writing, with a part of the value in sight; from [`RwLockWriteGuard::map`].
///
/// It cannot be downgraded: the part may be reached through a cell that readers share.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct RwLockMappedWriteGuard<'a, T: ?Sized> {
    hold: Hold<&'a Raw>,
    value: NonNull<T>,
    access: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// For who holds the lock for reading only: the guard stands for that.
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        Self::held(Hold::new(&lock.raw, Mode::Read), pointer(lock))
    }

    const fn held(hold: Hold<&'a Raw>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// A guard of a part of the value.
    pub fn map<U: ?Sized>(guard: Self, part: impl FnOnce(&T) -> &U) -> RwLockReadGuard<'a, U> {
        let value = NonNull::from(part(&guard));
        RwLockReadGuard::held(guard.hold, value)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<U: ?Sized>(
        guard: Self,
        part: impl FnOnce(&T) -> Option<&U>,
    ) -> Result<RwLockReadGuard<'a, U>, Self> {
        match part(&guard).map(NonNull::from) {
            Some(value) => Ok(RwLockReadGuard::held(guard.hold, value)),
            None => Err(guard),
        }
    }
}

impl<'a, T: ?Sized> RwLockUpgradableReadGuard<'a, T> {
    /// For who holds the lock as the upgradable reader only: the guard stands for that.
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        Self::held(Hold::new(&lock.raw, Mode::Upgradable), pointer(lock))
    }

    const fn held(hold: Hold<&'a Raw>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// Waits until the other readers have let go, and becomes the writer; nobody writes in between.
    ///
    /// It goes before everybody in line, and stops new readers.
    /// # Errors
    /// [`LockError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Lossy: the read is let go with the call.
    pub async fn upgrade<C>(self, cx: &Cx<C>) -> Result<RwLockWriteGuard<'a, T>, LockError> {
        let _ = cx;
        let Self {
            mut hold, value, ..
        } = self;
        // Raw pointers would keep the future on its thread.
        let value = Carried::new(value);
        hold.upgrade().await?;
        Ok(RwLockWriteGuard::held(hold, value.get()))
    }

    /// Becomes the writer if there is no other reader.
    ///
    /// # Errors
    /// The guard itself, if there is.
    pub fn try_upgrade(mut self) -> Result<RwLockWriteGuard<'a, T>, Self> {
        if self.hold.try_upgrade() {
            Ok(RwLockWriteGuard::held(self.hold, self.value))
        } else {
            Err(self)
        }
    }

    /// Becomes a plain reader, and lets another be the upgradable one.
    pub fn downgrade(mut self) -> RwLockReadGuard<'a, T> {
        self.hold.downgrade(Mode::Read);
        RwLockReadGuard::held(self.hold, self.value)
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// For who holds the lock for writing only: the guard stands for that.
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        Self::held(Hold::new(&lock.raw, Mode::Write), pointer(lock))
    }

    const fn held(hold: Hold<&'a Raw>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// Becomes a reader, and lets the readers in line up to the next writer in; nobody writes in between.
    pub fn downgrade(mut self) -> RwLockReadGuard<'a, T> {
        self.hold.downgrade(Mode::Read);
        RwLockReadGuard::held(self.hold, self.value)
    }

    /// Becomes the upgradable reader, and lets the readers in line up to the next writer in.
    pub fn downgrade_to_upgradable(mut self) -> RwLockUpgradableReadGuard<'a, T> {
        self.hold.downgrade(Mode::Upgradable);
        RwLockUpgradableReadGuard::held(self.hold, self.value)
    }

    /// A guard of a part of the value.
    pub fn map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> RwLockMappedWriteGuard<'a, U> {
        let value = NonNull::from(part(&mut guard));
        RwLockMappedWriteGuard::held(guard.hold, value)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<RwLockMappedWriteGuard<'a, U>, Self> {
        match part(&mut guard).map(NonNull::from) {
            Some(value) => Ok(RwLockMappedWriteGuard::held(guard.hold, value)),
            None => Err(guard),
        }
    }
}

impl<'a, T: ?Sized> RwLockMappedWriteGuard<'a, T> {
    const fn held(hold: Hold<&'a Raw>, value: NonNull<T>) -> Self {
        Self {
            hold,
            value,
            access: PhantomData,
        }
    }

    /// A guard of a part of the part.
    pub fn map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> RwLockMappedWriteGuard<'a, U> {
        let value = NonNull::from(part(&mut guard));
        RwLockMappedWriteGuard::held(guard.hold, value)
    }
}

/// Where the value of a lock is; the cell's pointer is never null.
pub(super) fn pointer<T: ?Sized>(lock: &RwLock<T>) -> NonNull<T> {
    NonNull::new(lock.value.get()).expect("a lock's value has an address")
}

/// The address of a guard's value, on its way through a wait.
pub(super) struct Carried<T: ?Sized>(NonNull<T>);

// SAFETY: the address is used by nobody on the way; what comes out goes into a guard, which has bounds of its own.
unsafe impl<T: ?Sized + Send + Sync> Send for Carried<T> {}

impl<T: ?Sized> Carried<T> {
    pub(super) const fn new(value: NonNull<T>) -> Self {
        Self(value)
    }

    pub(super) const fn get(self) -> NonNull<T> {
        self.0
    }
}

// SAFETY: a reader's guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Send for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: the guard gives out `&T`, and may become one that gives out `&mut T`.
unsafe impl<T: ?Sized + Send + Sync> Send for RwLockUpgradableReadGuard<'_, T> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockUpgradableReadGuard<'_, T> {}
// SAFETY: the guard gives out `&mut T`, and may become one that shares `&T` with others.
unsafe impl<T: ?Sized + Send + Sync> Send for RwLockWriteGuard<'_, T> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}
// SAFETY: the guard gives out `&mut T`.
unsafe impl<T: ?Sized + Send> Send for RwLockMappedWriteGuard<'_, T> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockMappedWriteGuard<'_, T> {}

/// What guards give: a shared reference from all, an exclusive one from writers.
macro_rules! reads {
    ($($guard:ident),*) => {$(
        impl<T: ?Sized> Deref for $guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: the hold excludes writers as long as the guard lives, or makes the guard the writer,
                // which is then borrowed.
                unsafe { self.value.as_ref() }
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}
macro_rules! writes {
    ($($guard:ident),*) => {$(
        impl<T: ?Sized> DerefMut for $guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                // SAFETY: the hold is the writer's and excludes everybody else; the guard is borrowed exclusively.
                unsafe { self.value.as_mut() }
            }
        }
    )*};
}
reads!(
    RwLockReadGuard,
    RwLockUpgradableReadGuard,
    RwLockWriteGuard,
    RwLockMappedWriteGuard
);
writes!(RwLockWriteGuard, RwLockMappedWriteGuard);
