//! A worker's lanes that others may push into: cancel, timed, and all that is pinned.
//!
//! One lock guards them; a word of hints beside it tells which lanes may be non-empty, so that a worker with none of them pays one load.

use std::cmp::{Ordering as Order, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use asupersync_core::Time;

use crate::primitive::{AtomicU32, Mutex, Ordering, lock};

const CANCEL: u32 = 1;
const TIMED: u32 = 2;
const PINNED: u32 = 4;

/// As many cancelled entries as a thief takes along.
const STEAL_BATCH: usize = 31;

/// An entry of a timed lane: the earliest deadline first, then the higher priority, then the older.
struct Timed<T> {
    key: (Time, Reverse<u8>, u64),
    entry: T,
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Timed<T> {}

impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timed<T> {
    fn cmp(&self, other: &Self) -> Order {
        // `BinaryHeap` gives the greatest first.
        other.key.cmp(&self.key)
    }
}

/// Cancel and timed entries, either free to move or pinned.
struct Urgent<T> {
    cancel: VecDeque<T>,
    timed: BinaryHeap<Timed<T>>,
}

impl<T> Urgent<T> {
    fn new() -> Self {
        Self {
            cancel: VecDeque::new(),
            timed: BinaryHeap::new(),
        }
    }

    fn len(&self) -> usize {
        self.cancel.len() + self.timed.len()
    }
}

struct Guarded<T> {
    free: Urgent<T>,
    pinned: Urgent<T>,
    pinned_ready: VecDeque<T>,
    pushed: u64,
    /// Which of the two cancel queues was served last.
    served_pinned: bool,
}

/// Which lanes may have entries, as far as a worker knows without the lock.
#[derive(Clone, Copy)]
pub(crate) struct Hints(u32);

impl Hints {
    /// Whether there are entries that are neither ready nor pinned only.
    #[inline]
    pub(crate) const fn has_urgent(self) -> bool {
        self.0 & (CANCEL | TIMED) != 0
    }

    pub(crate) const fn has_cancel(self) -> bool {
        self.0 & CANCEL != 0
    }

    pub(crate) const fn has_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    #[inline]
    pub(crate) const fn has_pinned(self) -> bool {
        self.0 & PINNED != 0
    }
}

pub(crate) struct Lanes<T> {
    hints: AtomicU32,
    guarded: Mutex<Guarded<T>>,
}

impl<T> Lanes<T> {
    pub(crate) fn new() -> Self {
        Self {
            hints: AtomicU32::new(0),
            guarded: Mutex::new(Guarded {
                free: Urgent::new(),
                pinned: Urgent::new(),
                pinned_ready: VecDeque::new(),
                pushed: 0,
                served_pinned: false,
            }),
        }
    }

    /// Whether the entry has others beside it that thieves may take.
    pub(crate) fn push_cancel(&self, entry: T, pinned: bool) -> bool {
        let mut guarded = lock(&self.guarded);
        let urgent = if pinned {
            &mut guarded.pinned
        } else {
            &mut guarded.free
        };
        urgent.cancel.push_back(entry);
        self.refresh(&guarded);
        guarded.free.len() > 1
    }

    /// Puts entries that may move into the cancel lane, under one lock; whether there are several then.
    pub(crate) fn push_cancelled(&self, entries: impl IntoIterator<Item = T>) -> bool {
        let mut guarded = lock(&self.guarded);
        guarded.free.cancel.extend(entries);
        self.refresh(&guarded);
        guarded.free.len() > 1
    }

    /// Whether the entry has others beside it that thieves may take.
    pub(crate) fn push_timed(&self, entry: T, deadline: Time, priority: u8, pinned: bool) -> bool {
        let mut guarded = lock(&self.guarded);
        guarded.pushed += 1;
        let timed = Timed {
            key: (deadline, Reverse(priority), guarded.pushed),
            entry,
        };
        let urgent = if pinned {
            &mut guarded.pinned
        } else {
            &mut guarded.free
        };
        urgent.timed.push(timed);
        self.refresh(&guarded);
        guarded.free.len() > 1
    }

    pub(crate) fn push_pinned(&self, entry: T) {
        let mut guarded = lock(&self.guarded);
        guarded.pinned_ready.push_back(entry);
        self.refresh(&guarded);
    }

    /// Which lanes may have entries.
    #[inline]
    pub(crate) fn hints(&self) -> Hints {
        Hints(self.hints.load(Ordering::Relaxed))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hints.load(Ordering::SeqCst) == 0
    }

    /// The oldest cancelled entry; pinned and free ones take turns.
    pub(crate) fn pop_cancel(&self) -> Option<T> {
        let mut guarded = lock(&self.guarded);
        let pinned_first = !guarded.served_pinned;
        let entry = if pinned_first {
            guarded.pinned.cancel.pop_front().map(|entry| (entry, true))
        } else {
            guarded.free.cancel.pop_front().map(|entry| (entry, false))
        };
        let entry = entry.or_else(|| {
            if pinned_first {
                guarded.free.cancel.pop_front().map(|entry| (entry, false))
            } else {
                guarded.pinned.cancel.pop_front().map(|entry| (entry, true))
            }
        });
        self.refresh(&guarded);
        let (entry, pinned) = entry?;
        guarded.served_pinned = pinned;
        Some(entry)
    }

    /// The entry with the earliest deadline, pinned or free.
    pub(crate) fn pop_timed(&self) -> Option<T> {
        let mut guarded = lock(&self.guarded);
        let pinned_first = match (guarded.pinned.timed.peek(), guarded.free.timed.peek()) {
            (Some(pinned), Some(free)) => pinned.key < free.key,
            (pinned, _) => pinned.is_some(),
        };
        let heap = if pinned_first {
            &mut guarded.pinned.timed
        } else {
            &mut guarded.free.timed
        };
        let entry = heap.pop().map(|timed| timed.entry);
        self.refresh(&guarded);
        entry
    }

    pub(crate) fn pop_pinned(&self) -> Option<T> {
        let mut guarded = lock(&self.guarded);
        let entry = guarded.pinned_ready.pop_front();
        self.refresh(&guarded);
        entry
    }

    /// For a thief: what is not pinned, the cancelled first.
    ///
    /// Of the cancelled, up to half move to the thief's lane at once; `moving` is the room for them on the way.
    pub(crate) fn steal(&self, thief: &Self, moving: &mut Vec<T>) -> Option<T> {
        if self.hints.load(Ordering::Relaxed) & (CANCEL | TIMED) == 0 {
            return None;
        }
        let entry = {
            let mut guarded = lock(&self.guarded);
            let more = (guarded.free.cancel.len() / 2).min(STEAL_BATCH);
            let entry = match guarded.free.cancel.pop_front() {
                Some(entry) => {
                    moving.extend(guarded.free.cancel.drain(..more));
                    Some(entry)
                }
                None => guarded.free.timed.pop().map(|timed| timed.entry),
            };
            self.refresh(&guarded);
            entry
        };
        if !moving.is_empty() {
            let mut guarded = lock(&thief.guarded);
            guarded.free.cancel.extend(moving.drain(..));
            thief.refresh(&guarded);
        }
        entry
    }

    /// How many cancelled and timed entries wait, and the earliest deadline among them.
    pub(crate) fn pressure(&self) -> (usize, usize, Option<Time>) {
        let guarded = lock(&self.guarded);
        let (free, pinned) = (&guarded.free, &guarded.pinned);
        let earliest = [&free.timed, &pinned.timed]
            .into_iter()
            .filter_map(|heap| heap.peek().map(|timed| timed.key.0))
            .min();
        let cancelled = free.cancel.len() + pinned.cancel.len();
        (cancelled, free.timed.len() + pinned.timed.len(), earliest)
    }

    /// Whether a thief would find something.
    pub(crate) fn has_stealable(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let guarded = lock(&self.guarded);
        !guarded.free.cancel.is_empty() || !guarded.free.timed.is_empty()
    }

    fn refresh(&self, guarded: &Guarded<T>) {
        let mut hints = 0;
        if !guarded.free.cancel.is_empty() || !guarded.pinned.cancel.is_empty() {
            hints |= CANCEL;
        }
        if !guarded.free.timed.is_empty() || !guarded.pinned.timed.is_empty() {
            hints |= TIMED;
        }
        if !guarded.pinned_ready.is_empty() {
            hints |= PINNED;
        }
        if self.hints.load(Ordering::Relaxed) != hints {
            self.hints.store(hints, Ordering::SeqCst);
        }
    }
}
