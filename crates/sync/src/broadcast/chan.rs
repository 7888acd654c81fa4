//! What senders and receivers of a broadcast channel share: blocks of messages that are written once.
//!
//! The problem: each message is read by every receiver, so whatever a reader writes to shared memory is paid for by all of them.
//! So a message is written into its slot once and only looked at after that; a receiver holds the block that it reads, and takes the lock once a block.
//!
//! # Invariants
//! - Blocks have one size and begin at its multiples; the ring holds those that reach into the last `capacity` positions and that some receiver has not passed. Positions never wrap.
//! - A slot is filled before its position is below `sent`, and never changes after.
//! - `unpassed` of a block counts the receivers whose `passed` is not beyond it; a full block that all have passed is freed.
//! - `sent` stands in the state and, for looks without the lock, beside it; it is written under the lock.
//! - Under the lock runs no code of the program: messages are cloned and dropped outside.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use asupersync_kernel::Resource;
use asupersync_kernel::mutation::{Mutation, is_on};

use super::error::SendFailure;
use crate::primitive::{AtomicU64, Mutex, Ordering, Padded, lock};
use crate::waiters::{Grant, WaitList};

/// How many messages a block holds, or as many as the channel if that is less; so many may be kept for longer than somebody wants them.
const BLOCK: u64 = 32;

pub(super) struct Block<T> {
    start: u64,
    slots: Box<[OnceLock<T>]>,
}

impl<T> Block<T> {
    fn end(&self) -> u64 {
        self.start + self.slots.len() as u64
    }

    fn slot(&self, position: u64) -> &OnceLock<T> {
        &self.slots[(position - self.start) as usize]
    }
}

struct Kept<T> {
    block: Arc<Block<T>>,
    unpassed: usize,
}

/// Blocks that somebody needs no more, to be dropped outside of the lock.
pub(super) struct Freed<T>(Vec<Arc<Block<T>>>);

impl<T> Freed<T> {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }
}

pub(super) struct State<T> {
    blocks: VecDeque<Kept<T>>,
    sent: u64,
    /// How far each receiver is.
    receivers: Vec<Arc<Padded<AtomicU64>>>,
    senders: usize,
    is_closed: bool,
    pub(super) waiting: WaitList,
    pub(super) gone: WaitList,
}

impl<T> State<T> {
    fn is_over(&self) -> bool {
        self.is_closed || self.senders == 0
    }

    /// Whether nobody wants a message.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_closed || self.receivers.is_empty()
    }

    /// How many messages the receivers have not gone past, each counted for each receiver.
    fn unseen(&self) -> u64 {
        let seen = self.receivers.iter();
        let seen = seen.map(|seen| seen.0.load(Ordering::Acquire));
        seen.map(|seen| self.sent.saturating_sub(seen)).sum()
    }

    /// One receiver goes past the blocks from `from` to `to`.
    fn pass(&mut self, from: u64, to: u64) -> Freed<T> {
        for kept in &mut self.blocks {
            if (from..to).contains(&kept.block.start) {
                kept.unpassed -= 1;
            }
        }
        self.free(0)
    }

    /// Takes out the blocks at the front that all have passed, or that end at `overwritten` or before.
    fn free(&mut self, overwritten: u64) -> Freed<T> {
        let mut freed = Freed::none();
        while let Some(front) = self.blocks.front() {
            let end = front.block.end();
            let is_done = end <= overwritten || (front.unpassed == 0 && end <= self.sent);
            if !is_done {
                break;
            }
            freed
                .0
                .extend(self.blocks.pop_front().map(|kept| kept.block));
        }
        freed
    }

    /// The kept block with this position.
    fn block_of(&self, position: u64) -> Option<&Arc<Block<T>>> {
        let mut blocks = self.blocks.iter().map(|kept| &kept.block);
        blocks.find(|block| (block.start..block.end()).contains(&position))
    }
}

pub(super) struct Chan<T> {
    pub(super) state: Mutex<State<T>>,
    sent: Padded<AtomicU64>,
    capacity: u64,
    pub(super) resource: Resource,
}

/// Where a receiver is.
pub(super) struct Cursor<T> {
    next: u64,
    /// The same, for the others to see.
    seen: Arc<Padded<AtomicU64>>,
    /// The first block that it has not passed begins here, or later.
    passed: u64,
    block: Option<Arc<Block<T>>>,
    /// It has got a message since it last gave others their turn.
    is_hot: bool,
}

/// What a receiver finds.
pub(super) enum Found<T> {
    Message(T),
    Lagged(u64),
    Closed,
}

/// What a look under the lock finds.
pub(super) enum Looked {
    /// The cursor has the block of its next message.
    Block,
    Lagged(u64),
    Closed,
}

impl<T> Chan<T> {
    /// A channel with one sender and one receiver.
    pub(super) fn new(capacity: usize) -> (Self, Cursor<T>) {
        let cursor = Cursor::at(0, 0);
        let chan = Self {
            state: Mutex::new(State {
                blocks: VecDeque::new(),
                sent: 0,
                receivers: vec![Arc::clone(&cursor.seen)],
                senders: 1,
                is_closed: false,
                waiting: WaitList::new(),
                gone: WaitList::new(),
            }),
            sent: Padded(AtomicU64::new(0)),
            capacity: capacity as u64,
            resource: Resource::new(),
        };
        (chan, cursor)
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity as usize
    }

    fn block_len(&self) -> u64 {
        self.capacity.min(BLOCK)
    }

    /// Sends, and says to how many.
    pub(super) fn send(&self, value: T) -> Result<usize, (T, SendFailure)> {
        let mut state = lock(&self.state);
        let refusal = if state.is_closed {
            Some(SendFailure::Closed)
        } else if state.receivers.is_empty() {
            Some(SendFailure::NoReceivers)
        } else {
            None
        };
        if let Some(failure) = refusal {
            return Err((value, failure));
        }
        let receivers = state.receivers.len();
        let position = state.sent;
        let block = self.block_for(&mut state, position);
        let filled = block.slot(position).set(value);
        debug_assert!(filled.is_ok(), "a slot is filled once");
        state.sent += 1;
        self.sent.store(state.sent, Ordering::Release);
        let overwritten = self.oldest(state.sent);
        let freed = state.free(overwritten);
        let mut wakers = state.waiting.release_all();
        drop(state);
        self.tell_moved(
            "broadcast.send",
            i64::try_from(receivers).unwrap_or(i64::MAX),
        );
        if !is_on(Mutation::BroadcastIsSilent) {
            wakers.wake();
        }
        drop(freed);
        Ok(receivers)
    }

    /// Tells that messages went in, one for each receiver, or came out for one of them.
    #[inline]
    fn tell_moved(&self, operation: impl Into<Option<&'static str>>, change: i64) {
        self.resource
            .trace_messages(operation.into(), change, || lock(&self.state).unseen());
    }

    /// The block that the message at `position`, the next to be sent, goes into.
    fn block_for<'s>(&self, state: &'s mut State<T>, position: u64) -> &'s Block<T> {
        let is_there = state
            .blocks
            .back()
            .is_some_and(|last| position < last.block.end());
        if !is_there {
            let len = self.block_len();
            state.blocks.push_back(Kept {
                block: Arc::new(Block {
                    start: position - position % len,
                    slots: (0..len).map(|_| OnceLock::new()).collect(),
                }),
                unpassed: state.receivers.len(),
            });
        }
        let last = state.blocks.back().expect("it was there or was just made");
        &last.block
    }

    /// Finds the block of the cursor's next message, under the lock; nothing if there is no message yet.
    pub(super) fn look(
        &self,
        state: &mut State<T>,
        cursor: &mut Cursor<T>,
        freed: &mut Freed<T>,
    ) -> Option<Looked> {
        let oldest = self.oldest(state.sent);
        if cursor.next < oldest {
            return Some(Looked::Lagged(cursor.skip_to(oldest)));
        }
        if cursor.next == state.sent {
            return state.is_over().then_some(Looked::Closed);
        }
        let block = state.block_of(cursor.next);
        let block =
            Arc::clone(block.expect("what is not overwritten is kept for who has not passed it"));
        let start = block.start;
        *freed = state.pass(cursor.passed, start);
        freed.0.extend(cursor.block.replace(block));
        cursor.passed = cursor.passed.max(start);
        Some(Looked::Block)
    }

    pub(super) fn oldest(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.capacity)
    }

    /// Whether the receiver has taken everything that was sent.
    pub(super) fn is_drained(&self, cursor: &Cursor<T>) -> bool {
        cursor.next == self.sent.load(Ordering::Acquire)
    }

    /// How many messages a receiver can still get.
    pub(super) fn len_of(&self, cursor: &Cursor<T>) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        (sent - cursor.next).min(self.capacity) as usize
    }

    /// How many messages are there for receivers that have not taken them.
    pub(super) fn len(&self) -> usize {
        let state = lock(&self.state);
        let seen = state
            .receivers
            .iter()
            .map(|seen| seen.0.load(Ordering::Acquire));
        let slowest = seen.min().unwrap_or(state.sent);
        (state.sent - slowest).min(self.capacity) as usize
    }

    pub(super) fn receivers(&self) -> usize {
        lock(&self.state).receivers.len()
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
        let sent = state.sent;
        let mut passed = sent;
        if let Some(last) = state.blocks.back_mut()
            && sent < last.block.end()
        {
            last.unpassed += 1;
            passed = last.block.start;
        }
        let cursor = Cursor::at(sent, passed);
        state.receivers.push(Arc::clone(&cursor.seen));
        cursor
    }

    pub(super) fn unsubscribe(&self, cursor: &mut Cursor<T>) {
        let mut freed = Freed::none();
        let (unseen, wakers) = {
            let mut state = lock(&self.state);
            state
                .receivers
                .retain(|seen| !Arc::ptr_eq(seen, &cursor.seen));
            let unseen = state.sent - cursor.next;
            freed.0.append(&mut state.pass(cursor.passed, u64::MAX).0);
            let is_last = state.receivers.is_empty();
            let wakers = is_last.then(|| {
                let left = state.blocks.drain(..);
                freed.0.extend(left.map(|kept| kept.block));
                state.gone.grant_all(Grant::All)
            });
            (unseen, wakers)
        };
        self.tell_moved(None, -signed(unseen));
        if let Some(mut wakers) = wakers {
            wakers.wake();
        }
        drop((freed, cursor.block.take()));
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
        if let Some(mut wakers) = wakers {
            self.resource.trace("broadcast.close");
            wakers.wake();
        }
    }

    pub(super) fn close(&self) {
        let (mut waiting, mut gone) = {
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

impl<T: Clone> Chan<T> {
    /// The next message, without waiting.
    pub(super) fn take(&self, cursor: &mut Cursor<T>) -> Option<Found<T>> {
        if let Some(found) = self.take_own(cursor) {
            return Some(found);
        }
        let mut freed = Freed::none();
        let looked = self.look(&mut lock(&self.state), cursor, &mut freed)?;
        drop(freed);
        Some(self.found(cursor, &looked))
    }

    /// The next message, if the cursor has its block and it was not overwritten since; or the lag, if it was.
    #[inline]
    pub(super) fn take_own(&self, cursor: &mut Cursor<T>) -> Option<Found<T>> {
        let block = cursor.block.as_ref()?;
        if cursor.next >= block.end() {
            return None;
        }
        let sent = self.sent.load(Ordering::Acquire);
        if cursor.next >= sent {
            return None;
        }
        let oldest = self.oldest(sent);
        if cursor.next < oldest {
            let missed = cursor.skip_to(oldest);
            self.tell_moved("broadcast.lag", -signed(missed));
            return Some(Found::Lagged(missed));
        }
        let message = block.slot(cursor.next).get();
        // The program's code; a panic leaves the message for the next call.
        let message = message.expect("what was sent fills its slot").clone();
        let skips = is_on(Mutation::MessageIsSkipped) && cursor.next + 1 < sent;
        cursor.advance(cursor.next + 1 + u64::from(skips));
        cursor.is_hot = true;
        self.tell_moved("broadcast.recv", -1);
        Some(Found::Message(message))
    }

    /// What a look comes to, outside of the lock.
    pub(super) fn found(&self, cursor: &mut Cursor<T>, looked: &Looked) -> Found<T> {
        match looked {
            Looked::Block => {
                let found = self.take_own(cursor);
                found.expect("the look has found the message, and the cursor has its block")
            }
            Looked::Lagged(missed) => {
                self.tell_moved("broadcast.lag", -signed(*missed));
                Found::Lagged(*missed)
            }
            Looked::Closed => {
                self.resource.trace("broadcast.end");
                Found::Closed
            }
        }
    }

    /// The next message, if there is one; a lag stays for the next call to report.
    pub(super) fn take_next(&self, cursor: &mut Cursor<T>) -> Option<T> {
        if self.oldest(self.sent.load(Ordering::Acquire)) > cursor.next {
            return None;
        }
        let before = cursor.next;
        match self.take(cursor)? {
            Found::Message(message) => Some(message),
            Found::Lagged(_) => {
                // It came in between; the positions are still there to be counted.
                cursor.advance(before);
                None
            }
            Found::Closed => None,
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl<T> Cursor<T> {
    fn at(next: u64, passed: u64) -> Self {
        Self {
            next,
            seen: Arc::new(Padded(AtomicU64::new(next))),
            passed,
            block: None,
            is_hot: false,
        }
    }

    /// Whether a receiver that finds nothing should come back before it gets in line.
    ///
    /// Once after each message: then what a busy sender has sent meanwhile is taken at once, and the sender has nobody to wake.
    pub(super) fn cools_down(&mut self) -> bool {
        std::mem::take(&mut self.is_hot)
    }

    fn advance(&mut self, next: u64) {
        self.next = next;
        self.seen.0.store(next, Ordering::Release);
    }

    /// Forgets what was overwritten; says how much.
    fn skip_to(&mut self, oldest: u64) -> u64 {
        let missed = oldest - self.next;
        self.advance(oldest);
        missed - u64::from(is_on(Mutation::LagIsUnderstated))
    }
}
