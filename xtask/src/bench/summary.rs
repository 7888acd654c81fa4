//! From samples to medians, spreads, ratios, and a verdict.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::report;

/// A row of a suite, as its binary lists it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Unit of the figure that is compared: `ns/op` or `B/task`.
    pub(super) unit: String,
    /// Whether the time of the wall counts beside that of the processors.
    pub(super) is_latency: bool,
    /// Operations of a batch whose instructions are counted.
    pub(super) counted_ops: u64,
    /// Ours first, if it takes part.
    pub(super) runtimes: Vec<String>,
    /// What it is measured over, if anything; the runtimes then have a point behind their names.
    pub(super) axis: Option<String>,
    /// What it needs and this machine lacks.
    pub(super) missing: Option<String>,
}

/// What one process measured.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) runtime: String,
    /// The figure that is compared, in the row's unit.
    pub(super) figure: f64,
    pub(super) cpu_ns_per_op: f64,
    pub(super) wall_ns_per_op: f64,
    pub(super) allocs_per_op: f64,
    /// The median, the 99th and the 99.9th percentile, in nanoseconds, where the row times each operation.
    pub(super) percentiles_ns: Option<[f64; 3]>,
}

/// Medians of one row.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    row: String,
    /// The compared figure, then processor time, then allocations.
    measures: [Measure; 3],
}

/// Medians of one figure by runtime.
#[derive(Clone, Debug)]
struct Measure {
    unit: String,
    ours: Option<f64>,
    peers: BTreeMap<String, f64>,
    /// Widest (max - min) / median of the runtimes.
    spread: f64,
}

impl Row {
    pub(super) fn parse(value: &Value) -> Result<Self, Box<dyn std::error::Error>> {
        let text = |key: &str| {
            value[key]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("a row has no `{key}`"))
        };
        let runtimes = value["runtimes"]
            .as_array()
            .ok_or("a row has no `runtimes`")?;
        let mut runtimes: Vec<String> = runtimes
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        runtimes.sort_by_key(|runtime| runtime != OURS);
        Ok(Self {
            name: text("row")?,
            unit: text("unit")?,
            is_latency: value["is_latency"].as_bool().unwrap_or_default(),
            counted_ops: value["counted_ops"].as_u64().unwrap_or(1),
            runtimes,
            axis: value["axis"].as_str().map(str::to_owned),
            missing: value["missing"].as_str().map(str::to_owned),
        })
    }
}

impl Sample {
    pub(super) fn parse(runtime: &str, value: &Value) -> Result<Self, Box<dyn std::error::Error>> {
        let number = |key: &str| {
            value[key]
                .as_f64()
                .ok_or_else(|| format!("a sample has no number `{key}`: {value}"))
        };
        Ok(Self {
            runtime: runtime.to_owned(),
            figure: number("figure")?,
            cpu_ns_per_op: number("cpu_ns_per_op")?,
            wall_ns_per_op: number("wall_ns_per_op")?,
            allocs_per_op: number("allocs_per_op")?,
            percentiles_ns: serde_json::from_value(value["percentiles_ns"].clone())?,
        })
    }
}

impl Summary {
    pub(super) fn of(row: &Row, samples: &[Sample]) -> Self {
        let measure = |unit: &str, figure: fn(&Sample) -> f64| Measure::of(unit, samples, figure);
        let measures = [
            measure(&row.unit, |sample| sample.figure),
            measure("cpu ns/op", |sample| sample.cpu_ns_per_op),
            measure("allocs/op", |sample| sample.allocs_per_op),
        ];
        Self {
            row: row.name.clone(),
            measures,
        }
    }

    fn main(&self) -> &Measure {
        &self.measures[0]
    }
}

impl Measure {
    fn of(unit: &str, samples: &[Sample], figure: fn(&Sample) -> f64) -> Self {
        let mut figures: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for sample in samples {
            figures
                .entry(&sample.runtime)
                .or_default()
                .push(figure(sample));
        }
        let mut measure = Self {
            unit: unit.to_owned(),
            ours: None,
            peers: BTreeMap::new(),
            spread: 0.0,
        };
        for (runtime, mut figures) in figures {
            let median = median(&mut figures);
            measure.spread = measure.spread.max(spread(&figures, median));
            if runtime == OURS {
                measure.ours = Some(median);
            } else {
                measure.peers.insert(runtime.to_owned(), median);
            }
        }
        measure
    }

    /// Ours divided by the best peer; nothing if either is missing.
    fn ratio(&self) -> Option<f64> {
        self.ratio_to(None)
    }

    /// Ours divided by one peer, or by the best.
    fn ratio_to(&self, peer: Option<&str>) -> Option<f64> {
        let best = match peer {
            Some(peer) => *self.peers.get(peer)?,
            None => self.peers.values().copied().reduce(f64::min)?,
        };
        let ours = self.ours?;
        match best {
            0.0 if ours == 0.0 => Some(1.0),
            _ => Some(ours / best),
        }
    }
}

/// Sorts and takes the middle; of an even number the mean of the middle two.
pub(super) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// (max - min) / median of sorted figures.
pub(super) fn spread(sorted: &[f64], median: f64) -> f64 {
    match (sorted.first(), sorted.last()) {
        (Some(min), Some(max)) if median > 0.0 => (max - min) / median,
        _ => 0.0,
    }
}

/// The printed table: the compared figure first, processor time and allocations behind it.
pub(super) fn table(summaries: &[Summary]) -> String {
    let peers = summaries
        .iter()
        .flat_map(|summary| summary.main().peers.keys());
    let peers: std::collections::BTreeSet<&str> = peers.map(String::as_str).collect();
    let runtimes: Vec<&str> = [OURS].into_iter().chain(peers).collect();
    let mut head = vec!["row".to_owned(), "unit".to_owned()];
    head.extend(runtimes.iter().map(|&runtime| runtime.to_owned()));
    head.extend(["ratio".to_owned(), "spread".to_owned()]);
    head.extend(runtimes.iter().map(|runtime| format!("cpu {runtime}")));
    head.extend(runtimes.iter().map(|runtime| format!("allocs {runtime}")));
    head.push(String::new());
    let figure = |value: Option<f64>| {
        value.map_or("-".to_owned(), |value| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value => format!("{value:.2}"),
        })
    };
    let of = |measure: &Measure, runtime: &str| {
        if runtime == OURS {
            measure.ours
        } else {
            measure.peers.get(runtime).copied()
        }
    };
    let line = |summary: &Summary| {
        let [main, cpu, allocs] = &summary.measures;
        let mut cells = vec![summary.row.clone(), main.unit.clone()];
        cells.extend(runtimes.iter().map(|runtime| figure(of(main, runtime))));
        cells.push(figure(main.ratio()));
        cells.push(format!("{:.0} %", main.spread * 100.0));
        cells.extend(runtimes.iter().map(|runtime| figure(of(cpu, runtime))));
        cells.extend(runtimes.iter().map(|runtime| figure(of(allocs, runtime))));
        cells.push(if main.spread > SPREAD_NOTED {
            "wide spread".to_owned()
        } else {
            String::new()
        });
        cells
    };
    let rows: Vec<Vec<String>> = summaries.iter().map(line).collect();
    report::table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

/// All measures as a JSON array, one row a line.
pub(super) fn json(summaries: &[Summary]) -> String {
    let rows = summaries.iter().flat_map(|summary| {
        summary.measures.iter().map(|measure| {
            json!({
                "row": summary.row,
                "unit": measure.unit,
                "ours": measure.ours,
                "peers": measure.peers,
                "ratio": measure.ratio(),
                "spread": measure.spread,
            })
            .to_string()
        })
    });
    format!("[\n{}\n]\n", rows.collect::<Vec<_>>().join(",\n"))
}

/// Whether every row has a ratio within the limit, and the line that says so.
///
/// `beside` names the peer that counts, on the rows that it has; otherwise the best of all counts, on every row.
pub(super) fn verdict(summaries: &[Summary], limit: f64, beside: Option<&str>) -> (bool, String) {
    let ratios = || {
        let compared = summaries
            .iter()
            .filter(|summary| beside.is_none_or(|peer| summary.main().peers.contains_key(peer)));
        compared.map(|summary| (summary.main().ratio_to(beside), summary.row.as_str()))
    };
    let missing = ratios().filter(|(ratio, _)| ratio.is_none()).count();
    let worst = ratios()
        .filter_map(|(ratio, row)| Some((ratio?, row)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let tail = match beside {
        Some(peer) => format!("limit {limit:.2} beside {peer}"),
        None => format!("limit {limit:.2}"),
    };
    match worst {
        None => (false, format!("no row has both ours and a peer, {tail}")),
        Some((ratio, row)) if missing > 0 => (
            false,
            format!("worst ratio {ratio:.2} ({row}), {missing} rows cannot be compared, {tail}"),
        ),
        Some((ratio, row)) => (
            ratio <= limit,
            format!("worst ratio {ratio:.2} ({row}), {tail}"),
        ),
    }
}

/// Whether virtual time runs fast enough in a row whose operation is a simulated second, and the line that says so.
pub(super) fn pace(summaries: &[Summary], row: &str, factor_min: f64) -> (bool, String) {
    let found = summaries.iter().find(|summary| summary.row == row);
    match found.and_then(|summary| summary.main().ours) {
        Some(wall_ns) if wall_ns > 0.0 => {
            let factor = NANOS_A_SECOND / wall_ns;
            let line =
                format!("simulated time runs {factor:.0} x real time, limit {factor_min:.0}");
            (factor >= factor_min, line)
        }
        Some(_) | None => (
            false,
            format!("`{row}` was not measured, limit {factor_min:.0}"),
        ),
    }
}

const NANOS_A_SECOND: f64 = 1e9;

/// The name under which our runtime stands.
pub(super) const OURS: &str = "ours";

/// Above this share of the median, a row is marked as noisy.
pub(super) const SPREAD_NOTED: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            unit: "ns/op".to_owned(),
            is_latency: false,
            counted_ops: 1,
            runtimes: vec![OURS.to_owned()],
            axis: None,
            missing: None,
        }
    }

    fn summary(name: &str, figures: &[(&str, f64)]) -> Summary {
        let sample = |&(runtime, figure): &(&str, f64)| Sample {
            runtime: runtime.to_owned(),
            figure,
            cpu_ns_per_op: figure * 2.0,
            wall_ns_per_op: figure,
            allocs_per_op: 1.0,
            percentiles_ns: None,
        };
        Summary::of(&row(name), &figures.iter().map(sample).collect::<Vec<_>>())
    }

    #[test]
    fn medians_are_compared_with_the_best_peer() {
        let summary = summary(
            "a",
            &[
                ("ours", 9.0),
                ("ours", 1.0),
                ("ours", 2.0),
                ("tokio", 4.0),
                ("slow", 8.0),
            ],
        );
        assert_eq!(summary.main().ours, Some(2.0));
        assert_eq!(summary.main().ratio(), Some(0.5));
        assert_eq!(summary.main().spread, 4.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn the_limit_decides_and_the_worst_row_is_named() {
        let good = summary("a", &[("ours", 1.0), ("tokio", 1.0)]);
        let bad = summary("b", &[("ours", 3.1), ("tokio", 2.0)]);
        assert_eq!(
            verdict(std::slice::from_ref(&good), 1.5, None),
            (true, "worst ratio 1.00 (a), limit 1.50".to_owned())
        );
        assert_eq!(
            verdict(&[good, bad], 1.5, None),
            (false, "worst ratio 1.55 (b), limit 1.50".to_owned())
        );
    }

    #[test]
    fn a_row_without_ours_or_without_a_peer_falls_short() {
        let alone = summary("a", &[("tokio", 1.0)]);
        let both = summary("b", &[("ours", 1.0), ("tokio", 1.0)]);
        assert!(!verdict(std::slice::from_ref(&alone), 1.5, None).0);
        let (is_met, line) = verdict(&[alone, both], 1.5, None);
        assert!(!is_met);
        assert!(line.contains("1 rows cannot be compared"));
        assert!(!verdict(&[], 1.5, None).0);
    }

    #[test]
    fn rows_are_written_with_their_six_keys() {
        let text = json(&[summary("a", &[("ours", 1.0), ("tokio", 2.0)])]);
        let rows: Value = serde_json::from_str(&text).expect("valid");
        assert_eq!(rows.as_array().map(Vec::len), Some(3));
        assert_eq!(
            rows[0],
            json!({"row": "a", "unit": "ns/op", "ours": 1.0, "peers": {"tokio": 2.0}, "ratio": 0.5, "spread": 0.0})
        );
        assert_eq!(rows[1]["unit"], "cpu ns/op");
    }

    #[test]
    fn a_wide_spread_is_marked() {
        let wide = summary("a", &[("ours", 1.0), ("ours", 2.0), ("ours", 1.5)]);
        assert!(table(&[wide]).contains("wide spread"));
        let narrow = summary("a", &[("ours", 1.0), ("ours", 1.1), ("ours", 1.2)]);
        assert!(!table(&[narrow]).contains("wide spread"));
    }

    #[test]
    fn ours_runs_first_and_broken_answers_are_errors() {
        let value = json!({"row": "a", "unit": "ns/op", "runtimes": ["tokio", "ours"]});
        assert_eq!(
            Row::parse(&value).expect("whole").runtimes,
            ["ours", "tokio"]
        );
        assert!(Row::parse(&json!({"row": "a"})).is_err());
        assert!(Sample::parse("ours", &json!({"figure": 1})).is_err());
    }

    #[test]
    fn a_pace_that_is_too_slow_or_not_measured_falls_short() {
        let row = [summary(
            "idle",
            &[("ours", 5e5), ("ours", 4e5), ("ours", 9e5)],
        )];
        let (is_met, line) = pace(&row, "idle", 1_000.0);
        assert!(is_met);
        assert_eq!(line, "simulated time runs 2000 x real time, limit 1000");
        assert!(!pace(&row, "idle", 2_001.0).0);
        assert!(!pace(&row, "busy", 1_000.0).0);
        assert!(!pace(&[summary("idle", &[("ours", 0.0)])], "idle", 1_000.0).0);
    }

    #[test]
    fn a_suite_may_count_one_peer_on_the_rows_that_it_has() {
        let both = summary("a", &[("ours", 10.0), ("tokio", 20.0), ("flume", 5.0)]);
        let without = summary("b", &[("ours", 10.0), ("flume", 5.0)]);
        let (is_met, line) = verdict(&[both.clone(), without.clone()], 1.0, Some("tokio"));
        assert!(is_met, "{line}");
        assert_eq!(line, "worst ratio 0.50 (a), limit 1.00 beside tokio");
        assert!(!verdict(&[both], 1.0, None).0);
        assert!(!verdict(&[without], 1.0, Some("tokio")).0);
    }
}
