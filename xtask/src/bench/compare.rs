//! Ours beside tokio and smol, with two workers and with one: processor time, time of the wall, memory, allocations.
//!
//! A figure counts against the best peer with as many workers: processor time on every row, the time of the wall where somebody waits for it, resident bytes on the rows of memory.
//! What does not count is printed all the same, with the instructions of the runtimes with one worker where valgrind is installed.

mod chart;
mod figures;

use std::path::{Path, PathBuf};

use super::callgrind::{self, Run};
use super::summary::Row;
use super::{Options, measure, path_of, rows};
use crate::Verdict;
use crate::workspace::Workspace;
use figures::Line;

/// Builds the suite, runs it, prints the table, draws the chart, and says whether every figure that counts is ahead.
pub(super) fn run(arguments: &[String]) -> Verdict {
    let (svg, rest) = path_of(arguments, "--svg")?;
    let options = Options::parse(&rest, ROUNDS_USUAL)?;
    let target = Workspace::load()?.target;
    super::build(super::PACKAGE, super::BINARY)?;
    run_built(&options, svg, &target)
}

/// Every row once, briefly and without a limit, with the binary that stands in `target` already.
pub(crate) fn smoke(target: &Path) -> Verdict {
    run_built(&Options::smoke(), None, target)
}

fn run_built(options: &Options, svg: Option<PathBuf>, target: &Path) -> Verdict {
    let binary = target.join("release").join(super::BINARY);
    let rows = rows(&binary, SUITE, options)?;
    let is_counted = !options.is_smoke && callgrind::missing().is_none();
    let mut lines: Vec<Line> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        eprintln!("bench compare: {}/{} {}", index + 1, rows.len(), row.name);
        let samples = measure(&binary, SUITE, row, options)?;
        lines.extend(figures::lines(row, &samples));
        if is_counted && row.unit == figures::TIMED {
            lines.push(figures::instructions(row, &instructions(&binary, row)?));
        }
    }
    print!("{}", figures::table(&lines));
    if let Some(path) = &options.json {
        std::fs::write(path, figures::json(&lines))?;
    }
    if options.is_smoke {
        println!(
            "bench compare: {} rows ran, briefly and without a limit",
            rows.len()
        );
        return Ok(true);
    }
    print!("\n{GUARANTEES}\n");
    let svg = svg.unwrap_or_else(|| target.join("bench-compare.svg"));
    std::fs::write(&svg, chart::chart(&lines))?;
    println!("the chart is in {}", svg.display());
    let (is_ahead, line) = figures::verdict(&lines);
    println!("bench compare: {line}");
    Ok(is_ahead)
}

/// Instructions by operation on the runtimes with one worker, whose threads do not race.
fn instructions(
    binary: &Path,
    row: &Row,
) -> Result<Vec<(String, f64)>, Box<dyn std::error::Error>> {
    let mut counts = Vec::new();
    for runtime in row.runtimes.iter().filter(|name| figures::is_single(name)) {
        let run = Run {
            suite: SUITE,
            row: &row.name,
            runtime,
            ops: row.counted_ops,
            batches_more: BATCHES_COUNTED,
        };
        let counted = callgrind::count(binary, &run)?;
        counts.extend(counted.map(|counted| (runtime.clone(), counted.all)));
    }
    Ok(counts)
}

const SUITE: &str = "compare";
/// As many at least, for a median and a minimum that say something.
const ROUNDS_USUAL: usize = 7;
/// Batches whose instructions are counted.
const BATCHES_COUNTED: u64 = 2;

/// What each runtime promises while it is measured.
const GUARANTEES: &str = "\
what each keeps while it is measured           ours  tokio  smol
a task cannot outlive the one that owns it     yes   no     no    (their tasks are detached, or dropped by whoever holds the handle)
cancelling asks, and waits for the cleanup     yes   no     no    (they drop the future at the await where it stands)
cleanup is bounded by a budget                 yes   no     no
a deadline and a quota of polls for any task   yes   no     no    (tokio makes a task yield after a number of operations)
what was reserved and forgotten is reported    yes   no     no    (their permits go with the future, unseen)
a lost panic or error ends in the region       yes   no     no    (theirs is lost with the handle)
the same program runs on a deterministic host  yes   no     no
";
