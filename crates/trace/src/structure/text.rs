//! A structure as lines of text, and back.
//!
//! Each line is a word, what it speaks of, and fields in a fixed order; lines stand in the order of their subjects.
//! Only the text that writing gives is read, so one structure has one text.

use std::fmt::Write as _;
use std::str::FromStr;

use asupersync_core::{ObligationId, RegionId, TaskId, Time};
use asupersync_kernel::Subject;

use super::{
    Asking, Owing, RegionPhase, RegionState, RunState, Structure, TaskState, Timer, Waiting,
    WaitsFor,
};
use crate::tables::{CANCEL_KINDS, OBLIGATION_KINDS, SEVERITIES, STAGES};

/// Why a text is no structure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StructureError {
    /// A line says something else than it should.
    #[error("line {line} of the structure is malformed")]
    Malformed {
        /// Which, from 1.
        line: usize,
    },
    /// The text can be read, and is not as it is written: lines stand twice or in another order.
    #[error("the structure's text is not in the form in which it is written")]
    NotCanonical,
}

impl Structure {
    /// All of it as text, a line for each part.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("step {}\nnow {}\n", self.step, self.now.as_nanos());
        // Writing to a `String` does not fail.
        for (region, state) in &self.regions {
            let _ = writeln!(
                text,
                "region {region} parent={} phase={} asked={} deadline={} abandoned={}",
                optional(state.parent.map(subject)),
                phase_name(state.phase),
                optional(state.asked.map(asking)),
                optional(state.deadline.map(nanos)),
                state.is_abandoned,
            );
        }
        for (task, state) in &self.tasks {
            let _ = writeln!(
                text,
                "task {task} run={} asked={} deadline={} fiber={} name={} site={} line={}",
                run_name(state.run),
                optional(state.asked.map(asking)),
                optional(state.deadline.map(nanos)),
                state.is_fiber,
                optional(state.name.as_deref().map(quoted)),
                quoted(&state.site),
                state.line,
            );
        }
        for (obligation, owing) in &self.obligations {
            let holder = subject(owing.holder);
            let _ = writeln!(
                text,
                "owes {obligation} holder={holder} kind={:?}",
                owing.kind
            );
        }
        for timer in &self.timers {
            let _ = writeln!(text, "timer {} task={}", timer.at.as_nanos(), timer.task);
        }
        for waiting in &self.waits {
            let waiter = subject(waiting.waiter);
            let _ = match &waiting.on {
                WaitsFor::Task(task) => writeln!(text, "wait {waiter} task={task}"),
                WaitsFor::Region(region) => writeln!(text, "wait {waiter} region={region}"),
                WaitsFor::Resource {
                    resource,
                    kind,
                    holder,
                } => writeln!(
                    text,
                    "wait {waiter} resource={resource} kind={} holder={}",
                    quoted(kind),
                    optional(holder.map(subject)),
                ),
            };
        }
        text
    }

    /// The structure that this is the text of.
    ///
    /// # Errors
    /// [`StructureError`], for anything that [`to_text`](Self::to_text) does not write.
    pub fn from_text(text: &str) -> Result<Self, StructureError> {
        let mut structure = Self::default();
        for (index, line) in text.lines().enumerate() {
            let read = read_line(&mut structure, index, line);
            read.ok_or(StructureError::Malformed { line: index + 1 })?;
        }
        if structure.to_text() == text {
            Ok(structure)
        } else {
            Err(StructureError::NotCanonical)
        }
    }
}

fn read_line(structure: &mut Structure, index: usize, line: &str) -> Option<()> {
    let mut words = line.split(' ');
    let (word, what) = (words.next()?, words.next()?);
    let mut fields = Fields(words);
    match (index, word) {
        (0, "step") => structure.step = number(what)?,
        (1, "now") => structure.now = Time::from_nanos(number(what)?),
        (_, "region") => {
            let state = RegionState {
                parent: fields.optional("parent", read_subject)?,
                phase: fields.read("phase", read_phase)?,
                asked: fields.optional("asked", read_asking)?,
                deadline: fields.optional("deadline", read_nanos)?,
                is_abandoned: fields.read("abandoned", number)?,
            };
            structure.regions.insert(read_region(what)?, state);
        }
        (_, "task") => {
            let state = TaskState {
                run: fields.read("run", read_run)?,
                asked: fields.optional("asked", read_asking)?,
                deadline: fields.optional("deadline", read_nanos)?,
                is_fiber: fields.read("fiber", number)?,
                name: fields.optional("name", unquoted)?,
                site: fields.read("site", unquoted)?,
                line: fields.read("line", number)?,
            };
            structure.tasks.insert(read_task(what)?, state);
        }
        (_, "owes") => {
            let obligation = ObligationId::new(number(what.strip_prefix('O')?)?);
            let owing = Owing {
                holder: fields.read("holder", read_subject)?,
                kind: fields.read("kind", |text| named(&OBLIGATION_KINDS, text))?,
            };
            structure.obligations.insert(obligation, owing);
        }
        (_, "timer") => structure.timers.push(Timer {
            at: Time::from_nanos(number(what)?),
            task: fields.read("task", read_task)?,
        }),
        (_, "wait") => structure.waits.push(Waiting {
            waiter: read_subject(what)?,
            on: read_awaited(&mut fields)?,
        }),
        _ => return None,
    }
    fields.0.next().is_none().then_some(())
}

fn read_awaited(fields: &mut Fields<'_>) -> Option<WaitsFor> {
    let (name, value) = fields.0.next()?.split_once('=')?;
    Some(match name {
        "task" => WaitsFor::Task(read_task(value)?),
        "region" => WaitsFor::Region(read_region(value)?),
        "resource" => WaitsFor::Resource {
            resource: number(value)?,
            kind: fields.read("kind", unquoted)?,
            holder: fields.optional("holder", read_subject)?,
        },
        _ => return None,
    })
}

/// The rest of a line.
struct Fields<'t>(std::str::Split<'t, char>);

impl Fields<'_> {
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        read(self.0.next()?.strip_prefix(name)?.strip_prefix('=')?)
    }

    fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        self.read(name, |text| match text {
            NONE => Some(None),
            text => read(text).map(Some),
        })
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn nanos(time: Time) -> String {
    time.as_nanos().to_string()
}

fn read_nanos(text: &str) -> Option<Time> {
    number(text).map(Time::from_nanos)
}

/// The value of this name in a table.
fn named<T: Copy + std::fmt::Debug>(table: &[T], name: &str) -> Option<T> {
    let is_named = |value: &&T| format!("{value:?}") == name;
    table.iter().find(is_named).copied()
}

fn optional(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// A text as one word.
fn quoted(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    word.push('\'');
    for c in text.chars() {
        match ESCAPES.iter().find(|(plain, _)| *plain == c) {
            Some((_, escape)) => word.extend(['\\', *escape]),
            None => word.push(c),
        }
    }
    word.push('\'');
    word
}

fn unquoted(word: &str) -> Option<String> {
    let mut rest = word.strip_prefix('\'')?.strip_suffix('\'')?.chars();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        text.push(match c {
            '\\' => {
                let escape = rest.next()?;
                ESCAPES.iter().find(|(_, known)| *known == escape)?.0
            }
            _ => c,
        });
    }
    Some(text)
}

pub(super) fn subject(subject: Subject) -> String {
    match subject {
        Subject::Region(region) => region.to_string(),
        Subject::Task(task) => task.to_string(),
    }
}

fn read_subject(text: &str) -> Option<Subject> {
    if text.starts_with('R') {
        read_region(text).map(Subject::Region)
    } else {
        read_task(text).map(Subject::Task)
    }
}

fn read_region(text: &str) -> Option<RegionId> {
    text.strip_prefix('R').and_then(number).map(RegionId::new)
}

fn read_task(text: &str) -> Option<TaskId> {
    let (region, index) = text.strip_prefix('T')?.split_once('.')?;
    Some(TaskId::new(RegionId::new(number(region)?), number(index)?))
}

fn asking(asked: Asking) -> String {
    format!("{:?}/{:?}", asked.kind, asked.stage)
}

fn read_asking(text: &str) -> Option<Asking> {
    let (kind, stage) = text.split_once('/')?;
    Some(Asking {
        kind: named(&CANCEL_KINDS, kind)?,
        stage: named(&STAGES, stage)?,
    })
}

fn run_name(run: RunState) -> String {
    match run {
        RunState::Runnable => "runnable".to_owned(),
        RunState::Waiting => "waiting".to_owned(),
        RunState::Ended(severity) => format!("{severity:?}"),
    }
}

fn read_run(text: &str) -> Option<RunState> {
    Some(match text {
        "runnable" => RunState::Runnable,
        "waiting" => RunState::Waiting,
        ended => RunState::Ended(named(&SEVERITIES, ended)?),
    })
}

pub(super) const fn phase_name(phase: RegionPhase) -> &'static str {
    match phase {
        RegionPhase::Open => "open",
        RegionPhase::Closing => "closing",
        RegionPhase::Finalizing => "finalizing",
        RegionPhase::Closed => "closed",
    }
}

fn read_phase(text: &str) -> Option<RegionPhase> {
    PHASES.into_iter().find(|phase| phase_name(*phase) == text)
}

const PHASES: [RegionPhase; 4] = [
    RegionPhase::Open,
    RegionPhase::Closing,
    RegionPhase::Finalizing,
    RegionPhase::Closed,
];
/// Stands for nothing; a text is in quotes.
const NONE: &str = "-";
/// What would end a word or a line, and what stands for it.
const ESCAPES: [(char, char); 4] = [('\\', '\\'), (' ', 's'), ('\n', 'n'), ('\r', 'r')];
