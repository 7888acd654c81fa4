//! What had to come before what in a run, and which runs are equivalent.
//!
//! Two runs are *equivalent* if neighbours that are not dependent can be swapped, one pair after another, until one run is the other.
//! Equivalent runs order their steps alike, so every step saw the same and every task ended the same.

use std::fmt;

use crate::step::{Object, Step};
use crate::trail::Trail;

mod foata;

pub use foata::{Canonical, StepLabel, canonical};

/// Happens-before of a run's steps, which stand for their indices in the run.
///
/// # Examples
/// ```
/// use asupersync_trace::{Mode, Object, Order, ProcessKey, Step, StepKind};
/// let write = |process, job| {
///     let mut step = Step::new(process, 0, StepKind::Job(job));
///     step.accesses.push((Object::Resource(7), Mode::Write));
///     step
/// };
/// let (a, b) = (ProcessKey::ROOT.child(0), ProcessKey::ROOT.child(1));
/// let order = Order::of(&[write(a, 0), write(b, 1)]);
/// assert!(order.before(0, 1));
/// assert_eq!(order.races().collect::<Vec<_>>(), [(0, 1)]);
/// ```
pub struct Order {
    trail: Trail,
}

impl Order {
    /// The order of these steps, which are a run from its beginning.
    ///
    /// Cost: for each step, its predecessors times the number of processes.
    #[must_use]
    pub fn of(steps: &[Step]) -> Self {
        let mut trail = Trail::ordered();
        for step in steps {
            trail.push(step);
        }
        Self { trail }
    }

    /// How many steps there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.trail.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether step `a` had to come before step `b`.
    ///
    /// Cost: one comparison.
    /// # Panics
    /// If there is no such step.
    #[must_use]
    pub fn before(&self, a: usize, b: usize) -> bool {
        self.trail.before(a, b)
    }

    /// The races, by their second step: dependent steps of two processes with nothing in between that could also have been taken the other way round.
    ///
    /// A step that alone made the other run, and the end of a child that the other waited for, are in no race with it.
    pub fn races(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.len()).flat_map(|second| {
            let adjacent = self.trail.adjacent(second).iter();
            let pairs = adjacent.map(move |first| (*first as usize, second));
            pairs.filter(|(first, second)| self.trail.is_reversible(*first, *second))
        })
    }

    /// An object on which two steps are dependent, if there is one.
    ///
    /// # Panics
    /// If there is no such step.
    #[must_use]
    pub fn conflict(&self, a: usize, b: usize) -> Option<Object> {
        let second = self.trail.accesses(b);
        let clash = self.trail.accesses(a).iter().find(|(object, mode)| {
            let same = second.iter().find(|(other, _)| other == object);
            same.is_some_and(|(_, other)| !mode.commutes_with(*other))
        });
        clash.map(|(object, _)| self.trail.object(*object))
    }

    /// The step and all that had to come before it, in the order of the run: its causal slice.
    ///
    /// # Panics
    /// If there is no such step.
    #[must_use]
    pub fn past_of(&self, step: usize) -> Vec<usize> {
        let earlier = (0..step).filter(|other| self.before(*other, step));
        earlier.chain([step]).collect()
    }

    /// The fingerprint of the run.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.trail.sum())
    }

    const fn trail(&self) -> &Trail {
        &self.trail
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Names a class of equivalent runs: equal for equivalent runs, and different for others but for the chance that two hashes of 64 bits are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fingerprint of a run from its beginning.
///
/// It hashes each step's process, ordinal and names of operations together with the hashes of its predecessors; numbers that depend on the schedule do not enter.
/// Cost: near-linear in the steps and their accesses.
/// # Examples
/// ```
/// use asupersync_trace::{Mode, Object, ProcessKey, Step, StepKind, fingerprint};
/// let step = |process, resource, mode| {
///     let mut step = Step::new(process, 0, StepKind::Job(0));
///     step.accesses.push((Object::Resource(resource), mode));
///     step
/// };
/// let (a, b) = (ProcessKey::ROOT.child(0), ProcessKey::ROOT.child(1));
/// let runs = |mode, second| {
///     let forth = [step(a, 1, mode), step(b, second, mode)];
///     let back = [step(b, 1, mode), step(a, second, mode)];
///     fingerprint(&forth) == fingerprint(&back)
/// };
/// assert!(runs(Mode::Write, 2), "two resources, numbered as they were used");
/// assert!(runs(Mode::Read, 1));
/// assert!(!runs(Mode::Write, 1));
/// ```
#[must_use]
pub fn fingerprint(steps: &[Step]) -> Fingerprint {
    let mut fingerprinter = Fingerprinter::new();
    for step in steps {
        fingerprinter.push(step);
    }
    fingerprinter.fingerprint()
}

/// Makes the fingerprint of a run while it goes on; it may be cleared, and keeps its memory for the next run.
pub struct Fingerprinter {
    trail: Trail,
}

impl Fingerprinter {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trail: Trail::linked(),
        }
    }

    /// Takes in the next step.
    pub fn push(&mut self, step: &Step) {
        self.trail.push(step);
    }

    /// The fingerprint of the steps so far.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.trail.sum())
    }

    /// Forgets the run.
    pub fn clear(&mut self) {
        self.trail.cut(0);
    }
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fingerprinter")
            .field(&self.fingerprint())
            .finish()
    }
}
