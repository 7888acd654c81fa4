//! The kernel's laws, checked over a trace.
//!
//! Each oracle reads the events alone; it knows nothing of the kernel's structures, and so cannot share their mistakes.
//! Every law is paid for by a mutation: a seeded defect of the code that runs in production, under which this law is seen to be broken.
//! Cost: one pass over the events, with tables that a thread keeps from run to run.

use std::cell::RefCell;
use std::fmt;

use asupersync_kernel::{Event, Name, Subject};
use asupersync_trace::{Trace, TraceEvent};

mod budgets;
mod cancellation;
mod channels;
mod count;
mod errors;
mod futurelock;
mod law;
mod ledger;
mod locks;
mod obligations;
mod regions;
mod tasks;
mod waits;
mod wakes;

pub use futurelock::{Futurelock, idle_holders, stalled_holders};
pub use law::Law;

use channels::Channels;
use ledger::{Due, Ledger};
use locks::Locks;
use obligations::Obligations;
use waits::Waits;

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

/// Checks a finished run's trace against all laws that its events can tell of.
///
/// [`Law::Starvation`] is not among them: whether a schedule is fair is not in its trace.
#[must_use]
pub fn check_laws(trace: &Trace) -> Vec<Violation> {
    check_finished(trace, false)
}

/// As [`check_laws`], of a run whose schedule gives everybody a chance at each step.
pub(crate) fn check_finished(trace: &Trace, is_fair: bool) -> Vec<Violation> {
    ORACLES.with_borrow_mut(|oracles| {
        oracles.read(&trace.events, is_fair);
        oracles.end();
        std::mem::take(&mut oracles.ledger.found)
    })
}

/// The laws that a run broke which stalled, judged by what happened before it was given up.
///
/// Of the holders of a futurelock more is known than that they were not polled after a grant.
pub(crate) fn check_stalled(events: &[TraceEvent], holders: &[Futurelock]) -> Vec<Violation> {
    ORACLES.with_borrow_mut(|oracles| {
        oracles.read(events, false);
        oracles.finish_step();
        let is_named = |task| {
            holders
                .iter()
                .any(|lock| lock.holder == Subject::Task(task))
        };
        let granted = oracles.locks.granted().chain(oracles.waits.told());
        let granted = granted.filter(|(task, _)| !is_named(*task));
        wakes::stalled(&mut oracles.ledger, granted);
        std::mem::take(&mut oracles.ledger.found)
    })
}

/// Compares two runs that followed the same schedule.
///
/// # Examples
/// ```
/// use asupersync_lab::{Trace, check_determinism};
/// assert_eq!(check_determinism(&Trace::default(), &Trace::default()), None);
/// ```
#[must_use]
pub fn check_determinism(first: &Trace, second: &Trace) -> Option<Violation> {
    let divergence = first.divergence(second)?;
    Some(Violation {
        law: Law::Determinism,
        event: divergence.index,
        message: divergence.to_string(),
    })
}

thread_local! {
    static ORACLES: RefCell<Oracles> = RefCell::default();
}

#[derive(Debug, Default)]
struct Oracles {
    ledger: Ledger,
    obligations: Obligations,
    channels: Channels,
    locks: Locks,
    waits: Waits,
}

impl Oracles {
    fn clear(&mut self) {
        self.ledger.clear();
        self.obligations.clear();
        self.channels.clear();
        self.locks.clear();
        self.waits.clear();
    }

    /// Reads a run; again, if something was found, without the resources of which not all is told.
    fn read(&mut self, events: &[TraceEvent], is_fair: bool) {
        self.see_all(events, is_fair, &[]);
        if self.ledger.found.is_empty() {
            return;
        }
        let untraced = |traced: &TraceEvent| match &traced.event {
            Event::Operation { resource, name, .. } if **name == *UNTRACED => Some(*resource),
            _ => None,
        };
        let partial: Vec<u64> = events.iter().filter_map(untraced).collect();
        if !partial.is_empty() {
            self.see_all(events, is_fair, &partial);
        }
    }

    fn see_all(&mut self, events: &[TraceEvent], is_fair: bool, partial: &[u64]) {
        self.clear();
        self.ledger.is_fair = is_fair;
        for resource in partial {
            self.set_partial(*resource);
        }
        for (index, traced) in events.iter().enumerate() {
            self.ledger.index = index;
            self.see(traced.step, &traced.event);
        }
        self.ledger.index = events.len();
    }

    /// Something was done to the resource outside every task, it is not known when: nothing is told of it from here on.
    fn set_partial(&mut self, resource: u64) {
        self.channels.set_partial(resource);
        self.locks.set_partial(resource);
        self.waits.set_partial(resource);
    }

    fn see(&mut self, step: u64, event: &Event) {
        let ledger = &mut self.ledger;
        match event {
            Event::TaskPolled { .. } => {
                self.finish_step();
                let ledger = &mut self.ledger;
                tasks::see(ledger, event);
                cancellation::see(ledger, event);
                budgets::see(ledger, event);
                wakes::see(ledger, step, event);
            }
            Event::JobStarted { .. } | Event::ClockAdvanced { .. } => {
                self.finish_step();
                self.ledger.current = None;
            }
            Event::TaskWoken { .. }
            | Event::WakeMerged { .. }
            | Event::TaskAwaited { .. }
            | Event::FaultInjected { .. } => wakes::see(ledger, step, event),
            Event::Operation {
                subject,
                resource,
                name,
            } => self.operate(step, *subject, *resource, name),
            Event::PermitsMoved {
                resource,
                change,
                free,
            } => self.locks.moved(ledger, *resource, *change, *free),
            Event::MessagesMoved {
                resource,
                change,
                held,
            } => self.channels.moved(ledger, *resource, *change, *held),
            Event::TaskSpawned { .. } => {
                tasks::see(ledger, event);
                wakes::see(ledger, step, event);
            }
            Event::TaskEnded { .. } => tasks::see(ledger, event),
            Event::CancelRequested { .. } | Event::CancelEscalated { .. } => {
                cancellation::see(ledger, event);
            }
            Event::ObligationReserved { .. } | Event::ObligationSettled { .. } => {
                self.obligations.see(ledger, event);
            }
            Event::BudgetNarrowed { .. } | Event::CostSpent { .. } => budgets::see(ledger, event),
            Event::FailureTaken { .. } | Event::EndSuppressed { .. } => errors::see(ledger, event),
            _ => regions::see(ledger, event),
        }
    }

    /// Hands an operation to the oracles of its kind of resource.
    fn operate(&mut self, step: u64, subject: Option<Subject>, resource: u64, name: &Name) {
        let ledger = &mut self.ledger;
        // The most frequent first, without a search for the dot.
        if let Some(verb) = name.strip_prefix("mpsc.") {
            return self.channels.queue(ledger, resource, verb);
        }
        let (Some((kind, verb)), Some(subject)) = (name.split_once('.'), subject) else {
            return;
        };
        match kind {
            "mutex" => {
                let operation = (verb, true);
                self.locks.see(ledger, step, resource, subject, operation);
            }
            "semaphore" | "rwlock" | "pool" | "once_cell" => {
                let operation = (verb, false);
                self.locks.see(ledger, step, resource, subject, operation);
            }
            "session" => {
                self.channels.call(ledger, resource, Some(subject), verb);
                let operation = (kind, verb);
                self.waits.see(ledger, step, resource, subject, operation);
            }
            "notify" | "condvar" | "watch" | "broadcast" | "rendezvous" | "barrier" | "latch" => {
                let operation = (kind, verb);
                self.waits.see(ledger, step, resource, subject, operation);
            }
            "resource" => self.set_partial(resource),
            _ => {}
        }
    }

    /// Looks at what had to be so when the step was over.
    fn finish_step(&mut self) {
        let ledger = &mut self.ledger;
        for index in 0..ledger.due.len() {
            match ledger.due[index] {
                Due::Asked(task) => {
                    let known = ledger.tasks.get(task);
                    if known.is_some_and(|task| task.ended.is_none() && task.common.stage.is_none())
                    {
                        let message = format!("{task} was not asked to stop when its region was");
                        ledger.broken(Law::CancelPropagation, message);
                    }
                }
                Due::OutOfCost(subject) => {
                    if !ledger.is_asked(subject) {
                        let message =
                            format!("{subject:?} spent more than its cost quota and goes on");
                        ledger.broken(Law::BudgetConservation, message);
                    }
                }
            }
        }
        ledger.due.clear();
    }

    fn end(&mut self) {
        self.finish_step();
        tasks::end(&mut self.ledger);
        regions::end(&mut self.ledger);
        self.obligations.end(&mut self.ledger);
        self.channels.end(&mut self.ledger);
        errors::end(&mut self.ledger);
    }
}

/// What a resource says of itself once something was done to it outside every task.
const UNTRACED: &str = "resource.untraced";

#[cfg(test)]
mod tests;
