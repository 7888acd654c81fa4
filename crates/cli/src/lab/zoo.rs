//! `asupersync lab zoo`: what the search finds, and what it takes.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use asupersync_lab::{Finding, Search, Strategy};
use asupersync_zoo::{Program, programs};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::explore::strategies;
use super::{CommandError, program};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this program.
    #[arg(long)]
    only: Option<String>,
    /// How many schedules a search may try.
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// Under how many seeds each strategy is measured on its own.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The strategies of the search, in turn; the portfolio unless given.
    #[arg(long, value_delimiter = ',')]
    strategies: Vec<String>,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came of one program.
struct Row {
    program: &'static Program,
    /// What the search found, by which strategy, in which of its runs.
    found: Option<(String, Strategy, u64)>,
    /// Decisions and tasks of the failing schedule, made smaller.
    shrunk: (usize, usize),
    /// Of each strategy alone, the median of the runs that it takes; `None` if it mostly takes more than it may.
    medians: Vec<Option<u64>>,
    /// What was reported on the fixed twin.
    reported: Option<String>,
    proof: Option<Proof>,
}

/// An exhaustive search of the fixed twin.
struct Proof {
    executions: u64,
    redundant: u64,
    classes: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), CommandError> {
    let chosen: Vec<&'static Program> = match &options.only {
        Some(name) => vec![program(name)?],
        None => programs().iter().collect(),
    };
    let portfolio = strategies(&options.strategies)?;
    let rows = measured(&chosen, &portfolio, options);
    if options.json {
        say!("{}", json(&rows, &portfolio));
    } else {
        crate::out::write(format_args!(
            "{}",
            table(&rows, &portfolio, options.markdown)
        ));
    }
    let missed = rows.iter().filter(|row| row.found.is_none()).count();
    let reported = rows.iter().filter(|row| row.reported.is_some()).count();
    let proofs = rows.iter().filter(|row| row.proof.is_some()).count();
    let exact = rows.iter().filter_map(|row| row.proof.as_ref());
    let exact = exact
        .filter(|proof| proof.executions == proof.classes)
        .count();
    if !options.json {
        let last = format!(
            "zoo: {} of {} bugs found within {} schedules, {reported} reports on {} fixed twins, {proofs} proofs, {exact} of them with one execution for each class",
            rows.len() - missed,
            rows.len(),
            options.schedules,
            rows.len(),
        );
        say!("{}{last}", if options.markdown { "\n" } else { "" });
    }
    if missed + reported > 0 {
        return Err(CommandError::Zoo { missed, reported });
    }
    Ok(())
}

/// Searches all programs, on every core.
fn measured(chosen: &[&'static Program], portfolio: &[Strategy], options: &Options) -> Vec<Row> {
    let bar = ProgressBar::new(chosen.len() as u64);
    let style = ProgressStyle::with_template("{bar:32} {pos} of {len} programs, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        while let Some(program) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = row(program, portfolio, options);
            rows.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(row);
            bar.inc(1);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| (row.program.family, row.program.name));
    rows
}

fn row(program: &'static Program, portfolio: &[Strategy], options: &Options) -> Row {
    let search = |strategies: &[Strategy]| {
        Search::new(program.config())
            .strategies(strategies)
            .schedules(options.schedules)
    };
    let report = search(portfolio).run(program.buggy);
    let failure = report.failure.as_ref();
    let median = |strategy: &Strategy| {
        let mut runs: Vec<u64> = (0..options.seeds)
            .map(|seed| {
                let alone = Search::new(program.config().seed(seed << 32))
                    .strategies([*strategy])
                    .schedules(options.schedules)
                    .coverage(false)
                    .shrink_runs(0);
                let failure = alone.run(program.buggy).failure;
                failure.map_or(u64::MAX, |failure| failure.number + 1)
            })
            .collect();
        runs.sort_unstable();
        let middle = runs.get(runs.len() / 2).copied();
        middle.filter(|runs| *runs != u64::MAX)
    };
    let fixed = search(portfolio).run(program.fixed);
    Row {
        program,
        found: failure.map(|failure| {
            let finding = failure.run.finding.as_ref().map_or("", kind);
            (finding.to_owned(), failure.strategy, failure.number + 1)
        }),
        shrunk: failure.map_or((0, 0), |failure| {
            let timeline = failure.run.timeline();
            let mut tasks: Vec<_> = timeline.rows().iter().filter_map(|row| row.task).collect();
            tasks.sort_unstable();
            tasks.dedup();
            (failure.run.schedule.decisions(), tasks.len())
        }),
        medians: portfolio.iter().map(median).collect(),
        reported: fixed.failure.map(|failure| failure.to_string()),
        proof: proof(program),
    }
}

/// What kind of failure it is, in a word.
fn kind(finding: &Finding) -> &'static str {
    match finding {
        Finding::Violated(violation) => violation.law.name(),
        Finding::Panicked { .. } => "panic",
        Finding::Failed { .. } => "error",
        Finding::Cancelled { .. } => "cancelled",
        Finding::Stalled { .. } => "stall",
        Finding::StepLimit { .. } => "step limit",
        _ => "other",
    }
}

/// Explores the fixed twin to its end, if it has few classes.
fn proof(program: &Program) -> Option<Proof> {
    if !program.exhaustible {
        return None;
    }
    let report = Search::new(program.config())
        .strategies([Strategy::Dpor])
        .schedules(PROOF_SCHEDULES)
        .run(program.fixed);
    let systematic = report.systematic.filter(|_| report.is_exhausted)?;
    Some(Proof {
        executions: systematic.executions,
        redundant: systematic.redundant,
        classes: report.classes,
    })
}

fn table(rows: &[Row], portfolio: &[Strategy], is_markdown: bool) -> String {
    let mut heads: Vec<String> = ["program", "family", "shows as", "found by", "run"]
        .map(str::to_owned)
        .into();
    heads.extend(portfolio.iter().map(ToString::to_string));
    heads.extend(
        [
            "decisions",
            "tasks",
            "fixed twin",
            "classes",
            "executions",
            "given up",
        ]
        .map(str::to_owned),
    );
    let mut lines = vec![heads];
    lines.extend(rows.iter().map(cells));
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let mut text = String::new();
    // Writing to a `String` does not fail.
    for (index, line) in lines.iter().enumerate() {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let padded: Vec<String> = padded.collect();
        if is_markdown {
            let _ = writeln!(text, "| {} |", padded.join(" | "));
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                let _ = writeln!(text, "| {} |", rule.join(" | "));
            }
        } else {
            let _ = writeln!(text, "{}", padded.join("  ").trim_end());
        }
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let none = || "-".to_owned();
    let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    let found = row.found.as_ref();
    let mut cells = vec![
        row.program.name.to_owned(),
        row.program.family.to_string(),
        found.map_or_else(|| "MISSED".to_owned(), |(finding, ..)| finding.clone()),
        found.map_or_else(none, |(_, strategy, _)| strategy.to_string()),
        number(found.map(|(.., runs)| *runs)),
    ];
    cells.extend(row.medians.iter().map(|median| number(*median)));
    cells.extend([
        row.shrunk.0.to_string(),
        row.shrunk.1.to_string(),
        row.reported
            .as_ref()
            .map_or("clean", |_| "REPORTED")
            .to_owned(),
        number(row.proof.as_ref().map(|proof| proof.classes)),
        number(row.proof.as_ref().map(|proof| proof.executions)),
        number(row.proof.as_ref().map(|proof| proof.redundant)),
    ]);
    cells
}

fn json(rows: &[Row], portfolio: &[Strategy]) -> serde_json::Value {
    let row = |row: &Row| {
        let medians = portfolio.iter().zip(&row.medians);
        let medians: serde_json::Map<String, serde_json::Value> = medians
            .map(|(strategy, median)| (strategy.to_string(), (*median).into()))
            .collect();
        serde_json::json!({
            "program": row.program.name,
            "family": row.program.family.to_string(),
            "pattern": row.program.pattern,
            "fix": row.program.fix,
            "found": row.found.as_ref().map(|(finding, ..)| finding),
            "strategy": row.found.as_ref().map(|(_, strategy, _)| strategy.to_string()),
            "run": row.found.as_ref().map(|(.., run)| run),
            "medians": medians,
            "decisions": row.shrunk.0,
            "tasks": row.shrunk.1,
            "reported": row.reported,
            "classes": row.proof.as_ref().map(|proof| proof.classes),
            "executions": row.proof.as_ref().map(|proof| proof.executions),
            "redundant": row.proof.as_ref().map(|proof| proof.redundant),
        })
    };
    rows.iter().map(row).collect()
}

/// How many schedules a proof may take.
const PROOF_SCHEDULES: u64 = 20_000;
