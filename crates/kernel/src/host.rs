//! The ports through which the kernel reaches the host that drives it.
//!
//! The production host and the lab host implement [`Host`]; nothing else of the kernel differs between them.

use std::any::{Any, TypeId};
use std::path::PathBuf;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use asupersync_core::{LeakResponse, ObligationKind, RegionId, TaskId, Time};

use crate::event::{Event, Subject};
use crate::task::Runnable;

/// Where a runnable task goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// The task is under cancellation; it goes first.
    Cancel,
    /// The task has a deadline; among such tasks the earliest goes first, then the higher priority.
    Timed {
        /// The task's deadline.
        deadline: Time,
        /// The task's priority.
        priority: u8,
    },
    /// The task was spawned, or woken from outside its own poll.
    Ready,
    /// The task woke itself during its poll; others go first.
    Yielded,
}

/// A worker of a host, of which there are at most 255; pinned tasks stay on theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(pub u8);

/// Names a timer of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerKey {
    /// Which of the host's wheels.
    pub shard: u32,
    /// Which entry of it, and which use of that entry.
    pub entry: u64,
}

/// What the kernel does that a host can choose; fixed when the host is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelConfig {
    /// Whether [`Host::record`] wants events.
    pub record: bool,
    /// Whether [`Host::record`] wants at least what becomes of tasks, regions, cancellations and obligations; not each poll, wake and operation.
    ///
    /// Recording these allocates nothing and takes no lock.
    pub record_structure: bool,
    /// Whether [`Host::record`] wants at least the operations on locks and permits, each under the task in whose poll it was done.
    pub record_holds: bool,
    /// Whether each obligation is recorded with its creation site; otherwise only counted.
    pub record_obligations: bool,
    /// Whether an obligation that ends by dropping its guard is reported.
    pub strict_obligations: bool,
    /// Whether [`Host::obligations_changed`] is told of every obligation; for a host that governs.
    pub gauge_obligations: bool,
    /// What to do about a leaked obligation.
    pub leak_response: LeakResponse,
    /// After so many leaks, a different response.
    pub leak_escalation: Option<LeakEscalation>,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            record: false,
            record_structure: false,
            record_holds: false,
            record_obligations: cfg!(debug_assertions),
            strict_obligations: false,
            gauge_obligations: false,
            leak_response: LeakResponse::Log,
            leak_escalation: None,
        }
    }
}

/// A stronger response once leaks have become frequent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeakEscalation {
    /// From this many leaks in the host's life on, counted from 1.
    pub threshold: u64,
    /// The response from then on.
    pub response: LeakResponse,
}

/// Something that people should hear about.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Report {
    /// A task or region ended while it still owed something.
    ObligationLeaked {
        /// Who.
        holder: Subject,
        /// What it owed and where that was reserved, as far as recorded.
        owed: Vec<Owed>,
        /// How many obligations were open.
        count: u32,
    },
    /// In strict mode: an obligation ended because its guard was dropped.
    ObligationDropped {
        /// Who owed it.
        holder: Subject,
        /// What was owed.
        owed: Owed,
    },
    /// A task holds what another waits for, and is not polled meanwhile.
    Futurelock {
        /// What is held: `mutex`, `semaphore`.
        kind: &'static str,
        /// Who holds it.
        holder: TaskId,
        /// The holder's name, if it was given one.
        holder_name: Option<String>,
        /// What the holder owes, as far as recorded.
        owed: Vec<Owed>,
        /// Who waits.
        waiter: TaskId,
        /// The waiter's name, if it was given one.
        waiter_name: Option<String>,
        /// For how long the holder has not been polled, at least.
        idle: Duration,
    },
    /// A task has been in one poll for long: code that does not yield, and cannot be stopped.
    NeverYields {
        /// Which.
        task: TaskId,
        /// Its name, if it was given one.
        name: Option<String>,
        /// The worker that it keeps.
        worker: WorkerId,
        /// For how long, at least.
        running: Duration,
    },
    /// The flight recorder saved what happened last in a file.
    FlightSaved {
        /// What made it: `panic`, `leak`, `unfinished`.
        cause: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The flight recorder could not save what happened last.
    FlightNotSaved {
        /// What made it try.
        cause: &'static str,
        /// Why it could not.
        message: String,
    },
    /// Code of the program panicked where no outcome can carry it, such as in a waker.
    PanicContained {
        /// Where.
        place: &'static str,
        /// The panic's message.
        message: String,
    },
}

/// An open obligation: what, and where it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed {
    /// What is owed.
    pub kind: ObligationKind,
    /// The source line that reserved it.
    pub site: &'static std::panic::Location<'static>,
}

/// What the kernel needs from whoever drives it.
///
/// All methods may be called from any thread and must not wait.
pub trait Host: Send + Sync + 'static {
    /// The choices made when the host was built.
    fn config(&self) -> &KernelConfig;
    /// The current time of the host's clock.
    fn now(&self) -> Time;
    /// A count that goes on with time, by one at least each nanosecond, and costs less to look at than the clock; `None` where no two moments are to be taken for one.
    fn moment(&self) -> Option<u64> {
        None
    }
    /// The time of day; it may be wrong, jump, and go back.
    fn wall_now(&self) -> SystemTime;
    /// Puts a task into a queue; with `pinned`, into that worker's own.
    fn schedule(&self, task: Runnable, lane: Lane, pinned: Option<WorkerId>);
    /// Puts tasks under cancellation, none of them pinned, into queues, as a call of [`schedule`](Self::schedule) for each would.
    fn schedule_cancelled(&self, tasks: &mut Vec<Runnable>) {
        for task in tasks.drain(..) {
            self.schedule(task, Lane::Cancel, None);
        }
    }
    /// The worker on whose thread the call is made, if any.
    fn current_worker(&self) -> Option<WorkerId>;
    /// Wakes `waker` once, at or after `at`.
    fn timer_insert(&self, at: Time, waker: Waker) -> TimerKey;
    /// Forgets a timer; without effect if it has fired.
    fn timer_cancel(&self, key: TimerKey);
    /// A number never given before by this host.
    fn next_region(&self) -> RegionId;
    /// A number never given before by this host.
    fn next_number(&self) -> u64;
    /// Entropy; a function of the seed under the lab.
    fn random_u64(&self) -> u64;
    /// Runs `job` where it may block; it does not unwind.
    fn run_blocking(&self, job: Box<dyn FnOnce() + Send>);
    /// Takes an event, if the configuration asks for events.
    fn record(&self, event: Event);
    /// Takes something that people should hear about.
    fn report(&self, report: Report);
    /// Counts leaked obligations and gives the number of leaks so far, these included.
    fn count_leaks(&self, count: u32) -> u64;
    /// Hears how many obligations are open more or less, if the configuration asks for it.
    fn obligations_changed(&self, _change: i64) {}
    /// A driver of a higher layer, such as the network, by its type.
    fn port(&self, port: TypeId) -> Option<&(dyn Any + Send + Sync)>;
}
