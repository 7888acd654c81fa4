//! The lab host, through its public interface.
#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's helper fails the test"
)]

mod artifacts;
mod chaos;
mod clocks;
mod dependences;
mod ends;
mod foreign;
mod interrupt;
mod net_decisions;
mod net_faults;
mod net_half_open;
mod net_laws;
mod net_nature;
mod net_partitions;
mod nodes;
mod rwlocks;
mod search;
mod snapshots;
mod timers;
mod vars;
mod waits;
