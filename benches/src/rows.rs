//! The rows: name, unit, size, and the workload on each runtime.

use serde_json::{Value, json};

use crate::meter::{Sample, Size};
use crate::{ours, peer_tokio};

/// A workload on one runtime.
type Workload = fn(Size) -> Sample;

/// One line of the comparison.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    figure: Figure,
    pub(crate) full: Size,
    pub(crate) smoke: Size,
    /// Ours, once the runtime has what the row needs.
    ours: Option<Workload>,
    tokio: Workload,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    WallPerOp,
    ResidentPerOp,
}

impl Row {
    pub(crate) fn runtimes(&self) -> Vec<&'static str> {
        let ours = self.ours.map(|_| "ours");
        ours.into_iter().chain(["tokio"]).collect()
    }

    pub(crate) fn workload(&self, runtime: &str) -> Option<Workload> {
        match runtime {
            "ours" => self.ours,
            "tokio" => Some(self.tokio),
            _ => None,
        }
    }

    /// The figures of a sample, by operation.
    pub(crate) fn report(&self, sample: &Sample) -> Value {
        let per_op = |total: f64| total / sample.ops as f64;
        let figure = match self.figure {
            Figure::WallPerOp => sample.wall.as_nanos() as f64,
            Figure::ResidentPerOp => sample.resident_bytes as f64,
        };
        json!({
            "figure": per_op(figure),
            "cpu_ns_per_op": per_op(sample.cpu.as_nanos() as f64),
            "allocs_per_op": per_op(sample.allocs as f64),
            "ops": sample.ops,
        })
    }
}

/// All rows, as the caller reads them.
pub(crate) fn list() -> Value {
    let row = |row: &Row| {
        let unit = match row.figure {
            Figure::WallPerOp => "ns/op",
            Figure::ResidentPerOp => "B/task",
        };
        json!({ "row": row.name, "unit": unit, "runtimes": row.runtimes() })
    };
    ROWS.iter().map(row).collect()
}

const fn time(
    name: &'static str,
    full: [u64; 2],
    smoke: u64,
    ours: Option<Workload>,
    tokio: Workload,
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
        ours,
        tokio,
    }
}

const fn memory(
    name: &'static str,
    full: u64,
    smoke: u64,
    ours: Option<Workload>,
    tokio: Workload,
) -> Row {
    let mut row = time(name, [full, 1], smoke, ours, tokio);
    row.figure = Figure::ResidentPerOp;
    row
}

/// The suite `kernel`.
pub(crate) const ROWS: &[Row] = &[
    time(
        "spawn+join 100k tasks",
        [100_000, 5],
        1_000,
        Some(ours::spawn_join_many),
        peer_tokio::spawn_join_many,
    ),
    time(
        "spawn+join one by one",
        [100_000, 3],
        1_000,
        Some(ours::spawn_join_one_by_one),
        peer_tokio::spawn_join_one_by_one,
    ),
    time(
        "nested spawn",
        [(1 << 17) - 1, 3],
        (1 << 10) - 1,
        Some(ours::nested_spawn),
        peer_tokio::nested_spawn,
    ),
    time(
        "yield 2 tasks",
        [500_000, 2],
        1_000,
        Some(ours::yield_2),
        peer_tokio::yield_2,
    ),
    time(
        "yield 1000 tasks",
        [1_000_000, 2],
        2_000,
        Some(ours::yield_1000),
        peer_tokio::yield_1000,
    ),
    time(
        "oneshot ping-pong",
        [50_000, 2],
        500,
        Some(ours::oneshot_ping_pong),
        peer_tokio::oneshot_ping_pong,
    ),
    time(
        "mpsc 1->1",
        [500_000, 2],
        2_000,
        Some(ours::mpsc_1_to_1),
        peer_tokio::mpsc_1_to_1,
    ),
    time(
        "mpsc 8->1",
        [500_000, 2],
        2_000,
        Some(ours::mpsc_8_to_1),
        peer_tokio::mpsc_8_to_1,
    ),
    time(
        "broadcast 1->8",
        [400_000, 2],
        2_048,
        Some(ours::broadcast_1_to_8),
        peer_tokio::broadcast_1_to_8,
    ),
    time(
        "mutex 8 tasks",
        [400_000, 2],
        2_000,
        Some(ours::mutex_8),
        peer_tokio::mutex_8,
    ),
    time(
        "sleep 100k tasks",
        [100_000, 3],
        1_000,
        Some(ours::sleep_many),
        peer_tokio::sleep_many,
    ),
    time(
        "cancel 100k parked tasks",
        [100_000, 3],
        1_000,
        Some(ours::cancel_parked),
        peer_tokio::cancel_parked,
    ),
    memory(
        "memory per idle task",
        100_000,
        1_000,
        Some(ours::idle_memory),
        peer_tokio::idle_memory,
    ),
];

/// Receivers in the `broadcast` row; an operation is one delivery.
pub(crate) const BROADCAST_RECEIVERS: u64 = 8;

/// Messages in the `broadcast` row between two waits for the receivers, so that none is overwritten.
pub(crate) const BROADCAST_ROUND: u64 = 128;

/// Capacity of the channels in the `mpsc` rows.
pub(crate) const CHANNEL_CAPACITY: usize = 128;

/// The `index`-th sleep of the `sleep` row: 1 to 10 ms, scattered.
pub(crate) const fn sleep_ms(index: u64) -> u64 {
    1 + (index * 7) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_figures_are_per_operation() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        let sample = Sample {
            ops: 4,
            wall: std::time::Duration::from_nanos(100),
            cpu: std::time::Duration::from_nanos(200),
            allocs: 8,
            resident_bytes: 400,
        };
        let value = ROWS[0].report(&sample);
        assert_eq!(value["figure"], 25.0);
        assert_eq!(value["cpu_ns_per_op"], 50.0);
        assert_eq!(value["allocs_per_op"], 2.0);
        assert_eq!(ROWS[ROWS.len() - 1].report(&sample)["figure"], 100.0);
    }
}
