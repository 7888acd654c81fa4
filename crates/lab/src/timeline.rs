//! A run as people read it: a line a step.

use std::collections::BTreeMap;
use std::fmt;

use asupersync_core::{TaskId, Time};
use asupersync_kernel::{Event, Subject};
use asupersync_trace::{Order, Step, StepKind, Trace, steps};

/// The steps of a run, with who took them and what they did.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::{Cx, Scope};
/// use asupersync_lab::{LabConfig, LabRuntime, Timeline};
///
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let end = cx.region(async |scope: Scope<Cancelled>| {
///         scope.spawn(async |_: Cx| Ok::<_, Cancelled>(()));
///         Ok::<_, Cancelled>(())
///     });
///     end.await
/// });
/// let timeline = Timeline::of(&report.trace, report.trace.events.len());
/// assert_eq!(timeline.rows().len(), 4);
/// assert!(timeline.to_string().contains("spawns T1.0"));
/// ```
#[derive(Clone, Debug)]
pub struct Timeline {
    rows: Vec<Row>,
    /// Which rows can have led to the place.
    is_cause: Vec<bool>,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The step's number in the run.
    pub step: u64,
    /// The virtual time.
    pub at: Time,
    /// The task, if a task took it.
    pub task: Option<TaskId>,
    /// Who took it: a task with its name or the place where it was spawned, a job, or the clock.
    pub who: String,
    /// What it did.
    pub did: Vec<String>,
}

impl Timeline {
    /// The steps up to a place in the trace; those from which a chain of dependences leads there are its causes.
    #[must_use]
    pub fn of(trace: &Trace, end: usize) -> Self {
        let names = Names::of(trace);
        let mut steps = steps(trace);
        let taken = steps.partition_point(|step| step.events.start <= end.saturating_sub(1));
        steps.truncate(taken.max(1));
        let rows: Vec<Row> = steps
            .iter()
            .map(|step| row(trace, step, end, &names))
            .collect();
        let mut is_cause = vec![false; rows.len()];
        if let Some(last) = steps.len().checked_sub(1) {
            let order = Order::of(&steps);
            for past in order.past_of(last) {
                is_cause[past] = true;
            }
            is_cause[last] = true;
        }
        Self { rows, is_cause }
    }

    /// All steps.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The same timeline without the steps that cannot have led to its end.
    #[must_use]
    pub fn causes(&self) -> Self {
        let kept = |index: &usize| self.is_cause[*index];
        let rows: Vec<Row> = (0..self.rows.len())
            .filter(kept)
            .map(|index| self.rows[index].clone())
            .collect();
        Self {
            is_cause: vec![true; rows.len()],
            rows,
        }
    }

    /// The last so many steps.
    #[must_use]
    pub fn last(mut self, count: usize) -> Self {
        let from = self.rows.len().saturating_sub(count);
        self.rows.drain(..from);
        self.is_cause.drain(..from);
        self
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.who.chars().count()).max();
        let width = width.unwrap_or_default().min(WHO_WIDTH_MAX);
        let mut separator = "";
        for row in &self.rows {
            write!(
                f,
                "{separator}  {:>4} {:>12} {:width$} {}",
                format!("#{}", row.step),
                row.at.to_string(),
                row.who,
                row.did.join(", "),
            )?;
            separator = "\n";
        }
        Ok(())
    }
}

/// What tasks are called.
struct Names(BTreeMap<TaskId, String>);

impl Names {
    fn of(trace: &Trace) -> Self {
        let mut names = BTreeMap::new();
        for event in trace.iter() {
            match event {
                Event::TaskSpawned {
                    task, site, line, ..
                } => {
                    let place = if *line == 0 {
                        site.to_string()
                    } else {
                        let file = site.rsplit(['/', '\\']).next().unwrap_or(site);
                        format!("{file}:{line}")
                    };
                    names.insert(*task, place);
                }
                Event::TaskNamed { task, name } => {
                    names.insert(*task, name.to_string());
                }
                _ => {}
            }
        }
        Self(names)
    }

    fn task(&self, task: TaskId) -> String {
        match self.0.get(&task) {
            Some(name) => format!("{task} {name}"),
            None => task.to_string(),
        }
    }
}

fn row(trace: &Trace, step: &Step, end: usize, names: &Names) -> Row {
    let events =
        &trace.events[step.events.start..step.events.end.min(end.max(step.events.start + 1))];
    let (task, who) = match step.kind {
        StepKind::Task(task) => (Some(task), names.task(task)),
        StepKind::Job(job) => (None, format!("job {job}")),
        StepKind::Clock => (None, "the clock".to_owned()),
        StepKind::Start => (None, "the host".to_owned()),
    };
    let first = events.first();
    let mut did: Vec<String> = Vec::new();
    for traced in events {
        let said = said(&traced.event);
        if let Some(said) = said.filter(|said| did.last() != Some(said)) {
            did.push(said);
        }
    }
    if did.is_empty() {
        did.push("waits".to_owned());
    }
    Row {
        step: first.map_or(0, |traced| traced.step),
        at: first.map_or(Time::ZERO, |traced| traced.at),
        task,
        who,
        did,
    }
}

/// What an event is in words, if it is worth a word.
fn said(event: &Event) -> Option<String> {
    Some(match event {
        Event::Operation { resource, name, .. } => format!("{} r{resource}", &**name),
        Event::TaskSpawned { task, .. } => format!("spawns {task}"),
        Event::TaskEnded { task, severity } => format!("{task} ends: {severity:?}"),
        Event::TaskWoken { task } => format!("wakes {task}"),
        Event::TaskAwaited { task, ended: false } => format!("waits for {task}"),
        Event::TaskAwaited { task, ended: true } => format!("joins {task}"),
        Event::RegionOpened { region, .. } => format!("opens {region}"),
        Event::RegionClosing { region, body } => format!("body of {region} ends: {body:?}"),
        Event::RegionClosed { region } => format!("closes {region}"),
        Event::RegionAbandoned { region, heir } => format!("leaves {region} to {heir}"),
        Event::CancelRequested { subject, kind } => {
            format!("asks {} to stop: {kind:?}", name_of(*subject))
        }
        Event::CancelEscalated { subject, stage } => {
            format!("{} goes to {stage:?}", name_of(*subject))
        }
        Event::FinalizerStarted { region } => format!("finalizer of {region}"),
        Event::ObligationReserved {
            obligation, kind, ..
        } => format!("owes {obligation}, a {kind}"),
        Event::ObligationSettled {
            obligation,
            settlement,
        } => format!("{obligation} {settlement:?}").to_lowercase(),
        Event::TimerSet { at } => format!("sleeps until {at}"),
        Event::ClockAdvanced { to } => format!("time goes on to {to}"),
        Event::FaultInjected { subject, fault } => match subject {
            Some(subject) => format!("FAULT {} of {}", &**fault, name_of(*subject)),
            None => format!("FAULT {}", &**fault),
        },
        Event::Mark { text, .. } => format!("\"{text}\""),
        Event::EntropyDrawn { value } => format!("draws {value}"),
        Event::EventsOverwritten { count } => format!("{count} earlier events were overwritten"),
        _ => return None,
    })
}

fn name_of(subject: Subject) -> String {
    match subject {
        Subject::Region(region) => region.to_string(),
        Subject::Task(task) => task.to_string(),
    }
}

/// Longer names push their own line only.
const WHO_WIDTH_MAX: usize = 32;
