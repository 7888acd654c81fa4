//! A test: a program that must go well under many schedules.
//!
//! # How
//! The program runs under each seed, and, if asked, once more for each place at which one of its tasks can be cut short.
//! The first run that does not go well is made smaller, told as a timeline of what led to it, and kept as a crashpack with the command that replays it.
//! With `ASUPERSYNC_TEST_ARTIFACTS_DIR` set, the folder also gets the event log, the failed assertion, and a manifest for machines.

use std::fmt;
use std::path::Path;

use asupersync_core::IntoOutcome;
use asupersync_kernel::Cx;

use crate::artifacts::{Artifacts, with_causes};
use crate::config::LabConfig;
use crate::crashpack::Crashpack;
use crate::faults::Faults;
use crate::instruments::Instruments;
use crate::interrupt::Way;
use crate::lab::LabRuntime;
use crate::search::{Failure, Program, Run, Search};
use crate::seeds::Seeds;
use crate::shrink::replay;
use crate::strategy::Strategy;

/// The variable that names a crashpack to replay.
const REPLAY_VARIABLE: &str = "ASUPERSYNC_REPLAY";

/// A test under the lab; what `#[asupersync::test]` expands to.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_lab::Check;
///
/// Check::new("two_tasks_share").seeds(20).every_await().run(async |cx: Cx| {
///     cx.yield_now().await?;
///     Ok::<_, Cancelled>(())
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Check {
    name: String,
    config: LabConfig,
    seeds: Seeds,
    search: Option<(Vec<Strategy>, u64)>,
    ways: Vec<Way>,
}

impl Check {
    /// A test of this name, over 8 seeds.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config: LabConfig::default(),
            seeds: Seeds::first(SEEDS),
            search: None,
            ways: Vec::new(),
        }
    }

    /// With this configuration; its seed is the first.
    #[must_use]
    pub fn config(mut self, config: LabConfig) -> Self {
        self.config = config;
        self
    }

    /// With these faults; an error, a cancellation or a panic is no failure after one that strikes a task itself, and is one after those of the network.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.config = self.config.faults(faults);
        self
    }

    /// Over so many seeds; `ASUPERSYNC_SEEDS` raises the number, and `ASUPERSYNC_SEED` names the only one.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        self.over(Seeds::first(seeds))
    }

    /// Over these seeds.
    #[must_use]
    pub fn over(mut self, seeds: Seeds) -> Self {
        self.seeds = seeds;
        self
    }

    /// With these strategies in turn, over so many schedules, after the seeds.
    ///
    /// # Panics
    /// If there are no strategies.
    #[must_use]
    pub fn search(mut self, strategies: impl Into<Vec<Strategy>>, schedules: u64) -> Self {
        let strategies = strategies.into();
        assert!(!strategies.is_empty(), "a search needs a strategy");
        self.search = Some((strategies, schedules));
        self
    }

    /// Also cuts each task short wherever it waits: once cancelled, once dropped, once unwound.
    ///
    /// Such a run goes well if nothing is left over and no law is broken, whatever the program's outcome.
    #[must_use]
    pub fn every_await(self) -> Self {
        self.cut_every_await(Way::ALL)
    }

    /// As [`every_await`](Self::every_await), in these ways.
    #[must_use]
    pub fn cut_every_await(mut self, ways: impl Into<Vec<Way>>) -> Self {
        self.ways = ways.into();
        self
    }

    /// Runs the test, or the one run that `ASUPERSYNC_REPLAY` names.
    ///
    /// # Panics
    /// If a run does not go well, with all that is known of it.
    #[track_caller]
    pub fn run<F, Fut>(&self, program: F)
    where
        F: Fn(Cx) -> Fut,
        Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
    {
        if let Some(message) = self.failure(&program) {
            panic!("{message}");
        }
    }

    /// What is wrong, for people.
    fn failure(&self, program: &dyn Program) -> Option<String> {
        if let Ok(path) = std::env::var(REPLAY_VARIABLE) {
            return self.replay(program, Path::new(&path));
        }
        let failure = self.first_failure(program)?;
        Some(self.told(&failure))
    }

    fn first_failure(&self, program: &dyn Program) -> Option<Failure> {
        for seed in self.seeds.clone() {
            let config = self
                .config
                .clone()
                .seed(self.config.seed.wrapping_add(seed));
            let run = run(program, &config);
            let cuts = run.cuts();
            if run.finding.is_some() {
                return Some(Failure::shrunk(program, &config, run, seed, SHRINK_RUNS));
            }
            for cut in cuts.into_iter().filter(|cut| self.ways.contains(&cut.way)) {
                let cut_run = self::run(program, &config.clone().cut(cut));
                if cut_run.finding.is_some() {
                    return Some(Failure::shrunk(
                        program,
                        &config,
                        cut_run,
                        seed,
                        SHRINK_RUNS,
                    ));
                }
            }
        }
        let (strategies, schedules) = self.search.as_ref()?;
        let search = Search::new(self.config.clone())
            .strategies(strategies.clone())
            .schedules(*schedules);
        search.run_erased(program).failure.map(|failure| *failure)
    }

    /// Replays a crashpack; what is wrong, if anything still is.
    fn replay(&self, program: &dyn Program, path: &Path) -> Option<String> {
        let pack = Crashpack::load(path)
            .unwrap_or_else(|error| panic!("{REPLAY_VARIABLE}: {}", with_causes(&error)));
        if pack.program != self.name {
            // Another test's; this one has nothing to replay.
            return None;
        }
        let config = self.config.clone().seed(pack.seed);
        let run = replay(program, &config, pack.schedule.clone());
        let same = match run.prefix().divergence(&pack.trace) {
            None => "the trace is the recorded one, event for event".to_owned(),
            Some(divergence) => format!("the program has changed: {divergence}"),
        };
        let finding = run.finding.as_ref()?;
        Some(format!(
            "{}: {finding}\n{}\n  replayed {}: {same}",
            self.name,
            run.timeline().causes(),
            path.display(),
        ))
    }

    fn told(&self, failure: &Failure) -> String {
        let causes = failure.causes();
        let told = format!("{}: {failure}\n{causes}", self.name);
        let kept = self.keep(failure, &told);
        format!("{told}\n{kept}")
    }

    /// Writes the crashpack and what else is wanted; says where it is and how to replay it.
    fn keep(&self, failure: &Failure, told: &str) -> String {
        let artifacts = Artifacts::of(&self.name, failure.run.seed);
        let path = artifacts.crashpack();
        let function = self.name.rsplit("::").next().unwrap_or(&self.name);
        let replay = format!("{REPLAY_VARIABLE}={} cargo test {function}", path.display());
        let pack = failure.crashpack(&self.name, &self.config, replay.clone());
        match artifacts.write(&pack, told) {
            Ok(()) => format!("  crashpack: {}\n  replay: {replay}", path.display()),
            Err(error) => format!("  no crashpack: {error}"),
        }
    }
}

fn run(program: &dyn Program, config: &LabConfig) -> Run {
    let mut chooser = config.strategy.chooser(config.seed);
    chooser.begin(0);
    program
        .run(
            LabRuntime::new(config.clone()),
            Box::new(Instruments::new(chooser)),
        )
        .0
}

/// How many seeds a test runs under unless it says otherwise.
const SEEDS: u64 = 8;
/// How many runs may be spent on making a failing schedule smaller.
const SHRINK_RUNS: u64 = 1_000;
