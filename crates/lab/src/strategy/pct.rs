//! Priorities with a few changes.

use asupersync_trace::ProcessKey;

use super::Chooser;
use crate::keyed::KeyedMap;
use crate::seeds::mix;

pub(super) struct Pct {
    seed: u64,
    depth: u32,
    rng: fastrand::Rng,
    priorities: KeyedMap<u64>,
    /// The steps at which who runs loses its priority, the next one last.
    changes: Vec<u64>,
    /// The steps of this run that had a choice.
    steps: u64,
    /// The steps of the longest run so far.
    longest: u64,
    /// The lowest priority given away; each change takes one below.
    lowest: u64,
    /// Who ran last, and for how many steps on end.
    streak: (ProcessKey, u32),
}

impl Pct {
    pub(super) fn new(seed: u64, depth: u32) -> Self {
        Self {
            seed,
            depth: depth.max(1),
            rng: fastrand::Rng::with_seed(seed),
            priorities: KeyedMap::default(),
            changes: Vec::new(),
            steps: 0,
            longest: STEPS_FIRST,
            lowest: LOWERED_MAX,
            streak: (ProcessKey::ROOT, 0),
        }
    }

    fn lower(&mut self, process: ProcessKey) {
        self.lowest = self.lowest.saturating_sub(1);
        self.priorities.insert(process, self.lowest);
    }
}

impl Chooser for Pct {
    fn begin(&mut self, number: u64) -> bool {
        self.rng = fastrand::Rng::with_seed(mix(self.seed, number));
        self.priorities.clear();
        self.steps = 0;
        self.lowest = LOWERED_MAX;
        self.streak = (ProcessKey::ROOT, 0);
        self.changes.clear();
        for _ in 1..self.depth {
            self.changes.push(self.rng.u64(..self.longest.max(1)));
        }
        self.changes.sort_unstable_by(|one, other| other.cmp(one));
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        if runnable.len() == 1 {
            return Some(0);
        }
        let mut best = (0, 0);
        for (index, process) in runnable.iter().enumerate() {
            let fresh = || self.rng.u64(LOWERED_MAX + 1..);
            let priority = *self.priorities.entry(*process).or_insert_with(fresh);
            if priority >= best.0 {
                best = (priority, index);
            }
        }
        let process = runnable[best.1];
        self.streak = if self.streak.0 == process {
            (process, self.streak.1 + 1)
        } else {
            (process, 1)
        };
        let mut changes = false;
        while self.changes.last().is_some_and(|at| *at <= self.steps) {
            self.changes.pop();
            changes = true;
        }
        self.steps += 1;
        // Who only yields until another has done something would otherwise keep that other from doing it for ever.
        if changes || self.streak.1 >= STREAK_MAX {
            self.streak.1 = 0;
            self.lower(process);
        }
        Some(best.1)
    }

    fn end(&mut self) {
        self.longest = self.longest.max(self.steps).min(STEPS_MAX);
        if self.longest == STEPS_FIRST && self.steps > 0 {
            self.longest = self.steps;
        }
    }
}

/// How long a run is thought to be before one was seen.
const STEPS_FIRST: u64 = 32;
/// Changes are spread over no more steps than this.
const STEPS_MAX: u64 = 1 << 20;
/// Priorities up to this are those of processes that lost their own.
const LOWERED_MAX: u64 = 1 << 32;
/// So many steps on end, while others could run, cost a process its priority.
const STREAK_MAX: u32 = 200;
