//! Who holds what others wait for, and is not polled.
//!
//! A lock that is held by a future which nobody polls keeps everybody else waiting.
//! The oracle follows the events of locks and semaphores: who waits, who holds, who was polled.
//! In a run that stalled every such holder is found; in one that goes on, those that were not polled for a given number of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use asupersync_core::{RegionId, TaskId};
use asupersync_kernel::{Event, Subject};

use crate::trace::Trace;

/// A holder that is not polled while another waits for what it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Futurelock {
    /// Who waits.
    pub waiter: Subject,
    /// Who holds.
    pub holder: Subject,
    /// What: the number of the lock or semaphore in the trace.
    pub resource: u64,
    /// The step at which the holder took it.
    pub held_since: u64,
    /// The step at which the holder was last polled, if it is a task and was polled since.
    pub polled_at: Option<u64>,
}

impl fmt::Display for Futurelock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waiter,
            holder,
            resource,
            held_since,
            polled_at,
        } = self;
        write!(
            f,
            "{waiter:?} waits for lock {resource}, held by {holder:?} since step {held_since}"
        )?;
        match polled_at {
            Some(step) => write!(f, ", which was last polled at step {step}"),
            None => Ok(()),
        }
    }
}

/// Finds the holders that keep others waiting at the end of a run that stalled.
#[must_use]
pub fn stalled_holders(trace: &Trace) -> Vec<Futurelock> {
    let mut locks = Locks::default();
    for traced in &trace.events {
        locks.see(traced.step, &traced.event);
    }
    locks.pairs().collect()
}

/// Finds the holders that were not polled for more than `idle_steps_max` steps while another waited.
#[must_use]
pub fn idle_holders(trace: &Trace, idle_steps_max: u64) -> Vec<Futurelock> {
    let mut locks = Locks::default();
    let mut found: BTreeMap<(u64, Subject), Futurelock> = BTreeMap::new();
    for traced in &trace.events {
        locks.see(traced.step, &traced.event);
        if matches!(traced.event, Event::TaskPolled { .. }) {
            for pair in locks.pairs() {
                let since = pair.polled_at.unwrap_or(0).max(locks.waits_since(&pair));
                if pair.polled_at.is_some() && traced.step.saturating_sub(since) > idle_steps_max {
                    found.entry((pair.resource, pair.holder)).or_insert(pair);
                }
            }
        }
    }
    found.into_values().collect()
}

/// What an operation means to who waits and who holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Wait,
    Leave,
    Take,
    Release,
    WaitToUpgrade,
    EndUpgrade,
}

impl Step {
    fn of(operation: &str) -> Option<Self> {
        let (primitive, what) = operation.split_once('.')?;
        if !LOCK_LIKE.contains(&primitive) {
            return None;
        }
        Some(match what {
            "wait" => Self::Wait,
            "leave" => Self::Leave,
            "lock" | "acquire" | "read" | "write" | "upgradable" => Self::Take,
            "unlock" | "release" => Self::Release,
            "upgrade" => Self::WaitToUpgrade,
            "upgraded" | "keep" => Self::EndUpgrade,
            _ => return None,
        })
    }
}

/// The primitives that somebody holds while others wait.
const LOCK_LIKE: [&str; 5] = ["mutex", "semaphore", "rwlock", "once_cell", "pool"];

#[derive(Default)]
struct Locks {
    /// For each resource, who took it when.
    held: BTreeMap<u64, Vec<(Subject, u64)>>,
    /// For each resource, who waits since when.
    waiting: BTreeMap<u64, BTreeMap<Subject, u64>>,
    polled: BTreeMap<TaskId, u64>,
    opener: BTreeMap<RegionId, Subject>,
}

impl Locks {
    fn see(&mut self, step: u64, event: &Event) {
        match event {
            Event::TaskPolled { task } => {
                self.polled.insert(*task, step);
            }
            Event::RegionOpened {
                region,
                parent: Some(parent),
            } => {
                self.opener.insert(*region, *parent);
            }
            Event::TaskEnded { task, .. } => {
                for waiters in self.waiting.values_mut() {
                    waiters.remove(&Subject::Task(*task));
                }
            }
            Event::Operation {
                subject: Some(subject),
                resource,
                name,
            } => {
                self.operation(*subject, *resource, name, step);
            }
            _ => {}
        }
    }

    fn operation(&mut self, subject: Subject, resource: u64, name: &str, step: u64) {
        let Some(step_of) = Step::of(name) else {
            return;
        };
        let waiters = self.waiting.entry(resource).or_default();
        let holders = self.held.entry(resource).or_default();
        let own = holders.iter().position(|(holder, _)| *holder == subject);
        match step_of {
            Step::Wait => {
                waiters.entry(subject).or_insert(step);
            }
            Step::Leave => {
                waiters.remove(&subject);
            }
            Step::Take => {
                waiters.remove(&subject);
                holders.push((subject, step));
            }
            Step::Release => {
                // A guard may be dropped by somebody else than who took it.
                if let Some(index) = own.or(holders.len().checked_sub(1)) {
                    holders.remove(index);
                }
            }
            Step::WaitToUpgrade => {
                // It waits for the others; what it holds itself keeps nobody from moving but through them.
                if let Some(index) = own {
                    holders.remove(index);
                }
                waiters.entry(subject).or_insert(step);
            }
            Step::EndUpgrade => {
                if waiters.remove(&subject).is_some() {
                    holders.push((subject, step));
                }
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = Futurelock> {
        self.waiting.iter().flat_map(move |(resource, waiters)| {
            let holders = self.held.get(resource).into_iter().flatten();
            holders.flat_map(move |(holder, held_since)| {
                waiters.keys().map(move |waiter| Futurelock {
                    waiter: *waiter,
                    holder: *holder,
                    resource: *resource,
                    held_since: *held_since,
                    polled_at: self
                        .task_of(*holder)
                        .and_then(|task| self.polled.get(&task).copied()),
                })
            })
        })
    }

    fn waits_since(&self, pair: &Futurelock) -> u64 {
        let since = self
            .waiting
            .get(&pair.resource)
            .and_then(|waiters| waiters.get(&pair.waiter));
        since.copied().unwrap_or(0)
    }

    /// The task in whose poll a subject runs.
    fn task_of(&self, subject: Subject) -> Option<TaskId> {
        let mut seen = BTreeSet::new();
        let mut subject = subject;
        loop {
            match subject {
                Subject::Task(task) => return Some(task),
                Subject::Region(region) if seen.insert(region) => {
                    subject = *self.opener.get(&region)?;
                }
                Subject::Region(_) => return None,
            }
        }
    }
}
