//! What the oracles know of tasks and regions, in tables that a thread keeps from run to run.

use asupersync_core::{Budget, CancelStage, RegionId, Severity, TaskId};
use asupersync_kernel::Subject;

use super::Violation;
use super::law::Law;

/// Places of keys in a dense table: a sorted list, since most runs have few.
#[derive(Debug)]
pub(super) struct Book<K, V> {
    places: Vec<(K, u32)>,
    entries: Vec<V>,
    last: (usize, usize),
}

impl<K, V> Default for Book<K, V> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            entries: Vec::new(),
            last: (0, 0),
        }
    }
}

impl<K: Ord + Copy, V> Book<K, V> {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.entries.clear();
        self.last = (0, 0);
    }

    fn find(&self, key: K) -> Result<usize, usize> {
        self.places.binary_search_by(|(known, _)| known.cmp(&key))
    }

    pub(super) fn place(&self, key: K) -> Option<usize> {
        let (index, place) = self.last;
        if self
            .places
            .get(index)
            .is_some_and(|(known, _)| *known == key)
        {
            return Some(place);
        }
        self.find(key)
            .ok()
            .map(|index| self.places[index].1 as usize)
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.place(key).map(|place| &self.entries[place])
    }

    /// The entry, made if there is none.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (index, place) = self.last;
        if self
            .places
            .get(index)
            .is_some_and(|(known, _)| *known == key)
        {
            return &mut self.entries[place];
        }
        let index = match self.find(key) {
            Ok(index) => index,
            Err(index) => {
                let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.places.insert(index, (key, place));
                self.entries.push(make());
                index
            }
        };
        let place = self.places[index].1 as usize;
        self.last = (index, place);
        &mut self.entries[place]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        self.entries.iter()
    }
}

/// What is the same for tasks, fibers and regions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Common {
    pub(super) stage: Option<CancelStage>,
    /// The event of the last request.
    pub(super) asked_at: Option<usize>,
    /// Its own budget, if it is not that of its surroundings.
    pub(super) budget: Option<Budget>,
    pub(super) spent: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) common: Common,
    /// Not so for fibers.
    pub(super) is_spawned: bool,
    pub(super) ended: Option<(usize, Severity)>,
    /// How often its failure was taken, delivered or suppressed.
    pub(super) taken: u32,
    pub(super) lost_race: bool,
    pub(super) polls: u32,
    /// How many polls are left of its cleanup or its grace, once it is cancelled.
    pub(super) cleanup_left: u32,
    /// The event and the step at which it became runnable.
    pub(super) runnable: Option<(usize, u64)>,
    /// The event of its last poll.
    pub(super) polled_at: Option<usize>,
    /// Who last looked in vain whether it has ended.
    pub(super) joiner: Option<TaskId>,
}

impl Task {
    pub(super) fn new(id: TaskId) -> Self {
        Self {
            id,
            common: Common::default(),
            is_spawned: false,
            ended: None,
            taken: 0,
            lost_race: false,
            polls: 0,
            cleanup_left: u32::MAX,
            runnable: None,
            polled_at: None,
            joiner: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Open,
    Closing,
    Finalizing,
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub(super) id: RegionId,
    pub(super) common: Common,
    pub(super) parent: Option<Subject>,
    pub(super) phase: Phase,
    pub(super) is_abandoned: bool,
    /// How many finalizers were registered and not started, and how many run.
    pub(super) finalizers_left: i64,
    pub(super) finalizers_running: u32,
}

impl Region {
    pub(super) fn new(id: RegionId, parent: Option<Subject>) -> Self {
        Self {
            id,
            common: Common::default(),
            parent,
            phase: Phase::Open,
            is_abandoned: false,
            finalizers_left: 0,
            finalizers_running: 0,
        }
    }
}

/// What has to be so when the step is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// The task was asked to stop, or has ended.
    Asked(TaskId),
    /// The subject was asked to stop, since it has spent more cost than it has.
    OutOfCost(Subject),
}

/// Tasks and regions of a run, and what was found.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) tasks: Book<TaskId, Task>,
    pub(super) regions: Book<RegionId, Region>,
    pub(super) due: Vec<Due>,
    /// The task being polled.
    pub(super) current: Option<TaskId>,
    pub(super) has_budgets: bool,
    /// The event of the last request or escalation of anybody.
    pub(super) cancelled_at: Option<usize>,
    pub(super) live: u64,
    pub(super) live_max: u64,
    /// The schedule gives everybody a chance at each step.
    pub(super) is_fair: bool,
    /// A fault held tasks back.
    pub(super) is_delayed: bool,
    pub(super) index: usize,
    pub(super) found: Vec<Violation>,
}

impl Ledger {
    pub(super) fn clear(&mut self) {
        self.tasks.clear();
        self.regions.clear();
        self.due.clear();
        self.current = None;
        self.has_budgets = false;
        self.cancelled_at = None;
        self.live = 0;
        self.live_max = 0;
        self.is_fair = false;
        self.is_delayed = false;
        self.index = 0;
        self.found.clear();
    }

    pub(super) fn task(&mut self, id: TaskId) -> &mut Task {
        self.tasks.entry(id, || Task::new(id))
    }

    pub(super) fn region(&mut self, id: RegionId) -> &mut Region {
        self.regions.entry(id, || Region::new(id, None))
    }

    pub(super) fn common(&mut self, subject: Subject) -> &mut Common {
        match subject {
            Subject::Task(task) => &mut self.task(task).common,
            Subject::Region(region) => &mut self.region(region).common,
        }
    }

    /// What a subject lives in or is polled within.
    pub(super) fn parent(&self, subject: Subject) -> Option<Subject> {
        match subject {
            Subject::Task(task) => Some(Subject::Region(task.region())),
            Subject::Region(region) => self.regions.get(region)?.parent,
        }
    }

    pub(super) fn is_asked(&self, subject: Subject) -> bool {
        let common = match subject {
            Subject::Task(task) => self.tasks.get(task).map(|task| &task.common),
            Subject::Region(region) => self.regions.get(region).map(|region| &region.common),
        };
        common.is_some_and(|common| common.stage.is_some())
    }

    /// The budget in force at a subject.
    pub(super) fn budget(&self, subject: Subject) -> Budget {
        let mut place = Some(subject);
        // Each region is opened after its parent, so the way up ends; a trace that says otherwise must not hang.
        for _ in 0..=self.regions.entries.len() * 2 {
            let Some(subject) = place else { break };
            let own = match subject {
                Subject::Task(task) => self.tasks.get(task).and_then(|task| task.common.budget),
                Subject::Region(region) => {
                    let region = self.regions.get(region);
                    region.and_then(|region| region.common.budget)
                }
            };
            if let Some(budget) = own {
                return budget;
            }
            place = self.parent(subject);
        }
        Budget::UNLIMITED
    }

    pub(super) fn broken(&mut self, law: Law, message: String) {
        self.found.push(Violation {
            law,
            message,
            event: self.index,
        });
    }
}
