//! The reduction meets every class of runs: compared with all interleavings of small programs.

use std::collections::{BTreeMap, BTreeSet};

use asupersync_trace::{
    Dpor, Fingerprint, Mode, Object, Pick, ProcessKey, Step, StepKind, Wake, fingerprint,
};
use proptest::prelude::*;

/// What a process does in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Read(u8),
    Write(u8),
    Add(u8),
    Lock(u8),
    Unlock(u8),
    /// Reads, and goes on only if the value is not zero.
    Guard(u8),
}

/// A program: a list of steps for each process.
type Program = Vec<Vec<Op>>;

/// A run of a program: what was done in which order, and the values at its end.
struct Run {
    steps: Vec<Step>,
    end: BTreeMap<u8, u64>,
}

#[derive(Default)]
struct Machine {
    steps: Vec<Step>,
    next_op: Vec<usize>,
    /// Who asked for the next step of each process.
    wakes: Vec<Vec<Wake>>,
    runnable: Vec<usize>,
    /// Resources are numbered in the order of their first use.
    numbers: BTreeMap<u8, u64>,
    values: BTreeMap<u8, u64>,
    held: BTreeSet<u8>,
    waiting: BTreeMap<u8, Vec<usize>>,
}

fn key(process: usize) -> ProcessKey {
    ProcessKey::ROOT.child(process as u32)
}

impl Machine {
    fn new(program: &Program) -> Self {
        let count = program.len();
        Self {
            next_op: vec![0; count],
            wakes: vec![Vec::new(); count],
            runnable: (0..count)
                .filter(|process| !program[*process].is_empty())
                .collect(),
            ..Self::default()
        }
    }

    fn number(&mut self, resource: u8) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(resource).or_insert(next)
    }

    /// One step of the process at this place among the runnable.
    fn step(&mut self, program: &Program, place: usize) -> Step {
        let process = self.runnable.remove(place);
        let index = self.steps.len();
        let ordinal = self
            .steps
            .iter()
            .filter(|step| step.process == key(process))
            .count();
        let mut step = Step::new(key(process), ordinal as u32, StepKind::Job(process as u64));
        step.events = index..index + 1;
        step.wakes = std::mem::take(&mut self.wakes[process]);
        let op = program[process][self.next_op[process]];
        let (resource, mode, name) = match op {
            Op::Read(at) | Op::Guard(at) => (at, Mode::Read, "read"),
            Op::Write(at) => (at, Mode::Write, "write"),
            Op::Add(at) => (at, Mode::Add, "add"),
            Op::Lock(at) => (at, Mode::Write, "lock"),
            Op::Unlock(at) => (at, Mode::Write, "unlock"),
        };
        step.operations.push(name.into());
        let number = self.number(resource);
        step.accesses.push((Object::Resource(number), mode));
        let goes_on = self.act(process, op, index);
        if goes_on {
            self.next_op[process] += 1;
            if self.next_op[process] < program[process].len() {
                self.wakes[process].push(Wake {
                    step: index,
                    by_end_in: None,
                });
                self.runnable.push(process);
            }
        }
        self.steps.push(step.clone());
        step
    }

    /// Whether the process goes on to its next step.
    fn act(&mut self, process: usize, op: Op, index: usize) -> bool {
        match op {
            Op::Read(_) => {}
            Op::Guard(at) => {
                if self.values.get(&at).copied().unwrap_or_default() == 0 {
                    self.next_op[process] = usize::MAX - 1;
                }
            }
            Op::Write(at) => {
                self.values.insert(at, process as u64 + 1);
            }
            Op::Add(at) => *self.values.entry(at).or_default() += 1 << process,
            Op::Lock(at) => {
                if !self.held.insert(at) {
                    self.waiting.entry(at).or_default().push(process);
                    return false;
                }
            }
            Op::Unlock(at) => {
                self.held.remove(&at);
                for waiter in self.waiting.remove(&at).unwrap_or_default() {
                    self.wakes[waiter].push(Wake {
                        step: index,
                        by_end_in: None,
                    });
                    self.runnable.push(waiter);
                }
            }
        }
        true
    }

    fn finish(self) -> Run {
        Run {
            steps: self.steps,
            end: self.values,
        }
    }
}

/// All runs, by trying every choice at every step.
fn all_runs(program: &Program, makes: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut machine = Machine::new(program);
        let begins = start(&mut machine, makes);
        machine.steps.push(begins);
        let mut depth = 0;
        while !machine.runnable.is_empty() {
            if depth == choices.len() {
                choices.push((0, machine.runnable.len()));
            }
            machine.step(program, choices[depth].0);
            depth += 1;
        }
        runs.push(machine.finish());
        while choices
            .last()
            .is_some_and(|(choice, count)| choice + 1 == *count)
        {
            choices.pop();
        }
        let Some(last) = choices.last_mut() else {
            return runs;
        };
        last.0 += 1;
    }
}

/// The start of a run, in which every resource is made, if it is to be known from there on.
fn start(machine: &mut Machine, makes: bool) -> Step {
    let mut step = Step::new(ProcessKey::START, 0, StepKind::Start);
    step.events = 0..1;
    if makes {
        for resource in 0..10 {
            let number = machine.number(resource);
            step.accesses.push((Object::Resource(number), Mode::Write));
        }
    }
    step
}

/// The runs that the reduction asks for, and how many it gave up.
fn reduced_runs(program: &Program, makes: bool) -> (Vec<Run>, Dpor) {
    let mut runs = Vec::new();
    let mut dpor = Dpor::new();
    while dpor.begin() {
        let mut machine = Machine::new(program);
        let begins = start(&mut machine, makes);
        dpor.ran(&begins);
        machine.steps.push(begins);
        let mut is_whole = true;
        while !machine.runnable.is_empty() {
            let keys: Vec<ProcessKey> = machine.runnable.iter().map(|at| key(*at)).collect();
            let Pick::Run(place) = dpor.choose(&keys) else {
                is_whole = false;
                break;
            };
            let step = machine.step(program, place);
            dpor.ran(&step);
        }
        dpor.end();
        if is_whole {
            runs.push(machine.finish());
        }
        assert!(runs.len() < 100_000, "it does not end");
    }
    assert!(dpor.mismatch_found().is_none());
    (runs, dpor)
}

fn classes(runs: &[Run]) -> BTreeSet<Fingerprint> {
    runs.iter().map(|run| fingerprint(&run.steps)).collect()
}

fn ends(runs: &[Run]) -> BTreeSet<Vec<(u8, u64)>> {
    runs.iter()
        .map(|run| run.end.clone().into_iter().collect())
        .collect()
}

/// The classes that are met, the executions, and those that were given up.
fn check(program: &Program, makes: bool) -> (usize, u64, u64) {
    let all = all_runs(program, makes);
    let (reduced, dpor) = reduced_runs(program, makes);
    assert_eq!(classes(&reduced), classes(&all), "{program:?}");
    assert_eq!(ends(&reduced), ends(&all), "{program:?}");
    assert_eq!(dpor.estimate().at_least, dpor.executions());
    (classes(&all).len(), dpor.executions(), dpor.redundant())
}

/// All of so many classes are met, also where a search has to find out which resources are one.
fn check_classes(program: &Program, expected: usize) {
    for makes in [true, false] {
        let (classes, executions, _) = check(program, makes);
        assert_eq!(classes, expected, "{program:?}");
        assert!(executions >= expected as u64);
    }
}

#[test]
fn writers_of_one_variable_go_in_every_order() {
    check_classes(&vec![vec![Op::Write(0)]; 2], 2);
    check_classes(&vec![vec![Op::Write(0)]; 3], 6);
    check_classes(&vec![vec![Op::Write(0)]; 4], 24);
}

#[test]
fn what_is_independent_is_run_once() {
    let program: Program = (0..5)
        .map(|at| vec![Op::Write(at), Op::Write(at)])
        .collect();
    let (runs, dpor) = reduced_runs(&program, true);
    assert_eq!((runs.len(), dpor.redundant()), (1, 0));
    check_classes(&vec![vec![Op::Read(0)]; 4], 1);
    check_classes(&vec![vec![Op::Add(0)]; 4], 1);
}

#[test]
fn readers_of_a_written_variable_see_it_before_or_after() {
    // Each of three readers comes before or after the one writer.
    let mut program = vec![vec![Op::Read(0)]; 3];
    program.push(vec![Op::Write(0)]);
    check_classes(&program, 8);
}

#[test]
fn pairs_multiply() {
    let pair = |at| [vec![Op::Write(at)], vec![Op::Write(at)]];
    let program: Program = [pair(0), pair(1), pair(2)].into_iter().flatten().collect();
    check_classes(&program, 8);
}

#[test]
fn locks_wait_and_wake() {
    let critical = vec![Op::Lock(0), Op::Write(1), Op::Unlock(0)];
    check(&vec![critical.clone(); 2], true);
    let crossed = |first, second| {
        vec![
            Op::Lock(first),
            Op::Lock(second),
            Op::Unlock(second),
            Op::Unlock(first),
        ]
    };
    check(&vec![crossed(0, 1), crossed(1, 0)], true);
    check(&vec![critical.clone(), critical, vec![Op::Write(1)]], false);
}

fn programs() -> impl Strategy<Value = Program> {
    let op = (0..6_u8, 0..3_u8).prop_map(|(kind, at)| match kind {
        5 => Op::Guard(at),
        0 | 1 => Op::Read(at),
        2 | 3 => Op::Write(at),
        _ => Op::Add(at),
    });
    let process = prop::collection::vec(op, 0..4);
    prop::collection::vec(process, 1..5).prop_filter("all interleavings can be tried", |program| {
        program.iter().map(Vec::len).sum::<usize>() <= 8
    })
}

/// As above, with a critical section around some of the steps.
fn locked_programs() -> impl Strategy<Value = Program> {
    (programs(), prop::collection::vec(any::<bool>(), 4)).prop_map(|(program, locked)| {
        let wrap = |(mut ops, is_locked): (Vec<Op>, &bool)| {
            if *is_locked && ops.len() < 2 {
                ops.insert(0, Op::Lock(9));
                ops.push(Op::Unlock(9));
            }
            ops
        };
        let short = program.into_iter().take(3);
        short.zip(&locked).map(wrap).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_class_is_met(program in programs()) {
        for makes in [true, false] {
            let (classes, executions, _) = check(&program, makes);
            prop_assert!(executions >= classes as u64);
        }
    }

    #[test]
    fn every_class_is_met_with_locks(program in locked_programs()) {
        let (classes, executions, _) = check(&program, true);
        prop_assert!(executions >= classes as u64);
        check(&program, false);
    }
}
