//! Chances by how much is left to do.
//!
//! A walk that picks each runnable process with the same chance favours interleavings in which short processes come early.
//! Weighted by the steps that are left, each interleaving of the same steps is as likely as any other.
//! How many steps there are is learnt from the runs before; what a process will spawn counts as its own until it is spawned.

use asupersync_trace::ProcessKey;

use super::Chooser;
use crate::keyed::KeyedMap;
use crate::seeds::mix;

pub(super) struct Urw {
    seed: u64,
    rng: fastrand::Rng,
    /// The steps of each process and of what it spawned, over the runs in which it was seen.
    learnt: KeyedMap<Mean>,
    /// The processes of this run.
    seen: KeyedMap<Seen>,
    /// In the order of their spawns, parents first.
    order: Vec<ProcessKey>,
    /// Who took the last step, and so spawned whoever is new.
    last: ProcessKey,
    weights: Vec<f64>,
}

#[derive(Default)]
struct Mean {
    sum: f64,
    runs: f64,
}

struct Seen {
    parent: ProcessKey,
    taken: f64,
    /// What is expected of it alone: of it and its offspring, less what its offspring that was spawned is expected to take.
    expected: f64,
    /// Its steps and those of its offspring; summed up at the end.
    total: f64,
}

impl Urw {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed),
            learnt: KeyedMap::default(),
            seen: KeyedMap::default(),
            order: Vec::new(),
            last: ProcessKey::START,
            weights: Vec::new(),
        }
    }

    fn meet(&mut self, process: ProcessKey) {
        let mean = self.learnt.get(&process);
        let expected = mean.map_or(1.0, |mean| mean.sum / mean.runs);
        let seen = Seen {
            parent: self.last,
            taken: 0.0,
            expected,
            total: 0.0,
        };
        self.seen.insert(process, seen);
        self.order.push(process);
        if let Some(parent) = self.seen.get_mut(&self.last) {
            parent.expected -= expected;
        }
    }

    fn weigh(&mut self, runnable: &[ProcessKey]) {
        self.weights.clear();
        for process in runnable {
            if !self.seen.contains_key(process) {
                self.meet(*process);
            }
            let seen = &self.seen[process];
            self.weights.push((seen.expected - seen.taken).max(1.0));
        }
    }
}

impl Chooser for Urw {
    fn begin(&mut self, number: u64) -> bool {
        self.rng = fastrand::Rng::with_seed(mix(self.seed, number));
        self.seen.clear();
        self.order.clear();
        self.last = ProcessKey::START;
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        self.weigh(runnable);
        let mut index = 0;
        if runnable.len() > 1 {
            let mut point = self.rng.f64() * self.weights.iter().sum::<f64>();
            let found = self.weights.iter().position(|weight| {
                point -= weight;
                point < 0.0
            });
            index = found.unwrap_or(runnable.len() - 1);
        }
        self.last = runnable[index];
        if let Some(seen) = self.seen.get_mut(&self.last) {
            seen.taken += 1.0;
        }
        Some(index)
    }

    fn end(&mut self) {
        for process in self.order.iter().rev() {
            let Some(seen) = self.seen.get_mut(process) else {
                continue;
            };
            seen.total += seen.taken;
            let (parent, total) = (seen.parent, seen.total);
            if let Some(parent) = self.seen.get_mut(&parent) {
                parent.total += total;
            }
            let mean = self.learnt.entry(*process).or_default();
            mean.sum += total;
            mean.runs += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of two processes of unlike length goes first, once lengths are known.
    #[test]
    fn a_long_process_goes_first_as_often_as_its_length_tells() {
        let (long, short) = (ProcessKey::ROOT.child(0), ProcessKey::ROOT.child(1));
        let mut urw = Urw::new(7);
        let mut first = 0;
        for number in 0..3_000 {
            urw.begin(number);
            let mut left = [(long, 9), (short, 1)];
            let mut is_first = true;
            while left.iter().any(|(_, left)| *left > 0) {
                let some = left.iter().filter(|(_, left)| *left > 0);
                let runnable: Vec<_> = some.map(|(process, _)| *process).collect();
                let index = urw.choose(&runnable).expect("it never gives up");
                let process = runnable[index];
                if is_first && number >= 1_000 && process == short {
                    first += 1;
                }
                is_first = false;
                let taken = left.iter_mut().find(|(known, _)| *known == process);
                taken.expect("it is one of the two").1 -= 1;
            }
            urw.end();
        }
        // One interleaving of ten begins with the short one.
        assert!((150..250).contains(&first), "{first} of 2000");
    }
}
