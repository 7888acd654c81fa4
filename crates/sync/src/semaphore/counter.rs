//! The counter and the line of a semaphore.
//!
//! # States
//! One word: the number of permits, and the flags `CLOSED` and `WAITERS`.
//!
//! # Invariants
//! - `WAITERS` is set and taken back under the lock. While it stands, permits leave the counter only under the lock, to the first in line; so nobody overtakes.
//! - Whoever returns permits adds them first and looks at the flag of the same word after; whoever waits sets the flag first and looks at the permits after.

use std::task::{Poll, Waker};

use asupersync_kernel::Resource;
use asupersync_kernel::mutation::{Mutation, is_on};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::waiters::{Grant, Place, Stand, WaitList, Wakers};

const CLOSED: u64 = 1;
const WAITERS: u64 = 2;
const ONE: u64 = 4;
/// Set while there are more permits than a semaphore may hold.
const TOO_MANY: u64 = 1 << 63;
const _: () = assert!((PERMITS_MAX + 1) * ONE == TOO_MANY);

/// The most permits that a semaphore may hold.
pub(crate) const PERMITS_MAX: u64 = u64::MAX >> 3;

/// Why permits cannot be taken now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// There are too few, or others wait in line.
    Short,
    /// No more will be given out.
    Closed,
}

/// What is traced of a counter's line, under the name of the primitive that has it.
#[derive(Debug)]
pub(crate) struct Operations {
    /// Somebody stands in line; told under the line's lock, as a grant is, so that both are told in the order in which they happen.
    pub(crate) wait: &'static str,
    /// The first in line was given what it waits for.
    pub(crate) grant: &'static str,
    /// It left the line and gave that back.
    pub(crate) give_back: &'static str,
    /// It left the line with nothing.
    pub(crate) leave: &'static str,
}

#[derive(Debug)]
pub(crate) struct Counter {
    state: AtomicU64,
    waiters: Mutex<WaitList<u32>>,
    pub(crate) resource: Resource,
    operations: &'static Operations,
}

impl Counter {
    crate::primitive::const_unless_loom! {
        pub(crate) fn new(permits: u64, operations: &'static Operations) -> Self {
            Self {
                state: AtomicU64::new(permits * ONE),
                waiters: Mutex::new(WaitList::new()),
                resource: Resource::new(),
                operations,
            }
        }
    }

    pub(crate) fn available(&self) -> u64 {
        self.state.load(Ordering::Acquire) / ONE
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Takes permits if that overtakes nobody; `operation` is what that is called in a trace, unless the caller says so itself.
    #[inline]
    pub(crate) fn try_take(
        &self,
        need: u32,
        operation: Option<&'static str>,
    ) -> Result<(), Refusal> {
        self.take_free(need)?;
        self.moved(operation, -i64::from(need));
        Ok(())
    }

    /// As [`try_take`](Self::try_take), where nothing is told, with one attempt; false also if somebody else was quicker.
    #[inline]
    pub(crate) fn take_quietly(&self, need: u32) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let taken = u64::from(need) * ONE;
        let is_free = state & (CLOSED | WAITERS) == 0 && state >= taken;
        is_free
            && self
                .state
                .compare_exchange(state, state - taken, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns permits that were taken and gives them to the line; `operation` is what that is called in a trace.
    pub(crate) fn give_back(&self, count: u64, operation: &'static str) {
        let forgotten = u64::from(is_on(Mutation::PermitIsForgotten)).min(count);
        let (state, dropped) = self.put_back(count - forgotten);
        let returned = i64::try_from(count.saturating_sub(dropped)).unwrap_or(i64::MAX);
        self.moved(Some(operation), returned);
        if state & WAITERS != 0 {
            self.serve_line();
        }
    }

    /// As [`give_back`](Self::give_back), where nothing is told.
    #[inline]
    pub(crate) fn give_back_quietly(&self, count: u32) {
        let (state, _) = self.put_back(count.into());
        if state & WAITERS != 0 {
            self.serve_line();
        }
    }

    /// Adds permits that were taken; what that led to, with the flags as they were then, and how many were too many.
    #[inline]
    fn put_back(&self, count: u64) -> (u64, u64) {
        let returned = count * ONE;
        let state = self.state.fetch_add(returned, Ordering::SeqCst) + returned;
        let dropped = if state & TOO_MANY != 0 { self.cap() } else { 0 };
        (state, dropped)
    }

    /// Takes out what is more than may be, since some were added while as many were out; says how many that were.
    #[cold]
    fn cap(&self) -> u64 {
        let capped = |state: u64| (state & TOO_MANY != 0).then_some(TOO_MANY - ONE + state % ONE);
        let before = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, capped);
        // It fails if somebody else has taken out what was too many.
        before.map_or(0, |state| state / ONE - PERMITS_MAX)
    }

    #[inline]
    fn take_free(&self, need: u32) -> Result<(), Refusal> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & CLOSED != 0 {
                return Err(Refusal::Closed);
            }
            let taken = u64::from(need) * ONE;
            let is_first = state & WAITERS == 0 || is_on(Mutation::PermitsGoToTheQuick);
            if !is_first || state / ONE < u64::from(need) {
                return Err(Refusal::Short);
            }
            let next = state - taken;
            match self
                .state
                .compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(seen) => state = seen,
            }
        }
    }

    /// Tells that permits were taken or returned.
    #[inline]
    fn moved(&self, operation: Option<&'static str>, change: i64) {
        self.resource
            .trace_permits(operation, change, || self.available());
    }

    /// Takes up to `count` permits out for good; says how many there were.
    pub(crate) fn take_up_to(&self, count: u64) -> u64 {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let taken = (state / ONE).min(count);
            let next = state - taken * ONE;
            match self
                .state
                .compare_exchange(state, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    self.moved(None, -i64::try_from(taken).unwrap_or(i64::MAX));
                    return taken;
                }
                Err(seen) => state = seen,
            }
        }
    }

    /// Adds permits and gives them to the line; false if there would be too many.
    ///
    /// `operation` is what that is called in a trace, unless the caller says so itself.
    #[must_use]
    #[inline]
    pub(crate) fn add(&self, count: u64, operation: Option<&'static str>) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if count > PERMITS_MAX - (state / ONE).min(PERMITS_MAX) {
                return false;
            }
            let next = state + count * ONE;
            match self
                .state
                .compare_exchange_weak(state, next, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(seen) => state = seen,
            }
        }
        self.moved(operation, i64::try_from(count).unwrap_or(i64::MAX));
        if state & WAITERS != 0 {
            self.serve_line();
        }
        true
    }

    #[cold]
    fn serve_line(&self) {
        let mut wakers = Wakers::default();
        self.serve(&mut lock(&self.waiters), &mut wakers);
        if !is_on(Mutation::SemaphoreIsSilent) {
            wakers.wake();
        }
    }

    /// Gives nothing out any more; says whether that is new.
    pub(crate) fn close(&self) -> bool {
        let before = self.state.fetch_or(CLOSED, Ordering::SeqCst);
        let mut wakers = {
            let mut waiters = lock(&self.waiters);
            let wakers = waiters.grant_all(Grant::Closed);
            self.state.fetch_and(!WAITERS, Ordering::SeqCst);
            wakers
        };
        wakers.wake();
        before & CLOSED == 0
    }

    /// Gives permits to the first in line while they last.
    fn serve(&self, waiters: &mut WaitList<u32>, wakers: &mut Wakers) {
        while let Some(need) = waiters.front_need() {
            if !self.take_locked(need) {
                return;
            }
            wakers.push(waiters.grant_front(Grant::One));
            self.resource.trace(self.operations.grant);
        }
        self.state.fetch_and(!WAITERS, Ordering::SeqCst);
    }

    /// Takes permits under the lock.
    fn take_locked(&self, need: u32) -> bool {
        let taken = u64::from(need) * ONE;
        let mut state = self.state.load(Ordering::SeqCst);
        loop {
            if state & CLOSED != 0 || state & !(WAITERS | CLOSED) < taken {
                return false;
            }
            match self.state.compare_exchange(
                state,
                state - taken,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => {
                    self.moved(None, -i64::from(need));
                    return true;
                }
                Err(seen) => state = seen,
            }
        }
    }
}

/// One wait for permits, without its context.
#[derive(Debug)]
pub(crate) struct Take {
    need: u32,
    place: Option<Place>,
}

impl Take {
    pub(crate) const fn new(need: u32) -> Self {
        Self { need, place: None }
    }

    pub(crate) const fn is_in_line(&self) -> bool {
        self.place.is_some()
    }

    pub(crate) const fn need(&self) -> u32 {
        self.need
    }

    /// `Ok` once the permits are the caller's, `Err` if the semaphore was closed before.
    pub(crate) fn poll(&mut self, counter: &Counter, waker: &Waker) -> Poll<Result<(), Refusal>> {
        if self.place.is_some() {
            return self.look(counter, waker);
        }
        match counter.take_free(self.need) {
            Ok(()) => {
                counter.moved(None, -i64::from(self.need));
                return Poll::Ready(Ok(()));
            }
            Err(Refusal::Closed) => return Poll::Ready(Err(Refusal::Closed)),
            Err(Refusal::Short) => {}
        }
        let waker = waker.clone();
        let mut waiters = lock(&counter.waiters);
        let state = counter.state.fetch_or(WAITERS, Ordering::SeqCst);
        let end = if state & CLOSED != 0 {
            Some(Err(Refusal::Closed))
        } else if waiters.is_empty() && counter.take_locked(self.need) {
            Some(Ok(()))
        } else if counter.is_closed() {
            // `close` takes the lock after its flag, so it has not yet looked at the line.
            Some(Err(Refusal::Closed))
        } else {
            None
        };
        match end {
            None => {
                self.place = Some(waiters.enqueue(waker, self.need));
                counter.resource.trace(counter.operations.wait);
                Poll::Pending
            }
            Some(end) => {
                if waiters.is_empty() {
                    counter.state.fetch_and(!WAITERS, Ordering::SeqCst);
                }
                drop(waiters);
                Poll::Ready(end)
            }
        }
    }

    fn look(&mut self, counter: &Counter, waker: &Waker) -> Poll<Result<(), Refusal>> {
        let mut spare = None;
        loop {
            let mut waiters = lock(&counter.waiters);
            let Some(place) = &self.place else {
                return Poll::Pending;
            };
            match waiters.stand(place, waker) {
                Stand::Queued => {
                    counter.resource.trace(counter.operations.wait);
                    return Poll::Pending;
                }
                Stand::OtherWaker => match spare.take() {
                    Some(waker) => {
                        let old = waiters.replace_waker(place, waker);
                        counter.resource.trace(counter.operations.wait);
                        drop(waiters);
                        drop(old);
                        return Poll::Pending;
                    }
                    None => {
                        drop(waiters);
                        spare = Some(waker.clone());
                    }
                },
                Stand::Granted(grant) => {
                    if let Some(place) = self.place.take() {
                        waiters.remove(place);
                    }
                    return Poll::Ready(match grant {
                        Grant::One | Grant::All => Ok(()),
                        Grant::Closed => Err(Refusal::Closed),
                    });
                }
            }
        }
    }

    /// Leaves the line; what was granted goes back, and what others now may have goes to them.
    #[inline]
    pub(crate) fn leave(&mut self, counter: &Counter) {
        if let Some(place) = self.place.take() {
            self.leave_place(place, counter);
        }
    }

    #[cold]
    fn leave_place(&self, place: Place, counter: &Counter) {
        let mut wakers = Wakers::default();
        let old = {
            let mut waiters = lock(&counter.waiters);
            let (grant, old) = waiters.remove(place);
            if grant == Some(Grant::One) {
                counter.resource.trace(counter.operations.give_back);
                counter
                    .state
                    .fetch_add(u64::from(self.need) * ONE, Ordering::SeqCst);
                counter.moved(None, i64::from(self.need));
            } else {
                counter.resource.trace(counter.operations.leave);
            }
            // Also if nothing was granted: the next in line may need less.
            counter.serve(&mut waiters, &mut wakers);
            old
        };
        drop(old);
        wakers.wake();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use loom::sync::Arc;
    use loom::thread;

    static OPERATIONS: Operations = Operations {
        wait: "wait",
        grant: "grant",
        give_back: "give_back",
        leave: "leave",
    };

    fn take(counter: &Counter, need: u32) -> Result<(), Refusal> {
        {
            let mut take = Take::new(need);
            wait(|task| take.poll(counter, task.waker()))
        }
    }

    #[test]
    fn loom_a_returned_permit_always_reaches_the_waiter() {
        loom::model(|| {
            let counter = Arc::new(Counter::new(1, &OPERATIONS));
            let other = Arc::clone(&counter);
            let waiter = thread::spawn(move || {
                take(&other, 1).unwrap();
                assert!(other.add(1, None));
            });
            take(&counter, 1).unwrap();
            assert!(counter.add(1, None));
            waiter.join().unwrap();
            assert_eq!(counter.available(), 1);
            assert_eq!(counter.state.load(Ordering::SeqCst) & WAITERS, 0);
        });
    }

    #[test]
    fn loom_a_leaving_waiter_takes_no_permit_along() {
        loom::model(|| {
            let counter = Arc::new(Counter::new(0, &OPERATIONS));
            let other = Arc::clone(&counter);
            let leaver = thread::spawn(move || {
                let mut wait = Take::new(1);
                if wait.poll(&other, Waker::noop()).is_ready() {
                    assert!(other.add(1, None));
                }
                wait.leave(&other);
            });
            assert!(counter.add(1, None));
            take(&counter, 1).unwrap();
            leaver.join().unwrap();
            assert_eq!(counter.available(), 0);
        });
    }

    #[test]
    fn loom_a_permit_that_returns_quietly_reaches_the_waiter() {
        loom::model(|| {
            let counter = Arc::new(Counter::new(1, &OPERATIONS));
            let other = Arc::clone(&counter);
            let waiter = thread::spawn(move || {
                take(&other, 1).unwrap();
                other.give_back_quietly(1);
            });
            if counter.take_quietly(1) {
                counter.give_back_quietly(1);
            }
            waiter.join().unwrap();
            assert_eq!(counter.available(), 1);
            assert_eq!(counter.state.load(Ordering::SeqCst) & WAITERS, 0);
        });
    }

    #[test]
    fn loom_close_frees_every_waiter() {
        loom::model(|| {
            let counter = Arc::new(Counter::new(0, &OPERATIONS));
            let other = Arc::clone(&counter);
            let waiter = thread::spawn(move || take(&other, 1));
            counter.close();
            assert_eq!(waiter.join().unwrap(), Err(Refusal::Closed));
        });
    }
}
