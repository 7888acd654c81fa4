//! Rows of many tasks together: contention, fan-out and fan-in, and a mix like that of a server.
//!
//! A request of the server goes through a bounded channel to a dispatcher, which spawns a task for it; that task arms a timeout, works for a microsecond, counts under a lock, yields once and replies.

pub(crate) mod ours;
pub(crate) mod smol;
pub(crate) mod tokio;

use std::hint::black_box;
use std::time::Duration;

/// Messages that a channel holds.
const CAPACITY: usize = 128;
/// Tasks among which the fan spreads its messages.
const WORKERS: u64 = 16;
/// Tasks that send requests, each waiting for the reply before the next.
const CLIENTS: u64 = 16;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const PAGE_BYTES: u64 = 1024;

/// A worker's share of the fan, and what it makes of a message.
const fn worked(message: u64) -> u64 {
    message + 1
}

/// The sum that all messages of the fan come to.
const fn fan_sum(ops: u64) -> u64 {
    ops * (ops + 1) / 2
}

/// The work on a request: a checksum over a page.
fn handled(request: u64) -> u64 {
    let bytes = (0..PAGE_BYTES).map(|at| black_box(request.wrapping_add(at)));
    bytes.fold(request | 1, |sum, byte| {
        (sum ^ byte).wrapping_mul(0x0100_0000_01b3)
    }) | 1
}
