//! From samples to the cost at each point of an axis, and whether it keeps within the limits.

use std::collections::BTreeMap;

use crate::bench::figure::Figure;
use crate::bench::summary::{OURS, Row, Sample};

/// What one row costs along its axis.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) row: String,
    pub(super) axis: String,
    /// By runtime, then by point.
    of: BTreeMap<String, BTreeMap<u64, Cost>>,
}

/// By operation, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu: Figure,
    wall: Figure,
}

/// The time of all processors together, or that of the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Cpu,
    Wall,
}

impl Curve {
    /// # Errors
    /// If the row has no axis, or a runtime no point behind its name.
    pub(super) fn of(row: &Row, samples: &[Sample]) -> Result<Self, String> {
        let axis = row.axis.clone();
        let axis = axis.ok_or_else(|| format!("`{}` has no axis", row.name))?;
        let mut all: BTreeMap<(String, u64), Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            let point = sample.runtime.split_once('/');
            let point = point.and_then(|(runtime, point)| Some((runtime, point.parse().ok()?)));
            let (runtime, point) =
                point.ok_or_else(|| format!("`{}` has no point", sample.runtime))?;
            let rounds = all.entry((runtime.to_owned(), point)).or_default();
            rounds.push(sample);
        }
        let mut of: BTreeMap<String, BTreeMap<u64, Cost>> = BTreeMap::new();
        for ((runtime, point), rounds) in all {
            let points = of.entry(runtime).or_default();
            points.insert(point, Cost::of(&rounds));
        }
        Ok(Self {
            row: row.name.clone(),
            axis,
            of,
        })
    }

    /// Whether it grows in workers.
    pub(super) fn is_of_workers(&self) -> bool {
        self.axis == WORKERS
    }

    /// What counts: over workers the wall, since throughput does.
    pub(super) fn counted(&self) -> Time {
        match self.is_of_workers() {
            true => Time::Wall,
            false => Time::Cpu,
        }
    }

    /// Ours first, then by name.
    pub(super) fn runtimes(&self) -> Vec<&str> {
        let mut runtimes: Vec<&str> = self.of.keys().map(String::as_str).collect();
        runtimes.sort_by_key(|runtime| *runtime != OURS);
        runtimes
    }

    /// From the least point to the most.
    pub(super) fn figures(&self, runtime: &str, time: Time) -> Vec<(u64, Figure)> {
        let costs = self.of.get(runtime).into_iter().flatten();
        costs
            .map(|(point, cost)| (*point, cost.figure(time)))
            .collect()
    }

    /// The medians of what counts, from the least point to the most.
    pub(super) fn medians(&self, runtime: &str) -> Vec<(u64, f64)> {
        let figures = self.figures(runtime, self.counted()).into_iter();
        figures
            .map(|(point, figure)| (point, figure.median))
            .collect()
    }

    /// The throughput with the most workers as a share of that with [`FEW`].
    pub(super) fn kept(&self, runtime: &str) -> Option<f64> {
        let costs = self.of.get(runtime).filter(|_| self.is_of_workers())?;
        let (_, most) = costs.last_key_value()?;
        Some(costs.get(&FEW)?.wall.median / most.wall.median)
    }

    /// The highest cost as a multiple of that at the least point.
    pub(super) fn growth(&self, runtime: &str) -> Option<f64> {
        let multiples = self.multiples(runtime).into_iter();
        let growth = multiples.map(|(_, multiple)| multiple).reduce(f64::max);
        growth.filter(|_| !self.is_of_workers())
    }

    /// The growth that is left once that of the floor at the same point is divided out; where there is no floor, the growth.
    ///
    /// The floor does the same work with no runtime: by the factor by which it slows down, the machine's memory or sockets do.
    pub(super) fn growth_beyond_floor(&self, runtime: &str) -> Option<f64> {
        if self.is_of_workers() {
            return None;
        }
        let floor = self.multiples(FLOOR);
        let share = |(point, multiple): (u64, f64)| {
            let of_floor = floor.iter().find(|(known, _)| *known == point);
            multiple / of_floor.map_or(1.0, |(_, multiple)| multiple.max(1.0))
        };
        self.multiples(runtime)
            .into_iter()
            .map(share)
            .reduce(f64::max)
    }

    /// What counts, as multiples of that at the least point.
    fn multiples(&self, runtime: &str) -> Vec<(u64, f64)> {
        let medians = self.medians(runtime);
        let least = medians.first().map_or(1.0, |(_, least)| *least);
        let medians = medians.into_iter();
        medians.map(|(point, cost)| (point, cost / least)).collect()
    }

    /// The one limit that the row has, and what of it was measured on a runtime.
    pub(super) fn measured(&self, runtime: &str) -> Option<Measured> {
        let kept = self.kept(runtime).map(Measured::Kept);
        kept.or_else(|| self.growth_beyond_floor(runtime).map(Measured::Growth))
    }
}

impl Cost {
    fn of(rounds: &[&Sample]) -> Self {
        let figure = |of: fn(&Sample) -> f64| Figure::of(rounds.iter().map(|s| of(s)).collect());
        Self {
            cpu: figure(|sample| sample.cpu_ns_per_op),
            wall: figure(|sample| sample.wall_ns_per_op),
        }
    }

    const fn figure(&self, time: Time) -> Figure {
        match time {
            Time::Cpu => self.cpu,
            Time::Wall => self.wall,
        }
    }
}

impl Time {
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "cpu ns/op",
            Self::Wall => "wall ns/op",
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measured {
    /// A share of the throughput.
    Kept(f64),
    /// A multiple of the cost, with the floor's divided out.
    Growth(f64),
}

impl Measured {
    pub(super) const fn value(self) -> f64 {
        match self {
            Self::Kept(value) | Self::Growth(value) => value,
        }
    }

    pub(super) fn is_within(self) -> bool {
        match self {
            Self::Kept(share) => share >= KEPT_MIN,
            Self::Growth(growth) => growth <= GROWTH_MAX,
        }
    }
}

/// The rows of ours that break a limit, the worst of each kind first.
pub(super) fn broken(curves: &[Curve]) -> Vec<(&Curve, Measured)> {
    let measured = curves
        .iter()
        .filter_map(|one| Some((one, one.measured(OURS)?)));
    let mut broken: Vec<_> = measured.filter(|(_, what)| !what.is_within()).collect();
    broken.sort_by(|(_, one), (_, other)| match (one, other) {
        (Measured::Kept(one), Measured::Kept(other)) => one.total_cmp(other),
        (Measured::Growth(one), Measured::Growth(other)) => other.total_cmp(one),
        (Measured::Kept(_), Measured::Growth(_)) => std::cmp::Ordering::Less,
        (Measured::Growth(_), Measured::Kept(_)) => std::cmp::Ordering::Greater,
    });
    broken
}

/// Whether ours keeps within the limits on every row, and the line that says so.
pub(super) fn verdict(curves: &[Curve]) -> (bool, String) {
    let of = |curve: &Curve| curve.measured(OURS);
    let kept = curves
        .iter()
        .filter_map(|curve| Some((curve.kept(OURS)?, curve.row.as_str())))
        .min_by(|one, other| one.0.total_cmp(&other.0));
    let growth = curves
        .iter()
        .filter_map(|curve| Some((curve.growth_beyond_floor(OURS)?, curve)))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let kept = kept.map(|(share, row)| {
        format!("worst {MANY}-to-{FEW} throughput {share:.2} ({row}), limit {KEPT_MIN:.2}")
    });
    let growth = growth.and_then(|(beyond, curve)| {
        let growth = curve.growth(OURS)?;
        Some(format!(
            "worst growth beyond the floor {beyond:.2} ({}, undivided {growth:.2}), limit {GROWTH_MAX:.2}",
            curve.row
        ))
    });
    let parts: Vec<String> = kept.into_iter().chain(growth).collect();
    if parts.is_empty() {
        return (false, "nothing of ours was measured".to_owned());
    }
    let is_kept = curves.iter().filter_map(of).all(Measured::is_within);
    (is_kept, parts.join("; "))
}

/// The axis on which the wall counts.
const WORKERS: &str = "workers";
/// As many workers as the throughput is compared with.
pub(super) const FEW: u64 = 2;
/// As many as the axis ends with.
pub(super) const MANY: u64 = 16;
/// The share of the throughput that has to be kept.
pub(super) const KEPT_MIN: f64 = 0.7;
/// The growth that is still called flat: beside a thousand times as much, what an operation reads of it lies a cache further away.
pub(super) const GROWTH_MAX: f64 = 2.0;
/// The name under which the work without a runtime stands.
pub(super) const FLOOR: &str = "floor";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A curve from its axis, and costs by runtime and point; processor time is half of the wall's.
    pub(in crate::bench::scale) fn curve(axis: &str, costs: &[(&str, f64)]) -> Curve {
        let row = json!({"row": "a", "unit": "ns/op", "runtimes": [], "axis": axis});
        let sample = |&(runtime, wall): &(&str, f64)| {
            let value = json!({
                "figure": wall,
                "cpu_ns_per_op": wall / 2.0,
                "wall_ns_per_op": wall,
                "allocs_per_op": 0.0,
            });
            Sample::parse(runtime, &value).expect("whole")
        };
        let samples: Vec<Sample> = costs.iter().map(sample).collect();
        Curve::of(&Row::parse(&row).expect("whole"), &samples).expect("has points")
    }

    #[test]
    fn throughput_is_that_with_the_most_workers_by_that_with_two() {
        let kept = curve(
            WORKERS,
            &[("ours/2", 70.0), ("ours/4", 900.0), ("ours/16", 100.0)],
        );
        assert_eq!(kept.measured(OURS), Some(Measured::Kept(0.7)));
        assert_eq!(kept.growth(OURS), None);
        let (is_kept, line) = verdict(&[kept]);
        assert!(is_kept);
        assert_eq!(line, "worst 16-to-2 throughput 0.70 (a), limit 0.70");
    }

    #[test]
    fn a_row_that_collapses_breaks_the_limit_whatever_a_peer_does() {
        let collapsed = curve(WORKERS, &[("ours/2", 69.0), ("ours/16", 100.0)]);
        let peer = curve(WORKERS, &[("tokio/2", 1.0), ("tokio/16", 100.0)]);
        assert!(!verdict(std::slice::from_ref(&collapsed)).0);
        assert_eq!(
            verdict(std::slice::from_ref(&peer)),
            (false, "nothing of ours was measured".to_owned())
        );
        let kept = curve(WORKERS, &[("ours/2", 1.0), ("ours/16", 1.0)]);
        assert!(verdict(&[kept.clone(), peer]).0);
        assert!(!verdict(&[kept, collapsed]).0);
    }

    #[test]
    fn growth_is_the_highest_median_by_that_at_the_least_point() {
        let grows = curve(
            "live tasks",
            &[
                ("ours/1000", 9.0),
                ("ours/1000", 1.0),
                ("ours/1000", 2.0),
                ("ours/10000", 4.2),
                ("ours/100000", 3.0),
                ("tokio/1000", 1.0),
            ],
        );
        assert_eq!(grows.growth(OURS), Some(2.1));
        assert_eq!(
            grows.medians(OURS),
            [(1_000, 1.0), (10_000, 2.1), (100_000, 1.5)]
        );
        let (is_kept, line) = verdict(&[grows]);
        assert!(!is_kept);
        assert_eq!(
            line,
            "worst growth beyond the floor 2.10 (a, undivided 2.10), limit 2.00"
        );
    }

    #[test]
    fn what_slows_the_floor_down_is_not_the_runtimes() {
        let far = |ours: f64, floor: f64| {
            let costs = [
                ("ours/10", 10.0),
                ("ours/20", ours),
                ("floor/10", 4.0),
                ("floor/20", floor),
            ];
            let curve = curve("regions", &costs);
            [curve.growth(OURS), curve.growth_beyond_floor(OURS)]
        };
        assert_eq!(far(20.0, 4.0), [Some(2.0), Some(2.0)]);
        assert_eq!(far(20.0, 8.0), [Some(2.0), Some(1.0)]);
        assert_eq!(far(80.0, 16.0), [Some(8.0), Some(2.0)]);
        assert_eq!(
            far(20.0, 1.0),
            [Some(2.0), Some(2.0)],
            "a floor that falls takes nothing away"
        );
    }

    #[test]
    fn what_breaks_a_limit_stands_worst_first() {
        let kept = |share: f64| curve(WORKERS, &[("ours/2", share), ("ours/16", 1.0)]);
        let grown = |by: f64| curve("regions", &[("ours/1", 1.0), ("ours/2", by)]);
        let curves = [
            grown(3.0),
            kept(0.5),
            grown(1.0),
            kept(0.25),
            grown(4.0),
            kept(0.7),
        ];
        let broken: Vec<Measured> = broken(&curves).iter().map(|(_, what)| *what).collect();
        assert_eq!(
            broken,
            [
                Measured::Kept(0.25),
                Measured::Kept(0.5),
                Measured::Growth(4.0),
                Measured::Growth(3.0)
            ]
        );
    }

    #[test]
    fn a_row_without_an_axis_or_a_point_is_an_error() {
        let row = json!({"row": "a", "unit": "ns/op", "runtimes": []});
        let row = Row::parse(&row).expect("whole");
        assert!(Curve::of(&row, &[]).is_err());
        let value =
            json!({"figure": 1, "cpu_ns_per_op": 1, "wall_ns_per_op": 1, "allocs_per_op": 1});
        let sample = Sample::parse("ours", &value).expect("whole");
        let row = json!({"row": "a", "unit": "ns/op", "runtimes": [], "axis": "workers"});
        let row = Row::parse(&row).expect("whole");
        assert!(Curve::of(&row, &[sample]).is_err());
    }
}
