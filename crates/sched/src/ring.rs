//! A worker's ready entries: the owner puts and takes at the young end, thieves take at the old end.
//!
//! The ring is that of Chase and Lev, "Dynamic Circular Work-Stealing Deque" (2005), with the fences of Lê, Pop, Cohen and Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models" (2013).
//! Entries are numbered as they come, and entry `n` stands in place `n` modulo the size.
//!
//! # Invariants
//! - The entries are those with the numbers `old..young`. `old` never falls; whoever moves it from `n` to `n + 1` has entry `n`.
//! - While `old` is `n`, every table that a thief may still look at has entry `n` in its place, for places are filled again only after `old` has passed them.
//!   So the word that a thief read is the entry's if its exchange succeeds, and is forgotten if not.
//! - The owner takes entry `n` without an exchange only if, after `young` became `n` for all to see, `old` was less than `n`.

mod entry;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use crate::primitive::{AtomicPtr, AtomicUsize, Ordering, fence};

pub use entry::Entry;

/// The size of the first table; each has twice as many places as the one before.
const FIRST: usize = if cfg!(loom) { 2 } else { 256 };

/// How many tables there may be: the last has 131,072 places.
const TABLES: usize = if cfg!(loom) { 2 } else { 10 };

/// As many entries as a thief takes at once.
const BATCH: usize = 32;

/// Keeps what thieves write apart from what the owner writes.
#[repr(align(128))]
struct Apart<T>(T);

struct Ring {
    old: Apart<AtomicUsize>,
    young: Apart<AtomicUsize>,
    /// Which table the owner uses; those before it stay for thieves that still look at them.
    table: AtomicUsize,
    tables: [OnceLock<Box<[AtomicPtr<()>]>>; TABLES],
}

/// The owner's end; one thread has it.
pub(crate) struct Owner<T: Entry> {
    ring: Arc<Ring>,
    /// What `old` was at least, when it was looked at last.
    old_seen: Cell<usize>,
    /// Whether there is no thief, so that nothing needs a fence.
    alone: bool,
    entries: PhantomData<T>,
}

/// The thieves' end.
pub(crate) struct Thief<T: Entry> {
    ring: Arc<Ring>,
    entries: PhantomData<fn() -> T>,
}

/// An empty ring from which nobody steals.
pub(crate) fn alone<T: Entry>() -> Owner<T> {
    Owner::new(true)
}

/// An empty ring with both ends.
pub(crate) fn shared<T: Entry>() -> (Owner<T>, Thief<T>) {
    let owner = Owner::new(false);
    let ring = Arc::clone(&owner.ring);
    let entries = PhantomData;
    (owner, Thief { ring, entries })
}

impl Ring {
    fn new() -> Self {
        Self {
            old: Apart(AtomicUsize::new(0)),
            young: Apart(AtomicUsize::new(0)),
            table: AtomicUsize::new(0),
            tables: [const { OnceLock::new() }; TABLES],
        }
    }

    #[inline]
    fn places(&self, table: usize) -> &[AtomicPtr<()>] {
        let places = &self.tables[table];
        match places.get() {
            Some(places) => places,
            None => places.get_or_init(|| empty(FIRST << table)),
        }
    }

    fn len(&self) -> usize {
        let young = self.young.0.load(Ordering::Acquire);
        distance(self.old.0.load(Ordering::Acquire), young)
    }

    fn take_oldest<T: Entry>(&self) -> Option<T> {
        loop {
            let old = self.old.0.load(Ordering::Acquire);
            fence(Ordering::SeqCst);
            if distance(old, self.young.0.load(Ordering::Acquire)) == 0 {
                return None;
            }
            let places = self.places(self.table.load(Ordering::Acquire));
            let word = place(places, old).load(Ordering::Relaxed);
            if self.advance(old) {
                // SAFETY: by the second invariant the word is the entry's, and by the first it is this caller's alone.
                return Some(unsafe { T::from_word(word) });
            }
        }
    }

    /// Moves `old` on by one, if it is still what it was.
    fn advance(&self, old: usize) -> bool {
        let next = old.wrapping_add(1);
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        let exchanged = self.old.0.compare_exchange(old, next, success, failure);
        exchanged.is_ok()
    }
}

impl<T: Entry> Owner<T> {
    fn new(alone: bool) -> Self {
        let ring = Ring::new();
        ring.places(0);
        Self {
            ring: Arc::new(ring),
            old_seen: Cell::new(0),
            alone,
            entries: PhantomData,
        }
    }

    pub(crate) const fn is_alone(&self) -> bool {
        self.alone
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Puts an entry at the young end; gives it back if the last table is full.
    #[inline]
    pub(crate) fn push(&self, entry: T) -> Result<(), T> {
        let ring = &*self.ring;
        let young = ring.young.0.load(Ordering::Relaxed);
        let mut places = ring.places(ring.table.load(Ordering::Relaxed));
        if young.wrapping_sub(self.old_seen.get()) >= places.len() {
            match self.make_room(young) {
                Some(roomy) => places = roomy,
                None => return Err(entry),
            }
        }
        place(places, young).store(entry.into_word(), Ordering::Relaxed);
        let next = young.wrapping_add(1);
        ring.young.0.store(next, Ordering::Release);
        Ok(())
    }

    /// A table with room for entry `young`: the one there is, if thieves have made room in it, or the next.
    #[cold]
    fn make_room(&self, young: usize) -> Option<&[AtomicPtr<()>]> {
        let ring = &*self.ring;
        let table = ring.table.load(Ordering::Relaxed);
        let places = ring.places(table);
        let old = ring.old.0.load(Ordering::Acquire);
        self.old_seen.set(old);
        let waiting = young.wrapping_sub(old);
        if waiting < places.len() {
            return Some(places);
        }
        if table + 1 == TABLES {
            return None;
        }
        let larger = ring.places(table + 1);
        for ahead in 0..waiting {
            let number = old.wrapping_add(ahead);
            let word = place(places, number).load(Ordering::Relaxed);
            place(larger, number).store(word, Ordering::Relaxed);
        }
        ring.table.store(table + 1, Ordering::Release);
        Some(larger)
    }

    /// Takes the entry at the young end.
    #[inline]
    pub(crate) fn take_newest(&self) -> Option<T> {
        let ring = &*self.ring;
        let young = ring.young.0.load(Ordering::Relaxed);
        if young == ring.old.0.load(Ordering::Relaxed) {
            return None;
        }
        let newest = young.wrapping_sub(1);
        ring.young.0.store(newest, Ordering::Release);
        if !self.alone {
            fence(Ordering::SeqCst);
        }
        let old = ring.old.0.load(Ordering::Relaxed);
        if distance(old, newest) == 0 {
            // The last one, which a thief may be taking.
            let won = old == newest && ring.advance(old);
            ring.young.0.store(young, Ordering::Release);
            if !won {
                return None;
            }
        }
        let places = ring.places(ring.table.load(Ordering::Relaxed));
        let word = place(places, newest).load(Ordering::Relaxed);
        // SAFETY: by the third invariant, or by the exchange, the entry is this caller's alone.
        Some(unsafe { T::from_word(word) })
    }

    /// Takes the entry at the old end.
    pub(crate) fn take_oldest(&self) -> Option<T> {
        self.ring.take_oldest()
    }
}

impl<T: Entry> Drop for Owner<T> {
    fn drop(&mut self) {
        while self.take_newest().is_some() {}
    }
}

impl<T: Entry> Thief<T> {
    /// The old end and the young one, which move with each entry that comes or goes.
    pub(crate) fn ends(&self) -> (usize, usize) {
        let ring = &*self.ring;
        let old = ring.old.0.load(Ordering::Acquire);
        (old, ring.young.0.load(Ordering::Acquire))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.len() == 0
    }

    /// Takes the entry at the old end, and gives `keep` up to half of the others, the oldest first.
    pub(crate) fn steal(&self, mut keep: impl FnMut(T)) -> Option<T> {
        let first = self.ring.take_oldest()?;
        for _ in 0..(self.ring.len() / 2).min(BATCH - 1) {
            let Some(entry) = self.ring.take_oldest() else {
                break;
            };
            keep(entry);
        }
        Some(first)
    }
}

#[cold]
fn empty(places: usize) -> Box<[AtomicPtr<()>]> {
    let empty = || AtomicPtr::new(std::ptr::null_mut());
    std::iter::repeat_with(empty).take(places).collect()
}

/// How many entries there are from `old` to `young`; none while the owner is about to lose the last to a thief.
#[inline]
fn distance(old: usize, young: usize) -> usize {
    let distance = young.wrapping_sub(old);
    if distance > usize::MAX / 2 {
        0
    } else {
        distance
    }
}

#[inline]
fn place(places: &[AtomicPtr<()>], number: usize) -> &AtomicPtr<()> {
    &places[number & (places.len() - 1)]
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
