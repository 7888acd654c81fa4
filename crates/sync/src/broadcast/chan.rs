//! The ring that senders and receivers of a broadcast channel share.
//!
//! # Invariants
//! - The ring holds the positions `sent - ring.len() .. sent`; positions never wrap.
//! - A kept message counts the receivers that have not taken it. The count does not fall from one position to the next, so messages are freed from the front.
//! - `sent` stands in the state and, for looks without the lock, beside it; it is written under the lock.
//! - Under the lock runs no code of the program: messages are shared by reference count, and cloned and dropped outside.

use std::collections::VecDeque;
use std::sync::Arc;

use asupersync_kernel::Resource;

use super::error::SendFailure;
use crate::primitive::{AtomicU64, Mutex, Ordering, Padded, lock};
use crate::waiters::{Grant, WaitList};

/// How many messages a receiver takes with one lock; more would keep the others from it for longer than they wait without spinning.
const BATCH: u64 = 4;

struct Kept<T> {
    /// Taken out with the last count.
    message: Option<Arc<T>>,
    unseen: usize,
}

pub(super) struct State<T> {
    ring: VecDeque<Kept<T>>,
    sent: u64,
    receivers: usize,
    senders: usize,
    is_closed: bool,
    pub(super) waiting: WaitList,
    pub(super) gone: WaitList,
}

impl<T> State<T> {
    fn first(&self) -> u64 {
        self.sent - self.ring.len() as u64
    }

    fn is_over(&self) -> bool {
        self.is_closed || self.senders == 0
    }

    /// Whether nobody wants a message.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_closed || self.receivers == 0
    }

    /// One receiver has no need of these positions any more; `each` gets them.
    fn see(&mut self, from: u64, to: u64, mut each: impl FnMut(Arc<T>)) {
        let first = self.first();
        for position in from.max(first)..to {
            let kept = &mut self.ring[(position - first) as usize];
            kept.unseen -= 1;
            let message = if kept.unseen == 0 {
                kept.message.take()
            } else {
                kept.message.clone()
            };
            message.into_iter().for_each(&mut each);
        }
        while self.ring.front().is_some_and(|kept| kept.unseen == 0) {
            self.ring.pop_front();
        }
    }
}

pub(super) struct Chan<T> {
    pub(super) state: Mutex<State<T>>,
    sent: Padded<AtomicU64>,
    capacity: u64,
    pub(super) resource: Resource,
}

/// What a receiver has: the messages from `next` on are in `own`, then in the ring.
pub(super) struct Cursor<T> {
    next: u64,
    own: VecDeque<Arc<T>>,
}

/// What a receiver finds.
pub(super) enum Found<T> {
    Message(Arc<T>),
    Lagged(u64),
    Closed,
}

impl<T> Chan<T> {
    /// A channel with one sender and one receiver.
    pub(super) fn new(capacity: usize) -> (Self, Cursor<T>) {
        let chan = Self {
            state: Mutex::new(State {
                ring: VecDeque::new(),
                sent: 0,
                receivers: 1,
                senders: 1,
                is_closed: false,
                waiting: WaitList::new(),
                gone: WaitList::new(),
            }),
            sent: Padded(AtomicU64::new(0)),
            capacity: capacity as u64,
            resource: Resource::new(),
        };
        (chan, Cursor::at(0))
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Sends, and says to how many.
    pub(super) fn send(&self, value: T) -> Result<usize, (T, SendFailure)> {
        let message = Arc::new(value);
        let mut state = lock(&self.state);
        let refusal = if state.is_closed {
            Some(SendFailure::Closed)
        } else if state.receivers == 0 {
            Some(SendFailure::NoReceivers)
        } else {
            None
        };
        if let Some(failure) = refusal {
            drop(state);
            let value = Arc::into_inner(message).expect("nobody else has seen the message");
            return Err((value, failure));
        }
        let is_full = state.ring.len() as u64 == self.capacity;
        let overwritten = is_full.then(|| state.ring.pop_front());
        let receivers = state.receivers;
        state.ring.push_back(Kept {
            message: Some(message),
            unseen: receivers,
        });
        state.sent += 1;
        self.sent.store(state.sent, Ordering::Release);
        let wakers = state.waiting.grant_all(Grant::All);
        drop(state);
        self.resource.trace("broadcast.send");
        wakers.wake();
        drop(overwritten);
        Ok(receivers)
    }

    /// The next message, without waiting.
    #[inline]
    pub(super) fn take(&self, cursor: &mut Cursor<T>) -> Option<Found<T>> {
        if cursor.own.is_empty() {
            return self.take_slow(cursor);
        }
        Some(self.take_own(cursor))
    }

    fn take_slow(&self, cursor: &mut Cursor<T>) -> Option<Found<T>> {
        let found = self.refill(&mut lock(&self.state), cursor)?;
        Some(match found {
            Refilled::Messages => self.take_own(cursor),
            Refilled::Lagged(missed) => {
                self.resource.trace("broadcast.lag");
                Found::Lagged(missed)
            }
            Refilled::Closed => Found::Closed,
        })
    }

    /// The first of what was taken out of the ring before, unless it was overwritten since.
    pub(super) fn take_own(&self, cursor: &mut Cursor<T>) -> Found<T> {
        let oldest = self.oldest(self.sent.load(Ordering::Acquire));
        if cursor.next < oldest {
            let missed = cursor.skip_to(oldest);
            self.resource.trace("broadcast.lag");
            return Found::Lagged(missed);
        }
        let message = cursor.own.pop_front();
        cursor.next += 1;
        self.resource.trace("broadcast.recv");
        Found::Message(message.expect("the caller has found it not empty"))
    }

    /// Fills an empty cursor; nothing if there is nothing yet.
    pub(super) fn refill(&self, state: &mut State<T>, cursor: &mut Cursor<T>) -> Option<Refilled> {
        let oldest = self.oldest(state.sent);
        if cursor.next < oldest {
            // Only positions are skipped: the cursor has no message that could be dropped here.
            return Some(Refilled::Lagged(cursor.skip_to(oldest)));
        }
        if cursor.next == state.sent {
            return state.is_over().then_some(Refilled::Closed);
        }
        let to = state.sent.min(cursor.next + BATCH);
        state.see(cursor.next, to, |message| cursor.own.push_back(message));
        Some(Refilled::Messages)
    }

    /// The next message, if there is one; a lag stays for the next call to report.
    pub(super) fn take_next(&self, cursor: &mut Cursor<T>) -> Option<Arc<T>> {
        if cursor.own.is_empty() {
            let mut state = lock(&self.state);
            if self.oldest(state.sent) > cursor.next {
                return None;
            }
            self.refill(&mut state, cursor)?;
        }
        let oldest = self.oldest(self.sent.load(Ordering::Acquire));
        if cursor.own.is_empty() || cursor.next < oldest {
            return None;
        }
        cursor.next += 1;
        self.resource.trace("broadcast.recv");
        cursor.own.pop_front()
    }

    fn oldest(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.capacity)
    }

    /// How many messages a receiver can still get.
    pub(super) fn len_of(&self, cursor: &Cursor<T>) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        (sent - cursor.next).min(self.capacity) as usize
    }

    /// How many messages are kept for receivers that have not taken them.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).ring.len()
    }

    pub(super) fn receivers(&self) -> usize {
        lock(&self.state).receivers
    }

    pub(super) fn senders(&self) -> usize {
        lock(&self.state).senders
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).is_over()
    }

    pub(super) fn subscribe(&self) -> Cursor<T> {
        let mut state = lock(&self.state);
        state.receivers += 1;
        Cursor::at(state.sent)
    }

    pub(super) fn unsubscribe(&self, cursor: &mut Cursor<T>) {
        let mut freed = Vec::new();
        let wakers = {
            let mut state = lock(&self.state);
            let (from, to) = (cursor.next + cursor.own.len() as u64, state.sent);
            state.see(from, to, |message| freed.push(message));
            state.receivers -= 1;
            let is_last = state.receivers == 0;
            is_last.then(|| state.gone.grant_all(Grant::All))
        };
        if let Some(wakers) = wakers {
            wakers.wake();
        }
        drop(freed);
    }

    pub(super) fn add_sender(&self) {
        lock(&self.state).senders += 1;
    }

    pub(super) fn revive_sender(&self) -> bool {
        let mut state = lock(&self.state);
        let is_alive = state.senders > 0;
        state.senders += usize::from(is_alive);
        is_alive
    }

    pub(super) fn remove_sender(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.senders -= 1;
            let is_last = state.senders == 0;
            is_last.then(|| state.waiting.grant_all(Grant::Closed))
        };
        if let Some(wakers) = wakers {
            wakers.wake();
        }
    }

    pub(super) fn close(&self) {
        let (waiting, gone) = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            (
                state.waiting.grant_all(Grant::Closed),
                state.gone.grant_all(Grant::All),
            )
        };
        self.resource.trace("broadcast.close");
        waiting.wake();
        gone.wake();
    }
}

/// How a receiver's own queue was filled.
pub(super) enum Refilled {
    Messages,
    Lagged(u64),
    Closed,
}

impl<T> Cursor<T> {
    const fn at(next: u64) -> Self {
        Self {
            next,
            own: VecDeque::new(),
        }
    }

    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Forgets what was overwritten; says how much.
    fn skip_to(&mut self, oldest: u64) -> u64 {
        let missed = oldest - self.next;
        let own = missed.min(self.own.len() as u64);
        self.own.drain(..own as usize);
        self.next = oldest;
        missed
    }
}
