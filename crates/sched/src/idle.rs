//! Which workers sleep, who is searching, and which one to wake.
//!
//! # Invariants
//! - Whoever pushes an entry looks afterwards for searchers and sleepers; whoever is about to sleep announces it, gives up its search, and looks at every queue if nobody else searches.
//!   One of the two sees the other, so no entry is left to sleepers only.
//! - A sleeper that was claimed counts as a searcher from the claim on, not only when its thread runs: until it has searched, pushes wake nobody else.
//! - Whoever ends the last search with an entry in its hands claims the next sleeper, if there is more to find; so whoever others relied on searches until it has an entry or sleeps, also if it finds work of its own.
//! - A sleeper has no entries but those whose pusher is about to claim it; so who looks for entries need not look at sleepers.
//! - While as many workers are awake as there are processors, one more would only take its turn from one of them.
//!   So if there is a sentry, nobody is claimed, and who goes to sleep need not look: the sentry is a sleeper that wakes by itself soon, is a searcher before it has said that it is no sentry any more, and looks at every queue or is the sentry again.
//! - Two that are awake may share a processor while another has none, and so may a searcher that was claimed and waits for its turn.
//!   So whoever fell asleep on a processor where nobody is awake may be claimed all the same. That is a hint, and nothing relies on it.

use std::sync::atomic::AtomicU64 as Hint;

use crate::primitive::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

pub(crate) struct Idle {
    sleepers: AtomicU64,
    searching: AtomicU32,
    /// As many as may search of their own accord: more only get in each other's way.
    searchers_max: u32,
    /// The bits of all workers.
    all: u64,
    /// With as many awake, all processors are taken.
    processors: u32,
    /// Whether one of the sleepers is a sentry.
    has_sentry: AtomicBool,
    /// The processor that each worker was seen on last, as a bit; none before that.
    seen_on: Box<[Hint]>,
}

/// What goes with the announcement of a sleep.
pub(crate) struct Announced {
    /// Whether every queue must be looked at first.
    pub(crate) must_look: bool,
    /// Whether the sleeper is the sentry now, and must not sleep for longer than its interval.
    pub(crate) is_sentry: bool,
}

impl Idle {
    pub(crate) fn new(workers: usize, processors: usize) -> Self {
        let half = u32::try_from(workers / 2).expect("a scheduler has at most 64 workers");
        Self {
            sleepers: AtomicU64::new(0),
            searching: AtomicU32::new(0),
            searchers_max: half.max(1),
            all: u64::MAX >> (64 - workers),
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            has_sentry: AtomicBool::new(false),
            seen_on: (0..workers).map(|_| Hint::new(0)).collect(),
        }
    }

    /// Announces that `worker` is about to sleep, and ends its search if it is `searching`.
    pub(crate) fn announce_sleep(&self, worker: usize, searching: bool) -> Announced {
        let sleeper = 1 << worker;
        let sleepers = self.sleepers.fetch_or(sleeper, Ordering::SeqCst) | sleeper;
        if searching {
            self.searching.fetch_sub(1, Ordering::SeqCst);
        }
        let is_crowded = self.is_crowded(sleepers);
        let is_sentry = is_crowded && !self.has_sentry.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let others_search = self.searching.load(Ordering::Relaxed) > 0;
        let is_left_to_sentry = is_crowded && self.has_sentry.load(Ordering::Relaxed);
        Announced {
            must_look: !others_search && !is_left_to_sentry,
            is_sentry,
        }
    }

    /// The sentry is none any more; it counts as a searcher already, and must look at every queue before it sleeps again.
    pub(crate) fn relieve_sentry(&self) {
        self.has_sentry.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Whether there are more workers than processors, so that it matters who runs where.
    pub(crate) const fn shares_processors(&self) -> bool {
        self.all.count_ones() > self.processors
    }

    /// Notes the processor that `worker` runs on.
    pub(crate) fn note_processor(&self, worker: usize, processor: usize) {
        let bit = 1 << (processor % 64);
        let seen_on = &self.seen_on[worker];
        if seen_on.load(Ordering::Relaxed) != bit {
            seen_on.store(bit, Ordering::Relaxed);
        }
    }

    /// A sleeper that was last seen on a processor where nobody is awake, unless more are awake than there are processors.
    ///
    /// The system tends to wake it there, and is slow to move there who waits for another processor.
    fn asleep_elsewhere(&self, sleepers: u64) -> Option<usize> {
        let awake = self.all & !sleepers;
        if !self.shares_processors() || awake.count_ones() > self.processors {
            return None;
        }
        let seen_on = |worker: usize| self.seen_on[worker].load(Ordering::Relaxed);
        let taken = members(awake).fold(0, |taken, worker| taken | seen_on(worker));
        members(sleepers).find(|&worker| seen_on(worker) & !taken != 0)
    }

    /// Whether as many workers are awake as there are processors, without the caller, which is awake.
    pub(crate) fn is_crowded_by_others(&self, worker: usize) -> bool {
        self.is_crowded(self.sleepers.load(Ordering::Relaxed) | 1 << worker)
    }

    /// Whether as many workers are awake as there are processors.
    fn is_crowded(&self, sleepers: u64) -> bool {
        (self.all & !sleepers).count_ones() >= self.processors
    }

    /// Takes the announcement back; false if a waker has claimed the worker, which is a searcher then.
    pub(crate) fn withdraw_sleep(&self, worker: usize) -> bool {
        self.sleepers.fetch_and(!(1 << worker), Ordering::SeqCst) & (1 << worker) != 0
    }

    /// Claims a given sleeper, to be woken for an entry of its own; gives the worker to wake.
    pub(crate) fn claim(&self, worker: usize) -> Option<usize> {
        // The entry was pushed before; see the first invariant.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) & (1 << worker) == 0 {
            return None;
        }
        self.searching.fetch_add(1, Ordering::SeqCst);
        if self.withdraw_sleep(worker) {
            return Some(worker);
        }
        // It has woken by itself; others may have relied on the search that does not come.
        self.searching.fetch_sub(1, Ordering::SeqCst);
        self.claim_any()
    }

    /// Claims a sleeper to be woken for a new entry, unless somebody is searching or nobody sleeps.
    pub(crate) fn claim_any(&self) -> Option<usize> {
        // The entry was pushed before; see the first invariant.
        fence(Ordering::SeqCst);
        loop {
            let sleepers = self.sleepers.load(Ordering::Relaxed);
            if sleepers == 0 {
                return None;
            }
            let worker = if let Some(worker) = self.asleep_elsewhere(sleepers) {
                self.begin_owed_search();
                worker
            } else {
                let is_left_to_sentry =
                    self.is_crowded(sleepers) && self.has_sentry.load(Ordering::Relaxed);
                if is_left_to_sentry || !self.begin_first_search() {
                    return None;
                }
                sleepers.trailing_zeros() as usize
            };
            if self.withdraw_sleep(worker) {
                return Some(worker);
            }
            // As in `claim`.
            self.searching.fetch_sub(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// Whether all workers sleep but this one, as far as can be seen from here.
    pub(crate) fn is_last_awake(&self, worker: usize) -> bool {
        self.sleepers.load(Ordering::Relaxed) | (1 << worker) == self.all
    }

    /// The other workers that are awake, as far as can be seen from here, beginning with the next one.
    pub(crate) fn others_awake(&self, worker: usize) -> impl Iterator<Item = usize> {
        let sleepers = self.sleepers.load(Ordering::Relaxed);
        let count = self.all.count_ones() as usize;
        let others = (worker + 1..count).chain(0..worker);
        others.filter(move |other| sleepers & (1 << other) == 0)
    }

    pub(crate) fn anybody_sleeps(&self) -> bool {
        self.sleepers.load(Ordering::Relaxed) != 0
    }

    /// Begins a search, unless there are enough of them.
    pub(crate) fn begin_search(&self) -> bool {
        let one_more = |searching| (searching < self.searchers_max).then_some(searching + 1);
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        let begun = self.searching.fetch_update(success, failure, one_more);
        begun.is_ok()
    }

    /// Ends a search that found something; true if it was the last, so that the caller must wake another if there is more.
    pub(crate) fn end_search(&self) -> bool {
        let last = self.searching.fetch_sub(1, Ordering::SeqCst) == 1;
        // Whoever pushed before, and relied on this search, is seen by the look that follows.
        fence(Ordering::SeqCst);
        last
    }

    /// Begins the search of a worker that others relied on, however many search.
    pub(crate) fn begin_owed_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    fn begin_first_search(&self) -> bool {
        if self.searching.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        let begun = self.searching.compare_exchange(0, 1, success, failure);
        begun.is_ok()
    }
}

/// The workers whose bits are set.
fn members(set: u64) -> impl Iterator<Item = usize> {
    let some = |set: u64| (set != 0).then_some(set);
    std::iter::successors(some(set), move |set| some(set & (set - 1)))
        .map(|set| set.trailing_zeros() as usize)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Four workers on two processors, of which 2 and 3 sleep; where each was seen last.
    fn two_asleep(seen_on: [usize; 4]) -> Idle {
        let idle = Idle::new(4, 2);
        for (worker, processor) in seen_on.into_iter().enumerate() {
            idle.note_processor(worker, processor);
        }
        let announced = [2, 3].map(|worker| idle.announce_sleep(worker, false));
        assert!(announced[0].is_sentry, "two are awake on two processors");
        idle
    }

    #[test]
    fn who_sleeps_on_a_processor_without_worker_is_woken() {
        let idle = two_asleep([1, 1, 1, 0]);
        assert_eq!(idle.claim_any(), Some(3));
        assert_eq!(
            idle.claim_any(),
            None,
            "it counts as awake where it was seen"
        );
    }

    #[test]
    fn who_searches_may_wait_for_a_processor_while_another_is_free() {
        let idle = two_asleep([1, 1, 1, 0]);
        assert!(idle.begin_search());
        assert_eq!(idle.claim_any(), Some(3));
    }

    #[test]
    fn nobody_is_woken_for_a_processor_that_is_taken() {
        for taken in [[0, 1, 1, 0], [1, 1, 1, 1]] {
            assert_eq!(two_asleep(taken).claim_any(), None, "{taken:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_waking_for_a_processor_that_stays_free() {
        let idle = two_asleep([1, 1, 0, 0]);
        assert_eq!(idle.claim_any(), Some(2));
        // It came to run beside the others after all.
        idle.note_processor(2, 1);
        assert_eq!(idle.claim_any(), None, "three are awake on two processors");
    }

    #[test]
    fn processors_do_not_matter_where_each_worker_has_its_own() {
        let idle = Idle::new(2, 2);
        assert!(!idle.shares_processors());
        idle.note_processor(0, 1);
        idle.note_processor(1, 0);
        let _ = idle.announce_sleep(1, false);
        assert!(idle.begin_search());
        assert_eq!(idle.claim_any(), None, "the searcher will find it");
    }

    #[test]
    fn a_worker_that_was_not_seen_is_not_woken_for_a_processor() {
        let idle = Idle::new(3, 1);
        for worker in [1, 2] {
            let _ = idle.announce_sleep(worker, false);
        }
        assert_eq!(idle.claim_any(), None);
    }

    #[test]
    fn members_are_the_bits() {
        assert_eq!(members(0).count(), 0);
        assert_eq!(
            members(1 | 1 << 5 | 1 << 63).collect::<Vec<_>>(),
            [0, 5, 63]
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::primitive::Mutex;
    use loom::sync::Arc;
    use loom::thread;

    /// A queue, and who may sleep beside it.
    struct Place {
        idle: Idle,
        entries: Mutex<u32>,
    }

    impl Place {
        fn new(workers: usize) -> Arc<Self> {
            Arc::new(Self {
                idle: Idle::new(workers, workers),
                entries: Mutex::new(0),
            })
        }

        /// Of two workers for one processor.
        fn crowded() -> Arc<Self> {
            Arc::new(Self {
                idle: Idle::new(2, 1),
                entries: Mutex::new(0),
            })
        }

        fn push(&self) -> Option<usize> {
            *self.entries.lock().unwrap() += 1;
            self.idle.claim_any()
        }

        fn take(&self) -> bool {
            let mut entries = self.entries.lock().unwrap();
            let some = *entries > 0;
            *entries = entries.saturating_sub(1);
            some
        }

        /// Worker 1, the sentry, wakes.
        fn end_interval(&self) {
            if self.idle.withdraw_sleep(1) {
                self.idle.begin_owed_search();
            }
            self.idle.relieve_sentry();
        }

        /// A worker's way from running to sleeping; whether it took an entry, or sleeps.
        fn idle(&self, worker: usize) -> bool {
            let searching = self.idle.begin_search();
            if searching && self.take() {
                let _ = self.idle.end_search();
                return true;
            }
            let announced = self.idle.announce_sleep(worker, searching);
            announced.must_look && self.take()
        }
    }

    /// The hand-off: one pushes and looks for sleepers, one announces and looks again.
    #[test]
    fn loom_an_entry_is_never_left_to_sleepers() {
        loom::model(|| {
            let place = Place::new(1);
            let other = Arc::clone(&place);
            let pusher = thread::spawn(move || other.push().is_some());
            let taken = place.idle(0);
            let woken = pusher.join().unwrap();
            assert!(taken || woken, "the entry waits and the only worker sleeps");
        });
    }

    /// Two go to sleep, one of them without a search since the other searches.
    #[test]
    fn loom_of_two_that_go_to_sleep_one_sees_the_entry_or_is_woken() {
        loom::model(|| {
            let place = Place::new(2);
            let others = [Arc::clone(&place), Arc::clone(&place)];
            let [pushing, sleeping] = others;
            let pusher = thread::spawn(move || pushing.push().is_some());
            let sleeper = thread::spawn(move || sleeping.idle(1));
            let taken = place.idle(0) | sleeper.join().unwrap();
            let woken = pusher.join().unwrap();
            assert!(taken || woken, "the entry waits and both workers sleep");
        });
    }

    /// An entry comes while the only searcher finds another: one of the two claims the sleeper for it.
    #[test]
    fn loom_what_came_during_a_search_gets_a_worker_when_the_search_ends() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(2, 2));
            let pushed = Arc::new(AtomicU32::new(0));
            let _ = idle.announce_sleep(1, false);
            assert!(idle.begin_search());
            let (other_idle, other_pushed) = (Arc::clone(&idle), Arc::clone(&pushed));
            let pusher = thread::spawn(move || {
                other_pushed.store(1, Ordering::Release);
                other_idle.claim_any()
            });
            let is_last = idle.end_search();
            let more = is_last && pushed.load(Ordering::Acquire) == 1;
            let by_searcher = more.then(|| idle.claim_any()).flatten();
            let by_pusher = pusher.join().unwrap();
            assert_eq!(
                by_searcher.or(by_pusher),
                Some(1),
                "the entry waits and worker 1 sleeps"
            );
        });
    }

    /// One pushes while all processors are taken, and the sentry's interval ends.
    #[test]
    fn loom_an_entry_waits_only_if_there_is_a_sentry() {
        loom::model(|| {
            let place = Place::crowded();
            let first = place.idle.announce_sleep(1, false);
            assert!(first.is_sentry);
            let other = Arc::clone(&place);
            let pusher = thread::spawn(move || other.push().is_some());
            place.end_interval();
            let taken = place.take();
            let again = place.idle.announce_sleep(1, true);
            let taken = taken || (again.must_look && place.take());
            let woken = pusher.join().unwrap();
            assert!(
                taken || woken || again.is_sentry,
                "the entry waits, and nobody looks again"
            );
        });
    }

    /// As above, and the sentry fell asleep on a processor where nobody is awake, so that the push may claim it.
    #[test]
    fn loom_an_entry_gets_a_worker_also_if_a_processor_seems_free() {
        loom::model(|| {
            let place = Place::crowded();
            place.idle.note_processor(0, 0);
            place.idle.note_processor(1, 1);
            assert!(place.idle.announce_sleep(1, false).is_sentry);
            let other = Arc::clone(&place);
            let pusher = thread::spawn(move || other.push().is_some());
            place.end_interval();
            let taken = place.take();
            let again = place.idle.announce_sleep(1, true);
            let taken = taken || (again.must_look && place.take());
            let woken = pusher.join().unwrap();
            assert!(
                taken || woken || again.is_sentry,
                "the entry waits, and nobody looks again"
            );
        });
    }

    /// One pushes while the sentry's interval ends with work of its own: the next sleeper is claimed, or somebody looks again.
    #[test]
    fn loom_a_sentry_with_work_of_its_own_leaves_nothing_behind() {
        loom::model(|| {
            let place = Arc::new(Place {
                idle: Idle::new(3, 1),
                entries: Mutex::new(0),
            });
            assert!(place.idle.announce_sleep(1, false).is_sentry);
            assert!(!place.idle.announce_sleep(2, false).is_sentry);
            let other = Arc::clone(&place);
            let pusher = thread::spawn(move || other.push());
            place.end_interval();
            // It found its own entry, and looks whether there is more than that.
            let is_last = place.idle.end_search();
            let more = is_last && *place.entries.lock().unwrap() > 0;
            let by_sentry = more.then(|| place.idle.claim_any()).flatten();
            let by_pusher = pusher.join().unwrap();
            assert!(
                by_sentry.or(by_pusher).is_some(),
                "the entry waits, worker 2 sleeps, and there is no sentry"
            );
        });
    }

    /// One pushes from outside while the only worker awake goes to sleep and the sentry's interval ends.
    #[test]
    fn loom_nothing_is_left_when_a_crowd_goes_to_sleep() {
        loom::model(|| {
            let place = Place::crowded();
            assert!(place.idle.announce_sleep(1, false).is_sentry);
            let (pushing, sleeping) = (Arc::clone(&place), Arc::clone(&place));
            let pusher = thread::spawn(move || pushing.push().is_some());
            let sleeper = thread::spawn(move || {
                let announced = sleeping.idle.announce_sleep(0, false);
                let taken = announced.must_look && sleeping.take();
                taken || announced.is_sentry
            });
            place.end_interval();
            let taken = place.take();
            let again = place.idle.announce_sleep(1, true);
            let taken = taken || (again.must_look && place.take());
            let by_others = [pusher.join().unwrap(), sleeper.join().unwrap()];
            assert!(
                taken || again.is_sentry || by_others.contains(&true),
                "the entry waits, and nobody looks again"
            );
        });
    }

    /// A worker wakes by itself and pushes, relying on one that searches, who looks at nobody that sleeps: the entry is seen, or somebody is claimed for it.
    #[test]
    fn loom_who_looks_past_sleepers_sees_what_one_pushed_that_woke() {
        loom::model(|| {
            let place = Place::new(2);
            let _ = place.idle.announce_sleep(1, false);
            assert!(place.idle.begin_search());
            let other = Arc::clone(&place);
            let pusher = thread::spawn(move || {
                assert!(other.idle.withdraw_sleep(1));
                other.push().is_some()
            });
            let look = || place.idle.others_awake(0).next().is_some() && place.take();
            let taken = look() || (place.idle.announce_sleep(0, true).must_look && look());
            let woken = pusher.join().unwrap();
            assert!(taken || woken, "the entry waits and worker 0 sleeps");
        });
    }

    #[test]
    fn loom_no_more_than_half_begin_to_search() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(2, 2));
            let other = Arc::clone(&idle);
            let beginner = thread::spawn(move || other.begin_search());
            let begun = [idle.begin_search(), beginner.join().unwrap()];
            assert_eq!(begun.iter().filter(|begun| **begun).count(), 1);
        });
    }

    /// A claim that comes too late, for its sleeper woke by itself, hides no entry from one that goes to sleep.
    #[test]
    fn loom_a_claim_that_fails_leaves_no_entry_to_sleepers() {
        loom::model(|| {
            let place = Place::new(2);
            let _ = place.idle.announce_sleep(0, false);
            let claiming = Arc::clone(&place);
            let claimer = thread::spawn(move || claiming.idle.claim(0));
            let pushing = Arc::clone(&place);
            let pusher = thread::spawn(move || pushing.push());
            // Worker 0 wakes by itself, and sleeps again.
            let claimed = !place.idle.withdraw_sleep(0);
            let announced = place.idle.announce_sleep(0, claimed);
            let taken = announced.must_look && place.take();
            let woken = [claimer.join().unwrap(), pusher.join().unwrap()];
            assert!(
                taken || claimed || woken.iter().any(Option::is_some),
                "the entry waits and the only worker sleeps"
            );
        });
    }
}
