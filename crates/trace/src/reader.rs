//! Reads the steps of a run out of its events.
//!
//! # What an event accesses
//! | event | accesses |
//! | --- | --- |
//! | an operation | its resource, as [`access_of`] says; to wait in line is a write, and so is an unknown name |
//! | a poll begins | reads the task's cancellation and its wakes |
//! | a wake, a spawn, a job handed in | adds to the wakes of whom it makes run |
//! | a cancellation is requested or escalates | writes the cancellation of the task in whose poll the subject lives, and the region if it is one |
//! | a task is spawned, a region opened | adds to the region around it |
//! | a task or fiber ends | writes its end and its account; adds to its region, or writes it if the end is a failure |
//! | somebody looks whether a task has ended | reads its end, or writes it if a waker is left there; reads whether its region has closed |
//! | a region closes, finalizes, is closed, is abandoned | writes the region; with its body's end and when it is closed, also its account |
//! | an obligation is reserved or settled | writes it, adds to its holder's account |
//! | a job runs | adds to every region that it may live in |
//!
//! The end of a child also counts as a wake of who closes the region, whether it is the last or not: which is the last depends on the order, and the ends commute.
//! A failure is an error, a panic, or a cancellation by the task's own budget: regions keep the first of equal ones.
//!
//! # Deliberately absent
//! What no event tells: memory that tasks share beside channels and locks, looks at a resource that record nothing, and requests that change nothing.
//! What a host does once a run is over, such as dropping what is left, is no step.

use std::sync::LazyLock;

use asupersync_core::{CancelKind, ObligationId, RegionId, Severity, TaskId};
use asupersync_kernel::{Event, Subject};

use crate::access::{Access, access_of, known_operations};
use crate::hash::{self, Map};
use crate::record::{Trace, TraceEvent};
use crate::step::{Kind, Mode, Object, ProcessKey, Step, StepKind, Wake};

/// The steps of a whole run.
///
/// The trace has to end with the run: what a host records while it drops a stalled program counts as part of the last step.
/// Cost: one pass over the events.
/// # Examples
/// ```
/// use asupersync_core::{RegionId, TaskId, Time};
/// use asupersync_kernel::Event;
/// use asupersync_trace::{StepKind, Trace, TraceEvent, steps};
/// let task = TaskId::new(RegionId::new(0), 0);
/// let polled = |step| TraceEvent { at: Time::ZERO, step, event: Event::TaskPolled { task } };
/// let steps = steps(&Trace { events: vec![polled(1), polled(2)] });
/// assert_eq!(steps.len(), 2);
/// assert_eq!((steps[1].kind, steps[1].ordinal), (StepKind::Task(task), 1));
/// ```
#[must_use]
pub fn steps(trace: &Trace) -> Vec<Step> {
    let mut reader = StepReader::new();
    let mut steps = Vec::new();
    for event in &trace.events {
        if begins_step(&event.event) {
            steps.extend(reader.finish_step().cloned());
        }
        reader.push(event);
    }
    steps.extend(reader.finish_step().cloned());
    steps
}

/// Reads steps while a run goes on; afterwards it may be cleared, and keeps its memory for the next run.
///
/// A host hands in every event of the run in order, and calls [`finish_step`](Self::finish_step) after the start and after each poll, job or advance of the clock.
pub struct StepReader {
    processes: Vec<Process>,
    tasks: Map<TaskId, u32>,
    jobs: Map<u64, Job>,
    regions: Map<RegionId, Region>,
    obligations: Map<ObligationId, Owed>,
    events: usize,
    /// How many steps were finished.
    finished: usize,
    /// Who takes the step that is being read.
    current: u32,
    step: Step,
    /// The places of the step's accesses, once there are many.
    places: Map<Object, u32>,
    /// The step was handed out and makes room for the next.
    is_finished: bool,
    /// The closing region of which the last child has ended in this step.
    last_end: Option<Object>,
    /// A fault struck in this step, which may end tasks that are not polled.
    is_struck: bool,
    /// The host drops what is left.
    is_over: bool,
}

struct Process {
    key: ProcessKey,
    /// The region that it lives in, of a task.
    home: Option<RegionId>,
    steps: u32,
    spawned: u32,
    regions: u32,
    obligations: u32,
    /// Regions that are polled within it and are not closed.
    open: Vec<RegionId>,
    wakes: Vec<Wake>,
    /// It was cancelled by its own budget, which makes its end a failure.
    overspent: bool,
}

struct Job {
    process: u32,
    regions: Vec<RegionId>,
}

struct Region {
    key: u64,
    /// The task that it is polled in; the root region has none.
    task: Option<u32>,
    opener: u32,
    /// The step in which its body ended.
    closing_since: Option<usize>,
    is_root: bool,
}

struct Owed {
    key: u64,
    account: u64,
}

impl StepReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            processes: vec![
                Process::new(ProcessKey::START, None),
                Process::new(ProcessKey::CLOCK, None),
            ],
            tasks: Map::default(),
            jobs: Map::default(),
            regions: Map::default(),
            obligations: Map::default(),
            events: 0,
            finished: 0,
            current: START,
            step: Step::new(ProcessKey::START, 0, StepKind::Start),
            places: Map::default(),
            is_finished: false,
            last_end: None,
            is_struck: false,
            is_over: false,
        }
    }

    /// Forgets the run, and keeps the memory.
    pub fn clear(&mut self) {
        self.processes.truncate(CLOCK as usize + 1);
        for process in &mut self.processes {
            *process = Process::new(process.key, None);
        }
        self.tasks.clear();
        self.jobs.clear();
        self.regions.clear();
        self.obligations.clear();
        self.events = 0;
        self.finished = 0;
        self.is_over = false;
        self.reset_step();
    }

    /// Takes in the next event of the run.
    pub fn push(&mut self, event: &TraceEvent) {
        if self.is_finished {
            self.reset_step();
        }
        self.events += 1;
        if !self.is_over {
            self.see(&event.event);
        }
    }

    /// Ends the step whose events were pushed; `None` if there were none.
    pub fn finish_step(&mut self) -> Option<&Step> {
        if self.is_finished {
            self.reset_step();
        }
        self.step.events.end = self.events;
        if self.step.events.is_empty() || (self.is_over && self.step.kind == StepKind::Start) {
            return None;
        }
        let process = &mut self.processes[self.current as usize];
        self.step.process = process.key;
        self.step.ordinal = process.steps;
        process.steps += 1;
        self.finished += 1;
        self.is_finished = true;
        Some(&self.step)
    }

    /// The process that a task is, once its spawn was seen.
    #[must_use]
    pub fn process_of(&self, task: TaskId) -> Option<ProcessKey> {
        let process = self.tasks.get(&task)?;
        Some(self.processes[*process as usize].key)
    }

    /// The process that a job is, once it was handed in.
    #[must_use]
    pub fn process_of_job(&self, job: u64) -> Option<ProcessKey> {
        let job = self.jobs.get(&job)?;
        Some(self.processes[job.process as usize].key)
    }

    fn reset_step(&mut self) {
        let step = &mut self.step;
        step.kind = StepKind::Start;
        step.events = self.events..self.events;
        step.operations.clear();
        step.accesses.clear();
        step.wakes.clear();
        step.ended_in.clear();
        step.waited_for.clear();
        self.places.clear();
        self.current = START;
        self.is_finished = false;
        self.last_end = None;
        self.is_struck = false;
    }

    fn see(&mut self, event: &Event) {
        match event {
            Event::Operation { resource, name, .. } => {
                self.access(Object::Resource(*resource), KNOWN_NAMES.mode_of(name));
                self.step.operations.push(name.clone());
            }
            Event::TaskPolled { task } => self.polled(*task),
            Event::TaskWoken { task } | Event::WakeMerged { task } => {
                let process = self.task(*task);
                self.wake(process);
            }
            Event::TaskSpawned { task, .. } => self.spawned(*task),
            Event::TaskAwaited { task, ended } => self.awaited(*task, *ended),
            Event::TaskEnded { task, severity } => self.ended(*task, *severity),
            Event::CancelRequested { subject, kind } => {
                self.cancelled(*subject);
                self.note_budget(*subject, *kind);
            }
            Event::CancelEscalated { subject, .. } | Event::CancelUnchanged { subject } => {
                self.cancelled(*subject);
            }
            Event::RegionOpened { region, parent } => self.opened(*region, *parent),
            Event::RegionClosing { region, .. } => self.closing(*region),
            Event::RegionFinalizing { region } => self.finalizing(*region),
            Event::RegionClosed { region } => self.closed(*region),
            Event::FaultInjected { .. } => self.is_struck = true,
            Event::RegionAbandoned { region, heir } => self.abandoned(*region, *heir),
            Event::ObligationReserved {
                obligation, holder, ..
            } => self.reserved(*obligation, *holder),
            Event::ObligationSettled { obligation, .. } => self.settled(*obligation),
            Event::ClockAdvanced { .. } => self.begin(CLOCK, StepKind::Clock),
            Event::JobQueued { job } => self.job_queued(*job),
            Event::HostJobQueued { job } => self.job_entered(*job, Vec::new()),
            Event::JobStarted { job } => self.job_started(*job),
            _ => {}
        }
    }

    /// Says whose step it is; the first word counts.
    fn begin(&mut self, process: u32, kind: StepKind) {
        if self.step.kind != StepKind::Start {
            return;
        }
        self.current = process;
        self.step.kind = kind;
        let wakes = &mut self.processes[process as usize].wakes;
        std::mem::swap(wakes, &mut self.step.wakes);
        wakes.clear();
    }

    fn access(&mut self, object: Object, mode: Mode) {
        let accesses = &mut self.step.accesses;
        let place = if self.places.is_empty() {
            accesses.iter().position(|(known, _)| *known == object)
        } else {
            self.places.get(&object).map(|place| *place as usize)
        };
        if let Some(place) = place {
            accesses[place].1 = accesses[place].1.and(mode);
            return;
        }
        accesses.push((object, mode));
        if accesses.len() == SCANNED_MAX {
            let objects = accesses.iter().map(|(object, _)| *object);
            self.places = objects.zip(0..).collect();
        } else if accesses.len() > SCANNED_MAX {
            self.places.insert(object, accesses.len() as u32 - 1);
        }
    }

    fn polled(&mut self, task: TaskId) {
        let process = self.task(task);
        self.begin(process, StepKind::Task(task));
        let key = self.key(process);
        self.access(Object::Cancel(key), Mode::Read);
        self.access(Object::Wake(key), Mode::Read);
    }

    fn wake(&mut self, process: u32) {
        let wake = Wake {
            step: self.finished,
            by_end_in: self.last_end,
        };
        let wakes = &mut self.processes[process as usize].wakes;
        if wakes.last() != Some(&wake) {
            wakes.push(wake);
        }
        self.access(Object::Wake(self.key(process)), Mode::Add);
    }

    fn spawned(&mut self, task: TaskId) {
        let key = if self.current == START && self.processes[START as usize].spawned == 0 {
            self.processes[START as usize].spawned = 1;
            ProcessKey::ROOT
        } else {
            self.next_child()
        };
        let process = self.enter(key, Some(task.region()));
        self.tasks.insert(task, process);
        let region = self.region_key(task.region());
        self.access(Object::Region(region), Mode::Add);
        self.wake(process);
    }

    fn awaited(&mut self, task: TaskId, ended: bool) {
        let key = match self.tasks.get(&task) {
            Some(process) => self.key(*process),
            None => self.fiber_key(task),
        };
        // Who waits leaves a waker, and takes the place of another that waits.
        let mode = if ended { Mode::Read } else { Mode::Write };
        self.access(Object::End(key), mode);
        let region = self.region_key(task.region());
        self.access(Object::Closed(region), Mode::Read);
    }

    fn ended(&mut self, task: TaskId, severity: Severity) {
        let process = self.tasks.get(&task).copied();
        if let Some(process) = process.filter(|process| *process != self.current) {
            if !self.is_struck {
                // Only its own poll ends a task, unless the host drops it.
                self.is_over = true;
                return;
            }
            // It was dropped by a crash, before or after any step that it might have taken.
            self.access(Object::Cancel(self.key(process)), Mode::Write);
        }
        let key = match process {
            Some(process) => self.key(process),
            None => self.fiber_key(task),
        };
        self.access(Object::End(key), Mode::Write);
        self.access(Object::Account(key.word()), Mode::Write);
        let overspent = process.is_some_and(|process| self.processes[process as usize].overspent);
        let mode = match severity {
            Severity::Ok => Mode::Add,
            Severity::Cancelled if !overspent => Mode::Add,
            Severity::Cancelled | Severity::Err | Severity::Panicked => Mode::Write,
        };
        let region = self.region_key(task.region());
        self.access(Object::Region(region), mode);
        if process.is_some() {
            self.leave(task.region());
        }
    }

    /// A child or a job of a region has ended.
    fn leave(&mut self, region: RegionId) {
        let Some(known) = self.regions.get(&region) else {
            return;
        };
        if known.closing_since.is_none() {
            return;
        }
        let object = Object::Region(known.key);
        let closer = known.task;
        self.last_end = Some(object);
        self.step.ended_in.push(object);
        if let Some(closer) = closer {
            self.access(Object::Wake(self.key(closer)), Mode::Add);
        }
    }

    fn cancelled(&mut self, subject: Subject) {
        match subject {
            Subject::Task(_) => {
                if let Some(process) = self.enclosing_task(subject) {
                    self.access(Object::Cancel(self.key(process)), Mode::Write);
                }
            }
            Subject::Region(region) => {
                let key = self.region_key(region);
                self.access(Object::Region(key), Mode::Write);
                let known = self.regions.get(&region);
                let pollers = known.map(|known| [known.task, Some(known.opener)]);
                for process in pollers.into_iter().flatten().flatten() {
                    if process > CLOCK {
                        self.access(Object::Cancel(self.key(process)), Mode::Write);
                    }
                }
            }
        }
    }

    fn note_budget(&mut self, subject: Subject, kind: CancelKind) {
        let Subject::Task(task) = subject else { return };
        let own = matches!(
            kind,
            CancelKind::Deadline | CancelKind::PollQuota | CancelKind::CostBudget
        );
        if let Some(process) = self.tasks.get(&task)
            && own
        {
            self.processes[*process as usize].overspent = true;
        }
    }

    fn opened(&mut self, region: RegionId, parent: Option<Subject>) {
        let task = parent.and_then(|parent| self.enclosing_task(parent));
        if let Some(parent) = parent {
            let around = match parent {
                Subject::Region(region) => region,
                Subject::Task(task) => task.region(),
            };
            let key = self.region_key(around);
            self.access(Object::Region(key), Mode::Add);
        }
        let opener = &mut self.processes[self.current as usize];
        let key = opener.key.owned(Kind::Region, u64::from(opener.regions));
        opener.regions += 1;
        if let Some(task) = task {
            self.processes[task as usize].open.push(region);
        }
        let known = Region {
            key,
            task,
            opener: self.current,
            closing_since: None,
            is_root: parent.is_none(),
        };
        self.regions.insert(region, known);
    }

    fn closing(&mut self, region: RegionId) {
        let key = self.region_key(region);
        self.access(Object::Region(key), Mode::Write);
        self.access(Object::Account(key), Mode::Write);
        let now = self.finished;
        if let Some(known) = self.regions.get_mut(&region) {
            known.closing_since.get_or_insert(now);
        }
    }

    fn finalizing(&mut self, region: RegionId) {
        let key = self.region_key(region);
        self.access(Object::Region(key), Mode::Write);
        self.note_wait(region);
    }

    fn closed(&mut self, region: RegionId) {
        let known = self.regions.get(&region);
        if known.is_some_and(|known| known.is_root) {
            // The host closes the root region once the run is over.
            self.is_over = true;
            return;
        }
        let key = self.region_key(region);
        self.access(Object::Region(key), Mode::Write);
        self.access(Object::Account(key), Mode::Write);
        self.access(Object::Closed(key), Mode::Write);
        self.note_wait(region);
        self.disown(region);
    }

    /// The region's closing goes on here after a wait for its children.
    fn note_wait(&mut self, region: RegionId) {
        let Some(known) = self.regions.get(&region) else {
            return;
        };
        let object = Object::Region(known.key);
        let waited = known.closing_since.is_some_and(|at| at < self.finished);
        if waited && !self.step.waited_for.contains(&object) {
            self.step.waited_for.push(object);
        }
    }

    fn abandoned(&mut self, region: RegionId, heir: TaskId) {
        let key = self.region_key(region);
        self.access(Object::Region(key), Mode::Write);
        self.disown(region);
        let heir = self.task(heir);
        self.processes[heir as usize].open.push(region);
        let now = self.finished;
        if let Some(known) = self.regions.get_mut(&region) {
            known.task = Some(heir);
            known.closing_since.get_or_insert(now);
        }
    }

    fn disown(&mut self, region: RegionId) {
        let task = self.regions.get(&region).and_then(|known| known.task);
        if let Some(task) = task {
            let open = &mut self.processes[task as usize].open;
            open.retain(|other| *other != region);
        }
    }

    fn reserved(&mut self, obligation: ObligationId, holder: Subject) {
        let account = match holder {
            Subject::Region(region) => self.region_key(region),
            Subject::Task(task) => match self.tasks.get(&task) {
                Some(process) => self.key(*process).word(),
                None => self.fiber_key(task).word(),
            },
        };
        let maker = &mut self.processes[self.current as usize];
        let place = u64::from(maker.obligations);
        let key = maker.key.owned(Kind::Obligation, place);
        maker.obligations += 1;
        self.obligations.insert(obligation, Owed { key, account });
        self.access(Object::Obligation(key), Mode::Write);
        self.access(Object::Account(account), Mode::Add);
    }

    fn settled(&mut self, obligation: ObligationId) {
        let Some(Owed { key, account }) = self.obligations.remove(&obligation) else {
            return;
        };
        self.access(Object::Obligation(key), Mode::Write);
        self.access(Object::Account(account), Mode::Add);
    }

    fn job_queued(&mut self, job: u64) {
        let owner = &self.processes[self.current as usize];
        // The event does not say which region the job lives in: it is one of those of its task.
        let regions: Vec<RegionId> = owner.home.iter().chain(&owner.open).copied().collect();
        for region in &regions {
            let key = self.region_key(*region);
            self.access(Object::Region(key), Mode::Add);
        }
        self.job_entered(job, regions);
    }

    /// A job that lives in one of these regions, or in none.
    fn job_entered(&mut self, job: u64, regions: Vec<RegionId>) {
        let key = self.next_child();
        let process = self.enter(key, None);
        self.jobs.insert(job, Job { process, regions });
        self.wake(process);
    }

    fn job_started(&mut self, job: u64) {
        let known = self.jobs.get_mut(&job);
        let known = known.map(|known| (known.process, std::mem::take(&mut known.regions)));
        let (process, regions) = known.unwrap_or_else(|| {
            let unknown = ProcessKey::START.owned(Kind::Unknown, job);
            (self.enter(ProcessKey::of_word(unknown), None), Vec::new())
        });
        self.begin(process, StepKind::Job(job));
        self.access(Object::Wake(self.key(process)), Mode::Read);
        for region in regions {
            let key = self.region_key(region);
            self.access(Object::Region(key), Mode::Add);
            self.leave(region);
        }
        // The job has not ended yet: what it wakes may be woken by what it does.
        self.last_end = None;
    }

    fn next_child(&mut self) -> ProcessKey {
        let parent = &mut self.processes[self.current as usize];
        let key = parent.key.child(parent.spawned);
        parent.spawned += 1;
        key
    }

    fn enter(&mut self, key: ProcessKey, home: Option<RegionId>) -> u32 {
        self.processes.push(Process::new(key, home));
        self.processes.len() as u32 - 1
    }

    fn key(&self, process: u32) -> ProcessKey {
        self.processes[process as usize].key
    }

    /// A task's process; one whose spawn was not seen is told from the others by its name.
    fn task(&mut self, task: TaskId) -> u32 {
        if let Some(known) = self.tasks.get(&task) {
            return *known;
        }
        let place = hash::pair(task.region().index(), u64::from(task.index()));
        let key = ProcessKey::ROOT.owned(Kind::Unknown, place);
        let process = self.enter(ProcessKey::of_word(key), Some(task.region()));
        self.tasks.insert(task, process);
        process
    }

    fn fiber_key(&self, fiber: TaskId) -> ProcessKey {
        let region = ProcessKey::of_word(self.region_key(fiber.region()));
        ProcessKey::of_word(region.owned(Kind::Fiber, u64::from(fiber.index())))
    }

    fn region_key(&self, region: RegionId) -> u64 {
        let unknown = || ProcessKey::CLOCK.owned(Kind::Unknown, region.index());
        self.regions
            .get(&region)
            .map_or_else(unknown, |known| known.key)
    }

    /// The task in whose poll the subject is polled.
    fn enclosing_task(&self, subject: Subject) -> Option<u32> {
        let region = match subject {
            Subject::Region(region) => region,
            Subject::Task(task) => match self.tasks.get(&task) {
                Some(process) => return Some(*process),
                None => task.region(),
            },
        };
        self.regions.get(&region)?.task
    }
}

impl Default for StepReader {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    const fn new(key: ProcessKey, home: Option<RegionId>) -> Self {
        Self {
            key,
            home,
            steps: 0,
            spawned: 0,
            regions: 0,
            obligations: 0,
            open: Vec::new(),
            wakes: Vec::new(),
            overspent: false,
        }
    }
}

/// The table of operations, found by a hash.
/// What operations do, found by the hash of their name; made once for all readers.
static KNOWN_NAMES: LazyLock<KnownNames> = LazyLock::new(KnownNames::new);

struct KnownNames(Map<u64, (&'static str, Mode)>);

impl KnownNames {
    fn new() -> Self {
        let entry = |name: &'static str| {
            let mode = match access_of(name) {
                Some(Access::Read) => Mode::Read,
                Some(Access::Write | Access::Block) | None => Mode::Write,
            };
            (hash::text(name), (name, mode))
        };
        Self(known_operations().map(entry).collect())
    }

    fn mode_of(&self, name: &str) -> Mode {
        match self.0.get(&hash::text(name)) {
            Some((known, mode)) if *known == name => *mode,
            Some(_) | None => Mode::Write,
        }
    }
}

/// Whether a step begins with this event.
const fn begins_step(event: &Event) -> bool {
    matches!(
        event,
        Event::TaskPolled { .. } | Event::JobStarted { .. } | Event::ClockAdvanced { .. }
    )
}

const START: u32 = 0;
const CLOCK: u32 = 1;
/// Of so many accesses the places are found by looking at each.
const SCANNED_MAX: usize = 24;
