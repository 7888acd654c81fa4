//! The suite `kernel`: tasks, wakes, timers, cancellation, memory.

pub(crate) mod ours;
pub(crate) mod tokio;

use crate::rows::{Row, memory, time};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    time(
        "spawn+join 100k tasks",
        [100_000, 5],
        1_000,
        &[
            ("ours", ours::spawn_join_many),
            ("tokio", tokio::spawn_join_many),
        ],
    ),
    time(
        "spawn+join one by one",
        [100_000, 3],
        1_000,
        &[
            ("ours", ours::spawn_join_one_by_one),
            ("tokio", tokio::spawn_join_one_by_one),
        ],
    ),
    time(
        "nested spawn",
        [(1 << 17) - 1, 3],
        (1 << 10) - 1,
        &[("ours", ours::nested_spawn), ("tokio", tokio::nested_spawn)],
    ),
    time(
        "yield 2 tasks",
        [500_000, 2],
        1_000,
        &[("ours", ours::yield_2), ("tokio", tokio::yield_2)],
    ),
    time(
        "yield 1000 tasks",
        [1_000_000, 2],
        2_000,
        &[("ours", ours::yield_1000), ("tokio", tokio::yield_1000)],
    ),
    time(
        "oneshot ping-pong",
        [50_000, 2],
        500,
        &[
            ("ours", ours::oneshot_ping_pong),
            ("tokio", tokio::oneshot_ping_pong),
        ],
    ),
    time(
        "mpsc 1->1",
        [500_000, 2],
        2_000,
        &[("ours", ours::mpsc_1_to_1), ("tokio", tokio::mpsc_1_to_1)],
    ),
    time(
        "mpsc 8->1",
        [500_000, 2],
        2_000,
        &[("ours", ours::mpsc_8_to_1), ("tokio", tokio::mpsc_8_to_1)],
    ),
    time(
        "mutex 8 tasks",
        [400_000, 2],
        2_000,
        &[("ours", ours::mutex_8), ("tokio", tokio::mutex_8)],
    ),
    time(
        "sleep 100k tasks",
        [100_000, 3],
        1_000,
        &[("ours", ours::sleep_many), ("tokio", tokio::sleep_many)],
    ),
    time(
        "cancel 100k parked tasks",
        [100_000, 3],
        1_000,
        &[
            ("ours", ours::cancel_parked),
            ("tokio", tokio::cancel_parked),
        ],
    ),
    memory(
        "memory per idle task",
        100_000,
        1_000,
        &[("ours", ours::idle_memory), ("tokio", tokio::idle_memory)],
    ),
];

/// Capacity of the channels in the `mpsc` rows.
pub(crate) const CHANNEL_CAPACITY: usize = 128;

/// The `index`-th sleep of the `sleep` row: 1 to 10 ms, scattered.
pub(crate) const fn sleep_ms(index: u64) -> u64 {
    1 + (index * 7) % 10
}
