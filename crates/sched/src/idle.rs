//! Which workers sleep, and which one to wake.
//!
//! # Invariants
//! - A worker announces its sleep, and then looks at every queue once more; whoever pushes looks at the announcements afterwards.
//!   One of the two sees the other, so no entry is left to sleepers only.
//! - While a worker is searching, pushes wake nobody: the searcher will find the entry, and wakes the next when it does.

use crate::primitive::{AtomicU32, AtomicU64, Ordering, fence};

pub(crate) struct Idle {
    sleepers: AtomicU64,
    searching: AtomicU32,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self {
            sleepers: AtomicU64::new(0),
            searching: AtomicU32::new(0),
        }
    }

    /// Announces that `worker` is about to sleep.
    pub(crate) fn announce_sleep(&self, worker: usize) {
        self.sleepers.fetch_or(1 << worker, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back; false if a waker has already claimed the worker.
    pub(crate) fn withdraw_sleep(&self, worker: usize) -> bool {
        self.sleepers.fetch_and(!(1 << worker), Ordering::SeqCst) & (1 << worker) != 0
    }

    /// Claims a given sleeper; false if it does not sleep or another waker has claimed it.
    pub(crate) fn claim(&self, worker: usize) -> bool {
        fence(Ordering::SeqCst);
        self.sleepers.load(Ordering::Relaxed) & (1 << worker) != 0 && self.withdraw_sleep(worker)
    }

    /// Claims a sleeper to be woken for a new entry, unless somebody is searching or nobody sleeps.
    pub(crate) fn claim_any(&self) -> Option<usize> {
        // The entry was pushed before; see the invariant.
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let mut sleepers = self.sleepers.load(Ordering::Relaxed);
        while sleepers != 0 {
            let worker = sleepers.trailing_zeros() as usize;
            if self.withdraw_sleep(worker) {
                return Some(worker);
            }
            sleepers = self.sleepers.load(Ordering::SeqCst);
        }
        None
    }

    pub(crate) fn anybody_sleeps(&self) -> bool {
        self.sleepers.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn begin_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends a search; true if it was the last, so that the caller must look once more or wake another.
    pub(crate) fn end_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::primitive::Mutex;
    use loom::sync::Arc;
    use loom::thread;

    /// The injector hand-off: one pushes and looks for sleepers, one announces and looks again.
    #[test]
    fn loom_an_injected_entry_is_never_left_to_sleepers() {
        loom::model(|| {
            let idle = Arc::new(Idle::new());
            let queue = Arc::new(Mutex::new(0));
            let (other_idle, other_queue) = (Arc::clone(&idle), Arc::clone(&queue));
            let pusher = thread::spawn(move || {
                *other_queue.lock().unwrap() += 1;
                other_idle.claim_any().is_some()
            });
            idle.begin_search();
            let found_searching = std::mem::take(&mut *queue.lock().unwrap()) > 0;
            let _ = idle.end_search();
            idle.announce_sleep(0);
            let found = found_searching || std::mem::take(&mut *queue.lock().unwrap()) > 0;
            let woken = pusher.join().unwrap();
            assert!(
                found || woken,
                "the entry is in the queue and the only worker sleeps"
            );
        });
    }
}
