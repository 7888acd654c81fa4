//! Who is running, by names that do not depend on the schedule.

use asupersync_core::TaskId;
use asupersync_kernel::Meddler;
use asupersync_trace::ProcessKey;

use crate::keyed::TaskMap;
use crate::node::{NodeId, Place};
use crate::script::DecisionKey;
use crate::seeds::mix;

/// The processes of a run: the tasks and jobs, and what the host itself does.
#[derive(Default)]
pub(crate) struct Processes {
    all: Vec<Process>,
    by_task: TaskMap<usize>,
    current: usize,
    /// Where new processes run, unless where their maker runs.
    elsewhere: Option<Place>,
}

struct Process {
    key: ProcessKey,
    /// How many processes it has made.
    children: u32,
    /// How many numbers it has drawn.
    draws: u64,
    /// How much was decided in its steps; counted apart, since a program's numbers are the same whatever is decided.
    decisions: u64,
    /// The task, if storms may wake it or its node may crash.
    task: Option<Meddler>,
    /// Where it runs.
    place: Place,
}

impl Processes {
    /// Forgets everybody.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.by_task.clear();
        self.current = START;
        self.elsewhere = None;
    }

    /// Whoever runs now, the host at first.
    fn current(&mut self) -> &mut Process {
        let host = |key| Process {
            key,
            children: 0,
            draws: 0,
            decisions: 0,
            task: None,
            place: Place::NOWHERE,
        };
        if self.all.is_empty() {
            self.all
                .extend([host(ProcessKey::START), host(ProcessKey::CLOCK)]);
        }
        &mut self.all[self.current]
    }

    /// The process of a task; a task that was never seen was made by who runs now.
    pub(crate) fn of_task(&mut self, task: TaskId) -> usize {
        match self.by_task.get(&task) {
            Some(index) => *index,
            None => {
                let index = self.child();
                self.by_task.insert(task, index);
                index
            }
        }
    }

    /// A new process, made by who runs now and where that runs.
    pub(crate) fn child(&mut self) -> usize {
        let current = self.current;
        let elsewhere = self.elsewhere;
        let parent = self.current();
        let key = match (current, parent.children) {
            (START, 0) => ProcessKey::ROOT,
            (_, children) => parent.key.child(children),
        };
        parent.children += 1;
        let place = elsewhere.unwrap_or(parent.place);
        self.all.push(Process {
            key,
            children: 0,
            draws: 0,
            decisions: 0,
            task: None,
            place,
        });
        self.all.len() - 1
    }

    pub(crate) fn key(&self, index: usize) -> ProcessKey {
        self.all[index].key
    }

    pub(crate) fn run(&mut self, index: usize) {
        self.current = index;
    }

    /// What is made from now on runs there, or where its maker runs.
    pub(crate) fn make_elsewhere(&mut self, place: Option<Place>) {
        self.elsewhere = place;
    }

    /// Where this process runs.
    pub(crate) fn place_of(&self, index: usize) -> Place {
        self.all[index].place
    }

    /// Where the process runs that runs now.
    pub(crate) fn place(&self) -> Place {
        let current = self.all.get(self.current);
        current.map_or(Place::NOWHERE, |process| process.place)
    }

    /// It runs there, and so does what it makes.
    pub(crate) fn settle(&mut self, index: usize, place: Place) {
        self.all[index].place = place;
    }

    /// The tasks of a node that have not ended, the newest first.
    pub(crate) fn tasks_of(&self, node: NodeId) -> Vec<Meddler> {
        let own = self.all.iter().rev().filter(|each| each.place.node == node);
        let tasks = own.filter_map(|process| process.task.clone());
        tasks.filter(|task| !task.is_finished()).collect()
    }

    pub(crate) fn remember(&mut self, index: usize, task: Meddler) {
        self.all[index].task = Some(task);
    }

    pub(crate) fn remembered(&self) -> Vec<Meddler> {
        let tasks = self.all.iter().filter_map(|process| process.task.clone());
        tasks.filter(|task| !task.is_finished()).collect()
    }

    pub(crate) fn run_clock(&mut self) {
        self.current = CLOCK;
    }

    /// A number for who runs now; a function of the seed, the process, and how many it has drawn.
    pub(crate) fn draw(&mut self, seed: u64) -> u64 {
        let process = self.current();
        process.draws += 1;
        mix(mix(seed, process.key.word()), process.draws)
    }

    /// Who runs now, for its next decision.
    pub(crate) fn next_decision(&mut self) -> DecisionKey {
        let process = self.current();
        process.decisions += 1;
        (process.key.word(), process.decisions)
    }
}

const START: usize = 0;
const CLOCK: usize = 1;
