//! What the handles of a bounded channel share: the ring, the lines of those who wait, and who wakes whom.
//!
//! # Invariants
//! - Who waits says so first (`tx_waiting`, `rx_waiting`, the ring's flag) and looks again after; who changes something looks for waiters after the change. All of these are sequentially consistent, so one of the two sees the other.
//! - `tx_waiting` and the ring's flag stand together, change under the lock of the lines, and are down when the line of senders is empty.
//! - A slot that was reserved for a waiter is spent by it or given back when it leaves the line.

use std::task::{Poll, Waker};

use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Recover, Resource, wake_contained};

use super::ring::{Consumer, Refusal, Reserved, Ring};
use crate::primitive::{AtomicBool, AtomicUsize, Mutex, Ordering, Padded, lock, total_order};
use crate::waiters::{Grant, Place, Stand, WaitList, Wakers};

/// The ticket of a permit that holds a sender of its own.
pub(super) const OWNED: u64 = 1;

struct Lines {
    /// Who waits for a slot.
    senders: WaitList<u32>,
    /// Who waits for the end of the receiver.
    closed: WaitList,
}

/// Written when somebody waits, read with every message.
struct Flags {
    tx_waiting: AtomicBool,
    rx_waiting: AtomicBool,
}

pub(super) struct Chan<T> {
    pub(super) ring: Ring<T>,
    flags: Padded<Flags>,
    rx_waker: Mutex<Option<Waker>>,
    lines: Mutex<Lines>,
    senders: AtomicUsize,
    pub(super) resource: Resource,
}

impl<T> Chan<T> {
    /// A channel with one sender.
    pub(super) fn new(capacity: usize) -> (Self, Consumer) {
        let (ring, consumer) = Ring::new(capacity);
        let chan = Self {
            ring,
            flags: Padded(Flags {
                tx_waiting: AtomicBool::new(false),
                rx_waiting: AtomicBool::new(false),
            }),
            rx_waker: Mutex::new(None),
            lines: Mutex::new(Lines {
                senders: WaitList::new(),
                closed: WaitList::new(),
            }),
            senders: AtomicUsize::new(1),
            resource: Resource::new(),
        };
        (chan, consumer)
    }

    pub(super) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a sender unless the last one has gone.
    pub(super) fn revive_sender(&self) -> bool {
        let mut count = self.senders.load(Ordering::Relaxed);
        while count != 0 {
            match self.senders.compare_exchange_weak(
                count,
                count + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => count = seen,
            }
        }
        false
    }

    pub(super) fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            total_order();
            self.resource.trace("mpsc.close");
            self.wake_receiver();
        }
    }

    pub(super) fn sender_count(&self) -> usize {
        self.senders.load(Ordering::Acquire)
    }

    /// Sends without waiting.
    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), (T, Refusal)> {
        match self.ring.claim() {
            Ok(claim) => self.fill(claim, value),
            Err(refusal) => Err((value, refusal)),
        }
    }

    /// Sends with a reservation.
    pub(super) fn send_reserved(&self, reserved: Reserved, value: T) -> Result<(), (T, Refusal)> {
        match self.ring.spend(reserved) {
            Ok(claim) => self.fill(claim, value),
            Err(refusal) => Err((value, refusal)),
        }
    }

    #[inline]
    fn fill(&self, claim: super::ring::Claim, value: T) -> Result<(), (T, Refusal)> {
        self.ring
            .fill(claim, value)
            .map_err(|value| (value, Refusal::Closed))?;
        self.resource.trace("mpsc.send");
        if self.flags.rx_waiting.load(Ordering::SeqCst) {
            self.wake_receiver();
        }
        Ok(())
    }

    /// Gives a slot back, to the first in line if there is one.
    pub(super) fn give_back(&self, reserved: Reserved) {
        if self.ring.give_back(reserved) {
            self.serve_senders();
        }
        // After `close`, which is the receiver's own act, it may wait for the last reservation.
        if self.ring.is_closed() {
            self.wake_receiver();
        }
    }

    #[cold]
    fn wake_receiver(&self) {
        if self.flags.rx_waiting.load(Ordering::SeqCst)
            && self.flags.rx_waiting.swap(false, Ordering::SeqCst)
        {
            let waker = lock(&self.rx_waker).take();
            waker.into_iter().for_each(wake_contained);
        }
    }

    /// Gives free slots to the line.
    #[cold]
    fn serve_senders(&self) {
        let mut wakers = self.serve(&mut lock(&self.lines));
        wakers.wake();
    }

    fn serve(&self, lines: &mut Lines) -> Wakers {
        let mut wakers = Wakers::default();
        while let Some(need) = lines.senders.front_need() {
            let Ok(reserved) = self.ring.reserve_for_line(need) else {
                return wakers;
            };
            // The waiter resumes it when it finds its grant.
            let _ = std::mem::ManuallyDrop::new(reserved);
            wakers.push(lines.senders.grant_front(Grant::One));
        }
        self.line_is_empty();
        wakers
    }

    fn line_is_empty(&self) {
        self.ring.clear_waiters();
        self.flags.tx_waiting.store(false, Ordering::SeqCst);
    }

    /// Takes a message without waiting.
    #[inline]
    pub(super) fn take(&self, consumer: &mut Consumer) -> Option<T> {
        let mut value = self.ring.pop(consumer)?;
        if is_on(Mutation::MessageIsDropped) {
            value = self.ring.pop(consumer).unwrap_or(value);
        }
        self.taken(consumer);
        Some(value)
    }

    /// Takes up to `limit` messages without waiting; says how many.
    pub(super) fn take_many(
        &self,
        consumer: &mut Consumer,
        into: &mut Vec<T>,
        limit: usize,
    ) -> usize {
        let mut batch = Batch {
            chan: self,
            consumer,
            count: 0,
        };
        while batch.count < limit {
            // Before the message leaves its slot, so that a failed allocation loses none.
            into.reserve(1);
            let Some(value) = self.ring.pop(batch.consumer) else {
                break;
            };
            into.push(value);
            batch.count += 1;
        }
        batch.count
    }

    #[inline]
    fn taken(&self, consumer: &Consumer) {
        self.taken_many(consumer, 1);
    }

    #[inline]
    fn taken_many(&self, consumer: &Consumer, count: usize) {
        self.ring.publish_head(consumer);
        for _ in 0..count {
            self.resource.trace("mpsc.recv");
        }
        if self.flags.tx_waiting.load(Ordering::SeqCst) {
            self.serve_senders();
        }
    }

    /// Takes a message that was sent before the call; pending if there is none, ready with `None` if none will come.
    pub(super) fn look(&self, consumer: &mut Consumer) -> Poll<Option<T>> {
        let is_over = self.is_over();
        if self.ring.is_claimed(consumer) {
            let value = self.ring.pop_claimed(consumer);
            self.taken(consumer);
            return Poll::Ready(Some(value));
        }
        if is_over {
            self.resource.trace("mpsc.end");
            Poll::Ready(None)
        } else {
            self.resource.trace("mpsc.look");
            Poll::Pending
        }
    }

    /// Ready with what `take` finds, or with `None` when nothing will come any more.
    pub(super) fn poll_recv<R>(
        &self,
        consumer: &mut Consumer,
        waker: &Waker,
        mut take: impl FnMut(&Self, &mut Consumer) -> Option<R>,
    ) -> Poll<Option<R>> {
        if let Some(found) = take(self, consumer) {
            return Poll::Ready(Some(found));
        }
        self.register_receiver(waker);
        // In this order: what was sent before the end is seen after it.
        let is_over = self.is_over();
        let is_claimed = self.ring.is_claimed(consumer);
        let found = if is_claimed {
            take(self, consumer)
        } else {
            None
        };
        if found.is_some() || (is_over && !is_claimed) {
            self.flags.rx_waiting.swap(false, Ordering::SeqCst);
            if found.is_none() {
                self.resource.trace("mpsc.end");
            }
            return Poll::Ready(found);
        }
        self.resource.trace("mpsc.wait");
        Poll::Pending
    }

    /// Whether nothing more will be claimed.
    fn is_over(&self) -> bool {
        self.senders.load(Ordering::SeqCst) == 0 || self.ring.is_settled()
    }

    fn register_receiver(&self, waker: &Waker) {
        let is_known = lock(&self.rx_waker)
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            let old = lock(&self.rx_waker).replace(waker);
            drop(old);
        }
        self.flags.rx_waiting.swap(true, Ordering::SeqCst);
        total_order();
    }

    /// Makes no more reservations, and fails everybody in line for one.
    pub(super) fn close(&self) {
        self.ring.close();
        let (mut senders, mut closed) = {
            let mut lines = lock(&self.lines);
            let senders = lines.senders.grant_all(Grant::Closed);
            self.line_is_empty();
            (senders, lines.closed.grant_all(Grant::All))
        };
        self.resource.trace("mpsc.close");
        senders.wake();
        closed.wake();
    }

    /// The receiver goes.
    pub(super) fn abandon(&self, consumer: &mut Consumer) {
        self.close();
        self.ring.abandon(consumer);
    }
}

impl<T: Send + 'static> Recover for Chan<T> {
    fn recover(&self, ticket: u64) {
        // SAFETY: the kernel calls this instead of letting the leaked permit give its slot back.
        let reserved = unsafe { Ring::<T>::resume(1) };
        self.give_back(reserved);
        if ticket == OWNED {
            self.remove_sender();
        }
    }
}

/// Tells the senders how far a batch went, also if it is cut short.
struct Batch<'a, T> {
    chan: &'a Chan<T>,
    consumer: &'a mut Consumer,
    count: usize,
}

impl<T> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.chan.taken_many(self.consumer, self.count);
        }
    }
}

/// One wait for a slot, without its context.
#[derive(Debug)]
pub(super) struct Enter {
    place: Option<Place>,
    /// How many slots, all or none.
    need: u32,
}

impl Enter {
    pub(super) const fn new() -> Self {
        Self::for_many(1)
    }

    pub(super) const fn for_many(need: u32) -> Self {
        Self { place: None, need }
    }

    pub(super) const fn is_in_line(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn poll<T>(
        &mut self,
        chan: &Chan<T>,
        waker: &Waker,
    ) -> Poll<Result<Reserved, Refusal>> {
        if self.place.is_some() {
            return self.look(chan, waker);
        }
        match chan.ring.reserve(self.need) {
            Err(Refusal::Full) => {}
            end => return Poll::Ready(end),
        }
        let waker = waker.clone();
        let mut lines = lock(&chan.lines);
        chan.ring.set_waiters();
        chan.flags.tx_waiting.store(true, Ordering::SeqCst);
        total_order();
        let end = if lines.senders.is_empty() {
            chan.ring.reserve_for_line(self.need)
        } else if chan.ring.is_closed() {
            Err(Refusal::Closed)
        } else {
            Err(Refusal::Full)
        };
        if matches!(end, Err(Refusal::Full)) {
            // `close` locks the lines after its flag, so it finds whoever did not see it.
            self.place = Some(lines.senders.enqueue(waker, self.need));
            drop(lines);
            chan.resource.trace("mpsc.wait");
            return Poll::Pending;
        }
        if lines.senders.is_empty() {
            chan.line_is_empty();
        }
        drop(lines);
        Poll::Ready(end)
    }

    fn look<T>(&mut self, chan: &Chan<T>, waker: &Waker) -> Poll<Result<Reserved, Refusal>> {
        let mut spare = None;
        loop {
            let mut lines = lock(&chan.lines);
            let Some(place) = &self.place else {
                return Poll::Pending;
            };
            match lines.senders.stand(place, waker) {
                Stand::Queued => return Poll::Pending,
                Stand::OtherWaker => match spare.take() {
                    Some(waker) => {
                        let old = lines.senders.replace_waker(place, waker);
                        drop(lines);
                        drop(old);
                        return Poll::Pending;
                    }
                    None => {
                        drop(lines);
                        spare = Some(waker.clone());
                    }
                },
                Stand::Granted(grant) => {
                    if let Some(place) = self.place.take() {
                        lines.senders.remove(place);
                    }
                    drop(lines);
                    return Poll::Ready(match grant {
                        // SAFETY: `serve` reserved the slots with this grant, which was just used up.
                        Grant::One | Grant::All => Ok(unsafe { Ring::<T>::resume(self.need) }),
                        Grant::Closed => Err(Refusal::Closed),
                    });
                }
            }
        }
    }

    /// Leaves the line; slots that were reserved go to the next.
    pub(super) fn leave<T>(&mut self, chan: &Chan<T>) {
        let Some(place) = self.place.take() else {
            return;
        };
        chan.resource.trace("mpsc.leave");
        let mut wakers = Wakers::default();
        let (grant, old) = {
            let mut lines = lock(&chan.lines);
            let (grant, old) = lines.senders.remove(place);
            if lines.senders.is_empty() {
                chan.line_is_empty();
            } else if grant.is_none() {
                // There may be too few slots for this one, and enough for the next.
                wakers = chan.serve(&mut lines);
            }
            (grant, old)
        };
        wakers.wake();
        drop(old);
        if grant == Some(Grant::One) {
            // SAFETY: `serve` reserved the slots with this grant, which was just used up.
            chan.give_back(unsafe { Ring::<T>::resume(self.need) });
        }
    }
}

/// One wait for the end of the receiver, without its context.
#[derive(Debug)]
pub(super) struct AwaitClosed {
    place: Option<Place>,
}

impl AwaitClosed {
    pub(super) const fn new() -> Self {
        Self { place: None }
    }

    pub(super) fn poll<T>(&mut self, chan: &Chan<T>, waker: &Waker) -> Poll<()> {
        if chan.ring.is_closed() {
            self.leave(chan);
            return Poll::Ready(());
        }
        let waker = waker.clone();
        let mut lines = lock(&chan.lines);
        if chan.ring.is_closed() {
            drop(lines);
            self.leave(chan);
            return Poll::Ready(());
        }
        let old = match &self.place {
            Some(place) => lines.closed.replace_waker(place, waker),
            None => {
                self.place = Some(lines.closed.enqueue(waker, ()));
                None
            }
        };
        drop(lines);
        drop(old);
        Poll::Pending
    }

    pub(super) fn leave<T>(&mut self, chan: &Chan<T>) {
        let Some(place) = self.place.take() else {
            return;
        };
        let (_, old) = lock(&chan.lines).closed.remove(place);
        drop(old);
    }
}
