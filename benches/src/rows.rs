//! The rows: name, unit, size, and the workload on each runtime.

use serde_json::{Value, json};

use crate::meter::{Sample, Size};
use crate::shape::Shape;
use crate::{compare, kernel, lab, sync};

/// A workload on one runtime.
pub(crate) type Workload = fn(Size) -> Sample;

/// One line of the comparison.
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
    pub(crate) fn runtimes(&self) -> Vec<&'static str> {
        let known = || self.workloads.iter().map(|(runtime, _)| *runtime);
        let single = known().filter(|_| self.has_single);
        known()
            .chain(single.filter_map(|runtime| Shape::One.name(runtime)))
            .collect()
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
pub(crate) const SUITES: [&str; 4] = ["compare", "kernel", "lab", "sync"];

/// The rows of a suite.
pub(crate) fn suite(name: &str) -> Option<&'static [Row]> {
    match name {
        "compare" => Some(compare::ROWS),
        "kernel" => Some(kernel::ROWS),
        "lab" => Some(lab::ROWS),
        "sync" => Some(sync::ROWS),
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
        },
        smoke: Size {
            ops: smoke,
            batches: 1,
        },
        workloads,
        is_latency: false,
        has_single: false,
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

    fn suite_of(name: &str) -> &'static [Row] {
        suite(name).expect("the suite exists")
    }

    #[test]
    fn names_are_unique_and_figures_are_per_operation() {
        for suite in SUITES {
            let rows = suite_of(suite);
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
