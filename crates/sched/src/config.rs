//! The scheduler's limits, and the bound that follows from them.

use std::time::Duration;

/// As many workers as one word of sleepers can name.
pub const WORKERS_MAX: usize = 64;

/// After so many dispatches from the ready lane, one may go to an old entry instead of the newest.
pub(crate) const READY_ROTATION: u32 = 8;
/// The turns of the rotation: one each for what is injected, the oldest of the ring and what is pinned, two for the slot and for those that yielded.
pub(crate) const READY_TURNS: u32 = 10;
/// What has waited for so many dispatches, in a place with two turns, is served in the next one; what came later is left to come by itself until the one after that.
pub(crate) const READY_PATIENCE: u32 = READY_ROTATION * READY_TURNS / 2;

/// With so many tasks that yielded, a worker leaves half of them to a searcher at once; fewer are served sooner than another could have them.
pub(crate) const YIELDED_CROWD: usize = 12;

/// How long a sentry sleeps: the worker that looks again for entries which were not worth a wake.
pub const SENTRY_INTERVAL: Duration = Duration::from_millis(1);

/// Which lane a task was dispatched from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneKind {
    /// Tasks under cancellation.
    Cancel,
    /// Tasks with a deadline.
    Timed,
    /// All other tasks.
    Ready,
}

/// The limits of a scheduler.
///
/// # Examples
/// ```
/// use asupersync_sched::{LaneKind, SchedConfig};
/// let config = SchedConfig::default();
/// assert_eq!(config.dispatch_bound(LaneKind::Cancel), 2);
/// assert_eq!(config.dispatch_bound(LaneKind::Timed), 34);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchedConfig {
    /// How many workers there are, 1..=[`WORKERS_MAX`].
    pub workers: usize,
    /// How many workers can run at the same time, at least 1.
    ///
    /// While as many are awake, a new entry wakes no other at once; instead one of those that sleep looks again within [`SENTRY_INTERVAL`].
    pub processors: usize,
    /// After so many dispatches from the cancel lane in a row, another lane has its turn.
    pub cancel_streak_limit: u32,
    /// After so many dispatches from the timed lane without one from the ready lane, that has its turn.
    pub timed_streak_limit: u32,
}

impl Default for SchedConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            processors: WORKERS_MAX,
            cancel_streak_limit: 16,
            timed_streak_limit: 16,
        }
    }
}

impl SchedConfig {
    /// After how many dispatches of one worker, at the latest, the entry at a lane's head is run.
    ///
    /// The head of the ready lane is its oldest entry in each of its five places.
    #[must_use]
    pub const fn dispatch_bound(&self, lane: LaneKind) -> u64 {
        let cancel = self.cancel_streak_limit as u64 + 1;
        let timed = self.timed_streak_limit as u64 + 1;
        match lane {
            // One dispatch of another lane may come between.
            LaneKind::Cancel => 2,
            // A cancel streak, a turn of the ready lane, a cancel streak, and then its own turn.
            LaneKind::Timed => 2 * cancel,
            // A full timed streak, each with a cancel streak before it, for every place of the rotation.
            LaneKind::Ready => cancel * timed * (READY_ROTATION * READY_TURNS) as u64,
        }
    }
}
