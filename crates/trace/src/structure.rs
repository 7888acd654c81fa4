//! The structure of a program at one moment, as its events tell it.
//!
//! # What is in it
//! Regions and tasks that live, what they owe, what they sleep until, and who waits for whom.
//! What has ended stands in it only while something that lives still names it, so that [`Structure::faults`] can tell.
//!
//! # Invariants
//! - It is a function of the events alone, so two runs of one schedule have the same at each step.
//! - Its text says all of it, in one way only; what is read is what was written.
//!
//! # Deliberately absent
//! What a future has captured: only the program itself can run to where it was.

use std::collections::BTreeMap;

use asupersync_core::{
    CancelKind, CancelStage, ObligationId, ObligationKind, RegionId, Severity, TaskId, Time,
};
use asupersync_kernel::Subject;

use crate::record::TraceEvent;

mod check;
mod fold;
mod text;
mod tree;

pub use check::Fault;
pub use text::StructureError;

use fold::Fold;

/// Regions, tasks, obligations, timers and waits at one moment.
///
/// Shown as text it is a tree, for people.
/// # Examples
/// ```
/// use asupersync_core::{RegionId, TaskId, Time};
/// use asupersync_kernel::Event;
/// use asupersync_trace::{Structure, TraceEvent};
///
/// let region = RegionId::new(0);
/// let task = TaskId::new(region, 0);
/// let (site, line) = ("src/main.rs".into(), 7);
/// let events = [
///     Event::RegionOpened { region, parent: None },
///     Event::TaskSpawned { task, pinned: false, site, line },
/// ];
/// let events = events.map(|event| TraceEvent { at: Time::ZERO, step: 0, event });
/// let structure = Structure::after(&events);
/// assert_eq!(structure.faults(), []);
/// assert_eq!(structure.to_string(), "R0 open\n  T0.0 main.rs:7, runnable\n");
/// assert_eq!(Structure::from_text(&structure.to_text()), Ok(structure));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Structure {
    /// How many steps had begun.
    pub step: u64,
    /// The time.
    pub now: Time,
    /// The regions.
    pub regions: BTreeMap<RegionId, RegionState>,
    /// The tasks, and the fibers that something names.
    pub tasks: BTreeMap<TaskId, TaskState>,
    /// What is owed.
    pub obligations: BTreeMap<ObligationId, Owing>,
    /// The sleeps that stand, the earliest first.
    pub timers: Vec<Timer>,
    /// Who waits for what.
    pub waits: Vec<Waiting>,
}

/// A region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegionState {
    /// Who opened it, or the heir that closes it; the root region has none.
    pub parent: Option<Subject>,
    /// How far its close protocol is.
    pub phase: RegionPhase,
    /// Whether it was asked to stop.
    pub asked: Option<Asking>,
    /// Its own deadline, if it has one.
    pub deadline: Option<Time>,
    /// Whether its future was dropped, so that an heir closes it.
    pub is_abandoned: bool,
}

/// How far the close protocol of a region is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RegionPhase {
    /// Its body runs.
    Open,
    /// Its body has ended, and what lives in it goes on.
    Closing,
    /// Its finalizers run.
    Finalizing,
    /// It is closed.
    Closed,
}

/// A request to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asking {
    /// Why.
    pub kind: CancelKind,
    /// How far it has gone.
    pub stage: CancelStage,
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskState {
    /// The name given at spawn.
    pub name: Option<String>,
    /// The file in which it was spawned, or what made it; empty if nobody told.
    pub site: String,
    /// The line there, or 0.
    pub line: u32,
    /// Whether it can go on.
    pub run: RunState,
    /// Whether it was asked to stop.
    pub asked: Option<Asking>,
    /// Its own deadline, if it has one.
    pub deadline: Option<Time>,
    /// Whether it is a fiber, which its region's body polls.
    pub is_fiber: bool,
}

/// Whether a task can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    /// It stands in a queue.
    Runnable,
    /// Something must wake it.
    Waiting,
    /// It has ended.
    Ended(Severity),
}

/// An open obligation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owing {
    /// Who owes it.
    pub holder: Subject,
    /// What is owed.
    pub kind: ObligationKind,
}

/// A sleep.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timer {
    /// When it ends.
    pub at: Time,
    /// In whose poll it was set.
    pub task: TaskId,
}

/// An edge of the graph of waits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Waiting {
    /// Who waits: a task, or the body of a region.
    pub waiter: Subject,
    /// For what.
    pub on: WaitsFor,
}

/// What is waited for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WaitsFor {
    /// A task's end.
    ///
    /// A join that was given up without another look stands until either has ended.
    Task(TaskId),
    /// What lives in a region whose body has ended.
    Region(RegionId),
    /// A channel, a lock or a counter.
    Resource {
        /// Its number.
        resource: u64,
        /// What it is: `mutex`, `mpsc`.
        kind: String,
        /// Who holds it, if it is held.
        holder: Option<Subject>,
    },
}

impl Structure {
    /// The structure after these events, from the first of a run on.
    #[must_use]
    pub fn after(events: &[TraceEvent]) -> Self {
        let mut fold = Fold::default();
        for traced in events {
            fold.see(traced);
        }
        fold.finish()
    }
}

impl RunState {
    /// Whether it has ended.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }
}
