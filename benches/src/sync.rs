//! The suite `sync`: channels and locks.
//!
//! Channels and locks that bring no runtime run on tokio's, which is how they are used most.
//! What waits in `parking_lot` blocks its thread; it stands here where nobody holds it across a wait.

mod others;
pub(crate) mod ours;
pub(crate) mod tokio;

use crate::rows::{Row, time};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    time(
        "mpsc(128) 1->1",
        [500_000, 2],
        2_000,
        &[
            ("ours", ours::mpsc_1),
            ("tokio", tokio::mpsc_1),
            ("flume", others::flume_1),
            ("async-channel", others::async_channel_1),
            ("kanal", others::kanal_1),
        ],
    ),
    time(
        "mpsc(128) 8->1",
        [500_000, 2],
        2_000,
        &[
            ("ours", ours::mpsc_8),
            ("tokio", tokio::mpsc_8),
            ("flume", others::flume_8),
            ("async-channel", others::async_channel_8),
            ("kanal", others::kanal_8),
        ],
    ),
    time(
        "mpsc unbounded 1->1",
        [500_000, 2],
        2_000,
        &[
            ("ours", ours::unbounded_1),
            ("tokio", tokio::unbounded_1),
            ("flume", others::flume_unbounded_1),
            ("async-channel", others::async_channel_unbounded_1),
            ("kanal", others::kanal_unbounded_1),
        ],
    ),
    time(
        "mpsc(1) ping-pong",
        [100_000, 2],
        500,
        &[
            ("ours", ours::mpsc_ping_pong),
            ("tokio", tokio::mpsc_ping_pong),
            ("flume", others::flume_ping_pong),
            ("async-channel", others::async_channel_ping_pong),
            ("kanal", others::kanal_ping_pong),
        ],
    ),
    time(
        "mpsc(128) reserve and send",
        [500_000, 2],
        2_000,
        &[("ours", ours::mpsc_reserve), ("tokio", tokio::mpsc_reserve)],
    ),
    time(
        "rendezvous 1->1",
        [200_000, 2],
        1_000,
        &[
            ("ours", ours::rendezvous_1),
            ("flume", others::flume_0),
            ("kanal", others::kanal_0),
        ],
    ),
    time(
        "oneshot create, send, receive",
        [500_000, 2],
        1_000,
        &[
            ("ours", ours::oneshot_alone),
            ("tokio", tokio::oneshot_alone),
        ],
    ),
    time(
        "broadcast 1->8, delivery",
        [800_000, 2],
        8_000,
        &[("ours", ours::broadcast_8), ("tokio", tokio::broadcast_8)],
    ),
    time(
        "watch 1->8, update",
        [100_000, 2],
        1_000,
        &[("ours", ours::watch_8), ("tokio", tokio::watch_8)],
    ),
    time(
        "notify ping-pong",
        [100_000, 2],
        500,
        &[
            ("ours", ours::notify_ping_pong),
            ("tokio", tokio::notify_ping_pong),
        ],
    ),
    time(
        "mutex alone",
        [2_000_000, 2],
        2_000,
        &[
            ("ours", ours::mutex_alone),
            ("tokio", tokio::mutex_alone),
            ("parking_lot", others::parking_lot_mutex_alone),
        ],
    ),
    time(
        "mutex 8 tasks",
        [400_000, 2],
        2_000,
        &[
            ("ours", ours::mutex_8),
            ("tokio", tokio::mutex_8),
            ("parking_lot", others::parking_lot_mutex_8),
        ],
    ),
    time(
        "mutex held across a yield",
        [100_000, 2],
        1_000,
        &[("ours", ours::mutex_yield), ("tokio", tokio::mutex_yield)],
    ),
    time(
        "rwlock read alone",
        [2_000_000, 2],
        2_000,
        &[
            ("ours", ours::rwlock_read_alone),
            ("tokio", tokio::rwlock_read_alone),
            ("parking_lot", others::parking_lot_read_alone),
        ],
    ),
    time(
        "rwlock write alone",
        [2_000_000, 2],
        2_000,
        &[
            ("ours", ours::rwlock_write_alone),
            ("tokio", tokio::rwlock_write_alone),
            ("parking_lot", others::parking_lot_write_alone),
        ],
    ),
    time(
        "rwlock 8 tasks, 1 write in 10",
        [400_000, 2],
        2_000,
        &[
            ("ours", ours::rwlock_8),
            ("tokio", tokio::rwlock_8),
            ("parking_lot", others::parking_lot_rwlock_8),
        ],
    ),
    time(
        "semaphore alone",
        [2_000_000, 2],
        2_000,
        &[
            ("ours", ours::semaphore_alone),
            ("tokio", tokio::semaphore_alone),
        ],
    ),
    time(
        "semaphore(4) 8 tasks",
        [400_000, 2],
        2_000,
        &[("ours", ours::semaphore_8), ("tokio", tokio::semaphore_8)],
    ),
    time(
        "semaphore(4) held across a yield",
        [200_000, 2],
        1_000,
        &[
            ("ours", ours::semaphore_yield),
            ("tokio", tokio::semaphore_yield),
        ],
    ),
    time(
        "barrier 8 tasks, round",
        [20_000, 2],
        200,
        &[("ours", ours::barrier_8), ("tokio", tokio::barrier_8)],
    ),
    time(
        "once cell, initialized",
        [4_000_000, 2],
        2_000,
        &[("ours", ours::once_cell), ("tokio", tokio::once_cell)],
    ),
];

/// Messages that a channel holds, unless its row says otherwise.
const CAPACITY: usize = 128;
/// Tasks that contend, or receive.
const TASKS: u64 = 8;
/// Permits of a contended semaphore.
const PERMITS: usize = 4;
