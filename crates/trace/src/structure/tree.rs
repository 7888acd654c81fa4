//! A structure as a tree, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use asupersync_core::{RegionId, TaskId, Time};
use asupersync_kernel::Subject;

use super::text::{phase_name, subject};
use super::{Asking, RegionState, RunState, Structure, TaskState, WaitsFor};

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (children, ties) = (self.children(), self.ties());
        let roots = self.regions.iter().rev();
        let roots = roots.filter(|(_, state)| {
            let known = state.parent.filter(|parent| self.has(*parent));
            known.is_none()
        });
        let mut work: Vec<(usize, Subject)> = roots
            .map(|(region, _)| (0, Subject::Region(*region)))
            .collect();
        // A list and not a recursion: regions may be nested deeply, and in a damaged structure in a circle.
        let mut seen = BTreeSet::new();
        while let Some((depth, place)) = work.pop() {
            if !seen.insert(place) {
                continue;
            }
            let indent = depth.min(DEPTH_SHOWN_MAX) * INDENT;
            let line = match place {
                Subject::Region(region) => self.region_line(region),
                Subject::Task(task) => self.task_line(task),
            };
            let tied = ties.get(&place).map_or("", String::as_str);
            writeln!(f, "{:indent$}{line}{tied}", "")?;
            let below = children.get(&place).into_iter().flatten().rev();
            work.extend(below.map(|child| (depth + 1, *child)));
        }
        Ok(())
    }
}

impl Structure {
    fn has(&self, place: Subject) -> bool {
        match place {
            Subject::Task(task) => self.tasks.contains_key(&task),
            Subject::Region(region) => self.regions.contains_key(&region),
        }
    }

    /// What stands below what: a region's tasks, and the regions that a task or a body opened.
    fn children(&self) -> BTreeMap<Subject, Vec<Subject>> {
        let mut children: BTreeMap<Subject, Vec<Subject>> = BTreeMap::new();
        for task in self.tasks.keys() {
            let region = Subject::Region(task.region());
            children
                .entry(region)
                .or_default()
                .push(Subject::Task(*task));
        }
        for (region, state) in &self.regions {
            if let Some(parent) = state.parent {
                let region = Subject::Region(*region);
                children.entry(parent).or_default().push(region);
            }
        }
        children
    }

    fn region_line(&self, region: RegionId) -> String {
        let Some(state) = self.regions.get(&region) else {
            return region.to_string();
        };
        let RegionState {
            phase,
            asked,
            deadline,
            is_abandoned,
            ..
        } = state;
        let mut line = format!("{region} {}", phase_name(*phase));
        if *is_abandoned {
            line.push_str(", abandoned");
        }
        line.push_str(&has_until(*deadline));
        line.push_str(&asked_to_stop(*asked));
        line
    }

    fn task_line(&self, task: TaskId) -> String {
        let Some(state) = self.tasks.get(&task) else {
            return task.to_string();
        };
        let mut line = format!("{task}{}", called(state));
        if state.is_fiber {
            line.push_str(" fiber");
        }
        line.push_str(&match state.run {
            RunState::Runnable => ", runnable".to_owned(),
            RunState::Waiting => String::new(),
            RunState::Ended(severity) => format!(", ended: {severity:?}"),
        });
        line.push_str(&has_until(state.deadline));
        line.push_str(&asked_to_stop(state.asked));
        line
    }

    /// What each task or body waits for, sleeps until, and owes.
    fn ties(&self) -> BTreeMap<Subject, String> {
        let mut ties: BTreeMap<Subject, String> = BTreeMap::new();
        let mut tie = |of: Subject, text: String| ties.entry(of).or_default().push_str(&text);
        for waiting in &self.waits {
            let on = match &waiting.on {
                WaitsFor::Task(task) => format!("for {task}"),
                WaitsFor::Region(region) => format!("for {region}"),
                WaitsFor::Resource {
                    resource,
                    kind,
                    holder: None,
                } => format!("at {kind} r{resource}"),
                WaitsFor::Resource {
                    resource,
                    kind,
                    holder: Some(holder),
                } => format!("for {kind} r{resource} of {}", subject(*holder)),
            };
            tie(waiting.waiter, format!(", waits {on}"));
        }
        for timer in &self.timers {
            tie(
                Subject::Task(timer.task),
                format!(", sleeps until {}", timer.at),
            );
        }
        for (obligation, owing) in &self.obligations {
            tie(
                owing.holder,
                format!(", owes {obligation} (a {})", owing.kind),
            );
        }
        ties
    }
}

/// What people call a task: its name, or where it was spawned.
fn called(state: &TaskState) -> String {
    let file = state.site.rsplit(['/', '\\']).next().unwrap_or_default();
    match (&state.name, file, state.line) {
        (Some(name), ..) => format!(" {name}"),
        (None, "", _) => String::new(),
        (None, site, 0) => format!(" {site}"),
        (None, file, line) => format!(" {file}:{line}"),
    }
}

fn has_until(deadline: Option<Time>) -> String {
    deadline.map_or_else(String::new, |at| format!(", has until {at}"))
}

fn asked_to_stop(asked: Option<Asking>) -> String {
    match asked {
        Some(Asking { kind, stage }) => format!(", asked to stop: {kind:?} ({stage:?})"),
        None => String::new(),
    }
}

/// Spaces for each level of the tree.
const INDENT: usize = 2;
/// Deeper levels are not moved further to the right.
const DEPTH_SHOWN_MAX: usize = 40;
