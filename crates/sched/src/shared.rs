//! What the workers of a scheduler share.

use std::sync::Arc;

use asupersync_core::Time;
use crossbeam_deque::{Injector, Steal, Stealer};

use crate::config::{SchedConfig, WORKERS_MAX};
use crate::idle::Idle;
use crate::lanes::Lanes;
use crate::primitive::{AtomicU32, Ordering};
use crate::worker::Worker;

/// The side of a scheduler that any thread may push into.
pub struct Shared<T> {
    pub(crate) config: SchedConfig,
    pub(crate) injector: Injector<T>,
    pub(crate) remotes: Vec<Remote<T>>,
    pub(crate) idle: Idle,
    turn: AtomicU32,
}

/// A worker, as others see it.
pub(crate) struct Remote<T> {
    pub(crate) stealer: Stealer<T>,
    pub(crate) lanes: Lanes<T>,
}

impl<T> Shared<T> {
    /// A scheduler with its workers, which are handed to one thread each.
    ///
    /// # Panics
    /// If the number of workers is not in 1..=[`WORKERS_MAX`], or a streak limit is 0.
    #[must_use]
    pub fn new(config: SchedConfig) -> (Arc<Self>, Vec<Worker<T>>) {
        assert!(
            (1..=WORKERS_MAX).contains(&config.workers),
            "a scheduler has 1 to {WORKERS_MAX} workers, not {}",
            config.workers
        );
        assert!(
            config.cancel_streak_limit > 0 && config.timed_streak_limit > 0,
            "a lane with a streak limit of 0 would never run"
        );
        let deques: Vec<_> = (0..config.workers)
            .map(|_| crossbeam_deque::Worker::new_lifo())
            .collect();
        let remotes = deques
            .iter()
            .map(|deque| Remote {
                stealer: deque.stealer(),
                lanes: Lanes::new(),
            })
            .collect();
        let shared = Arc::new(Self {
            config,
            injector: Injector::new(),
            remotes,
            idle: Idle::new(),
            turn: AtomicU32::new(0),
        });
        let workers = deques
            .into_iter()
            .enumerate()
            .map(|(index, deque)| Worker::new(Arc::clone(&shared), index, deque))
            .collect();
        (shared, workers)
    }

    /// Puts an entry into the ready lane, from any thread; gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn inject(&self, entry: T) -> Option<usize> {
        self.injector.push(entry);
        self.idle.claim_any()
    }

    /// Puts an entry into a cancel lane, from any thread; gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn inject_cancel(&self, entry: T) -> Option<usize> {
        let worker = self.next_worker();
        self.remotes[worker].lanes.push_cancel(entry, false);
        self.wake_for(worker)
    }

    /// As [`inject_cancel`](Self::inject_cancel) for each entry, but into one lane and with one worker to wake, who lets others take some.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn inject_cancelled(&self, entries: impl IntoIterator<Item = T>) -> Option<usize> {
        let worker = self.next_worker();
        self.remotes[worker].lanes.push_cancelled(entries);
        self.wake_for(worker)
    }

    /// Puts an entry into a timed lane, from any thread; gives the worker to wake.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn inject_timed(&self, entry: T, deadline: Time, priority: u8) -> Option<usize> {
        let worker = self.next_worker();
        self.remotes[worker]
            .lanes
            .push_timed(entry, deadline, priority, false);
        self.wake_for(worker)
    }

    /// Puts an entry into the ready lane of one worker, for that worker alone; gives the worker if it sleeps.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn pin(&self, worker: usize, entry: T) -> Option<usize> {
        self.remotes[worker].lanes.push_pinned(entry);
        self.idle.claim(worker).then_some(worker)
    }

    /// Puts an entry into the cancel lane of one worker, for that worker alone; gives the worker if it sleeps.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn pin_cancel(&self, worker: usize, entry: T) -> Option<usize> {
        self.remotes[worker].lanes.push_cancel(entry, true);
        self.idle.claim(worker).then_some(worker)
    }

    /// Puts an entry into the timed lane of one worker, for that worker alone; gives the worker if it sleeps.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn pin_timed(
        &self,
        worker: usize,
        entry: T,
        deadline: Time,
        priority: u8,
    ) -> Option<usize> {
        self.remotes[worker]
            .lanes
            .push_timed(entry, deadline, priority, true);
        self.idle.claim(worker).then_some(worker)
    }

    /// Claims a given worker for waking; false if it does not sleep.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn claim(&self, worker: usize) -> bool {
        self.idle.claim(worker)
    }

    /// The limits.
    #[must_use]
    pub const fn config(&self) -> &SchedConfig {
        &self.config
    }

    pub(crate) fn wake_for(&self, worker: usize) -> Option<usize> {
        if self.idle.claim(worker) {
            Some(worker)
        } else {
            self.idle.claim_any()
        }
    }

    /// Whether `worker` would find something if it looked.
    pub(crate) fn has_work_for(&self, worker: usize) -> bool {
        !self.remotes[worker].lanes.is_empty()
            || !self.injector.is_empty()
            || self
                .remotes
                .iter()
                .any(|remote| !remote.stealer.is_empty() || remote.lanes.has_stealable())
    }

    /// Takes something from the injector or from another worker; what comes along goes into `deque`.
    pub(crate) fn steal_for(
        &self,
        worker: usize,
        deque: &crossbeam_deque::Worker<T>,
        moving: &mut Vec<T>,
    ) -> Option<T> {
        if let Some(entry) = retry(|| self.injector.steal_batch_and_pop(deque)) {
            return Some(entry);
        }
        let count = self.remotes.len();
        for step in 1..count {
            let victim = &self.remotes[(worker + step) % count];
            let stolen = victim
                .lanes
                .steal(&self.remotes[worker].lanes, moving)
                .or_else(|| retry(|| victim.stealer.steal_batch_and_pop(deque)));
            if stolen.is_some() {
                return stolen;
            }
        }
        None
    }

    fn next_worker(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed) as usize % self.remotes.len()
    }
}

/// Repeats a steal that lost a race; each repetition means that somebody else got an entry.
pub(crate) fn retry<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(entry) => return Some(entry),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}
