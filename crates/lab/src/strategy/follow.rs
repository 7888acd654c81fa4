//! Without chance: the oldest first, or along a schedule with somebody held back.

use asupersync_trace::ProcessKey;

use super::Chooser;

/// Picks whoever has been runnable for longest.
#[derive(Default)]
pub(super) struct Fifo {
    has_run: bool,
}

impl Chooser for Fifo {
    fn begin(&mut self, _number: u64) -> bool {
        !std::mem::replace(&mut self.has_run, true)
    }

    fn choose(&mut self, _runnable: &[ProcessKey]) -> Option<usize> {
        Some(0)
    }
}

/// Follows picks, but lets one process run only when nobody else can.
pub(crate) struct Without {
    held: ProcessKey,
    picks: Vec<u32>,
    next: usize,
}

impl Without {
    pub(crate) const fn new(held: ProcessKey, picks: Vec<u32>) -> Self {
        Self {
            held,
            picks,
            next: 0,
        }
    }
}

impl Chooser for Without {
    fn begin(&mut self, _number: u64) -> bool {
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        if runnable.len() == 1 {
            return Some(0);
        }
        let pick = self.picks.get(self.next).copied().unwrap_or_default() as usize;
        self.next += 1;
        let pick = pick.min(runnable.len() - 1);
        if runnable[pick] != self.held {
            return Some(pick);
        }
        Some(
            runnable
                .iter()
                .position(|key| *key != self.held)
                .unwrap_or(pick),
        )
    }
}
