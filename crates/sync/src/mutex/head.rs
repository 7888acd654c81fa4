//! Everything of a mutex but its value, so that a guard of a part need not name the whole.

use std::mem::ManuallyDrop;

use asupersync_kernel::mutation::{Mutation, is_on};

use super::raw::RawLock;
use super::{LockError, Mutex};

/// The lock and its policy.
#[derive(Debug)]
pub(crate) struct Head {
    pub(super) raw: RawLock,
    is_poisoning: bool,
}

impl Head {
    crate::primitive::const_unless_loom! {
        pub(super) fn new(is_poisoning: bool) -> Self {
            Self {
                raw: RawLock::new(),
                is_poisoning,
            }
        }
    }

    /// What the new owner is told; a poisoned lock is given up again.
    #[inline]
    pub(super) fn admit(&self) -> Result<(), LockError> {
        if self.raw.is_poisoned() {
            self.raw.resource.trace("mutex.give_back");
            self.raw.unlock();
            return Err(LockError::Poisoned);
        }
        self.raw.resource.trace("mutex.lock");
        Ok(())
    }

    #[inline]
    fn give_up(&self, was_panicking: bool) {
        if is_on(Mutation::LockIsKept) {
            return;
        }
        if self.is_poisoning && !was_panicking && std::thread::panicking() {
            self.raw.poison();
        }
        self.raw.resource.trace("mutex.unlock");
        self.raw.unlock();
    }
}

/// How a guard reaches its lock.
pub(super) trait HasHead {
    fn head(&self) -> &Head;
}

impl HasHead for &Head {
    #[inline]
    fn head(&self) -> &Head {
        self
    }
}

/// The ownership of a lock, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Hold<L: HasHead> {
    pub(super) lock: L,
    was_panicking: bool,
}

impl<L: HasHead> Hold<L> {
    /// For the lock's owner only: the hold stands for the ownership.
    #[inline]
    pub(super) fn new(lock: L) -> Self {
        Self {
            lock,
            was_panicking: std::thread::panicking(),
        }
    }
}

impl<'a, T: ?Sized> Hold<&'a Mutex<T>> {
    /// The same ownership, reached without the value's type.
    pub(super) fn without_value(self) -> Hold<&'a Head> {
        let hold = ManuallyDrop::new(self);
        Hold {
            lock: hold.lock.head(),
            was_panicking: hold.was_panicking,
        }
    }
}

impl<L: HasHead> Drop for Hold<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.head().give_up(self.was_panicking);
    }
}
