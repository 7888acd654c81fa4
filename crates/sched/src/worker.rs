//! One worker: which of its lanes has its turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use asupersync_core::Time;

use crate::config::{
    LaneKind, READY_PATIENCE, READY_ROTATION, READY_TURNS, SENTRY_INTERVAL, YIELDED_CROWD,
};
use crate::governor::{Advice, DRAIN_STREAKS, Pressure, advise};
use crate::lanes::Lanes;
use crate::ring::{Entry, Owner};
use crate::shared::{Seen, Shared};

/// So many dispatches in a row from the slot before those have a turn that yielded: a pair of tasks that wake each other must not keep the rest waiting.
const SLOT_STREAK_LIMIT: u32 = 16;

/// A worker's own side of the scheduler; one thread owns it.
pub struct Worker<T: Entry> {
    shared: Arc<Shared<T>>,
    index: usize,
    ring: Owner<T>,
    lanes: Arc<Lanes<T>>,
    /// The task woken last, which runs when the ring is empty.
    slot: Cell<Option<T>>,
    /// Whether what is woken answers an event, and stands in line.
    hears_events: Cell<bool>,
    /// Tasks that yielded, first in, first out.
    yielded: RefCell<VecDeque<T>>,
    /// A lone worker's cancel lane for what it pushes itself, without the lock that nobody else would take.
    cancelled: RefCell<VecDeque<T>>,
    /// Whether there is something in it.
    has_cancelled: Cell<bool>,
    /// Whether it was served last, and not the lane that others push into.
    served_own: Cell<bool>,
    streaks: Streaks,
    /// Room for what a steal takes along, kept for its capacity.
    moving: RefCell<Vec<T>>,
    /// A sleeper claimed while choosing; the host wakes it.
    wake: Cell<Option<usize>>,
    /// Whether the worker counts as a searcher.
    searching: Cell<bool>,
    /// Whether the worker leaves what there is to those that are awake.
    leaves: Cell<bool>,
    /// What the queues looked like when the worker last left them to others.
    seen: RefCell<Vec<Seen>>,
    /// Whether the worker sleeps as the sentry.
    is_sentry: Cell<bool>,
    tally: Tally,
    advice: Cell<Advice>,
}

/// How often in a row each of them was served; `ready` goes round.
#[derive(Default)]
struct Streaks {
    cancel: Cell<u32>,
    timed: Cell<u32>,
    slot: Cell<u32>,
    ready: Cell<u32>,
    /// When what stands in the slot came there, by `ready`.
    slot_since: Cell<u32>,
    /// When one that yielded was taken last, by `ready`.
    yielded_since: Cell<u32>,
}

/// The [`Counters`] as they grow: each by itself, so that a dispatch touches no more than it counts.
#[derive(Default)]
struct Tally {
    cancel: Cell<u64>,
    timed: Cell<u64>,
    ready: Cell<u64>,
    fairness_yields: Cell<u64>,
    max_cancel_streak: Cell<u32>,
    stolen: Cell<u64>,
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

impl<T: Entry> Worker<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>, index: usize, ring: Owner<T>) -> Self {
        let lanes = Arc::clone(&shared.remotes[index].lanes);
        Self {
            shared,
            index,
            ring,
            lanes,
            slot: Cell::new(None),
            hears_events: Cell::new(false),
            yielded: RefCell::new(VecDeque::new()),
            cancelled: RefCell::new(VecDeque::new()),
            has_cancelled: Cell::new(false),
            served_own: Cell::new(false),
            streaks: Streaks::default(),
            moving: RefCell::new(Vec::new()),
            wake: Cell::new(None),
            searching: Cell::new(false),
            leaves: Cell::new(false),
            seen: RefCell::new(Vec::new()),
            is_sentry: Cell::new(false),
            tally: Tally::default(),
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
        let tally = &self.tally;
        Counters {
            cancel: tally.cancel.get(),
            timed: tally.timed.get(),
            ready: tally.ready.get(),
            fairness_yields: tally.fairness_yields.get(),
            max_cancel_streak: tally.max_cancel_streak.get(),
            stolen: tally.stolen.get(),
        }
    }

    /// Puts a woken task where no thief sees it, to run once the ring is empty; whatever stood there becomes stealable. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    #[inline]
    pub fn push_woken(&self, entry: T) -> Option<usize> {
        if self.hears_events.get() {
            return self.push_in_line(entry);
        }
        let streaks = &self.streaks;
        streaks.slot_since.set(streaks.ready.get());
        self.slot
            .replace(Some(entry))
            .and_then(|displaced| self.push(displaced))
    }

    #[cold]
    fn push_in_line(&self, entry: T) -> Option<usize> {
        self.push_yielded(entry);
        None
    }

    /// What is woken until [`end_events`](Self::end_events) answers timers and the operating system, and no task that ran here: a lone worker keeps it in the order in which it comes, behind what is under way.
    pub fn begin_events(&self) {
        self.hears_events.set(self.ring.is_alone());
    }

    /// What is woken from now on was woken by the task that runs.
    pub fn end_events(&self) {
        self.hears_events.set(false);
    }

    /// Puts an entry into the ready lane, where others may take it. Gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push(&self, entry: T) -> Option<usize> {
        self.shared.keep(&self.ring, entry);
        self.claim_any()
    }

    /// Puts a task that yielded behind all others of the ready lane.
    #[inline]
    pub fn push_yielded(&self, entry: T) {
        self.yielded.borrow_mut().push_back(entry);
    }

    /// Puts an entry into the cancel lane. Gives the worker to wake, unless the entry is alone: this worker runs it next.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_cancel(&self, entry: T) -> Option<usize> {
        if self.ring.is_alone() {
            self.cancelled.borrow_mut().push_back(entry);
            self.has_cancelled.set(true);
            return None;
        }
        let has_company = self.lanes.push_cancel(entry, false);
        has_company.then(|| self.claim_any()).flatten()
    }

    /// As [`push_cancel`](Self::push_cancel) for each entry, but with one worker to wake, who lets others take some.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_cancelled(&self, entries: impl IntoIterator<Item = T>) -> Option<usize> {
        if self.ring.is_alone() {
            let mut cancelled = self.cancelled.borrow_mut();
            cancelled.extend(entries);
            self.has_cancelled.set(!cancelled.is_empty());
            return None;
        }
        let are_several = self.lanes.push_cancelled(entries);
        are_several.then(|| self.claim_any()).flatten()
    }

    /// Puts an entry into the timed lane. Gives the worker to wake, unless the entry is alone, as in [`push_cancel`](Self::push_cancel).
    #[must_use = "the worker sleeps until it is woken"]
    pub fn push_timed(&self, entry: T, deadline: Time, priority: u8) -> Option<usize> {
        let has_company = self.lanes.push_timed(entry, deadline, priority, false);
        has_company.then(|| self.claim_any()).flatten()
    }

    /// Weighs the pressure of the moment and follows the advice until the next call; for a host that governs.
    pub fn govern(&self, now: Time, obligation_age: Duration) -> Advice {
        let (draining, timed, earliest) = self.lanes.pressure();
        let advice = advise(&Pressure {
            ready: self.ring.len() + self.yielded.borrow().len(),
            draining: draining + self.cancelled.borrow().len(),
            timed,
            slack: earliest.map(|deadline| deadline.saturating_since(now)),
            obligation_age,
        });
        self.advice.set(advice);
        advice
    }

    /// Takes the next entry of this worker's own lanes.
    #[must_use]
    #[inline]
    pub fn next(&self) -> Option<(LaneKind, T)> {
        let waiting = self.lanes.hints();
        if waiting.has_urgent() || self.has_cancelled.get() {
            return self.next_of_all();
        }
        self.streaks.cancel.set(0);
        self.streaks.timed.set(0);
        let entry = self.next_ready(waiting.has_pinned())?;
        bump(&self.tally.ready);
        Some((LaneKind::Ready, entry))
    }

    /// As [`next`](Self::next), while there are entries in the cancel lane or the timed one.
    #[cold]
    fn next_of_all(&self) -> Option<(LaneKind, T)> {
        let limits = &self.shared.config;
        let streaks = &self.streaks;
        let waiting = self.lanes.hints();
        let cancel = waiting.has_cancel() || self.has_cancelled.get();
        let timed = waiting.has_timed();
        let advice = self.advice.get();
        let cancel_streak_limit = match advice {
            Advice::None | Advice::MeetDeadlines => limits.cancel_streak_limit,
            Advice::DrainObligations | Advice::DrainRegions => {
                limits.cancel_streak_limit.saturating_mul(DRAIN_STREAKS)
            }
        };
        if advice == Advice::MeetDeadlines
            && timed
            && streaks.timed.get() < limits.timed_streak_limit
            && let Some(found) = self.dispatch_timed()
        {
            return Some(found);
        }
        if cancel
            && streaks.cancel.get() < cancel_streak_limit
            && let Some(found) = self.dispatch_cancel()
        {
            return Some(found);
        }
        if timed
            && streaks.timed.get() < limits.timed_streak_limit
            && let Some(found) = self.dispatch_timed()
        {
            return Some(found);
        }
        if let Some(entry) = self.next_ready(waiting.has_pinned()) {
            return Some(self.dispatched_ready(entry, cancel || timed));
        }
        // Nobody else wants the turn that a streak limit gave away.
        streaks.cancel.set(0);
        streaks.timed.set(0);
        if timed && let Some(found) = self.dispatch_timed() {
            return Some(found);
        }
        if cancel { self.dispatch_cancel() } else { None }
    }

    /// Takes an entry from the injector or another worker, after [`next`](Self::next) found nothing; not while enough others search.
    ///
    /// Until it finds one the worker counts as searching, unless it is the only one, and others are not woken for what it may find.
    #[must_use]
    pub fn search(&self) -> Option<T> {
        if self.leaves_it_to_others() {
            return None;
        }
        // Nobody relies on the search of a lone worker: there is no other to wake or not.
        if !self.searching.get() && !self.ring.is_alone() {
            if !self.shared.idle.begin_search() {
                return None;
            }
            self.searching.set(true);
        }
        let mut moving = self.moving.borrow_mut();
        let entry = self.shared.steal_for(self.index, &self.ring, &mut moving)?;
        bump(&self.tally.stolen);
        bump(&self.tally.ready);
        Some(entry)
    }

    /// Whether the worker counts as searching, and is to look again: it has found nothing yet, or was woken to find something.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.searching.get() && !self.leaves.get()
    }

    /// Whether all processors are taken by others, and those get on with their work; then one more would only take its turn from them.
    fn leaves_it_to_others(&self) -> bool {
        let leaves = self.shared.idle.is_crowded_by_others(self.index)
            && !self.shared.is_stalled(&mut self.seen.borrow_mut());
        self.leaves.set(leaves);
        leaves
    }

    /// The worker to wake after an entry was found: it made others stealable, or there are more than the searchers found.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn take_wake(&self) -> Option<usize> {
        if self.searching.get() {
            return self.end_search();
        }
        self.wake.take()
    }

    /// Ends a search; the worker to wake if nobody else searches and there is more to find.
    ///
    /// A thread that leaves its worker calls it, since nobody is woken while a searcher seems to be there.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn end_search(&self) -> Option<usize> {
        let woken = self.wake.take();
        let idle = &self.shared.idle;
        let last = self.searching.replace(false) && idle.end_search();
        if woken.is_none() && last && self.shared.has_work_for(self.index) {
            return idle.claim_any();
        }
        woken
    }

    /// Whether all other workers sleep, so that new work can only come from outside.
    #[must_use]
    pub fn is_last_awake(&self) -> bool {
        self.shared.idle.is_last_awake(self.index)
    }

    /// Whether there is work of the kinds that come from outside: injected, or pushed into this worker's own lanes.
    #[must_use]
    pub fn sees_work_from_outside(&self) -> bool {
        !self.shared.injector.is_empty() || !self.lanes.is_empty()
    }

    /// Whether there is something in the worker's own queues, which it never sleeps beside.
    #[must_use]
    pub fn has_own_work(&self) -> bool {
        let in_slot = self.slot.take();
        let has_local =
            in_slot.is_some() || !self.yielded.borrow().is_empty() || self.has_cancelled.get();
        self.slot.set(in_slot);
        self.ring.len() > 0 || has_local || !self.lanes.is_empty()
    }

    /// Whether there is work for this worker anywhere.
    #[must_use]
    pub fn sees_work(&self) -> bool {
        self.has_own_work() || self.shared.has_work_for(self.index)
    }

    /// Announces that the worker is about to sleep; false, and nothing announced, if there is work after all.
    #[must_use]
    pub fn announce_sleep(&self) -> bool {
        let idle = &self.shared.idle;
        let announced = idle.announce_sleep(self.index, self.searching.replace(false));
        self.is_sentry.set(announced.is_sentry);
        let must_look = announced.must_look;
        let work = self.has_own_work() || (must_look && self.shared.has_work_for(self.index));
        if work {
            self.wake_up();
            // Others may have relied on the search that ended here.
            if !self.ring.is_alone() && !self.searching.replace(true) {
                idle.begin_owed_search();
            }
        } else {
            self.ring.give_room_back();
        }
        !work
    }

    /// The longest that the worker may sleep after [`announce_sleep`](Self::announce_sleep), if there is a limit.
    #[must_use]
    pub fn sleep_limit(&self) -> Option<Duration> {
        self.is_sentry.get().then_some(SENTRY_INTERVAL)
    }

    /// Takes the announcement back after waking; the worker searches before it announces another sleep.
    pub fn wake_up(&self) {
        let idle = &self.shared.idle;
        let claimed = !idle.withdraw_sleep(self.index);
        let was_sentry = self.is_sentry.replace(false);
        if was_sentry {
            if !claimed {
                idle.begin_owed_search();
            }
            idle.relieve_sentry();
        }
        self.searching.set(claimed || was_sentry);
    }

    /// Empties every queue that this worker alone can reach, for a host that gives up.
    pub fn drain(&self) -> Vec<T> {
        let mut entries: Vec<T> = self.slot.take().into_iter().collect();
        entries.extend(self.yielded.borrow_mut().drain(..));
        entries.extend(self.cancelled.borrow_mut().drain(..));
        self.has_cancelled.set(false);
        while let Some(entry) = self.ring.take_newest() {
            entries.push(entry);
        }
        let lanes = &self.lanes;
        while let Some(entry) = lanes
            .pop_cancel()
            .or_else(|| lanes.pop_timed())
            .or_else(|| lanes.pop_pinned())
        {
            entries.push(entry);
        }
        while let Some(entry) = self.shared.injector.pop() {
            entries.push(entry);
        }
        entries
    }

    fn dispatch_cancel(&self) -> Option<(LaneKind, T)> {
        let entry = self.take_cancelled()?;
        let streak = self.streaks.cancel.get() + 1;
        self.streaks.cancel.set(streak);
        bump(&self.tally.cancel);
        let longest = &self.tally.max_cancel_streak;
        longest.set(longest.get().max(streak));
        Some((LaneKind::Cancel, entry))
    }

    /// The oldest of the cancel lane; a lone worker's own and those of others take turns.
    fn take_cancelled(&self) -> Option<T> {
        let has_both = self.has_cancelled.get() && self.lanes.hints().has_cancel();
        let is_own = self.has_cancelled.get() && !(has_both && self.served_own.get());
        self.served_own.set(is_own);
        if is_own {
            let mut cancelled = self.cancelled.borrow_mut();
            let entry = cancelled.pop_front();
            self.has_cancelled.set(!cancelled.is_empty());
            return entry;
        }
        self.lanes.pop_cancel()
    }

    fn dispatch_timed(&self) -> Option<(LaneKind, T)> {
        let entry = self.lanes.pop_timed()?;
        let streaks = &self.streaks;
        if streaks.cancel.get() >= self.shared.config.cancel_streak_limit {
            bump(&self.tally.fairness_yields);
        }
        streaks.cancel.set(0);
        streaks.timed.set(streaks.timed.get() + 1);
        bump(&self.tally.timed);
        Some((LaneKind::Timed, entry))
    }

    fn dispatched_ready(&self, entry: T, others_wait: bool) -> (LaneKind, T) {
        self.streaks.cancel.set(0);
        self.streaks.timed.set(0);
        bump(&self.tally.ready);
        if others_wait {
            bump(&self.tally.fairness_yields);
        }
        (LaneKind::Ready, entry)
    }

    /// The ready lane: mostly the newest of the ring before what was woken last, and in rotation the oldest of each place.
    #[inline]
    fn next_ready(&self, has_pinned: bool) -> Option<T> {
        let streaks = &self.streaks;
        let ready = streaks.ready.get().wrapping_add(1);
        streaks.ready.set(ready);
        if ready.is_multiple_of(READY_ROTATION)
            && let Some(entry) = self.rotate(ready / READY_ROTATION)
        {
            return Some(entry);
        }
        if let Some(entry) = self.ring.take_newest() {
            streaks.slot.set(0);
            return Some(entry);
        }
        if let Some(entry) = self.slot.take() {
            let streak = streaks.slot.get();
            if streak < SLOT_STREAK_LIMIT {
                streaks.slot.set(streak + 1);
                return Some(entry);
            }
            self.yielded.borrow_mut().push_back(entry);
        }
        streaks.slot.set(0);
        if has_pinned && let Some(entry) = self.lanes.pop_pinned() {
            return Some(entry);
        }
        self.take_yielded()
    }

    #[inline]
    fn take_yielded(&self) -> Option<T> {
        self.streaks.yielded_since.set(self.streaks.ready.get());
        let mut yielded = self.yielded.borrow_mut();
        if yielded.len() >= YIELDED_CROWD && self.shared.idle.anybody_searches() {
            self.share_half(&mut yielded);
        }
        yielded.pop_front()
    }

    /// Serves the oldest entry of one of the places in turn.
    #[cold]
    fn rotate(&self, turn: u32) -> Option<T> {
        let streaks = &self.streaks;
        let has_waited = |since: &Cell<u32>| {
            let waited = streaks.ready.get().wrapping_sub(since.get());
            waited >= READY_PATIENCE
        };
        match turn % READY_TURNS {
            0 => self.shared.injector.pop(),
            1 => self.ring.take_oldest(),
            2 | 7 if has_waited(&streaks.slot_since) => self.slot.take(),
            // What was shared is left in the ring meanwhile, for a thief to come.
            3 if self.share_yielded() => self.take_yielded(),
            3 | 8 if has_waited(&streaks.yielded_since) => self.take_yielded(),
            4 => self.lanes.pop_pinned(),
            _ => None,
        }
    }

    /// While others sleep, half of the tasks that yielded become stealable; whether any did.
    fn share_yielded(&self) -> bool {
        let mut yielded = self.yielded.borrow_mut();
        if yielded.len() < 2 || !self.shared.idle.anybody_sleeps() {
            return false;
        }
        self.share_half(&mut yielded);
        self.wake.set(self.claim_any());
        true
    }

    #[cold]
    fn share_half(&self, yielded: &mut VecDeque<T>) {
        let half = yielded.len() / 2;
        for entry in yielded.drain(half..) {
            self.shared.keep(&self.ring, entry);
        }
    }

    /// The worker to wake for what this one pushed; a lone one has nobody to look for.
    fn claim_any(&self) -> Option<usize> {
        if self.ring.is_alone() {
            return None;
        }
        self.shared.idle.claim_any()
    }
}

/// One more.
fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

#[cfg(all(test, not(loom)))]
mod tests;
