//! The rows: name, unit, size, and the workload on each runtime.

use serde_json::{Value, json};

use crate::meter::{Sample, Size};
use crate::shape::{self, Shape};
use crate::{compare, kernel, lab, scale, sync};

/// A workload on one runtime.
pub(crate) type Workload = fn(Size) -> Sample;

/// One line of the comparison.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    figure: Figure,
    pub(crate) full: Size,
    pub(crate) smoke: Size,
    /// Ours first.
    workloads: &'static [(&'static str, Workload)],
    /// Whether the time of the wall counts beside that of the processors.
    is_latency: bool,
    /// Whether each runtime stands there with one worker too.
    has_single: bool,
    /// What it is measured over.
    axis: Option<&'static Axis>,
    /// Tells what it needs and this machine lacks, if anything.
    pub(crate) missing: fn() -> Option<&'static str>,
}

/// What a row grows in, and where it is measured.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    /// From the least to the most.
    pub(crate) points: &'static [u64],
    /// Those of a row's runtimes that are measured along it.
    pub(crate) runtimes: &'static [&'static str],
}

/// The workers of the runtime; every other axis leaves them at two.
pub(crate) const WORKERS: Axis = Axis {
    name: "workers",
    points: &[1, 2, 4, 8, 16],
    runtimes: &["ours", "tokio"],
};

/// What a row is run as: a runtime's name, with `/` and a point behind it where the row has an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs<'n> {
    pub(crate) peer: &'n str,
    pub(crate) shape: Shape,
    pub(crate) live: u64,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    WallPerOp,
    ResidentPerOp,
    /// Of the process, whatever it did.
    Resident,
}

impl Row {
    /// Every name that [`run_as`](Self::run_as) knows.
    pub(crate) fn runtimes(&self) -> Vec<String> {
        let known = || self.workloads.iter().map(|(runtime, _)| *runtime);
        if let Some(axis) = self.axis {
            let along = || known().filter(|runtime| axis.runtimes.contains(runtime));
            let at = |point| along().map(move |runtime| format!("{runtime}/{point}"));
            return axis.points.iter().flat_map(at).collect();
        }
        let single = known().filter(|_| self.has_single);
        known()
            .chain(single.filter_map(shape::single))
            .map(str::to_owned)
            .collect()
    }

    /// What that name means on this row, if anything.
    pub(crate) fn run_as<'n>(&self, name: &'n str) -> Option<RunAs<'n>> {
        let Some(axis) = self.axis else {
            let (peer, shape) = shape::of(name);
            return Some(RunAs {
                peer,
                shape,
                live: 0,
            });
        };
        let (peer, point) = name.split_once('/')?;
        let point = point.parse().ok()?;
        let (shape, live) = match *axis == WORKERS {
            true => (Shape::Workers(usize::try_from(point).ok()?), 0),
            false => (Shape::USUAL, point),
        };
        let is_known = axis.points.contains(&point) && axis.runtimes.contains(&peer);
        is_known.then_some(RunAs { peer, shape, live })
    }

    /// The last point of its axis.
    #[cfg(test)]
    pub(crate) fn axis_most(&self) -> Option<u64> {
        self.axis?.points.last().copied()
    }

    /// Whether it compares time, and has a workload on that runtime.
    pub(crate) fn is_timed_on(&self, runtime: &str) -> bool {
        matches!(self.figure, Figure::WallPerOp) && self.workload(runtime).is_some()
    }

    /// A row in which waiting counts.
    pub(crate) const fn latency(mut self) -> Self {
        self.is_latency = true;
        self
    }

    /// A row that is run with two workers and with one.
    pub(crate) const fn also_single(mut self) -> Self {
        self.has_single = true;
        self
    }

    /// A row that is measured at every point of an axis, by no other name.
    pub(crate) const fn over(mut self, axis: &'static Axis) -> Self {
        self.axis = Some(axis);
        self.has_single = false;
        self
    }

    /// A row that is skipped where something is missing.
    pub(crate) const fn needs(mut self, missing: fn() -> Option<&'static str>) -> Self {
        self.missing = missing;
        self
    }

    pub(crate) fn workload(&self, runtime: &str) -> Option<Workload> {
        let mut workloads = self.workloads.iter();
        let (_, workload) = workloads.find(|(known, _)| *known == runtime)?;
        Some(*workload)
    }

    /// Operations of a batch whose instructions are counted: more than in a brief run, so that what a batch starts hardly shows, and of its form, since a tree has one less than a power of two.
    fn counted_ops(&self) -> u64 {
        let ops = self.smoke.ops;
        match (ops + 1).is_power_of_two() {
            true => (ops + 1) * BRIEF_BATCHES_COUNTED - 1,
            false => ops * BRIEF_BATCHES_COUNTED,
        }
    }

    /// The figures of a sample, by operation.
    pub(crate) fn report(&self, sample: &Sample) -> Value {
        let per_op = |total: f64| total / sample.ops as f64;
        let figure = match self.figure {
            Figure::WallPerOp => sample.wall.as_nanos() as f64,
            Figure::ResidentPerOp | Figure::Resident => sample.resident_bytes as f64,
        };
        json!({
            "figure": per_op(figure),
            "cpu_ns_per_op": per_op(sample.cpu.as_nanos() as f64),
            "allocs_per_op": per_op(sample.allocs as f64),
            "wall_ns_per_op": per_op(sample.wall.as_nanos() as f64),
            "ops": sample.ops,
            "percentiles_ns": sample.percentiles_ns,
        })
    }
}

const BRIEF_BATCHES_COUNTED: u64 = 8;

/// All suites.
#[cfg(test)]
pub(crate) const SUITES: [&str; 5] = ["compare", "kernel", "lab", "scale", "sync"];

/// The rows of a suite.
pub(crate) fn suite(name: &str) -> Option<Vec<Row>> {
    match name {
        "compare" => Some(compare::ROWS.to_vec()),
        "kernel" => Some(kernel::ROWS.to_vec()),
        "lab" => Some(lab::ROWS.to_vec()),
        "scale" => Some(scale::rows()),
        "sync" => Some(sync::ROWS.to_vec()),
        _ => None,
    }
}

/// A suite's rows, as the caller reads them.
pub(crate) fn list(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let unit = match row.figure {
            Figure::WallPerOp => "ns/op",
            Figure::ResidentPerOp => "B/task",
            Figure::Resident => "B",
        };
        json!({
            "row": row.name,
            "unit": unit,
            "runtimes": row.runtimes(),
            "is_latency": row.is_latency,
            "counted_ops": row.counted_ops(),
            "axis": row.axis.map(|axis| axis.name),
            "missing": (row.missing)(),
        })
    };
    rows.iter().map(row).collect()
}

/// A row that compares time; `full` is operations in a batch and batches.
pub(crate) const fn time(
    name: &'static str,
    full: [u64; 2],
    smoke: u64,
    workloads: &'static [(&'static str, Workload)],
) -> Row {
    Row {
        name,
        figure: Figure::WallPerOp,
        full: Size {
            ops: full[0],
            batches: full[1],
            live: 0,
        },
        smoke: Size {
            ops: smoke,
            batches: 1,
            live: 0,
        },
        workloads,
        is_latency: false,
        has_single: false,
        axis: None,
        missing: || None,
    }
}

/// A row that compares the resident memory of a process that does one thing.
pub(crate) const fn footprint(
    name: &'static str,
    workloads: &'static [(&'static str, Workload)],
) -> Row {
    let mut row = time(name, [1, 1], 1, workloads);
    row.figure = Figure::Resident;
    row
}

/// A row that compares resident memory by task.
pub(crate) const fn memory(
    name: &'static str,
    full: u64,
    smoke: u64,
    workloads: &'static [(&'static str, Workload)],
) -> Row {
    let mut row = time(name, [full, 1], smoke, workloads);
    row.figure = Figure::ResidentPerOp;
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_number_of_workers_or_of_what_is_live() {
        let row = |axis| time("a", [1, 1], 1, &[]).over(axis);
        let of = |row: &Row, name: &'static str| row.run_as(name);
        let workers = RunAs {
            peer: "tokio",
            shape: Shape::Workers(16),
            live: 0,
        };
        assert_eq!(of(&row(&WORKERS), "tokio/16"), Some(workers));
        assert_eq!(of(&row(&WORKERS), "tokio/3"), None);
        assert_eq!(of(&row(&WORKERS), "tokio"), None);
        assert_eq!(of(&row(&WORKERS), "smol/16"), None);
        let live = RunAs {
            peer: "ours",
            shape: Shape::USUAL,
            live: 1_000,
        };
        assert_eq!(of(&row(&scale::TASKS), "ours/1000"), Some(live));
        let single = of(&time("a", [1, 1], 1, &[]), "tokio-ct");
        assert_eq!(single.map(|run| run.shape), Some(Shape::Single));
    }

    #[test]
    fn names_are_unique_and_figures_are_per_operation() {
        for suite in SUITES {
            let rows = super::suite(suite).expect("the suite exists");
            let mut names: Vec<_> = rows.iter().map(|row| row.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), rows.len());
        }
        let counted = |name| {
            let row = compare::ROWS.iter().find(|row| row.name == name);
            row.expect("is a row").counted_ops()
        };
        assert_eq!(counted("spawn+join nested"), (1 << 13) - 1);
        assert_eq!(counted("contention, 100 tasks"), 8_000);
        let sample = Sample {
            ops: 4,
            wall: std::time::Duration::from_nanos(100),
            cpu: std::time::Duration::from_nanos(200),
            allocs: 8,
            resident_bytes: 400,
            percentiles_ns: None,
        };
        let value = kernel::ROWS[0].report(&sample);
        assert_eq!(value["figure"], 25.0);
        assert_eq!(value["cpu_ns_per_op"], 50.0);
        assert_eq!(value["allocs_per_op"], 2.0);
        assert_eq!(
            kernel::ROWS[kernel::ROWS.len() - 1].report(&sample)["figure"],
            100.0
        );
    }
}
