//! Which schedules are still to be run, so that each class of equivalent runs is run once.
//!
//! The search is driven from outside and keeps no state of the program: for each execution the program starts anew, is asked at every step who could run, is told who does, and tells what that step accessed.
//! When an execution is over, each of its races is planned the other way round, at the place where the first of the two steps was taken, unless what would follow was explored before.
//!
//! # States of a node
//! A node stands for the state before a step.
//! Some processes are *asleep* there: whatever begins with their next step was explored; they wake when a step is taken that is not known to commute with theirs.
//! A *wakeup tree* holds what is to be taken from there later: processes, in order.
//!
//! # How resources are told apart
//! A resource has the number of its first use, so numbers of two executions cannot be compared; see [`naming`].
//! Names that are taken for different resources and turn out to be one make the search begin anew, knowing better.
//!
//! # Invariants
//! - The nodes are those of one execution, one more than steps; memory is bounded by their number times the branches planned at each, and by the names of resources.
//! - Every class of equivalent runs is met.
//! - What a reversed step will access is not known before it is taken, so a plan that may be explored already is explored as if nobody slept; a class may then be met more than once.
//! - A prefix that is run again gives the same steps; if not, that is told, and nothing is concluded from it.
//!
//! # Deliberately absent
//! Bounds on depth or preemptions: the host ends an execution when it wants, and its races are planned all the same.
//!
//! # Source
//! Optimal dynamic partial-order reduction with source sets and wakeup trees: Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction", J. ACM 64(4), 2017, algorithm 2.

use std::fmt;
use std::sync::Arc;

use crate::hash;
use crate::step::{Mode, Object, ProcessKey, Step};
use crate::trail::Trail;

mod estimate;
mod naming;
mod wakeup;

pub use estimate::Estimate;

use estimate::Sample;
use naming::{Naming, Touched};
use wakeup::{Branch, Event, GoesFirst};

/// A search through all classes of a program's runs.
///
/// # Examples
/// Two jobs that write one variable can run in two orders.
/// ```
/// use asupersync_trace::{Dpor, Mode, Object, Pick, ProcessKey, Step, StepKind};
/// let mut dpor = Dpor::new();
/// while dpor.begin() {
///     let mut runnable = vec![ProcessKey::ROOT.child(0), ProcessKey::ROOT.child(1)];
///     while !runnable.is_empty() {
///         let Pick::Run(index) = dpor.choose(&runnable) else { break };
///         let mut step = Step::new(runnable.remove(index), 0, StepKind::Job(0));
///         step.accesses.push((Object::Resource(0), Mode::Write));
///         dpor.ran(&step);
///     }
///     dpor.end();
/// }
/// assert_eq!((dpor.executions(), dpor.redundant()), (2, 0));
/// ```
pub struct Dpor {
    trail: Trail,
    naming: Naming,
    /// Of the state before each step of the trail, and of the state after the last.
    nodes: Vec<Node>,
    /// How many steps of this execution were taken.
    depth: usize,
    /// How many steps of this execution were taken before.
    known: usize,
    status: Status,
    executions: u64,
    redundant: u64,
    restarts: u64,
    sample: Sample,
    mismatch: Option<Mismatch>,
}

/// Who goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// The process with this index among the runnable.
    Run(usize),
    /// Whatever goes on from here was explored, or cannot be: the execution is to be given up.
    Redundant,
}

/// A prefix that was run again and gave something else: the program shares state that its events do not tell of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "step {step}, by process {process}, {what}: the program depends on something that is not recorded"
)]
pub struct Mismatch {
    /// The index of the step.
    pub step: usize,
    /// The process that was expected to take it.
    pub process: ProcessKey,
    /// What is different.
    pub what: MismatchKind,
}

/// What was different when a prefix was run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MismatchKind {
    /// The process could not run.
    NotRunnable,
    /// The step touched something else, or somebody else took it.
    OtherStep,
}

impl fmt::Display for MismatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRunnable => "could not be taken again",
            Self::OtherStep => "was another one when it was taken again",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Idle,
    Running,
    GivenUp,
    Mismatched,
    Done,
}

/// A process whose next step was explored.
struct Sleeper {
    process: ProcessKey,
    touched: Arc<Touched>,
}

#[derive(Default)]
struct Node {
    asleep: Vec<Arc<Sleeper>>,
    /// What is to be taken after the branch under way.
    plans: Vec<Branch>,
    /// Who takes the step under way.
    taken: Option<ProcessKey>,
    /// What is planned after that step.
    ahead: Vec<Branch>,
    /// That step is explored as if nobody slept.
    is_alone: bool,
    /// Tells that step from others, for a prefix that is run again.
    digest: u64,
    /// What that step accessed.
    touched: Arc<Touched>,
    /// How many branches were taken to their end.
    explored: u32,
}

impl Node {
    fn is_asleep(&self, process: ProcessKey) -> bool {
        self.asleep.iter().any(|sleeper| sleeper.process == process)
    }

    fn take(&mut self, branch: Branch) {
        self.taken = Some(branch.process);
        self.is_alone = branch.is_alone;
        self.ahead = branch.then;
    }

    /// The branch under way was explored to its end.
    fn put_to_sleep(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if let Some(process) = self.taken.take() {
            self.asleep.push(Arc::new(Sleeper { process, touched }));
        }
        self.is_alone = false;
        self.explored += 1;
    }
}

impl Dpor {
    /// A search that has explored nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trail: Trail::ordered(),
            naming: Naming::default(),
            restarts: 0,
            nodes: Vec::new(),
            depth: 0,
            known: 0,
            status: Status::Idle,
            executions: 0,
            redundant: 0,
            sample: Sample::default(),
            mismatch: None,
        }
    }

    /// Begins the next execution; false once everything was explored.
    ///
    /// An execution that was not ended counts as given up.
    pub fn begin(&mut self) -> bool {
        if matches!(self.status, Status::Running | Status::GivenUp) {
            self.status = Status::GivenUp;
            self.end();
        }
        if self.status == Status::Done {
            return false;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        } else if !self.go_back() {
            self.status = Status::Done;
            return false;
        }
        self.status = Status::Running;
        self.naming.begin();
        self.depth = 0;
        self.known = self.trail.len();
        true
    }

    /// Goes back to the last node where something is planned, and takes it; false if there is none.
    fn go_back(&mut self) -> bool {
        while let Some(mut node) = self.nodes.pop() {
            node.put_to_sleep();
            while !node.plans.is_empty() {
                let branch = node.plans.remove(0);
                if !node.is_asleep(branch.process) {
                    self.trail.cut(self.nodes.len());
                    node.take(branch);
                    self.nodes.push(node);
                    return true;
                }
            }
        }
        false
    }

    /// Says which of the runnable processes goes next.
    ///
    /// First the prefix is taken again, then what is planned, then the first that is not asleep.
    pub fn choose(&mut self, runnable: &[ProcessKey]) -> Pick {
        if self.status != Status::Running {
            return Pick::Redundant;
        }
        let find = |process| runnable.iter().position(|other| *other == process);
        let is_known = self.depth < self.trail.len();
        let node = &mut self.nodes[self.depth];
        if let Some(process) = node.taken {
            if let Some(index) = find(process) {
                return Pick::Run(index);
            }
            if is_known {
                self.mismatch(process, MismatchKind::NotRunnable);
                return Pick::Redundant;
            }
            // The race could not be turned round after all.
            self.status = Status::GivenUp;
            return Pick::Redundant;
        }
        while !node.plans.is_empty() {
            let branch = node.plans.remove(0);
            let index = find(branch.process).filter(|_| !node.is_asleep(branch.process));
            if let Some(index) = index {
                node.take(branch);
                return Pick::Run(index);
            }
        }
        let awake = |process: &ProcessKey| !node.is_asleep(*process);
        let Some(index) = runnable.iter().position(awake) else {
            self.status = Status::GivenUp;
            return Pick::Redundant;
        };
        node.taken = Some(runnable[index]);
        Pick::Run(index)
    }

    /// Takes in the step that was taken: the one of the chosen process, the start, or one of the clock, which nobody chose.
    ///
    /// Every step of the execution has to be handed in, from the first, so that its index is the one that [`Wake`](crate::Wake) names.
    pub fn ran(&mut self, step: &Step) {
        if self.status != Status::Running {
            return;
        }
        let digest = digest(step);
        let touched = self.naming.touched(step);
        let node = &mut self.nodes[self.depth];
        if self.depth < self.trail.len() {
            if node.digest != digest {
                self.mismatch(step.process, MismatchKind::OtherStep);
                return;
            }
            self.depth += 1;
            return;
        }
        if step.kind.is_barrier() {
            node.taken = Some(step.process);
            node.plans.clear();
            node.ahead.clear();
        } else if node.taken != Some(step.process) {
            let chosen = node.taken.unwrap_or(step.process);
            self.mismatch(chosen, MismatchKind::OtherStep);
            return;
        }
        node.digest = digest;
        node.touched = Arc::new(touched);
        let plans = std::mem::take(&mut node.ahead);
        self.trail.push(step);
        let node = &self.nodes[self.depth];
        let naming = &self.naming;
        let commutes = |sleeper: &&Arc<Sleeper>| {
            !node.is_alone && naming.are_apart(&node.touched, &sleeper.touched)
        };
        let next = Node {
            asleep: node.asleep.iter().filter(commutes).cloned().collect(),
            plans,
            ..Node::default()
        };
        self.nodes.push(next);
        self.depth += 1;
    }

    /// Ends the execution: finds its races, and plans each the other way round.
    pub fn end(&mut self) {
        match self.status {
            Status::Idle | Status::Done => return,
            Status::Mismatched => {
                self.redundant += 1;
                self.nodes.truncate(self.depth + 1);
                self.trail.cut(self.depth);
            }
            Status::Running | Status::GivenUp => {
                for second in 0..self.trail.len() {
                    self.plan_races_of(second);
                }
                if self.status == Status::GivenUp {
                    self.redundant += 1;
                } else {
                    self.executions += 1;
                    let branches = |node: &Node| node.explored as usize + 1 + node.plans.len();
                    self.sample.add(self.nodes.iter().map(branches));
                }
            }
        }
        self.status = Status::Idle;
        if self.naming.was_wrong() {
            self.restart();
        }
    }

    /// Begins anew: two resources that were taken for different ones are one.
    fn restart(&mut self) {
        self.trail.cut(0);
        self.nodes.clear();
        self.sample = Sample::default();
        self.executions = 0;
        self.redundant = 0;
        self.restarts += 1;
    }

    fn plan_races_of(&mut self, second: usize) {
        for place in 0..self.trail.adjacent(second).len() {
            let first = self.trail.adjacent(second)[place] as usize;
            if self.trail.is_reversible(first, second) {
                self.plan(first, second);
            }
        }
    }

    /// Plans the second of two racing steps to be taken before the first, behind all that does not come after the first.
    fn plan(&mut self, first: usize, second: usize) {
        let (trail, nodes) = (&self.trail, &self.nodes);
        let event = |step: usize| Event {
            process: trail.key(step),
            step,
            touched: Arc::clone(&nodes[step].touched),
            // The step that is turned round sees something else from the access on that raced.
            is_certain: step != second,
        };
        let sequence: Vec<Event> = (first + 1..trail.len())
            .filter(|step| !trail.before(first, *step))
            .chain([second])
            .map(event)
            .collect();
        let naming = &self.naming;
        let mut is_alone = false;
        for sleeper in &nodes[first].asleep {
            let (process, touched) = (sleeper.process, &sleeper.touched);
            match wakeup::goes_first(trail, naming, &sequence, process, touched) {
                None => {}
                Some(GoesFirst::Within(_) | GoesFirst::Beside) => return,
                Some(GoesFirst::Unsure) => is_alone = true,
            }
        }
        wakeup::insert(
            trail,
            naming,
            &mut self.nodes[first].plans,
            sequence,
            is_alone,
        );
    }

    /// How many executions went to their end.
    #[must_use]
    pub const fn executions(&self) -> u64 {
        self.executions
    }

    /// How often the search began anew, because what was taken for two resources was one; executions before that are not counted.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// How many executions were given up.
    #[must_use]
    pub const fn redundant(&self) -> u64 {
        self.redundant
    }

    /// Whether everything was explored.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.status == Status::Done
    }

    /// How many executions there probably are.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        if self.is_done() {
            return Estimate::exact(self.executions);
        }
        let planned: usize = self.nodes.iter().map(|node| node.plans.len()).sum();
        self.sample.estimate(self.executions, planned as u64)
    }

    /// The first prefix that was run again and gave something else.
    ///
    /// The search goes on without what lies behind it, and can no longer prove anything.
    #[must_use]
    pub const fn mismatch_found(&self) -> Option<&Mismatch> {
        self.mismatch.as_ref()
    }

    fn mismatch(&mut self, process: ProcessKey, what: MismatchKind) {
        self.status = Status::Mismatched;
        self.mismatch.get_or_insert(Mismatch {
            step: self.depth,
            process,
            what,
        });
    }
}

impl Default for Dpor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Dpor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpor")
            .field("executions", &self.executions)
            .field("redundant", &self.redundant)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Hashes all that a step is when the same prefix is run again, numbers included.
fn digest(step: &Step) -> u64 {
    let accesses = step.accesses.iter();
    accesses.fold(step.label(), |digest, (object, mode)| {
        let (kind, number) = match object {
            Object::Resource(number) => (0, *number),
            Object::Cancel(key) => (1, key.word()),
            Object::Wake(key) => (2, key.word()),
            Object::End(key) => (3, key.word()),
            Object::Region(number) => (4, *number),
            Object::Closed(number) => (5, *number),
            Object::Obligation(number) => (6, *number),
            Object::Account(number) => (7, *number),
        };
        let mode = match mode {
            Mode::Read => 0,
            Mode::Add => 1,
            Mode::Write => 2,
        };
        hash::pair(hash::pair(digest, kind * 4 + mode), number)
    })
}
