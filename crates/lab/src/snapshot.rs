//! The structure of a program at one step, with what leads there.
//!
//! # Form
//! The first line names the form and its version, the second is the BLAKE3 hash of all that follows: the seed, the schedule so far, and the structure as text.
//!
//! # Invariants
//! - A run under the seed and along the schedule reaches the step again, with the same structure and so with the same hash.
//! - What was changed after it was taken does not verify.
//!
//! # Deliberately absent
//! The state of futures: it is restored by running the program to where it was, which costs as much as it did the first time.

use std::collections::BTreeSet;
use std::fmt;

use asupersync_kernel::{Root, Subject};
use asupersync_trace::{Fault, RegionPhase, Structure, StructureError};

use crate::config::LabConfig;
use crate::host::LabHost;
use crate::schedule::{Schedule, ScheduleError};

/// A program's structure at one step, with its hash and the way there.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_lab::{LabConfig, LabRuntime};
///
/// let program = async |cx: Cx| {
///     cx.yield_now().await?;
///     cx.sleep(std::time::Duration::from_secs(1)).await?;
///     Ok::<_, Cancelled>(())
/// };
/// let config = LabConfig::default().seed(7);
/// let report = LabRuntime::new(config.clone().snapshot_at(2)).run(program);
/// let snapshot = &report.snapshots[0];
/// snapshot.verify_integrity()?;
/// snapshot.validate()?;
/// let again = LabRuntime::new(snapshot.restore(config)).run(program);
/// assert_eq!(again.snapshots[0].content_hash(), snapshot.content_hash());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestorableSnapshot {
    /// The version of the form.
    pub version: u32,
    /// The seed of the run.
    pub seed: u64,
    /// What was decided before the step.
    pub schedule: Schedule,
    /// What there was.
    pub structure: Structure,
    hash: blake3::Hash,
}

/// Why a snapshot is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The text is something else.
    #[error("the text is no snapshot: its first line is not `{MAGIC}` and a version")]
    NotASnapshot,
    /// The version is another one.
    #[error("the snapshot has version {version}, and version {SNAPSHOT_VERSION} is known")]
    UnknownVersion {
        /// Its version.
        version: u32,
    },
    /// The content is not the one that was hashed.
    #[error("the snapshot was changed: its hash is {claimed}, and that of its content {actual}")]
    HashMismatch {
        /// What it says.
        claimed: String,
        /// What it is.
        actual: String,
    },
    /// A line is missing or says something that it cannot.
    #[error("the snapshot's line `{line}` is missing or malformed")]
    Malformed {
        /// The line's name.
        line: &'static str,
    },
    /// The schedule is none.
    #[error("the snapshot's schedule is malformed")]
    Schedule(#[from] ScheduleError),
    /// The structure is none.
    #[error("the snapshot's structure is malformed")]
    Structure(#[from] StructureError),
}

/// What is wrong with a structure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the structure at step {step} cannot be: {}", listed(.faults))]
pub struct InvalidSnapshot {
    /// The step.
    pub step: u64,
    /// All that is wrong; at least one.
    pub faults: Vec<Fault>,
}

impl RestorableSnapshot {
    /// A snapshot of this structure, which a run under the seed comes to along the schedule.
    #[must_use]
    pub fn new(seed: u64, schedule: Schedule, structure: Structure) -> Self {
        let mut snapshot = Self {
            version: SNAPSHOT_VERSION,
            seed,
            schedule,
            structure,
            hash: blake3::Hash::from_bytes([0; 32]),
        };
        snapshot.hash = snapshot.actual_hash();
        snapshot
    }

    /// After how many steps it was taken.
    #[must_use]
    pub const fn step(&self) -> u64 {
        self.structure.step
    }

    /// The hash that it was given when it was taken; equal for equal seeds, schedules and structures.
    #[must_use]
    pub const fn content_hash(&self) -> [u8; 32] {
        *self.hash.as_bytes()
    }

    pub(crate) fn hash_in_hex(&self) -> String {
        self.hash.to_hex().to_string()
    }

    /// Whether it is as it was when it was taken.
    ///
    /// # Errors
    /// [`SnapshotError::UnknownVersion`] and [`SnapshotError::HashMismatch`].
    pub fn verify_integrity(&self) -> Result<(), SnapshotError> {
        if self.version != SNAPSHOT_VERSION {
            let version = self.version;
            return Err(SnapshotError::UnknownVersion { version });
        }
        let actual = self.actual_hash();
        if actual == self.hash {
            return Ok(());
        }
        Err(SnapshotError::HashMismatch {
            claimed: self.hash.to_hex().to_string(),
            actual: actual.to_hex().to_string(),
        })
    }

    /// Whether the structure can be one of a program: a tree with one root, nothing that lives below what has ended, nobody who waits for nobody.
    ///
    /// # Errors
    /// [`InvalidSnapshot`], with everything that is wrong.
    pub fn validate(&self) -> Result<(), InvalidSnapshot> {
        let faults = self.structure.faults();
        if faults.is_empty() {
            return Ok(());
        }
        let step = self.step();
        Err(InvalidSnapshot { step, faults })
    }

    /// The configuration with which a run comes to the step again, and takes the snapshot there.
    ///
    /// From there on nothing is decided any more, as after the end of any schedule.
    #[must_use]
    pub fn restore(&self, config: LabConfig) -> LabConfig {
        let config = config.seed(self.seed).replay(self.schedule.clone());
        config.snapshot_at(self.step())
    }

    /// The snapshot as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let content = self.content();
        format!("{MAGIC} {}\nhash: {}\n{content}", self.version, self.hash)
    }

    /// The snapshot that this is the text of; whether it was changed, [`verify_integrity`](Self::verify_integrity) says.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn decode(text: &str) -> Result<Self, SnapshotError> {
        let (first, rest) = text.split_once('\n').ok_or(SnapshotError::NotASnapshot)?;
        let version = first.strip_prefix(MAGIC).and_then(|v| v.strip_prefix(' '));
        let version: u32 = version.and_then(exact).ok_or(SnapshotError::NotASnapshot)?;
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::UnknownVersion { version });
        }
        let mut rest = rest;
        let mut take = |name: &'static str| {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            line.strip_prefix(name)?.strip_prefix(": ")
        };
        let malformed = |line| SnapshotError::Malformed { line };
        let hash = take("hash").ok_or(malformed("hash"))?;
        // Hexadecimal digits are read in either case, and written in one.
        let hash = blake3::Hash::from_hex(hash)
            .ok()
            .filter(|read| read.to_hex().as_str() == hash)
            .ok_or(malformed("hash"))?;
        let seed = take("seed").and_then(exact).ok_or(malformed("seed"))?;
        let written = take("schedule").ok_or(malformed("schedule"))?;
        let schedule: Schedule = written.parse()?;
        if schedule.to_string() != written {
            return Err(malformed("schedule"));
        }
        Ok(Self {
            version,
            seed,
            schedule,
            structure: Structure::from_text(rest)?,
            hash,
        })
    }

    fn content(&self) -> String {
        format!(
            "seed: {}\nschedule: {}\n{}",
            self.seed,
            self.schedule,
            self.structure.to_text()
        )
    }

    fn actual_hash(&self) -> blake3::Hash {
        blake3::hash(self.content().as_bytes())
    }
}

impl fmt::Display for RestorableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, now) = (self.step(), self.structure.now);
        write!(f, "after step {step}, at {now}:\n{}", self.structure)
    }
}

/// The snapshots that are wanted of a run, and those that were taken.
pub(crate) struct Snapshots<'c> {
    config: &'c LabConfig,
    taken: Vec<RestorableSnapshot>,
    /// Where events and tree part, if they do.
    differs: Option<String>,
}

impl<'c> Snapshots<'c> {
    pub(crate) const fn new(config: &'c LabConfig) -> Self {
        Self {
            config,
            taken: Vec::new(),
            differs: None,
        }
    }

    /// Takes a snapshot if one is wanted of the step that was the last.
    pub(crate) fn look(&mut self, host: &LabHost, root: &Root) {
        // Time may pass several times after one step, and the steps that are wanted are sorted.
        let Some(wanted) = self.config.snapshot_steps.get(self.taken.len()) else {
            return;
        };
        if *wanted != host.steps() || !self.config.capture_trace {
            return;
        }
        let mut structure = host.structure();
        structure.step = host.steps();
        structure.now = asupersync_kernel::Host::now(host);
        if cfg!(debug_assertions) && self.differs.is_none() {
            self.differs = difference(&structure, root);
        }
        let cut = self.config.cut.filter(|cut| cut.step <= structure.step);
        let (picks, faults) = host.decided();
        let schedule = Schedule::new(picks, faults, cut);
        self.taken.push(RestorableSnapshot::new(
            self.config.seed,
            schedule,
            structure,
        ));
    }

    /// Called when nothing of the program runs any more, since within it nothing may panic.
    pub(crate) fn into_taken(self) -> Vec<RestorableSnapshot> {
        debug_assert_eq!(self.differs, None, "the events tell of all there is");
        self.taken
    }
}

/// Which subjects live by the events and not by the kernel's own tree, or the other way round.
fn difference(structure: &Structure, root: &Root) -> Option<String> {
    let (told, there) = (living(structure), unfinished(root));
    let differ: Vec<_> = told.symmetric_difference(&there).collect();
    let step = structure.step;
    (!differ.is_empty()).then(|| format!("step {step}: {differ:?} of {told:?} and {there:?}"))
}

/// What lives, by its events; without fibers, of which only those are known that did something.
fn living(structure: &Structure) -> BTreeSet<Subject> {
    let tasks = structure.tasks.iter();
    let tasks = tasks.filter(|(_, state)| !state.is_fiber && !state.run.is_ended());
    let regions = structure.regions.iter();
    let regions =
        regions.filter(|(_, state)| state.parent.is_some() && state.phase != RegionPhase::Closed);
    let tasks = tasks.map(|(task, _)| Subject::Task(*task));
    tasks
        .chain(regions.map(|(region, _)| Subject::Region(*region)))
        .collect()
}

/// What lives, as the kernel's own tree says; without fibers.
fn unfinished(root: &Root) -> BTreeSet<Subject> {
    let unfinished = root.unfinished().into_iter();
    let unfinished = unfinished.filter(|unfinished| !unfinished.is_fiber);
    unfinished.map(|unfinished| unfinished.subject).collect()
}

/// A number that is written as it is read.
fn exact<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn listed(faults: &[Fault]) -> String {
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    told.join("; ")
}

const MAGIC: &str = "asupersync snapshot";

/// The version of the form.
pub const SNAPSHOT_VERSION: u32 = 1;
