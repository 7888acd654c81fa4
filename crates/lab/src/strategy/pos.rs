//! A priority for each step.
//!
//! What a poll will touch is known only when it is over, so a process is taken to touch next what it touched last: that is what it waits for.

use asupersync_trace::{ProcessKey, Step};

use super::Chooser;
use crate::keyed::KeyedMap;
use crate::seeds::mix;

#[derive(Default)]
struct Pending {
    /// Drawn when the process became runnable; 0 asks for a new one.
    priority: u64,
    /// The last step.
    last: Option<Step>,
}

pub(super) struct Pos {
    seed: u64,
    rng: fastrand::Rng,
    pending: KeyedMap<Pending>,
}

impl Pos {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed),
            pending: KeyedMap::default(),
        }
    }
}

impl Chooser for Pos {
    fn begin(&mut self, number: u64) -> bool {
        self.rng = fastrand::Rng::with_seed(mix(self.seed, number));
        self.pending.clear();
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        if runnable.len() == 1 {
            return Some(0);
        }
        let mut best = (0, 0);
        for (index, process) in runnable.iter().enumerate() {
            let pending = self.pending.entry(*process).or_default();
            if pending.priority == 0 {
                pending.priority = self.rng.u64(1..);
            }
            if pending.priority > best.0 {
                best = (pending.priority, index);
            }
        }
        Some(best.1)
    }

    fn ran(&mut self, step: &Step) {
        for (process, pending) in self.pending.iter_mut() {
            let conflicts = || {
                let last = pending.last.as_ref();
                last.is_some_and(|last| conflict(last, step))
            };
            if *process == step.process || conflicts() {
                pending.priority = 0;
            }
        }
        let own = self.pending.entry(step.process).or_default();
        own.last = Some(step.clone());
    }

    fn wants_steps(&self) -> bool {
        true
    }
}

/// Whether two steps touch something in common, and not both only to look.
fn conflict(one: &Step, other: &Step) -> bool {
    one.accesses.iter().any(|(object, mode)| {
        let same = other.accesses.iter().find(|(known, _)| known == object);
        same.is_some_and(|(_, known)| !mode.commutes_with(*known))
    })
}
