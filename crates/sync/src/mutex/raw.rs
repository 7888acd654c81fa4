//! The lock without its value.
//!
//! # States
//! One word of flags: `LOCKED`; `WAITERS`, somebody is in line; `HANDED`, the owner got the lock from its predecessor and has not run since; `POISONED`.
//!
//! # Invariants
//! - `WAITERS` and `HANDED` are set and taken back under the list's lock.
//! - While somebody is in line, the lock goes to the first in line and stays `LOCKED` on the way; so nobody overtakes.
//! - The line is empty whenever the lock is free.
//!
//! Short critical sections are waited for by looking again a few times, but only while nobody is in line and the owner is known to run; on one worker that never delays the owner.
//! Who comes while the owner has yet to run gives it a turn, once, before it gets in line.
//! Otherwise all who use the lock often stay in line for ever, once they are: each hands the lock to one that does not run, and finds it held when it comes again.

use std::task::{Poll, Waker};

use asupersync_kernel::Resource;
use asupersync_kernel::mutation::{Mutation, is_on};

use crate::primitive::{AtomicU8, Mutex, Ordering, lock};
use crate::waiters::{Grant, Place, Stand, WaitList};

const LOCKED: u8 = 1;
const WAITERS: u8 = 2;
const HANDED: u8 = 4;
const POISONED: u8 = 8;

/// How often a busy lock is looked at again before its waiter gets in line.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 16 };

#[derive(Debug)]
pub(super) struct RawLock {
    state: AtomicU8,
    waiters: Mutex<WaitList>,
    pub(super) resource: Resource,
}

impl RawLock {
    crate::primitive::const_unless_loom! {
        pub(super) fn new() -> Self {
            Self {
                state: AtomicU8::new(0),
                waiters: Mutex::new(WaitList::new()),
                resource: Resource::new(),
            }
        }
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & POISONED != 0
    }

    pub(super) fn poison(&self) {
        self.state.fetch_or(POISONED, Ordering::AcqRel);
    }

    pub(super) fn clear_poison(&self) {
        self.state.fetch_and(!POISONED, Ordering::AcqRel);
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        let free = self
            .state
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed);
        match free {
            Ok(_) => true,
            Err(state) => state & POISONED != 0 && self.try_lock_poisoned(),
        }
    }

    #[cold]
    fn try_lock_poisoned(&self) -> bool {
        self.state
            .compare_exchange(
                POISONED,
                POISONED | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    fn is_handed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & HANDED != 0
    }

    fn try_lock_for_a_moment(&self) -> bool {
        for _ in 0..LOOKS {
            let state = self.state.load(Ordering::Relaxed);
            if state & (WAITERS | HANDED) != 0 {
                return false;
            }
            if state & LOCKED == 0 && self.try_lock() {
                return true;
            }
            crate::primitive::spin_loop();
        }
        false
    }

    /// Gives the lock up, to the first in line if there is one; called by its owner.
    #[inline]
    pub(super) fn unlock(&self) {
        let only_locked =
            self.state
                .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if only_locked.is_err() {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let next = self.pass_on(&mut lock(&self.waiters));
        next.into_iter().for_each(asupersync_kernel::wake_contained);
    }

    fn pass_on(&self, waiters: &mut WaitList) -> Option<Waker> {
        let next = if is_on(Mutation::LastInLineIsFirst) {
            waiters.grant_back(Grant::One)
        } else {
            waiters.grant_front(Grant::One)
        };
        if next.is_some() {
            self.resource.trace("mutex.grant");
            self.state.fetch_or(HANDED, Ordering::AcqRel);
            if waiters.is_empty() {
                self.state.fetch_and(!WAITERS, Ordering::AcqRel);
            }
        } else {
            self.state
                .fetch_and(!(LOCKED | WAITERS | HANDED), Ordering::AcqRel);
        }
        next
    }
}

/// One wait for the lock, without its context.
#[derive(Debug)]
pub(super) struct Seize {
    /// It has given an owner its turn.
    has_come_back: bool,
    place: Option<Place>,
}

impl Seize {
    pub(super) const fn new() -> Self {
        Self {
            has_come_back: false,
            place: None,
        }
    }

    pub(super) const fn is_in_line(&self) -> bool {
        self.place.is_some()
    }

    /// Ready once the lock is the caller's.
    #[inline]
    pub(super) fn poll(&mut self, raw: &RawLock, waker: &Waker) -> Poll<()> {
        if self.place.is_some() {
            return self.look(raw, waker);
        }
        if raw.try_lock() {
            return Poll::Ready(());
        }
        if !self.has_come_back {
            if raw.try_lock_for_a_moment() {
                return Poll::Ready(());
            }
            if raw.is_handed() {
                self.has_come_back = true;
                waker.wake_by_ref();
                return Poll::Pending;
            }
        }
        self.enter(raw, waker)
    }

    fn enter(&mut self, raw: &RawLock, waker: &Waker) -> Poll<()> {
        let waker = waker.clone();
        let mut waiters = lock(&raw.waiters);
        let state = raw.state.fetch_or(WAITERS, Ordering::AcqRel);
        if state & LOCKED == 0 {
            // Free since the last look, so the line is empty; `WAITERS` keeps the others out until here.
            raw.state.fetch_or(LOCKED, Ordering::Acquire);
            raw.state.fetch_and(!WAITERS, Ordering::AcqRel);
            drop(waiters);
            return Poll::Ready(());
        }
        self.place = Some(waiters.enqueue(waker, ()));
        // Under the line's lock, as a grant is, so that they are told in the order in which they happen.
        raw.resource.trace("mutex.wait");
        Poll::Pending
    }

    fn look(&mut self, raw: &RawLock, waker: &Waker) -> Poll<()> {
        let mut spare = None;
        loop {
            let mut waiters = lock(&raw.waiters);
            let Some(place) = &self.place else {
                return Poll::Pending;
            };
            match waiters.stand(place, waker) {
                Stand::Queued => {
                    raw.resource.trace("mutex.wait");
                    return Poll::Pending;
                }
                Stand::OtherWaker => match spare.take() {
                    Some(waker) => {
                        let old = waiters.replace_waker(place, waker);
                        raw.resource.trace("mutex.wait");
                        drop(waiters);
                        drop(old);
                        return Poll::Pending;
                    }
                    None => {
                        drop(waiters);
                        spare = Some(waker.clone());
                    }
                },
                Stand::Granted(_) => {
                    raw.state.fetch_and(!HANDED, Ordering::AcqRel);
                    if let Some(place) = self.place.take() {
                        waiters.remove(place);
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Leaves the line; a lock that was handed over goes to the next.
    pub(super) fn leave(&mut self, raw: &RawLock) {
        let Some(place) = self.place.take() else {
            return;
        };
        let (old, next) = {
            let mut waiters = lock(&raw.waiters);
            let (grant, old) = waiters.remove(place);
            let next = match grant {
                Some(_) => {
                    raw.resource.trace("mutex.give_back");
                    raw.pass_on(&mut waiters)
                }
                None => {
                    raw.resource.trace("mutex.leave");
                    if waiters.is_empty() {
                        raw.state.fetch_and(!WAITERS, Ordering::AcqRel);
                    }
                    None
                }
            };
            (old, next)
        };
        drop(old);
        next.into_iter().for_each(asupersync_kernel::wake_contained);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Model {
        raw: RawLock,
        value: UnsafeCell<u32>,
    }

    // SAFETY: the value is touched by the lock's owner only; that is what the model checks.
    unsafe impl Sync for Model {}
    // SAFETY: as above.
    unsafe impl Send for Model {}

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                raw: RawLock::new(),
                value: UnsafeCell::new(0),
            })
        }

        fn add(&self) {
            {
                let mut seize = Seize::new();
                wait(|task| seize.poll(&self.raw, task.waker()))
            };
            self.add_as_owner();
        }

        fn add_as_owner(&self) {
            // SAFETY: this thread owns the lock; loom reports a violation as a race.
            self.value.with_mut(|value| unsafe { *value += 1 });
            self.raw.unlock();
        }

        fn check(&self, expected: u32) {
            // SAFETY: every other thread has ended.
            self.value
                .with(|value| assert_eq!(unsafe { *value }, expected));
            assert_eq!(self.raw.state.load(Ordering::Acquire), 0);
        }
    }

    #[test]
    fn loom_owners_exclude_each_other_and_none_is_left_waiting() {
        loom::model(|| {
            let model = Model::new();
            let other = Arc::clone(&model);
            let thread = thread::spawn(move || other.add());
            model.add();
            thread.join().unwrap();
            model.check(2);
        });
    }

    #[test]
    fn loom_a_leaving_waiter_passes_the_lock_on() {
        loom::model(|| {
            let model = Model::new();
            let other = Arc::clone(&model);
            let leaver = thread::spawn(move || {
                let mut seize = Seize::new();
                if seize.poll(&other.raw, Waker::noop()).is_ready() {
                    other.add_as_owner();
                    return 1;
                }
                seize.leave(&other.raw);
                0
            });
            model.add();
            model.add();
            let added = leaver.join().unwrap();
            model.check(2 + added);
        });
    }
}
