//! A hierarchical timer wheel.
//!
//! # Problem
//! A worker has up to millions of timers, of which nearly all are cancelled before they fire.
//! Insert and cancel must cost a constant few nanoseconds; firing must never be early and late by a stated bound only.
//!
//! # States
//! Time is cut into ticks of a power of two nanoseconds.
//! A timer waits in a slot of one of the levels; level `l` has 64 slots of `64^l` ticks each.
//! Its level is the highest six-bit digit in which its tick differs from the wheel's, and that digit of its tick is its slot.
//! When the wheel's time enters a slot of a higher level, the slot's timers move down, in order.
//! Enough levels exist for every representable time, so that there is no overflow list to rescan.
//! A timer inserted with a deadline that has passed waits on the *due* list for the next advance.
//!
//! # Invariants
//! * Every occupied slot lies ahead of the wheel's time, and everything on a lower level is earlier than everything on a higher one; so the lowest set bit of the lowest occupied level names the earliest slot.
//! * A slot's `earliest` is at most the tick of each timer in it, and is exact unless that earliest timer was cancelled.
//! * Timers of one tick stand in their slot in the order of insertion, because a slot is emptied downwards before anything can be inserted below it.
//!
//! # Absent
//! No clock, no wakers, no lock, no thread.
//! No order among different deadlines within one tick.

mod slab;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use asupersync_core::Time;

use self::slab::{List, NIL, Slab};

/// How coarse a [`Wheel`] may be.
///
/// # Shape and units
/// A timer fires at most `resolution + coalescing` after its deadline, if the wheel is advanced when [`Wheel::next_deadline`] says, and never before it.
/// # Examples
/// ```
/// use asupersync_time::WheelConfig;
/// use std::time::Duration;
///
/// let config = WheelConfig { coalescing: Duration::from_millis(2), ..WheelConfig::default() };
/// assert!(config.resolution < config.coalescing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WheelConfig {
    /// Length of a tick: rounded down to a power of two nanoseconds, from 1 ns to 2^30 ns (about one second).
    pub resolution: Duration,
    /// How long the earliest timer may wait for its neighbours, so that one waking serves them all.
    ///
    /// A timer without neighbours in that window is not delayed.
    /// Timers are gathered within a stretch of 64 ticks; a longer window has no further effect.
    pub coalescing: Duration,
}

impl WheelConfig {
    /// Ticks of one nanosecond and no coalescing: every timer fires at its deadline exactly, as a host with virtual time wants it.
    pub const EXACT: Self = Self {
        resolution: Duration::from_nanos(1),
        coalescing: Duration::ZERO,
    };

    /// Ticks of 2^13 ns (about 8 µs) and a window of 500 µs: what [`Default`] gives.
    pub const STANDARD: Self = Self {
        resolution: Duration::from_nanos(1 << 13),
        coalescing: Duration::from_micros(500),
    };

    /// That window, and ticks as short as it lets them be: those of [`STANDARD`](Self::STANDARD), or a 32nd of the window where that is more.
    ///
    /// # Examples
    /// ```
    /// use asupersync_time::WheelConfig;
    /// use std::time::Duration;
    ///
    /// let prompt = WheelConfig::of_window(Duration::ZERO);
    /// assert_eq!(prompt.resolution, WheelConfig::STANDARD.resolution);
    /// let lazy = WheelConfig::of_window(Duration::from_millis(64));
    /// assert_eq!(lazy.resolution, Duration::from_millis(2));
    /// ```
    #[must_use]
    pub fn of_window(coalescing: Duration) -> Self {
        Self {
            resolution: Self::STANDARD.resolution.max(coalescing / 32),
            coalescing,
        }
    }

    fn shift(self) -> u32 {
        let nanos = self.resolution.as_nanos().clamp(1, 1 << SHIFT_MAX);
        nanos.ilog2()
    }

    fn coalescing_ticks(self) -> u32 {
        let ticks = self.coalescing.as_nanos() >> self.shift();
        u32::try_from(ticks).unwrap_or(u32::MAX).min(SLOTS - 1)
    }
}

impl Default for WheelConfig {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// Names one timer of one [`Wheel`], as long as it is in there.
///
/// # Shape and units
/// Eight bytes, and so is `Option<TimerKey>`.
/// A key goes stale when its timer fires or is cancelled; a stale key finds nothing, until its place has been used another 2^32 - 1 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: NonZeroU32,
}

impl TimerKey {
    /// The key as one word, for a host that stores it beside the name of its wheel.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation.get() as u64) << 32 | self.index as u64
    }

    /// The key behind a word from [`to_bits`](Self::to_bits); `None` for a word that no key gives.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU32::new((bits >> 32) as u32) {
            Some(generation) => Some(Self {
                index: bits as u32,
                generation,
            }),
            None => None,
        }
    }
}

/// Timers with a value each: state in, time in, expired values out.
///
/// # Shape and units
/// Memory: 10 KiB, plus 24 bytes and one `Option<T>` for each timer of the highest number ever live at once.
/// Nothing is allocated once that number has been reached.
/// # Examples
/// ```
/// use asupersync_core::Time;
/// use asupersync_time::{Wheel, WheelConfig};
///
/// let mut wheel = Wheel::new(Time::ZERO, WheelConfig::EXACT);
/// let tea = wheel.insert(Time::from_secs(180), "tea");
/// wheel.insert(Time::from_secs(60), "egg");
/// assert_eq!(wheel.next_deadline(), Some(Time::from_secs(60)));
///
/// let mut expired = Vec::new();
/// wheel.advance(Time::from_secs(100), &mut expired);
/// assert_eq!(expired, ["egg"]);
/// assert_eq!(wheel.cancel(tea), Some("tea"));
/// assert!(wheel.is_empty());
/// ```
pub struct Wheel<T> {
    slab: Slab<T>,
    /// Slots of all levels, lowest level first; the due list is the last.
    slots: Box<[Slot]>,
    /// For each level, one bit for each slot that holds a timer.
    occupied: [u64; LEVELS_MAX],
    /// One bit for each level of which a slot is occupied.
    levels: u32,
    /// The tick that the wheel has reached; all earlier and equal ticks have fired.
    elapsed: u64,
    /// The time that the wheel has reached; `elapsed` is its tick, rounded down.
    now: Time,
    shift: u32,
    coalescing_ticks: u32,
}

impl<T> Wheel<T> {
    /// A wheel without timers, at the time `start`.
    #[must_use]
    pub fn new(start: Time, config: WheelConfig) -> Self {
        let shift = config.shift();
        let levels = (last_tick(shift).ilog2() / DIGIT_BITS + 1) as usize;
        debug_assert!(levels <= LEVELS_MAX);
        Self {
            slab: Slab::new(),
            slots: vec![Slot::EMPTY; levels * SLOTS as usize + 1].into_boxed_slice(),
            occupied: [0; LEVELS_MAX],
            levels: 0,
            elapsed: elapsed_ticks(start, shift),
            now: start,
            shift,
            coalescing_ticks: config.coalescing_ticks(),
        }
    }

    /// Adds a timer that fires once the wheel is advanced to `at` or later.
    ///
    /// A deadline that has passed is fired by the next [`advance`](Self::advance), before all others.
    /// Cost: constant; allocates only while the number of live timers exceeds every earlier number.
    /// # Panics
    /// If 2^32 - 1 timers are live.
    pub fn insert(&mut self, at: Time, value: T) -> TimerKey {
        let tick = self.tick_of(at);
        let (index, generation) = self.slab.alloc(tick, value);
        self.link(index, tick);
        TimerKey { index, generation }
    }

    /// Takes a timer out and gives its value back; `None` if it has fired or was cancelled before.
    ///
    /// Cost: constant.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let list = self.slab.list_of(key.index, key.generation)?;
        self.unlink(key.index, list);
        Some(self.slab.free(key.index))
    }

    /// Moves a live timer to another deadline, under the same key; `false` if the key is stale.
    ///
    /// Among timers of its new tick it stands last, as if it were inserted now.
    /// Cost: constant.
    pub fn reschedule(&mut self, key: TimerKey, at: Time) -> bool {
        let Some(list) = self.slab.list_of(key.index, key.generation) else {
            return false;
        };
        self.unlink(key.index, list);
        let tick = self.tick_of(at);
        self.slab.set_tick(key.index, tick);
        self.link(key.index, tick);
        true
    }

    /// The value of a live timer.
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        self.slab.list_of(key.index, key.generation)?;
        self.slab.value_mut(key.index)
    }

    /// When the wheel wants to be advanced next; `None` without timers.
    ///
    /// No timer is due on a tick that lies more than the coalescing window before it.
    /// It is never later than the earliest deadline by more than the resolution and the window together.
    /// It may be earlier than the first deadline after a cancellation; advancing then fires nothing and makes it exact.
    /// Cost: constant, a few bit operations.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if !self.due().list.is_empty() {
            return Some(self.now);
        }
        let (level, slot) = self.first_slot()?;
        if level > 0 {
            return Some(self.time_of(self.slots[slot_index(level, slot)].earliest));
        }
        // Of the ticks in the window that opens with the first, the last occupied one.
        let window_end = (slot + self.coalescing_ticks).min(SLOTS - 1);
        let in_window = self.occupied[0] & (u64::MAX >> (SLOTS - 1 - window_end));
        let last = in_window.ilog2();
        Some(self.time_of(self.slots[slot_index(0, last)].earliest))
    }

    /// Moves the wheel to `now` and appends the values of all timers that are due by then.
    ///
    /// They come in the order of their ticks, and in the order of insertion within one tick; those that were due when inserted come first.
    /// A time before the wheel's own counts as the wheel's own.
    ///
    /// Cost: each timer that is passed is moved at most once for each level below the one it was inserted at, over its whole life, and then fired; empty slots cost nothing.
    /// So one call takes at most `levels * len` steps, 9 levels at the standard resolution, however far the jump.
    pub fn advance(&mut self, now: Time, expired: &mut Vec<T>) {
        self.fire(self.slots.len() - 1, expired);
        if now <= self.now {
            return;
        }
        let target = elapsed_ticks(now, self.shift);
        while let Some((level, slot)) = self.first_slot() {
            let start = self.slot_start(level, slot);
            if start > target {
                break;
            }
            self.elapsed = start;
            if level == 0 {
                self.vacate(level, slot);
                self.fire(slot_index(level, slot), expired);
            } else {
                self.cascade(level, slot);
            }
        }
        self.elapsed = target;
        self.now = now;
    }

    /// Takes all timers out, in the order in which they would fire.
    pub fn drain(&mut self, values: &mut Vec<T>) {
        let (elapsed, now) = (self.elapsed, self.now);
        self.advance(Time::MAX, values);
        debug_assert!(self.is_empty());
        (self.elapsed, self.now) = (elapsed, now);
    }

    /// Makes room for `additional` timers, so that inserting them does not allocate.
    pub fn reserve(&mut self, additional: usize) {
        self.slab.reserve(additional);
    }

    /// How many timers are in the wheel.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slab.live()
    }

    /// Whether no timer is in the wheel.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slab.live() == 0
    }

    /// The time to which the wheel has been advanced.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The first tick that begins at or after `at`; for a time that has passed, the wheel's own tick.
    fn tick_of(&self, at: Time) -> u64 {
        if at <= self.now {
            self.elapsed
        } else {
            tick_after(at, self.shift)
        }
    }

    fn time_of(&self, tick: u64) -> Time {
        let nanos = tick.saturating_mul(1 << self.shift);
        Time::from_nanos(nanos)
    }

    fn due(&self) -> &Slot {
        &self.slots[self.slots.len() - 1]
    }

    fn link(&mut self, index: u32, tick: u64) {
        let place = if tick <= self.elapsed {
            self.slots.len() - 1
        } else {
            self.place(tick)
        };
        self.append(place, index, tick);
    }

    /// Marks the slot for a tick as occupied and gives its index.
    fn place(&mut self, tick: u64) -> usize {
        // The lowest digit stands for level 0 also when nothing differs.
        let level = ((tick ^ self.elapsed) | 1).ilog2() / DIGIT_BITS;
        let slot = (tick >> (level * DIGIT_BITS)) as u32 & (SLOTS - 1);
        self.occupied[level as usize] |= 1 << slot;
        self.levels |= 1 << level;
        slot_index(level, slot)
    }

    fn append(&mut self, place: usize, index: u32, tick: u64) {
        let slot = &mut self.slots[place];
        slot.earliest = if slot.list.is_empty() {
            tick
        } else {
            slot.earliest.min(tick)
        };
        let name = u16::try_from(place).expect("a wheel has at most 705 slots");
        self.slab.push_back(&mut slot.list, name, index);
    }

    fn unlink(&mut self, index: u32, list: u16) {
        let place = usize::from(list);
        let slot = &mut self.slots[place];
        self.slab.unlink(&mut slot.list, index);
        if slot.list.is_empty() && place != self.slots.len() - 1 {
            self.vacate(u32::from(list) / SLOTS, u32::from(list) % SLOTS);
        }
    }

    fn vacate(&mut self, level: u32, slot: u32) {
        let occupied = &mut self.occupied[level as usize];
        *occupied &= !(1 << slot);
        if *occupied == 0 {
            self.levels &= !(1 << level);
        }
    }

    fn first_slot(&self) -> Option<(u32, u32)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        Some((level, self.occupied[level as usize].trailing_zeros()))
    }

    /// The first tick of an occupied slot: the wheel's digits above the level, then the slot's.
    fn slot_start(&self, level: u32, slot: u32) -> u64 {
        let above = (level + 1) * DIGIT_BITS;
        let kept = u64::MAX.checked_shl(above).unwrap_or(0) & self.elapsed;
        kept | (u64::from(slot) << (level * DIGIT_BITS))
    }

    /// Moves the timers of the slot that the wheel's time has just entered to lower levels.
    fn cascade(&mut self, level: u32, slot: u32) {
        self.vacate(level, slot);
        let place = slot_index(level, slot);
        let list = std::mem::replace(&mut self.slots[place].list, List::EMPTY);
        let mut index = list.head();
        // Each step waits for memory that nobody has touched for long, so a second walk comes from the tail and brings the other half meanwhile.
        let mut ahead = list.tail();
        while index != NIL {
            let next = self.slab.next(index);
            let tick = self.slab.tick(index);
            if ahead != NIL {
                let met = ahead == index || ahead == next;
                ahead = if met { NIL } else { self.slab.prev(ahead) };
            }
            // A timer of the very tick entered goes to level 0 as well, and fires from there.
            let place = self.place(tick);
            self.append(place, index, tick);
            index = next;
        }
    }

    fn fire(&mut self, place: usize, expired: &mut Vec<T>) {
        let mut index = std::mem::replace(&mut self.slots[place].list, List::EMPTY).head();
        while index != NIL {
            let next = self.slab.next(index);
            expired.push(self.slab.free(index));
            index = next;
        }
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("now", &self.now)
            .field("len", &self.len())
            .field("places", &self.slab.size())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

/// The timers of one slot, and a lower bound for their ticks.
#[derive(Clone, Copy)]
struct Slot {
    list: List,
    earliest: u64,
}

impl Slot {
    const EMPTY: Self = Self {
        list: List::EMPTY,
        earliest: 0,
    };
}

const fn slot_index(level: u32, slot: u32) -> usize {
    (level * SLOTS + slot) as usize
}

/// The first tick that begins at or after `at`.
const fn tick_after(at: Time, shift: u32) -> u64 {
    let nanos = at.as_nanos();
    let begun = nanos & ((1 << shift) - 1) != 0;
    (nanos >> shift) + begun as u64
}

/// The highest tick that a timer can have.
const fn last_tick(shift: u32) -> u64 {
    tick_after(Time::MAX, shift)
}

/// How many ticks have begun by `now`; at the end of time, all.
fn elapsed_ticks(now: Time, shift: u32) -> u64 {
    if now == Time::MAX {
        last_tick(shift)
    } else {
        now.as_nanos() >> shift
    }
}

/// Bits of a tick that choose the slot within a level.
const DIGIT_BITS: u32 = 6;
const SLOTS: u32 = 1 << DIGIT_BITS;
/// Levels that cover 64 bits.
const LEVELS_MAX: usize = 11;
/// The coarsest tick is 2^30 ns.
const SHIFT_MAX: u32 = 30;
