//! The kernel's ports, served by a seed.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};

use asupersync_core::{RegionId, Time};
use asupersync_kernel::{Event, Host, KernelConfig, Lane, Report, Runnable, TimerKey, WorkerId};
use asupersync_trace::TraceEvent;

/// What the schedule chooses from.
pub(crate) enum Choice {
    /// A task's next poll.
    Task(Runnable),
    /// A job that may block in production; here it is one step.
    Job {
        /// Its number, counted by the host.
        number: u64,
        run: Box<dyn FnOnce() + Send>,
    },
}

/// The first time that something reached a lab from a thread that is not its own.
pub(crate) struct Foreign {
    pub(crate) what: &'static str,
    pub(crate) thread: String,
    /// The place in the trace.
    pub(crate) event: usize,
}

pub(crate) struct LabHost {
    /// The thread that runs the lab.
    home: ThreadId,
    config: KernelConfig,
    state: Mutex<State>,
    ports: Vec<(TypeId, Box<dyn Any + Send + Sync>)>,
}

struct State {
    rng: fastrand::Rng,
    now: Time,
    step: u64,
    choices: Vec<Choice>,
    timers: BTreeMap<(Time, u64), Waker>,
    timer_times: BTreeMap<u64, Time>,
    numbers: u64,
    regions: u64,
    jobs: u64,
    leaks: u64,
    events: Vec<TraceEvent>,
    reports: Vec<Report>,
    foreign: Option<Foreign>,
}

impl State {
    fn stamped(&self, event: Event) -> TraceEvent {
        TraceEvent {
            at: self.now,
            step: self.step,
            event,
        }
    }
}

impl LabHost {
    pub(crate) fn new(
        seed: u64,
        config: KernelConfig,
        ports: Vec<(TypeId, Box<dyn Any + Send + Sync>)>,
    ) -> Self {
        Self {
            home: thread::current().id(),
            config,
            state: Mutex::new(State {
                rng: fastrand::Rng::with_seed(seed),
                now: Time::ZERO,
                step: 0,
                choices: Vec::new(),
                timers: BTreeMap::new(),
                timer_times: BTreeMap::new(),
                numbers: 0,
                regions: 0,
                jobs: 0,
                leaks: 0,
                events: Vec::new(),
                reports: Vec::new(),
                foreign: None,
            }),
            ports,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for what only the lab's own thread may ask for: when another thread comes depends on the operating system, and not on the seed.
    fn lock_at_home(&self, what: &'static str) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let here = thread::current();
        if here.id() != self.home && state.foreign.is_none() {
            state.foreign = Some(Foreign {
                what,
                thread: here.name().unwrap_or("unnamed").to_owned(),
                event: state.events.len(),
            });
        }
        state
    }

    pub(crate) fn take_foreign(&self) -> Option<Foreign> {
        self.lock().foreign.take()
    }

    /// Draws the next step from what is runnable.
    pub(crate) fn next_choice(&self) -> Option<Choice> {
        let mut state = self.lock();
        let count = state.choices.len();
        if count == 0 {
            return None;
        }
        let index = state.rng.usize(..count);
        state.step += 1;
        let choice = state.choices.swap_remove(index);
        if let Choice::Job { number, .. } = &choice {
            self.note(&mut state, Event::JobStarted { job: *number });
        }
        Some(choice)
    }

    /// Jumps to the next timer and takes out what is due then; `None` without timers.
    pub(crate) fn advance(&self) -> Option<Vec<Waker>> {
        let mut state = self.lock();
        let (&(at, _), _) = state.timers.first_key_value()?;
        state.now = state.now.max(at);
        let to = state.now;
        self.note(&mut state, Event::ClockAdvanced { to });
        let mut due = Vec::new();
        while let Some(entry) = state.timers.first_entry() {
            let &(when, number) = entry.key();
            if when > at {
                break;
            }
            due.push(entry.remove());
            state.timer_times.remove(&number);
            self.note(&mut state, Event::TimerFired { at: when });
        }
        Some(due)
    }

    /// Records what the host itself did.
    fn note(&self, state: &mut State, event: Event) {
        if self.config.record {
            let traced = state.stamped(event);
            state.events.push(traced);
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.lock().step
    }

    pub(crate) fn take_events(&self) -> (Vec<TraceEvent>, Vec<Report>) {
        let mut state = self.lock();
        (
            std::mem::take(&mut state.events),
            std::mem::take(&mut state.reports),
        )
    }

    /// Takes out everything that has not run.
    pub(crate) fn drain(&self) -> (Vec<Choice>, Vec<Waker>) {
        let mut state = self.lock();
        let timers = std::mem::take(&mut state.timers).into_values().collect();
        (std::mem::take(&mut state.choices), timers)
    }
}

impl Host for LabHost {
    fn config(&self) -> &KernelConfig {
        &self.config
    }

    fn now(&self) -> Time {
        self.lock().now
    }

    fn schedule(&self, task: Runnable, _lane: Lane, _pinned: Option<WorkerId>) {
        let mut state = self.lock_at_home("a task was woken");
        state.choices.push(Choice::Task(task));
    }

    fn current_worker(&self) -> Option<WorkerId> {
        Some(WorkerId(0))
    }

    fn timer_insert(&self, at: Time, waker: Waker) -> TimerKey {
        let mut state = self.lock_at_home("a timer was set");
        state.numbers += 1;
        let number = state.numbers;
        state.timers.insert((at, number), waker);
        state.timer_times.insert(number, at);
        TimerKey {
            shard: 0,
            entry: number,
        }
    }

    fn timer_cancel(&self, key: TimerKey) {
        let waker = {
            let mut state = self.lock();
            let at = state.timer_times.remove(&key.entry);
            at.and_then(|at| {
                self.note(&mut state, Event::TimerCancelled { at });
                state.timers.remove(&(at, key.entry))
            })
        };
        drop(waker);
    }

    fn next_region(&self) -> RegionId {
        let mut state = self.lock();
        state.regions += 1;
        RegionId::new(state.regions - 1)
    }

    fn next_number(&self) -> u64 {
        let mut state = self.lock();
        state.numbers += 1;
        state.numbers
    }

    fn random_u64(&self) -> u64 {
        self.lock_at_home("entropy was drawn").rng.u64(..)
    }

    fn run_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock_at_home("a job was handed in");
        let number = state.jobs;
        state.jobs += 1;
        self.note(&mut state, Event::JobQueued { job: number });
        state.choices.push(Choice::Job { number, run: job });
    }

    fn record(&self, event: Event) {
        let mut state = self.lock();
        let traced = state.stamped(event);
        state.events.push(traced);
    }

    fn report(&self, report: Report) {
        self.lock().reports.push(report);
    }

    fn count_leaks(&self, count: u32) -> u64 {
        let mut state = self.lock();
        state.leaks += u64::from(count);
        state.leaks
    }

    fn port(&self, port: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.ports
            .iter()
            .find(|(id, _)| *id == port)
            .map(|(_, port)| &**port)
    }
}
