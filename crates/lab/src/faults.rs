//! Faults: what may happen to a task around any of its polls, to the network, to a node, and to its disk.
//!
//! # How
//! Each fault that has a chance is a question at each step; the answers are decisions of the schedule, so a run with faults is replayed, and made smaller, like any other.
//! What is asked for is bounded by a number of faults a run, so that a program has a chance to end.

use std::time::Duration;

use crate::disk::DiskFaults;
use crate::net::NetFaults;

/// Which faults may happen, and how likely each is.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_lab::{Check, Faults};
/// use std::time::Duration;
///
/// let faults = Faults::none().cancel(0.05).delay(0.2, Duration::from_millis(50)).at_most(3);
/// Check::new("survives_chaos").faults(faults).run(async |cx: Cx| {
///     cx.sleep(Duration::from_millis(10)).await?;
///     Ok::<_, Cancelled>(())
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Faults {
    pub(crate) cancel: f64,
    pub(crate) exhaust: f64,
    pub(crate) panic: f64,
    pub(crate) delay: f64,
    pub(crate) delay_max: Duration,
    pub(crate) wake_storm: f64,
    pub(crate) clock_jump: f64,
    pub(crate) clock_jump_max: Duration,
    pub(crate) net: NetFaults,
    pub(crate) crash: f64,
    pub(crate) pause: f64,
    pub(crate) pause_max: Duration,
    pub(crate) clock_step: f64,
    pub(crate) clock_step_max: Duration,
    pub(crate) disk: DiskFaults,
    pub(crate) limit: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// No fault, and at most 8 of those that are switched on.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            cancel: 0.0,
            exhaust: 0.0,
            panic: 0.0,
            delay: 0.0,
            delay_max: Duration::ZERO,
            wake_storm: 0.0,
            clock_jump: 0.0,
            clock_jump_max: Duration::ZERO,
            net: NetFaults::none(),
            crash: 0.0,
            pause: 0.0,
            pause_max: Duration::ZERO,
            clock_step: 0.0,
            clock_step_max: Duration::ZERO,
            disk: DiskFaults::none(),
            limit: LIMIT,
        }
    }

    /// How likely a task that goes on waiting is then cancelled, as by a user.
    ///
    /// # Panics
    /// If the chance is not from 0 to 1; so with all others.
    #[must_use]
    pub const fn cancel(mut self, chance: f64) -> Self {
        self.cancel = checked(chance);
        self
    }

    /// How likely a task that goes on waiting is then out of its poll quota.
    #[must_use]
    pub const fn exhaust(mut self, chance: f64) -> Self {
        self.exhaust = checked(chance);
        self
    }

    /// How likely a task panics where it waits.
    #[must_use]
    pub const fn panic(mut self, chance: f64) -> Self {
        self.panic = checked(chance);
        self
    }

    /// How likely a runnable task is held back, and for how long at most; time passes meanwhile if nothing else can run.
    #[must_use]
    pub const fn delay(mut self, chance: f64, max: Duration) -> Self {
        self.delay = checked(chance);
        self.delay_max = max;
        self
    }

    /// How likely every waiting task is woken for nothing.
    #[must_use]
    pub const fn wake_storm(mut self, chance: f64) -> Self {
        self.wake_storm = checked(chance);
        self
    }

    /// How likely the clock jumps forward between two steps, and how far at most.
    #[must_use]
    pub const fn clock_jump(mut self, chance: f64, max: Duration) -> Self {
        self.clock_jump = checked(chance);
        self.clock_jump_max = max;
        self
    }

    /// What may go wrong with the network.
    ///
    /// A program that uses it is to survive that, so its errors, cancellations and panics are findings as ever.
    #[must_use]
    pub const fn net(mut self, faults: NetFaults) -> Self {
        self.net = faults;
        self
    }

    /// How likely a [`LabNode`](crate::LabNode) crashes: after each poll and job of its own, and within a job before each operation on its disk.
    ///
    /// A program that runs on nodes is to survive that, so its errors, cancellations and panics are findings as ever.
    #[must_use]
    pub const fn crash(mut self, chance: f64) -> Self {
        self.crash = checked(chance);
        self
    }

    /// How likely a [`LabNode`](crate::LabNode) stands still after a poll or a job of its own, and for how long at most; see [`LabNode::pause`](crate::LabNode::pause).
    #[must_use]
    pub const fn pause(mut self, chance: f64, max: Duration) -> Self {
        self.pause = checked(chance);
        self.pause_max = max;
        self
    }

    /// How likely the time of day of a [`LabNode`](crate::LabNode) is set after a poll or a job of its own, and by how much at most, forward or back.
    ///
    /// [`clock_jump`](Self::clock_jump) is another thing: there all time goes on.
    #[must_use]
    pub const fn clock_step(mut self, chance: f64, max: Duration) -> Self {
        self.clock_step = checked(chance);
        self.clock_step_max = max;
        self
    }

    /// What may go wrong with disks.
    #[must_use]
    pub const fn disk(mut self, faults: DiskFaults) -> Self {
        self.disk = faults;
        self
    }

    /// How many faults a run has at most; 8 unless set.
    #[must_use]
    pub const fn at_most(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Whether nothing of it ever happens.
    pub(crate) fn never_happen(&self) -> bool {
        let are_none = self.disk.never_happen() && self.net.never_happen();
        !self.are_at_polls() && (self.limit == 0 || are_none)
    }

    /// Whether any of them may happen around a poll; what happens to the network and to disks is asked elsewhere.
    pub(crate) fn are_at_polls(&self) -> bool {
        let chances = [
            self.cancel,
            self.exhaust,
            self.panic,
            self.delay,
            self.wake_storm,
            self.clock_jump,
            self.crash,
            self.pause,
            self.clock_step,
        ];
        self.limit > 0 && chances.iter().any(|chance| *chance > 0.0)
    }
}

/// The chance, if it is one.
pub(crate) const fn checked(chance: f64) -> f64 {
    assert!(
        chance >= 0.0 && chance <= 1.0,
        "a chance is a number from 0 to 1"
    );
    chance
}

/// The part of a longest time that a decision stands for: 0 is none of it, and `PARTS` all.
pub(crate) fn part_of(max: Duration, decision: u32) -> Duration {
    max * decision / PARTS
}

/// How many lengths a delay or a jump can have.
pub(crate) const PARTS: u32 = 8;
/// How many faults a run has at most, unless it says otherwise.
const LIMIT: u32 = 8;
