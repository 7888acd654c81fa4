//! Ready entries that belong to no worker: those from other threads, and what a ring has no room for.

use std::collections::VecDeque;

use crate::primitive::{AtomicUsize, Mutex, Ordering, lock};

/// As many entries as a worker takes at once.
const BATCH: usize = 32;

/// An empty queue with more room than this gives it back.
const ROOM_KEPT: usize = 1024;

/// First in, first out; a worker that finds it empty pays one load.
pub(crate) struct Injector<T> {
    waiting: AtomicUsize,
    entries: Mutex<VecDeque<T>>,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            entries: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn push(&self, entry: T) {
        let mut entries = lock(&self.entries);
        entries.push_back(entry);
        self.waiting.store(entries.len(), Ordering::SeqCst);
    }

    /// Takes the oldest entry.
    pub(crate) fn pop(&self) -> Option<T> {
        self.take(|_| 0, |_| ())
    }

    /// Takes the oldest entry, and gives `keep` the next ones: a fair part of them, if `workers` come.
    pub(crate) fn pop_batch(&self, workers: usize, keep: impl FnMut(T)) -> Option<T> {
        self.take(|left| (left / workers).min(BATCH - 1), keep)
    }

    fn take(&self, more: impl FnOnce(usize) -> usize, keep: impl FnMut(T)) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut entries = lock(&self.entries);
        let first = entries.pop_front();
        let more = more(entries.len());
        entries.drain(..more).for_each(keep);
        if entries.is_empty() && entries.capacity() > ROOM_KEPT {
            *entries = VecDeque::new();
        }
        self.waiting.store(entries.len(), Ordering::SeqCst);
        first
    }
}
