//! Who holds what others wait for, and is not polled.
//!
//! A lock that is held by a future which nobody polls keeps everybody else waiting.
//! The oracle follows the events of locks and semaphores: who waits, who holds, who was polled.
//! In a run that stalled every such holder is found; in one that goes on, those that were not polled for a given number of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use asupersync_core::{RegionId, TaskId};
use asupersync_kernel::{Event, Subject};
use asupersync_trace::{Hold, Holds};

use asupersync_trace::Trace;

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
    locks.found().map(|(found, _)| found).collect()
}

/// Finds the holders that were not polled for more than `idle_steps_max` steps while another waited.
#[must_use]
pub fn idle_holders(trace: &Trace, idle_steps_max: u64) -> Vec<Futurelock> {
    let mut locks = Locks::default();
    let mut found: BTreeMap<(u64, Subject), Futurelock> = BTreeMap::new();
    for traced in &trace.events {
        locks.see(traced.step, &traced.event);
        if matches!(traced.event, Event::TaskPolled { .. }) {
            for (pair, waits_since) in locks.found() {
                let since = pair.polled_at.unwrap_or(0).max(waits_since);
                if pair.polled_at.is_some() && traced.step.saturating_sub(since) > idle_steps_max {
                    found.entry((pair.resource, pair.holder)).or_insert(pair);
                }
            }
        }
    }
    found.into_values().collect()
}

#[derive(Default)]
struct Locks {
    holds: Holds,
    polled: BTreeMap<TaskId, u64>,
    opener: BTreeMap<RegionId, Subject>,
    ended: BTreeSet<TaskId>,
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
                self.ended.insert(*task);
            }
            Event::Operation {
                subject: Some(subject),
                resource,
                name,
            } => self.holds.see(step, *subject, *resource, name),
            _ => {}
        }
    }

    /// Each holder with each who waits for it, and since when it waits.
    fn found(&self) -> impl Iterator<Item = (Futurelock, u64)> {
        let waits = |hold: &Hold| match hold.waiter {
            Subject::Task(task) => !self.ended.contains(&task),
            Subject::Region(_) => true,
        };
        self.holds.iter().filter(waits).map(|hold| {
            let found = Futurelock {
                waiter: hold.waiter,
                holder: hold.holder,
                resource: hold.resource,
                held_since: hold.held_since,
                polled_at: self
                    .task_of(hold.holder)
                    .and_then(|task| self.polled.get(&task).copied()),
            };
            (found, hold.waits_since)
        })
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
