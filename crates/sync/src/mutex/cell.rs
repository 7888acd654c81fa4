//! The value behind the lock: the only place that reaches through to it.

use std::cell::UnsafeCell;

use super::head::Head;

/// A lock and its value.
#[derive(Debug)]
pub(super) struct Guarded<T: ?Sized> {
    pub(super) head: Head,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through an `Owner` only, of which there is one at a time, or through
// exclusive access; so sharing the lock moves the value between threads but never shares it.
unsafe impl<T: ?Sized + Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    crate::primitive::const_unless_loom! {
        pub(super) fn new(value: T, is_poisoning: bool) -> Self {
            Self {
                head: Head::new(is_poisoning),
                value: UnsafeCell::new(value),
            }
        }
    }

    pub(super) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Guarded<T> {
    pub(super) const fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, for the lock's owner.
    ///
    /// # Safety
    /// The caller owns the lock as long as the reference lives.
    #[inline]
    pub(super) const unsafe fn value(&self) -> &T {
        // SAFETY: by the caller's promise nobody has a mutable reference.
        unsafe { &*self.value.get() }
    }

    /// The value, for the lock's owner.
    ///
    /// # Safety
    /// The caller owns the lock as long as the reference lives, and has no other reference.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the lock makes the access exclusive")]
    pub(super) const unsafe fn value_mut(&self) -> &mut T {
        // SAFETY: by the caller's promise nobody else has a reference.
        unsafe { &mut *self.value.get() }
    }
}
