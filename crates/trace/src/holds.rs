//! Who holds what others wait for.
//!
//! # What it reads
//! Operations on locks and permits, by the end of their name: `wait` and `leave` for the line; `lock`, `acquire`, `unlock` and `release` for the thing itself; `grant` when it is handed to the first in line.
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
    waiting: Vec<(Subject, u64)>,
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
    pub fn see(&mut self, moment: u64, subject: Subject, resource: u64, operation: &'static str) {
        let Some((kind, verb)) = operation.rsplit_once('.') else {
            return;
        };
        match verb {
            "wait" => {
                let waiting = &mut self.line(resource, kind).waiting;
                if waiting.iter().all(|(waiter, _)| *waiter != subject) {
                    waiting.push((subject, moment));
                }
            }
            "lock" | "acquire" => self.line(resource, kind).take(moment, subject),
            "grant" => self.change(resource, |line| line.grant(moment)),
            "leave" => self.change(resource, |line| {
                line.waiting.retain(|(waiter, _)| *waiter != subject);
            }),
            "unlock" | "release" => self.change(resource, |line| line.give_up(subject)),
            _ => {}
        }
    }

    /// Forgets who has ended; what such a subject still held is forgotten with it.
    pub fn retain(&mut self, lives: impl Fn(Subject) -> bool) {
        self.resources.retain(|_, line| {
            line.held.retain(|held| lives(held.holder));
            line.waiting.retain(|(waiter, _)| lives(*waiter));
            !line.is_empty()
        });
    }

    /// Every holder with everybody who waits for it.
    pub fn iter(&self) -> impl Iterator<Item = Hold> {
        self.resources.iter().flat_map(|(resource, line)| {
            line.held.iter().flat_map(move |held| {
                line.waiting.iter().map(move |(waiter, waits_since)| Hold {
                    resource: *resource,
                    kind: line.kind,
                    holder: held.holder,
                    held_since: held.since,
                    waiter: *waiter,
                    waits_since: *waits_since,
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
    /// The subject has it, whether it was handed over or was free.
    fn take(&mut self, moment: u64, holder: Subject) {
        let granted = self.held.iter_mut();
        let granted = granted.filter(|held| held.is_granted && held.holder == holder);
        if let Some(held) = granted.into_iter().next() {
            held.is_granted = false;
            held.since = moment;
            return;
        }
        self.waiting.retain(|(waiter, _)| *waiter != holder);
        self.held.push(Held {
            holder,
            since: moment,
            is_granted: false,
        });
    }

    /// The first in line has it.
    fn grant(&mut self, moment: u64) {
        if !self.waiting.is_empty() {
            let (holder, _) = self.waiting.remove(0);
            self.held.push(Held {
                holder,
                since: moment,
                is_granted: true,
            });
        }
    }

    fn give_up(&mut self, holder: Subject) {
        let own = self.held.iter().position(|held| held.holder == holder);
        // A guard may be dropped by somebody else than who took it.
        if let Some(index) = own.or(self.held.len().checked_sub(1)) {
            self.held.remove(index);
        }
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }
}

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
