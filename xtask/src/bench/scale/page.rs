//! The curves as tables, on a terminal and on a page, and as a file.

use serde_json::json;

use super::curve::{
    Curve, FEW, FLOOR, GROWTH_MAX, KEPT_MIN, MANY, Measured, Time, broken, verdict,
};
use crate::bench::figure::{Figure, short};
use crate::bench::summary::{OURS, SPREAD_NOTED};
use crate::report;

/// How the figures came to be.
pub(super) struct Run {
    pub(super) rounds: usize,
    pub(super) processors: usize,
    /// Of the machine, when it began and when it ended.
    pub(super) load: [Option<f64>; 2],
}

/// A table for each axis.
pub(super) fn printed(curves: &[Curve]) -> String {
    let text = |table: Table| format!("by {}\n{}\n", table.axis, table.text());
    tables(curves).into_iter().map(text).collect()
}

/// The page: what is run, whether the limits hold, the pictures, and a table for each axis.
pub(super) fn page(curves: &[Curve], run: &Run) -> String {
    let mut page = format!(
        "{HEAD}\n{}\n\n## The limits\n\n{}",
        ran(run),
        limits(curves)
    );
    let (workers, live): (Vec<Table>, Vec<Table>) = tables(curves)
        .into_iter()
        .partition(|table| table.is_of_workers);
    page += &half(WORKERS_HEAD, WORKERS_PICTURE, &workers);
    page += &half(LIVE_HEAD, LIVE_PICTURE, &live);
    page
}

fn ran(run: &Run) -> String {
    let load = |at: Option<f64>| at.map_or("unknown".to_owned(), |load| format!("{load:.1}"));
    let [began, ended] = run.load.map(load);
    format!(
        "Rounds of this run: {}, on a machine with {} processors, whose load was {began} when it began and {ended} when it ended.",
        run.rounds, run.processors
    )
}

fn limits(curves: &[Curve]) -> String {
    let (is_kept, line) = verdict(curves);
    let mut text = format!(
        "- With {MANY} workers, ours has at least {KEPT_MIN} of the throughput that it has with {FEW}, on every row.\n\
         - An operation costs at most {GROWTH_MAX} times what it costs beside the least that is live, once the growth of the floor is divided out.\n\n\
         The tables give the growth as it was measured, and beside it the one that is limited, *beyond floor*; where a row has no floor both are the same.\n\
         Why it is divided stands in [design/speed.md](design/speed.md).\n\n"
    );
    if is_kept {
        return format!("{text}Both are kept: {line}.\n");
    }
    text += &format!("Not kept: {line}.\n\n");
    text += &broken(curves).iter().map(breach).collect::<String>();
    text
}

/// A line for a row that breaks a limit, with what a peer does there.
fn breach((curve, what): &(&Curve, Measured)) -> String {
    let peers = curve.runtimes().into_iter();
    let peers = peers.filter(|one| ![OURS, FLOOR].contains(one));
    let peers =
        peers.filter_map(|peer| Some(format!("; {peer} {:.2}", curve.measured(peer)?.value())));
    let what = match what {
        Measured::Kept(share) => format!("keeps {share:.2} of the throughput"),
        Measured::Growth(beyond) => format!(
            "costs {:.2} times as much, {beyond:.2} with the floor divided out",
            curve.growth(OURS).unwrap_or(*beyond)
        ),
    };
    let peers = peers.collect::<String>();
    format!("- `{}` by {}: {what}{peers}.\n", curve.row, curve.axis)
}

fn half(head: &str, picture: &str, tables: &[Table]) -> String {
    let mut text = format!("\n{head}\n![cost by operation]({picture})\n");
    for table in tables {
        text += &format!("\n### By {}\n\n{}", table.axis, table.markdown());
    }
    text
}

/// The lines of one axis.
struct Table {
    axis: String,
    is_of_workers: bool,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn of(curves: &[&Curve]) -> Option<Self> {
        let first = curves.first()?;
        let mut head: Vec<String> = ["row", "runtime", "unit"].map(str::to_owned).to_vec();
        let points = first.medians(first.runtimes().first()?);
        head.extend(points.iter().map(|(point, _)| point.to_string()));
        match first.is_of_workers() {
            true => head.push(format!("{MANY} to {FEW}")),
            false => head.extend(["growth", "beyond floor"].map(str::to_owned)),
        }
        head.extend(["spread", ""].map(str::to_owned));
        let mut rows = Vec::new();
        for curve in curves {
            let runtimes = curve.runtimes().into_iter();
            rows.extend(runtimes.map(|runtime| cells(curve, runtime)));
        }
        Some(Self {
            axis: first.axis.clone(),
            is_of_workers: first.is_of_workers(),
            head,
            rows,
        })
    }

    fn text(&self) -> String {
        let head: Vec<&str> = self.head.iter().map(String::as_str).collect();
        report::table(&head, &self.rows)
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let is_word = |column: usize| column < WORDS || column + 1 == self.head.len();
        let rules = (0..self.head.len()).map(|column| match is_word(column) {
            true => "---".to_owned(),
            false => "---:".to_owned(),
        });
        let rows: String = self.rows.iter().map(|cells| line(cells)).collect();
        format!(
            "{}{}{rows}",
            line(&self.head),
            line(&rules.collect::<Vec<_>>())
        )
    }
}

fn tables(curves: &[Curve]) -> Vec<Table> {
    let mut axes: Vec<Vec<&Curve>> = Vec::new();
    for curve in curves {
        match axes.iter_mut().find(|axis| axis[0].axis == curve.axis) {
            Some(axis) => axis.push(curve),
            None => axes.push(vec![curve]),
        }
    }
    axes.iter().filter_map(|axis| Table::of(axis)).collect()
}

/// A line of a table: what counts.
fn cells(curve: &Curve, runtime: &str) -> Vec<String> {
    let figures = curve.figures(runtime, curve.counted());
    let spread = figures.iter().map(|(_, figure)| figure.spread);
    let spread = spread.fold(0.0, f64::max);
    let measured = curve.measured(runtime);
    let is_broken = runtime == OURS && measured.is_some_and(|what| !what.is_within());
    let unit = curve.counted().unit();
    let mut cells = [&curve.row, runtime, unit].map(str::to_owned).to_vec();
    cells.extend(figures.iter().map(|(_, figure)| short(figure.median)));
    let two_places = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
    if !curve.is_of_workers() {
        cells.push(two_places(curve.growth(runtime)));
    }
    cells.push(two_places(measured.map(Measured::value)));
    cells.push(format!("{:.0} %", spread * 100.0));
    cells.push(match (is_broken, spread > SPREAD_NOTED) {
        (true, _) => "beyond the limit".to_owned(),
        (false, true) => "wide spread".to_owned(),
        (false, false) => String::new(),
    });
    cells
}

/// All figures as a JSON array, one point of one runtime a line.
pub(super) fn json(curves: &[Curve]) -> String {
    let figure = |of: &Figure| json!({ "median": of.median, "min": of.min, "spread": of.spread });
    let mut lines = Vec::new();
    for curve in curves {
        for runtime in curve.runtimes() {
            let cpu = curve.figures(runtime, Time::Cpu);
            let wall = curve.figures(runtime, Time::Wall);
            lines.extend(cpu.iter().zip(&wall).map(|((point, cpu), (_, wall))| {
                let line = json!({
                    "row": curve.row,
                    "axis": curve.axis,
                    "runtime": runtime,
                    "point": point,
                    Time::Cpu.unit(): figure(cpu),
                    Time::Wall.unit(): figure(wall),
                });
                line.to_string()
            }));
        }
    }
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Columns that hold words, before the numbers.
const WORDS: usize = 3;

pub(super) const WORKERS_PICTURE: &str = "bench-scale-workers.svg";
pub(super) const LIVE_PICTURE: &str = "bench-scale-live.svg";

const HEAD: &str = "\
# Scale, measured

`cargo xtask bench scale` runs asupersync and tokio as something grows, and writes this page and its pictures.
A row is run at every point of its axis in each round, ours and tokio in turn, a process for each run; the figures are medians in nanoseconds an operation, the spread is the widest of the row's.
Each workload is the same on both, checks its own result, and has two workers unless it grows in workers.
The floor does the work of a row on one thread with no runtime: a queue of futures on the heap, or the system's readiness queue.
";

const WORKERS_HEAD: &str = "\
## More workers than processors

The rows are those of [bench-compare.md](bench-compare.md) that stand on tokio too, and one of many pairs; the time of the wall counts, since throughput does.
Left out are those that do nothing but wait for a given time, and the start of a runtime, which is of as many threads.
";

const LIVE_HEAD: &str = "\
## More that is live

Rows named *beside N* have one operation go on while N others wait; on the rest all N take part.
Processor time counts, since the wait for timers and clients is part of some rows; `--json FILE` writes both times of every row.
";

#[cfg(test)]
mod tests {
    use super::super::curve::tests::curve;
    use super::*;
    use serde_json::Value;

    fn curves() -> [Curve; 2] {
        let workers = [("tokio/2", 2.0), ("ours/2", 4.0), ("ours/16", 5.0)];
        [
            curve("workers", &workers),
            curve("regions", &[("ours/10", 4.0), ("ours/20", 9.0)]),
        ]
    }

    const RUN: Run = Run {
        rounds: 5,
        processors: 2,
        load: [Some(1.25), None],
    };

    #[test]
    fn the_tables_and_the_file_hold_every_point() {
        let text = printed(&curves());
        assert!(text.contains("by workers\n") && text.contains("by regions\n"));
        assert!(text.contains("16 to 2") && text.contains("0.80"), "{text}");
        assert!(text.contains("growth") && text.contains("2.25"), "{text}");
        assert_eq!(text.matches("beyond the limit").count(), 1, "{text}");
        let lines: Value = serde_json::from_str(&json(&curves())).expect("valid");
        assert_eq!(lines.as_array().map(Vec::len), Some(5));
        assert_eq!(lines[0]["wall ns/op"]["median"], 4.0);
    }

    #[test]
    fn the_page_says_what_is_not_kept_and_by_how_much() {
        let text = page(&curves(), &RUN);
        assert!(text.contains("Rounds of this run: 5, on a machine with 2 processors, whose load was 1.2 when it began and unknown when it ended."));
        assert!(
            text.contains(
                "\n- `a` by regions: costs 2.25 times as much, 2.25 with the floor divided out.\n"
            ),
            "{text}"
        );
        assert!(!text.contains("- `a` by workers"), "{text}");
        let kept = page(&curves()[..1], &RUN);
        assert!(kept.contains("Both are kept: worst 16-to-2 throughput 0.80 (a), limit 0.70.\n"));
    }

    #[test]
    fn the_growth_stands_undivided_beside_the_one_that_is_limited() {
        let costs = [
            ("ours/10", 4.0),
            ("ours/20", 20.0),
            ("floor/10", 1.0),
            ("floor/20", 2.0),
        ];
        let curves = [curve("live tasks", &costs)];
        let text = page(&curves, &RUN);
        assert!(text.contains("| growth | beyond floor |"), "{text}");
        assert!(text.contains("| 5.00 | 2.50 |"), "{text}");
        assert!(
            text.contains("costs 5.00 times as much, 2.50 with the floor divided out"),
            "{text}"
        );
        assert!(printed(&curves).contains("beyond floor"));
    }

    #[test]
    fn a_table_of_the_page_has_as_many_cells_in_each_line() {
        let text = page(&curves(), &RUN);
        let widths = |axis: &str| {
            let (_, rest) = text
                .split_once(&format!("### By {axis}\n\n"))
                .expect("stands there");
            let lines = rest.lines().take_while(|line| line.starts_with('|'));
            lines
                .map(|line| line.matches('|').count())
                .collect::<Vec<_>>()
        };
        assert_eq!(widths("regions"), [10, 10, 10]);
        assert!(text.contains("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"));
    }
}
