//! Every class of equivalent orders.

use asupersync_trace::{Dpor, Estimate, Pick, ProcessKey, Step};

use super::Chooser;

/// Drives the partial order reduction of crate `trace`.
pub(crate) struct Systematic {
    dpor: Dpor,
    is_done: bool,
}

impl Default for Systematic {
    fn default() -> Self {
        Self {
            dpor: Dpor::new(),
            is_done: false,
        }
    }
}

impl Systematic {
    /// Whether everything was explored, and everything that was explored can be believed.
    pub(crate) fn is_proof(&self) -> bool {
        self.is_done && self.dpor.mismatch_found().is_none()
    }

    /// How many executions went to their end, and how many were given up, since the search last began anew.
    pub(crate) fn executions(&self) -> (u64, u64) {
        (self.dpor.executions(), self.dpor.redundant())
    }

    pub(crate) fn remaining(&self) -> Estimate {
        self.dpor.estimate()
    }

    pub(crate) fn diverged(&self) -> Option<String> {
        self.dpor.mismatch_found().map(|found| found.to_string())
    }
}

impl Chooser for Systematic {
    fn begin(&mut self, _number: u64) -> bool {
        self.is_done = !self.dpor.begin();
        !self.is_done
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        match self.dpor.choose(runnable) {
            Pick::Run(index) => Some(index),
            Pick::Redundant => None,
        }
    }

    fn ran(&mut self, step: &Step) {
        self.dpor.ran(step);
    }

    fn end(&mut self) {
        self.dpor.end();
    }

    fn wants_steps(&self) -> bool {
        true
    }

    fn systematic(&self) -> Option<&Systematic> {
        Some(self)
    }
}
