//! The normal form of a run: levels of steps that could be taken at once.

use std::fmt;

use asupersync_kernel::Name;

use super::Order;
use crate::step::{ProcessKey, Step};

/// A step without anything that depends on the schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepLabel {
    /// Who took it.
    pub process: ProcessKey,
    /// How many steps the process took before.
    pub ordinal: u32,
    /// The names of its operations.
    pub operations: Vec<Name>,
    /// A hash of the step with all that came before it.
    pub past: u64,
}

/// A run as levels of steps; equal for equivalent runs, and for no others.
///
/// A step stands one level above the highest of its predecessors, so the steps of a level are independent, and the number of levels is the length of the longest chain.
/// # Source
/// The normal form of Cartier and Foata (1969) for partially commutative monoids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Canonical {
    /// The levels, the lowest first; within a level by process and ordinal.
    pub levels: Vec<Vec<StepLabel>>,
}

impl Canonical {
    /// The first level in which two runs differ; `None` if they are equivalent.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<usize> {
        let length = self.levels.len().max(other.levels.len());
        (0..length).find(|level| self.levels.get(*level) != other.levels.get(*level))
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, level) in self.levels.iter().enumerate() {
            write!(f, "{number}:")?;
            for label in level {
                write!(f, " {label}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for StepLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.ordinal)?;
        if self.operations.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.operations.iter().map(Name::as_str).collect();
        write!(f, "({})", names.join(" "))
    }
}

/// The normal form of the run whose steps and order these are.
///
/// # Panics
/// If the order is of other steps.
/// # Examples
/// ```
/// use asupersync_trace::{Mode, Object, Order, ProcessKey, Step, StepKind, canonical};
/// let step = |child, mode| {
///     let mut step = Step::new(ProcessKey::ROOT.child(child), 0, StepKind::Job(0));
///     step.accesses.push((Object::Resource(0), mode));
///     step
/// };
/// let form = |steps: &[Step]| canonical(steps, &Order::of(steps));
/// let (read, look, write) = (step(0, Mode::Read), step(1, Mode::Read), step(2, Mode::Write));
/// let first = form(&[read.clone(), look.clone(), write.clone()]);
/// assert_eq!(first.levels.len(), 2);
/// assert_eq!(first, form(&[look.clone(), read.clone(), write.clone()]));
/// assert_ne!(first, form(&[look, write, read]));
/// ```
#[must_use]
pub fn canonical(steps: &[Step], order: &Order) -> Canonical {
    assert_eq!(steps.len(), order.len(), "the order is of these steps");
    let trail = order.trail();
    let mut level_of: Vec<usize> = Vec::with_capacity(steps.len());
    let mut levels: Vec<Vec<StepLabel>> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let below = trail.predecessors(index).iter();
        let level = below.map(|step| level_of[*step as usize] + 1).max();
        let level = level.unwrap_or(0);
        level_of.push(level);
        if level == levels.len() {
            levels.push(Vec::new());
        }
        levels[level].push(StepLabel {
            process: step.process,
            ordinal: step.ordinal,
            operations: step.operations.clone(),
            past: trail.hash(index),
        });
    }
    for level in &mut levels {
        level.sort_unstable_by_key(|label| (label.process, label.ordinal));
    }
    Canonical { levels }
}
