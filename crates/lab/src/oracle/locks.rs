//! Permits are neither lost nor made, and a lock goes to the first in line.
//!
//! Of a lock that several hold at once, who comes may go in beside those who were let in and have not run; it may not go past one that stands in line.
//! A reader-writer lock lets the readers in that stand together, so none of them is left first in line when another goes on.

use asupersync_core::TaskId;
use asupersync_kernel::Subject;

use super::count::Count;
use super::law::Law;
use super::ledger::{Book, Ledger};
use super::wakes;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    subject: Subject,
    /// The task that it is polled in.
    task: Option<TaskId>,
    /// The step in which it was last seen to wait.
    seen: u64,
    reads: bool,
}

/// Who was given the lock and has not run since.
#[derive(Clone, Copy, Debug)]
struct Granted {
    subject: Subject,
    task: Option<TaskId>,
    event: usize,
}

#[derive(Debug, Default)]
struct Line {
    /// Who waits, the first first.
    waiting: Vec<Waiter>,
    granted: Vec<Granted>,
    /// A reader waits for the others to go, before everybody in line.
    is_upgrading: bool,
    /// Somebody waits in two places at once, or outside every task, and the order is not known.
    is_blurred: bool,
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    lines: Book<u64, Line>,
    free: Book<u64, Count>,
}

impl Locks {
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.free.clear();
    }

    /// Something was done to the resource outside every task.
    pub(super) fn set_partial(&mut self, resource: u64) {
        *self.free.entry(resource, Count::default) = Count::Partial;
        self.lines.entry(resource, Line::default).is_blurred = true;
    }

    pub(super) fn moved(&mut self, ledger: &mut Ledger, resource: u64, change: i64, free: u64) {
        let count = self.free.entry(resource, Count::default);
        if let Some(expected) = count.contradicts(change, free) {
            let message = format!(
                "counter {resource} has {free} permits free after {change:+}, and should have {expected}"
            );
            ledger.broken(Law::PermitConservation, message);
        }
    }

    /// An operation on a lock; of one that is not exclusive, several may hold it at once.
    pub(super) fn see(
        &mut self,
        ledger: &mut Ledger,
        step: u64,
        resource: u64,
        subject: Subject,
        (operation, is_exclusive): (&str, bool),
    ) {
        let line = self.lines.entry(resource, Line::default);
        if line.is_blurred {
            return;
        }
        match operation {
            "wait" | "wait_upgradable" => line.wait(ledger, step, subject, false),
            "wait_read" => line.wait(ledger, step, subject, true),
            "grant" if !line.waiting.is_empty() => {
                let first = line.waiting.remove(0);
                line.grant(ledger, first);
            }
            "close" => {
                for waiter in std::mem::take(&mut line.waiting) {
                    line.grant(ledger, waiter);
                }
            }
            "leave" => line.left(subject),
            "give_back" => line.gave_back(subject),
            "upgrade" => line.is_upgrading = true,
            "upgraded" | "keep" => line.is_upgrading = false,
            "lock" | "acquire" | "read" | "upgradable" | "write" => {
                line.taken(ledger, resource, subject, is_exclusive);
                if operation == "acquire" {
                    line.went_on(ledger, resource, subject);
                }
            }
            _ => {}
        }
    }

    /// Who was given a lock and has not run since, and in which event.
    pub(super) fn granted(&self) -> impl Iterator<Item = (TaskId, usize)> {
        let lines = self.lines.iter().filter(|line| !line.is_blurred);
        lines
            .flat_map(|line| line.granted.iter())
            .filter_map(|granted| Some((granted.task?, granted.event)))
    }
}

impl Line {
    fn wait(&mut self, ledger: &Ledger, step: u64, subject: Subject, reads: bool) {
        let known = self.waiting.iter_mut();
        match known.into_iter().find(|known| known.subject == subject) {
            Some(known) if known.seen == step => self.is_blurred = true,
            Some(known) => known.seen = step,
            None => self.waiting.push(Waiter {
                subject,
                task: wakes::poller(ledger, subject),
                seen: step,
                reads,
            }),
        }
    }

    fn grant(&mut self, ledger: &Ledger, waiter: Waiter) {
        self.granted.push(Granted {
            subject: waiter.subject,
            task: waiter.task,
            event: ledger.index,
        });
    }

    /// Somebody leaves the line; who drops a waiter may be another than who waited.
    fn left(&mut self, subject: Subject) {
        let waits = |known: &Waiter| known.subject == subject;
        if let Some(index) = self.waiting.iter().position(waits) {
            self.waiting.remove(index);
        } else if self.waiting.is_empty() {
            self.gave_back(subject);
        } else if self.waiting.len() == 1 && self.granted.is_empty() {
            self.waiting.clear();
        } else {
            self.is_blurred = true;
        }
    }

    /// Somebody does not use what it was given.
    fn gave_back(&mut self, subject: Subject) {
        let has = |known: &Granted| known.subject == subject;
        if let Some(index) = self.granted.iter().position(has) {
            self.granted.remove(index);
        } else if self.granted.len() == 1 && self.waiting.is_empty() {
            self.granted.clear();
        } else if !self.waiting.is_empty() || !self.granted.is_empty() {
            self.is_blurred = true;
        }
    }

    fn taken(&mut self, ledger: &mut Ledger, resource: u64, subject: Subject, is_exclusive: bool) {
        let mut granted = self.granted.iter();
        if let Some(index) = granted.position(|known| known.subject == subject) {
            self.granted.remove(index);
            return;
        }
        let waited = self.waiting.iter().any(|known| known.subject == subject);
        let granted = self.granted.first().map(|known| known.subject);
        // Beside those who were let in there may be room; who stood in line itself has what one of them was given.
        let overtaken = granted.filter(|_| is_exclusive || waited);
        let overtaken = overtaken.or(self.waiting.first().map(|known| known.subject));
        self.waiting.retain(|known| known.subject != subject);
        if let Some(first) = overtaken.filter(|first| *first != subject) {
            // The order is not known any more.
            self.is_blurred = true;
            let message =
                format!("{subject:?} has lock {resource} before {first:?}, which is first in line");
            ledger.broken(Law::LockFairness, message);
        }
    }

    /// Somebody goes on with what it was let in for; if it reads, nobody else who reads is left first in line.
    fn went_on(&mut self, ledger: &mut Ledger, resource: u64, subject: Subject) {
        let left = self.waiting.first().filter(|first| first.reads);
        if let Some(first) = left
            && !self.is_upgrading
            && !self.is_blurred
        {
            let message = format!(
                "{subject:?} reads under lock {resource}, and {:?}, the first in line, would too",
                first.subject
            );
            self.is_blurred = true;
            ledger.broken(Law::LockFairness, message);
        }
    }
}
