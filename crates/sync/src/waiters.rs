//! A line of waiters, first come, first served.
//!
//! The problem: a waiter may be woken, moved to another waker, or dropped at any time, and none of that may allocate once the primitive is warm.
//!
//! # States of a waiter
//! queued → granted; it leaves from either by [`WaitList::remove`].
//!
//! # Invariants
//! - Entries live in a slab; free ones are reused, so a warm list does not allocate.
//! - A waiter that is a task, polled with its own waker, is one word of its entry; other wakers stand in a slab of their own, under the number in the entry.
//! - An entry belongs to the [`Place`] that was given out for it, which is not copied: it is removed once.
//! - The list is a value behind its primitive's lock. It gives wakers out instead of calling or dropping them, because that is the program's code.

use std::task::Waker;

use asupersync_kernel::{Waiter, Who, wake_contained};

use crate::slab::Slab;

/// What a waiter was woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// It alone got what it waits for, and must pass it on if it cannot use it.
    One,
    /// Everybody in line got it.
    All,
    /// The primitive was closed.
    Closed,
}

/// A waiter's own entry; gone once everybody was released since.
#[derive(Debug)]
pub(crate) struct Place {
    index: u32,
    epoch: u32,
}

impl Place {
    /// The place in half a word; for a line whose waiters are never all released at once.
    pub(crate) fn into_index(self) -> u32 {
        debug_assert_eq!(self.epoch, 0, "this line is never released as a whole");
        self.index
    }

    /// The place that [`into_index`](Self::into_index) was asked of.
    pub(crate) const fn from_index(index: u32) -> Self {
        Self { index, epoch: 0 }
    }
}

/// How a waiter stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stand {
    /// In line, with the waker that was asked about.
    Queued,
    /// In line, with another waker.
    OtherWaker,
    /// Out of the line.
    Granted(Grant),
}

/// A waiter's entry; `N` is what it says of its need, which is nothing where all need the same.
#[derive(Debug)]
struct Entry<N> {
    /// The one before in line; for one that is out of the line, what it was granted.
    previous: u32,
    next: u32,
    need: N,
    waiter: Option<Waiter>,
}

/// The line and the slab of its entries.
#[derive(Debug)]
pub(crate) struct WaitList<N = ()> {
    entries: Slab<Entry<N>>,
    others: Others,
    free: u32,
    first: u32,
    last: u32,
    queued: u32,
    /// Entries that are not free.
    used: u32,
    /// How often everybody was released.
    epoch: u32,
}

const NONE: u32 = u32::MAX;
const GRANTED_ONE: u32 = NONE - 1;
const GRANTED_ALL: u32 = NONE - 2;
const GRANTED_CLOSED: u32 = NONE - 3;
/// A slab that was larger than this is given back when its last waiter leaves.
const KEPT_ENTRIES: u32 = 1024;

impl<N> Entry<N> {
    const fn grant(&self) -> Option<Grant> {
        match self.previous {
            GRANTED_ONE => Some(Grant::One),
            GRANTED_ALL => Some(Grant::All),
            GRANTED_CLOSED => Some(Grant::Closed),
            _ => None,
        }
    }
}

impl Grant {
    const fn code(self) -> u32 {
        match self {
            Self::One => GRANTED_ONE,
            Self::All => GRANTED_ALL,
            Self::Closed => GRANTED_CLOSED,
        }
    }
}

/// Wakers that are not a task's own, under numbers.
#[derive(Debug)]
struct Others {
    places: Vec<Other>,
    free: u32,
}

#[derive(Debug)]
enum Other {
    Waker(Waker),
    /// The next free one.
    Free(u32),
}

impl Others {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
        }
    }

    fn keep(&mut self, waker: Waker) -> u32 {
        let number = self.free;
        match self.places.get_mut(number as usize) {
            Some(place) => {
                if let Other::Free(next) = std::mem::replace(place, Other::Waker(waker)) {
                    self.free = next;
                }
                number
            }
            None => {
                self.places.push(Other::Waker(waker));
                u32::try_from(self.places.len() - 1).expect("there are no more than entries")
            }
        }
    }

    fn take(&mut self, number: u32) -> Option<Waker> {
        let place = self.places.get_mut(number as usize)?;
        let Other::Waker(waker) = std::mem::replace(place, Other::Free(self.free)) else {
            return None;
        };
        self.free = number;
        Some(waker)
    }

    fn will_wake(&self, number: u32, waker: &Waker) -> bool {
        matches!(self.places.get(number as usize), Some(Other::Waker(known)) if known.will_wake(waker))
    }

    fn shelve(&mut self, waker: Waker) -> Waiter {
        Waiter::task(waker).unwrap_or_else(|waker| Waiter::number(self.keep(waker)))
    }

    fn fetch(&mut self, waiter: Option<Waiter>) -> Option<Waker> {
        match waiter?.who() {
            Who::Waker(waker) => Some(waker),
            Who::Number(number) => self.take(number),
        }
    }
}

impl<N: Copy> WaitList<N> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            others: Others::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            queued: 0,
            used: 0,
            epoch: 0,
        }
    }

    /// Whether nobody is in line; granted waiters are not.
    pub(crate) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Whether somebody was granted something and still has its place.
    pub(crate) const fn has_granted(&self) -> bool {
        self.used > self.queued
    }

    /// Whether nobody has a place, in line or granted.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn is_unused(&self) -> bool {
        self.used == 0
    }

    /// How much the first in line needs.
    pub(crate) fn front_need(&self) -> Option<N> {
        self.entries.get(self.first).map(|entry| entry.need)
    }

    /// Puts a waiter at the end of the line.
    pub(crate) fn enqueue(&mut self, waker: Waker, need: N) -> Place {
        let entry = Entry {
            previous: self.last,
            next: NONE,
            need,
            waiter: Some(self.others.shelve(waker)),
        };
        let index = if self.free == NONE {
            let index = self.entries.len();
            assert!(
                index < GRANTED_CLOSED,
                "fewer than 2^32 waiters fit in memory"
            );
            self.entries.push(entry);
            index
        } else {
            let index = self.free;
            let place = &mut self.entries[index];
            self.free = place.next;
            *place = entry;
            index
        };
        match self.entries.get_mut(self.last) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
        self.last = index;
        self.queued += 1;
        self.used += 1;
        Place {
            index,
            epoch: self.epoch,
        }
    }

    /// Takes the first waiter out of the line; its waker is to be woken without the lock.
    pub(crate) fn grant_front(&mut self, grant: Grant) -> Option<Waker> {
        if self.is_empty() {
            return None;
        }
        self.grant(self.first, grant)
    }

    /// Like [`grant_front`](Self::grant_front), for the last in line.
    pub(crate) fn grant_back(&mut self, grant: Grant) -> Option<Waker> {
        if self.is_empty() {
            return None;
        }
        self.grant(self.last, grant)
    }

    fn grant(&mut self, index: u32, grant: Grant) -> Option<Waker> {
        self.unlink(index);
        let entry = &mut self.entries[index];
        entry.previous = grant.code();
        let waiter = entry.waiter.take();
        self.others.fetch(waiter)
    }

    /// Takes everybody out of the line.
    pub(crate) fn grant_all(&mut self, grant: Grant) -> Wakers {
        let mut wakers = Wakers::with_capacity(self.queued as usize);
        while !self.is_empty() {
            wakers.push(self.grant_front(grant));
        }
        wakers
    }

    /// Takes everybody out of the line for good: nobody has to come back for its place.
    ///
    /// For waiters to whom a grant is a hint to look again.
    pub(crate) fn release_all(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        let mut next = self.first;
        while let Some(entry) = self.entries.get_mut(next) {
            let waiter = entry.waiter.take();
            wakers.push(self.others.fetch(waiter));
            next = entry.next;
        }
        if next == NONE && self.first == NONE {
            return wakers;
        }
        debug_assert_eq!(
            self.used, self.queued,
            "nobody is granted and still has its place"
        );
        self.entries.clear();
        self.free = NONE;
        self.first = NONE;
        self.last = NONE;
        self.queued = 0;
        self.used = 0;
        self.epoch = self.epoch.wrapping_add(1);
        wakers
    }

    /// How the waiter stands, compared with the waker that it is polled with now.
    pub(crate) fn stand(&self, place: &Place, waker: &Waker) -> Stand {
        if place.epoch != self.epoch {
            return Stand::Granted(Grant::All);
        }
        let entry = &self.entries[place.index];
        if let Some(grant) = entry.grant() {
            return Stand::Granted(grant);
        }
        let is_known = entry.waiter.as_ref().is_some_and(|known| {
            let number = known.as_number();
            known.will_wake(waker)
                || number.is_some_and(|number| self.others.will_wake(number, waker))
        });
        if is_known {
            Stand::Queued
        } else {
            Stand::OtherWaker
        }
    }

    /// Whether the waiter is out of the line.
    pub(crate) fn is_granted(&self, place: &Place) -> bool {
        place.epoch != self.epoch || self.entries[place.index].grant().is_some()
    }

    /// Gives a queued waiter another waker, and the caller the old one to drop without the lock.
    pub(crate) fn replace_waker(&mut self, place: &Place, waker: Waker) -> Option<Waker> {
        let waiter = self.others.shelve(waker);
        let old = self.entries[place.index].waiter.replace(waiter);
        self.others.fetch(old)
    }

    /// Takes a waiter out of the list: what it was granted, and its waker to drop without the lock.
    pub(crate) fn remove(&mut self, place: Place) -> (Option<Grant>, Option<Waker>) {
        if place.epoch != self.epoch {
            return (Some(Grant::All), None);
        }
        let index = place.index;
        let grant = self.entries[index].grant();
        if grant.is_none() {
            self.unlink(index);
        }
        let entry = &mut self.entries[index];
        let waiter = entry.waiter.take();
        entry.next = self.free;
        self.free = index;
        self.used -= 1;
        let waker = self.others.fetch(waiter);
        if self.used == 0 && self.entries.len() > KEPT_ENTRIES {
            *self = Self {
                epoch: self.epoch,
                ..Self::new()
            };
        }
        (grant, waker)
    }

    fn unlink(&mut self, index: u32) {
        let Entry { previous, next, .. } = self.entries[index];
        match self.entries.get_mut(previous) {
            Some(entry) => entry.next = next,
            None => self.first = next,
        }
        match self.entries.get_mut(next) {
            Some(entry) => entry.previous = previous,
            None => self.last = previous,
        }
        self.queued -= 1;
    }
}

/// Wakers to be woken once the lock is released; few of them need no allocation.
#[derive(Debug, Default)]
#[must_use = "whoever was granted something must be woken"]
pub(crate) struct Wakers {
    few: [Option<Waker>; FEW],
    count: usize,
    more: Vec<Waker>,
}

const FEW: usize = 8;

impl Wakers {
    fn with_capacity(count: usize) -> Self {
        Self {
            more: Vec::with_capacity(count.saturating_sub(FEW)),
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        match self.few.get_mut(self.count) {
            Some(place) => *place = waker,
            None => self.more.extend(waker),
        }
        self.count += 1;
    }

    /// Wakes them in order.
    #[inline]
    pub(crate) fn wake(&mut self) {
        for waker in self.few.iter_mut().take(self.count) {
            waker.take().into_iter().for_each(wake_contained);
        }
        self.more.drain(..).for_each(wake_contained);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;

    #[derive(Clone, Debug)]
    enum Step {
        Enqueue,
        Grant,
        Remove(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Enqueue),
            2 => Just(Step::Grant),
            2 => (0..16_usize).prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn the_line_is_served_in_order_whoever_leaves_it(steps in steps()) {
            let mut list = WaitList::<u32>::new();
            let mut held: Vec<(u32, Place)> = Vec::new();
            let mut line: VecDeque<u32> = VecDeque::new();
            let mut peak = 0;
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Enqueue => {
                        held.push((number, list.enqueue(Waker::noop().clone(), number)));
                        line.push_back(number);
                    }
                    Step::Grant => {
                        prop_assert_eq!(list.front_need(), line.front().copied());
                        prop_assert_eq!(list.grant_front(Grant::One).is_some(), line.pop_front().is_some());
                    }
                    Step::Remove(at) if at < held.len() => {
                        let (number, place) = held.remove(at);
                        let queued = line.iter().position(|waiting| *waiting == number);
                        let (grant, _) = list.remove(place);
                        prop_assert_eq!(grant.is_none(), queued.is_some());
                        line.retain(|waiting| *waiting != number);
                    }
                    Step::Remove(_) => {}
                }
                peak = peak.max(held.len());
                prop_assert_eq!(list.is_empty(), line.is_empty());
                prop_assert_eq!(list.entries.len() as usize, peak, "free entries are reused");
                prop_assert!(list.others.places.len() <= peak, "and so are free wakers");
                let kept = list.others.places.iter().filter(|place| matches!(place, Other::Waker(_)));
                prop_assert_eq!(kept.count(), line.len(), "one for each in line");
            }
            let rest = list.grant_all(Grant::All);
            prop_assert_eq!(rest.count, line.len());
        }
    }

    /// A waker that counts its clones.
    fn counted() -> (Arc<Noted>, Waker) {
        let noted = Arc::new(Noted);
        (Arc::clone(&noted), Waker::from(noted))
    }

    struct Noted;

    impl std::task::Wake for Noted {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_foreign_waker_is_told_from_others_and_comes_back() {
        let mut list = WaitList::<()>::new();
        let (first, mine) = counted();
        let (second, other) = counted();
        let place = list.enqueue(mine.clone(), ());
        assert_eq!(list.stand(&place, &mine), Stand::Queued);
        assert_eq!(list.stand(&place, &other), Stand::OtherWaker);
        let old = list.replace_waker(&place, other.clone());
        assert!(old.is_some_and(|old| old.will_wake(&mine)));
        assert_eq!(list.stand(&place, &other), Stand::Queued);
        let granted = list.grant_front(Grant::One);
        assert!(granted.is_some_and(|granted| granted.will_wake(&other)));
        assert_eq!(list.stand(&place, &other), Stand::Granted(Grant::One));
        assert!(matches!(list.remove(place), (Some(Grant::One), None)));
        drop((mine, other));
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(Arc::strong_count(&second), 1);
    }

    #[test]
    fn an_entry_of_a_line_without_needs_is_two_words() {
        assert_eq!(size_of::<Entry<()>>(), 2 * size_of::<u64>());
    }

    #[test]
    fn a_large_slab_is_given_back_when_its_last_waiter_leaves() {
        let mut list = WaitList::<()>::new();
        let places: Vec<Place> = (0..KEPT_ENTRIES + 1)
            .map(|_| list.enqueue(Waker::noop().clone(), ()))
            .collect();
        for place in places {
            assert!(list.entries.len() > 0);
            list.remove(place);
        }
        assert_eq!(list.entries.len(), 0);
        assert_eq!(list.entries.room(), 0);
    }
}
