//! The kernel's laws, checked over a trace.
//!
//! Each oracle reads the events alone; it knows nothing of the kernel's structures, and so cannot share their mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use asupersync_core::{CancelStage, ObligationId, RegionId, TaskId};
use asupersync_kernel::{Event, Settlement, Subject};

use asupersync_trace::Trace;

mod futurelock;

pub use futurelock::{Futurelock, idle_holders, stalled_holders};

/// A law that an oracle watches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Law {
    /// Every task that was spawned has ended.
    NoTaskLeak,
    /// A region closes only when everything in it has ended or closed.
    Quiescence,
    /// A region goes through its phases in order, each once.
    RegionOrder,
    /// Nothing is polled after its end.
    NoPollAfterEnd,
    /// Every obligation is settled once, and not by leaking.
    Obligations,
    /// A cancellation goes from stage to stage, and starts with a request.
    CancelOrder,
    /// Every finalizer that started has ended before its region closed.
    Finalizers,
    /// Nobody holds what others wait for without being polled.
    Futurelock,
    /// Nothing reaches the lab from another thread; the host itself sees it.
    ForeignThread,
}

/// A broken law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How, and by whom.
    pub message: String,
    /// The place in the trace.
    pub event: usize,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} broken at event {}: {}",
            self.law, self.event, self.message
        )
    }
}

/// Checks a finished run's trace against all laws.
#[must_use]
pub fn check_laws(trace: &Trace) -> Vec<Violation> {
    let mut oracles: Vec<Box<dyn Oracle>> = vec![
        Box::new(Tasks::default()),
        Box::new(Regions::default()),
        Box::new(Obligations::default()),
        Box::new(Cancellations::default()),
    ];
    let mut violations = Vec::new();
    for (index, event) in trace.iter().enumerate() {
        for oracle in &mut oracles {
            oracle.see(event, &mut |law, message| {
                violations.push(Violation {
                    law,
                    message,
                    event: index,
                });
            });
        }
    }
    let end = trace.events.len();
    for oracle in &mut oracles {
        oracle.end(&mut |law, message| {
            violations.push(Violation {
                law,
                message,
                event: end,
            })
        });
    }
    violations
}

type Found<'a> = &'a mut dyn FnMut(Law, String);

trait Oracle {
    fn see(&mut self, event: &Event, found: Found<'_>);
    fn end(&mut self, found: Found<'_>);
}

/// Tasks end once, and are not polled afterwards.
#[derive(Default)]
struct Tasks {
    live: BTreeSet<TaskId>,
    ended: BTreeSet<TaskId>,
}

impl Oracle for Tasks {
    fn see(&mut self, event: &Event, found: Found<'_>) {
        match event {
            Event::TaskSpawned { task, .. } => {
                self.live.insert(*task);
            }
            Event::TaskEnded { task, .. } => {
                self.live.remove(task);
                if !self.ended.insert(*task) {
                    found(Law::NoPollAfterEnd, format!("{task} ended twice"));
                }
            }
            Event::TaskPolled { task } if self.ended.contains(task) => {
                found(
                    Law::NoPollAfterEnd,
                    format!("{task} was polled after its end"),
                );
            }
            Event::RegionClosed { region } => {
                for task in self.live.iter().filter(|task| task.region() == *region) {
                    let message = format!("{region} closed while {task} was alive");
                    found(Law::Quiescence, message);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, found: Found<'_>) {
        for task in &self.live {
            found(Law::NoTaskLeak, format!("{task} never ended"));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Open,
    Closing,
    Finalizing,
    Closed,
}

/// Regions close from the leaves up, in order.
#[derive(Default)]
struct Regions {
    phase: BTreeMap<RegionId, Phase>,
    parent: BTreeMap<RegionId, RegionId>,
    finalizers: BTreeMap<RegionId, usize>,
}

impl Regions {
    fn advance(&mut self, region: RegionId, next: Phase, found: Found<'_>) {
        match self.phase.insert(region, next) {
            Some(before) if before < next => {}
            before => {
                found(
                    Law::RegionOrder,
                    format!("{region} went from {before:?} to {next:?}"),
                );
            }
        }
    }

    fn closed(&mut self, region: RegionId, found: Found<'_>) {
        self.advance(region, Phase::Closed, found);
        let open = self.parent.iter().filter(|(_, parent)| **parent == region);
        for (child, _) in open.filter(|(child, _)| self.phase[*child] != Phase::Closed) {
            found(
                Law::Quiescence,
                format!("{region} closed while {child} was open"),
            );
        }
        if self
            .finalizers
            .get(&region)
            .is_some_and(|running| *running > 0)
        {
            found(
                Law::Finalizers,
                format!("{region} closed while a finalizer ran"),
            );
        }
    }
}

impl Oracle for Regions {
    fn see(&mut self, event: &Event, found: Found<'_>) {
        match event {
            Event::RegionOpened { region, parent } => {
                self.phase.insert(*region, Phase::Open);
                match parent {
                    Some(Subject::Region(parent)) => {
                        self.parent.insert(*region, *parent);
                    }
                    Some(Subject::Task(parent)) => {
                        self.parent.insert(*region, parent.region());
                    }
                    None => {}
                }
            }
            Event::RegionClosing { region, .. } => self.advance(*region, Phase::Closing, found),
            Event::RegionFinalizing { region } => self.advance(*region, Phase::Finalizing, found),
            Event::FinalizerStarted { region } => *self.finalizers.entry(*region).or_default() += 1,
            Event::FinalizerEnded { region, .. } => {
                let running = self.finalizers.entry(*region).or_default();
                *running = running.saturating_sub(1);
            }
            Event::RegionAbandoned { region, .. } => {
                // A finalizer under way is dropped with the future; what remains runs anew.
                self.finalizers.insert(*region, 0);
                self.phase.insert(*region, Phase::Open);
            }
            Event::RegionClosed { region } => self.closed(*region, found),
            _ => {}
        }
    }

    fn end(&mut self, found: Found<'_>) {
        for (region, phase) in &self.phase {
            if *phase != Phase::Closed {
                found(Law::Quiescence, format!("{region} was left {phase:?}"));
            }
        }
    }
}

/// Obligations are settled once, by their holders.
#[derive(Default)]
struct Obligations {
    open: BTreeMap<ObligationId, Subject>,
}

impl Oracle for Obligations {
    fn see(&mut self, event: &Event, found: Found<'_>) {
        match event {
            Event::ObligationReserved {
                obligation, holder, ..
            } => {
                self.open.insert(*obligation, *holder);
            }
            Event::ObligationSettled {
                obligation,
                settlement,
            } => {
                let holder = self.open.remove(obligation);
                match (holder, settlement) {
                    (None, _) => {
                        found(Law::Obligations, format!("{obligation} was settled twice"));
                    }
                    (Some(holder), Settlement::Leaked) => {
                        found(Law::Obligations, format!("{holder:?} leaked {obligation}"));
                    }
                    (
                        Some(_),
                        Settlement::Committed | Settlement::Aborted | Settlement::Dropped,
                    ) => {}
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, found: Found<'_>) {
        for (obligation, holder) in &self.open {
            found(
                Law::Obligations,
                format!("{obligation} of {holder:?} was never settled"),
            );
        }
    }
}

/// Stages follow requests, in order.
#[derive(Default)]
struct Cancellations {
    stage: BTreeMap<Subject, CancelStage>,
}

impl Oracle for Cancellations {
    fn see(&mut self, event: &Event, found: Found<'_>) {
        match event {
            Event::CancelRequested { subject, .. } => {
                self.stage.entry(*subject).or_insert(CancelStage::Requested);
            }
            Event::CancelEscalated { subject, stage } => {
                match self.stage.insert(*subject, *stage) {
                    Some(before) if before < *stage => {}
                    before => {
                        let message = format!("{subject:?} went from {before:?} to {stage:?}");
                        found(Law::CancelOrder, message);
                    }
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _found: Found<'_>) {}
}

#[cfg(test)]
mod tests;
