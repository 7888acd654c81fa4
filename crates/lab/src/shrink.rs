//! Making a failing schedule small.
//!
//! # How
//! A candidate is run; it takes the place of the best so far if the same kind of defect shows and fewer tasks take part in it, or as many with fewer decisions, or as many that reach less far.
//! A fault stands in a schedule as the answer to so many questions after the start; where others go first, it is also tried as the answer to the question of whom it struck.
//! First whole tasks are held back, then ends are cut off, then decisions are undone in halves, quarters and so on down to single ones, then made smaller and moved to the front.
//! This is repeated until nothing changes, so the result is a local minimum, unless the runs are used up before: no single decision can be undone, and no single task held back.
//!
//! Source: Zeller, Hildebrandt: *Simplifying and isolating failure-inducing input*, IEEE TSE 2002.

use std::collections::BTreeSet;
use std::sync::Arc;

use asupersync_core::TaskId;
use asupersync_kernel::Event;
use asupersync_trace::{ProcessKey, Trace};

use crate::config::LabConfig;
use crate::finding::Finding;
use crate::instruments::Instruments;
use crate::lab::LabRuntime;
use crate::schedule::{Cut, Schedule};
use crate::search::{Program, Run};
use crate::strategy::{Chooser, Strategy, Without};

/// The smallest failing run that was found, and what it took.
pub(crate) struct Shrunk {
    pub(crate) run: Run,
    pub(crate) runs: u64,
}

/// Makes a failing run smaller, within so many runs.
pub(crate) fn shrink(program: &dyn Program, config: &LabConfig, run: Run, runs_max: u64) -> Shrunk {
    let Some(finding) = run.finding.clone() else {
        return Shrunk { run, runs: 0 };
    };
    let mut shrinker = Shrinker {
        program,
        config,
        weight: weight(&run),
        best: run,
        finding,
        runs: 0,
        runs_max,
    };
    while shrinker.round() {}
    Shrunk {
        run: shrinker.best,
        runs: shrinker.runs,
    }
}

/// Runs a program along a schedule.
pub(crate) fn replay(program: &dyn Program, config: &LabConfig, schedule: Schedule) -> Run {
    let lab = LabRuntime::new(config.clone().replay(schedule));
    program
        .run(lab, Box::new(Instruments::new(Strategy::Fifo.chooser(0))))
        .0
}

/// What happened up to the finding, and including it.
pub(crate) fn prefix(run: &Run) -> Trace {
    let end = run
        .finding
        .as_ref()
        .map(|finding| finding.event(&run.trace));
    let end = end.unwrap_or(run.trace.events.len());
    let events = &run.trace.events;
    Trace {
        events: events[..(end + 1).min(events.len())].to_vec(),
    }
}

/// Tasks that take part, decisions, how far they reach, how large they are.
type Weight = (usize, (usize, usize, u64));

fn weight(run: &Run) -> Weight {
    let end = run
        .finding
        .as_ref()
        .map(|finding| finding.event(&run.trace));
    let tasks = involved(&run.trace, end.unwrap_or(run.trace.events.len()));
    (tasks.len(), run.schedule.weight())
}

/// The tasks that were polled before this place.
fn involved(trace: &Trace, end: usize) -> BTreeSet<TaskId> {
    let polled = trace.iter().take(end).filter_map(|event| match event {
        Event::TaskPolled { task } => Some(*task),
        _ => None,
    });
    polled.collect()
}

/// After each step whose task went on waiting: the places at which a task can be cut short.
pub(crate) fn waits(trace: &Trace) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut polled: Option<(TaskId, u64)> = None;
    let mut close = |polled: Option<(TaskId, u64)>| {
        if let Some((_, step)) = polled {
            cuts.extend(crate::interrupt::Way::ALL.map(|way| Cut { way, step }));
        }
    };
    for traced in &trace.events {
        match &traced.event {
            Event::TaskPolled { task } => {
                close(polled.replace((*task, traced.step)));
            }
            Event::TaskEnded { task, .. } if polled.is_some_and(|(one, _)| one == *task) => {
                polled = None;
            }
            _ => {}
        }
    }
    close(polled);
    cuts
}

struct Shrinker<'a> {
    program: &'a dyn Program,
    config: &'a LabConfig,
    finding: Finding,
    best: Run,
    weight: Weight,
    runs: u64,
    runs_max: u64,
}

impl Shrinker<'_> {
    /// One round of everything; whether the best is a better one now.
    fn round(&mut self) -> bool {
        let before = self.weight;
        self.try_schedule(&Schedule::default());
        self.without_tasks();
        self.without_cut();
        for part in [Part::Faults, Part::Picks] {
            self.shorter(part);
            self.fewer(part);
            self.lower(part);
            self.closer(part);
        }
        self.weight < before && self.runs < self.runs_max
    }

    /// Whether this schedule is better than the best; then it is the best.
    fn try_schedule(&mut self, schedule: &Schedule) -> bool {
        if self.runs >= self.runs_max || *schedule == self.best.schedule {
            return false;
        }
        self.runs += 1;
        let run = replay(self.program, self.config, schedule.clone());
        self.accept(run) || self.try_picks(schedule)
    }

    /// As [`try_schedule`](Self::try_schedule), if only who goes when differs: each fault strikes whom it struck before, and not as many questions after the start.
    fn try_picks(&mut self, schedule: &Schedule) -> bool {
        let is_about_picks = schedule.picks() != self.best.schedule.picks();
        if self.best.decided.is_empty() || !is_about_picks || self.runs >= self.runs_max {
            return false;
        }
        self.runs += 1;
        let decided = Arc::clone(&self.best.decided);
        let config = self.config.clone().replay(schedule.clone());
        let lab = LabRuntime::new(config.follow_decided(decided));
        let idle = Box::new(Instruments::new(Strategy::Fifo.chooser(0)));
        let (run, _) = self.program.run(lab, idle);
        self.accept(run)
    }

    fn accept(&mut self, run: Run) -> bool {
        let finding = run.finding.as_ref();
        let shows = finding.is_some_and(|finding| finding.is_like(&self.finding));
        let weight = weight(&run);
        if !shows || weight >= self.weight {
            return false;
        }
        self.best = run;
        self.weight = weight;
        true
    }

    /// Holds each process back until nothing else can run.
    fn without_tasks(&mut self) {
        let mut tried = BTreeSet::new();
        while self.runs < self.runs_max {
            let process = self.processes().into_iter().find(|key| tried.insert(*key));
            let Some(process) = process else { return };
            self.runs += 1;
            let without: Box<dyn Chooser> =
                Box::new(Without::new(process, self.best.schedule.picks().to_vec()));
            let config = self.config.clone().follow_faults(&self.best.schedule);
            let lab = LabRuntime::new(config.follow_decided(Arc::clone(&self.best.decided)));
            let (run, _) = self.program.run(lab, Box::new(Instruments::new(without)));
            self.accept(run);
        }
    }

    fn processes(&self) -> Vec<ProcessKey> {
        let end = self.finding.event(&self.best.trace);
        let steps = asupersync_trace::steps(&self.best.trace);
        let taken = steps.iter().filter(|step| step.events.start < end);
        let keys: BTreeSet<ProcessKey> = taken.map(|step| step.process).collect();
        keys.into_iter().collect()
    }

    fn without_cut(&mut self) {
        let schedule = &self.best.schedule;
        if schedule.cut().is_some() {
            let plain = Schedule::new(schedule.picks().to_vec(), schedule.faults().to_vec(), None);
            self.try_schedule(&plain);
        }
    }

    fn with(&self, part: Part, numbers: Vec<u32>) -> Schedule {
        let schedule = &self.best.schedule;
        match part {
            Part::Picks => Schedule::new(numbers, schedule.faults().to_vec(), schedule.cut()),
            Part::Faults => Schedule::new(schedule.picks().to_vec(), numbers, schedule.cut()),
        }
    }

    fn numbers(&self, part: Part) -> Vec<u32> {
        match part {
            Part::Picks => self.best.schedule.picks().to_vec(),
            Part::Faults => self.best.schedule.faults().to_vec(),
        }
    }

    /// Cuts the end off, as much as can go.
    fn shorter(&mut self, part: Part) {
        let mut keeps = 0;
        loop {
            let mut numbers = self.numbers(part);
            if keeps >= numbers.len() {
                return;
            }
            let middle = keeps + (numbers.len() - keeps) / 2;
            numbers.truncate(middle);
            let schedule = self.with(part, numbers);
            if !self.try_schedule(&schedule) {
                keeps = middle + 1;
            }
            if self.runs >= self.runs_max {
                return;
            }
        }
    }

    /// Undoes decisions, many at a time and then fewer.
    fn fewer(&mut self, part: Part) {
        let mut chunk = self.decided(part).len().div_ceil(2);
        while chunk > 0 && self.runs < self.runs_max {
            let mut first = 0;
            loop {
                let decided = self.decided(part);
                let Some(places) = decided.get(first..) else {
                    break;
                };
                if places.is_empty() {
                    break;
                }
                let mut numbers = self.numbers(part);
                for place in &places[..chunk.min(places.len())] {
                    numbers[*place] = 0;
                }
                let schedule = self.with(part, numbers);
                if !self.try_schedule(&schedule) {
                    first += chunk;
                }
            }
            chunk /= 2;
        }
    }

    /// The places of decisions that are not zero.
    fn decided(&self, part: Part) -> Vec<usize> {
        let numbers = self.numbers(part);
        let places = (0..numbers.len()).filter(|place| numbers[*place] != 0);
        places.collect()
    }

    /// Makes each decision as small as it can be.
    fn lower(&mut self, part: Part) {
        for place in self.decided(part) {
            let highest = self.numbers(part).get(place).copied().unwrap_or_default();
            for lower in 1..highest {
                let mut numbers = self.numbers(part);
                if place >= numbers.len() {
                    break;
                }
                numbers[place] = lower;
                let schedule = self.with(part, numbers);
                if self.try_schedule(&schedule) || self.runs >= self.runs_max {
                    break;
                }
            }
        }
    }

    /// Takes out numbers, so that what follows comes earlier.
    fn closer(&mut self, part: Part) {
        let mut chunk = self.numbers(part).len() / 2;
        while chunk > 0 && self.runs < self.runs_max {
            let mut start = 0;
            loop {
                let mut numbers = self.numbers(part);
                if start >= numbers.len() {
                    break;
                }
                numbers.drain(start..(start + chunk).min(numbers.len()));
                let schedule = self.with(part, numbers);
                if !self.try_schedule(&schedule) {
                    start += chunk;
                }
            }
            chunk /= 2;
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Picks,
    Faults,
}
