//! The kernel's ports, served by a seed and a schedule.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime};

use asupersync_core::{RegionId, TaskId, Time};
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{
    Event, Host, KernelConfig, Lane, Meddler, Report, Runnable, Subject, TimerKey, WorkerId,
};
use asupersync_trace::{Fingerprint, ProcessKey, Structure, TraceEvent};

use crate::config::LabConfig;
use crate::instruments::{Instruments, Room};
use crate::node::{NodeBook, NodeId, Place};
use crate::ports::Ports;
use crate::process::Processes;
use crate::script::{Decided, DecisionKey, Script};
use crate::seeds::mix;

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

/// What happens when a time has come.
pub(crate) enum Due {
    Wake(Waker),
    /// Somebody who was held back is runnable again.
    Hold(Choice, usize),
}

/// What the schedule says of the next step.
pub(crate) enum Next {
    /// This, which has that place among the processes.
    Run(Choice, usize),
    /// Nothing is runnable.
    Idle,
    /// Every way to go on was tried.
    GiveUp,
}

/// How a run came about.
pub(crate) struct Decisions {
    pub(crate) picks: Vec<u32>,
    pub(crate) faults: Vec<u32>,
    /// The same by who decided.
    pub(crate) decided: Decided,
    /// Whether anything but who goes next was to be decided.
    pub(crate) has_asked: bool,
    /// Whether something was done after which a program may fail.
    pub(crate) is_disturbed: bool,
    /// Whether a node went down or stood still, and with it steps that were never taken.
    pub(crate) has_stopped_node: bool,
    /// Of the steps, if they were read.
    pub(crate) fingerprint: Option<Fingerprint>,
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
    wall_start: SystemTime,
    clock_skew_max: Duration,
    state: Mutex<State>,
    ports: Ports,
}

struct State {
    seed: u64,
    /// None once the run is over.
    instruments: Option<Box<Instruments>>,
    /// Whether steps are read.
    reads_steps: bool,
    /// What was decided before and is to be decided again.
    scripted_picks: Option<Vec<u32>>,
    scripted_faults: Option<Script>,
    picks: Vec<u32>,
    faults: Vec<u32>,
    decided: BTreeMap<DecisionKey, u32>,
    /// How many faults happened by chance, and how many may.
    faults_done: u32,
    faults_max: u32,
    /// The tasks that close abandoned regions.
    heirs: Vec<TaskId>,
    is_disturbed: bool,
    processes: Processes,
    nodes: NodeBook,
    has_stopped_node: bool,
    /// Whether the step is a job, and no task's poll.
    is_job: bool,
    now: Time,
    step: u64,
    /// In the order of their arrival.
    choices: Vec<Choice>,
    /// A task may stand there twice, since a request for cancellation does not wait behind an entry.
    may_be_stale: bool,
    /// The process of each.
    runnable: Vec<ProcessKey>,
    /// Its place among the processes.
    places: Vec<usize>,
    timers: BTreeMap<(Time, u64), Due>,
    timer_times: BTreeMap<u64, Time>,
    numbers: u64,
    regions: u64,
    jobs: u64,
    leaks: u64,
    reports: Vec<Report>,
    foreign: Option<Foreign>,
}

/// What was decided the last time, if that is followed; after its end nothing is decided.
fn scripted(script: Option<&Vec<u32>>, index: usize, count: u32) -> Option<u32> {
    let decision = script?.get(index).copied().unwrap_or_default();
    Some(decision.min(count - 1))
}

impl State {
    fn keep(&mut self, event: Event) {
        if let Event::RegionAbandoned { heir, .. } = &event {
            self.heirs.push(*heir);
        }
        let traced = TraceEvent {
            at: self.now,
            step: self.step,
            event,
        };
        // What is recorded once the run is over belongs to nobody.
        let Some(instruments) = &mut self.instruments else {
            return;
        };
        if self.reads_steps {
            instruments.reader.push(&traced);
        }
        instruments.events.push(traced);
    }

    fn event_count(&self) -> usize {
        let instruments = self.instruments.as_ref();
        instruments.map_or(0, |instruments| instruments.events.len())
    }

    /// Somebody is runnable, or will be when the node goes on that stands still.
    fn arrive(&mut self, choice: Choice, place: usize) {
        let home = self.processes.place_of(place);
        if let Some(until) = self.nodes.paused_until(home, self.now) {
            return self.hold_until(until, choice, place);
        }
        self.choices.push(choice);
        self.runnable.push(self.processes.key(place));
        self.places.push(place);
    }

    fn leave(&mut self, index: usize) -> (Choice, usize) {
        self.runnable.remove(index);
        (self.choices.remove(index), self.places.remove(index))
    }

    fn hold_until(&mut self, until: Time, choice: Choice, place: usize) {
        self.numbers += 1;
        let due = Due::Hold(choice, place);
        self.timers.insert((until, self.numbers), due);
    }

    /// Takes out the entries of tasks that another entry has served: they are no steps.
    fn take_stale(&mut self) -> Vec<Choice> {
        if !self.may_be_stale {
            return Vec::new();
        }
        let mut stale = Vec::new();
        let mut index = 0;
        while index < self.choices.len() {
            match &self.choices[index] {
                Choice::Task(task) if task.is_stale() => {
                    stale.push(self.leave(index).0);
                }
                Choice::Task(_) | Choice::Job { .. } => index += 1,
            }
        }
        let mut places = self.places.clone();
        places.sort_unstable();
        self.may_be_stale = places.windows(2).any(|pair| pair[0] == pair[1]);
        stale
    }

    /// Which of the runnable goes next; `None` if the run is to be given up.
    fn pick(&mut self) -> Option<usize> {
        let count = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        if is_on(Mutation::NewestGoesFirst) {
            return self.choices.len().checked_sub(1);
        }
        let index = match scripted(self.scripted_picks.as_ref(), self.picks.len(), count) {
            Some(index) => index as usize,
            None => self.instruments.as_mut()?.chooser.choose(&self.runnable)?,
        };
        if count > 1 {
            self.picks.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        Some(index)
    }

    /// Tells the chooser of the step that is over.
    fn close_step(&mut self) {
        let Some(instruments) = self.instruments.as_mut().filter(|_| self.reads_steps) else {
            return;
        };
        if let Some(step) = instruments.reader.finish_step() {
            instruments.chooser.ran(step);
            instruments.fingerprinter.push(step);
        }
    }
}

impl LabHost {
    pub(crate) fn new(config: LabConfig, mut instruments: Box<Instruments>, ports: Ports) -> Self {
        let reads_steps =
            config.kernel.record && (config.reads_steps || instruments.chooser.wants_steps());
        let Room {
            choices,
            runnable,
            places,
            processes,
        } = std::mem::take(&mut instruments.room);
        Self {
            home: thread::current().id(),
            config: config.kernel,
            wall_start: config.wall_start,
            clock_skew_max: config.clock_skew_max,
            state: Mutex::new(State {
                seed: config.seed,
                instruments: Some(instruments),
                reads_steps,
                scripted_picks: config.picks,
                scripted_faults: config.faults,
                picks: Vec::new(),
                faults: Vec::new(),
                decided: BTreeMap::new(),
                faults_done: 0,
                faults_max: config.chaos.limit,
                heirs: Vec::new(),
                is_disturbed: false,
                processes,
                nodes: NodeBook::default(),
                has_stopped_node: false,
                is_job: false,
                now: Time::ZERO,
                step: 0,
                choices,
                may_be_stale: false,
                runnable,
                places,
                timers: BTreeMap::new(),
                timer_times: BTreeMap::new(),
                numbers: 0,
                regions: 0,
                jobs: 0,
                leaks: 0,
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
                event: state.event_count(),
            });
        }
        state
    }

    pub(crate) fn take_foreign(&self) -> Option<Foreign> {
        self.lock().foreign.take()
    }

    /// Takes the next step from what is runnable.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        state.close_step();
        let stale = state.take_stale();
        if !stale.is_empty() {
            // What an entry's end does may come back to the host.
            drop(state);
            drop(stale);
            state = self.lock();
        }
        if state.choices.is_empty() {
            return Next::Idle;
        }
        let Some(index) = state.pick() else {
            return Next::GiveUp;
        };
        state.step += 1;
        let (choice, place) = state.leave(index);
        state.processes.run(place);
        state.is_job = matches!(choice, Choice::Job { .. });
        if let Choice::Job { number, .. } = &choice {
            self.note(&mut state, Event::JobStarted { job: *number });
        }
        Next::Run(choice, place)
    }

    /// Decides whether a fault happens, and which of so many: 0 is none, and the others share the chance.
    ///
    /// It is not asked for without a chance, or if there were as many as a run may have.
    pub(crate) fn fault(&self, chance: f64, faults: u32) -> u32 {
        if chance <= 0.0 {
            return 0;
        }
        let is_enough = {
            let state = self.lock();
            state.faults_done >= state.faults_max
        };
        if is_enough {
            return 0;
        }
        let decision = self.decide(chance, faults);
        self.lock().faults_done += u32::from(decision > 0);
        decision
    }

    /// Decides whether something other than the usual happens, and which of so many: 0 is the usual, and the others share the chance.
    pub(crate) fn decide(&self, chance: f64, others: u32) -> u32 {
        self.decide_by(others.saturating_add(1), |rng| {
            if rng.f64() < chance {
                rng.u32(1..=others.max(1))
            } else {
                0
            }
        })
    }

    /// Decides for one of so many, by what is drawn unless the schedule says it.
    ///
    /// What is drawn depends on the process that runs, and on how much was decided in its steps before.
    pub(crate) fn decide_by(
        &self,
        count: u32,
        draw: impl FnOnce(&mut fastrand::Rng) -> u32,
    ) -> u32 {
        let mut state = self.lock();
        let state = &mut *state;
        let key = state.processes.next_decision();
        let decision = match &state.scripted_faults {
            Some(script) => script.answer(state.faults.len(), key).min(count - 1),
            None => {
                let seed = mix(mix(!state.seed, key.0), key.1);
                let drawn = draw(&mut fastrand::Rng::with_seed(seed));
                debug_assert!(drawn < count, "{drawn} is none of {count} decisions");
                drawn
            }
        };
        state.faults.push(decision);
        if decision > 0 {
            state.decided.insert(key, decision);
        }
        decision
    }

    /// Jumps to the next timer and takes out what is due then; `None` without timers.
    pub(crate) fn advance(&self) -> Option<Vec<Waker>> {
        let mut state = self.lock();
        let (&(at, _), _) = state.timers.first_key_value()?;
        Some(self.advance_to(&mut state, at))
    }

    /// Jumps forward, and takes out what is due then.
    pub(crate) fn jump(&self, by: Duration) -> Vec<Waker> {
        let mut state = self.lock();
        state.close_step();
        let to = state.now + by;
        self.advance_to(&mut state, to)
    }

    fn advance_to(&self, state: &mut State, at: Time) -> Vec<Waker> {
        state.now = state.now.max(at);
        state.processes.run_clock();
        let to = state.now;
        self.note(state, Event::ClockAdvanced { to });
        let mut due = Vec::new();
        while let Some(entry) = state.timers.first_entry() {
            let &(when, number) = entry.key();
            if when > at {
                break;
            }
            match entry.remove() {
                Due::Wake(waker) => {
                    due.push(waker);
                    state.timer_times.remove(&number);
                    self.note(state, Event::TimerFired { at: when });
                }
                Due::Hold(choice, place) => {
                    // Another entry may have served the task meanwhile, or a crash have stopped it.
                    state.may_be_stale = true;
                    state.arrive(choice, place);
                }
            }
        }
        due
    }

    /// Holds back what was to run now.
    pub(crate) fn hold(&self, choice: Choice, place: usize, time: Duration) {
        let mut state = self.lock();
        let until = state.now + time;
        state.hold_until(until, choice, place);
    }

    /// Holds back all that was to run on a node.
    pub(crate) fn hold_node(&self, node: NodeId, until: Time) {
        let state = &mut *self.lock();
        state.has_stopped_node = true;
        let mut index = 0;
        while index < state.choices.len() {
            if state.processes.place_of(state.places[index]).node == node {
                let (choice, place) = state.leave(index);
                state.hold_until(until, choice, place);
            } else {
                index += 1;
            }
        }
    }

    /// Queues a step of the host's own, in no region and on no node: a segment under way neither keeps its sender's region open nor vanishes with its sender.
    pub(crate) fn run_anywhere(&self, job: Box<dyn FnOnce() + Send>) {
        self.queue_job(job, Some(Place::NOWHERE));
    }

    fn queue_job(&self, run: Box<dyn FnOnce() + Send>, place: Option<Place>) {
        let mut state = self.lock_at_home("a job was handed in");
        let number = state.jobs;
        state.jobs += 1;
        let queued = match place {
            Some(_) => Event::HostJobQueued { job: number },
            None => Event::JobQueued { job: number },
        };
        self.note(&mut state, queued);
        let process = state.processes.child();
        if let Some(place) = place {
            state.processes.settle(process, place);
        }
        state.arrive(Choice::Job { number, run }, process);
    }

    /// A node goes down.
    pub(crate) fn note_stopped_node(&self) {
        self.lock().has_stopped_node = true;
    }

    /// By how much the clocks of nodes may be wrong from the start.
    pub(crate) const fn clock_skew(&self) -> Duration {
        self.clock_skew_max
    }

    /// Whether the step is a job.
    pub(crate) fn is_job(&self) -> bool {
        self.lock().is_job
    }

    /// Where the process runs that runs now.
    pub(crate) fn place(&self) -> Place {
        self.lock().processes.place()
    }

    /// Looks at the nodes, or changes them.
    pub(crate) fn with_nodes<R>(&self, act: impl FnOnce(&mut NodeBook, &mut Processes) -> R) -> R {
        let state = &mut *self.lock();
        act(&mut state.nodes, &mut state.processes)
    }

    /// Takes out the jobs of a node that have not begun.
    pub(crate) fn take_jobs_of(&self, node: NodeId) -> Vec<Choice> {
        let state = &mut *self.lock();
        // What the tasks of the node had queued for themselves is no step any more.
        state.may_be_stale = true;
        let mut taken = Vec::new();
        for index in (0..state.choices.len()).rev() {
            let is_own = state.processes.place_of(state.places[index]).node == node;
            if is_own && matches!(state.choices[index], Choice::Job { .. }) {
                taken.push(state.leave(index).0);
            }
        }
        let is_own = |due: &Due| match due {
            Due::Hold(Choice::Job { .. }, place) => state.processes.place_of(*place).node == node,
            Due::Hold(Choice::Task(_), _) | Due::Wake(_) => false,
        };
        let held = state.timers.iter().filter(|(_, due)| is_own(due));
        for key in held.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(Due::Hold(job, _)) = state.timers.remove(&key) {
                taken.push(job);
            }
        }
        taken
    }

    /// The task may be disturbed by a storm from now on.
    pub(crate) fn remember(&self, place: usize, task: Meddler) {
        self.lock().processes.remember(place, task);
    }

    /// All tasks that were remembered and have not ended.
    pub(crate) fn remembered(&self) -> Vec<Meddler> {
        self.lock().processes.remembered()
    }

    /// What was told since the last step is one of its own.
    pub(crate) fn close_step(&self) {
        self.lock().close_step();
    }

    /// Says that a fault was injected, by chance or by the program.
    pub(crate) fn injected(&self, subject: Option<Subject>, fault: &'static str) {
        let mut state = self.lock();
        let fault = fault.into();
        self.note(&mut state, Event::FaultInjected { subject, fault });
    }

    /// Something was done to the program after which it may fail, be cancelled or be unwound.
    pub(crate) fn disturb(&self) {
        self.lock().is_disturbed = true;
    }

    /// Whether a task is the kernel's own, which no fault of a program strikes.
    pub(crate) fn is_heir(&self, task: TaskId) -> bool {
        self.lock().heirs.contains(&task)
    }

    /// Records what the host itself did.
    fn note(&self, state: &mut State, event: Event) {
        if self.config.record {
            state.keep(event);
        }
    }

    /// What was decided, once the run is over; the chooser learns that it is.
    pub(crate) fn take_decisions(&self) -> Decisions {
        let mut state = self.lock();
        state.close_step();
        let reads_steps = state.reads_steps;
        let fingerprint = state.instruments.as_mut().and_then(|instruments| {
            instruments.chooser.end();
            reads_steps.then(|| instruments.fingerprinter.fingerprint())
        });
        Decisions {
            has_asked: !state.faults.is_empty(),
            picks: std::mem::take(&mut state.picks),
            faults: std::mem::take(&mut state.faults),
            decided: Arc::new(std::mem::take(&mut state.decided)),
            is_disturbed: state.is_disturbed,
            has_stopped_node: state.has_stopped_node,
            fingerprint,
        }
    }

    /// The program's structure, by what it has told.
    pub(crate) fn structure(&self) -> Structure {
        let state = self.lock();
        let instruments = state.instruments.as_ref();
        Structure::after(instruments.map_or(&[], |instruments| &instruments.events))
    }

    /// What was decided so far: who went next, and which faults happened.
    pub(crate) fn decided(&self) -> (Vec<u32>, Vec<u32>) {
        let state = self.lock();
        (state.picks.clone(), state.faults.clone())
    }

    /// What was lent to the run; `None` if it was taken before.
    pub(crate) fn take_instruments(&self) -> Option<Box<Instruments>> {
        let mut state = self.lock();
        let mut instruments = state.instruments.take()?;
        instruments.room = Room {
            choices: std::mem::take(&mut state.choices),
            runnable: std::mem::take(&mut state.runnable),
            places: std::mem::take(&mut state.places),
            processes: std::mem::take(&mut state.processes),
        };
        Some(instruments)
    }

    /// How many events were recorded.
    pub(crate) fn event_count(&self) -> usize {
        self.lock().event_count()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.lock().step
    }

    pub(crate) fn take_events(&self) -> (Vec<TraceEvent>, Vec<Report>) {
        let mut state = self.lock();
        let instruments = state.instruments.as_mut();
        let events = instruments.map(|instruments| std::mem::take(&mut instruments.events));
        (
            events.unwrap_or_default(),
            std::mem::take(&mut state.reports),
        )
    }

    /// Takes out everything that has not run; `None` if there is nothing.
    pub(crate) fn drain(&self) -> Option<(Vec<Choice>, Vec<Due>)> {
        let mut state = self.lock();
        if state.choices.is_empty() && state.timers.is_empty() {
            return None;
        }
        let timers = std::mem::take(&mut state.timers).into_values().collect();
        state.runnable.clear();
        state.places.clear();
        Some((std::mem::take(&mut state.choices), timers))
    }
}

impl Host for LabHost {
    fn config(&self) -> &KernelConfig {
        &self.config
    }

    fn now(&self) -> Time {
        self.lock().now
    }

    fn wall_now(&self) -> SystemTime {
        self.wall_clock(self.wall_start, self.now())
    }

    fn schedule(&self, task: Runnable, lane: Lane, _pinned: Option<WorkerId>) {
        let mut state = self.lock_at_home("a task was woken");
        state.may_be_stale |= lane == Lane::Cancel;
        let place = state.processes.of_task(task.task_id());
        if state.processes.place_of(place).node != NodeId::NOWHERE {
            state.processes.remember(place, task.meddler());
        }
        state.arrive(Choice::Task(task), place);
    }

    fn current_worker(&self) -> Option<WorkerId> {
        Some(WorkerId(0))
    }

    fn timer_insert(&self, at: Time, waker: Waker) -> TimerKey {
        let mut state = self.lock_at_home("a timer was set");
        state.numbers += 1;
        let number = state.numbers;
        state.timers.insert((at, number), Due::Wake(waker));
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
        let mut state = self.lock_at_home("entropy was drawn");
        let mut seed = state.seed;
        if is_on(Mutation::EntropyIsAmbient) {
            static DRAWS: AtomicU64 = AtomicU64::new(0);
            seed ^= DRAWS.fetch_add(1, Ordering::Relaxed);
        }
        state.processes.draw(seed)
    }

    fn run_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        self.queue_job(job, None);
    }

    fn record(&self, event: Event) {
        self.lock().keep(event);
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
        self.ports.get(port)
    }
}
