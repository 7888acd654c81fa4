//! Who holds what others wait for.
//!
//! # What it reads
//! Operations on locks and permits, by the end of their name:
//! - `wait`, `wait_read`, `wait_upgradable` and `leave` for the line;
//! - `lock`, `acquire`, `read`, `write`, `upgradable` for getting the thing itself, `unlock` and `release` for giving it up;
//! - `grant` when it is handed to the first in line, `give_back` when that one does not use it;
//! - `upgrade` for a reader that waits for the others to go, `promote` when they have, `upgraded` and `keep` when it goes on with or without what it waited for.
//!
//! # Invariants
//! - A subject that got what it waited for waits no more.
//! - What was handed to a waiter is held by it from then on, polled or not: a waiter that nobody polls again is the classic futurelock.
//! - Moments are whatever the host counts, steps or nanoseconds; they are handed back as they came.

use std::collections::BTreeMap;

use asupersync_kernel::Subject;

/// One holder and one who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hold {
    /// The lock or semaphore, by its number.
    pub resource: u64,
    /// What it is: `mutex`, `semaphore`.
    pub kind: &'static str,
    /// Who holds it.
    pub holder: Subject,
    /// Since when.
    pub held_since: u64,
    /// Who waits.
    pub waiter: Subject,
    /// Since when.
    pub waits_since: u64,
}

/// Who holds and who waits, as of the last operation.
///
/// # Examples
/// ```
/// use asupersync_core::{RegionId, TaskId};
/// use asupersync_kernel::Subject;
/// use asupersync_trace::Holds;
/// let [holder, waiter] = [0, 1].map(|n| Subject::Task(TaskId::new(RegionId::new(1), n)));
/// let mut holds = Holds::default();
/// holds.see(10, holder, 3, "mutex.lock");
/// holds.see(11, waiter, 3, "mutex.wait");
/// let found: Vec<_> = holds.iter().collect();
/// assert_eq!((found[0].holder, found[0].waiter, found[0].waits_since), (holder, waiter, 11));
/// holds.see(12, holder, 3, "mutex.unlock");
/// assert_eq!(holds.iter().count(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Holds {
    resources: BTreeMap<u64, Line>,
}

#[derive(Clone, Debug)]
struct Line {
    kind: &'static str,
    held: Vec<Held>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    /// Grants that were seen before the waits that they end: between threads, who gets in line says so after it did.
    early: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    waiter: Subject,
    since: u64,
    /// It reads already, and wants to write.
    is_upgrade: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    holder: Subject,
    since: u64,
    /// It was handed over, and the holder has not been polled since.
    is_granted: bool,
}

impl Holds {
    /// Follows one operation; those that are none of a lock's are passed over.
    pub fn see(&mut self, moment: u64, subject: Subject, resource: u64, operation: &str) {
        let Some((kind, verb)) = operation.split_once('.') else {
            return;
        };
        let Some(kind) = LOCK_LIKE.into_iter().find(|known| *known == kind) else {
            return;
        };
        match verb {
            "wait" | "wait_read" | "wait_upgradable" => {
                self.line(resource, kind).wait(moment, subject, false)
            }
            "lock" | "acquire" | "read" | "write" | "upgradable" => {
                self.line(resource, kind).take(moment, subject);
            }
            "grant" => self.line(resource, kind).grant(moment, false),
            "leave" => self.change(resource, |line| line.leave(subject)),
            "give_back" => self.change(resource, |line| line.give_back(subject)),
            "unlock" | "release" => self.change(resource, |line| line.give_up(subject)),
            // Who upgrades keeps nobody from moving but through those it waits for.
            "upgrade" => self.change(resource, |line| {
                line.give_up(subject);
                line.wait(moment, subject, true);
            }),
            "promote" => self.change(resource, |line| line.grant(moment, true)),
            "upgraded" | "keep" => self.change(resource, |line| line.go_on(moment, subject)),
            _ => {}
        }
    }

    /// Forgets who has ended; what such a subject still held is forgotten with it.
    pub fn retain(&mut self, lives: impl Fn(Subject) -> bool) {
        self.resources.retain(|_, line| {
            line.held.retain(|held| lives(held.holder));
            line.waiting.retain(|waiting| lives(waiting.waiter));
            !line.is_empty()
        });
    }

    /// Every holder with everybody who waits for it.
    pub fn iter(&self) -> impl Iterator<Item = Hold> {
        self.resources.iter().flat_map(|(resource, line)| {
            line.held.iter().flat_map(move |held| {
                line.waiting.iter().map(move |waiting| Hold {
                    resource: *resource,
                    kind: line.kind,
                    holder: held.holder,
                    held_since: held.since,
                    waiter: waiting.waiter,
                    waits_since: waiting.since,
                })
            })
        })
    }

    /// How many locks are held or waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether no lock is held or waited for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    fn line(&mut self, resource: u64, kind: &'static str) -> &mut Line {
        self.resources.entry(resource).or_insert_with(|| Line {
            kind,
            held: Vec::new(),
            waiting: Vec::new(),
            early: 0,
        })
    }

    fn change(&mut self, resource: u64, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.resources.get_mut(&resource) {
            change(line);
            if line.is_empty() {
                self.resources.remove(&resource);
            }
        }
    }
}

impl Line {
    fn wait(&mut self, moment: u64, waiter: Subject, is_upgrade: bool) {
        if self.early > 0 && !is_upgrade {
            self.early -= 1;
            return self.hold(moment, waiter, true);
        }
        let mut waiting = self.waiting.iter();
        if waiting.all(|waiting| waiting.waiter != waiter) {
            self.waiting.push(Waiting {
                waiter,
                since: moment,
                is_upgrade,
            });
        }
    }

    fn leave(&mut self, waiter: Subject) {
        self.waiting.retain(|waiting| waiting.waiter != waiter);
    }

    /// The subject has it, whether it was handed over or was free.
    fn take(&mut self, moment: u64, holder: Subject) {
        if !self.accept(moment, holder) {
            self.leave(holder);
            self.hold(moment, holder, false);
        }
    }

    /// The subject goes on with what it waited for, or with what it had before.
    fn go_on(&mut self, moment: u64, holder: Subject) {
        let waited = self.waiting.iter().any(|waiting| waiting.waiter == holder);
        if !self.accept(moment, holder) && waited {
            self.leave(holder);
            self.hold(moment, holder, false);
        }
    }

    /// The first in line has it, or the one that upgrades.
    fn grant(&mut self, moment: u64, is_upgrade: bool) {
        let mut waiting = self.waiting.iter();
        if let Some(index) = waiting.position(|waiting| waiting.is_upgrade == is_upgrade) {
            let waiting = self.waiting.remove(index);
            self.hold(moment, waiting.waiter, true);
        } else if !is_upgrade {
            self.early += 1;
        }
    }

    /// Whether the subject was handed it, and now knows.
    fn accept(&mut self, moment: u64, holder: Subject) -> bool {
        let mut held = self.held.iter_mut();
        let granted = held.find(|held| held.is_granted && held.holder == holder);
        let Some(held) = granted else { return false };
        held.is_granted = false;
        held.since = moment;
        true
    }

    fn hold(&mut self, moment: u64, holder: Subject, is_granted: bool) {
        self.held.push(Held {
            holder,
            since: moment,
            is_granted,
        });
    }

    fn give_up(&mut self, holder: Subject) {
        let own = self.held.iter().position(|held| held.holder == holder);
        // A guard may be dropped by somebody else than who took it.
        if let Some(index) = own.or(self.held.len().checked_sub(1)) {
            self.held.remove(index);
        }
    }

    /// What was handed over is not used; who drops a waiter may be another than who waited.
    fn give_back(&mut self, waiter: Subject) {
        let mut held = self.held.iter();
        let own = held.position(|held| held.is_granted && held.holder == waiter);
        let index = own.or_else(|| self.held.iter().rposition(|held| held.is_granted));
        if let Some(index) = index {
            self.held.remove(index);
        }
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty() && self.early == 0
    }
}

/// The primitives that somebody holds while others wait.
const LOCK_LIKE: [&str; 5] = ["mutex", "semaphore", "rwlock", "once_cell", "pool"];

#[cfg(test)]
mod tests {
    use asupersync_core::{RegionId, TaskId};

    use super::*;

    fn task(index: u32) -> Subject {
        Subject::Task(TaskId::new(RegionId::new(1), index))
    }

    fn after(operations: &[(u32, &'static str)]) -> Holds {
        let mut holds = Holds::default();
        for (moment, (index, operation)) in (0..).zip(operations) {
            holds.see(moment, task(*index), 7, operation);
        }
        holds
    }

    #[test]
    fn a_waiter_that_gets_the_lock_waits_no_more() {
        let holds = after(&[
            (0, "rwlock.lock"),
            (1, "rwlock.wait"),
            (0, "rwlock.unlock"),
            (1, "rwlock.lock"),
        ]);
        assert_eq!(holds.iter().count(), 0);
        assert_eq!(holds.len(), 1, "it is held");
    }

    #[test]
    fn a_waiter_that_leaves_is_forgotten() {
        let holds = after(&[(0, "mutex.lock"), (1, "mutex.wait"), (1, "mutex.leave")]);
        assert_eq!(holds.iter().count(), 0);
    }

    #[test]
    fn each_holder_of_a_semaphore_is_named() {
        let holds = after(&[
            (0, "semaphore.acquire"),
            (1, "semaphore.acquire"),
            (2, "semaphore.wait"),
        ]);
        let holders: Vec<_> = holds.iter().map(|hold| hold.holder).collect();
        assert_eq!(holders, [task(0), task(1)]);
    }

    #[test]
    fn a_waiter_that_was_handed_the_lock_holds_it_before_it_is_polled() {
        let line = [
            (0, "mutex.lock"),
            (1, "mutex.wait"),
            (2, "mutex.wait"),
            (0, "mutex.unlock"),
            (0, "mutex.grant"),
        ];
        let holds = after(&line);
        let found: Vec<_> = holds
            .iter()
            .map(|hold| (hold.holder, hold.waiter))
            .collect();
        assert_eq!(found, [(task(1), task(2))]);
        let holds = after(&[&line[..], &[(1, "mutex.lock"), (1, "mutex.unlock")]].concat());
        assert_eq!(holds.iter().count(), 0);
        assert_eq!(holds.len(), 1, "one still waits");
    }

    #[test]
    fn a_grant_that_is_seen_before_its_wait_counts() {
        let holds = after(&[
            (0, "mutex.lock"),
            (0, "mutex.unlock"),
            (0, "mutex.grant"),
            (1, "mutex.wait"),
            (0, "mutex.wait"),
        ]);
        let found: Vec<_> = holds
            .iter()
            .map(|hold| (hold.holder, hold.waiter))
            .collect();
        assert_eq!(found, [(task(1), task(0))]);
    }

    #[test]
    fn what_was_handed_over_and_not_used_is_held_by_nobody_whoever_gives_it_back() {
        let line = [
            (0, "mutex.lock"),
            (1, "mutex.wait"),
            (0, "mutex.unlock"),
            (0, "mutex.grant"),
        ];
        for leaver in [1, 2] {
            let holds = after(&[&line[..], &[(leaver, "mutex.give_back")]].concat());
            assert!(holds.is_empty());
        }
        let others = after(&[(0, "semaphore.acquire"), (1, "semaphore.give_back")]);
        assert_eq!(others.len(), 1, "what is used is not given back by others");
    }

    #[test]
    fn an_upgrade_waits_for_the_other_readers_and_not_for_itself() {
        let steps = [
            (0, "rwlock.upgradable"),
            (1, "rwlock.read"),
            (2, "rwlock.wait"),
            (0, "rwlock.upgrade"),
        ];
        let holds = after(&steps);
        let found: Vec<_> = holds
            .iter()
            .map(|hold| (hold.holder, hold.waiter))
            .collect();
        assert_eq!(found, [(task(1), task(2)), (task(1), task(0))]);
        let promoted =
            after(&[&steps[..], &[(1, "rwlock.unlock"), (1, "rwlock.promote")]].concat());
        let found: Vec<_> = promoted
            .iter()
            .map(|hold| (hold.holder, hold.waiter))
            .collect();
        assert_eq!(
            found,
            [(task(0), task(2))],
            "though it came after the other"
        );
        let kept = after(&[&steps[..], &[(0, "rwlock.keep")]].concat());
        assert_eq!(kept.iter().count(), 2, "both readers keep the writer out");
    }

    #[test]
    fn nothing_is_kept_of_a_lock_that_is_at_rest() {
        let holds = after(&[(0, "mutex.lock"), (1, "mutex.unlock"), (0, "mpsc.send")]);
        assert!(holds.is_empty());
    }

    #[test]
    fn who_has_ended_neither_holds_nor_waits() {
        let mut holds = after(&[(0, "mutex.lock"), (1, "mutex.wait")]);
        holds.retain(|subject| subject != task(0));
        assert_eq!(holds.iter().count(), 0);
        holds.retain(|_| false);
        assert!(holds.is_empty());
    }
}
