//! Steps: what a schedule orders, and what each of them touches.
//!
//! A *step* is one poll of a task, one job, or one advance of the clock; what comes before the first of them is the start.
//! A *process* takes steps: a task, a job, the clock, the start.
//! Two steps are *dependent* if one process takes them, if they access one object in modes that do not commute, or if one of them is the clock's; wakes and spawns are accesses to what is woken.
//!
//! # Invariants
//! - A process, and every object but a resource, has a key that no schedule changes: who made it, and how many its maker had made before.
//! - A resource has the number that the host gave it at its first use, which tells it from others within one run only.
//! - A step accesses an object at most once, in the mode that stands for all that it did there.

use std::fmt;
use std::ops::Range;

use asupersync_core::TaskId;
use asupersync_kernel::Name;

use crate::hash;

/// Names a process in every run of a program: by who spawned it, and how many that one had spawned before.
///
/// # Examples
/// ```
/// use asupersync_trace::ProcessKey;
/// let (first, second) = (ProcessKey::ROOT.child(0), ProcessKey::ROOT.child(1));
/// assert_ne!(first, second);
/// assert_eq!(first, ProcessKey::ROOT.child(0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey(u64);

impl ProcessKey {
    /// What happens before the first poll.
    pub const START: Self = Self(1);
    /// The root body's task.
    pub const ROOT: Self = Self(2);
    /// The clock.
    pub const CLOCK: Self = Self(3);

    /// What this process spawned after `index` others, tasks and jobs together.
    #[must_use]
    pub const fn child(self, index: u32) -> Self {
        Self(self.owned(Kind::Process, index as u64))
    }

    /// The key of something that this process made after `index` others of its kind.
    pub(crate) const fn owned(self, kind: Kind, index: u64) -> u64 {
        hash::pair(hash::pair(self.0, kind as u64), index)
    }

    /// The key as a number.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    pub(crate) const fn of_word(word: u64) -> Self {
        Self(word)
    }
}

/// What a key is made for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Process,
    Region,
    Obligation,
    Fiber,
    Unknown,
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::START => f.write_str("start"),
            Self::ROOT => f.write_str("root"),
            Self::CLOCK => f.write_str("clock"),
            Self(key) => write!(f, "{:08x}", key >> 32),
        }
    }
}

impl fmt::Debug for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that steps share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Object {
    /// A channel, lock or socket: its number in this run.
    Resource(u64),
    /// Whether a task was asked to stop.
    Cancel(ProcessKey),
    /// Whether a task or a job wants to run.
    Wake(ProcessKey),
    /// Whether a task or a fiber has ended.
    End(ProcessKey),
    /// What lives in a region, and how far its closing is.
    Region(u64),
    /// Whether a region has taken the ends of its children.
    Closed(u64),
    /// Whether an obligation is settled.
    Obligation(u64),
    /// What a task, a fiber or a region owes.
    Account(u64),
}

/// What a step does with an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// It looks: two reads commute.
    Read,
    /// It adds to what does not tell the order of additions: two of these commute.
    Add,
    /// It changes what others find.
    Write,
}

impl Mode {
    /// Whether two steps that access one object in these modes give the same in either order.
    #[must_use]
    pub const fn commutes_with(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Read, Self::Read) | (Self::Add, Self::Add)
        )
    }

    /// The mode of a step that does both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        if self.commutes_with(other) {
            self
        } else {
            Self::Write
        }
    }
}

/// Which kind of step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StepKind {
    /// What comes before the first poll.
    Start,
    /// One poll of a task.
    Task(TaskId),
    /// A job: its number in this run.
    Job(u64),
    /// The clock went on, and what was due then was woken.
    Clock,
}

impl StepKind {
    /// Whether every other step comes before or after: nobody chooses to take such a step.
    #[must_use]
    pub const fn is_barrier(self) -> bool {
        matches!(self, Self::Start | Self::Clock)
    }
}

/// One of the steps that asked for another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// Which step: its index in the run.
    pub step: usize,
    /// The closing region of which a child had ended there before the wake, so that the wake may have been for the last.
    pub by_end_in: Option<Object>,
}

/// A step of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Who takes it.
    pub process: ProcessKey,
    /// How many steps the process took before.
    pub ordinal: u32,
    /// Which kind of step.
    pub kind: StepKind,
    /// Where its events stand in the trace.
    pub events: Range<usize>,
    /// The names of its operations on resources, in order.
    pub operations: Vec<Name>,
    /// What it accesses, in the order of the first touch, each object once.
    pub accesses: Vec<(Object, Mode)>,
    /// Who asked for it since the process's step before; the spawn is the first wake of a process.
    pub wakes: Vec<Wake>,
    /// The closing regions of which a child, or a job, ended here.
    pub ended_in: Vec<Object>,
    /// The regions that went on with their closing here, after they had waited for every child.
    pub waited_for: Vec<Object>,
}

impl Step {
    /// A step that touches nothing.
    #[must_use]
    pub const fn new(process: ProcessKey, ordinal: u32, kind: StepKind) -> Self {
        Self {
            process,
            ordinal,
            kind,
            events: 0..0,
            operations: Vec::new(),
            accesses: Vec::new(),
            wakes: Vec::new(),
            ended_in: Vec::new(),
            waited_for: Vec::new(),
        }
    }

    /// Hashes who took the step and what operations it did, and nothing that depends on the schedule.
    pub(crate) fn label(&self) -> u64 {
        let who = hash::pair(self.process.word(), u64::from(self.ordinal));
        let operations = self.operations.iter();
        operations.fold(who, |label, name| hash::pair(label, hash::text(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commute_and_additions_commute_and_no_other_pair() {
        for first in [Mode::Read, Mode::Add, Mode::Write] {
            for second in [Mode::Read, Mode::Add, Mode::Write] {
                let same = first == second && first != Mode::Write;
                assert_eq!(first.commutes_with(second), same);
                assert_eq!(first.and(second), second.and(first));
                assert_eq!(first.and(second) == Mode::Write, !same);
            }
        }
    }

    #[test]
    fn keys_tell_makers_kinds_and_places_apart() {
        let mut keys: Vec<u64> = [ProcessKey::ROOT, ProcessKey::ROOT.child(0)]
            .iter()
            .flat_map(|key| {
                let kinds = [Kind::Process, Kind::Region, Kind::Obligation, Kind::Fiber];
                kinds.map(|kind| [key.owned(kind, 0), key.owned(kind, 1)])
            })
            .flatten()
            .collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
