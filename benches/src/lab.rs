//! The suite `lab`: how fast schedules of one small program are tried.
//!
//! Each tester runs the same program under random schedules, one schedule an operation: tasks that take a lock, change what is in it, and give way in between.
//! Both keep what they need to replay a failing schedule; ours also records the trace and checks its laws over it.
//! Neither counts how many different orders it has seen.

mod ours;
mod shuttle;

use crate::rows::{Row, time};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    time(
        "schedule of 3 tasks and a lock",
        [20_000, 1],
        50,
        &[("ours", ours::locks), ("shuttle", shuttle::locks)],
    ),
    time(
        "schedule of 2 tasks and a channel",
        [20_000, 1],
        50,
        &[("ours", ours::channel), ("shuttle", shuttle::channel)],
    ),
];

const TASKS: u64 = 3;
const ROUNDS: u64 = 3;
const MESSAGES: u64 = 5;
