//! `asupersync lab replay`, `minimize`, `diff` and `show`.

use std::path::{Path, PathBuf};

use asupersync_lab::{Crashpack, Schedule, Timeline, minimize as minimized, replay as replayed};
use clap::Args;

use super::{CommandError, picture, twin};

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The crashpack of a program of the zoo.
    file: PathBuf,
}

fn load(path: &Path) -> Result<Crashpack, CommandError> {
    Crashpack::load(path).map_err(|source| CommandError::Crashpack {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn replay(options: &ReplayOptions) -> Result<(), CommandError> {
    let pack = load(&options.file)?;
    let (program, twin) = twin(&pack.program)?;
    let config = program.config().seed(pack.seed);
    let run = replayed(&config, pack.schedule.clone(), twin.body(program));
    println!("{}", run.timeline().causes());
    match &run.finding {
        Some(finding) => println!("{}: {finding}", pack.program),
        None => println!("{}: clean", pack.program),
    }
    match run.prefix().divergence(&pack.trace) {
        None => println!("replay: the trace is the recorded one, event for event"),
        Some(divergence) => println!("replay: the program has changed: {divergence}"),
    }
    match run.finding {
        Some(_) => Ok(()),
        None => Err(CommandError::NoFailure {
            path: options.file.clone(),
        }),
    }
}

#[derive(Debug, Args)]
pub(crate) struct MinimizeOptions {
    /// The crashpack of a program of the zoo.
    file: PathBuf,
    /// Where the smaller one goes; over the old one unless given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How many runs may be spent.
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
}

pub(crate) fn minimize(options: &MinimizeOptions) -> Result<(), CommandError> {
    let pack = load(&options.file)?;
    let (program, twin) = twin(&pack.program)?;
    let config = program.config().seed(pack.seed);
    let before: Schedule = pack.schedule.clone();
    let found = minimized(&config, before.clone(), options.runs, twin.body(program));
    let failure = found.ok_or_else(|| CommandError::NoFailure {
        path: options.file.clone(),
    })?;
    let out = options.out.as_ref().unwrap_or(&options.file);
    let replay = format!("asupersync lab replay {}", out.display());
    let smaller = failure.crashpack(&pack.program, &program.config(), replay);
    smaller
        .save(out)
        .map_err(|source| CommandError::Crashpack {
            path: out.clone(),
            source,
        })?;
    println!("{}", failure.causes());
    println!(
        "minimize: {} decisions before, {} after, in {} runs",
        before.decisions(),
        failure.run.schedule.decisions(),
        failure.shrink_runs
    );
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// A crashpack.
    left: PathBuf,
    /// Another one.
    right: PathBuf,
}

pub(crate) fn diff(options: &DiffOptions) -> Result<(), CommandError> {
    let (left, right) = (load(&options.left)?, load(&options.right)?);
    let Some(divergence) = left.trace.divergence(&right.trace) else {
        println!(
            "diff: the traces are equal, {} events",
            left.trace.events.len()
        );
        return Ok(());
    };
    let from = divergence.index.saturating_sub(CONTEXT_EVENTS);
    for traced in &left.trace.events[from..divergence.index] {
        println!("  {traced}");
    }
    let end = || "the end".to_owned();
    let text = |event: &Option<asupersync_lab::TraceEvent>| {
        event.as_ref().map_or_else(end, ToString::to_string)
    };
    println!(
        "- {}\n+ {}",
        text(&divergence.left),
        text(&divergence.right)
    );
    println!("diff: the traces part at event {}", divergence.index);
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// A crashpack.
    file: PathBuf,
    /// Also the steps that cannot have led to the failure.
    #[arg(long)]
    all: bool,
    /// Write a picture: tasks as rows, steps from left to right.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Write a page with the picture.
    #[arg(long)]
    html: Option<PathBuf>,
}

pub(crate) fn show(options: &ShowOptions) -> Result<(), CommandError> {
    let pack = load(&options.file)?;
    let whole = Timeline::of(&pack.trace, pack.trace.events.len());
    let timeline = if options.all { whole } else { whole.causes() };
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).map_err(|source| CommandError::Write {
            path: path.clone(),
            source,
        })
    };
    if let Some(path) = &options.svg {
        write(path, picture::svg(&timeline))?;
    }
    if let Some(path) = &options.html {
        write(path, picture::page(&pack.program, &pack.finding, &timeline))?;
    }
    println!("{timeline}");
    println!("{}: {}", pack.program, pack.finding);
    println!("replay: {}", pack.replay);
    Ok(())
}

/// How many common events are shown before two traces part.
const CONTEXT_EVENTS: usize = 5;
