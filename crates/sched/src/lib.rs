//! Three-lane work-stealing scheduler: which task a worker runs next, and which worker wakes.
//!
//! # Lanes
//! Each worker has a cancel lane (first in, first out), a timed lane (earliest deadline first) and a ready lane.
//! The cancel lane goes before the timed lane, that before the ready lane; streak limits keep any of them from starving the others, and [`SchedConfig::dispatch_bound`] says after how many dispatches at the latest the head of a lane is run.
//! The ready lane is a slot for the task woken last, a ring (a work-stealing deque: the owner takes the newest, thieves the oldest), and a queue for tasks that yielded.
//!
//! # What is not here
//! Threads, clocks and the operating system: a host owns the threads, calls [`Worker::next`] and parks.
//! Entries are of any type that fits in a word ([`Entry`]), so that the lanes can be tested without a kernel.
#![expect(
    unsafe_code,
    reason = "a thief may read a place of a ring while its owner fills it again, so the place holds a word and not a value"
)]

mod config;
mod governor;
mod idle;
mod injector;
mod lanes;
mod parker;
mod primitive;
mod ring;
mod shared;
mod worker;

pub use config::{LaneKind, SENTRY_INTERVAL, SchedConfig, WORKERS_MAX};
pub use governor::{Advice, Pressure, advise};
pub use parker::{Parker, Unparker};
pub use ring::Entry;
pub use shared::Shared;
pub use worker::{Counters, Worker};
