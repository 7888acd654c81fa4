//! `asupersync lab`: schedules of small programs searched, replayed and shown.
//!
//! The programs are those of the zoo; crashpacks of tests, and what flight recorders saved, can be shown and compared; a crashpack is replayed by its test.

mod explore;
mod oracles;
mod pack;
mod picture;
mod show;
mod zoo;

use std::path::PathBuf;

use asupersync_lab::{CrashpackError, DecodeError, UnknownStrategy};
use asupersync_zoo::{Program, programs};
use clap::Subcommand;
use thiserror::Error;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Search every program of the zoo: each bug must be found, and none reported on a fixed twin.
    Zoo(zoo::Options),
    /// Run one program of the zoo once, and show what it did.
    Run(explore::RunOptions),
    /// Search the schedules of one program of the zoo.
    Explore(explore::ExploreOptions),
    /// Run a program of the zoo along the schedule of a crashpack.
    Replay(pack::ReplayOptions),
    /// Make the schedule of a crashpack smaller.
    Minimize(pack::MinimizeOptions),
    /// Show where the traces of two crashpacks or recordings part.
    Diff(show::DiffOptions),
    /// Show what led to the failure in a crashpack, or what a flight recorder saved, in the terminal or as a picture.
    Show(show::ShowOptions),
    /// List the laws that every run is checked against, or break each on purpose.
    Oracles(oracles::Options),
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("the zoo has no program `{name}`; `asupersync lab zoo` lists them")]
    UnknownProgram { name: String },
    #[error(transparent)]
    UnknownStrategy(#[from] UnknownStrategy),
    #[error("{} cannot be opened", path.display())]
    Crashpack {
        path: PathBuf,
        #[source]
        source: CrashpackError,
    },
    #[error("{} cannot be opened", path.display())]
    Recording {
        path: PathBuf,
        #[source]
        source: DecodeError,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the run along the schedule of {} does not fail", path.display())]
    NoFailure { path: PathBuf },
    #[error("{} was found", if *count == 1 { "a violation".to_owned() } else { format!("{count} violations") })]
    Found { count: usize },
    #[error("{silent} oracles did not fire as they should, and clean runs fired {alarms} times")]
    Oracles { silent: usize, alarms: u64 },
    #[error("{missed} bugs were missed, and {reported} fixed twins reported")]
    Zoo { missed: usize, reported: usize },
}

pub(crate) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Zoo(options) => zoo::run(&options),
        Command::Run(options) => explore::run(&options),
        Command::Explore(options) => explore::explore(&options),
        Command::Replay(options) => pack::replay(&options),
        Command::Minimize(options) => pack::minimize(&options),
        Command::Diff(options) => show::diff(&options),
        Command::Show(options) => show::show(&options),
        Command::Oracles(options) => oracles::run(&options),
    }
}

/// Which of a pair of programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Twin {
    /// The one with the bug.
    Buggy,
    /// The one without it.
    Fixed,
}

impl Twin {
    /// The name of the program in a crashpack.
    pub(crate) fn name(self, program: &Program) -> String {
        match self {
            Self::Buggy => format!("{}/buggy", program.name),
            Self::Fixed => format!("{}/fixed", program.name),
        }
    }

    pub(crate) const fn body(
        self,
        program: &Program,
    ) -> fn(asupersync_kernel::Cx) -> asupersync_zoo::Body {
        match self {
            Self::Buggy => program.buggy,
            Self::Fixed => program.fixed,
        }
    }
}

/// The program of this name.
pub(crate) fn program(name: &str) -> Result<&'static Program, CommandError> {
    let found = programs().iter().find(|program| program.name == name);
    found.ok_or_else(|| CommandError::UnknownProgram {
        name: name.to_owned(),
    })
}

/// The program and the twin of a name such as `account/buggy`.
pub(crate) fn twin(name: &str) -> Result<(&'static Program, Twin), CommandError> {
    match name.split_once('/') {
        Some((name, "buggy")) => Ok((program(name)?, Twin::Buggy)),
        Some((name, "fixed")) => Ok((program(name)?, Twin::Fixed)),
        Some(_) | None => Err(CommandError::UnknownProgram {
            name: name.to_owned(),
        }),
    }
}
