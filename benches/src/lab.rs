//! The suite `lab`: how fast schedules of one small program are tried.
//!
//! Each tester runs the same program under random schedules, one schedule an operation: tasks that take a lock, change what is in it, and give way in between.
//! Both keep what they need to replay a failing schedule; ours also records the trace and checks its laws over it.
//! Neither counts how many different orders it has seen.
//!
//! One row has no peer: an operation there is a second of virtual time in a program that mostly sleeps, so the figure says how much faster than a clock the lab's time runs.

mod ours;
mod shuttle;

use std::time::Duration;

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
    time(
        "simulated second of 100 sleepers",
        [86_400, 3],
        3_600,
        &[("ours", ours::sleepers)],
    ),
];

const TASKS: u64 = 3;
const ROUNDS: u64 = 3;
const MESSAGES: u64 = 5;
const SLEEPERS: u32 = 100;
/// Naps grow from this one by the square of a sleeper's number, to more than two hours.
const NAP_SHORTEST: Duration = Duration::from_secs(5);
const NAP_STEP: Duration = Duration::from_secs(1);
