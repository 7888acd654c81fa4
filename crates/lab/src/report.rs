//! What came of a run.

use std::fmt::{self, Write as _};
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::{Report, Unfinished};

use asupersync_trace::{Fingerprint, Trace};

use crate::oracle::Violation;
use crate::schedule::Schedule;
use crate::snapshot::RestorableSnapshot;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LabEnd {
    /// The program ended and nothing of it was left.
    Finished,
    /// Nothing was runnable and no timer stood, so nothing could ever happen again.
    Stalled(Vec<Unfinished>),
    /// The limit of steps was reached.
    StepLimit(Vec<Unfinished>),
    /// A systematic search gave the run up, because it could only repeat another.
    Abandoned,
}

/// The outcome of a program under the lab, and everything that was seen of it.
#[derive(Debug)]
#[must_use = "a report may carry a violation; see `assert_clean`"]
pub struct LabReport<T, E> {
    /// The root body's outcome.
    pub outcome: Outcome<T, E>,
    /// How the run ended.
    pub end: LabEnd,
    /// The seed that it was drawn from.
    pub seed: u64,
    /// What was decided.
    pub schedule: Schedule,
    /// Whether a task was cancelled, unwound or dropped on purpose, after which the program may fail.
    pub is_disturbed: bool,
    /// Whether a node went down or stood still.
    pub(crate) has_stopped_node: bool,
    /// Names the order of the steps, if [`LabConfig::fingerprint`](crate::LabConfig::fingerprint) was asked for.
    pub fingerprint: Option<Fingerprint>,
    /// How many polls and jobs were run.
    pub steps: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// What happened.
    pub trace: Trace,
    /// The structure of the program at the steps that [`LabConfig::snapshot_at`](crate::LabConfig::snapshot_at) named.
    pub snapshots: Vec<RestorableSnapshot>,
    /// What the kernel reported.
    pub reports: Vec<Report>,
    /// The laws that were broken.
    pub violations: Vec<Violation>,
}

impl<T, E> LabReport<T, E> {
    /// Whether the program ended and broke no law.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.end == LabEnd::Finished && self.violations.is_empty()
    }

    /// Fails unless the program ended and broke no law.
    ///
    /// # Panics
    /// With what was broken, the seed and how to replay it.
    #[track_caller]
    pub fn assert_clean(&self)
    where
        T: fmt::Debug,
        E: fmt::Debug,
    {
        assert!(self.is_clean(), "{}", self.failure());
    }

    /// What went wrong, for people.
    #[must_use]
    pub fn failure(&self) -> String {
        let mut text = format!("the run with seed {} is not clean", self.seed);
        // Writing to a `String` does not fail.
        match &self.end {
            LabEnd::Finished | LabEnd::Abandoned => {}
            LabEnd::Stalled(left) => {
                let _ = write!(
                    text,
                    "\n  it stalled after {} steps: nothing can wake",
                    self.steps
                );
                list(&mut text, left);
            }
            LabEnd::StepLimit(left) => {
                let _ = write!(text, "\n  it was given up after {} steps with", self.steps);
                list(&mut text, left);
            }
        }
        for violation in &self.violations {
            let _ = write!(text, "\n  {violation}");
        }
        let _ = write!(text, "\n  replay: ASUPERSYNC_SEED={} cargo test", self.seed);
        text
    }
}

fn list(text: &mut String, left: &[Unfinished]) {
    for unfinished in left {
        let name = unfinished.name.as_deref().unwrap_or("unnamed");
        let _ = write!(text, "\n    {:?} ({name})", unfinished.subject);
        if let Some(reason) = &unfinished.reason {
            let _ = write!(text, ", cancelled: {reason}");
        }
    }
}
