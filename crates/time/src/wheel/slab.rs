//! Storage of the wheel's timers: one vector, threaded by doubly linked lists of indices.
//!
//! # Problem
//! Insert, cancel and fire must not allocate once the vector has grown to the peak number of live timers.
//!
//! # States
//! An entry is *linked* (on exactly one list, with a value) or *free* (on the free list, without one).
//! Freeing raises the entry's generation, so every key handed out before is stale from then on.
//!
//! # Invariants
//! `live` counts the linked entries; `len(entries) == live + free`.
//! An entry's `list` names the list it is on, and [`FREE`] means the free list.
//!
//! # Absent
//! The vector never shrinks: its size is the peak number of live timers.

use std::num::NonZeroU32;

/// End of a list.
pub(super) const NIL: u32 = u32::MAX;
/// The `list` of an entry that is on the free list.
const FREE: u16 = u16::MAX;

/// One timer, or one free place for a timer.
struct Entry<T> {
    /// The tick at which the timer fires.
    tick: u64,
    prev: u32,
    next: u32,
    generation: NonZeroU32,
    list: u16,
    value: Option<T>,
}

/// Head and tail of a list of entries.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };

    pub(super) const fn is_empty(self) -> bool {
        self.head == NIL
    }

    pub(super) const fn head(self) -> u32 {
        self.head
    }

    pub(super) const fn tail(self) -> u32 {
        self.tail
    }
}

/// The entries and the free list.
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free_head: u32,
    live: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free_head: NIL,
            live: 0,
        }
    }

    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Entries that exist, linked or free.
    pub(super) fn size(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        let free = self.entries.len() - self.live;
        self.entries.reserve(additional.saturating_sub(free));
    }

    /// Stores a value that is on no list yet; the caller links it at once.
    pub(super) fn alloc(&mut self, tick: u64, value: T) -> (u32, NonZeroU32) {
        self.live += 1;
        if self.free_head != NIL {
            let index = self.free_head;
            let entry = &mut self.entries[index as usize];
            self.free_head = entry.next;
            entry.tick = tick;
            entry.value = Some(value);
            return (index, entry.generation);
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NIL);
        assert!(index != NIL, "a wheel holds at most {} timers", NIL);
        let generation = NonZeroU32::MIN;
        let entry = Entry {
            tick,
            prev: NIL,
            next: NIL,
            generation,
            list: FREE,
            value: Some(value),
        };
        self.entries.push(entry);
        (index, generation)
    }

    /// Frees an entry that has been unlinked and gives its value back.
    pub(super) fn free(&mut self, index: u32) -> T {
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.list != FREE, "freed twice");
        let value = entry.value.take().expect("a linked entry has a value");
        entry.list = FREE;
        // After 2^32 - 1 uses of this place the generations start again.
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        entry.next = self.free_head;
        self.free_head = index;
        self.live -= 1;
        value
    }

    /// The list that a live key's entry is on; `None` for a stale key.
    pub(super) fn list_of(&self, index: u32, generation: NonZeroU32) -> Option<u16> {
        let entry = self.entries.get(index as usize)?;
        (entry.generation == generation && entry.list != FREE).then_some(entry.list)
    }

    pub(super) fn tick(&self, index: u32) -> u64 {
        self.entries[index as usize].tick
    }

    pub(super) fn set_tick(&mut self, index: u32, tick: u64) {
        self.entries[index as usize].tick = tick;
    }

    pub(super) fn next(&self, index: u32) -> u32 {
        self.entries[index as usize].next
    }

    pub(super) fn prev(&self, index: u32) -> u32 {
        self.entries[index as usize].prev
    }

    pub(super) fn value_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries[index as usize].value.as_mut()
    }

    /// Appends an entry to a list.
    pub(super) fn push_back(&mut self, list: &mut List, name: u16, index: u32) {
        let tail = list.tail;
        let entry = &mut self.entries[index as usize];
        entry.list = name;
        entry.prev = tail;
        entry.next = NIL;
        list.tail = index;
        if tail == NIL {
            list.head = index;
        } else {
            self.entries[tail as usize].next = index;
        }
    }

    /// Takes an entry out of the list it is on.
    pub(super) fn unlink(&mut self, list: &mut List, index: u32) {
        let Entry { prev, next, .. } = self.entries[index as usize];
        if prev == NIL {
            list.head = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next == NIL {
            list.tail = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
    }
}
