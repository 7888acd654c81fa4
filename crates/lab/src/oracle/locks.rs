//! Permits are neither lost nor made, and a lock goes to the first in line.

use asupersync_core::TaskId;
use asupersync_kernel::{Event, Subject};

use super::law::Law;
use super::ledger::{Book, Ledger};
use super::wakes;

#[derive(Debug, Default)]
struct Line {
    /// Who waits, the first first: the subject, and the step in which it was last seen to wait.
    waiting: Vec<(Subject, u64)>,
    /// Who was given the lock and has not run since: the subject, the task that it is polled in, and the event.
    granted: Vec<(Subject, Option<TaskId>, usize)>,
    pollers: Vec<(Subject, Option<TaskId>)>,
    /// Somebody waits in two places at once, or outside every task, and the order is not known.
    is_blurred: bool,
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    lines: Book<u64, Line>,
    free: Book<u64, Option<u64>>,
}

impl Locks {
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.free.clear();
    }

    pub(super) fn see(&mut self, ledger: &mut Ledger, step: u64, event: &Event) {
        match event {
            Event::PermitsMoved {
                resource,
                change,
                free,
            } => self.moved(ledger, *resource, *change, *free),
            Event::Operation {
                subject: Some(subject),
                resource,
                name,
            } => {
                let name = name.as_str();
                if name == "resource.untraced" {
                    *self.free.entry(*resource, || None) = None;
                    self.lines.entry(*resource, Line::default).is_blurred = true;
                } else if let Some(operation) = name.strip_prefix("mutex.") {
                    let line = self.lines.entry(*resource, Line::default);
                    if !line.is_blurred {
                        line.see(ledger, step, *resource, *subject, operation);
                    }
                }
            }
            _ => {}
        }
    }

    fn moved(&mut self, ledger: &mut Ledger, resource: u64, change: i64, free: u64) {
        let known = self.free.entry(resource, || None);
        let before = known.replace(free);
        let expected = before.map(|before| before.wrapping_add_signed(change));
        if let Some(expected) = expected.filter(|expected| *expected != free) {
            let message = format!(
                "counter {resource} has {free} permits free after {change:+}, and should have {expected}"
            );
            ledger.broken(Law::PermitConservation, message);
        }
    }

    /// Who was given a lock and has not run since, and in which event.
    pub(super) fn granted(&self) -> impl Iterator<Item = (TaskId, usize)> {
        let lines = self.lines.iter().filter(|line| !line.is_blurred);
        lines
            .flat_map(|line| line.granted.iter())
            .filter_map(|(_, task, since)| Some(((*task)?, *since)))
    }
}

impl Line {
    fn see(
        &mut self,
        ledger: &mut Ledger,
        step: u64,
        resource: u64,
        subject: Subject,
        operation: &str,
    ) {
        match operation {
            "wait" => {
                let known = self.waiting.iter_mut().find(|(known, _)| *known == subject);
                match known {
                    Some((_, seen)) if *seen == step => self.is_blurred = true,
                    Some((_, seen)) => *seen = step,
                    None => {
                        self.waiting.push((subject, step));
                        self.pollers.push((subject, wakes::poller(ledger, subject)));
                    }
                }
            }
            "grant" if !self.waiting.is_empty() => {
                let (first, _) = self.waiting.remove(0);
                let task = self.forget_poller(first);
                self.granted.push((first, task, ledger.index));
            }
            "leave" => {
                self.waiting.retain(|(known, _)| *known != subject);
                self.forget_poller(subject);
            }
            "unlock" => self.granted.retain(|(known, ..)| *known != subject),
            "lock" => self.locked(ledger, resource, subject),
            _ => {}
        }
    }

    fn forget_poller(&mut self, subject: Subject) -> Option<TaskId> {
        let index = self
            .pollers
            .iter()
            .position(|(known, _)| *known == subject)?;
        self.pollers.swap_remove(index).1
    }

    fn locked(&mut self, ledger: &mut Ledger, resource: u64, subject: Subject) {
        let granted = self
            .granted
            .iter()
            .position(|(known, ..)| *known == subject);
        if let Some(index) = granted {
            self.granted.remove(index);
            return;
        }
        let overtaken = self.granted.first().map(|(known, ..)| *known);
        let overtaken = overtaken.or(self.waiting.first().map(|(known, _)| *known));
        self.waiting.retain(|(known, _)| *known != subject);
        self.forget_poller(subject);
        if let Some(first) = overtaken.filter(|first| *first != subject) {
            // The order is not known any more.
            self.is_blurred = true;
            let message =
                format!("{subject:?} has lock {resource} before {first:?}, which is first in line");
            ledger.broken(Law::LockFairness, message);
        }
    }
}
