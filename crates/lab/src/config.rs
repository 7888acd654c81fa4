//! How a lab runs.

use std::time::{Duration, SystemTime};

use asupersync_core::LeakResponse;
use asupersync_kernel::{KernelConfig, LeakEscalation};

use crate::faults::Faults;
use crate::net::NetConfig;
use crate::schedule::{Cut, Schedule};
use crate::script::{Decided, Script};
use crate::strategy::Strategy;

/// A lab's seed and limits.
///
/// # Examples
/// ```
/// use asupersync_lab::LabConfig;
/// let config = LabConfig::default().seed(42).max_steps(100_000).capture_trace(true);
/// ```
#[derive(Clone, Debug)]
pub struct LabConfig {
    pub(crate) seed: u64,
    pub(crate) strategy: Strategy,
    /// What is decided as it was before, if it is.
    pub(crate) picks: Option<Vec<u32>>,
    pub(crate) faults: Option<Script>,
    pub(crate) cut: Option<Cut>,
    pub(crate) chaos: Faults,
    /// Whether the run's fingerprint is wanted.
    pub(crate) reads_steps: bool,
    pub(crate) max_steps: u64,
    /// Sorted, each once.
    pub(crate) snapshot_steps: Vec<u64>,
    pub(crate) capture_trace: bool,
    pub(crate) futurelock_max_idle_steps: Option<u64>,
    pub(crate) kernel: KernelConfig,
    pub(crate) net: NetConfig,
    pub(crate) wall_start: SystemTime,
    pub(crate) clock_skew_max: Duration,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            strategy: Strategy::Random,
            picks: None,
            faults: None,
            cut: None,
            chaos: Faults::none(),
            reads_steps: false,
            max_steps: 1_000_000,
            snapshot_steps: Vec::new(),
            capture_trace: true,
            futurelock_max_idle_steps: None,
            kernel: KernelConfig {
                record: true,
                record_obligations: true,
                ..KernelConfig::default()
            },
            net: NetConfig::default(),
            wall_start: SystemTime::UNIX_EPOCH + WALL_START,
            clock_skew_max: Duration::ZERO,
        }
    }
}

impl LabConfig {
    /// From which the schedule and all entropy are drawn.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How the schedule is drawn; each runnable task with equal chance unless set.
    #[must_use]
    pub const fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Follows a schedule instead of drawing one.
    ///
    /// After its end nothing is decided any more: the task that has been runnable for longest goes next, and no fault happens.
    #[must_use]
    pub fn replay(mut self, schedule: Schedule) -> Self {
        self.picks = Some(schedule.picks().to_vec());
        self.follow_faults(&schedule)
    }

    /// Which faults may happen; none unless set.
    #[must_use]
    pub const fn faults(mut self, faults: Faults) -> Self {
        self.chaos = faults;
        self
    }

    /// Cuts a task short, after so many steps.
    #[must_use]
    pub const fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// Whether [`LabReport::fingerprint`](crate::LabReport::fingerprint) is wanted; it is not unless switched on.
    #[must_use]
    pub const fn fingerprint(mut self, wanted: bool) -> Self {
        self.reads_steps = wanted;
        self
    }

    /// Answers the questions for faults as in this schedule, and those for who goes next by the strategy.
    pub(crate) fn follow_faults(mut self, schedule: &Schedule) -> Self {
        self.faults = Some(Script::InOrder(schedule.faults().to_vec()));
        self.cut = schedule.cut();
        self
    }

    /// Answers the questions for faults by who asks.
    pub(crate) fn follow_decided(mut self, decided: Decided) -> Self {
        self.faults = Some(Script::ByProcess(decided));
        self
    }

    /// After how many polls the run is given up; one million unless set.
    #[must_use]
    pub const fn max_steps(mut self, steps: u64) -> Self {
        self.max_steps = steps;
        self
    }

    /// Takes a [`RestorableSnapshot`](crate::RestorableSnapshot) after so many steps, before time goes on; may be called for several steps.
    ///
    /// Before the first step that is 0; of a run that ends earlier, or keeps no events, there is none.
    #[must_use]
    pub fn snapshot_at(mut self, step: u64) -> Self {
        if let Err(place) = self.snapshot_steps.binary_search(&step) {
            self.snapshot_steps.insert(place, step);
        }
        self
    }

    /// Whether events are kept; they are unless switched off. Without them the oracles see nothing.
    #[must_use]
    pub const fn capture_trace(mut self, capture: bool) -> Self {
        self.capture_trace = capture;
        self.kernel.record = capture;
        self
    }

    /// How the simulated network behaves; without latency unless set.
    #[must_use]
    pub fn net(mut self, net: NetConfig) -> Self {
        self.net = net;
        self
    }

    /// The time of day at which a run begins; the first second of 2000 unless set.
    #[must_use]
    pub const fn wall_start(mut self, start: SystemTime) -> Self {
        self.wall_start = start;
        self
    }

    /// By how much the time of day of a [`LabNode`](crate::LabNode) may be wrong from the start, ahead or behind; it is right unless set.
    ///
    /// It is decided for each node, as what the network does is: a program on several machines must take it.
    #[must_use]
    pub const fn clock_skew(mut self, max: Duration) -> Self {
        self.clock_skew_max = max;
        self
    }

    /// Reports whoever holds a lock or a permit that others wait for and is not polled for more than so many steps.
    ///
    /// In a run that stalls such holders are reported in any case.
    #[must_use]
    pub const fn futurelock_max_idle_steps(mut self, steps: u64) -> Self {
        self.futurelock_max_idle_steps = Some(steps);
        self
    }

    /// Whether an obligation that ends by dropping its guard is reported.
    #[must_use]
    pub const fn strict_obligations(mut self, strict: bool) -> Self {
        self.kernel.strict_obligations = strict;
        self
    }

    /// What happens when a task ends while it still owes something.
    #[must_use]
    pub const fn obligation_leak_response(mut self, response: LeakResponse) -> Self {
        self.kernel.leak_response = response;
        self
    }

    /// A different response once leaks have become frequent.
    #[must_use]
    pub const fn leak_escalation(mut self, escalation: LeakEscalation) -> Self {
        self.kernel.leak_escalation = Some(escalation);
        self
    }
}

/// From 1970 to 2000.
const WALL_START: Duration = Duration::from_secs(946_684_800);
