//! Timers: a hierarchical wheel that says what has expired at a given time.
//!
//! The wheel is a value: it reads no clock, starts no thread and takes no lock.
//! A host owns one for each worker, asks [`Wheel::next_deadline`] how long it may sleep, and hands the time it wakes at to [`Wheel::advance`].
#![forbid(unsafe_code)]

mod wheel;

pub use wheel::{TimerKey, Wheel, WheelConfig};
