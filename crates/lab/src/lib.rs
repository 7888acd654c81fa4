//! The lab host: the same kernel on one thread, with virtual time and a schedule drawn from a seed.
//!
//! A program that runs here runs the kernel that production runs; only the ports differ.
//! Which runnable task goes next, and every random number, is a function of the seed; time stands still while anything is runnable and then jumps to the next timer.
//! Sockets work as in production, over a network in memory: [`NetConfig`] sets it up, [`LabNet`] disturbs it under way.
//! Files work as in production too, on disks in memory: [`LabNode`] is a simulated machine with an address and a disk of its own, which crashes and starts anew; [`LabDisk`] looks at what it keeps.
//! Two runs of one seed give the same trace, byte for byte; what comes from another thread would break that, and is the violation [`Law::ForeignThread`].
//!
//! # Examples
//! ```
//! use asupersync_lab::{LabConfig, LabRuntime};
//! use asupersync_core::Cancelled;
//! use std::time::Duration;
//!
//! let report = LabRuntime::new(LabConfig::default().seed(42)).run(async |cx| {
//!     cx.sleep(Duration::from_secs(3600)).await?;
//!     Ok::<_, Cancelled>(cx.now())
//! });
//! report.assert_clean();
//! assert_eq!(report.elapsed, Duration::from_secs(3600));
//! ```
#![forbid(unsafe_code)]

mod artifacts;
mod chaos;
mod check;
mod config;
mod crashpack;
mod disk;
mod faults;
mod finding;
mod host;
mod instruments;
mod interrupt;
mod invariant;
mod keyed;
mod lab;
mod linear;
#[cfg(feature = "mutations")]
mod mutants;
mod net;
mod node;
mod oracle;
mod ports;
mod process;
mod quiet;
mod report;
mod schedule;
mod script;
mod search;
mod seeds;
mod shrink;
mod snapshot;
mod strategy;
mod timeline;
mod var;

pub use asupersync_trace::{
    DecodeError, Divergence, EncodeError, Estimate, Fault, Fingerprint, Structure, StructureError,
    Trace, TraceEvent,
};
pub use check::Check;
pub use config::LabConfig;
pub use crashpack::{Crashpack, CrashpackError};
pub use disk::{DiskFaults, LabDisk};
pub use faults::Faults;
pub use finding::Finding;
pub use interrupt::{Probe, Way, every_await};
pub use invariant::Moment;
pub use lab::LabRuntime;
pub use linear::{History, Model, NotLinearizable, Operation, check_linear};
#[cfg(feature = "mutations")]
pub use mutants::{MutantRow, run_mutants};
pub use net::{LabNet, Latency, NetConfig, NetFaults, PartitionId};
pub use node::LabNode;
pub use oracle::{
    Futurelock, Law, Violation, check_determinism, check_laws, idle_holders, stalled_holders,
};
pub use report::{LabEnd, LabReport};
pub use schedule::{Cut, Schedule, ScheduleError};
pub use search::{Failure, Run, Search, SearchReport, Systematic, minimize, replay};
pub use seeds::{Seeds, check_seeds};
pub use snapshot::{InvalidSnapshot, RestorableSnapshot, SNAPSHOT_VERSION, SnapshotError};
pub use strategy::{Strategy, UnknownStrategy};
pub use timeline::{Row, Timeline};
pub use var::Var;
