//! The zoo: small programs with known concurrency bugs, each beside its fixed twin.
//!
//! A search over schedules is measured by what it finds, so here is what there is to find.
//! [`programs`] lists every [`Program`]: its pattern, its fix, how the bug shows, and both twins as functions of a context.
//!
//! # Where the patterns come from
//! - [`Family::Threads`]: SCTBench, the benchmark of systematic concurrency testing for threads and locks.
//! - [`Family::Go`]: GoBench's GoKer, the kernels of bugs in large Go programs, blocking and not.
//! - [`Family::AsyncRust`]: what cancellation, dropped futures and wakers do to async programs.
//!
//! Only the patterns are taken over; every program is written anew for tasks, regions and contexts.
//!
//! # What holds for all of them
//! - The schedule alone decides whether the bug shows: nothing is drawn, nothing is static, and who cancels is a task of the program.
//! - What tasks share is a [`Var`](asupersync_lab::Var) or a primitive of `asupersync_sync`, so every access is in the trace.
//! - Two to eight tasks, and few steps each.
//!
//! # Examples
//! ```
//! use asupersync_lab::LabRuntime;
//! use asupersync_zoo::programs;
//!
//! let program = programs().iter().find(|program| program.name == "twostage").unwrap();
//! let run = |body, seed| LabRuntime::new(program.config().seed(seed)).run(body);
//! let found = (0..1000).find(|seed| program.shows.in_report(&run(program.buggy, *seed)));
//! assert!(found.is_some());
//! let report = run(program.fixed, found.unwrap());
//! assert!(report.is_clean() && report.outcome.is_ok());
//! ```
#![forbid(unsafe_code)]

mod async_rust;
mod error;
mod go;
mod program;
mod stage;
mod threads;

pub use error::ZooError;
pub use program::{Body, Family, Program, Shows, programs};
