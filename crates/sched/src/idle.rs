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
        while self.searching.load(Ordering::Relaxed) == 0 {
            let sleepers = self.sleepers.load(Ordering::Relaxed);
            if sleepers == 0 {
                return None;
            }
            if self.is_crowded(sleepers) && self.has_sentry.load(Ordering::Relaxed) {
                return None;
            }
            if !self.begin_first_search() {
                return None;
            }
            let worker = sleepers.trailing_zeros() as usize;
            if self.withdraw_sleep(worker) {
                return Some(worker);
            }
            // As in `claim`.
            self.searching.fetch_sub(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
        None
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

    pub(crate) fn anybody_searches(&self) -> bool {
        self.searching.load(Ordering::Relaxed) != 0
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
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        let begun = self.searching.compare_exchange(0, 1, success, failure);
        begun.is_ok()
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
