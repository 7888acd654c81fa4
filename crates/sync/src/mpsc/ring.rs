//! The slots of a bounded channel: many claim and fill them, one empties them, no lock.
//!
//! The problem: a reservation must not stand in the way of those who send meanwhile.
//! So it counts against the capacity but has no position; a position is claimed only with the value in hand.
//!
//! # States
//! The senders' word: `tail`, the next position; `reserved`, slots that are promised; and the flags `WAITERS`, `CLOSED` (no new reservations) and `GONE` (no new positions either).
//! A slot: `EMPTY → FULL → EMPTY`; at the end `EMPTY → ABANDONED`.
//! The receiver's word: `head`, the next position to empty.
//!
//! # Invariants
//! - `tail - head + reserved <= capacity <= ring length`, so the slot of a claimed position is empty.
//! - A claimed position is filled soon: between the two there is no code of the program.
//! - A slot's value belongs to the claimer until `FULL`, to the consumer after; if the consumer abandons the slot first, the claimer keeps its value.
//! - While `WAITERS` stands, only who holds the lock of the line reserves, so nobody overtakes.
//!
//! A sender looks at the receiver's word only when its own copy of `head` says that the ring is full.
//! Segments are made when they are first used, so a large capacity costs nothing before it is needed.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use crate::primitive::{AtomicU8, AtomicU64, Ordering, Padded, UnsafeCell, total_order, yield_now};

const RESERVED: u64 = 1;
const RESERVED_MASK: u64 = (1 << 24) - 1;
const WAITERS: u64 = 1 << 24;
const CLOSED: u64 = 1 << 25;
const GONE: u64 = 1 << 26;
const TAIL_SHIFT: u32 = 27;
const TAIL: u64 = 1 << TAIL_SHIFT;
/// Positions wrap here; a thread would have to stand still for 2^37 messages between two instructions to be fooled.
const POSITIONS: u64 = u64::MAX >> TAIL_SHIFT;

/// The most messages that a bounded channel may hold.
pub(super) const CAPACITY_MAX: usize = RESERVED_MASK as usize;

const EMPTY: u8 = 0;
const FULL: u8 = 1;
const ABANDONED: u8 = 2;

/// Slots to a segment; a power of two.
const SEGMENT: u64 = 64;

/// Why a slot cannot be had now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// All are taken, or others wait in line.
    Full,
    /// No more will be given out.
    Closed,
}

/// Slots that are promised, mostly one; each is spent or given back.
#[derive(Debug)]
#[must_use = "a reservation that is dropped takes its slot along"]
pub(super) struct Reserved(u32);

impl Reserved {
    /// One reservation for each of the slots.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        (0..self.0).map(|_| Self(1))
    }
}

/// A position that must be filled.
#[derive(Debug)]
#[must_use = "the receiver waits for the value at this position"]
pub(super) struct Claim(u64);

/// The right to empty slots; each ring has one.
#[derive(Debug)]
pub(super) struct Consumer {
    head: u64,
}

struct Slot<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

type Segment<T> = Box<[Slot<T>]>;

impl<T> Slot<T> {
    /// Moves the value out.
    ///
    /// # Safety
    /// The caller owns the slot, which holds a value, and does not read it again.
    unsafe fn read(&self) -> T {
        self.value.with_mut(|place| {
            // SAFETY: the caller owns the slot.
            let place = unsafe { &mut *place };
            // SAFETY: the slot holds a value that nobody reads again.
            unsafe { place.assume_init_read() }
        })
    }
}

struct SendSide {
    word: AtomicU64,
    /// What a sender last saw of `head`.
    head_seen: AtomicU64,
}

pub(super) struct Ring<T> {
    send: Padded<SendSide>,
    head: Padded<AtomicU64>,
    capacity: u64,
    index_mask: u64,
    segments: Box<[OnceLock<Segment<T>>]>,
}

// SAFETY: a slot's value is touched by the owner of its position, see the module's invariants; values
// move from the senders' threads to the receiver's, so `T: Send` is needed and enough.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> (Self, Consumer) {
        debug_assert!(
            (1..=CAPACITY_MAX).contains(&capacity),
            "checked by the constructor of the channel"
        );
        let length = capacity.next_power_of_two() as u64;
        let segments = length.div_ceil(SEGMENT);
        let ring = Self {
            send: Padded(SendSide {
                word: AtomicU64::new(0),
                head_seen: AtomicU64::new(0),
            }),
            head: Padded(AtomicU64::new(0)),
            capacity: capacity as u64,
            index_mask: length - 1,
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
        };
        if cfg!(loom) {
            // Loom does not see the synchronisation of `OnceLock`.
            (0..length).for_each(|position| {
                ring.slot(position);
            });
        }
        (ring, Consumer { head: 0 })
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Messages that were claimed a position and not yet taken.
    pub(super) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        let word = self.send.word.load(Ordering::Acquire);
        let len = distance(head, word >> TAIL_SHIFT);
        // `head` is the older of the two, so it may lag behind.
        len.min(self.capacity) as usize
    }

    /// Slots that are neither filled nor promised.
    pub(super) fn free(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        let used = in_flight(self.send.word.load(Ordering::Acquire), head);
        self.capacity.saturating_sub(used) as usize
    }

    pub(super) fn is_closed(&self) -> bool {
        self.send.word.load(Ordering::SeqCst) & CLOSED != 0
    }

    pub(super) fn is_gone(&self) -> bool {
        self.send.word.load(Ordering::SeqCst) & GONE != 0
    }

    /// Claims a position if that overtakes nobody.
    #[inline]
    pub(super) fn claim(&self) -> Result<Claim, Refusal> {
        self.take_room(WAITERS, TAIL, 1)
            .map(|word| Claim(word >> TAIL_SHIFT))
    }

    /// Reserves slots, all or none, if that overtakes nobody.
    pub(super) fn reserve(&self, count: u32) -> Result<Reserved, Refusal> {
        self.take_room(WAITERS, RESERVED * u64::from(count), u64::from(count))
            .map(|_| Reserved(count))
    }

    /// Reserves slots for the first in line; called under the lock of the line.
    pub(super) fn reserve_for_line(&self, count: u32) -> Result<Reserved, Refusal> {
        self.take_room(0, RESERVED * u64::from(count), u64::from(count))
            .map(|_| Reserved(count))
    }

    /// Adds `step`, which takes `need` slots, to the word if there is room and no flag of `barrier` stands.
    #[inline]
    fn take_room(&self, barrier: u64, step: u64, need: u64) -> Result<u64, Refusal> {
        let mut word = self.send.word.load(Ordering::SeqCst);
        loop {
            if word & CLOSED != 0 {
                return Err(Refusal::Closed);
            }
            if word & barrier != 0 {
                return Err(Refusal::Full);
            }
            let head = self.send.head_seen.load(Ordering::Acquire);
            if in_flight(word, head) + need > self.capacity && !self.look_for_room(word, need) {
                let now = self.send.word.load(Ordering::SeqCst);
                if now == word {
                    return Err(Refusal::Full);
                }
                word = now;
                continue;
            }
            match self.send.word.compare_exchange_weak(
                word,
                word.wrapping_add(step),
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(word),
                Err(seen) => word = seen,
            }
        }
    }

    fn look_for_room(&self, word: u64, need: u64) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        self.send.head_seen.store(head, Ordering::Release);
        in_flight(word, head) + need <= self.capacity
    }

    /// Turns a reservation of one slot into a position; the reservation is gone either way.
    pub(super) fn spend(&self, reserved: Reserved) -> Result<Claim, Refusal> {
        debug_assert_eq!(reserved.0, 1, "a position is one slot");
        let mut word = self.send.word.load(Ordering::Relaxed);
        loop {
            if word & GONE != 0 {
                self.give_back(reserved);
                return Err(Refusal::Closed);
            }
            let next = word.wrapping_add(TAIL) - RESERVED;
            match self.send.word.compare_exchange_weak(
                word,
                next,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(Claim(word >> TAIL_SHIFT)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Gives slots back; says whether somebody is in line for it.
    pub(super) fn give_back(&self, reserved: Reserved) -> bool {
        let slots = RESERVED * u64::from(reserved.0);
        let before = self.send.word.fetch_sub(slots, Ordering::SeqCst);
        total_order();
        debug_assert!(before & RESERVED_MASK >= slots, "a slot is given back once");
        before & WAITERS != 0
    }

    /// The reservation that was made for a waiter in line, or that a leaked permit held.
    ///
    /// # Safety
    /// A [`Reserved`] of this ring and count was dropped for this call, and no other call stands for it.
    pub(super) const unsafe fn resume(count: u32) -> Reserved {
        Reserved(count)
    }

    /// Fills a claimed position.
    ///
    /// # Errors
    /// The value, if the receiver has gone meanwhile.
    #[inline]
    pub(super) fn fill(&self, claim: Claim, value: T) -> Result<(), T> {
        let slot = self.slot(claim.0);
        slot.value.with_mut(|place| {
            // SAFETY: the position was claimed by this caller alone, and its slot is empty because
            // no more than the ring's length are in flight; so nobody else touches the slot.
            unsafe { &mut *place }.write(value);
        });
        let before = slot.state.swap(FULL, Ordering::SeqCst);
        total_order();
        if before == EMPTY {
            return Ok(());
        }
        // SAFETY: the slot was abandoned before it was full, so the consumer leaves it alone; the value
        // was written above.
        Err(unsafe { slot.read() })
    }

    /// Takes the next message, without telling the senders; [`publish_head`](Self::publish_head) does.
    #[inline]
    pub(super) fn pop(&self, consumer: &mut Consumer) -> Option<T> {
        let slot = self.made_slot(consumer.head)?;
        if slot.state.load(Ordering::SeqCst) != FULL {
            return None;
        }
        // SAFETY: `FULL` gave the slot to the consumer, of which there is one; it is read once, because
        // the slot becomes empty before the position is given up.
        let value = unsafe { slot.read() };
        slot.state.store(EMPTY, Ordering::Relaxed);
        consumer.head = (consumer.head + 1) & POSITIONS;
        Some(value)
    }

    /// Lets senders use the slots that were emptied.
    #[inline]
    pub(super) fn publish_head(&self, consumer: &Consumer) {
        self.head.swap(consumer.head, Ordering::SeqCst);
        total_order();
    }

    /// Whether a position was claimed that the consumer has not emptied; its slot is then made.
    pub(super) fn is_claimed(&self, consumer: &Consumer) -> bool {
        let word = self.send.word.load(Ordering::SeqCst);
        let is_claimed = word >> TAIL_SHIFT != consumer.head;
        if is_claimed {
            // So that `pop` after this sees what was written before the claimer looked for a waiting receiver.
            self.slot(consumer.head);
        }
        is_claimed
    }

    /// Whether the channel was closed and no reservation is left.
    pub(super) fn is_settled(&self) -> bool {
        let word = self.send.word.load(Ordering::SeqCst);
        word & CLOSED != 0 && word & RESERVED_MASK == 0
    }

    /// Waits, for a few instructions of another thread, until the claimed position is filled.
    pub(super) fn pop_claimed(&self, consumer: &mut Consumer) -> T {
        loop {
            if let Some(value) = self.pop(consumer) {
                return value;
            }
            yield_now();
        }
    }

    /// Somebody gets in line; called under the lock of the line.
    pub(super) fn set_waiters(&self) {
        self.send.word.fetch_or(WAITERS, Ordering::SeqCst);
    }

    /// The line is empty; called under the lock of the line.
    pub(super) fn clear_waiters(&self) {
        self.send.word.fetch_and(!WAITERS, Ordering::SeqCst);
    }

    /// Makes no more reservations.
    pub(super) fn close(&self) {
        self.send.word.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Accepts nothing more and drops what is there; called once, by the consumer at its end.
    pub(super) fn abandon(&self, consumer: &mut Consumer) {
        let word = self.send.word.fetch_or(CLOSED | GONE, Ordering::SeqCst);
        Abandoning {
            ring: self,
            consumer,
            tail: word >> TAIL_SHIFT,
        }
        .run();
    }

    #[inline]
    fn slot(&self, position: u64) -> &Slot<T> {
        let index = position & self.index_mask;
        let segment = self.segments[(index / SEGMENT) as usize].get_or_init(|| self.make_segment());
        &segment[(index % SEGMENT) as usize]
    }

    #[inline]
    fn made_slot(&self, position: u64) -> Option<&Slot<T>> {
        let index = position & self.index_mask;
        let segment = self.segments[(index / SEGMENT) as usize].get()?;
        Some(&segment[(index % SEGMENT) as usize])
    }

    #[cold]
    fn make_segment(&self) -> Segment<T> {
        let empty = |_| Slot {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        };
        (0..SEGMENT.min(self.index_mask + 1)).map(empty).collect()
    }
}

/// Goes on with the rest if a message's destructor panics.
struct Abandoning<'a, T> {
    ring: &'a Ring<T>,
    consumer: &'a mut Consumer,
    tail: u64,
}

impl<T> Abandoning<'_, T> {
    fn run(&mut self) {
        while self.consumer.head != self.tail {
            let slot = self.ring.slot(self.consumer.head);
            self.consumer.head = (self.consumer.head + 1) & POSITIONS;
            if slot.state.swap(ABANDONED, Ordering::SeqCst) == FULL {
                // SAFETY: `FULL` gave the slot to the consumer, and its position was just given up.
                drop(unsafe { slot.read() });
            }
        }
    }
}

impl<T> Drop for Abandoning<'_, T> {
    fn drop(&mut self) {
        self.run();
    }
}

const fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & POSITIONS
}

const fn in_flight(word: u64, head: u64) -> u64 {
    distance(head, word >> TAIL_SHIFT) + (word & RESERVED_MASK)
}
