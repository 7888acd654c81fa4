//! The suite `scale`: what an operation costs as something grows, on ours and on tokio.
//!
//! Rows over workers show whether more workers than processors get in each other's way.
//! The others show whether an operation costs more because much else is live: tasks, timers, regions, connections.
//! A row stands at each point of its axis, in a process of its own, with two workers unless the axis is that of the workers.
//! Where all that is live takes part, the floor says how much of the growth is the machine's: its caches, its memory, its sockets.

mod connections;
mod floor;
mod ours;
mod tokio;

use crate::compare;
use crate::meter::Size;
use crate::rows::{Axis, Row, WORKERS, time};

/// What stands along every axis but that of the workers, of which the floor has none.
const BESIDE_FLOOR: &[&str] = &["ours", "tokio", "floor"];

/// Tasks that wait while the operation goes on, or that take part in it together.
pub(crate) const TASKS: Axis = Axis {
    name: "live tasks",
    points: &[1_000, 10_000, 100_000, 1_000_000],
    runtimes: BESIDE_FLOOR,
};

/// Timers that are armed.
pub(crate) const TIMERS: Axis = Axis {
    name: "live timers",
    points: &[1_000, 10_000, 100_000, 1_000_000],
    runtimes: BESIDE_FLOOR,
};

/// Regions that are open at once.
pub(crate) const REGIONS: Axis = Axis {
    name: "regions",
    points: &[1_000, 10_000, 100_000],
    runtimes: BESIDE_FLOOR,
};

/// Connections that are open.
pub(crate) const CONNECTIONS: Axis = Axis {
    name: "connections",
    points: &[100, 1_000, 10_000],
    runtimes: BESIDE_FLOOR,
};

/// The rows of the suite `compare` that stand on tokio too, over workers, and those that grow in something.
pub(crate) fn rows() -> Vec<Row> {
    let compared = compare::ROWS.iter().filter(|row| is_over_workers(row));
    let compared = compared.map(|row| row.over(&WORKERS));
    compared.chain(ROWS.iter().copied()).collect()
}

fn is_over_workers(row: &Row) -> bool {
    row.is_timed_on("tokio") && !LEFT_OUT.contains(&row.name)
}

/// Rows of `compare` whose throughput says nothing about workers.
const LEFT_OUT: [&str; 4] = [
    // Their timers grow in number here, along an axis of their own.
    "timer register + drop, 1M live",
    "100k timers firing",
    // It starts the workers: twice as many are twice the work.
    "start, one task, stop",
    // It does nothing, for a given time.
    "idle for 200 ms",
];

const ROWS: &[Row] = &[
    time(
        "ping-pong, 32 pairs",
        [192_000, 2],
        3_200,
        &[("ours", ours::pairs), ("tokio", tokio::pairs)],
    )
    .over(&WORKERS),
    time(
        "spawn and join one beside N",
        [50_000, 2],
        500,
        &[("ours", ours::spawn_one), ("tokio", tokio::spawn_one)],
    )
    .over(&TASKS),
    time(
        "yield of one beside N",
        [200_000, 2],
        500,
        &[("ours", ours::yield_one), ("tokio", tokio::yield_one)],
    )
    .over(&TASKS),
    time(
        "wake one and be woken beside N",
        [50_000, 2],
        500,
        &[("ours", ours::wake_one), ("tokio", tokio::wake_one)],
    )
    .over(&TASKS),
    time(
        "cancel and join one beside N",
        [50_000, 2],
        500,
        &[("ours", ours::cancel_one), ("tokio", tokio::cancel_one)],
    )
    .over(&TASKS),
    time(
        "wake each of N in turn",
        [200_000, 2],
        1_000,
        &[
            ("ours", ours::wake_scattered),
            ("tokio", tokio::wake_scattered),
            ("floor", floor::wake_scattered),
        ],
    )
    .over(&TASKS),
    time(
        "spawn and join N at once",
        [300_000, 1],
        1_000,
        &[
            ("ours", ours::spawn_all),
            ("tokio", tokio::spawn_all),
            ("floor", floor::spawn_all),
        ],
    )
    .over(&TASKS),
    time(
        "cancel N at once",
        [300_000, 1],
        1_000,
        &[
            ("ours", ours::cancel_all),
            ("tokio", tokio::cancel_all),
            ("floor", floor::cancel_all),
        ],
    )
    .over(&TASKS),
    time(
        "timer register + drop beside N",
        [300_000, 1],
        1_000,
        &[("ours", ours::timer), ("tokio", tokio::timer)],
    )
    .over(&TIMERS),
    time(
        "N timers firing within a second",
        [1, 1],
        1_000,
        &[
            ("ours", ours::timers_firing),
            ("tokio", tokio::timers_firing),
        ],
    )
    .over(&TIMERS),
    time(
        "open and close, all in one",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::regions(size, Form::wide)),
            ("floor", |size| floor::regions(size, Form::wide)),
        ],
    )
    .over(&REGIONS),
    time(
        "open and close, each in the one before",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::regions(size, Form::deep)),
            ("floor", |size| floor::regions(size, Form::deep)),
        ],
    )
    .over(&REGIONS),
    time(
        "open and close, half wide and half deep",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::regions(size, Form::square)),
            ("floor", |size| floor::regions(size, Form::square)),
        ],
    )
    .over(&REGIONS),
    time(
        "cancel, all in one",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::cancelled(size, Form::wide)),
            ("floor", |size| floor::cancelled(size, Form::wide)),
        ],
    )
    .over(&REGIONS),
    time(
        "cancel, each in the one before",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::cancelled(size, Form::deep)),
            ("floor", |size| floor::cancelled(size, Form::deep)),
        ],
    )
    .over(&REGIONS),
    time(
        "cancel, half wide and half deep",
        [100_000, 1],
        1_000,
        &[
            ("ours", |size| ours::cancelled(size, Form::square)),
            ("floor", |size| floor::cancelled(size, Form::square)),
        ],
    )
    .over(&REGIONS),
    time(
        "TCP echo on all of N",
        [40_000, 1],
        100,
        &[
            ("ours", connections::all_ours),
            ("tokio", connections::all_tokio),
            ("floor", connections::all_floor),
        ],
    )
    .over(&CONNECTIONS),
    time(
        "TCP echo on 64 of N",
        [40_000, 1],
        100,
        &[
            ("ours", connections::some_ours),
            ("tokio", connections::some_tokio),
            ("floor", connections::some_floor),
        ],
    )
    .over(&CONNECTIONS),
];

/// Pairs of tasks that answer each other.
const PAIRS: u64 = 32;

/// How regions lie in each other: that many chains, each that deep.
#[derive(Clone, Copy)]
struct Form {
    wide: u64,
    deep: u64,
}

impl Form {
    /// One chain for each region.
    const fn wide(regions: u64) -> Self {
        Self {
            wide: regions,
            deep: 1,
        }
    }

    /// One chain.
    const fn deep(regions: u64) -> Self {
        Self {
            wide: 1,
            deep: regions,
        }
    }

    /// As many chains as each is deep, and about `regions` regions.
    const fn square(regions: u64) -> Self {
        let side = regions.isqrt();
        Self {
            wide: side,
            deep: side,
        }
    }

    const fn regions(self) -> u64 {
        self.wide * self.deep
    }

    /// The same without the outermost of each chain, unless nothing is left.
    const fn below(self) -> Option<Self> {
        match self.deep.checked_sub(1) {
            Some(deep) => Some(Self { deep, ..self }),
            None => None,
        }
    }
}

/// The same work, all of it live at once and done that often.
fn at_once(size: Size) -> impl Iterator<Item = Size> {
    let all = size.all_live();
    (0..all.batches).map(move |_| Size { batches: 1, ..all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_left_out_are_rows_and_all_others_stand_over_workers() {
        let names: Vec<_> = rows().iter().map(|row| row.name).collect();
        for left_out in LEFT_OUT {
            assert!(compare::ROWS.iter().any(|row| row.name == left_out));
            assert!(!names.contains(&left_out), "{left_out}");
        }
        assert!(names.contains(&"spawn+join batch of 100k"));
        assert!(!names.contains(&"checkpoint"), "it has no peer");
        assert!(!names.contains(&"idle task, resident"), "it is no time");
    }

    #[test]
    fn what_is_live_at_once_is_done_until_the_operations_are() {
        let size = |live| Size {
            ops: 300,
            batches: 1,
            live,
        };
        assert_eq!(at_once(size(100)).count(), 3);
        assert_eq!(
            at_once(size(1_000))
                .map(|size| size.ops)
                .collect::<Vec<_>>(),
            [1_000]
        );
        assert_eq!(Form::square(100_000).regions(), 316 * 316);
        let below = Form::square(100).below().and_then(Form::below);
        assert_eq!(below.map(Form::regions), Some(80));
    }
}
