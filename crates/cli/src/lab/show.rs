//! `asupersync lab show` and `diff`: crashpacks and recordings, as people and programs read them.

use std::fs;
use std::path::{Path, PathBuf};

use asupersync_lab::{Crashpack, Row, Structure, Timeline, Trace, TraceEvent};
use clap::Args;
use serde_json::{Value, json};

use super::{CommandError, pack, picture};

/// What a file holds, whether a lab or a flight recorder wrote it.
struct Opened {
    program: String,
    /// What was wrong, or how much was recorded.
    finding: String,
    replay: Option<String>,
    /// What there was at the end.
    structure: Structure,
    trace: Trace,
}

impl Opened {
    fn open(path: &Path) -> Result<Self, CommandError> {
        // A file that cannot be read is no recording, and as a crashpack it says why.
        match fs::read(path) {
            Ok(bytes) if bytes.starts_with(&RECORDING_START) => Self::recording(path, &bytes),
            Ok(_) | Err(_) => pack::load(path).map(Self::of_pack),
        }
    }

    fn recording(path: &Path, bytes: &[u8]) -> Result<Self, CommandError> {
        let trace = Trace::decode(bytes).map_err(|source| CommandError::Recording {
            path: path.to_owned(),
            source,
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            program: name.to_string_lossy().into_owned(),
            finding: format!("a recording of {} events", trace.events.len()),
            replay: None,
            structure: Structure::after(&trace.events),
            trace,
        })
    }

    fn of_pack(pack: Crashpack) -> Self {
        Self {
            program: pack.program,
            finding: pack.finding,
            replay: Some(pack.replay),
            structure: match pack.snapshot {
                Some(snapshot) => snapshot.structure,
                None => Structure::after(&pack.trace.events),
            },
            trace: pack.trace,
        }
    }

    /// What led to the failure; a recording has none, and is shown as a whole.
    fn timeline(&self, options: &ShowOptions) -> Timeline {
        let whole = Timeline::of(&self.trace, self.trace.events.len());
        let shown = if options.all || self.replay.is_none() {
            whole
        } else {
            whole.causes()
        };
        match options.last {
            Some(count) => shown.last(count),
            None => shown,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// A crashpack or a recording.
    left: PathBuf,
    /// Another one.
    right: PathBuf,
}

pub(crate) fn diff(options: &DiffOptions) -> Result<(), CommandError> {
    let (left, right) = (Opened::open(&options.left)?, Opened::open(&options.right)?);
    let Some(divergence) = left.trace.divergence(&right.trace) else {
        say!(
            "diff: the traces are equal, {} events",
            left.trace.events.len()
        );
        return Ok(());
    };
    let from = divergence.index.saturating_sub(CONTEXT_EVENTS);
    for traced in &left.trace.events[from..divergence.index] {
        say!("  {traced}");
    }
    let end = || "the end".to_owned();
    let text = |event: &Option<TraceEvent>| event.as_ref().map_or_else(end, ToString::to_string);
    say!(
        "- {}\n+ {}",
        text(&divergence.left),
        text(&divergence.right)
    );
    say!("diff: the traces part at event {}", divergence.index);
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// A crashpack, or a recording of a flight recorder.
    file: PathBuf,
    /// Also the steps that cannot have led to the failure.
    #[arg(long)]
    all: bool,
    /// Only so many steps from the end.
    #[arg(long)]
    last: Option<usize>,
    /// Write a picture: tasks as rows, steps from left to right.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Write a page with the picture.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Write the steps as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn show(options: &ShowOptions) -> Result<(), CommandError> {
    let opened = Opened::open(&options.file)?;
    let timeline = opened.timeline(options);
    if let Some(path) = &options.svg {
        write(path, picture::svg(&timeline))?;
    }
    if let Some(path) = &options.html {
        write(
            path,
            picture::page(&opened.program, &opened.finding, &timeline),
        )?;
    }
    if let Some(path) = &options.json {
        write(path, format!("{:#}\n", json_of(&opened, &timeline)))?;
    }
    say!("{timeline}");
    say!("at the end:\n{}", opened.structure);
    say!("{}: {}", opened.program, opened.finding);
    if let Some(replay) = &opened.replay {
        say!("replay: {replay}");
    }
    Ok(())
}

fn write(path: &Path, text: String) -> Result<(), CommandError> {
    fs::write(path, text).map_err(|source| CommandError::Write {
        path: path.to_owned(),
        source,
    })
}

fn json_of(opened: &Opened, timeline: &Timeline) -> Value {
    let step = |row: &Row| {
        json!({
            "step": row.step,
            "at_ns": row.at.as_nanos(),
            "task": row.task.map(|task| task.to_string()),
            "who": row.who,
            "did": row.did,
        })
    };
    let steps: Vec<Value> = timeline.rows().iter().map(step).collect();
    json!({
        "program": opened.program,
        "finding": opened.finding,
        "replay": opened.replay,
        "steps": steps,
        "at_the_end": opened.structure.to_text().lines().collect::<Vec<_>>(),
    })
}

/// How a recording begins, and no crashpack.
const RECORDING_START: [u8; 4] = *b"\x89AST";
/// How many common events are shown before two traces part.
const CONTEXT_EVENTS: usize = 5;
