//! The scheduling state of a task: one word that says who may touch the task, and keeps it alive.
//!
//! # States
//! The lowest byte are flags; above it stand which worker alone may poll the task (a byte that never changes), how many masks hold cancellation back (14 bits), and how many references there are (34 bits).
//!
//! | flag | meaning |
//! | --- | --- |
//! | `SCHEDULED` | somebody wants the task polled |
//! | `RUNNING` | somebody is polling it, and alone may touch its future |
//! | `COMPLETE` | its outcome is written; no poll follows |
//! | `QUEUED` | an entry stands in a ready, timed or pinned queue |
//! | `QUEUED_CANCEL` | an entry stands in a cancel lane |
//! | `WAITER` | somebody waits for completion and left a waker |
//! | `HANDLE` | a join handle exists |
//! | `TAKEN` | the outcome was taken, or is not wanted |
//!
//! # Invariants
//! - `RUNNING` has one owner: it is set only by the transition that takes an entry off a queue, and by the one that ends a task which nobody polls.
//! - A task with `SCHEDULED` and without `RUNNING` has an entry in some queue, so a wake is never lost.
//! - At most one entry stands in each of the two kinds of queue.
//!   A cancel request may so overtake an entry in the ready lane; the entry that comes second finds nothing to do.
//! - The scheduler's one reference is released by completion, or by the last stale entry after it; completion then has one of its own.
//!
//! Wakes during a poll coalesce into one further poll.

use crate::host::WorkerId;
use crate::primitive::{AtomicU64, Ordering};

const SCHEDULED: u64 = 1;
const RUNNING: u64 = 1 << 1;
const COMPLETE: u64 = 1 << 2;
const QUEUED: u64 = 1 << 3;
const QUEUED_CANCEL: u64 = 1 << 4;
const WAITER: u64 = 1 << 5;
const HANDLE: u64 = 1 << 6;
const TAKEN: u64 = 1 << 7;
const HOME: u64 = 1 << 8;
const MASK: u64 = 1 << 16;
/// References stand on top, and low enough that they can be told from the rest by a constant of 32 bits.
const REF: u64 = 1 << 30;

/// Marks a task that any worker may poll.
const NO_HOME: u8 = u8::MAX;
/// No program comes near half of what is counted, so whoever finds that much stops before a count flows over.
const TOO_MANY_REFS: u64 = 1 << 33;
/// As [`TOO_MANY_REFS`].
const TOO_MANY_MASKS: u64 = 1 << 13;

/// How many references `state` counts.
#[inline]
const fn refs(state: u64) -> u64 {
    state / REF
}

/// How many masks `state` counts.
#[inline]
const fn masks(state: u64) -> u64 {
    state % REF / MASK
}

/// The byte that stands for a task's home.
///
/// One that stood for none would let other workers poll what may not leave its own.
#[inline]
fn home_of(home: Option<WorkerId>) -> u8 {
    home.map_or(NO_HOME, |worker| {
        assert!(worker.0 != NO_HOME, "a host has at most 255 workers");
        worker.0
    })
}

/// Which kind of queue an entry stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    /// A ready, timed or pinned queue.
    Plain,
    /// A cancel lane.
    Cancel,
}

impl Queue {
    const fn flag(self) -> u64 {
        match self {
            Self::Plain => QUEUED,
            Self::Cancel => QUEUED_CANCEL,
        }
    }
}

/// What a wake led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// The caller must put an entry into the queue.
    Enqueue,
    /// A poll will follow without that.
    Covered,
    /// The task has ended, and nothing was changed.
    Complete,
}

/// What taking an entry off a queue led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The caller owns the future and must poll it.
    Run,
    /// Nothing to do.
    Stale,
    /// Nothing to do, and the scheduler's reference is now the caller's to release.
    StaleLast,
}

/// What completion found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Completed {
    /// Somebody left a waker.
    pub(crate) has_waiter: bool,
    /// A stale entry is left, to which the scheduler's reference belongs; the caller's is then a new one.
    pub(crate) has_entry: bool,
}

pub(crate) struct State(AtomicU64);

impl State {
    /// A node that is not scheduled, with `refs` references.
    #[inline]
    pub(crate) fn new_idle(refs: u64) -> Self {
        Self(AtomicU64::new((refs * REF) | (u64::from(NO_HOME) * HOME)))
    }

    /// A task about to be put into a queue of the given kind, with a join handle and `refs` references.
    ///
    /// # Panics
    /// If `home` is worker 255, since a host has at most 255.
    #[inline]
    pub(crate) fn new_scheduled(refs: u64, queue: Queue, home: Option<WorkerId>) -> Self {
        let flags = SCHEDULED | HANDLE | queue.flag();
        let home = u64::from(home_of(home)) * HOME;
        Self(AtomicU64::new((refs * REF) | home | flags))
    }

    /// The worker that alone may poll the task, if it is one.
    #[inline]
    pub(crate) fn home(&self) -> Option<WorkerId> {
        let home = (self.0.load(Ordering::Relaxed) / HOME) as u8;
        (home != NO_HOME).then_some(WorkerId(home))
    }

    /// One more mask.
    ///
    /// # Panics
    /// If 8,192 hold already.
    #[inline]
    pub(crate) fn mask(&self) {
        let old = self.0.fetch_add(MASK, Ordering::SeqCst);
        if masks(old) >= TOO_MANY_MASKS {
            self.0.fetch_sub(MASK, Ordering::SeqCst);
            panic!("a context holds at most {TOO_MANY_MASKS} masks at a time");
        }
    }

    /// One mask less; true if it was the last.
    #[inline]
    pub(crate) fn unmask(&self) -> bool {
        let old = self.0.fetch_sub(MASK, Ordering::SeqCst);
        debug_assert!(masks(old) > 0, "a mask ends once");
        masks(old) == 1
    }

    /// How many masks hold.
    #[inline]
    pub(crate) fn masks(&self) -> u64 {
        masks(self.0.load(Ordering::SeqCst))
    }

    /// Asks for a poll; true if the caller must put an entry into a queue of the given kind.
    #[inline]
    pub(crate) fn schedule(&self, queue: Queue) -> bool {
        self.wake(queue, 0) == Wake::Enqueue
    }

    /// As [`schedule`](Self::schedule), and gives up the caller's reference, unless the task is complete.
    ///
    /// The caller may use the node after that only to put the entry into its queue: nobody else takes that entry.
    #[inline]
    pub(crate) fn schedule_and_release(&self, queue: Queue) -> Wake {
        self.wake(queue, REF)
    }

    #[inline]
    fn wake(&self, queue: Queue, released: u64) -> Wake {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            if current & COMPLETE != 0 {
                return Wake::Complete;
            }
            debug_assert!(
                released == 0 || refs(current) > 1,
                "a task that is not complete has its scheduler's reference"
            );
            let mut next = (current | SCHEDULED) - released;
            // An entry that stands in either queue will be found by whoever takes it,
            // but a cancel request must not wait behind the ready lane.
            let waiting = current & (QUEUED | QUEUED_CANCEL);
            let covered = match queue {
                Queue::Plain => waiting != 0,
                Queue::Cancel => waiting & QUEUED_CANCEL != 0,
            };
            let enqueue = current & RUNNING == 0 && !covered;
            if enqueue {
                next |= queue.flag();
            }
            // Release: the poll that follows must see what the waker wrote, also when nothing changes here.
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if enqueue => return Wake::Enqueue,
                Ok(_) => return Wake::Covered,
                Err(seen) => current = seen,
            }
        }
    }

    /// Takes an entry off a queue of the given kind.
    #[inline]
    pub(crate) fn claim(&self, queue: Queue) -> Claim {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            let mut next = current & !queue.flag();
            let claim = if current & COMPLETE != 0 {
                if next & (QUEUED | QUEUED_CANCEL) == 0 {
                    Claim::StaleLast
                } else {
                    Claim::Stale
                }
            } else if current & SCHEDULED != 0 && current & RUNNING == 0 {
                next = (next & !SCHEDULED) | RUNNING;
                Claim::Run
            } else {
                Claim::Stale
            };
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return claim,
                Err(seen) => current = seen,
            }
        }
    }

    /// Takes a task that nobody polls, without an entry; entries that stand in queues become stale.
    ///
    /// False if it is being polled, or complete.
    pub(crate) fn seize(&self) -> bool {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            if current & (RUNNING | COMPLETE) != 0 {
                return false;
            }
            let next = (current & !SCHEDULED) | RUNNING;
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => current = seen,
            }
        }
    }

    /// Ends a poll that returned `Pending`; true if the caller must put an entry into a queue of the given kind.
    ///
    /// `is_woken` says that the task woke itself during the poll, of which the word here knows nothing.
    #[inline]
    pub(crate) fn suspend(&self, queue: Queue, is_woken: bool) -> bool {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(current & RUNNING != 0, "only the poller suspends");
            debug_assert!(current & COMPLETE == 0, "a running task is not complete");
            let mut next = current & !RUNNING;
            if is_woken {
                next |= SCHEDULED;
            }
            let enqueue = next & SCHEDULED != 0 && current & queue.flag() == 0;
            if enqueue {
                next |= queue.flag();
            }
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return enqueue,
                Err(seen) => current = seen,
            }
        }
    }

    /// Ends the last poll: the outcome is written.
    ///
    /// The caller then owns one reference, with which it goes on using the node: the scheduler's, or a further one if an entry is left, since whoever takes that entry may release the scheduler's at any time.
    #[inline]
    pub(crate) fn complete(&self) -> Completed {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(current & COMPLETE == 0, "a task completes once");
            let has_entry = current & (QUEUED | QUEUED_CANCEL) != 0;
            let kept = if has_entry { REF } else { 0 };
            let next = ((current & !(RUNNING | SCHEDULED)) | COMPLETE) + kept;
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Completed {
                        has_waiter: current & WAITER != 0,
                        has_entry,
                    };
                }
                Err(seen) => current = seen,
            }
        }
    }

    /// Whether the outcome is written, and visible to the caller.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Whether there is one reference.
    #[inline]
    pub(crate) fn has_one_reference(&self) -> bool {
        // Acquire: whatever the other owners did happens before what the last one does.
        refs(self.0.load(Ordering::Acquire)) == 1
    }

    /// Whether nobody refers to the task but the scheduler and the handle.
    #[inline]
    pub(crate) fn is_known_to_owners_only(&self) -> bool {
        let current = self.0.load(Ordering::Acquire);
        refs(current) == 1 + u64::from(current & HANDLE != 0)
    }

    /// Whether somebody wants the task polled.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (SCHEDULED | COMPLETE) == SCHEDULED
    }

    /// Whether somebody is polling the task now.
    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RUNNING != 0
    }

    /// Whether a waker was left, which belongs to completion from then on.
    #[inline]
    pub(crate) fn has_waiter(&self) -> bool {
        self.0.load(Ordering::Acquire) & WAITER != 0
    }

    /// Announces that a waker was left; true if completion came first, which knows nothing of it then.
    #[inline]
    pub(crate) fn announce_waiter(&self) -> bool {
        self.0.fetch_or(WAITER, Ordering::AcqRel) & COMPLETE != 0
    }

    /// Takes an announced waker back; false if completion came first, to which it belongs.
    pub(crate) fn withdraw_waiter(&self) -> bool {
        let change = |current| (current & COMPLETE == 0).then_some(current & !WAITER);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
            .is_ok()
    }

    /// Claims the outcome of a complete task; false if it was taken before.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.0.fetch_or(TAKEN, Ordering::AcqRel) & TAKEN == 0
    }

    /// Whether the outcome was taken, or is not wanted.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) & TAKEN != 0
    }

    /// As [`take`](Self::take), for whoever alone has a reference, or has released the last.
    #[inline]
    pub(crate) fn take_alone(&self) -> bool {
        let current = self.0.load(Ordering::Relaxed);
        self.0.store(current | TAKEN, Ordering::Relaxed);
        current & TAKEN == 0
    }

    /// Gives up the join handle; true if the task is complete.
    #[inline]
    pub(crate) fn drop_handle(&self) -> bool {
        self.0.fetch_and(!HANDLE, Ordering::AcqRel) & COMPLETE != 0
    }

    /// Whether a join handle exists.
    #[inline]
    pub(crate) fn has_handle(&self) -> bool {
        self.0.load(Ordering::Acquire) & HANDLE != 0
    }

    /// Adds a reference; ends the process if there are 8 billion already, since the count must not flow over.
    #[inline]
    pub(crate) fn retain(&self) {
        let old = self.0.fetch_add(REF, Ordering::Relaxed);
        debug_assert!(refs(old) > 0, "a reference is made from a reference");
        if refs(old) >= TOO_MANY_REFS {
            std::process::abort();
        }
    }

    /// Makes a reference from none, for whoever has just released the last.
    pub(crate) fn revive(&self) {
        let old = self.0.fetch_add(REF, Ordering::Relaxed);
        debug_assert!(refs(old) == 0, "there is a reference to make one from");
    }

    /// Releases so many references of a caller who has one more.
    #[inline]
    pub(crate) fn release_beside(&self, count: u64) {
        if count > 0 {
            let old = self.0.fetch_sub(count * REF, Ordering::Release);
            debug_assert!(refs(old) > count, "the caller has one more");
        }
    }

    /// Releases a reference; true if it was the last.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        let old = self.0.fetch_sub(REF, Ordering::Release);
        debug_assert!(refs(old) > 0, "a reference is released once");
        if refs(old) != 1 {
            return false;
        }
        // Acquire: whatever the other owners did happens before the node is freed.
        let _ = self.0.load(Ordering::Acquire);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn wakes_during_a_poll_coalesce_into_one_entry() {
        let state = State::new_scheduled(1, Queue::Plain, None);
        assert_eq!(state.claim(Queue::Plain), Claim::Run);
        assert!(!state.schedule(Queue::Plain));
        assert!(!state.schedule(Queue::Plain));
        assert!(state.suspend(Queue::Plain, false));
        assert_eq!(state.claim(Queue::Plain), Claim::Run);
        assert!(!state.suspend(Queue::Plain, false));
    }

    #[test]
    fn a_task_that_woke_itself_is_queued_once_whoever_else_woke_it() {
        for is_woken_by_others in [false, true] {
            let state = State::new_scheduled(1, Queue::Plain, None);
            assert_eq!(state.claim(Queue::Plain), Claim::Run);
            if is_woken_by_others {
                assert!(!state.schedule(Queue::Plain));
            }
            assert!(state.suspend(Queue::Plain, true));
            assert!(state.is_scheduled());
            assert!(!state.schedule(Queue::Plain), "the entry stands");
            assert_eq!(state.claim(Queue::Plain), Claim::Run);
            assert!(!state.suspend(Queue::Plain, false));
        }
    }

    #[test]
    fn a_cancel_request_overtakes_the_ready_lane_and_the_late_entry_is_stale() {
        let state = State::new_scheduled(1, Queue::Plain, None);
        assert!(state.schedule(Queue::Cancel));
        assert_eq!(state.claim(Queue::Cancel), Claim::Run);
        let completed = state.complete();
        assert!(
            completed.has_entry,
            "the entry in the ready lane still refers to the task"
        );
        assert_eq!(state.claim(Queue::Plain), Claim::StaleLast);
    }

    #[test]
    fn a_seized_task_leaves_its_entries_stale_and_the_last_one_releases() {
        let state = State::new_scheduled(2, Queue::Plain, None);
        assert!(state.schedule(Queue::Cancel));
        assert!(state.seize());
        assert!(!state.seize(), "it is being ended");
        assert!(state.complete().has_entry);
        assert!(!state.seize(), "it has ended");
        assert_eq!(state.claim(Queue::Cancel), Claim::Stale);
        assert_eq!(state.claim(Queue::Plain), Claim::StaleLast);
    }

    #[test]
    fn counts_and_home_stand_beside_each_other() {
        let state = State::new_scheduled(1, Queue::Plain, Some(WorkerId(7)));
        let everything = || (state.home(), state.masks(), state.has_one_reference());
        let home = Some(WorkerId(7));
        assert_eq!(everything(), (home, 0, true));
        state.mask();
        state.mask();
        state.retain();
        assert_eq!(everything(), (home, 2, false));
        assert_eq!(state.claim(Queue::Plain), Claim::Run);
        assert!(!state.unmask());
        assert!(!state.release());
        assert_eq!(everything(), (home, 1, true));
        assert!(state.unmask());
        assert!(!state.suspend(Queue::Plain, false));
        assert_eq!(everything(), (home, 0, true));
        assert!(state.release());
    }

    #[test]
    fn a_home_is_kept_apart_from_none() {
        let home = |home| State::new_scheduled(1, Queue::Plain, home).home();
        assert_eq!(home(None), None);
        assert_eq!(home(Some(WorkerId(254))), Some(WorkerId(254)));
        assert_eq!(State::new_idle(1).home(), None);
    }

    #[test]
    #[should_panic(expected = "at most 255 workers")]
    fn a_home_that_would_mean_none_is_refused() {
        State::new_scheduled(1, Queue::Plain, Some(WorkerId(NO_HOME)));
    }

    #[test]
    fn a_mask_too_many_is_refused_and_those_before_it_hold() {
        let state = State::new_idle(1);
        for _ in 0..TOO_MANY_MASKS {
            state.mask();
        }
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.mask()));
        let message = refused.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*message, "a context holds at most 8192 masks at a time");
        assert_eq!(state.masks(), TOO_MANY_MASKS);
        let last = (0..TOO_MANY_MASKS).filter(|_| state.unmask()).count();
        assert_eq!(last, 1);
        assert!(state.has_one_reference() && state.home().is_none());
    }

    #[test]
    fn a_stale_entry_serves_the_next_wake() {
        let state = State::new_scheduled(1, Queue::Plain, None);
        assert!(state.schedule(Queue::Cancel));
        assert_eq!(state.claim(Queue::Cancel), Claim::Run);
        assert!(!state.suspend(Queue::Cancel, false));
        assert!(
            !state.schedule(Queue::Plain),
            "the first entry still stands"
        );
        assert_eq!(state.claim(Queue::Plain), Claim::Run);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::Mutex;
    use loom::thread;
    use std::collections::VecDeque;

    /// A task whose body is "count what was signalled", with one queue of each kind.
    struct Model {
        state: State,
        plain: Mutex<VecDeque<()>>,
        cancel: Mutex<VecDeque<()>>,
        signals: loom::sync::atomic::AtomicUsize,
        seen: loom::cell::UnsafeCell<usize>,
    }

    impl Model {
        fn new() -> Arc<Self> {
            let model = Arc::new(Self {
                state: State::new_idle(1),
                plain: Mutex::new(VecDeque::new()),
                cancel: Mutex::new(VecDeque::new()),
                signals: loom::sync::atomic::AtomicUsize::new(0),
                seen: loom::cell::UnsafeCell::new(0),
            });
            model
        }

        fn wake(&self, queue: Queue) {
            self.signals.fetch_add(1, Ordering::Relaxed);
            if self.state.schedule(queue) {
                self.push(queue);
            }
        }

        fn push(&self, queue: Queue) {
            match queue {
                Queue::Plain => self.plain.lock().unwrap().push_back(()),
                Queue::Cancel => self.cancel.lock().unwrap().push_back(()),
            }
        }

        /// Takes one entry, if there is one, and polls.
        fn step(&self, queue: Queue) -> bool {
            let entry = match queue {
                Queue::Plain => self.plain.lock().unwrap().pop_front(),
                Queue::Cancel => self.cancel.lock().unwrap().pop_front(),
            };
            if entry.is_none() {
                return false;
            }
            if self.state.claim(queue) == Claim::Run {
                // SAFETY: `RUNNING` has one owner; loom reports a violation as a race.
                self.seen.with_mut(|seen| unsafe {
                    *seen = self.signals.load(Ordering::Relaxed);
                });
                if self.state.suspend(queue, false) {
                    self.push(queue);
                }
            }
            true
        }

        fn drain(&self) {
            loop {
                let plain = self.step(Queue::Plain);
                let cancel = self.step(Queue::Cancel);
                if !plain && !cancel {
                    return;
                }
            }
        }
    }

    // SAFETY: `seen` is touched only by the owner of `RUNNING`; that is what the model checks.
    unsafe impl Sync for Model {}
    // SAFETY: as above.
    unsafe impl Send for Model {}

    #[test]
    fn loom_no_wake_is_lost_between_two_wakers_and_two_pollers() {
        loom::model(|| {
            let model = Model::new();
            let (waker, poller) = (Arc::clone(&model), Arc::clone(&model));
            let waker = thread::spawn(move || waker.wake(Queue::Plain));
            let poller = thread::spawn(move || {
                poller.step(Queue::Plain);
                poller.step(Queue::Cancel);
            });
            model.wake(Queue::Cancel);
            waker.join().unwrap();
            poller.join().unwrap();
            model.drain();
            // SAFETY: every other thread has ended.
            model.seen.with(|seen| assert_eq!(unsafe { *seen }, 2));
        });
    }

    #[test]
    fn loom_a_cancel_hand_off_polls_at_most_once_at_a_time() {
        loom::model(|| {
            let model = Model::new();
            model.wake(Queue::Plain);
            let other = Arc::clone(&model);
            let thief = thread::spawn(move || other.step(Queue::Plain));
            model.wake(Queue::Cancel);
            model.step(Queue::Cancel);
            thief.join().unwrap();
            model.drain();
            // SAFETY: every other thread has ended.
            model.seen.with(|seen| assert_eq!(unsafe { *seen }, 2));
        });
    }

    #[test]
    fn loom_completion_may_use_the_node_while_a_stale_entry_is_taken() {
        loom::model(|| {
            let model = Model::new();
            model.wake(Queue::Plain);
            model.wake(Queue::Cancel);
            let frees = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
            let release = |model: &Model, frees: &loom::sync::atomic::AtomicUsize| {
                if model.state.release() {
                    // SAFETY: the last reference is gone; loom reports whoever still uses the node as a race.
                    model.seen.with_mut(|freed| unsafe { *freed += 1 });
                    frees.fetch_add(1, Ordering::Relaxed);
                }
            };
            let take = move |model: &Model, queue, frees: &loom::sync::atomic::AtomicUsize| {
                match model.state.claim(queue) {
                    Claim::Run => {
                        let _ = model.state.complete();
                        // SAFETY: completion left a reference to the caller; loom reports a violation as a race.
                        model.seen.with(|used| assert_eq!(unsafe { *used }, 0));
                        release(model, frees);
                    }
                    Claim::Stale => {}
                    Claim::StaleLast => release(model, frees),
                }
            };
            let (other, count) = (Arc::clone(&model), Arc::clone(&frees));
            let thief = thread::spawn(move || take(&other, Queue::Plain, &count));
            take(&model, Queue::Cancel, &frees);
            thief.join().unwrap();
            assert_eq!(frees.load(Ordering::Relaxed), 1);
        });
    }

    /// A joiner leaves one waker, and another when it comes back; each goes to completion or stays the joiner's.
    #[test]
    fn loom_a_joiner_that_comes_back_with_another_waker_is_woken_by_the_last() {
        loom::model(|| {
            let state = State::new_scheduled(2, Queue::Plain, None);
            let shared = Arc::new((state, loom::sync::atomic::AtomicUsize::new(0)));
            let other = Arc::clone(&shared);
            let completer = thread::spawn(move || {
                let (state, slot) = &*other;
                assert_eq!(state.claim(Queue::Plain), Claim::Run);
                let has_waiter = state.complete().has_waiter;
                has_waiter.then(|| slot.load(Ordering::Relaxed))
            });
            let (state, slot) = &*shared;
            // Which waker waits, or none because the end was seen.
            let wait = |waker| {
                slot.store(waker, Ordering::Relaxed);
                (!state.announce_waiter()).then_some(waker)
            };
            let waiting = match wait(1) {
                Some(first) if state.withdraw_waiter() => wait(2).map(|second| {
                    assert_ne!(first, second);
                    second
                }),
                Some(first) => Some(first),
                None => None,
            };
            let woken = completer.join().unwrap();
            assert_eq!(woken, waiting, "who waits is woken, and nobody else");
        });
    }

    /// A waker that gives up its reference with the wake, the poller, and the owner of the handle.
    #[test]
    fn loom_a_wake_that_gives_its_reference_up_loses_neither_the_wake_nor_the_node() {
        loom::model(|| {
            let state = State::new_scheduled(2, Queue::Plain, None);
            let freed = loom::sync::atomic::AtomicUsize::new(0);
            let shared = Arc::new((state, freed, Mutex::new(0_usize)));
            let release = |shared: &(State, loom::sync::atomic::AtomicUsize, Mutex<usize>)| {
                if shared.0.has_one_reference() || shared.0.release() {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                }
            };
            let other = Arc::clone(&shared);
            let waker = thread::spawn(move || match other.0.schedule_and_release(Queue::Plain) {
                Wake::Enqueue => *other.2.lock().unwrap() += 1,
                Wake::Covered => {}
                Wake::Complete => release(&other),
            });
            assert_eq!(shared.0.claim(Queue::Plain), Claim::Run);
            let again = shared.0.suspend(Queue::Plain, false);
            waker.join().unwrap();
            let entries = usize::from(again) + *shared.2.lock().unwrap();
            assert!(entries <= 1, "one entry at most");
            if entries == 1 {
                assert_eq!(shared.0.claim(Queue::Plain), Claim::Run);
            } else {
                assert!(!shared.0.is_scheduled(), "a wake without an entry is lost");
                assert!(shared.0.seize());
            }
            assert!(!shared.0.complete().has_entry);
            release(&shared);
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
        });
    }
}
