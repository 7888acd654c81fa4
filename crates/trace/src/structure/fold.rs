//! From events to the structure that they leave.

use std::collections::BTreeSet;

use asupersync_core::{CancelKind, CancelStage, RegionId, TaskId};
use asupersync_kernel::{Event, Name, Subject};

use super::{
    Asking, Owing, RegionPhase, RegionState, RunState, Structure, TaskState, Timer, Waiting,
    WaitsFor,
};
use crate::holds::Holds;
use crate::record::TraceEvent;

/// The structure so far, and what is needed to go on.
#[derive(Default)]
pub(super) struct Fold {
    so_far: Structure,
    /// The task being polled.
    current: Option<TaskId>,
    /// It was woken meanwhile.
    is_woken: bool,
    /// Who looked in vain whether a task has ended.
    joins: BTreeSet<(TaskId, TaskId)>,
    /// Who waits at a resource, in the order of arrival.
    lines: Vec<(Subject, u64, String)>,
    holds: Holds,
}

impl Fold {
    pub(super) fn see(&mut self, traced: &TraceEvent) {
        self.so_far.step = traced.step;
        self.so_far.now = traced.at;
        self.see_task(&traced.event);
        self.see_region(&traced.event);
        self.see_rest(&traced.event);
    }

    fn see_task(&mut self, event: &Event) {
        match event {
            Event::TaskSpawned {
                task, site, line, ..
            } => {
                let state = TaskState {
                    site: site.to_string(),
                    line: *line,
                    run: RunState::Runnable,
                    is_fiber: false,
                    ..fiber()
                };
                self.so_far.tasks.insert(*task, state);
            }
            Event::TaskNamed { task, name } => self.task(*task).name = Some(name.to_string()),
            Event::TaskPolled { task } => {
                self.poll_ended();
                self.current = Some(*task);
                self.task(*task).is_fiber = false;
            }
            Event::JobStarted { .. } | Event::ClockAdvanced { .. } => self.poll_ended(),
            Event::TaskWoken { task } => {
                self.task(*task).run = RunState::Runnable;
                self.is_woken |= self.current == Some(*task);
            }
            Event::WakeMerged { task } => self.is_woken |= self.current == Some(*task),
            Event::TaskEnded { task, severity } => {
                self.task(*task).run = RunState::Ended(*severity);
                self.forget(*task);
            }
            Event::TaskAwaited { task, ended } => {
                if let Some(waiter) = self.current {
                    if *ended {
                        self.joins.remove(&(waiter, *task));
                    } else {
                        self.joins.insert((waiter, *task));
                    }
                }
            }
            _ => {}
        }
    }

    fn see_region(&mut self, event: &Event) {
        match event {
            Event::RegionOpened { region, parent } => {
                if let Some(Subject::Task(task)) = parent {
                    self.task(*task);
                }
                self.region(*region).parent = *parent;
            }
            Event::RegionClosing { region, .. } => {
                self.region(*region).phase = RegionPhase::Closing;
            }
            Event::RegionFinalizing { region } => {
                self.region(*region).phase = RegionPhase::Finalizing;
            }
            Event::RegionClosed { region } => {
                self.region(*region).phase = RegionPhase::Closed;
                self.drop_fibers(*region);
            }
            Event::RegionAbandoned { region, heir } => {
                let state = self.region(*region);
                state.parent = Some(Subject::Task(*heir));
                state.is_abandoned = true;
                if state.phase == RegionPhase::Open {
                    state.phase = RegionPhase::Closing;
                }
            }
            _ => {}
        }
    }

    fn see_rest(&mut self, event: &Event) {
        match event {
            Event::CancelRequested { subject, kind } => self.ask(*subject, *kind),
            Event::CancelEscalated { subject, stage } => {
                if let Some(asked) = self.asked(*subject) {
                    asked.stage = *stage;
                }
            }
            Event::BudgetNarrowed { subject, budget } => match subject {
                Subject::Task(task) => self.task(*task).deadline = budget.deadline,
                Subject::Region(region) => self.region(*region).deadline = budget.deadline,
            },
            Event::ObligationReserved {
                obligation,
                holder,
                kind,
            } => {
                if let Subject::Task(task) = holder {
                    self.task(*task);
                }
                let (holder, kind) = (*holder, *kind);
                self.so_far
                    .obligations
                    .insert(*obligation, Owing { holder, kind });
            }
            Event::ObligationSettled { obligation, .. } => {
                self.so_far.obligations.remove(obligation);
            }
            Event::TimerSet { at } => {
                if let Some(task) = self.current {
                    self.so_far.timers.push(Timer { at: *at, task });
                }
            }
            Event::TimerFired { at } => {
                let fired = |timer: &Timer| timer.at == *at;
                self.take_timer(fired);
            }
            Event::TimerCancelled { at } => {
                // A deadline's timer has no owner here; one that is cancelled in a poll is that task's.
                let current = self.current;
                self.take_timer(|timer| timer.at == *at && current == Some(timer.task));
            }
            Event::Operation {
                subject: Some(subject),
                resource,
                name,
            } => self.operate(*subject, *resource, name),
            _ => {}
        }
    }

    /// The region, made if nobody told of it.
    fn region(&mut self, region: RegionId) -> &mut RegionState {
        self.so_far.regions.entry(region).or_insert(RegionState {
            parent: None,
            phase: RegionPhase::Open,
            asked: None,
            deadline: None,
            is_abandoned: false,
        })
    }

    /// The task, or a fiber: nobody tells of those when they begin.
    fn task(&mut self, task: TaskId) -> &mut TaskState {
        self.so_far.tasks.entry(task).or_insert_with(fiber)
    }

    fn asked(&mut self, subject: Subject) -> Option<&mut Asking> {
        match subject {
            Subject::Task(task) => self.task(task).asked.as_mut(),
            Subject::Region(region) => self.region(region).asked.as_mut(),
        }
    }

    fn ask(&mut self, subject: Subject, kind: CancelKind) {
        let asked = match subject {
            Subject::Task(task) => &mut self.task(task).asked,
            Subject::Region(region) => &mut self.region(region).asked,
        };
        let stage = asked.map_or(CancelStage::Requested, |asked| asked.stage);
        *asked = Some(Asking { kind, stage });
    }

    /// The poll before this event is over.
    fn poll_ended(&mut self) {
        let woken = std::mem::take(&mut self.is_woken);
        let Some(task) = self.current.take() else {
            return;
        };
        let state = self.task(task);
        if !state.run.is_ended() {
            state.run = if woken {
                RunState::Runnable
            } else {
                RunState::Waiting
            };
        }
    }

    /// Who has ended waits for nothing, and nobody waits for it.
    fn forget(&mut self, ended: TaskId) {
        self.joins
            .retain(|(waiter, task)| *waiter != ended && *task != ended);
        self.so_far.timers.retain(|timer| timer.task != ended);
        self.leave_lines(Subject::Task(ended));
    }

    fn leave_lines(&mut self, subject: Subject) {
        self.lines.retain(|(waiter, ..)| *waiter != subject);
    }

    /// Fibers that were dropped on the way do not say so; their region's end is theirs.
    fn drop_fibers(&mut self, region: RegionId) {
        let tasks = &mut self.so_far.tasks;
        tasks.retain(|task, state| !(state.is_fiber && task.region() == region));
        self.leave_lines(Subject::Region(region));
    }

    fn take_timer(&mut self, is_it: impl FnMut(&Timer) -> bool) {
        let timers = &mut self.so_far.timers;
        if let Some(index) = timers.iter().position(is_it) {
            timers.remove(index);
        }
    }

    /// Follows who stands in line at a resource.
    fn operate(&mut self, subject: Subject, resource: u64, name: &Name) {
        self.holds
            .see(self.so_far.step, subject, resource, name.as_str());
        let Some((kind, verb)) = name.split_once('.') else {
            return;
        };
        let own = |(waiter, at, _): &(Subject, u64, String)| *waiter == subject && *at == resource;
        let waits = verb.starts_with("wait")
            || matches!(verb, "upgrade" | "offer" | "bid")
            || name.as_str() == "oneshot.look";
        match verb {
            _ if waits => {
                if let Subject::Task(task) = subject {
                    self.task(task);
                }
                if !self.lines.iter().any(own) {
                    self.lines.push((subject, resource, kind.to_owned()));
                }
            }
            "grant" => {
                if let Some(first) = self.lines.iter().position(|(_, at, _)| *at == resource) {
                    self.lines.remove(first);
                }
            }
            _ => self.lines.retain(|entry| !own(entry)),
        }
    }

    pub(super) fn finish(mut self) -> Structure {
        self.poll_ended();
        let mut waits = self.waits();
        waits.sort_unstable();
        waits.dedup();
        let mut structure = self.so_far;
        structure.waits = waits;
        structure.timers.sort_unstable();
        structure.prune();
        structure
    }

    fn waits(&mut self) -> Vec<Waiting> {
        let structure = &self.so_far;
        self.holds.retain(|subject| structure.lives(subject));
        let joins = self.joins.iter().map(|(waiter, task)| Waiting {
            waiter: Subject::Task(*waiter),
            on: WaitsFor::Task(*task),
        });
        let closing = structure.regions.iter().filter_map(|(region, state)| {
            let waits = matches!(state.phase, RegionPhase::Closing | RegionPhase::Finalizing);
            let waiter = state.parent.filter(|parent| structure.lives(*parent))?;
            waits.then_some(Waiting {
                waiter,
                on: WaitsFor::Region(*region),
            })
        });
        let lines = self.lines.iter().flat_map(|(waiter, resource, kind)| {
            let holders = self.holds.iter();
            let here = holders.filter(|hold| hold.waiter == *waiter && hold.resource == *resource);
            let mut holders: Vec<_> = here.map(|hold| Some(hold.holder)).collect();
            if holders.is_empty() {
                holders.push(None);
            }
            holders.into_iter().map(|holder| Waiting {
                waiter: *waiter,
                on: WaitsFor::Resource {
                    resource: *resource,
                    kind: kind.clone(),
                    holder,
                },
            })
        });
        let lines = lines.filter(|waiting| structure.lives(waiting.waiter));
        joins.chain(closing).chain(lines).collect()
    }
}

impl Structure {
    /// Whether a subject is there and has not ended.
    pub(super) fn lives(&self, subject: Subject) -> bool {
        match subject {
            Subject::Task(task) => self
                .tasks
                .get(&task)
                .is_some_and(|state| !state.run.is_ended()),
            Subject::Region(region) => self
                .regions
                .get(&region)
                .is_some_and(|state| state.phase != RegionPhase::Closed),
        }
    }

    /// Forgets what has ended, unless something that lives names it.
    fn prune(&mut self) {
        let mut named: BTreeSet<Subject> = BTreeSet::new();
        let live_tasks = self.tasks.iter().filter(|(_, state)| !state.run.is_ended());
        named.extend(live_tasks.map(|(task, _)| Subject::Region(task.region())));
        let live_regions = self.regions.values();
        let live_regions = live_regions.filter(|state| state.phase != RegionPhase::Closed);
        named.extend(live_regions.filter_map(|state| state.parent));
        named.extend(self.obligations.values().map(|owing| owing.holder));
        self.tasks
            .retain(|task, state| !state.run.is_ended() || named.contains(&Subject::Task(*task)));
        self.regions.retain(|region, state| {
            state.phase != RegionPhase::Closed
                || state.parent.is_none()
                || named.contains(&Subject::Region(*region))
        });
    }
}

const fn fiber() -> TaskState {
    TaskState {
        name: None,
        site: String::new(),
        line: 0,
        run: RunState::Waiting,
        asked: None,
        deadline: None,
        is_fiber: true,
    }
}
