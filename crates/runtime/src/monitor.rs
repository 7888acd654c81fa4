//! A thread that looks, now and then, for what a running program cannot say of itself.
//!
//! # What it finds
//! - A task that is in one poll for longer than the threshold: code that does not yield.
//! - A futurelock: a task that holds a lock or permit, is not polled for longer than the threshold, and keeps another waiting all the while.
//!
//! # How
//! Each worker counts its polls; a count that stands still in the middle of one is a poll that lasts.
//! Operations on locks go through a table of who holds and who waits.
//! A holder that keeps somebody waiting becomes a suspect, and a worker that polls a suspect says so; while there is none, a worker pays one load a poll.
//!
//! # Deliberately absent
//! Locks that are taken outside of every task, and any cure: what is found is reported, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asupersync_core::{RegionId, TaskId, Time};
use asupersync_kernel::{Event, Host, Owed, Program, Report, Subject, Unfinished, WorkerId};
use asupersync_trace::{Hold, Holds};

use crate::host::RuntimeHost;

/// How the monitor looks, and when it reports.
///
/// # Examples
/// ```
/// use asupersync_runtime::{MonitorConfig, RuntimeBuilder};
/// use std::time::Duration;
/// let config = MonitorConfig {
///     poll_limit: Duration::from_millis(500),
///     ..MonitorConfig::default()
/// };
/// let builder = RuntimeBuilder::new().deadline_monitoring(config);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MonitorConfig {
    /// How often it looks; 100 ms by default.
    pub cadence: Duration,
    /// A poll that lasts longer is reported; 1 s by default.
    pub poll_limit: Duration,
    /// A holder that keeps another waiting and is not polled for longer is reported; 1 s by default.
    pub hold_limit: Duration,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            cadence: Duration::from_millis(100),
            poll_limit: Duration::from_secs(1),
            hold_limit: Duration::from_secs(1),
        }
    }
}

/// What workers and locks tell, and the monitor reads.
pub(crate) struct Monitor {
    config: MonitorConfig,
    workers: Vec<Polls>,
    holds: Mutex<Holds>,
    suspects: Mutex<BTreeMap<TaskId, Suspect>>,
    suspect_count: AtomicUsize,
    program: Mutex<Option<Program>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

/// One worker's polls; on a cache line of its own, since it is written with each.
#[repr(align(64))]
#[derive(Default)]
struct Polls {
    /// Odd while a poll lasts.
    count: AtomicU64,
    region: AtomicU64,
    index: AtomicU32,
}

#[derive(Clone, Copy)]
struct Suspect {
    /// Not polled since then.
    since: Time,
    was_polled: bool,
}

/// What one look remembers for the next.
#[derive(Default)]
struct Memory {
    /// For each worker its count, and when it was first seen.
    polls: Vec<(u64, Time)>,
    reported_polls: BTreeSet<(usize, u64)>,
    /// By lock, holder and the moment it was taken.
    reported_holds: BTreeSet<(u64, Subject, u64)>,
}

impl Monitor {
    pub(crate) fn new(config: MonitorConfig, workers: usize) -> Self {
        Self {
            config,
            workers: (0..workers).map(|_| Polls::default()).collect(),
            holds: Mutex::default(),
            suspects: Mutex::default(),
            suspect_count: AtomicUsize::new(0),
            program: Mutex::new(None),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        }
    }

    /// A worker begins to poll a task.
    pub(crate) fn poll_begins(&self, worker: usize, task: TaskId) {
        let polls = &self.workers[worker];
        polls.region.store(task.region().index(), Ordering::Relaxed);
        polls.index.store(task.index(), Ordering::Relaxed);
        polls.count.fetch_add(1, Ordering::Release);
        if self.suspect_count.load(Ordering::Relaxed) > 0
            && let Some(suspect) = lock(&self.suspects).get_mut(&task)
        {
            suspect.was_polled = true;
        }
    }

    /// A worker has polled a task.
    pub(crate) fn poll_ended(&self, worker: usize) {
        self.workers[worker].count.fetch_add(1, Ordering::Release);
    }

    /// Follows an operation on a lock.
    pub(crate) fn see(&self, now: Time, event: &Event) {
        if let Event::Operation {
            subject: Some(subject),
            resource,
            name,
        } = event
        {
            lock(&self.holds).see(now.as_nanos(), *subject, *resource, name);
        }
    }

    /// The program to look at, or none.
    pub(crate) fn attach(&self, program: Option<Program>) {
        *lock(&self.program) = program;
    }

    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.stop.notify_all();
    }

    /// The monitor's thread.
    pub(crate) fn run(host: &Arc<RuntimeHost>) {
        let Some(monitor) = &host.monitor else { return };
        let mut memory = Memory::default();
        loop {
            let stopped = lock(&monitor.stopped);
            let wait =
                monitor
                    .stop
                    .wait_timeout_while(stopped, monitor.config.cadence, |stopped| !*stopped);
            let (stopped, _) = wait.unwrap_or_else(PoisonError::into_inner);
            if *stopped {
                return;
            }
            drop(stopped);
            let now = host.clock.now();
            let mut found = monitor.lasting_polls(now, &mut memory);
            found.append(&mut monitor.futurelocks(now, &mut memory));
            found.into_iter().for_each(|report| host.report(report));
        }
    }

    fn lasting_polls(&self, now: Time, memory: &mut Memory) -> Vec<Report> {
        memory.polls.resize(self.workers.len(), (0, now));
        let mut found = Vec::new();
        for (index, polls) in self.workers.iter().enumerate() {
            let count = polls.count.load(Ordering::Acquire);
            let (known, since) = memory.polls[index];
            if count != known {
                memory.reported_polls.remove(&(index, known));
                memory.polls[index] = (count, now);
                continue;
            }
            let running = now.saturating_since(since);
            let is_polling = count % 2 == 1;
            if is_polling
                && running >= self.config.poll_limit
                && memory.reported_polls.insert((index, count))
            {
                // Neither changes while the count stands still.
                let region = RegionId::new(polls.region.load(Ordering::Relaxed));
                let task = TaskId::new(region, polls.index.load(Ordering::Relaxed));
                let worker = u8::try_from(index).expect("a scheduler has at most 64 workers");
                found.push(Report::NeverYields {
                    task,
                    name: self.person(task).0,
                    worker: WorkerId(worker),
                    running,
                });
            }
        }
        found
    }

    fn futurelocks(&self, now: Time, memory: &mut Memory) -> Vec<Report> {
        let pairs: Vec<Hold> = {
            if lock(&self.holds).len() > LOCKS_KEPT {
                self.forget_ended();
            }
            lock(&self.holds).iter().collect()
        };
        let since = self.watch(now, &pairs);
        let key = |hold: &Hold| (hold.resource, hold.holder, hold.held_since);
        let standing: BTreeSet<_> = pairs.iter().map(key).collect();
        memory.reported_holds.retain(|hold| standing.contains(hold));
        let mut found = Vec::new();
        for hold in &pairs {
            let (Subject::Task(holder), Subject::Task(waiter)) = (hold.holder, hold.waiter) else {
                continue;
            };
            let Some(since) = since.get(&holder) else {
                continue;
            };
            // Who took a lock was being polled then.
            let both_since = Time::from_nanos(hold.waits_since.max(hold.held_since));
            let idle = now.saturating_since((*since).max(both_since));
            if idle >= self.config.hold_limit && memory.reported_holds.insert(key(hold)) {
                let (holder_name, owed) = self.person(holder);
                found.push(Report::Futurelock {
                    kind: hold.kind,
                    holder,
                    holder_name,
                    owed,
                    waiter,
                    waiter_name: self.person(waiter).0,
                    idle,
                });
            }
        }
        found
    }

    /// Makes suspects of those who keep others waiting, and says since when each is not polled.
    fn watch(&self, now: Time, pairs: &[Hold]) -> BTreeMap<TaskId, Time> {
        let polled_now = self.polled_now();
        let mut suspects = lock(&self.suspects);
        let mut next = BTreeMap::new();
        for hold in pairs {
            let Subject::Task(holder) = hold.holder else {
                continue;
            };
            let known = suspects.get(&holder);
            let known = known.filter(|known| !known.was_polled && !polled_now.contains(&holder));
            let since = known.map_or(now, |known| known.since);
            let was_polled = false;
            next.insert(holder, Suspect { since, was_polled });
        }
        *suspects = next;
        self.suspect_count.store(suspects.len(), Ordering::Relaxed);
        let since = suspects.iter();
        since
            .map(|(task, suspect)| (*task, suspect.since))
            .collect()
    }

    /// The tasks in a poll; one that lasts is no futurelock, even if it began before anybody was suspected.
    fn polled_now(&self) -> BTreeSet<TaskId> {
        let task_of = |polls: &Polls| {
            let count = polls.count.load(Ordering::Acquire);
            let region = RegionId::new(polls.region.load(Ordering::Relaxed));
            let task = TaskId::new(region, polls.index.load(Ordering::Relaxed));
            // Both belong together if no other poll has begun meanwhile.
            fence(Ordering::Acquire);
            let is_same = polls.count.load(Ordering::Relaxed) == count;
            (count % 2 == 1 && is_same).then_some(task)
        };
        self.workers.iter().filter_map(task_of).collect()
    }

    /// A task's name and what it owes.
    fn person(&self, task: TaskId) -> (Option<String>, Vec<Owed>) {
        let living = self.living().into_iter();
        let found = living
            .into_iter()
            .find(|one| one.subject == Subject::Task(task));
        found.map_or_else(Default::default, |one| (one.name, one.owed))
    }

    fn forget_ended(&self) {
        // What is taken meanwhile by a task that starts meanwhile is forgotten with the rest; its release is then passed over.
        let living: BTreeSet<Subject> = self.living().iter().map(|one| one.subject).collect();
        lock(&self.holds).retain(|subject| living.contains(&subject));
    }

    fn living(&self) -> Vec<Unfinished> {
        let program = lock(&self.program).clone();
        program.map_or_else(Vec::new, |program| program.unfinished())
    }
}

/// With more locks held or waited for than this, those of tasks that have ended are forgotten.
const LOCKS_KEPT: usize = 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn task(index: u32) -> TaskId {
        TaskId::new(RegionId::new(1), index)
    }

    /// A monitor under which task 0 holds a mutex and task 1 waits for it, since the beginning.
    fn contended() -> (Monitor, Memory) {
        let config = MonitorConfig {
            cadence: LIMIT / 4,
            poll_limit: LIMIT,
            hold_limit: LIMIT,
        };
        let monitor = Monitor::new(config, 1);
        operation(&monitor, at(0), 0, "mutex.lock");
        operation(&monitor, at(0), 1, "mutex.wait");
        (monitor, Memory::default())
    }

    fn operation(monitor: &Monitor, now: Time, index: u32, name: &'static str) {
        let event = Event::Operation {
            subject: Some(Subject::Task(task(index))),
            resource: 7,
            name: name.into(),
        };
        monitor.see(now, &event);
    }

    #[test]
    fn a_holder_that_is_never_polled_is_reported_once() {
        let (monitor, mut memory) = contended();
        for (now, expected) in [(1, 0), (15, 0), (21, 1), (26, 0), (500, 0)] {
            let found = monitor.futurelocks(at(now), &mut memory);
            assert_eq!(found.len(), expected, "at {now} ms: {found:?}");
        }
        operation(&monitor, at(501), 0, "mutex.unlock");
        operation(&monitor, at(502), 0, "mutex.lock");
        assert!(monitor.futurelocks(at(503), &mut memory).is_empty());
        let again = monitor.futurelocks(at(524), &mut memory);
        assert_eq!(again.len(), 1, "it is another hold");
    }

    #[test]
    fn a_holder_that_is_polled_now_and_then_is_not_suspected() {
        let (monitor, mut memory) = contended();
        for now in (1..500).step_by(5) {
            monitor.poll_begins(0, task(0));
            monitor.poll_ended(0);
            assert_eq!(monitor.futurelocks(at(now), &mut memory), []);
        }
    }

    #[test]
    fn a_holder_in_a_poll_that_lasts_is_not_suspected_until_that_has_ended() {
        let (monitor, mut memory) = contended();
        monitor.poll_begins(0, task(0));
        for now in (1..500).step_by(5) {
            assert_eq!(monitor.futurelocks(at(now), &mut memory), []);
        }
        monitor.poll_ended(0);
        let counts = [500, 510, 530].map(|now| monitor.futurelocks(at(now), &mut memory).len());
        assert_eq!(counts, [0, 0, 1]);
    }

    #[test]
    fn a_holder_that_nobody_waits_for_is_not_suspected() {
        let (monitor, mut memory) = contended();
        operation(&monitor, at(1), 1, "mutex.leave");
        for now in (1..500).step_by(5) {
            assert_eq!(monitor.futurelocks(at(now), &mut memory), []);
        }
    }

    #[test]
    fn a_poll_that_lasts_is_reported_once_and_polls_that_end_are_not() {
        let (monitor, mut memory) = contended();
        assert_eq!(monitor.lasting_polls(at(0), &mut memory), []);
        for now in (1..100).step_by(5) {
            monitor.poll_begins(0, task(3));
            monitor.poll_ended(0);
            assert_eq!(monitor.lasting_polls(at(now), &mut memory), []);
        }
        assert_eq!(
            monitor.lasting_polls(at(500), &mut memory),
            [],
            "it is idle"
        );
        monitor.poll_begins(0, task(4));
        let counts = [501, 520, 522, 600].map(|now| monitor.lasting_polls(at(now), &mut memory));
        assert_eq!(counts.each_ref().map(Vec::len), [0, 0, 1, 0]);
        assert!(
            matches!(counts[2][0], Report::NeverYields { task: found, .. } if found == task(4))
        );
    }
}
