//! What the workers of a scheduler share.

use std::sync::Arc;

use asupersync_core::Time;

use crate::config::{SchedConfig, WORKERS_MAX};
use crate::idle::Idle;
use crate::injector::Injector;
use crate::lanes::Lanes;
use crate::primitive::{AtomicU32, Ordering};
use crate::ring::{self, Entry, Owner, Thief};
use crate::worker::Worker;

/// The side of a scheduler that any thread may push into.
pub struct Shared<T: Entry> {
    pub(crate) config: SchedConfig,
    pub(crate) injector: Injector<T>,
    pub(crate) remotes: Vec<Remote<T>>,
    pub(crate) idle: Idle,
    turn: AtomicU32,
}

/// A worker, as others see it.
pub(crate) struct Remote<T: Entry> {
    /// The other end of its ring; a lone worker has no thieves.
    pub(crate) thief: Option<Thief<T>>,
    pub(crate) lanes: Arc<Lanes<T>>,
}

impl<T: Entry> Shared<T> {
    /// A scheduler with its workers, which are handed to one thread each.
    ///
    /// # Panics
    /// If the number of workers is not in 1..=[`WORKERS_MAX`], there is no processor, or a streak limit is 0.
    #[must_use]
    pub fn new(config: SchedConfig) -> (Arc<Self>, Vec<Worker<T>>) {
        assert!(
            (1..=WORKERS_MAX).contains(&config.workers),
            "a scheduler has 1 to {WORKERS_MAX} workers, not {}",
            config.workers
        );
        assert!(config.processors > 0, "a worker needs a processor");
        assert!(
            config.cancel_streak_limit > 0 && config.timed_streak_limit > 0,
            "a lane with a streak limit of 0 would never run"
        );
        let (rings, thieves): (Vec<_>, Vec<_>) = if config.workers == 1 {
            (vec![ring::alone()], vec![None])
        } else {
            let rings = (0..config.workers).map(|_| ring::shared());
            rings.map(|(owner, thief)| (owner, Some(thief))).unzip()
        };
        let remotes = thieves.into_iter().map(|thief| Remote {
            thief,
            lanes: Arc::new(Lanes::new()),
        });
        let shared = Arc::new(Self {
            config,
            injector: Injector::new(),
            remotes: remotes.collect(),
            idle: Idle::new(config.workers, config.processors),
            turn: AtomicU32::new(0),
        });
        let workers = rings
            .into_iter()
            .enumerate()
            .map(|(index, ring)| Worker::new(Arc::clone(&shared), index, ring))
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
        self.idle.claim(worker)
    }

    /// Puts an entry into the cancel lane of one worker, for that worker alone; gives the worker if it sleeps.
    #[must_use = "the worker sleeps until it is woken"]
    pub fn pin_cancel(&self, worker: usize, entry: T) -> Option<usize> {
        self.remotes[worker].lanes.push_cancel(entry, true);
        self.idle.claim(worker)
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
        self.idle.claim(worker)
    }

    /// The limits.
    #[must_use]
    pub const fn config(&self) -> &SchedConfig {
        &self.config
    }

    pub(crate) fn wake_for(&self, worker: usize) -> Option<usize> {
        self.idle.claim(worker).or_else(|| self.idle.claim_any())
    }

    /// Whether `worker` would find something if it looked.
    pub(crate) fn has_work_for(&self, worker: usize) -> bool {
        let mut others = self.idle.others_awake(worker);
        !self.remotes[worker].lanes.is_empty()
            || !self.injector.is_empty()
            || others.any(|other| self.remotes[other].has_stealable())
    }

    /// Whether something waits that waited as long ago as `seen`, and whoever has it has not moved since; `seen` is of this moment afterwards.
    ///
    /// A worker that runs tasks moves its ring as long as there is something in it.
    pub(crate) fn is_stalled(&self, seen: &mut Vec<Seen>) -> bool {
        let injected = Seen {
            waits: !self.injector.is_empty(),
            ends: (0, 0),
        };
        seen.resize(self.remotes.len() + 1, Seen::default());
        let now = self.remotes.iter().map(Remote::seen).chain([injected]);
        let mut is_stalled = false;
        for (before, now) in seen.iter_mut().zip(now) {
            is_stalled |= now.waits && *before == now;
            *before = now;
        }
        is_stalled
    }

    /// Takes something from the injector or from another worker; what comes along goes into `own`.
    pub(crate) fn steal_for(
        &self,
        worker: usize,
        own: &Owner<T>,
        moving: &mut Vec<T>,
    ) -> Option<T> {
        let count = self.remotes.len();
        if let Some(entry) = self.injector.pop_batch(count, |entry| moving.push(entry)) {
            self.keep_all(own, moving);
            return Some(entry);
        }
        for other in self.idle.others_awake(worker) {
            let victim = &self.remotes[other];
            let urgent = victim.lanes.steal(&self.remotes[worker].lanes, moving);
            let stolen = urgent.or_else(|| {
                let thief = victim.thief.as_ref()?;
                thief.steal(|entry| self.keep(own, entry))
            });
            if stolen.is_some() {
                return stolen;
            }
        }
        None
    }

    /// Puts an entry into a worker's ring, or into the injector if that is full.
    #[inline]
    pub(crate) fn keep(&self, own: &Owner<T>, entry: T) {
        if let Err(entry) = own.push(entry) {
            self.injector.push(entry);
        }
    }

    /// As [`keep`](Self::keep), so that the oldest is taken first.
    fn keep_all(&self, own: &Owner<T>, moving: &mut Vec<T>) {
        for entry in moving.drain(..).rev() {
            self.keep(own, entry);
        }
    }

    fn next_worker(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed) as usize % self.remotes.len()
    }
}

/// What a worker's queues, or the injector, looked like at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// Whether a thief would have found something.
    waits: bool,
    /// How far the ring had come, if there is one.
    ends: (usize, usize),
}

impl<T: Entry> Remote<T> {
    fn seen(&self) -> Seen {
        Seen {
            waits: self.has_stealable(),
            ends: self.thief.as_ref().map_or((0, 0), Thief::ends),
        }
    }

    /// Whether a thief would find something.
    fn has_stealable(&self) -> bool {
        let ring = self.thief.as_ref();
        ring.is_some_and(|thief| !thief.is_empty()) || self.lanes.has_stealable()
    }
}
