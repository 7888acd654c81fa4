//! Where the idle objects lie and how many there are: no time, no manager, no waiting.
//!
//! # Invariants
//! - Whoever makes or uses an object holds a permit of the pool; there are as many permits as objects may exist.
//! - Each counted object is idle, or belongs to one held permit; a permit has at most one. It goes from one to the other under the lock of its shard.
//! - So whoever holds a permit without an object, and sees with all shards locked that nothing is idle, may make one: at most as many exist as others hold permits.
//! - A closed store takes nothing back.

use std::collections::VecDeque;

use crate::primitive::{AtomicUsize, Mutex, Ordering, Padded, lock};
use crate::semaphore::counter::{Counter, Operations};

/// Idle objects, in parts that workers use side by side.
#[derive(Debug)]
pub(super) struct Store<T> {
    pub(super) permits: Counter,
    shards: Box<[Padded<Mutex<Shard<T>>>]>,
    /// Objects that exist, those that are being made included.
    count: AtomicUsize,
    max: usize,
}

#[derive(Debug)]
struct Shard<T> {
    /// The one that came back last is at the back, and goes out first.
    idle: VecDeque<T>,
    reused: u64,
}

/// What a holder of a permit is to do.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Use this one, which is now its own.
    Found(T),
    /// Make one, which is counted already.
    Make,
}

impl<T> Store<T> {
    pub(super) fn new(max: usize, shards: usize) -> Self {
        let shard = || {
            Padded(Mutex::new(Shard {
                idle: VecDeque::new(),
                reused: 0,
            }))
        };
        Self {
            permits: Counter::new(max as u64, &OPERATIONS),
            shards: (0..shards.max(1)).map(|_| shard()).collect(),
            count: AtomicUsize::new(0),
            max,
        }
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// Objects that exist, those that are being made included.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn idle(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).idle.len()).sum()
    }

    /// How often an idle object was used again.
    pub(super) fn reused(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).reused).sum()
    }

    /// An idle object, from the worker's own part if there is one; for the holder of a permit.
    pub(super) fn pop(&self, home: usize) -> Option<T> {
        let count = self.shards.len();
        (0..count).find_map(|step| {
            let mut shard = lock(&self.shards[(home + step) % count]);
            let found = shard.idle.pop_back();
            shard.reused += u64::from(found.is_some());
            found
        })
    }

    /// An idle object, or the right to make one; for the holder of a permit without an object.
    pub(super) fn pop_or_make(&self, home: usize) -> Next<T> {
        if let Some(found) = self.pop(home) {
            return Next::Found(found);
        }
        // One may have come into a part that was looked at already; only all locks together tell.
        let mut shards: Vec<_> = self.shards.iter().map(|shard| lock(shard)).collect();
        let found = shards.iter_mut().find_map(|shard| {
            let found = shard.idle.pop_back();
            shard.reused += u64::from(found.is_some());
            found
        });
        match found {
            Some(found) => Next::Found(found),
            None => {
                let before = self.count.fetch_add(1, Ordering::AcqRel);
                debug_assert!(before < self.max, "more objects than permits");
                Next::Make
            }
        }
    }

    /// The right to make an object although others may be idle; for the holder of a permit without an object.
    pub(super) fn try_make(&self) -> bool {
        let mut count = self.count.load(Ordering::Acquire);
        while count < self.max {
            match self.count.compare_exchange_weak(
                count,
                count + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(seen) => count = seen,
            }
        }
        false
    }

    /// Lays the permit's object among the idle ones.
    ///
    /// # Errors
    /// The object, which then is still counted, if the store is closed.
    pub(super) fn push(&self, home: usize, object: T) -> Result<(), T> {
        let mut shard = lock(&self.shards[home % self.shards.len()]);
        // `close` shuts the permits first and empties the shards after, each under its lock.
        if self.permits.is_closed() {
            return Err(object);
        }
        shard.idle.push_back(object);
        Ok(())
    }

    /// The permit's object exists no more; says whether none does.
    pub(super) fn uncount(&self) -> bool {
        self.count.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Takes out the idle objects that `is_due`, oldest return first; they count no more.
    pub(super) fn take_idle(&self, mut is_due: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = taken.len();
            for _ in 0..shard.idle.len() {
                let Some(object) = shard.idle.pop_front() else {
                    break;
                };
                if is_due(&object) {
                    taken.push(object);
                } else {
                    shard.idle.push_back(object);
                }
            }
            self.count.fetch_sub(taken.len() - before, Ordering::AcqRel);
        }
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Acquire(usize),
        Return(usize, usize),
        Discard(usize),
        Refill(usize),
        Reap(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3_usize).prop_map(Step::Acquire),
            3 => (0..6_usize, 0..3_usize).prop_map(|(at, home)| Step::Return(at, home)),
            1 => (0..6_usize).prop_map(Step::Discard),
            1 => (0..3_usize).prop_map(Step::Refill),
            1 => (0..5_u32).prop_map(Step::Reap),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn objects_are_idle_or_lent_and_never_more_than_the_most(steps in steps()) {
            const MAX: usize = 4;
            let store = Store::new(MAX, 3);
            let mut made = 0_u32;
            let mut lent: Vec<u32> = Vec::new();
            let mut idle: Vec<u32> = Vec::new();
            for step in steps {
                match step {
                    Step::Acquire(home) => {
                        let has_permit = store.permits.try_take(1, None).is_ok();
                        prop_assert_eq!(has_permit, lent.len() < MAX);
                        if has_permit {
                            match store.pop_or_make(home) {
                                Next::Found(object) => {
                                    idle.retain(|other| *other != object);
                                    lent.push(object);
                                }
                                Next::Make => {
                                    prop_assert!(idle.is_empty());
                                    made += 1;
                                    lent.push(made);
                                }
                            }
                        }
                    }
                    Step::Return(at, home) if at < lent.len() => {
                        let object = lent.swap_remove(at);
                        idle.push(object);
                        store.push(home, object).unwrap();
                        prop_assert!(store.permits.add(1, None));
                    }
                    Step::Discard(at) if at < lent.len() => {
                        lent.swap_remove(at);
                        store.uncount();
                        prop_assert!(store.permits.add(1, None));
                    }
                    Step::Refill(home) => {
                        if store.permits.try_take(1, None).is_ok() {
                            if store.try_make() {
                                made += 1;
                                idle.push(made);
                                store.push(home, made).unwrap();
                            } else {
                                prop_assert_eq!(idle.len() + lent.len(), MAX);
                            }
                            prop_assert!(store.permits.add(1, None));
                        }
                    }
                    Step::Reap(rest) => {
                        let gone = store.take_idle(|object| object % 5 == rest);
                        idle.retain(|object| !gone.contains(object));
                        prop_assert!(gone.iter().all(|object| object % 5 == rest));
                    }
                    Step::Return(..) | Step::Discard(_) => {}
                }
                prop_assert_eq!(store.count(), idle.len() + lent.len());
                prop_assert_eq!(store.idle(), idle.len());
                prop_assert!(store.count() <= MAX);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::semaphore::counter::Take;
    use crate::thread::wait;
    use loom::sync::Arc;
    use loom::thread;

    fn permit(store: &Store<usize>) {
        let mut take = Take::new(1);
        wait(|task| take.poll(&store.permits, task.waker())).unwrap();
    }

    fn use_one(store: &Store<usize>, home: usize) {
        permit(store);
        let object = match store.pop_or_make(home) {
            Next::Found(object) => object,
            Next::Make => home,
        };
        store.push(home, object).unwrap();
        assert!(store.permits.add(1, None));
    }

    fn check(store: &Store<usize>) {
        assert_eq!(store.count(), store.idle());
        assert!(store.count() <= store.max());
        assert_eq!(store.permits.available(), store.max() as u64);
    }

    #[test]
    fn loom_users_beside_each_other_never_make_more_than_the_most() {
        loom::model(|| {
            let store = Arc::new(Store::new(1, 2));
            let other = Arc::clone(&store);
            let user = thread::spawn(move || use_one(&other, 1));
            use_one(&store, 0);
            user.join().unwrap();
            assert_eq!(store.count(), 1, "the second finds what the first made");
            check(&store);
        });
    }

    #[test]
    fn loom_an_object_that_moves_behind_the_look_is_not_made_again() {
        loom::model(|| {
            let store = Arc::new(Store::new(2, 2));
            // One is idle in the second part, one is lent and comes back into the first.
            permit(&store);
            assert!(store.try_make());
            store.push(1, 1).unwrap();
            assert!(store.try_make());
            let other = Arc::clone(&store);
            let user = thread::spawn(move || {
                other.push(0, 0).unwrap();
                assert!(other.permits.add(1, None));
                permit(&other);
                let Next::Found(object) = other.pop_or_make(1) else {
                    panic!("two exist, and at most one is lent");
                };
                other.push(1, object).unwrap();
                assert!(other.permits.add(1, None));
            });
            use_one(&store, 0);
            user.join().unwrap();
            check(&store);
        });
    }

    #[test]
    fn loom_a_closed_store_keeps_nothing() {
        loom::model(|| {
            let store = Arc::new(Store::new(1, 1));
            permit(&store);
            assert!(store.try_make());
            let other = Arc::clone(&store);
            let user = thread::spawn(move || {
                if other.push(0, 7).is_err() {
                    other.uncount();
                }
            });
            store.permits.close();
            let _ = store.take_idle(|_| true);
            user.join().unwrap();
            assert_eq!((store.count(), store.idle()), (0, 0));
        });
    }
}

static OPERATIONS: Operations = Operations {
    wait: "pool.wait",
    grant: "pool.grant",
    give_back: "pool.give_back",
    leave: "pool.leave",
};
