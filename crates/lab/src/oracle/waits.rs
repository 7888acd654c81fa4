//! Who waits for news, and was told them.
//!
//! Each primitive's own rule says whom an operation reaches: the first in line, the last, or everybody.
//! Whoever was reached has to be polled after that; what the primitive itself believes to have done is not asked.

use asupersync_core::TaskId;
use asupersync_kernel::Subject;

use super::ledger::{Book, Ledger};
use super::wakes;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    subject: Subject,
    /// The task that it is polled in; none of one that does not ask to be woken.
    task: Option<TaskId>,
    /// The step in which it was last seen to wait.
    seen: u64,
    /// The event since which it is to look again.
    owed: Option<usize>,
}

/// Somebody who is out of the line, and has not gone on.
#[derive(Clone, Copy, Debug)]
struct Told {
    waiter: Waiter,
    event: usize,
    /// The news were for this one, and go to the next if it leaves.
    is_own: bool,
}

#[derive(Debug, Default)]
struct Line {
    /// The first first.
    waiting: Vec<Waiter>,
    /// Who offers a value, where senders wait as well.
    offers: Vec<Waiter>,
    told: Vec<Told>,
    /// Who is the first is not known.
    is_blurred: bool,
}

/// Whom an operation reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    First,
    Last,
    All,
}

#[derive(Debug, Default)]
pub(super) struct Waits {
    lines: Book<u64, Line>,
}

impl Waits {
    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Something was done to the resource outside every task.
    pub(super) fn set_partial(&mut self, resource: u64) {
        self.lines.entry(resource, Line::default).is_blurred = true;
    }

    pub(super) fn see(
        &mut self,
        ledger: &Ledger,
        step: u64,
        resource: u64,
        subject: Subject,
        (kind, operation): (&str, &str),
    ) {
        let line = self.lines.entry(resource, Line::default);
        if line.is_blurred {
            return;
        }
        match (kind, operation) {
            ("rendezvous", _) => line.meet(ledger, step, subject, operation),
            (_, "wait") => {
                let in_order = matches!(kind, "notify" | "condvar");
                line.wait(step, subject, wakes::poller(ledger, subject), in_order);
            }
            (_, "enable") => line.wait(step, subject, None, true),
            ("notify" | "condvar", "one") => line.tell(ledger, Reach::First),
            ("notify", "last") => line.tell(ledger, Reach::Last),
            (_, "all" | "send" | "close" | "lead" | "open" | "answer" | "give_up" | "refuse") => {
                line.tell(ledger, Reach::All);
            }
            (_, "notified" | "changed" | "recv" | "lag" | "pass" | "end") => {
                line.forget(subject);
            }
            (_, "leave") => line.leave(ledger, subject),
            _ => {}
        }
    }

    /// Who was reached, and since which event.
    pub(super) fn told(&self) -> impl Iterator<Item = (TaskId, usize)> {
        let lines = self.lines.iter().filter(|line| !line.is_blurred);
        lines.flat_map(|line| {
            let told = line.told.iter();
            let told = told.map(|told| (told.waiter.task, Some(told.event)));
            let owed = line.waiting.iter().map(|waiter| (waiter.task, waiter.owed));
            told.chain(owed)
                .filter_map(|(task, event)| Some((task?, event?)))
        })
    }
}

impl Line {
    fn wait(&mut self, step: u64, subject: Subject, task: Option<TaskId>, in_order: bool) {
        self.told.retain(|told| told.waiter.subject != subject);
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|known| known.subject == subject) {
            Some(known) if known.seen == step && in_order && known.task.is_some() => {
                self.is_blurred = true;
            }
            Some(known) => {
                known.seen = step;
                known.task = task;
            }
            None => self.waiting.push(Waiter {
                subject,
                task,
                seen: step,
                owed: None,
            }),
        }
    }

    fn tell(&mut self, ledger: &Ledger, reach: Reach) {
        let count = self.waiting.len();
        let reached = match reach {
            _ if count == 0 => 0..0,
            Reach::First => 0..1,
            Reach::Last => count - 1..count,
            Reach::All => 0..count,
        };
        let event = ledger.index;
        let is_own = reach != Reach::All;
        let told = self.waiting.drain(reached).map(|waiter| Told {
            waiter,
            event,
            is_own,
        });
        self.told.extend(told);
    }

    fn forget(&mut self, subject: Subject) {
        self.waiting.retain(|known| known.subject != subject);
        self.told.retain(|told| told.waiter.subject != subject);
    }

    /// It goes away; what was for it alone is for the next.
    fn leave(&mut self, ledger: &Ledger, subject: Subject) {
        let Some(subject) = self.leaver(subject) else {
            return;
        };
        let mut told = self.told.iter();
        let passes_on = told.any(|told| told.is_own && told.waiter.subject == subject);
        self.forget(subject);
        if passes_on {
            self.tell(ledger, Reach::First);
        }
    }

    /// Who leaves: the subject, or the only one that can be meant if another drops its wait; otherwise the line is not judged any more.
    fn leaver(&mut self, subject: Subject) -> Option<Subject> {
        let told = self.told.iter().map(|told| told.waiter.subject);
        let waiting = self.waiting.iter().chain(&self.offers);
        let mut all = waiting.map(|known| known.subject).chain(told);
        if all.clone().any(|known| known == subject) {
            return Some(subject);
        }
        let only = all.next()?;
        if all.next().is_some() {
            self.is_blurred = true;
            return None;
        }
        Some(only)
    }

    /// An operation where senders wait for receivers, and receivers for senders.
    fn meet(&mut self, ledger: &Ledger, step: u64, subject: Subject, operation: &str) {
        let waiter = |subject| Waiter {
            subject,
            task: wakes::poller(ledger, subject),
            seen: step,
            owed: None,
        };
        match operation {
            "wait" => self.wait(step, subject, wakes::poller(ledger, subject), false),
            "offer" => self.offers.push(waiter(subject)),
            // Which receiver a permit binds is not told.
            "bid" => self.is_blurred = true,
            "send" => self.tell(ledger, Reach::First),
            "recv" | "end" => self.forget(subject),
            "take" => {
                self.forget(subject);
                self.tell_sender(ledger, 0..1);
            }
            "take_back" => {
                if let Some(subject) = self.leaver(subject) {
                    self.offers.retain(|known| known.subject != subject);
                }
            }
            "leave" => self.leave(ledger, subject),
            "close" => {
                self.tell(ledger, Reach::All);
                self.tell_sender(ledger, 0..self.offers.len());
            }
            _ => {}
        }
        if let (Some(first), false) = (self.waiting.first_mut(), self.offers.is_empty()) {
            first.owed.get_or_insert(ledger.index);
        }
    }

    fn tell_sender(&mut self, ledger: &Ledger, reached: std::ops::Range<usize>) {
        let event = ledger.index;
        let end = reached.end.min(self.offers.len());
        let told = self.offers.drain(reached.start..end).map(|waiter| Told {
            waiter,
            event,
            is_own: false,
        });
        self.told.extend(told);
    }
}
