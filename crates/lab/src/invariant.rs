//! Invariants of the program's own state, looked at whenever nothing can run.
//!
//! A program shares its state with the lab, and says what must hold of it.
//! The lab looks when nothing is runnable, before time goes on, and at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use asupersync_core::{PanicPayload, Time};

use crate::oracle::{Law, Violation};

/// When an invariant is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The virtual time.
    pub now: Time,
    /// How many polls and jobs were run.
    pub step: u64,
    /// Whether the run is over.
    pub is_end: bool,
}

type Check = Box<dyn FnMut(Moment) -> Result<(), String> + Send>;

/// The invariants of one run, and those that were broken.
#[derive(Default)]
pub(crate) struct Invariants {
    checks: Vec<(&'static str, Check)>,
    found: Vec<Violation>,
}

impl Invariants {
    pub(crate) const fn new() -> Self {
        Self {
            checks: Vec::new(),
            found: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, check: Check) {
        self.checks.push((name, check));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Looks at each; one that is broken is told once. A check that panics is broken.
    pub(crate) fn look(&mut self, moment: Moment, event: usize) {
        self.checks.retain_mut(|(name, check)| {
            let held = catch_unwind(AssertUnwindSafe(|| check(moment)));
            let held = held.unwrap_or_else(|payload| {
                let payload = PanicPayload::new(payload);
                Err(format!("its check panicked: {}", payload.message()))
            });
            let Err(why) = held else { return true };
            self.found.push(Violation {
                law: Law::Invariant,
                message: format!("`{name}` does not hold: {why}"),
                event,
            });
            false
        });
    }

    pub(crate) fn into_found(self) -> Vec<Violation> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use asupersync_core::Cancelled;

    use super::*;
    use crate::{LabConfig, LabRuntime};

    /// Counts up to two before it sleeps; an invariant sees only what stands when nothing can run.
    fn violations(limit: u32) -> Vec<Violation> {
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let lab = LabRuntime::new(LabConfig::default()).invariant("count", move |_| {
            let count = seen.load(Ordering::Relaxed);
            if count <= limit {
                Ok(())
            } else {
                Err(format!("{count} is more than {limit}"))
            }
        });
        let report = lab.run(async move |cx| {
            count.store(9, Ordering::Relaxed);
            cx.yield_now().await?;
            count.store(2, Ordering::Relaxed);
            cx.sleep(Duration::from_secs(1)).await?;
            count.store(0, Ordering::Relaxed);
            Ok::<_, Cancelled>(())
        });
        report.violations
    }

    #[test]
    fn an_invariant_is_looked_at_when_nothing_can_run_and_told_once() {
        let found = violations(1);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].law, Law::Invariant);
        assert_eq!(found[0].message, "`count` does not hold: 2 is more than 1");
    }

    #[test]
    fn what_holds_only_between_polls_is_no_matter() {
        assert_eq!(violations(2), []);
    }

    #[test]
    fn a_check_that_panics_is_broken() {
        let lab = LabRuntime::new(LabConfig::default());
        let lab = lab.invariant("odd", |_| panic!("never looked"));
        let report = lab.run(async |_| Ok::<_, Cancelled>(()));
        assert_eq!(
            report.violations[0].message,
            "`odd` does not hold: its check panicked: never looked"
        );
    }
}
