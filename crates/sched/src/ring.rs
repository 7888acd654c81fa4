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
//! - A table is let go only by the owner of an empty ring, after it has gone back to a smaller one for all to see, and while no thief is counted.
//!   A thief that is counted later looks at the smaller one: what it may take came after that.

mod entry;
mod witness;

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use crate::primitive::{AtomicPtr, AtomicUsize, Ordering, fence};

use self::witness::Witness;

pub use entry::Entry;

/// The size of the first table; each has twice as many places as the one before.
const FIRST: usize = if cfg!(loom) { 2 } else { 256 };

/// How many tables there may be: the last has 131,072 places.
const TABLES: usize = if cfg!(loom) { 2 } else { 10 };

/// The largest table that an empty ring keeps: the third has 1,024 places.
const KEPT: usize = if cfg!(loom) { 0 } else { 2 };

/// As many entries as a thief takes at once.
const BATCH: usize = 32;

/// Keeps what thieves write apart from what the owner writes.
#[repr(align(128))]
struct Apart<T>(T);

struct Ring {
    old: Apart<OldEnd>,
    young: Apart<AtomicUsize>,
    /// Which table the owner uses; those before it stay for thieves that still look at them.
    table: AtomicUsize,
    /// The first place of each table, if there is one; only the owner makes them and lets them go.
    tables: [AtomicPtr<AtomicPtr<()>>; TABLES],
    witnesses: [Witness; TABLES],
}

/// What thieves write.
struct OldEnd {
    number: AtomicUsize,
    /// How many thieves look at tables.
    visitors: AtomicUsize,
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
            old: Apart(OldEnd {
                number: AtomicUsize::new(0),
                visitors: AtomicUsize::new(0),
            }),
            young: Apart(AtomicUsize::new(0)),
            table: AtomicUsize::new(0),
            tables: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            witnesses: std::array::from_fn(|_| Witness::default()),
        }
    }

    /// The table in use.
    ///
    /// # Safety
    /// The caller is the owner, or a thief that is counted.
    #[inline]
    unsafe fn places(&self) -> &[AtomicPtr<()>] {
        // Acquire: the table was made before it came into use.
        let table = self.table.load(Ordering::Acquire);
        let first = self.tables[table].load(Ordering::Relaxed);
        self.witnesses[table].see();
        // SAFETY: the table in use has been made, with so many places, and by the fourth invariant is not let go meanwhile.
        unsafe { std::slice::from_raw_parts(first, FIRST << table) }
    }

    /// A table of that rank, made if there is none.
    ///
    /// # Safety
    /// The caller is the owner.
    unsafe fn made(&self, table: usize) -> &[AtomicPtr<()>] {
        let places = FIRST << table;
        let mut first = self.tables[table].load(Ordering::Relaxed);
        if first.is_null() {
            first = Box::into_raw(empty(places)).cast();
            self.tables[table].store(first, Ordering::Relaxed);
        }
        // SAFETY: it was made with so many places, and only the owner lets it go.
        unsafe { std::slice::from_raw_parts(first, places) }
    }

    /// Lets tables go, from the given one on.
    ///
    /// # Safety
    /// The caller is the owner, none of them is in use, and nobody else looks at them.
    unsafe fn let_go(&self, from: usize) {
        for table in from..TABLES {
            let first = self.tables[table].load(Ordering::Relaxed);
            if !first.is_null() {
                self.witnesses[table].part();
                self.tables[table].store(ptr::null_mut(), Ordering::Relaxed);
                let places = ptr::slice_from_raw_parts_mut(first, FIRST << table);
                // SAFETY: it was made as a box of so many places, and by the caller's promise nobody looks at it any more.
                drop(unsafe { Box::from_raw(places) });
            }
        }
    }

    fn len(&self) -> usize {
        let young = self.young.0.load(Ordering::Acquire);
        distance(self.old(), young)
    }

    fn old(&self) -> usize {
        self.old.0.number.load(Ordering::Acquire)
    }

    /// # Safety
    /// The caller is the owner, or a thief that is counted.
    unsafe fn take_oldest<T: Entry>(&self) -> Option<T> {
        loop {
            let old = self.old();
            fence(Ordering::SeqCst);
            if distance(old, self.young.0.load(Ordering::Acquire)) == 0 {
                return None;
            }
            // SAFETY: by the caller's promise.
            let places = unsafe { self.places() };
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
        let number = &self.old.0.number;
        let exchanged = number.compare_exchange(old, next, success, failure);
        exchanged.is_ok()
    }
}

impl<T: Entry> Owner<T> {
    fn new(alone: bool) -> Self {
        let ring = Ring::new();
        // SAFETY: nobody else knows the ring.
        let _ = unsafe { ring.made(0) };
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
        // SAFETY: this is the owner.
        let mut places = unsafe { ring.places() };
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
        // SAFETY: this is the owner.
        let places = unsafe { ring.places() };
        let old = ring.old();
        self.old_seen.set(old);
        let waiting = young.wrapping_sub(old);
        if waiting < places.len() {
            return Some(places);
        }
        if table + 1 == TABLES {
            return None;
        }
        // SAFETY: as above.
        let larger = unsafe { ring.made(table + 1) };
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
        if young == ring.old.0.number.load(Ordering::Relaxed) {
            return None;
        }
        let newest = young.wrapping_sub(1);
        ring.young.0.store(newest, Ordering::Release);
        if !self.alone {
            fence(Ordering::SeqCst);
        }
        let old = ring.old.0.number.load(Ordering::Relaxed);
        if distance(old, newest) == 0 {
            // The last one, which a thief may be taking.
            let won = old == newest && ring.advance(old);
            ring.young.0.store(young, Ordering::Release);
            if !won {
                return None;
            }
        }
        // SAFETY: this is the owner.
        let places = unsafe { ring.places() };
        let word = place(places, newest).load(Ordering::Relaxed);
        // SAFETY: by the third invariant, or by the exchange, the entry is this caller's alone.
        Some(unsafe { T::from_word(word) })
    }

    /// Takes the entry at the old end.
    pub(crate) fn take_oldest(&self) -> Option<T> {
        // SAFETY: this is the owner.
        unsafe { self.ring.take_oldest() }
    }

    /// How many tables there are.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> usize {
        let tables = self.ring.tables.iter();
        let made = tables.filter(|table| !table.load(Ordering::Relaxed).is_null());
        made.count()
    }

    /// Gives the memory of large tables back, if the ring is empty and no thief looks at them.
    pub(crate) fn give_room_back(&self) {
        let ring = &*self.ring;
        let is_small = ring.tables[KEPT + 1].load(Ordering::Relaxed).is_null();
        if is_small || self.len() > 0 {
            return;
        }
        ring.table.store(KEPT, Ordering::SeqCst);
        // Whoever is not counted below is counted after this fence, and finds the table that stays.
        fence(Ordering::SeqCst);
        if ring.old.0.visitors.load(Ordering::Acquire) == 0 {
            // SAFETY: this is the owner; they are not in use any more, and nobody is counted.
            unsafe { ring.let_go(KEPT + 1) };
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: nobody has the ring any more.
        unsafe { self.let_go(0) };
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
        let old = ring.old();
        (old, ring.young.0.load(Ordering::Acquire))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.len() == 0
    }

    /// Takes the entry at the old end, and gives `keep` up to half of the others, the oldest first.
    pub(crate) fn steal(&self, mut keep: impl FnMut(T)) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let visit = Visit::of(&self.ring);
        let first = visit.take_oldest()?;
        for _ in 0..(self.ring.len() / 2).min(BATCH - 1) {
            let Some(entry) = visit.take_oldest() else {
                break;
            };
            keep(entry);
        }
        Some(first)
    }
}

/// A thief that is counted.
struct Visit<'a>(&'a Ring);

impl<'a> Visit<'a> {
    fn of(ring: &'a Ring) -> Self {
        // A fence follows before a table is looked at.
        ring.old.0.visitors.fetch_add(1, Ordering::Relaxed);
        Self(ring)
    }

    fn take_oldest<T: Entry>(&self) -> Option<T> {
        // SAFETY: this thief is counted.
        unsafe { self.0.take_oldest() }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // Release: what was read is read before a table is let go.
        self.0.old.0.visitors.fetch_sub(1, Ordering::Release);
    }
}

#[cold]
fn empty(places: usize) -> Box<[AtomicPtr<()>]> {
    let empty = || AtomicPtr::new(ptr::null_mut());
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
