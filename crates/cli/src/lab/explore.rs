//! `asupersync lab run` and `lab explore`.

use std::path::PathBuf;

use asupersync_lab::{Finding, LabRuntime, Search, SearchReport, Strategy, Timeline};
use clap::Args;

use super::{CommandError, Twin, program};

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// A program of the zoo.
    name: String,
    /// Which twin.
    #[arg(long, value_enum, default_value = "buggy")]
    twin: Twin,
    /// The seed of schedule and entropy.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the schedule is drawn.
    #[arg(long, default_value = "random")]
    strategy: String,
}

pub(crate) fn run(options: &RunOptions) -> Result<(), CommandError> {
    let program = program(&options.name)?;
    let strategy: Strategy = options.strategy.parse()?;
    let config = program.config().seed(options.seed).strategy(strategy);
    let report = LabRuntime::new(config).run(options.twin.body(program));
    say!("{}", Timeline::of(&report.trace, report.trace.events.len()));
    say!("schedule: {}", report.schedule);
    match Finding::of(&report) {
        Some(finding) => say!("{}: {finding}", options.twin.name(program)),
        None => say!(
            "{}: clean after {} steps",
            options.twin.name(program),
            report.steps
        ),
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct ExploreOptions {
    /// A program of the zoo.
    name: String,
    /// Which twin.
    #[arg(long, value_enum, default_value = "buggy")]
    twin: Twin,
    /// How many schedules are tried at most.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The strategies, in turn; the portfolio unless given.
    #[arg(long, value_delimiter = ',')]
    strategies: Vec<String>,
    /// On how many threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where the crashpack of a failure goes.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The strategies of these names; the portfolio if there are none.
pub(crate) fn strategies(names: &[String]) -> Result<Vec<Strategy>, CommandError> {
    if names.is_empty() {
        return Ok(Strategy::PORTFOLIO.to_vec());
    }
    let parsed = names
        .iter()
        .map(|name| name.parse().map_err(CommandError::from));
    parsed.collect()
}

pub(crate) fn explore(options: &ExploreOptions) -> Result<(), CommandError> {
    let program = program(&options.name)?;
    let search = Search::new(program.config())
        .strategies(strategies(&options.strategies)?)
        .schedules(options.schedules);
    let body = options.twin.body(program);
    let report = search.run_on(options.threads, body);
    if let (Some(path), Some(failure)) = (&options.out, &report.failure) {
        let replay = format!("asupersync lab replay {}", path.display());
        let pack = failure.crashpack(&options.twin.name(program), &program.config(), replay);
        pack.save(path).map_err(|source| CommandError::Crashpack {
            path: path.clone(),
            source,
        })?;
    }
    if options.json {
        say!("{}", json(&report));
    } else {
        if let Some(failure) = &report.failure {
            say!("{}", failure.causes());
        }
        say!("{report}");
    }
    match report.failure {
        Some(_) => Err(CommandError::Found { count: 1 }),
        None => Ok(()),
    }
}

fn json(report: &SearchReport) -> serde_json::Value {
    let failure = report.failure.as_ref().map(|failure| {
        serde_json::json!({
            "run": failure.number,
            "strategy": failure.strategy.to_string(),
            "finding": failure.run.finding.as_ref().map(ToString::to_string),
            "seed": failure.run.seed,
            "schedule": failure.run.schedule.to_string(),
            "decisions": failure.run.schedule.decisions(),
        })
    });
    serde_json::json!({
        "executions": report.executions,
        "redundant": report.redundant,
        "classes": report.classes,
        "is_exhausted": report.is_exhausted,
        "failure": failure,
    })
}
