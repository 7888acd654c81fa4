//! The guards of a mutex: of the whole value or of a part, borrowed or owned.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use super::Mutex;
use super::head::{HasHead, Head, Hold};

impl<T: ?Sized> HasHead for &Mutex<T> {
    #[inline]
    fn head(&self) -> &Head {
        Mutex::head(self)
    }
}

impl<T: ?Sized> HasHead for Arc<Mutex<T>> {
    #[inline]
    fn head(&self) -> &Head {
        Mutex::head(self)
    }
}

/// The lock, held; dropping it gives the lock up.
#[must_use = "the lock is given up when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    hold: Hold<&'a Mutex<T>>,
    /// As `Send` and `Sync` as exclusive access.
    access: PhantomData<&'a mut T>,
}

/// The lock, held by a guard that keeps the mutex alive.
#[must_use = "the lock is given up when the guard is dropped"]
pub struct OwnedMutexGuard<T: ?Sized> {
    hold: Hold<Arc<Mutex<T>>>,
    /// As `Send` and `Sync` as the value.
    access: PhantomData<Box<T>>,
}

/// The lock, held, with a part of the value in sight; from [`MutexGuard::map`].
#[must_use = "the lock is given up when the guard is dropped"]
pub struct MappedMutexGuard<'a, U: ?Sized> {
    hold: Hold<&'a Head>,
    part: NonNull<U>,
    access: PhantomData<&'a mut U>,
}

/// The lock, held by a guard that keeps the mutex alive, with a part of the value in sight; from [`OwnedMutexGuard::map`].
#[must_use = "the lock is given up when the guard is dropped"]
pub struct OwnedMappedMutexGuard<T: ?Sized, U: ?Sized = T> {
    hold: Hold<Arc<Mutex<T>>>,
    part: NonNull<U>,
    access: PhantomData<Box<U>>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For the lock's owner only: the guard stands for the ownership.
    #[inline]
    pub(super) fn new(mutex: &'a Mutex<T>) -> Self {
        Self {
            hold: Hold::new(mutex),
            access: PhantomData,
        }
    }

    /// The mutex that the guard belongs to.
    #[must_use]
    pub const fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.hold.lock
    }

    /// A guard of a part of the value.
    ///
    /// # Examples
    /// ```
    /// use asupersync_sync::{Mutex, MutexGuard};
    /// let pair = Mutex::new((1, "one"));
    /// let guard = pair.try_lock().expect("nobody else holds it");
    /// let mut name = MutexGuard::map(guard, |pair| &mut pair.1);
    /// *name = "uno";
    /// drop(name);
    /// assert_eq!(pair.into_inner(), (1, "uno"));
    /// ```
    pub fn map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedMutexGuard<'a, U> {
        let part = NonNull::from(part(&mut guard));
        MappedMutexGuard::held(hand_over(guard), part)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedMutexGuard<'a, U>, Self> {
        match part(&mut guard).map(NonNull::from) {
            Some(part) => Ok(MappedMutexGuard::held(hand_over(guard), part)),
            None => Err(guard),
        }
    }
}

/// The ownership without the type of the value.
fn hand_over<T: ?Sized>(guard: MutexGuard<'_, T>) -> Hold<&Head> {
    guard.hold.without_value()
}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// For the lock's owner only: the guard stands for the ownership.
    pub(super) fn new(mutex: Arc<Mutex<T>>) -> Self {
        Self {
            hold: Hold::new(mutex),
            access: PhantomData,
        }
    }

    /// The mutex that the guard belongs to.
    #[must_use]
    pub const fn mutex(guard: &Self) -> &Arc<Mutex<T>> {
        &guard.hold.lock
    }

    /// A guard of a part of the value.
    pub fn map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> OwnedMappedMutexGuard<T, U> {
        let part = NonNull::from(part(&mut guard));
        OwnedMappedMutexGuard::held(guard.hold, part)
    }

    /// A guard of a part of the value, if there is one.
    ///
    /// # Errors
    /// The guard itself, if there is not.
    pub fn try_map<U: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<OwnedMappedMutexGuard<T, U>, Self> {
        match part(&mut guard).map(NonNull::from) {
            Some(part) => Ok(OwnedMappedMutexGuard::held(guard.hold, part)),
            None => Err(guard),
        }
    }
}

impl<'a, U: ?Sized> MappedMutexGuard<'a, U> {
    const fn held(hold: Hold<&'a Head>, part: NonNull<U>) -> Self {
        Self {
            hold,
            part,
            access: PhantomData,
        }
    }

    /// A guard of a part of the part.
    pub fn map<V: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut U) -> &mut V,
    ) -> MappedMutexGuard<'a, V> {
        let part = NonNull::from(part(&mut guard));
        MappedMutexGuard::held(guard.hold, part)
    }
}

impl<T: ?Sized, U: ?Sized> OwnedMappedMutexGuard<T, U> {
    const fn held(hold: Hold<Arc<Mutex<T>>>, part: NonNull<U>) -> Self {
        Self {
            hold,
            part,
            access: PhantomData,
        }
    }

    /// A guard of a part of the part.
    pub fn map<V: ?Sized>(
        mut guard: Self,
        part: impl FnOnce(&mut U) -> &mut V,
    ) -> OwnedMappedMutexGuard<T, V> {
        let part = NonNull::from(part(&mut guard));
        OwnedMappedMutexGuard::held(guard.hold, part)
    }
}

// SAFETY: the guard gives out `&mut U` and nothing else of the value; the lock itself may be given up anywhere.
unsafe impl<U: ?Sized + Send> Send for MappedMutexGuard<'_, U> {}
// SAFETY: a shared guard gives out `&U` only.
unsafe impl<U: ?Sized + Sync> Sync for MappedMutexGuard<'_, U> {}
// SAFETY: the guard gives out `&mut U`, and drops the mutex with its value where it ends.
unsafe impl<T: ?Sized + Send, U: ?Sized + Send> Send for OwnedMappedMutexGuard<T, U> {}
// SAFETY: a shared guard gives out `&U` only.
unsafe impl<T: ?Sized + Send, U: ?Sized + Sync> Sync for OwnedMappedMutexGuard<T, U> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a guard is made for the lock's owner and gives the lock up only in its `drop`.
        unsafe { self.hold.lock.guarded.value() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard itself is borrowed exclusively.
        unsafe { self.hold.lock.guarded.value_mut() }
    }
}

impl<T: ?Sized> Deref for OwnedMutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a guard is made for the lock's owner and gives the lock up only in its `drop`.
        unsafe { self.hold.lock.guarded.value() }
    }
}

impl<T: ?Sized> DerefMut for OwnedMutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard itself is borrowed exclusively.
        unsafe { self.hold.lock.guarded.value_mut() }
    }
}

impl<U: ?Sized> Deref for MappedMutexGuard<'_, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: the part belongs to the value, which the hold makes this guard's alone.
        unsafe { self.part.as_ref() }
    }
}

impl<U: ?Sized> DerefMut for MappedMutexGuard<'_, U> {
    fn deref_mut(&mut self) -> &mut U {
        // SAFETY: as in `deref`; the guard itself is borrowed exclusively.
        unsafe { self.part.as_mut() }
    }
}

impl<T: ?Sized, U: ?Sized> Deref for OwnedMappedMutexGuard<T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: the part belongs to the value, which the hold keeps alive and makes this guard's alone.
        unsafe { self.part.as_ref() }
    }
}

impl<T: ?Sized, U: ?Sized> DerefMut for OwnedMappedMutexGuard<T, U> {
    fn deref_mut(&mut self) -> &mut U {
        // SAFETY: as in `deref`; the guard itself is borrowed exclusively.
        unsafe { self.part.as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<U: ?Sized + fmt::Debug> fmt::Debug for MappedMutexGuard<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized, U: ?Sized + fmt::Debug> fmt::Debug for OwnedMappedMutexGuard<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
