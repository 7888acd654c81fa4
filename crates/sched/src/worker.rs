//! One worker: which of its lanes has its turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use asupersync_core::Time;

use crate::config::{LaneKind, READY_PLACES, READY_ROTATION};
use crate::governor::{Advice, DRAIN_STREAKS, Pressure, advise};
use crate::shared::{Shared, retry};

/// So many dispatches in a row from the slot before the deque has its turn: a pair of tasks that wake each other must not keep the rest waiting.
const SLOT_STREAK_LIMIT: u32 = 16;

/// A worker's own side of the scheduler; one thread owns it.
pub struct Worker<T> {
    shared: Arc<Shared<T>>,
    index: usize,
    deque: crossbeam_deque::Worker<T>,
    /// The task woken last: its data is warm.
    slot: Cell<Option<T>>,
    /// Tasks that yielded, first in, first out.
    yielded: RefCell<VecDeque<T>>,
    streaks: Cell<Streaks>,
    /// Room for what a steal takes along, kept for its capacity.
    moving: RefCell<Vec<T>>,
    /// A sleeper claimed while choosing; the host wakes it.
    wake: Cell<Option<usize>>,
    counters: Cell<Counters>,
    advice: Cell<Advice>,
}

#[derive(Clone, Copy, Default)]
struct Streaks {
    cancel: u32,
    timed: u32,
    slot: u32,
    ready: u32,
}

/// What a worker has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Dispatches from the cancel lane.
    pub cancel: u64,
    /// Dispatches from the timed lane.
    pub timed: u64,
    /// Dispatches from the ready lane.
    pub ready: u64,
    /// How often a streak limit gave another lane its turn.
    pub fairness_yields: u64,
    /// The longest streak of the cancel lane.
    pub max_cancel_streak: u32,
    /// Dispatches of entries taken from elsewhere.
    pub stolen: u64,
}

impl<T> Worker<T> {
    pub(crate) fn new(
        shared: Arc<Shared<T>>,
        index: usize,
        deque: crossbeam_deque::Worker<T>,
    ) -> Self {
        Self {
            shared,
            index,
            deque,
            slot: Cell::new(None),
            yielded: RefCell::new(VecDeque::new()),
            streaks: Cell::new(Streaks::default()),
            moving: RefCell::new(Vec::new()),
            wake: Cell::new(None),
            counters: Cell::new(Counters::default()),
            advice: Cell::new(Advice::None),
        }
    }

    /// The worker's number.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The scheduler that the worker belongs to.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    /// What the worker has done so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Puts a woken task where it runs next; whatever stood there becomes stealable. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_woken(&self, entry: T) -> Option<usize> {
        self.slot
            .replace(Some(entry))
            .and_then(|displaced| self.push(displaced))
    }

    /// Puts an entry into the ready lane, where others may take it. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push(&self, entry: T) -> Option<usize> {
        self.deque.push(entry);
        self.shared.idle.claim_any()
    }

    /// Puts a task that yielded behind all others of the ready lane.
    pub fn push_yielded(&self, entry: T) {
        self.yielded.borrow_mut().push_back(entry);
    }

    /// Puts an entry into the cancel lane. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_cancel(&self, entry: T) -> Option<usize> {
        self.shared.remotes[self.index]
            .lanes
            .push_cancel(entry, false);
        self.shared.idle.claim_any()
    }

    /// Puts an entry into the timed lane. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_timed(&self, entry: T, deadline: Time, priority: u8) -> Option<usize> {
        self.shared.remotes[self.index]
            .lanes
            .push_timed(entry, deadline, priority, false);
        self.shared.idle.claim_any()
    }

    /// Weighs the pressure of the moment and follows the advice until the next call; for a host that governs.
    pub fn govern(&self, now: Time, obligation_age: Duration) -> Advice {
        let (draining, timed, earliest) = self.shared.remotes[self.index].lanes.pressure();
        let advice = advise(&Pressure {
            ready: self.deque.len() + self.yielded.borrow().len(),
            draining,
            timed,
            slack: earliest.map(|deadline| deadline.saturating_since(now)),
            obligation_age,
        });
        self.advice.set(advice);
        advice
    }

    /// Takes the next entry of this worker's own lanes.
    #[must_use]
    pub fn next(&self) -> Option<(LaneKind, T)> {
        let lanes = &self.shared.remotes[self.index].lanes;
        let limits = &self.shared.config;
        let streaks = self.streaks.get();
        let (cancel, timed) = (lanes.has_cancel(), lanes.has_timed());
        let advice = self.advice.get();
        let cancel_streak_limit = match advice {
            Advice::None | Advice::MeetDeadlines => limits.cancel_streak_limit,
            Advice::DrainObligations | Advice::DrainRegions => {
                limits.cancel_streak_limit.saturating_mul(DRAIN_STREAKS)
            }
        };
        if advice == Advice::MeetDeadlines
            && timed
            && streaks.timed < limits.timed_streak_limit
            && let Some(found) = self.dispatch_timed()
        {
            return Some(found);
        }
        if cancel
            && streaks.cancel < cancel_streak_limit
            && let Some(found) = self.dispatch_cancel()
        {
            return Some(found);
        }
        if timed
            && streaks.timed < limits.timed_streak_limit
            && let Some(found) = self.dispatch_timed()
        {
            return Some(found);
        }
        if let Some(entry) = self.next_ready() {
            return Some(self.dispatched_ready(entry, cancel || timed));
        }
        // Nobody else wants the turn that a streak limit gave away.
        self.streaks.set(Streaks {
            cancel: 0,
            timed: 0,
            ..self.streaks.get()
        });
        if timed && let Some(found) = self.dispatch_timed() {
            return Some(found);
        }
        if cancel { self.dispatch_cancel() } else { None }
    }

    /// The worker to wake because [`next`](Self::next) made entries stealable.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn take_wake(&self) -> Option<usize> {
        self.wake.take()
    }

    /// Takes an entry from the injector or another worker, after [`next`](Self::next) found nothing.
    #[must_use]
    pub fn steal(&self) -> Option<T> {
        let entry =
            self.shared
                .steal_for(self.index, &self.deque, &mut self.moving.borrow_mut())?;
        self.count(|counters| {
            counters.stolen += 1;
            counters.ready += 1;
        });
        Some(entry)
    }

    /// Searches with `look` while others are kept from waking searchers of their own; gives a worker to wake if more is left.
    pub fn search(&self, look: impl FnOnce() -> Option<T>) -> (Option<T>, Option<usize>) {
        self.shared.idle.begin_search();
        let found = look();
        let last = self.shared.idle.end_search();
        let wake = if last && found.is_some() && self.shared.has_work_for(self.index) {
            self.shared.idle.claim_any()
        } else {
            None
        };
        (found, wake)
    }

    /// Whether there is work for this worker anywhere.
    #[must_use]
    pub fn sees_work(&self) -> bool {
        !self.deque.is_empty()
            || !self.yielded.borrow().is_empty()
            || self.shared.has_work_for(self.index)
    }

    /// Announces that the worker is about to sleep; false, and nothing announced, if there is work after all.
    #[must_use]
    pub fn announce_sleep(&self) -> bool {
        self.shared.idle.announce_sleep(self.index);
        let work = self.sees_work();
        if work {
            self.wake_up();
        }
        !work
    }

    /// Takes the announcement back after waking.
    pub fn wake_up(&self) {
        let _ = self.shared.idle.withdraw_sleep(self.index);
    }

    /// Empties every queue that this worker alone can reach, for a host that gives up.
    pub fn drain(&self) -> Vec<T> {
        let mut entries: Vec<T> = self.slot.take().into_iter().collect();
        entries.extend(self.yielded.borrow_mut().drain(..));
        while let Some(entry) = self.deque.pop() {
            entries.push(entry);
        }
        let lanes = &self.shared.remotes[self.index].lanes;
        while let Some(entry) = lanes
            .pop_cancel()
            .or_else(|| lanes.pop_timed())
            .or_else(|| lanes.pop_pinned())
        {
            entries.push(entry);
        }
        while let Some(entry) = retry(|| self.shared.injector.steal()) {
            entries.push(entry);
        }
        entries
    }

    fn dispatch_cancel(&self) -> Option<(LaneKind, T)> {
        let entry = self.shared.remotes[self.index].lanes.pop_cancel()?;
        let mut streaks = self.streaks.get();
        streaks.cancel += 1;
        self.streaks.set(streaks);
        self.count(|counters| {
            counters.cancel += 1;
            counters.max_cancel_streak = counters.max_cancel_streak.max(streaks.cancel);
        });
        Some((LaneKind::Cancel, entry))
    }

    fn dispatch_timed(&self) -> Option<(LaneKind, T)> {
        let entry = self.shared.remotes[self.index].lanes.pop_timed()?;
        let mut streaks = self.streaks.get();
        let yielded = streaks.cancel >= self.shared.config.cancel_streak_limit;
        streaks.cancel = 0;
        streaks.timed += 1;
        self.streaks.set(streaks);
        self.count(|counters| {
            counters.timed += 1;
            counters.fairness_yields += u64::from(yielded);
        });
        Some((LaneKind::Timed, entry))
    }

    fn dispatched_ready(&self, entry: T, others_wait: bool) -> (LaneKind, T) {
        let mut streaks = self.streaks.get();
        streaks.cancel = 0;
        streaks.timed = 0;
        self.streaks.set(streaks);
        self.count(|counters| {
            counters.ready += 1;
            counters.fairness_yields += u64::from(others_wait);
        });
        (LaneKind::Ready, entry)
    }

    /// The ready lane: mostly the newest, and in rotation the oldest of each place.
    fn next_ready(&self) -> Option<T> {
        let mut streaks = self.streaks.get();
        streaks.ready = streaks.ready.wrapping_add(1);
        let ready = streaks.ready;
        if ready.is_multiple_of(READY_ROTATION) {
            self.streaks.set(streaks);
            if let Some(entry) = self.rotate(ready / READY_ROTATION) {
                return Some(entry);
            }
        }
        if let Some(entry) = self.slot.take() {
            if streaks.slot < SLOT_STREAK_LIMIT {
                streaks.slot += 1;
                self.streaks.set(streaks);
                return Some(entry);
            }
            self.yielded.borrow_mut().push_back(entry);
        }
        streaks.slot = 0;
        self.streaks.set(streaks);
        if let Some(entry) = self.deque.pop() {
            return Some(entry);
        }
        let lanes = &self.shared.remotes[self.index].lanes;
        if lanes.has_pinned()
            && let Some(entry) = lanes.pop_pinned()
        {
            return Some(entry);
        }
        self.yielded.borrow_mut().pop_front()
    }

    /// Serves the oldest entry of one of the places in turn.
    fn rotate(&self, turn: u32) -> Option<T> {
        match turn % READY_PLACES {
            0 => retry(|| self.shared.injector.steal()),
            1 => retry(|| self.shared.remotes[self.index].stealer.steal()),
            2 => {
                self.share_yielded();
                self.yielded.borrow_mut().pop_front()
            }
            _ => self.shared.remotes[self.index].lanes.pop_pinned(),
        }
    }

    /// While others sleep, half of the tasks that yielded become stealable.
    fn share_yielded(&self) {
        let mut yielded = self.yielded.borrow_mut();
        if yielded.len() < 2 || !self.shared.idle.anybody_sleeps() {
            return;
        }
        let half = yielded.len() / 2;
        for entry in yielded.drain(half..) {
            self.deque.push(entry);
        }
        self.wake.set(self.shared.idle.claim_any());
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
