//! `asupersync lab replay` and `minimize`: crashpacks that are run again.

use std::path::{Path, PathBuf};

use asupersync_lab::{Crashpack, Schedule, minimize as minimized, replay as replayed};
use clap::Args;

use super::{CommandError, twin};

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The crashpack of a program of the zoo.
    file: PathBuf,
}

pub(crate) fn load(path: &Path) -> Result<Crashpack, CommandError> {
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
    say!("{}", run.timeline().causes());
    match &run.finding {
        Some(finding) => say!("{}: {finding}", pack.program),
        None => say!("{}: clean", pack.program),
    }
    match run.prefix().divergence(&pack.trace) {
        None => say!("replay: the trace is the recorded one, event for event"),
        Some(divergence) => say!("replay: the program has changed: {divergence}"),
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
    say!("{}", failure.causes());
    say!(
        "minimize: {} decisions before, {} after, in {} runs",
        before.decisions(),
        failure.run.schedule.decisions(),
        failure.shrink_runs
    );
    Ok(())
}
