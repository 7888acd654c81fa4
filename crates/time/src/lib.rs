//! Timers: a hierarchical wheel that says what has expired at a given time.
//!
//! The wheel is a value: it reads no clock, starts no thread and takes no lock.
//! A host owns one for each worker, asks [`Wheel::next_deadline`] how long it may sleep, and hands the time it wakes at to [`Wheel::advance`].
//!
//! Around it stand what users wait with: [`interval`], [`timeout`] and [`deadline`]; a single sleep is [`Cx::sleep`](asupersync_kernel::Cx::sleep).
#![forbid(unsafe_code)]

mod interval;
mod timeout;
mod wheel;

pub use interval::{Interval, MissedTick, interval, interval_at};
pub use timeout::{TimeoutError, deadline, timeout};
pub use wheel::{TimerKey, Wheel, WheelConfig};
