//! What the kernel tells a host that records.
//!
//! Events are emitted only while the host's [`KernelConfig::record`](crate::KernelConfig::record) is set; a host that does not record pays one predictable branch.
//! Those of the structure, which are the beginnings and ends of tasks, regions, cancellations and obligations, are also emitted for [`KernelConfig::record_structure`](crate::KernelConfig::record_structure).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use asupersync_core::{
    Budget, CancelKind, CancelStage, ObligationId, ObligationKind, RegionId, Severity, TaskId, Time,
};

/// A name of a node of the ownership tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// A region and its body.
    Region(RegionId),
    /// A task or a fiber.
    Task(TaskId),
}

/// A name in an event: one that stands in the program's text, or one that was read from a recording.
///
/// Cost: a copy allocates nothing.
/// # Examples
/// ```
/// use asupersync_kernel::Name;
/// let name = Name::from("mutex.lock");
/// assert_eq!(&*name, "mutex.lock");
/// assert_eq!(name, Name::shared("mutex.lock"));
/// ```
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    /// A name that does not stand in the program's text.
    #[must_use]
    pub fn shared(text: &str) -> Self {
        Self(Text::Shared(Arc::from(text)))
    }

    /// The text, if it stands in the program's own.
    #[must_use]
    pub const fn as_static(&self) -> Option<&'static str> {
        match &self.0 {
            Text::Static(text) => Some(text),
            Text::Shared(_) => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl From<&'static str> for Name {
    fn from(text: &'static str) -> Self {
        Self(Text::Static(text))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// How an obligation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// Its effect took place.
    Committed,
    /// It was given back by its holder.
    Aborted,
    /// Its guard was dropped, which gives it back too.
    Dropped,
    /// Its holder ended without either.
    Leaked,
}

/// Something that happened in the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A region was opened by `parent`; the root region has none.
    RegionOpened {
        /// The new region.
        region: RegionId,
        /// Who opened it.
        parent: Option<Subject>,
    },
    /// A region's body has ended; only what lives in it goes on.
    RegionClosing {
        /// The region.
        region: RegionId,
        /// How its body ended.
        body: Severity,
    },
    /// A region has become quiescent and runs its finalizers.
    RegionFinalizing {
        /// The region.
        region: RegionId,
    },
    /// A region is closed.
    RegionClosed {
        /// The region.
        region: RegionId,
    },
    /// A region's future was dropped; `heir` finishes the closing.
    RegionAbandoned {
        /// The region.
        region: RegionId,
        /// The task that closes it.
        heir: TaskId,
    },
    /// A task was spawned.
    TaskSpawned {
        /// The new task.
        task: TaskId,
        /// Whether it is pinned to its worker.
        pinned: bool,
        /// The file in which it was spawned, or what made it.
        site: Name,
        /// The line there, or 0.
        line: u32,
    },
    /// A task is about to be polled.
    TaskPolled {
        /// The task.
        task: TaskId,
    },
    /// A task was woken and put into a queue.
    TaskWoken {
        /// The task.
        task: TaskId,
    },
    /// A task was given a name when it was spawned.
    TaskNamed {
        /// The task.
        task: TaskId,
        /// The name.
        name: Name,
    },
    /// A wake found the task woken already, or being polled: one poll will do for both.
    WakeMerged {
        /// The task.
        task: TaskId,
    },
    /// Somebody looked whether a task has ended, to join it.
    TaskAwaited {
        /// The task.
        task: TaskId,
        /// Whether it had.
        ended: bool,
    },
    /// A task or a fiber ended.
    TaskEnded {
        /// The task.
        task: TaskId,
        /// How.
        severity: Severity,
    },
    /// An error or panic found nobody to take it: a worse one went to the region, or the region was abandoned.
    EndSuppressed {
        /// Whose end.
        task: TaskId,
        /// How it ended.
        severity: Severity,
    },
    /// A cancellation was requested or strengthened.
    CancelRequested {
        /// Of whom.
        subject: Subject,
        /// Why.
        kind: CancelKind,
    },
    /// A cancellation was requested, and changed nothing: a stronger one stood, or its subject had ended.
    CancelUnchanged {
        /// Of whom.
        subject: Subject,
    },
    /// A cancellation went to its next stage.
    CancelEscalated {
        /// Of whom.
        subject: Subject,
        /// To which stage.
        stage: CancelStage,
    },
    /// A mask or shield began to hold.
    Masked {
        /// Whose.
        subject: Subject,
    },
    /// A mask or shield ended.
    Unmasked {
        /// Whose.
        subject: Subject,
    },
    /// A finalizer is about to run.
    FinalizerStarted {
        /// Of which region.
        region: RegionId,
    },
    /// A finalizer ended.
    FinalizerEnded {
        /// Of which region.
        region: RegionId,
        /// How.
        severity: Severity,
    },
    /// An obligation was made.
    ObligationReserved {
        /// Its name.
        obligation: ObligationId,
        /// Who owes it.
        holder: Subject,
        /// What is owed.
        kind: ObligationKind,
    },
    /// An obligation ended.
    ObligationSettled {
        /// Its name.
        obligation: ObligationId,
        /// How.
        settlement: Settlement,
    },
    /// A sleep was set.
    TimerSet {
        /// For when.
        at: Time,
    },
    /// A timer has expired, and its waker is about to be called.
    TimerFired {
        /// For when it stood.
        at: Time,
    },
    /// A timer was taken back before it expired.
    TimerCancelled {
        /// For when it stood.
        at: Time,
    },
    /// Nothing was runnable, and the clock went to the next timer.
    ClockAdvanced {
        /// To when.
        to: Time,
    },
    /// A job that may block was handed to the host.
    JobQueued {
        /// Its number, counted by the host.
        job: u64,
    },
    /// A job of the host's own was queued, which lives in no region: what arrives on a simulated network.
    HostJobQueued {
        /// Its number, counted by the host.
        job: u64,
    },
    /// A job is about to run.
    JobStarted {
        /// Its number.
        job: u64,
    },
    /// A simulated fault was injected.
    FaultInjected {
        /// Whom it struck, if it was one task or region.
        subject: Option<Subject>,
        /// Which: `chaos.cancel`, `net.reset`.
        fault: Name,
    },
    /// Entropy was drawn.
    EntropyDrawn {
        /// The value.
        value: u64,
    },
    /// The program left a mark with `cx.trace`.
    Mark {
        /// Who.
        subject: Subject,
        /// What.
        text: String,
    },
    /// A node was made with a budget that is not that of its surroundings.
    BudgetNarrowed {
        /// The region, task or fiber.
        subject: Subject,
        /// The budget in force there.
        budget: Budget,
    },
    /// Cost was charged to a budget that limits it.
    CostSpent {
        /// Who spent it.
        subject: Subject,
        /// How many units.
        cost: u64,
    },
    /// A finalizer was registered.
    FinalizerAdded {
        /// With which region.
        region: RegionId,
    },
    /// The failure of a task was taken by its handle or by its region.
    FailureTaken {
        /// Whose end.
        task: TaskId,
    },
    /// A recorder of bounded size keeps the newest events: so many that came before the next are gone.
    EventsOverwritten {
        /// How many.
        count: u64,
    },
    /// Permits of a counter were taken or returned.
    PermitsMoved {
        /// The counter: a number given by the host when the resource was first used.
        resource: u64,
        /// How many were returned, or taken if it is negative.
        change: i64,
        /// How many the counter had free after that.
        free: u64,
    },
    /// Messages went into a channel or came out of it.
    ///
    /// Of a watch, `held` counts the versions that were published, and those of a receiver that it has seen.
    MessagesMoved {
        /// The channel: a number given by the host when the resource was first used.
        resource: u64,
        /// How many went in, or came out if it is negative.
        change: i64,
        /// How many the channel held after that, by its own account.
        held: u64,
    },
    /// An operation of a channel, a lock or a socket.
    Operation {
        /// Who.
        subject: Option<Subject>,
        /// On which resource: a number given by the host when the resource was first used.
        resource: u64,
        /// What was done.
        name: Name,
    },
}
