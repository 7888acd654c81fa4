//! What an operation costs as something grows: workers, live tasks, live timers, regions, connections.
//!
//! A row is run at every point of its axis in each round, so that a slow minute of the machine meets all points alike.
//! Two limits, both on ours alone: with the most workers it keeps a share of the throughput that it has with two, and beside much that is live an operation costs no more than a few times what it costs beside little.
//! A peer stands in the tables and pictures because its memory is as far away and its workers are as many; the floor, because what it takes longer the machine takes.

mod curve;
mod page;
mod plot;

use std::path::Path;

use super::summary::Row;
use super::{Options, measure, path_of, rows};
use crate::Verdict;
use crate::workspace::Workspace;
use curve::Curve;
use page::Run;

/// Builds the suite, runs it, prints the tables, and says whether the limits hold; a run of all rows writes the page and its pictures into `docs`, any run with `--page FOLDER` there.
pub(super) fn run(arguments: &[String]) -> Verdict {
    let (folder, rest) = path_of(arguments, "--page")?;
    let options = Options::parse(&rest, ROUNDS_USUAL)?;
    let workspace = Workspace::load()?;
    super::build(super::PACKAGE, super::BINARY)?;
    if options.is_smoke {
        return smoke(&workspace.target);
    }
    let began = load();
    let curves = curves(&options, &workspace.target)?;
    print!("{}", page::printed(&curves));
    if let Some(path) = &options.json {
        std::fs::write(path, page::json(&curves))?;
    }
    let of_all = || options.only.is_none().then(|| workspace.root.join("docs"));
    if let Some(folder) = folder.or_else(of_all) {
        let run = Run {
            rounds: options.rounds,
            processors: std::thread::available_parallelism()?.get(),
            load: [began, load()],
        };
        write(&folder, &curves, &run)?;
    }
    let (is_kept, line) = curve::verdict(&curves);
    println!("bench scale: {line}");
    Ok(is_kept)
}

/// Every row at the last point of its axis, briefly and without a limit, with the binary that stands in `target` already.
pub(crate) fn smoke(target: &Path) -> Verdict {
    let curves = curves(&Options::smoke(), target)?;
    println!(
        "bench scale: {} rows ran, briefly and without a limit",
        curves.len()
    );
    Ok(true)
}

fn curves(options: &Options, target: &Path) -> Result<Vec<Curve>, Box<dyn std::error::Error>> {
    let binary = target.join("release").join(super::BINARY);
    let mut rows = rows(&binary, SUITE, options)?;
    if options.is_smoke {
        rows.iter_mut().for_each(keep_last);
    }
    let mut curves = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        eprintln!("bench scale: {}/{} {}", index + 1, rows.len(), row.name);
        curves.push(Curve::of(row, &measure(&binary, SUITE, row, options)?)?);
    }
    Ok(curves)
}

/// Leaves the last point of a row: a brief run has the same work at each, but for workers.
fn keep_last(row: &mut Row) {
    let point = |name: &String| Some(name.split_once('/')?.1.to_owned());
    if let Some(last) = row.runtimes.last().and_then(point) {
        row.runtimes
            .retain(|name| point(name).as_ref() == Some(&last));
    }
}

/// The page, and a picture for each of its two halves.
fn write(folder: &Path, curves: &[Curve], run: &Run) -> Result<(), Box<dyn std::error::Error>> {
    let (workers, live): (Vec<&Curve>, _) = curves.iter().partition(|one| one.is_of_workers());
    std::fs::write(folder.join(page::WORKERS_PICTURE), plot::plot(&workers))?;
    std::fs::write(folder.join(page::LIVE_PICTURE), plot::plot(&live))?;
    let page_path = folder.join(PAGE);
    std::fs::write(&page_path, page::page(curves, run))?;
    println!("the page is {}", page_path.display());
    Ok(())
}

/// Threads that run or want to, on average over the last minute, where the system says.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

const SUITE: &str = "scale";
const PAGE: &str = "bench-scale.md";
/// As many as give a median that one disturbed round does not move.
const ROUNDS_USUAL: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_brief_run_has_the_last_point_on_every_runtime() {
        let runtimes = ["ours/1", "tokio/1", "ours/16", "tokio/16"];
        let row = json!({"row": "a", "unit": "ns/op", "runtimes": runtimes, "axis": "workers"});
        let mut row = Row::parse(&row).expect("whole");
        keep_last(&mut row);
        assert_eq!(row.runtimes, ["ours/16", "tokio/16"]);
    }
}
