//! Running a program under many schedules.
//!
//! # How
//! Strategies take turns, run by run; each has a state of its own that learns from its runs.
//! A systematic strategy that finishes is a proof over everything that the runs recorded: there is no other order of the program's steps under this seed.
//! Where faults may happen, nodes crash, or a network decides how long things take and how they are cut, it proves nothing; the other strategies then go on.
//! Each run is told apart from others by the fingerprint of its order, so the number of different orders seen is the coverage.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::{ErrOf, IntoOutcome, OkOf};
use asupersync_kernel::Cx;
use asupersync_trace::{Estimate, Fingerprint, Structure, Trace};

use crate::config::LabConfig;
use crate::crashpack::Crashpack;
use crate::finding::Finding;
use crate::instruments::Instruments;
use crate::lab::LabRuntime;
use crate::quiet::Quiet;
use crate::report::{LabEnd, LabReport};
use crate::schedule::{Cut, Schedule};
use crate::script::Decided;
use crate::shrink;
use crate::snapshot::RestorableSnapshot;
use crate::strategy::{Chooser, Strategy};
use crate::timeline::Timeline;

/// A search for a schedule under which a program goes wrong.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_lab::{LabConfig, Search};
///
/// let report = Search::new(LabConfig::default()).schedules(1_000).run(async |cx: Cx| {
///     cx.yield_now().await?;
///     Ok::<_, Cancelled>(())
/// });
/// assert!(report.failure.is_none());
/// assert_eq!(report.to_string(), "explored 1 of 1 classes: no violation");
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    config: LabConfig,
    strategies: Vec<Strategy>,
    schedules: u64,
    shrink_runs: u64,
    counts_classes: bool,
}

impl Search {
    /// A search with the portfolio of strategies, over 1,000 schedules.
    #[must_use]
    pub fn new(config: LabConfig) -> Self {
        Self {
            config,
            strategies: Strategy::PORTFOLIO.to_vec(),
            schedules: 1_000,
            shrink_runs: SHRINK_RUNS,
            counts_classes: true,
        }
    }

    /// Uses these strategies, in turn.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn strategies(mut self, strategies: impl Into<Vec<Strategy>>) -> Self {
        self.strategies = strategies.into();
        assert!(
            !self.strategies.is_empty(),
            "a search needs at least one strategy"
        );
        self
    }

    /// How many schedules are tried at most.
    #[must_use]
    pub const fn schedules(mut self, schedules: u64) -> Self {
        self.schedules = schedules;
        self
    }

    /// How many runs may be spent on making a failing schedule smaller; 2,000 unless set, and with 0 it stays as it was found.
    #[must_use]
    pub const fn shrink_runs(mut self, runs: u64) -> Self {
        self.shrink_runs = runs;
        self
    }

    /// Whether the orders that were seen are counted; they are unless switched off, which makes a search of small programs about twice as fast.
    #[must_use]
    pub const fn coverage(mut self, counts: bool) -> Self {
        self.counts_classes = counts;
        self
    }

    /// Runs the program until something is found, every class of schedules was explored, or the schedules are used up.
    pub fn run<F, Fut>(&self, program: F) -> SearchReport
    where
        F: Fn(Cx) -> Fut,
        Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
    {
        self.run_erased(&program)
    }

    /// As [`run`](Self::run), on so many threads; what is found may differ with their number, and not with their timing.
    pub fn run_on<F, Fut>(&self, threads: usize, program: F) -> SearchReport
    where
        F: Fn(Cx) -> Fut + Sync,
        Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
    {
        let count = threads.max(1);
        let found_at = &AtomicU64::new(u64::MAX);
        let program = &program;
        let workers = std::thread::scope(|scope| {
            let start = |index| {
                scope.spawn(move || {
                    let mut worker = Worker::new(self, index, count);
                    worker.work(program, found_at);
                    worker
                })
            };
            let running: Vec<_> = (0..count).map(start).collect();
            let joined = running.into_iter().map(|thread| {
                let joined = thread.join();
                joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect()
        });
        self.summed_up(program, workers)
    }

    pub(crate) fn run_erased(&self, program: &dyn Program) -> SearchReport {
        let mut worker = Worker::new(self, 0, 1);
        worker.work(program, &AtomicU64::new(u64::MAX));
        self.summed_up(program, vec![worker])
    }

    fn summed_up(&self, program: &dyn Program, workers: Vec<Worker<'_>>) -> SearchReport {
        let mut report = SearchReport {
            executions: 0,
            redundant: 0,
            steps: 0,
            classes: 0,
            is_exhausted: false,
            systematic: None,
            diverged: None,
            failure: None,
        };
        let mut classes = BTreeSet::new();
        let mut found: Option<(u64, Strategy, Run)> = None;
        for mut worker in workers {
            report.executions += worker.executions;
            report.redundant += worker.redundant;
            report.steps += worker.steps;
            classes.append(&mut worker.classes);
            report.is_exhausted |= worker.proves() && worker.choosers().any(Chooser::is_exhausted);
            if let Some(systematic) = worker.choosers().find_map(Chooser::systematic) {
                report.diverged = systematic.diverged();
                report.systematic = Some(Systematic {
                    executions: systematic.executions().0,
                    redundant: systematic.executions().1,
                    estimate: systematic.remaining(),
                });
            }
            if let Some(earlier) = worker.found
                && found.as_ref().is_none_or(|found| earlier.0 < found.0)
            {
                found = Some(earlier);
            }
        }
        report.classes = classes.len() as u64;
        report.failure = found
            .map(|(number, strategy, run)| Box::new(self.failure(program, number, strategy, run)));
        report
    }

    fn failure(&self, program: &dyn Program, number: u64, strategy: Strategy, run: Run) -> Failure {
        let config = self.config.clone().seed(run.seed).strategy(strategy);
        Failure::shrunk(program, &config, run, number, self.shrink_runs)
    }

    /// The strategy of a run, and which of its runs it is.
    fn turn(&self, number: u64) -> (usize, u64) {
        let count = self.strategies.len() as u64;
        ((number % count) as usize, number / count)
    }
}

/// Runs a program along a schedule, under the seed of the configuration.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_lab::{LabConfig, Schedule, replay};
/// let run = replay(&LabConfig::default(), Schedule::default(), async |cx: Cx| cx.yield_now().await);
/// assert!(run.finding.is_none());
/// ```
pub fn replay<F, Fut>(config: &LabConfig, schedule: Schedule, program: F) -> Run
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
{
    shrink::replay(&program, config, schedule)
}

/// Makes the failing run of a schedule smaller, within so many runs; `None` if that run does not fail.
pub fn minimize<F, Fut>(
    config: &LabConfig,
    schedule: Schedule,
    runs_max: u64,
    program: F,
) -> Option<Failure>
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
{
    let run = shrink::replay(&program, config, schedule);
    run.finding.as_ref()?;
    Some(Failure::shrunk(&program, config, run, 0, runs_max))
}

/// A program with its types erased.
pub(crate) trait Program {
    fn run(&self, lab: LabRuntime, instruments: Box<Instruments>) -> (Run, Box<Instruments>);
}

impl<F, Fut> Program for F
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome<Err: fmt::Debug>>,
{
    fn run(&self, lab: LabRuntime, instruments: Box<Instruments>) -> (Run, Box<Instruments>) {
        let _quiet = Quiet::new();
        let (report, instruments) = lab.run_with(instruments, self);
        let report: LabReport<OkOf<Fut>, ErrOf<Fut>> = report;
        let is_disturbed = report.is_disturbed;
        let counts = |finding: &Finding| !is_disturbed || finding.is_wrong_when_disturbed();
        let run = Run {
            finding: Finding::of(&report).filter(counts),
            schedule: report.schedule,
            seed: report.seed,
            steps: report.steps,
            elapsed: report.elapsed,
            fingerprint: report.fingerprint,
            trace: report.trace,
            is_redundant: report.end == LabEnd::Abandoned,
            decided: Arc::clone(&instruments.decided),
            has_stopped_node: report.has_stopped_node,
        };
        (run, instruments)
    }
}

/// One run of a program, without its value.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was wrong with it, if anything was.
    pub finding: Option<Finding>,
    /// What was decided.
    pub schedule: Schedule,
    /// The seed of its entropy.
    pub seed: u64,
    /// How many polls and jobs were run.
    pub steps: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// Names the order of its steps; runs that differ only in the order of steps that do not depend on each other have the same.
    pub fingerprint: Option<Fingerprint>,
    /// What happened.
    pub trace: Trace,
    /// Whether it was given up because it could only repeat another.
    pub is_redundant: bool,
    /// The answers of the schedule by who asked.
    pub(crate) decided: Decided,
    /// Whether a node went down or stood still.
    pub(crate) has_stopped_node: bool,
}

impl Run {
    /// Its steps up to what was wrong with it.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let finding = self.finding.as_ref();
        let end = finding.map(|finding| finding.event(&self.trace));
        Timeline::of(&self.trace, end.unwrap_or(self.trace.events.len()))
    }

    /// What happened up to what was wrong with it, and including it.
    #[must_use]
    pub fn prefix(&self) -> Trace {
        shrink::prefix(self)
    }

    /// The places at which a task can be cut short: after each step whose task went on waiting.
    #[must_use]
    pub fn cuts(&self) -> Vec<Cut> {
        shrink::waits(&self.trace)
    }
}

struct Worker<'s> {
    search: &'s Search,
    index: usize,
    /// How many workers there are.
    count: usize,
    /// For each strategy; none while they are lent to a run.
    instruments: Vec<Option<Box<Instruments>>>,
    executions: u64,
    redundant: u64,
    steps: u64,
    classes: BTreeSet<Fingerprint>,
    found: Option<(u64, Strategy, Run)>,
    /// Whether a run asked for a fault, or for what the network does.
    has_asked: bool,
    has_stopped_node: bool,
}

impl<'s> Worker<'s> {
    fn new(search: &'s Search, index: usize, count: usize) -> Self {
        let seed = search.config.seed;
        let instruments =
            |strategy: &Strategy| Some(Box::new(Instruments::new(strategy.chooser(seed))));
        Self {
            search,
            index,
            count,
            instruments: search.strategies.iter().map(instruments).collect(),
            executions: 0,
            redundant: 0,
            steps: 0,
            classes: BTreeSet::new(),
            found: None,
            has_asked: false,
            has_stopped_node: false,
        }
    }

    fn choosers(&self) -> impl Iterator<Item = &dyn Chooser> {
        self.instruments.iter().flatten().map(|each| &*each.chooser)
    }

    fn work(&mut self, program: &dyn Program, found_at: &AtomicU64) {
        let mut spent = vec![false; self.instruments.len()];
        for number in 0..self.search.schedules {
            if number > found_at.load(Ordering::Relaxed) {
                return;
            }
            let (strategy, own) = self.search.turn(number);
            if !self.does(strategy, own) || spent[strategy] {
                continue;
            }
            let Some(instruments) = &mut self.instruments[strategy] else {
                continue;
            };
            if !instruments.chooser.begin(own) {
                spent[strategy] = true;
                let has_seen_all = instruments.chooser.is_exhausted();
                if has_seen_all && self.proves() {
                    // Every class was seen; nobody can find anything any more.
                    found_at.fetch_min(number, Ordering::Relaxed);
                    return;
                }
                if spent.iter().all(|spent| *spent) {
                    return;
                }
                continue;
            }
            if self.execute(program, number, strategy) {
                found_at.fetch_min(number, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Whether a systematic search that finishes has seen everything.
    ///
    /// Faults and what the network does are drawn, and it does not turn them round; and of what a crash kept from running it knows nothing.
    fn proves(&self) -> bool {
        self.search.config.chaos.never_happen() && !self.has_asked && !self.has_stopped_node
    }

    /// Whether a run is this worker's: a systematic search knows only what it has done itself.
    fn does(&self, strategy: usize, own: u64) -> bool {
        match self.search.strategies[strategy] {
            strategy if strategy.is_in_order() => self.index == 0,
            _ => own % self.count as u64 == self.index as u64,
        }
    }

    /// One run; whether something was found.
    fn execute(&mut self, program: &dyn Program, number: u64, strategy: usize) -> bool {
        let Some(instruments) = self.instruments[strategy].take() else {
            return false;
        };
        let config = &self.search.config;
        let (name, own) = (self.search.strategies[strategy], self.search.turn(number).1);
        // A systematic search needs the same program each time; the others try other entropy too.
        let seed = match name {
            name if name.is_in_order() => config.seed,
            _ => config.seed.wrapping_add(own),
        };
        let config = config
            .clone()
            .seed(seed)
            .strategy(name)
            .fingerprint(self.search.counts_classes);
        let lab = LabRuntime::new(config);
        let (mut run, mut instruments) = program.run(lab, instruments);
        self.has_asked |= instruments.has_asked;
        if run.finding.is_none() {
            instruments.events = std::mem::take(&mut run.trace.events);
        }
        instruments.clear();
        self.instruments[strategy] = Some(instruments);
        self.executions += 1;
        self.steps += run.steps;
        self.classes.extend(run.fingerprint);
        self.redundant += u64::from(run.is_redundant);
        self.has_stopped_node |= run.has_stopped_node;
        if run.finding.is_none() {
            return false;
        }
        self.found = Some((number, name, run));
        true
    }
}

/// What a search found.
#[derive(Debug)]
#[must_use = "a report may carry a failure; see `assert_clean`"]
pub struct SearchReport {
    /// How many runs there were.
    pub executions: u64,
    /// How many of them were given up because they could only repeat others.
    pub redundant: u64,
    /// How many polls and jobs all runs had.
    pub steps: u64,
    /// How many different orders were seen.
    pub classes: u64,
    /// Whether every class of equivalent orders was explored, which proves that there is no other; never where faults or what the network does were to be decided, or nodes crash.
    pub is_exhausted: bool,
    /// How far a systematic search came, if one took part.
    pub systematic: Option<Systematic>,
    /// Why a systematic search proves nothing: a step that was repeated did something else.
    pub diverged: Option<String>,
    /// The first failing run, made smaller.
    pub failure: Option<Box<Failure>>,
}

/// How far a systematic search came.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Systematic {
    /// How many of its runs went to their end.
    pub executions: u64,
    /// How many it gave up because they could only repeat others.
    pub redundant: u64,
    /// How many there probably are.
    pub estimate: Estimate,
}

/// A failing run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which of the search's runs found it, from 0.
    pub number: u64,
    /// Which strategy.
    pub strategy: Strategy,
    /// How many decisions the schedule had when it was found.
    pub found_decisions: usize,
    /// How many runs were spent on making it smaller.
    pub shrink_runs: u64,
    /// The run, as small as it could be made.
    pub run: Run,
}

impl Failure {
    /// A failing run, made smaller.
    pub(crate) fn shrunk(
        program: &dyn Program,
        config: &LabConfig,
        run: Run,
        number: u64,
        runs_max: u64,
    ) -> Self {
        let found_decisions = run.schedule.decisions();
        let shrunk = shrink::shrink(program, config, run, runs_max);
        Self {
            number,
            strategy: config.strategy,
            found_decisions,
            shrink_runs: shrunk.runs,
            run: shrunk.run,
        }
    }

    /// What led to it, a line a step.
    #[must_use]
    pub fn causes(&self) -> Timeline {
        self.run.timeline().causes()
    }

    /// All that is needed to replay it; `replay` is the command that does.
    #[must_use]
    pub fn crashpack(&self, program: &str, config: &LabConfig, replay: String) -> Crashpack {
        let finding = self.run.finding.as_ref();
        let trace = self.run.prefix();
        let structure = Structure::after(&trace.events);
        let schedule = self.run.schedule.clone();
        Crashpack {
            program: program.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: format!("{config:?}"),
            seed: self.run.seed,
            strategy: self.strategy.to_string(),
            schedule: schedule.clone(),
            finding: finding.map_or_else(String::new, ToString::to_string),
            evidence: self
                .causes()
                .to_string()
                .lines()
                .map(str::to_owned)
                .collect(),
            replay,
            snapshot: Some(RestorableSnapshot::new(self.run.seed, schedule, structure)),
            trace,
        }
    }
}

impl SearchReport {
    /// Fails if something was found.
    ///
    /// # Panics
    /// With what was found, the schedule, and how to replay it.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.failure.is_none(), "{self}");
    }
}

impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return write!(f, "{failure}");
        }
        let classes = self.classes;
        if self.is_exhausted {
            return write!(f, "explored {classes} of {classes} classes: no violation");
        }
        write!(
            f,
            "explored {classes} classes in {} runs: no violation",
            self.executions
        )?;
        match (&self.diverged, &self.systematic) {
            (Some(diverged), _) => write!(f, "; no proof is possible: {diverged}"),
            (None, Some(systematic)) => write!(f, "; {}", systematic.estimate),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(finding) = &self.run.finding {
            write!(f, "{finding}")?;
        }
        write!(
            f,
            "\n  found by run {} ({}), {} decisions, {} after {} runs of shrinking\n  seed {}, schedule `{}`",
            self.number,
            self.strategy,
            self.found_decisions,
            self.run.schedule.decisions(),
            self.shrink_runs,
            self.run.seed,
            self.run.schedule,
        )
    }
}

/// How many runs may be spent on making a failing schedule smaller.
const SHRINK_RUNS: u64 = 2_000;
