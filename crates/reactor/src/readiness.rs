//! What is known of one source, and who waits for it.
//!
//! # Problem
//! A task finds that a call would block and goes to sleep, while the reactor reports that it no longer would.
//! Neither may miss the other, and a task that finds its source ready must not take a lock.
//!
//! # States
//! One word holds the ready bits and a tick that every event raises.
//! A waiter loads the word; if its direction is not ready, it stores its waker under the direction's lock and loads again.
//! The reactor raises the word first and takes the wakers under the lock second.
//! Whoever is second at the lock sees what the other did, so that no wake-up is lost.
//!
//! # Invariants
//! * A ready bit is cleared only by a token of the same tick: an event between a failed call and the clearing keeps the bit.
//! * The closed bits stay until a call really would block: the end of a stream is reported once and read at any time later.
//! * At most [`WAITERS_MAX`] wakers are kept for a direction; the oldest is woken to make room, never dropped asleep.
//! * No waker is cloned, woken or dropped under a lock.
//!
//! # Absent
//! A waiter that goes away leaves its waker behind until the next event, the next waiter beyond the limit, or the end of the source.

#[cfg(loom)]
#[cfg(test)]
mod loom_tests;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;

use std::fmt;
use std::task::{Context, Poll, Waker};

use mio::Interest;
use mio::event::Event;

use crate::ReactorError;
use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::{Mutex, lock};

/// Which half of a source an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Reading, receiving and accepting.
    Read,
    /// Writing, sending and the end of connecting.
    Write,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
        })
    }
}

/// Proof that a source was ready at a certain event; clearing with it loses no later event.
#[derive(Clone, Copy, Debug)]
pub struct ReadyToken {
    seen: u64,
    direction: Direction,
}

impl ReadyToken {
    /// The direction that was ready.
    #[must_use]
    pub const fn direction(self) -> Direction {
        self.direction
    }

    /// Whether this half has been closed, by the peer or by an error: the next calls report it and none will block for long.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.seen & self.direction.closed_bit() != 0
    }
}

impl Direction {
    const fn ready_bit(self) -> u64 {
        match self {
            Self::Read => READABLE,
            Self::Write => WRITABLE,
        }
    }

    const fn closed_bit(self) -> u64 {
        match self {
            Self::Read => READ_CLOSED,
            Self::Write => WRITE_CLOSED,
        }
    }

    const fn bits(self) -> u64 {
        self.ready_bit() | self.closed_bit()
    }

    const fn is_in(self, interest: Interest) -> bool {
        match self {
            Self::Read => interest.is_readable(),
            Self::Write => interest.is_writable(),
        }
    }
}

/// The state of one registered source.
pub(crate) struct IoState {
    readiness: AtomicU64,
    interest: Interest,
    readers: Mutex<Waiters>,
    writers: Mutex<Waiters>,
}

impl IoState {
    /// A source counts as ready until a call says otherwise, so that its first call needs no turn of the reactor.
    pub(crate) fn new(interest: Interest) -> Self {
        let assumed = [Direction::Read, Direction::Write]
            .into_iter()
            .filter(|direction| direction.is_in(interest))
            .fold(0, |bits, direction| bits | direction.ready_bit());
        Self {
            readiness: AtomicU64::new(assumed),
            interest,
            readers: Mutex::new(Waiters::new()),
            writers: Mutex::new(Waiters::new()),
        }
    }

    /// One load, no lock.
    pub(crate) fn ready(&self, direction: Direction) -> Result<Option<ReadyToken>, ReactorError> {
        let seen = self.readiness.load(Ordering::Acquire);
        if seen & SHUT != 0 {
            return Err(ReactorError::Closed);
        }
        Ok((seen & direction.bits() != 0).then_some(ReadyToken { seen, direction }))
    }

    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReadyToken, ReactorError>> {
        if let Some(token) = self.ready(direction)? {
            return Poll::Ready(Ok(token));
        }
        if !direction.is_in(self.interest) {
            return Poll::Ready(Err(ReactorError::NotRegistered { direction }));
        }
        let waker = cx.waker().clone();
        let added = lock(self.waiters(direction)).add(waker);
        if let Added::Evicted(oldest) = added {
            oldest.wake();
        }
        match self.ready(direction)? {
            Some(token) => Poll::Ready(Ok(token)),
            None => Poll::Pending,
        }
    }

    /// Says that a call would have blocked.
    pub(crate) fn clear_blocked(&self, token: ReadyToken) {
        self.clear(token, token.direction.bits());
    }

    /// Says that a call has taken all there was, though it did not block.
    pub(crate) fn clear_drained(&self, token: ReadyToken) {
        self.clear(token, token.direction.ready_bit());
    }

    fn clear(&self, token: ReadyToken, bits: u64) {
        let mut seen = token.seen;
        // The other direction may clear its own bit meanwhile; only a new tick stops us.
        while let Err(actual) = self.readiness.compare_exchange_weak(
            seen,
            seen & !bits,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            if actual & TICK_MASK != token.seen & TICK_MASK {
                return;
            }
            seen = actual;
        }
    }

    /// Records an event and collects whom it wakes.
    pub(crate) fn deliver(&self, event: &Event, wakers: &mut Vec<Waker>) {
        self.raise(bits_of(event), wakers);
    }

    /// Records the end of the reactor and collects all waiters.
    pub(crate) fn shut(&self, wakers: &mut Vec<Waker>) {
        self.raise(SHUT, wakers);
    }

    /// Collects all waiters, because the source goes away.
    pub(crate) fn take_waiters(&self, wakers: &mut Vec<Waker>) {
        lock(&self.readers).take_all(wakers);
        lock(&self.writers).take_all(wakers);
    }

    fn raise(&self, bits: u64, wakers: &mut Vec<Waker>) {
        let mut seen = self.readiness.load(Ordering::Relaxed);
        while let Err(actual) = self.readiness.compare_exchange_weak(
            seen,
            (seen | bits).wrapping_add(TICK_ONE),
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            seen = actual;
        }
        if bits & (READABLE | READ_CLOSED | SHUT) != 0 {
            lock(&self.readers).take_all(wakers);
        }
        if bits & (WRITABLE | WRITE_CLOSED | SHUT) != 0 {
            lock(&self.writers).take_all(wakers);
        }
    }

    const fn waiters(&self, direction: Direction) -> &Mutex<Waiters> {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }
}

impl fmt::Debug for IoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.readiness.load(Ordering::Relaxed);
        f.debug_struct("IoState")
            .field("readable", &(word & READABLE != 0))
            .field("writable", &(word & WRITABLE != 0))
            .field("read_closed", &(word & READ_CLOSED != 0))
            .field("write_closed", &(word & WRITE_CLOSED != 0))
            .field("events", &(word / TICK_ONE))
            .finish_non_exhaustive()
    }
}

fn bits_of(event: &Event) -> u64 {
    let mut bits = 0;
    if event.is_readable() || event.is_priority() {
        bits |= READABLE;
    }
    if event.is_writable() {
        bits |= WRITABLE;
    }
    if event.is_read_closed() {
        bits |= READ_CLOSED;
    }
    if event.is_write_closed() {
        bits |= WRITE_CLOSED;
    }
    // Only a call can tell what the error is, and each half must get a chance to make one.
    if event.is_error() {
        bits |= READABLE | WRITABLE | READ_CLOSED | WRITE_CLOSED;
    }
    bits
}

/// The wakers of one direction, oldest first.
///
/// Nearly always there is one; `more` allocates only when two tasks wait for the same half.
struct Waiters {
    oldest: Option<Waker>,
    more: Vec<Waker>,
}

enum Added {
    Stored,
    /// The same task waits already; its second waker is handed back to be dropped outside the lock.
    Known(#[expect(dead_code, reason = "carried out of the lock to be dropped there")] Waker),
    Evicted(Waker),
}

impl Waiters {
    const fn new() -> Self {
        Self {
            oldest: None,
            more: Vec::new(),
        }
    }

    fn add(&mut self, waker: Waker) -> Added {
        let Some(oldest) = &mut self.oldest else {
            self.oldest = Some(waker);
            return Added::Stored;
        };
        if oldest.will_wake(&waker) || self.more.iter().any(|known| known.will_wake(&waker)) {
            return Added::Known(waker);
        }
        if self.more.len() + 1 < WAITERS_MAX {
            self.more.push(waker);
            return Added::Stored;
        }
        let second = self.more.remove(0);
        self.more.push(waker);
        Added::Evicted(std::mem::replace(oldest, second))
    }

    fn take_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.oldest.take());
        wakers.append(&mut self.more);
    }
}

const READABLE: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const READ_CLOSED: u64 = 1 << 2;
const WRITE_CLOSED: u64 = 1 << 3;
/// The reactor is gone.
const SHUT: u64 = 1 << 4;
/// The tick stands above the bits; it wraps after 2^56 events of one source.
const TICK_ONE: u64 = 1 << 8;
const TICK_MASK: u64 = !(TICK_ONE - 1);
/// Tasks that may wait for one half of one source without waking each other.
const WAITERS_MAX: usize = 32;
