//! What the zoo knows of each program.

use std::fmt;
use std::pin::Pin;
use std::sync::LazyLock;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabEnd, LabReport, Law};

use crate::{ZooError, async_rust, go, threads};

/// A program under way.
pub type Body = Pin<Box<dyn Future<Output = Outcome<(), ZooError>>>>;

/// Where a pattern is known from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Family {
    /// Threads and locks: the patterns of SCTBench.
    Threads,
    /// Goroutines, channels and locks: the patterns of GoBench's GoKer.
    Go,
    /// Cancelled and dropped futures, wakers and protocols of async Rust.
    AsyncRust,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Threads => "threads",
            Self::Go => "go",
            Self::AsyncRust => "async rust",
        })
    }
}

/// How a bug shows in the report of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Shows {
    /// A task panics, and so does the program.
    Panic,
    /// The program ends with an error.
    Error,
    /// The program waits for ever.
    Stall,
    /// The run breaks a law of the lab.
    Law(Law),
}

impl Shows {
    /// Whether it shows here, in this very way.
    #[must_use]
    pub fn in_report<T>(&self, report: &LabReport<T, ZooError>) -> bool {
        match self {
            Self::Panic => matches!(report.outcome, Outcome::Panicked(_)),
            Self::Error => matches!(report.outcome, Outcome::Err(_)),
            Self::Stall => matches!(report.end, LabEnd::Stalled(_)),
            Self::Law(law) => report
                .violations
                .iter()
                .any(|violation| violation.law == *law),
        }
    }
}

impl fmt::Display for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.pad("panic"),
            Self::Error => f.pad("error"),
            Self::Stall => f.pad("stall"),
            Self::Law(law) => f.pad(&format!("law {law:?}")),
        }
    }
}

/// A program with a known bug, and the same program without it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, unique in the zoo.
    pub name: &'static str,
    /// Where its pattern is known from.
    pub family: Family,
    /// What is wrong, in one sentence.
    pub pattern: &'static str,
    /// What the fixed twin does, in one sentence.
    pub fix: &'static str,
    /// How the bug shows.
    pub shows: Shows,
    /// Whether the fixed twin has so few classes of schedules that all of them can be run.
    pub exhaustible: bool,
    /// The program with the bug.
    pub buggy: fn(Cx) -> Body,
    /// The program without it.
    pub fixed: fn(Cx) -> Body,
}

impl Program {
    /// How a lab runs it: as by default, with a limit of steps that no program of the zoo comes near.
    #[must_use]
    pub fn config(&self) -> LabConfig {
        LabConfig::default().max_steps(STEPS_MAX)
    }
}

/// Every program of the zoo, sorted by family and name.
#[must_use]
pub fn programs() -> &'static [Program] {
    &PROGRAMS
}

static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    let houses = [threads::PROGRAMS, go::PROGRAMS, async_rust::PROGRAMS];
    let mut all: Vec<Program> = houses.concat().concat();
    all.sort_by_key(|program| (program.family, program.name));
    all
});

/// Polls after which a run is given up.
const STEPS_MAX: u64 = 5_000;
