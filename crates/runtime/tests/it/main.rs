//! The production host, through its public interface.
#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's helper fails the test"
)]

mod blocking;
mod counted;
mod descriptors;
mod ended;
mod entry;
mod flight;
mod monitor;
mod order;
mod panics;
mod regions;
mod shutdown;
mod signals;
mod stress;
mod support;
mod timers;
mod told;
mod wakes;
