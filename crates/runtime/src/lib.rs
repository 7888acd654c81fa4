//! The production host: worker threads, clock, reactor, blocking pool and signals around the kernel.
//!
//! [`Runtime::block_on`] runs a program in a root region on the calling thread, which is worker 0, and on the runtime's other workers.
//! It returns when nothing of the program is left; the shutdown budget bounds how long that takes after a signal.
//! What happened last can be kept in bounded memory, and read or saved at any moment: [`FlightRecorder`].
//!
//! What is not here: tasks, regions and cancellation (the kernel), queues (the scheduler), sockets (`net`).
#![expect(
    unsafe_code,
    reason = "a signal handler is registered, and a thread finds its worker by one load"
)]

mod blocking;
mod builder;
mod clock;
mod exit;
mod flight;
mod host;
mod local;
mod monitor;
mod queued;
mod runtime;
mod signal;
mod spin;
mod ticks;
mod timers;
mod worker;

pub use blocking::BlockingConfig;
pub use builder::{BuildError, RuntimeBuilder};
pub use exit::{exit_code, run_main};
pub use flight::{FlightConfig, FlightError, FlightRecorder};
pub use host::Metrics;
pub use monitor::MonitorConfig;
pub use runtime::{Runtime, ShutdownReport};
