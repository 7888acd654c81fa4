//! Small programs whose every run can be looked at: what the properties of orders and searches are tried on.
//!
//! As in the lab, resources are numbered in the order of their first use, so that numbers depend on the schedule.

use std::collections::{BTreeMap, BTreeSet};

use asupersync_core::{RegionId, TaskId};
use asupersync_trace::{Fingerprint, Mode, Object, ProcessKey, Step, StepKind, Wake, fingerprint};
use proptest::prelude::*;

/// What a process does; its steps end where it yields, waits or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Yield,
    Read(u8),
    Write(u8),
    Add(u8),
    /// Reads, and leaves out the next operation if it finds an odd number.
    SkipIfOdd(u8),
    Lock(u8),
    Unlock(u8),
    Sleep(u8),
    /// Starts the next process that nobody started, as a child.
    Spawn,
    /// Waits for the end of a process, if it was started.
    Join(u8),
    /// Waits until all children have ended, as a region does at its end.
    Drain,
}

/// The first `started` processes run from the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Program {
    pub(crate) processes: Vec<Vec<Op>>,
    pub(crate) started: usize,
}

impl Program {
    /// Who spawns first decides who is spawned, and whether one that is joined has begun: no step tells of that.
    pub(crate) fn without_spawns(mut self) -> Self {
        for body in &mut self.processes {
            body.retain(|op| *op != Op::Spawn);
        }
        self
    }
}

/// What a run leads to: the variables, and what each process saw.
pub(crate) type Outcome = (Vec<u64>, Vec<Vec<u64>>);

/// A run under way.
#[derive(Clone)]
pub(crate) struct Run<'p> {
    program: &'p Program,
    processes: Vec<Process>,
    values: BTreeMap<u8, u64>,
    holders: BTreeMap<u8, usize>,
    lines: BTreeMap<u8, Vec<usize>>,
    timers: BTreeSet<(u64, usize)>,
    numbers: BTreeMap<(bool, u8), u64>,
    now: u64,
    clocks: u32,
    unstarted: usize,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Default)]
struct Process {
    key: Option<ProcessKey>,
    parent: Option<usize>,
    at: usize,
    ordinal: u32,
    children: u32,
    live: u32,
    is_draining: bool,
    is_runnable: bool,
    has_ended: bool,
    waiter: Option<usize>,
    wakes: Vec<Wake>,
    seen: Vec<u64>,
}

impl<'p> Run<'p> {
    pub(crate) fn new(program: &'p Program) -> Self {
        let mut run = Self {
            program,
            processes: vec![Process::default(); program.processes.len()],
            values: BTreeMap::new(),
            holders: BTreeMap::new(),
            lines: BTreeMap::new(),
            timers: BTreeSet::new(),
            numbers: BTreeMap::new(),
            now: 0,
            clocks: 0,
            unstarted: 0,
            steps: Vec::new(),
        };
        let mut start = Step::new(ProcessKey::START, 0, StepKind::Start);
        for index in 0..program.started {
            let key = ProcessKey::START.child(index as u32);
            run.start(&mut start, key, None);
        }
        run.steps.push(start);
        run
    }

    pub(crate) fn runnable(&self) -> Vec<ProcessKey> {
        let runnable = self.processes.iter().filter(|process| process.is_runnable);
        runnable.filter_map(|process| process.key).collect()
    }

    /// Lets time pass; false if nothing waits for it.
    pub(crate) fn advance(&mut self) -> bool {
        let Some((at, _)) = self.timers.first().copied() else {
            return false;
        };
        self.now = at;
        let mut step = Step::new(ProcessKey::CLOCK, self.clocks, StepKind::Clock);
        self.clocks += 1;
        while let Some((due, process)) = self.timers.first().copied()
            && due <= at
        {
            self.timers.pop_first();
            self.wake(&mut step, process, None);
        }
        self.steps.push(step);
        true
    }

    /// Takes one step of a process.
    pub(crate) fn step(&mut self, key: ProcessKey) {
        let same = |process: &Process| process.key == Some(key);
        let own = self.processes.iter().position(same).unwrap();
        let task = TaskId::new(RegionId::new(0), own as u32);
        let process = &mut self.processes[own];
        assert!(process.is_runnable);
        let mut step = Step::new(key, process.ordinal, StepKind::Task(task));
        process.ordinal += 1;
        process.is_runnable = false;
        step.wakes = std::mem::take(&mut process.wakes);
        access(&mut step, Object::Wake(key), Mode::Read);
        while self.act(&mut step, own) {}
        self.steps.push(step);
    }

    /// Runs what the schedule says, and then whatever comes first.
    pub(crate) fn follow(&mut self, mut schedule: impl FnMut(usize) -> usize) {
        loop {
            let runnable = self.runnable();
            if !runnable.is_empty() {
                self.step(runnable[schedule(runnable.len())]);
            } else if !self.advance() {
                return;
            }
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let seen = self.processes.iter().map(|process| process.seen.clone());
        let values = (0..u8::MAX).map_while(|variable| {
            (variable < 8).then(|| self.values.get(&variable).copied().unwrap_or(0))
        });
        (values.collect(), seen.collect())
    }

    /// Does the next operation; false if the step ends.
    fn act(&mut self, step: &mut Step, own: usize) -> bool {
        let Some(op) = self.program.processes[own]
            .get(self.processes[own].at)
            .copied()
        else {
            self.end(step, own);
            return false;
        };
        let mut next = self.processes[own].at + 1;
        let goes_on = match op {
            Op::Yield => {
                self.wake(step, own, None);
                false
            }
            Op::Read(variable) => {
                self.read(step, own, variable);
                true
            }
            Op::Write(variable) => {
                self.touch(step, (false, variable), Mode::Write);
                let value = own as u64 * 1000 + self.processes[own].at as u64;
                self.values.insert(variable, value);
                true
            }
            Op::Add(variable) => {
                self.touch(step, (false, variable), Mode::Add);
                *self.values.entry(variable).or_default() += 1;
                true
            }
            Op::SkipIfOdd(variable) => {
                next += (self.read(step, own, variable) % 2) as usize;
                true
            }
            Op::Lock(lock) => {
                self.touch(step, (true, lock), Mode::Write);
                let is_free = !self.holders.contains_key(&lock);
                if is_free {
                    self.holders.insert(lock, own);
                } else {
                    self.lines.entry(lock).or_default().push(own);
                    next -= 1;
                }
                is_free
            }
            Op::Unlock(lock) => {
                self.touch(step, (true, lock), Mode::Write);
                if self.holders.get(&lock) == Some(&own) {
                    self.holders.remove(&lock);
                    let line = self.lines.entry(lock).or_default();
                    if !line.is_empty() {
                        let waiter = line.remove(0);
                        self.wake(step, waiter, None);
                    }
                }
                true
            }
            Op::Sleep(time) => {
                self.timers.insert((self.now + 1 + u64::from(time), own));
                false
            }
            Op::Spawn => {
                if self.unstarted < self.processes.len() {
                    let parent = &mut self.processes[own];
                    let key = parent.key.unwrap().child(parent.children);
                    parent.children += 1;
                    parent.live += 1;
                    let region = region(parent);
                    access(step, region, Mode::Add);
                    self.start(step, key, Some(own));
                }
                true
            }
            Op::Join(other) => {
                let other = usize::from(other) % self.processes.len();
                let joined = self.join(step, own, other);
                next -= usize::from(!joined);
                joined
            }
            Op::Drain => {
                let process = &mut self.processes[own];
                let region = region(process);
                let waited = process.is_draining && process.live == 0;
                // A draining region that is polled for nothing does nothing.
                if !process.is_draining || waited {
                    access(step, region, Mode::Write);
                }
                if waited {
                    step.waited_for.push(region);
                }
                process.is_draining = process.live > 0;
                next -= usize::from(process.live > 0);
                process.live == 0
            }
        };
        self.processes[own].at = next;
        goes_on
    }

    fn join(&mut self, step: &mut Step, own: usize, other: usize) -> bool {
        let waited_for = &mut self.processes[other];
        let Some(key) = waited_for.key.filter(|_| own != other) else {
            return true;
        };
        let has_ended = waited_for.has_ended;
        let mode = if has_ended { Mode::Read } else { Mode::Write };
        access(step, Object::End(key), mode);
        if !has_ended && waited_for.waiter.replace(own).is_some() {
            // Whoever waited before is lost, as with a handle that two wait on.
        }
        has_ended
    }

    fn end(&mut self, step: &mut Step, own: usize) {
        let process = &mut self.processes[own];
        process.has_ended = true;
        let waiter = process.waiter.take();
        access(step, Object::End(process.key.unwrap()), Mode::Write);
        if let Some(parent) = process.parent {
            self.leave(step, parent);
        }
        if let Some(waiter) = waiter {
            self.wake(step, waiter, None);
        }
    }

    fn leave(&mut self, step: &mut Step, parent: usize) {
        let process = &mut self.processes[parent];
        let region = region(process);
        process.live -= 1;
        access(step, region, Mode::Add);
        if !process.is_draining {
            return;
        }
        step.ended_in.push(region);
        access(step, Object::Wake(process.key.unwrap()), Mode::Add);
        if process.live == 0 {
            self.wake(step, parent, Some(region));
        }
    }

    fn start(&mut self, step: &mut Step, key: ProcessKey, parent: Option<usize>) {
        let index = self.unstarted;
        self.unstarted += 1;
        self.processes[index].key = Some(key);
        self.processes[index].parent = parent;
        self.wake(step, index, None);
    }

    fn wake(&mut self, step: &mut Step, whom: usize, by_end_in: Option<Object>) {
        let process = &mut self.processes[whom];
        if process.has_ended {
            return;
        }
        process.is_runnable = true;
        process.wakes.push(Wake {
            step: self.steps.len(),
            by_end_in,
        });
        access(step, Object::Wake(process.key.unwrap()), Mode::Add);
    }

    fn read(&mut self, step: &mut Step, own: usize, variable: u8) -> u64 {
        self.touch(step, (false, variable), Mode::Read);
        let value = self.values.get(&variable).copied().unwrap_or(0);
        self.processes[own].seen.push(value);
        value
    }

    fn touch(&mut self, step: &mut Step, resource: (bool, u8), mode: Mode) {
        let fresh = self.numbers.len() as u64;
        let number = *self.numbers.entry(resource).or_insert(fresh);
        access(step, Object::Resource(number), mode);
        let name = match mode {
            Mode::Read => "model.read",
            Mode::Add => "model.add",
            Mode::Write => "model.write",
        };
        step.operations.push(name.into());
    }
}

fn region(process: &Process) -> Object {
    Object::Region(process.key.map_or(0, |key| hash_of(&key.to_string())))
}

fn hash_of(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| {
        hash * 257 % 0xffff_ffff_fffb + u64::from(byte)
    })
}

fn access(step: &mut Step, object: Object, mode: Mode) {
    let known = step.accesses.iter_mut().find(|(known, _)| *known == object);
    match known {
        Some((_, known)) => *known = known.and(mode),
        None => step.accesses.push((object, mode)),
    }
}

/// What all interleavings of a program lead to; `None` if there are more than `limit`.
pub(crate) fn brute_force(
    program: &Program,
    limit: usize,
) -> Option<(BTreeSet<Fingerprint>, BTreeSet<Outcome>)> {
    let mut found = (BTreeSet::new(), BTreeSet::new());
    let mut work = vec![Run::new(program)];
    let mut ends = 0;
    while let Some(mut run) = work.pop() {
        let runnable = run.runnable();
        if runnable.is_empty() {
            if run.advance() {
                work.push(run);
                continue;
            }
            ends += 1;
            if ends > limit {
                return None;
            }
            found.0.insert(fingerprint(&run.steps));
            found.1.insert(run.outcome());
        }
        for process in runnable {
            let mut next = run.clone();
            next.step(process);
            work.push(next);
        }
    }
    Some(found)
}

/// Programs of up to `processes` with up to `ops` operations each, on few variables and locks.
pub(crate) fn programs(processes: usize, ops: usize) -> impl Strategy<Value = Program> {
    let op = prop_oneof![
        3 => Just(Op::Yield),
        2 => (0..3_u8).prop_map(Op::Read),
        3 => (0..3_u8).prop_map(Op::Write),
        2 => (0..3_u8).prop_map(Op::Add),
        2 => (0..3_u8).prop_map(Op::SkipIfOdd),
        2 => (0..2_u8).prop_map(Op::Lock),
        2 => (0..2_u8).prop_map(Op::Unlock),
        1 => (0..2_u8).prop_map(Op::Sleep),
        1 => Just(Op::Spawn),
        1 => (0..4_u8).prop_map(Op::Join),
        1 => Just(Op::Drain),
    ];
    let body = proptest::collection::vec(op, 0..=ops);
    let bodies = proptest::collection::vec(body, 2..=processes);
    (bodies, 1..=processes).prop_map(|(processes, started)| Program {
        started: started.min(processes.len()),
        processes,
    })
}
