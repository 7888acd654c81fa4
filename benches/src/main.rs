//! Workloads of the kernel beside the same workloads on other runtimes.
//!
//! `bench-run list SUITE` prints the rows; `bench-run run SUITE --row ROW --runtime NAME [--smoke]` runs one of them once and prints one JSON object; with `--prompt` no timer of ours waits for others.
//! `bench-run count SUITE --row ROW --runtime NAME --ops N --batches N` runs it in that size, for a caller that counts instructions.
//! `bench-run talk TALK ADDRESS CONNECTIONS ACTIVE` is the other end of a server that is measured; see [`wire`].
//! `cargo xtask bench` calls it, one process per run and runtime, and compare.
//!
//! Each suite has a module for each runtime with the same function names, one per row; every runtime has two worker threads, unless its name says that it has one.
//! A workload runs in a task on a worker, never on the thread that blocks, and checks its own result.
//! Deliberately absent: statistics, limits and files; those are the caller's.
#![expect(unsafe_code, reason = "counting allocations needs a global allocator")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures with the clock of the machine"
)]

mod alloc;
mod compare;
mod kernel;
mod lab;
mod meter;
mod on_ours;
mod on_smol;
mod on_tokio;
mod rows;
mod scale;
mod shape;
mod sync;
mod waiting;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use asupersync_runtime::RuntimeBuilder;

use meter::Size;
use rows::{Row, Workload};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match answer(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            eprintln!("bench-run: {complaint}");
            ExitCode::from(2)
        }
    }
}

/// The line to print.
fn answer(arguments: &[String]) -> Result<String, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (suite, row, runtime, is_smoke) = match words.as_slice() {
        ["talk", rest @ ..] => return wire::talk(rest),
        ["list", suite] => return Ok(rows::list(&rows_of(suite)?).to_string()),
        [
            "count",
            suite,
            "--row",
            row,
            "--runtime",
            runtime,
            "--ops",
            ops,
            "--batches",
            batches,
        ] => return count(&row_of(suite, row)?, runtime, [ops, batches]),
        ["run", suite, "--row", row, "--runtime", runtime] => (*suite, *row, *runtime, false),
        ["run", suite, "--row", row, "--runtime", runtime, "--prompt"] => {
            on_ours::set_builder(|| RuntimeBuilder::new().timer_coalescing(Duration::ZERO));
            (*suite, *row, *runtime, false)
        }
        ["run", suite, "--row", row, "--runtime", runtime, "--smoke"] => {
            (*suite, *row, *runtime, true)
        }
        other => {
            return Err(format!(
                "`list SUITE`, `run SUITE --row ROW --runtime NAME [--smoke | --prompt]`, or `count SUITE --row ROW --runtime NAME --ops N --batches N`, not {other:?}"
            ));
        }
    };
    let row = row_of(suite, row)?;
    let (workload, live) = workload(&row, runtime)?;
    let size = match is_smoke {
        true => Size {
            live: live.min(row.smoke.ops),
            ..row.smoke
        },
        false => Size { live, ..row.full },
    };
    let sample = workload(size);
    Ok(row.report(&sample).to_string())
}

/// Runs a row in that size, without a look at the clock of the processors.
fn count(row: &Row, runtime: &str, [ops, batches]: [&str; 2]) -> Result<String, String> {
    let number = |text: &str| text.parse().map_err(|error| format!("`{text}`: {error}"));
    let (workload, live) = workload(row, runtime)?;
    let size = Size {
        ops: number(ops)?,
        batches: number(batches)?,
        live,
    };
    meter::leave_processor_time_out();
    let sample = workload(size);
    Ok(serde_json::json!({ "ops": sample.ops }).to_string())
}

/// The workload of a row on a runtime, whose shape becomes that of this process, and how much is live meanwhile.
fn workload(row: &Row, runtime: &str) -> Result<(Workload, u64), String> {
    let missing = || format!("`{runtime}` has no row `{}`", row.name);
    let run = row.run_as(runtime).ok_or_else(missing)?;
    shape::set(run.shape);
    let workload = row.workload(run.peer).ok_or_else(missing)?;
    Ok((workload, run.live))
}

fn row_of(suite: &str, row: &str) -> Result<Row, String> {
    let mut rows = rows_of(suite)?.into_iter();
    let found = rows.find(|known| known.name == row);
    found.ok_or_else(|| format!("no row `{row}`"))
}

fn rows_of(suite: &str) -> Result<Vec<Row>, String> {
    rows::suite(suite).ok_or_else(|| format!("no suite `{suite}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split('|').map(str::to_owned).collect();
        answer(&words)
    }

    #[test]
    fn every_row_runs_on_every_runtime_that_lists_it() {
        for suite in rows::SUITES {
            for row in rows_of(suite).expect("the suite exists") {
                if let Some(missing) = (row.missing)() {
                    eprintln!("SKIP {}: {missing}", row.name);
                    continue;
                }
                let mut runtimes = row.runtimes();
                // A brief run has the same work at every point, but for the workers.
                if let Some(most) = row.axis_most() {
                    runtimes.retain(|runtime| runtime.ends_with(&format!("/{most}")));
                }
                assert!(!runtimes.is_empty(), "{} has no runtime", row.name);
                let names = runtimes.iter();
                names.for_each(|runtime| check(suite, row.name, runtime));
            }
        }
    }

    fn check(suite: &str, row: &str, runtime: &str) {
        let printed = ask(&format!(
            "run|{suite}|--row|{row}|--runtime|{runtime}|--smoke"
        ));
        let value: serde_json::Value =
            serde_json::from_str(&printed.expect("runs")).expect("prints JSON");
        let figure = value["figure"].as_f64().expect("has a figure");
        assert!(
            figure.is_finite() && figure >= 0.0,
            "{row} on {runtime}: {figure}"
        );
        assert!(value["cpu_ns_per_op"].as_f64().expect("has processor time") > 0.0);
    }

    #[test]
    fn unknown_rows_runtimes_and_arguments_are_errors() {
        assert!(ask("run|kernel|--row|nothing|--runtime|tokio").is_err());
        assert!(ask("run|kernel|--row|yield 2 tasks|--runtime|nothing").is_err());
        assert!(ask("run|nothing|--row|yield 2 tasks|--runtime|tokio").is_err());
        let count = |row: &str, ops: &str| {
            ask(&format!(
                "count|compare|--row|{row}|--runtime|ours-1|--ops|{ops}|--batches|1"
            ))
        };
        assert!(count("checkpoint", "many").is_err());
        assert!(count("nothing", "1").is_err());
        assert!(ask("").is_err());
        assert!(ask("run|--row").is_err());
    }
}
