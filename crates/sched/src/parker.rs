//! A permit on which a worker sleeps.
//!
//! # Invariants
//! - An unpark before, during or after the decision to sleep is never lost: it leaves a permit, and the next park consumes it.
//! - Any number of unparks leaves one permit.
//!
//! The sleeper may wait in its own condition variable or in an engine such as the reactor; [`Unparker::unpark`] says whether the sleeper must be interrupted there.

use std::sync::Arc;
use std::time::Duration;

use crate::primitive::{AtomicU32, Condvar, Mutex, Ordering, lock};

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const ELSEWHERE: u32 = 2;
const PERMIT: u32 = 3;

struct Inner {
    state: AtomicU32,
    lock: Mutex<()>,
    wakeup: Condvar,
}

/// The sleeping side; one thread owns it.
pub struct Parker {
    inner: Arc<Inner>,
}

/// The waking side.
#[derive(Clone)]
pub struct Unparker {
    inner: Arc<Inner>,
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Parker {
    /// A parker without a permit.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                state: AtomicU32::new(EMPTY),
                lock: Mutex::new(()),
                wakeup: Condvar::new(),
            }),
        }
    }

    /// The other side.
    #[must_use]
    pub fn unparker(&self) -> Unparker {
        Unparker {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Whether the next park would not sleep.
    #[must_use]
    pub fn has_permit(&self) -> bool {
        self.inner.state.load(Ordering::Relaxed) == PERMIT
    }

    /// Sleeps until there is a permit, or for `timeout`; consumes the permit.
    pub fn park(&self, timeout: Option<Duration>) {
        let inner = &*self.inner;
        if self.take_permit() {
            return;
        }
        let mut guard = lock(&inner.lock);
        if inner
            .state
            .compare_exchange(EMPTY, PARKED, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            // The permit came first.
            inner.state.swap(EMPTY, Ordering::SeqCst);
            return;
        }
        loop {
            guard = match timeout {
                None => inner
                    .wakeup
                    .wait(guard)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(timeout) => {
                    let waited = inner
                        .wakeup
                        .wait_timeout(guard, timeout)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    inner.state.swap(EMPTY, Ordering::SeqCst);
                    drop(waited.0);
                    return;
                }
            };
            if self.take_permit() {
                drop(guard);
                return;
            }
        }
    }

    /// Sleeps in `wait`, which `unpark`'s caller can interrupt; not at all if there is a permit. Consumes the permit.
    pub fn park_elsewhere<R>(&self, wait: impl FnOnce() -> R) -> Option<R> {
        let state = &self.inner.state;
        if state
            .compare_exchange(EMPTY, ELSEWHERE, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            state.swap(EMPTY, Ordering::SeqCst);
            return None;
        }
        let result = wait();
        state.swap(EMPTY, Ordering::SeqCst);
        Some(result)
    }

    fn take_permit(&self) -> bool {
        self.inner
            .state
            .compare_exchange(PERMIT, EMPTY, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

impl Unparker {
    /// Leaves a permit and wakes the sleeper; true if it sleeps elsewhere and must be interrupted there.
    #[must_use = "a worker that sleeps elsewhere must be interrupted there"]
    pub fn unpark(&self) -> bool {
        match self.inner.state.swap(PERMIT, Ordering::SeqCst) {
            PARKED => {
                // The sleeper holds the lock from its last look at the state until it waits.
                drop(lock(&self.inner.lock));
                self.inner.wakeup.notify_one();
                false
            }
            ELSEWHERE => true,
            _ => false,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        let parker = Parker::new();
        assert!(!parker.unparker().unpark());
        assert!(!parker.unparker().unpark());
        parker.park(None);
        let slept = parker.park_elsewhere(|| ());
        assert!(slept.is_some(), "two unparks leave one permit");
    }

    #[test]
    fn an_unpark_tells_that_the_sleeper_is_elsewhere() {
        let parker = Parker::new();
        let unparker = parker.unparker();
        let told = parker.park_elsewhere(|| unparker.unpark());
        assert_eq!(told, Some(true));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;

    #[test]
    fn loom_parker_loses_no_unpark() {
        loom::model(|| {
            let parker = Parker::new();
            let unparker = parker.unparker();
            let flag = loom::sync::Arc::new(AtomicU32::new(0));
            let seen = loom::sync::Arc::clone(&flag);
            let waker = thread::spawn(move || {
                flag.store(1, Ordering::Release);
                let _ = unparker.unpark();
            });
            while seen.load(Ordering::Acquire) == 0 {
                parker.park(None);
            }
            waker.join().unwrap();
        });
    }
}
