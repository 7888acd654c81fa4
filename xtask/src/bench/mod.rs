//! Benches beside their peers: one process per run and runtime, interleaved, medians, a limit.
//!
//! A suite's binary lists its rows and runs one row on one runtime, printing one JSON object; this module does the rest.
//! Interleaving (ours, peer, ours, peer, …) lets a slow minute of the machine hit all alike, and a process per run keeps one run's heap and threads out of the next.
//! A ratio is ours divided by the best peer; below 1 is better.

pub(crate) mod callgrind;
pub(crate) mod compare;
mod figure;
pub(crate) mod gates;
pub(crate) mod recorder;
pub(crate) mod scale;
mod summary;
mod svg;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process};
use summary::{Row, Sample, Summary};

/// Runs a suite; see [`crate`]'s help for the arguments.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let (suite, rest) = arguments
        .split_first()
        .ok_or("which suite? compare, gates, kernel, lab, scale, sync, recorder, raptorq")?;
    match suite.as_str() {
        "compare" => compare::run(rest),
        "gates" => gates::run(rest),
        "kernel" => run_suite(&KERNEL, &Options::parse(rest, ROUNDS_USUAL)?),
        "lab" => run_suite(&LAB, &Options::parse(rest, ROUNDS_USUAL)?),
        "scale" => scale::run(rest),
        "sync" => run_suite(&SYNC, &Options::parse(rest, ROUNDS_USUAL)?),
        "recorder" => recorder::run(rest),
        "raptorq" => run_package("asupersync-bench-raptorq", rest),
        other => Err(format!(
            "unknown suite `{other}`; there are compare, gates, kernel, lab, scale, sync, recorder, raptorq"
        )
        .into()),
    }
}

/// Runs a conformance suite; its arguments are passed through.
pub(crate) fn conformance(arguments: &[String]) -> Verdict {
    let (suite, rest) = arguments.split_first().ok_or("which suite? raptorq")?;
    match suite.as_str() {
        "raptorq" => run_package("asupersync-conformance-raptorq", rest),
        other => Err(format!("unknown suite `{other}`; there is raptorq").into()),
    }
}

/// A bench or conformance package that keeps its own rows and limits.
fn run_package(package: &str, arguments: &[String]) -> Verdict {
    if Workspace::load()?.member(package).is_none() {
        return Err(format!("there is no member `{package}`").into());
    }
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--release", "--package", package, "--"])
        .args(arguments);
    Ok(process::run_shown(&mut command)?.success())
}

/// A suite: a binary that knows its rows, and the ratio that no row may exceed; beside one peer, or the best of all.
pub(crate) struct Suite {
    name: &'static str,
    package: &'static str,
    binary: &'static str,
    limit: f64,
    beside: Option<&'static str>,
    pace: Option<Pace>,
}

/// A row without a peer, each operation of which is a second of virtual time.
pub(crate) struct Pace {
    row: &'static str,
    /// How many times faster than a clock it must run.
    factor_min: f64,
}

pub(crate) const KERNEL: Suite = Suite {
    name: "kernel",
    package: PACKAGE,
    binary: BINARY,
    limit: 1.5,
    beside: None,
    pace: None,
};

pub(crate) const LAB: Suite = Suite {
    name: "lab",
    package: PACKAGE,
    binary: BINARY,
    limit: 1.0,
    beside: Some("shuttle"),
    pace: Some(Pace {
        row: "simulated second of 100 sleepers",
        factor_min: 1_000.0,
    }),
};

pub(crate) const SYNC: Suite = Suite {
    name: "sync",
    package: PACKAGE,
    binary: BINARY,
    limit: 1.0,
    beside: Some("tokio"),
    pace: None,
};

#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    rounds: usize,
    only: Option<String>,
    json: Option<PathBuf>,
    /// One short round each, no limit: shows that every row still runs.
    is_smoke: bool,
}

impl Options {
    fn parse(
        arguments: &[String],
        rounds_usual: usize,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut options = Self {
            rounds: rounds_usual,
            only: None,
            json: None,
            is_smoke: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only = Some(value()?.clone()),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--smoke" => options.is_smoke = true,
                other => return Err(format!("unknown argument `{other}`").into()),
            }
        }
        if options.rounds == 0 {
            return Err("--rounds needs at least 1".into());
        }
        if options.is_smoke {
            options.rounds = 1;
        }
        Ok(options)
    }

    pub(crate) fn smoke() -> Self {
        Self {
            rounds: 1,
            only: None,
            json: None,
            is_smoke: true,
        }
    }
}

/// The path behind an option that one suite alone has, and the other arguments.
fn path_of(
    arguments: &[String],
    option: &str,
) -> Result<(Option<PathBuf>, Vec<String>), Box<dyn std::error::Error>> {
    let mut rest = arguments.to_vec();
    let Some(at) = rest.iter().position(|argument| argument == option) else {
        return Ok((None, rest));
    };
    if at + 1 == rest.len() {
        return Err(format!("{option} needs a value").into());
    }
    let path = rest.drain(at..=at + 1).next_back();
    Ok((path.map(PathBuf::from), rest))
}

/// Builds the suite, runs it, prints the table and the verdict.
pub(crate) fn run_suite(suite: &Suite, options: &Options) -> Verdict {
    let workspace = Workspace::load()?;
    build(suite.package, suite.binary)?;
    run_built(suite, options, &workspace.target)
}

/// Builds a binary as it is measured.
fn build(package: &str, binary: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", package, "--bin", binary]);
    match process::run_shown(&mut build)?.success() {
        true => Ok(()),
        false => Err(format!("{package} does not build").into()),
    }
}

/// Runs a suite whose binary stands in `target` already.
pub(crate) fn run_built(suite: &Suite, options: &Options, target: &Path) -> Verdict {
    let binary = target.join("release").join(suite.binary);
    let rows = rows(&binary, suite.name, options)?;
    let mut summaries = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        eprintln!(
            "bench {}: {}/{} {}",
            suite.name,
            index + 1,
            rows.len(),
            row.name
        );
        summaries.push(Summary::of(
            row,
            &measure(&binary, suite.name, row, options)?,
        ));
    }
    print!("{}", summary::table(&summaries));
    if let Some(path) = &options.json {
        std::fs::write(path, summary::json(&summaries))?;
    }
    if options.is_smoke {
        println!(
            "bench {}: {} rows ran, briefly and without a limit",
            suite.name,
            summaries.len()
        );
        return Ok(true);
    }
    Ok(judge(suite, options, &summaries))
}

/// Prints what counts, the limits last, and says whether they are kept.
fn judge(suite: &Suite, options: &Options, summaries: &[Summary]) -> bool {
    let is_wanted = |row: &str| options.only.as_ref().is_none_or(|only| row.contains(only));
    let pace = suite.pace.as_ref().filter(|pace| is_wanted(pace.row));
    let pace = pace.map(|pace| summary::pace(summaries, pace.row, pace.factor_min));
    let only_pace = pace.is_some() && summaries.len() == 1;
    let compared = (!only_pace).then(|| summary::verdict(summaries, suite.limit, suite.beside));
    let verdicts = || compared.iter().chain(&pace);
    let lines: Vec<&str> = verdicts().map(|(_, line)| line.as_str()).collect();
    println!("bench {}: {}", suite.name, lines.join("; "));
    verdicts().all(|(is_met, _)| *is_met)
}

/// The rows that are asked for; one that cannot run here is named and left out.
fn rows(
    binary: &Path,
    suite: &str,
    options: &Options,
) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let printed = process::stdout_of(Command::new(binary).args(["list", suite]))?;
    let list: Value = serde_json::from_str(&printed)?;
    let rows = list.as_array().ok_or("the list of rows is no array")?;
    let mut rows = rows.iter().map(Row::parse).collect::<Result<Vec<_>, _>>()?;
    if let Some(only) = &options.only {
        rows.retain(|row| row.name.contains(only.as_str()));
        if rows.is_empty() {
            return Err(format!("no row of {suite} contains `{only}`").into());
        }
    }
    rows.retain(|row| match &row.missing {
        Some(missing) => {
            println!("SKIP {}: {missing}", row.name);
            false
        }
        None => true,
    });
    Ok(rows)
}

/// Runs one row: all runtimes in turn, as often as there are rounds.
fn measure(
    binary: &Path,
    suite: &str,
    row: &Row,
    options: &Options,
) -> Result<Vec<Sample>, Box<dyn std::error::Error>> {
    let mut samples = Vec::new();
    for _ in 0..options.rounds {
        for runtime in &row.runtimes {
            let mut child = Command::new(binary);
            child.args(["run", suite, "--row", &row.name, "--runtime", runtime]);
            if row.unit.starts_with("ns") {
                child.env(KEEP_FREED.0, KEEP_FREED.1);
            }
            if options.is_smoke {
                child.arg("--smoke");
            }
            let printed = process::stdout_of(&mut child)?;
            samples.push(Sample::parse(runtime, &serde_json::from_str(&printed)?)?);
        }
    }
    Ok(samples)
}

/// Where the suites compare, kernel, lab, scale and sync are.
const PACKAGE: &str = "asupersync-benches";
const BINARY: &str = "bench-run";
const ROUNDS_USUAL: usize = 5;

/// For glibc: whether it gives memory back depends on what lies at the top of the heap, and a runtime that has something there would pay for no page twice. Not where memory is measured.
const KEEP_FREED: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "4000000000");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_one_suite_is_taken_out_of_the_arguments() {
        let arguments =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        let of = |line: &str| path_of(&arguments(line), "--svg");
        let (svg, rest) = of("--only yield --svg x.svg --rounds 9").expect("fine");
        assert_eq!(svg, Some(PathBuf::from("x.svg")));
        assert_eq!(rest, arguments("--only yield --rounds 9"));
        assert_eq!(of("").expect("fine"), (None, Vec::new()));
        assert!(of("--only yield --svg").is_err());
    }

    fn parse(arguments: &[&str]) -> Result<Options, Box<dyn std::error::Error>> {
        Options::parse(
            &arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect::<Vec<_>>(),
            ROUNDS_USUAL,
        )
    }

    #[test]
    fn options_have_five_rounds_unless_told_otherwise() {
        assert_eq!(parse(&[]).expect("fine").rounds, 5);
        let options = parse(&["--rounds", "9", "--only", "yield", "--json", "x"]).expect("fine");
        assert_eq!(
            (options.rounds, options.only.as_deref()),
            (9, Some("yield"))
        );
        assert_eq!(parse(&["--smoke"]).expect("fine"), Options::smoke());
    }

    #[test]
    fn wrong_options_are_errors() {
        for wrong in [
            &["--rounds"][..],
            &["--rounds", "x"],
            &["--rounds", "0"],
            &["--fast"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
