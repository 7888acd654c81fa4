//! An async runtime in which correctness is structural: the door to its crates.
//!
//! Start with [`Cx::region`], the one way to run things concurrently, and with `#[asupersync::main]`.
//! The README's example, and the guarantees with their tests, stand at the root of the repository.
//!
//! # Features
//! `runtime`, `lab`, `sync`, `time`, `combinator`, `stream`, `io`, `net`, `fs` and `macros` are on by default; each selects the crate of its name.
//! `lock-metrics` makes `sync::ContendedMutex` record how long it is waited for and held.
#![forbid(unsafe_code)]

#[cfg(feature = "combinator")]
pub use asupersync_combinator as combinator;
pub use asupersync_core::{
    Budget, CancelKind, CancelReason, CancelStage, Cancelled, ChildEnd, Collect, Decision,
    DetHashMap, DetHashSet, Effect, FailFast, IntoOutcome, LeakResponse, ObligationId,
    ObligationKind, Origin, Outcome, OutcomeError, PanicPayload, Policy, RegionId, Severity,
    TaskId, Time, join_outcomes,
};
#[cfg(feature = "fs")]
pub use asupersync_fs as fs;
#[cfg(feature = "io")]
pub use asupersync_io as io;
/// The kernel, for authors of primitives and hosts.
pub use asupersync_kernel as kernel;
pub use asupersync_kernel::{
    BlockingError, Cx, Fiber, JoinHandle, Obligation, RegionOptions, Scope, SpawnOptions, caps,
};
#[cfg(feature = "lab")]
pub use asupersync_lab as lab;
#[cfg(feature = "lab")]
pub use asupersync_lab::{LabConfig, LabRuntime};
#[cfg(all(feature = "macros", feature = "combinator"))]
pub use asupersync_macros::{join, race, scope, select, spawn, try_join};
#[cfg(feature = "macros")]
pub use asupersync_macros::{main, test};
#[cfg(feature = "net")]
pub use asupersync_net as net;
#[cfg(feature = "runtime")]
pub use asupersync_runtime::{
    FlightConfig, FlightError, FlightRecorder, MonitorConfig, Runtime, RuntimeBuilder, exit_code,
    run_main,
};
#[cfg(feature = "stream")]
pub use asupersync_stream as stream;
#[cfg(feature = "sync")]
pub use asupersync_sync as sync;

#[cfg(feature = "time")]
pub mod time {
    //! Clock, intervals and timeouts.
    pub use asupersync_time::{
        Interval, MissedTick, TimeoutError, deadline, interval, interval_at, timeout,
    };
    pub use std::time::Duration;
}

#[cfg(doctest)]
mod migration;
#[cfg(doctest)]
mod migration_stream;
#[cfg(doctest)]
mod migration_tower;
#[cfg(doctest)]
mod readme;
