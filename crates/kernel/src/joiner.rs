//! Who waits for a task's end.
//!
//! # States
//! nobody → put, by the owner of the handle → announced in the task's state → taken, by completion; or withdrawn by the owner, and put anew.
//!
//! # Invariants
//! - The word belongs to the owner of the handle while nothing is announced, and to completion from then on; withdrawing gives it back unless the task completed first.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::Waker;

use crate::node::NodeRef;
use crate::waker::{self, Waiter, Who};

/// Nobody, or a [`Waiter`].
///
/// Atomic so that the owner may compare it with a waker while completion takes it; what orders the two is the task's state.
pub(crate) struct Joiner(AtomicPtr<()>);

impl Joiner {
    pub(crate) const fn nobody() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Whether it is the task that `waker` wakes; false for whoever stands in a box.
    pub(crate) fn is_task(&self, waker: &Waker) -> bool {
        waker::is_task(waker) && ptr::eq(waker.data(), self.0.load(Ordering::Relaxed))
    }

    /// Called by the owner of the handle, while nothing is announced and nobody stands here.
    pub(crate) fn put(&self, waiter: Waiter) {
        self.0.store(waiter.into_raw(), Ordering::Relaxed);
    }

    /// Called by whoever the word belongs to.
    pub(crate) fn take(&self) -> Option<Waiter> {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: the word was a waiter's, and stands here no more.
        unsafe { Waiter::from_raw(word) }
    }

    /// Wakes who was announced, for the completion of `ended`.
    pub(crate) fn wake(&self, ended: &NodeRef) {
        let Some(waiter) = self.take() else { return };
        match waiter.into_task() {
            Ok(task) => waker::schedule_beside(task, ended),
            Err(other) => {
                if let Who::Waker(waker) = other.who() {
                    waker::wake_contained(waker);
                }
            }
        }
    }
}

impl Drop for Joiner {
    #[inline]
    fn drop(&mut self) {
        if !self.0.get_mut().is_null() {
            drop(self.take());
        }
    }
}
