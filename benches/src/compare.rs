//! The suite `compare`: ours beside tokio and smol, with two workers and with one.
//!
//! Where smol brings no primitive, it has what its users take: `async-channel`, `async-lock`, `async-broadcast`.
//! It has no watch channel, and no row there.

mod floor;
mod host;
mod hyper_io;
pub(crate) mod load;
pub(crate) mod ours;
pub(crate) mod serve;
mod smol;
mod structure;
pub(crate) mod tokio;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::kernel::{ours as kernel_ours, tokio as kernel_tokio};
use crate::rows::{Row, Workload, footprint, memory, time};
use crate::sync::{ours as sync_ours, tokio as sync_tokio};
use crate::wire::h2load_missing;

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    row(
        "spawn+join batch of 100k",
        [100_000, 5],
        1_000,
        &[
            ("ours", kernel_ours::spawn_join_many),
            ("tokio", kernel_tokio::spawn_join_many),
            ("smol", smol::spawn_join_many),
        ],
    ),
    row(
        "spawn+join one after another",
        [100_000, 3],
        1_000,
        &[
            ("ours", kernel_ours::spawn_join_one_by_one),
            ("tokio", kernel_tokio::spawn_join_one_by_one),
            ("smol", smol::spawn_join_one_by_one),
        ],
    )
    .latency(),
    row(
        "spawn+join nested",
        [(1 << 17) - 1, 3],
        (1 << 10) - 1,
        &[
            ("ours", kernel_ours::nested_spawn),
            ("tokio", kernel_tokio::nested_spawn),
            ("smol", smol::nested_spawn),
        ],
    ),
    row(
        "yield 2 tasks",
        [500_000, 2],
        1_000,
        &[
            ("ours", kernel_ours::yield_2),
            ("tokio", kernel_tokio::yield_2),
            ("smol", smol::yield_2),
        ],
    ),
    row(
        "yield 100 tasks",
        [1_000_000, 2],
        2_000,
        &[
            ("ours", kernel_ours::yield_100),
            ("tokio", kernel_tokio::yield_100),
            ("smol", smol::yield_100),
        ],
    ),
    row(
        "yield 1000 tasks",
        [1_000_000, 2],
        10_000,
        &[
            ("ours", kernel_ours::yield_1000),
            ("tokio", kernel_tokio::yield_1000),
            ("smol", smol::yield_1000),
        ],
    ),
    row(
        "poll that wakes itself",
        [1_000_000, 2],
        2_000,
        &[
            ("ours", ours::poll),
            ("tokio", tokio::poll),
            ("smol", smol::poll),
        ],
    ),
    row(
        "checkpoint",
        [5_000_000, 2],
        2_000,
        &[("ours", ours::checkpoint)],
    ),
    row(
        "ping-pong mpsc(1)",
        [100_000, 2],
        500,
        &[
            ("ours", sync_ours::mpsc_ping_pong),
            ("tokio", sync_tokio::mpsc_ping_pong),
            ("smol", smol::mpsc_ping_pong),
        ],
    )
    .latency(),
    row(
        "ping-pong oneshot",
        [50_000, 2],
        500,
        &[
            ("ours", kernel_ours::oneshot_ping_pong),
            ("tokio", kernel_tokio::oneshot_ping_pong),
            ("smol", smol::oneshot_ping_pong),
        ],
    )
    .latency(),
    row(
        "ring of 1000, hop",
        [500_000, 2],
        10_000,
        &[
            ("ours", ours::ring),
            ("tokio", tokio::ring),
            ("smol", smol::ring),
        ],
    )
    .latency(),
    row(
        "mpsc(128) 1->1",
        [500_000, 2],
        2_000,
        &[
            ("ours", sync_ours::mpsc_1),
            ("tokio", sync_tokio::mpsc_1),
            ("smol", smol::mpsc_1),
        ],
    ),
    row(
        "mpsc(128) 8->1",
        [500_000, 2],
        2_000,
        &[
            ("ours", sync_ours::mpsc_8),
            ("tokio", sync_tokio::mpsc_8),
            ("smol", smol::mpsc_8),
        ],
    ),
    row(
        "broadcast 1->8, delivery",
        [800_000, 2],
        8_000,
        &[
            ("ours", sync_ours::broadcast_8),
            ("tokio", sync_tokio::broadcast_8),
            ("smol", smol::broadcast_8),
        ],
    ),
    row(
        "watch 1->8, update",
        [100_000, 2],
        1_000,
        &[("ours", sync_ours::watch_8), ("tokio", sync_tokio::watch_8)],
    ),
    row(
        "mutex 8 tasks",
        [400_000, 2],
        2_000,
        &[
            ("ours", sync_ours::mutex_8),
            ("tokio", sync_tokio::mutex_8),
            ("smol", smol::mutex_8),
        ],
    ),
    row(
        "mutex held across a yield",
        [100_000, 2],
        1_000,
        &[
            ("ours", sync_ours::mutex_yield),
            ("tokio", sync_tokio::mutex_yield),
            ("smol", smol::mutex_yield),
        ],
    ),
    row(
        "semaphore(4) 8 tasks",
        [400_000, 2],
        2_000,
        &[
            ("ours", sync_ours::semaphore_8),
            ("tokio", sync_tokio::semaphore_8),
            ("smol", smol::semaphore_8),
        ],
    ),
    row(
        "semaphore(4) held across a yield",
        [200_000, 2],
        1_000,
        &[
            ("ours", sync_ours::semaphore_yield),
            ("tokio", sync_tokio::semaphore_yield),
            ("smol", smol::semaphore_yield),
        ],
    ),
    row(
        "cancel a parked task and join",
        [100_000, 2],
        1_000,
        &[
            ("ours", ours::cancel_one_by_one),
            ("tokio", tokio::cancel_one_by_one),
            ("smol", smol::cancel_one_by_one),
        ],
    )
    .latency(),
    row(
        "cancel 100k parked as a group",
        [100_000, 2],
        1_000,
        &[
            ("ours", ours::cancel_group),
            ("tokio", tokio::cancel_group),
            ("smol", smol::cancel_group),
        ],
    ),
    row(
        "timer register + drop",
        [500_000, 2],
        1_000,
        &[
            ("ours", ours::timer),
            ("tokio", tokio::timer),
            ("smol", smol::timer),
        ],
    ),
    row(
        "timer register + drop, 1M live",
        [500_000, 1],
        1_000,
        &[
            ("ours", ours::timer_among_live),
            ("tokio", tokio::timer_among_live),
            ("smol", smol::timer_among_live),
        ],
    ),
    row(
        "100k timers firing",
        [100_000, 1],
        1_000,
        &[
            ("ours", ours::timers_firing),
            ("tokio", tokio::timers_firing),
            ("smol", smol::timers_firing),
        ],
    )
    .latency(),
    memory(
        "idle task, resident",
        1_000_000,
        1_000,
        &[
            ("ours", ours::idle_memory),
            ("tokio", tokio::idle_memory),
            ("smol", smol::idle_memory),
        ],
    )
    .also_single(),
    row(
        "TCP echo, 64 connections",
        [32_000, 1],
        640,
        &[
            ("ours", ours::tcp_echo),
            ("tokio", tokio::tcp_echo),
            ("smol", smol::tcp_echo),
            ("floor", floor::tcp_echo),
        ],
    )
    .latency(),
    row(
        "HTTP/1.1 hello, 64 connections",
        [64_000, 1],
        640,
        &[
            ("ours", serve::ours::http1),
            ("tokio", serve::tokio::http1),
            ("smol", serve::smol::http1),
            ("floor", serve::floor::http1),
        ],
    )
    .latency(),
    row(
        "HTTP/2 hello, h2load -c8 -m32",
        [100_000, 1],
        512,
        &[
            ("ours", serve::ours::http2),
            ("tokio", serve::tokio::http2),
            ("smol", serve::smol::http2),
        ],
    )
    .latency()
    .needs(h2load_missing),
    row(
        "region without children",
        [500_000, 2],
        1_000,
        &[("ours", structure::region_of_none)],
    ),
    row(
        "region of 1 task",
        [100_000, 2],
        500,
        &[
            ("ours", structure::region_of_1),
            ("tokio", structure::set_of_1),
            ("smol", structure::tasks_of_1),
        ],
    ),
    row(
        "region of 100 tasks",
        [2_000, 2],
        20,
        &[
            ("ours", structure::region_of_100),
            ("tokio", structure::set_of_100),
            ("smol", structure::tasks_of_100),
        ],
    ),
    row(
        "obligation reserve + commit",
        [2_000_000, 2],
        1_000,
        &[("ours", structure::obligation)],
    ),
    row(
        "mask, checkpoint, unmask",
        [2_000_000, 2],
        1_000,
        &[("ours", structure::mask)],
    ),
    row(
        "charge the budget",
        [2_000_000, 2],
        1_000,
        &[("ours", structure::charge)],
    ),
    row(
        "flight recorder on: spawn+join batch of 100k",
        [100_000, 5],
        1_000,
        &[("ours", structure::recorded_spawn_join)],
    ),
    row(
        "flight recorder on: yield 2 tasks",
        [500_000, 2],
        1_000,
        &[("ours", structure::recorded_yield)],
    ),
    row(
        "contention, 10 tasks",
        [100_000, 2],
        1_000,
        &[
            ("ours", load::ours::contention_10),
            ("tokio", load::tokio::contention_10),
            ("smol", load::smol::contention_10),
        ],
    ),
    row(
        "contention, 100 tasks",
        [100_000, 2],
        1_000,
        &[
            ("ours", load::ours::contention_100),
            ("tokio", load::tokio::contention_100),
            ("smol", load::smol::contention_100),
        ],
    ),
    row(
        "contention, 1000 tasks",
        [100_000, 2],
        10_000,
        &[
            ("ours", load::ours::contention_1000),
            ("tokio", load::tokio::contention_1000),
            ("smol", load::smol::contention_1000),
        ],
    ),
    row(
        "fan-out and fan-in, 16 tasks",
        [200_000, 2],
        1_600,
        &[
            ("ours", load::ours::fan),
            ("tokio", load::tokio::fan),
            ("smol", load::smol::fan),
        ],
    ),
    row(
        "server load, request",
        [100_000, 1],
        1_600,
        &[
            ("ours", load::ours::server),
            ("tokio", load::tokio::server),
            ("smol", load::smol::server),
        ],
    )
    .latency(),
    row(
        "blocking pool round trip",
        [5_000, 2],
        50,
        &[
            ("ours", host::blocking_ours),
            ("tokio", host::blocking_tokio),
            ("smol", host::blocking_smol),
        ],
    )
    .latency(),
    row(
        "wake from a foreign thread",
        [5_000, 2],
        50,
        &[
            ("ours", host::foreign_ours),
            ("tokio", host::foreign_tokio),
            ("smol", host::foreign_smol),
        ],
    )
    .latency(),
    row(
        "start, one task, stop",
        [50, 1],
        3,
        &[
            ("ours", host::start_stop_ours),
            ("tokio", host::start_stop_tokio),
            ("smol", host::start_stop_smol),
        ],
    )
    .latency(),
    row(
        "idle for 200 ms",
        [1, 1],
        1,
        &[
            ("ours", host::idle_ours),
            ("tokio", host::idle_tokio),
            ("smol", host::idle_smol),
        ],
    ),
    footprint(
        "started runtime, resident",
        &[
            ("ours", host::resident_ours),
            ("tokio", host::resident_tokio),
            ("smol", host::resident_smol),
        ],
    )
    .also_single(),
];

const fn row(
    name: &'static str,
    full: [u64; 2],
    smoke: u64,
    workloads: &'static [(&'static str, Workload)],
) -> Row {
    time(name, full, smoke, workloads).also_single()
}

/// Messages that a channel holds, tasks that contend, and permits, as in the suite `sync`.
const CAPACITY: usize = 128;
const TASKS: u64 = 8;
const PERMITS: usize = 4;
/// Tasks of the ring.
const RING: u64 = 1_000;
/// Timers that are live while others come and go; a brief run has as many as it has operations.
const LIVE: u64 = 1_000_000;
/// Connections of the echo.
const CONNECTIONS: u64 = 64;
/// Bytes that are sent there and back.
pub(crate) const ECHO: [u8; 64] =
    *b"what is sent there comes back as it was, in one piece, 64 bytes.";

/// The page that the servers of HTTP have.
pub(crate) const HELLO: &[u8] = b"Hello, World!";

/// Timers that are live in a run of that many operations.
const fn live(ops: u64) -> u64 {
    if ops < 100_000 { ops } else { LIVE }
}

/// The `n`-th timer that is registered and dropped: about half a minute, scattered.
const fn far(n: u64) -> Duration {
    Duration::from_millis(30_000 + n * 7 % 1_000)
}

/// The `n`-th timer that fires: once all are registered, within a second, so that no runtime falls behind for want of a processor.
const fn near(n: u64) -> Duration {
    Duration::from_micros(400_000 + n * 79_193 % 1_000_000)
}

/// Wakes the task in its own poll, that many times; a runtime then polls it again.
async fn wake_itself(mut times: u64) {
    poll_fn(|task| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
