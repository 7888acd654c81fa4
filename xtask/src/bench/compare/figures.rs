//! From samples to medians, minima, spreads and ratios, and the table and the verdict made of them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::bench::figure::{Figure, short};
use crate::bench::summary::{Row, SPREAD_NOTED, Sample};
use crate::report;

/// Runtimes with as many workers, which are compared with each other.
pub(super) struct Class {
    pub(super) workers: &'static str,
    ours: &'static str,
    peers: [&'static str; 2],
}

pub(super) const CLASSES: [Class; 2] = [
    Class {
        workers: "2 workers",
        ours: "ours",
        peers: ["tokio", "smol"],
    },
    Class {
        workers: "1 worker",
        ours: "ours-1",
        peers: ["tokio-ct", "smol-1"],
    },
];

/// One figure of a row, on every runtime.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) row: String,
    pub(super) unit: &'static str,
    /// Whether ours has to be ahead.
    counts: bool,
    of: BTreeMap<String, Figure>,
}

impl Line {
    /// Ours divided by the best peer of the class; nothing if either is missing.
    ///
    /// Nothing for allocations either: most rows have next to none, and the ratio of two such says nothing.
    pub(super) fn ratio(&self, class: &Class) -> Option<f64> {
        if self.unit == ALLOCS {
            return None;
        }
        let median = |runtime: &&str| Some(self.of.get(*runtime)?.median);
        let best = class.peers.iter().filter_map(median).reduce(f64::min)?;
        let ours = median(&class.ours)?;
        match best {
            0.0 if ours == 0.0 => Some(1.0),
            _ => Some(ours / best),
        }
    }

    /// The ratios that have to be below 1.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static Class, f64)> {
        let classes = CLASSES.iter().filter(|_| self.counts);
        classes.filter_map(|class| Some((class, self.ratio(class)?)))
    }

    /// The widest of the runtimes.
    fn spread(&self) -> f64 {
        let spreads = self.of.values().map(|figure| figure.spread);
        spreads.fold(0.0, f64::max)
    }

    /// Whether ours is behind, whether the spread is wide, and the floor, where the row has one.
    fn note(&self) -> String {
        let is_behind = self.counted().any(|(_, ratio)| ratio >= 1.0);
        let is_wide = self.spread() > SPREAD_NOTED;
        let floor = self.of.get(FLOOR).map(|floor| floor.median);
        let floor = floor.filter(|floor| *floor > 0.0 && self.unit != ALLOCS);
        let notes = [
            is_behind.then(|| "behind".to_owned()),
            is_wide.then(|| "wide spread".to_owned()),
            floor.map(|floor| format!("floor {}", short(floor))),
        ];
        notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The lines of a row: what counts first.
pub(super) fn lines(row: &Row, samples: &[Sample]) -> Vec<Line> {
    let line = |unit, counts, figure: &dyn Fn(&Sample) -> Option<f64>| Line {
        row: row.name.clone(),
        unit,
        counts,
        of: figures(samples, figure),
    };
    let allocs = line(ALLOCS, false, &|sample| Some(sample.allocs_per_op));
    if row.unit != TIMED {
        let unit = if row.unit == PER_TASK {
            PER_TASK
        } else {
            PER_RUN
        };
        return vec![line(unit, true, &|sample| Some(sample.figure)), allocs];
    }
    let mut lines = vec![line(CPU, true, &|sample| Some(sample.cpu_ns_per_op))];
    if samples.iter().any(|sample| sample.percentiles_ns.is_some()) {
        for (place, unit, counts) in [
            (0, P50, row.is_latency),
            (1, P99, row.is_latency),
            (2, P999, false),
        ] {
            lines.push(line(unit, counts, &|sample| {
                Some(sample.percentiles_ns?[place])
            }));
        }
    } else {
        let wall = |sample: &Sample| Some(sample.wall_ns_per_op);
        lines.push(line(WALL, row.is_latency, &wall));
    }
    lines.push(allocs);
    lines
}

/// The line of the instructions, which were counted once each.
pub(super) fn instructions(row: &Row, counts: &[(String, f64)]) -> Line {
    let counts = counts.iter();
    Line {
        row: row.name.clone(),
        unit: INSTRUCTIONS,
        counts: false,
        of: counts
            .map(|(runtime, count)| (runtime.clone(), Figure::once(*count)))
            .collect(),
    }
}

/// Whether a runtime of that name has one worker.
pub(super) fn is_single(runtime: &str) -> bool {
    let single = &CLASSES[1];
    runtime == single.ours || single.peers.contains(&runtime)
}

fn figures(
    samples: &[Sample],
    figure: &dyn Fn(&Sample) -> Option<f64>,
) -> BTreeMap<String, Figure> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        if let Some(figure) = figure(sample) {
            all.entry(sample.runtime.clone()).or_default().push(figure);
        }
    }
    let all = all.into_iter();
    all.map(|(runtime, figures)| (runtime, Figure::of(figures)))
        .collect()
}

/// The printed table: medians, with the minima in brackets.
pub(super) fn table(lines: &[Line]) -> String {
    let mut head = vec!["row", "unit"];
    for class in &CLASSES {
        head.push(class.ours);
        head.extend(class.peers);
        head.push("ratio");
    }
    head.extend(["spread", ""]);
    let cell = |line: &Line, runtime: &str| {
        let figure = line.of.get(runtime);
        figure.map_or("-".to_owned(), |figure| {
            format!("{} ({})", short(figure.median), short(figure.min))
        })
    };
    let cells = |line: &Line| {
        let mut cells = vec![line.row.clone(), line.unit.to_owned()];
        for class in &CLASSES {
            cells.push(cell(line, class.ours));
            cells.extend(class.peers.iter().map(|peer| cell(line, peer)));
            let ratio = line.ratio(class);
            cells.push(ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        }
        cells.extend([format!("{:.0} %", line.spread() * 100.0), line.note()]);
        cells
    };
    report::table(&head, &lines.iter().map(cells).collect::<Vec<_>>())
}

/// All figures as a JSON array, one line and class a line.
pub(super) fn json(lines: &[Line]) -> String {
    let rows = lines.iter().flat_map(|line| {
        CLASSES.iter().map(|class| {
            let figure = |runtime: &&str| {
                let figure = line.of.get(*runtime)?;
                let (median, min, spread) = (figure.median, figure.min, figure.spread);
                Some(json!({ "median": median, "min": min, "spread": spread }))
            };
            let peers = class.peers.iter().map(|peer| (*peer, figure(peer)));
            json!({
                "row": line.row,
                "unit": line.unit,
                "workers": class.workers,
                "counts": line.counts,
                "ours": figure(&class.ours),
                "floor": figure(&FLOOR),
                "peers": peers.collect::<BTreeMap<_, _>>(),
                "ratio": line.ratio(class),
            })
            .to_string()
        })
    });
    format!("[\n{}\n]\n", rows.collect::<Vec<_>>().join(",\n"))
}

/// Whether ours is ahead wherever it counts, and the line that says so.
pub(super) fn verdict(lines: &[Line]) -> (bool, String) {
    let mut ratios: Vec<(f64, &Line, &Class)> = Vec::new();
    for line in lines {
        ratios.extend(line.counted().map(|(class, ratio)| (ratio, line, class)));
    }
    ratios.sort_by(|one, other| other.0.total_cmp(&one.0));
    let ahead = ratios.iter().filter(|(ratio, ..)| *ratio < 1.0).count();
    let worst = match ratios.first() {
        Some((ratio, line, class)) => format!(
            "worst ratio {ratio:.2} ({}, {}, {})",
            line.row, line.unit, class.workers
        ),
        None => "nothing can be compared".to_owned(),
    };
    let line = format!(
        "ahead of the best peer in {ahead} of {} figures, {worst}, limit 1.00",
        ratios.len()
    );
    (!ratios.is_empty() && ahead == ratios.len(), line)
}

/// The same work by the system's calls alone, on the rows that have it.
const FLOOR: &str = "floor";
/// The unit in which the suite lists a row of time.
pub(super) const TIMED: &str = "ns/op";
/// The unit in which it lists a row of memory by task.
const PER_TASK: &str = "B/task";
const PER_RUN: &str = "B";
const CPU: &str = "cpu ns/op";
const WALL: &str = "wall ns/op";
const INSTRUCTIONS: &str = "instr/op";
const ALLOCS: &str = "allocs/op";
const P50: &str = "p50 ns";
const P99: &str = "p99 ns";
const P999: &str = "p99.9 ns";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::Value;

    fn row(unit: &str, is_latency: bool) -> Row {
        let value = json!({"row": "a", "unit": unit, "runtimes": [], "is_latency": is_latency});
        Row::parse(&value).expect("whole")
    }

    fn sample(runtime: &str, cpu: f64, percentiles: Option<[f64; 3]>) -> Sample {
        let value = json!({
            "figure": cpu * 3.0,
            "cpu_ns_per_op": cpu,
            "wall_ns_per_op": cpu * 2.0,
            "allocs_per_op": 1.0,
            "percentiles_ns": percentiles,
        });
        Sample::parse(runtime, &value).expect("whole")
    }

    /// Lines of a row of time, from processor times.
    pub(in crate::bench::compare) fn timed(times: &[(&str, f64)]) -> Vec<Line> {
        let sample = |&(runtime, cpu): &(&str, f64)| sample(runtime, cpu, None);
        lines(
            &row("ns/op", false),
            &times.iter().map(sample).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn each_class_is_compared_with_its_own_best_peer() {
        let lines = timed(&[
            ("ours", 9.0),
            ("ours", 1.0),
            ("ours", 2.0),
            ("tokio", 8.0),
            ("smol", 4.0),
            ("ours-1", 3.0),
            ("tokio-ct", 2.0),
        ]);
        let ratios = CLASSES.each_ref().map(|class| lines[0].ratio(class));
        assert_eq!(ratios, [Some(0.5), Some(1.5)]);
        assert_eq!(lines[0].of["ours"].min, 1.0);
        assert_eq!(lines[0].spread(), 4.0);
        assert_eq!(lines[0].note(), "behind, wide spread");
        assert_eq!(timed(&[("ours", 1.0)])[0].ratio(&CLASSES[0]), None);
        let with_floor = timed(&[("ours", 2.0), ("tokio", 3.0), ("floor", 1.0)]);
        assert_eq!(with_floor[0].note(), "floor 1.00");
    }

    fn counting(unit: &str, is_latency: bool, percentiles: Option<[f64; 3]>) -> Vec<&'static str> {
        let lines = lines(&row(unit, is_latency), &[sample("ours", 1.0, percentiles)]);
        let counting = lines.iter().filter(|line| line.counts);
        counting.map(|line| line.unit).collect()
    }

    #[test]
    fn the_wall_counts_where_somebody_waits_for_it() {
        assert_eq!(counting("ns/op", false, None), [CPU]);
        assert_eq!(counting("ns/op", true, None), [CPU, WALL]);
        assert_eq!(counting("ns/op", true, Some([1.0; 3])), [CPU, P50, P99]);
        assert_eq!(counting("B/task", false, None), [PER_TASK]);
        assert_eq!(counting("B", false, None), [PER_RUN]);
    }

    #[test]
    fn instructions_are_those_of_one_worker_and_do_not_count() {
        let counts = [("ours-1".to_owned(), 3.0), ("smol-1".to_owned(), 2.0)];
        let line = instructions(&row("ns/op", false), &counts);
        assert_eq!(line.ratio(&CLASSES[0]), None);
        assert_eq!(line.ratio(&CLASSES[1]), Some(1.5));
        assert_eq!(line.counted().count(), 0);
        assert!(is_single("tokio-ct") && !is_single("tokio") && !is_single("floor"));
    }

    #[test]
    fn one_figure_behind_and_none_to_compare_fall_short() {
        let good = timed(&[
            ("ours", 1.0),
            ("tokio", 2.0),
            ("ours-1", 1.0),
            ("smol-1", 4.0),
        ]);
        assert_eq!(
            verdict(&good),
            (
                true,
                "ahead of the best peer in 2 of 2 figures, worst ratio 0.50 (a, cpu ns/op, 2 workers), limit 1.00"
                    .to_owned()
            )
        );
        let even = timed(&[("ours", 2.0), ("tokio", 2.0)]);
        assert!(!verdict(&[good, even].concat()).0);
        assert!(!verdict(&timed(&[("ours", 1.0)])).0);
    }

    #[test]
    fn the_table_and_the_file_hold_medians_minima_and_dashes() {
        let lines = timed(&[("ours", 1.0), ("ours", 3.0), ("tokio", 4.0)]);
        let table = table(&lines);
        assert!(table.contains("2.00 (1.00)"), "{table}");
        assert!(table.contains("0.50") && table.contains(" - "), "{table}");
        let rows: Value = serde_json::from_str(&json(&lines)).expect("valid");
        assert_eq!(rows.as_array().map(Vec::len), Some(lines.len() * 2));
        assert_eq!(rows[0]["ours"]["min"], 1.0);
        assert_eq!(rows[0]["peers"]["smol"], Value::Null);
        assert_eq!(rows[0]["ratio"], 0.5);
        assert_eq!(rows[1]["ratio"], Value::Null);
    }
}
