//! How a runtime is built.

use std::any::{Any, TypeId};
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use asupersync_core::{LeakResponse, TaskId};
use asupersync_fs::FsPort;
use asupersync_kernel::{KernelConfig, LeakEscalation, Report};
use asupersync_net::NetPort;
use asupersync_reactor::{Reactor, ReactorHandle};
use asupersync_sched::{Counters, Parker, SchedConfig, Shared, WORKERS_MAX};
use asupersync_time::WheelConfig;

use crate::blocking::{BlockingConfig, BlockingPool};
use crate::clock::Clock;
use crate::flight::{FlightConfig, FlightRecorder};
use crate::host::{OnReport, RuntimeHost};
use crate::monitor::{Monitor, MonitorConfig};
use crate::runtime::{Parts, Runtime};
use crate::signal::Signals;
use crate::timers::Timers;

/// Why a runtime could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of worker threads is out of range.
    #[error("a runtime has 1 to {WORKERS_MAX} worker threads, not {actual}; set `worker_threads`")]
    WorkerThreads {
        /// What was asked for.
        actual: usize,
    },
    /// A streak limit is zero.
    #[error("a streak limit of 0 would starve its lane; use at least 1")]
    StreakLimit,
    /// The reactor could not be made.
    #[error("the operating system refused a reactor; are file descriptors exhausted?")]
    Reactor(#[source] io::Error),
    /// A signal handler could not be installed.
    #[error("the handlers for SIGINT and SIGTERM could not be installed")]
    Signals(#[source] io::Error),
    /// The monitor's thread could not be started.
    #[error("the monitor's thread could not be started")]
    Monitor(#[source] io::Error),
    /// A worker thread could not be started.
    #[error("worker thread {index} could not be started")]
    Thread {
        /// Which one.
        index: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A port under its type.
type Port = (TypeId, Box<dyn Any + Send + Sync>);

/// Makes a port once the reactor exists.
type MakePort = Box<dyn FnOnce(&ReactorHandle) -> Port>;

/// Builds a [`Runtime`].
///
/// # Examples
/// ```
/// use asupersync_runtime::RuntimeBuilder;
/// use asupersync_core::Outcome;
/// let mut runtime = RuntimeBuilder::new().worker_threads(2).build()?;
/// let end = runtime.block_on(async |cx| {
///     cx.checkpoint()?;
///     Ok::<_, asupersync_core::Cancelled>(7)
/// });
/// assert_eq!(end, Outcome::Ok(7));
/// # Ok::<_, asupersync_runtime::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    sched: SchedConfig,
    kernel: KernelConfig,
    blocking: BlockingConfig,
    timers: WheelConfig,
    shutdown_timeout: Duration,
    signals: bool,
    governor_interval: u32,
    monitor: Option<MonitorConfig>,
    flight: Option<FlightConfig>,
    on_report: OnReport,
    ports: Vec<MakePort>,
}

impl Default for RuntimeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl RuntimeBuilder {
    /// As many workers as the machine has cores, and defaults that suit a service.
    pub fn new() -> Self {
        Self {
            workers: None,
            sched: SchedConfig::default(),
            kernel: KernelConfig::default(),
            blocking: BlockingConfig::default(),
            timers: WheelConfig::STANDARD,
            shutdown_timeout: Duration::from_secs(30),
            signals: true,
            governor_interval: 0,
            monitor: None,
            flight: None,
            on_report: Arc::new(print_report),
            ports: Vec::new(),
        }
    }

    /// How many threads run tasks, the one that calls `block_on` included; 1..=64.
    pub fn worker_threads(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// After so many cancelled tasks in a row another lane has its turn; 16 unless set.
    pub fn cancel_streak_limit(mut self, dispatches: u32) -> Self {
        self.sched.cancel_streak_limit = dispatches;
        self
    }

    /// After so many tasks with deadlines in a row the ready lane has its turn; 16 unless set.
    pub fn timed_streak_limit(mut self, dispatches: u32) -> Self {
        self.sched.timed_streak_limit = dispatches;
        self
    }

    /// Every so many dispatches a worker weighs deadlines, draining and open obligations, and shifts turns between its lanes; off unless set, and 32 is a good start.
    pub fn governor_interval(mut self, dispatches: u32) -> Self {
        self.governor_interval = dispatches;
        self.kernel.gauge_obligations = dispatches > 0;
        self
    }

    /// Looks for tasks that do not yield and for futurelocks, on a thread of its own; off unless set.
    ///
    /// What is found goes to [`on_report`](Self::on_report), as [`Report::NeverYields`] and [`Report::Futurelock`].
    /// Cost while it is on: two uncontended writes a poll, and a shared lock with each operation on a lock or channel.
    pub fn deadline_monitoring(mut self, config: MonitorConfig) -> Self {
        self.kernel.record_holds = true;
        self.monitor = Some(config);
        self
    }

    /// Keeps what happened last to tasks, regions, cancellations and obligations; off unless set.
    ///
    /// It is read with [`Runtime::flight_recorder`], or by tasks with `cx.port::<FlightRecorder>()`.
    /// Cost while it is on: a look at the clock and one cache line for each such event.
    pub fn flight_recorder(mut self, config: FlightConfig) -> Self {
        self.kernel.record_structure = true;
        self.flight = Some(config);
        self
    }

    /// How long a timer may wait for those behind it, so that one waking serves them all; 500 µs unless set.
    ///
    /// A timer that is alone within that window is not delayed; with no window none is.
    /// A timer may besides be late by a tick, which is 8 µs, or up to a 32nd of the window where that is more, and by as long as the operating system takes to wake a thread.
    ///
    /// # Examples
    /// ```
    /// use asupersync_runtime::RuntimeBuilder;
    /// use std::time::Duration;
    /// // For a program that plays sound, and would rather wake often.
    /// let prompt = RuntimeBuilder::new().timer_coalescing(Duration::ZERO);
    /// // For one that sleeps on a battery.
    /// let lazy = RuntimeBuilder::new().timer_coalescing(Duration::from_millis(50));
    /// # let _ = (prompt, lazy);
    /// ```
    pub fn timer_coalescing(mut self, window: Duration) -> Self {
        self.timers = WheelConfig::of_window(window);
        self
    }

    /// How long the close protocol may take once the root body has ended or a signal has come; 30 s unless set.
    ///
    /// What has not ended then is reported and left behind.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Whether SIGINT and SIGTERM shut the program down in order; they do unless switched off.
    ///
    /// The handlers are the process's, and [`build`](Self::build) installs them for the first runtime that listens.
    /// They stay for the rest of the process, also when no runtime is left: a signal that finds no program running no longer ends the process, and by default does nothing.
    /// Handlers of the program's own, registered before through the operating system or at any time through `signal-hook-registry`, are called as well.
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.signals = handle;
        self
    }

    /// The blocking pool's size.
    pub fn blocking(mut self, config: BlockingConfig) -> Self {
        self.blocking = config;
        self
    }

    /// What happens when a task ends while it still owes something.
    pub fn obligation_leak_response(mut self, response: LeakResponse) -> Self {
        self.kernel.leak_response = response;
        self
    }

    /// A different response once leaks have become frequent.
    pub fn leak_escalation(mut self, escalation: LeakEscalation) -> Self {
        self.kernel.leak_escalation = Some(escalation);
        self
    }

    /// Whether each obligation is recorded with the line that made it; in debug builds they are unless switched off.
    pub fn record_obligations(mut self, record: bool) -> Self {
        self.kernel.record_obligations = record;
        self
    }

    /// Hears of leaks and contained panics instead of standard error.
    pub fn on_report(mut self, hear: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_report = Arc::new(hear);
        self
    }

    /// Adds a driver of a higher layer, found by its type with `cx.port()`; a [`NetPort`] replaces the operating system's network, and an [`FsPort`] its files.
    pub fn port<P: Send + Sync + 'static>(
        mut self,
        make: impl FnOnce(&ReactorHandle) -> P + 'static,
    ) -> Self {
        self.ports.push(Box::new(|reactor| {
            (TypeId::of::<P>(), Box::new(make(reactor)))
        }));
        self
    }

    /// Starts the worker threads.
    ///
    /// # Errors
    /// [`BuildError`], if a number is out of range or the operating system refuses a resource.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let workers = self.workers.unwrap_or_else(cores);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(BuildError::WorkerThreads { actual: workers });
        }
        if self.sched.cancel_streak_limit == 0 || self.sched.timed_streak_limit == 0 {
            return Err(BuildError::StreakLimit);
        }
        let reactor = Reactor::new().map_err(BuildError::Reactor)?;
        let handle = reactor.handle();
        let signals = if self.signals {
            Signals::listen().map_err(BuildError::Signals)?
        } else {
            Signals::ignored()
        };
        let (shared, sched_workers) = Shared::new(SchedConfig {
            workers,
            processors: if workers > 1 { processors() } else { 1 },
            ..self.sched
        });
        let flight = self.flight;
        let clock = Clock::new();
        let flight = flight.map(|config| FlightRecorder::new(config, workers, clock));
        let mut ports = make_ports(self.ports, &handle);
        if let Some(flight) = &flight {
            ports.push((TypeId::of::<FlightRecorder>(), Box::new(flight.clone())));
        }
        let parkers: Vec<Parker> = (0..workers).map(|_| Parker::new()).collect();
        let host = Arc::new(RuntimeHost {
            config: self.kernel,
            clock,
            shared,
            unparkers: parkers.iter().map(Parker::unparker).collect(),
            timers: Timers::new(workers, self.timers),
            reactor: Mutex::new(reactor),
            blocking: BlockingPool::new(self.blocking),
            signals,
            monitor: self.monitor.map(|config| Monitor::new(config, workers)),
            on_report: self.on_report,
            flight,
            ports,
            reactor_handle: handle,
            metrics: Mutex::new(vec![Counters::default(); workers]),
            regions: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            leaks: AtomicU64::new(0),
            governor_interval: self.governor_interval,
            obligations: AtomicI64::new(0),
            obligations_since: AtomicU64::new(0),
        });
        let places = sched_workers.into_iter().zip(parkers).collect();
        Runtime::start(Parts {
            host,
            places,
            shutdown_timeout: self.shutdown_timeout,
        })
    }
}

/// The program's ports, and the operating system's network and files unless it brought its own.
fn make_ports(ports: Vec<MakePort>, reactor: &ReactorHandle) -> Vec<Port> {
    let mut ports: Vec<Port> = ports.into_iter().map(|make| make(reactor)).collect();
    let net = TypeId::of::<NetPort>();
    if ports.iter().all(|(port, _)| *port != net) {
        ports.push((net, Box::new(NetPort::os(reactor.clone()))));
    }
    let fs = TypeId::of::<FsPort>();
    if ports.iter().all(|(port, _)| *port != fs) {
        ports.push((fs, Box::new(FsPort::os())));
    }
    ports
}

/// As many workers as can run at the same time; asked once, since it takes as long as to start a runtime.
fn processors() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(cores)
}

fn cores() -> usize {
    std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(WORKERS_MAX)
}

fn print_report(report: &Report) {
    match report {
        Report::ObligationLeaked {
            holder,
            owed,
            count,
        } => {
            eprintln!("asupersync: {holder:?} ended while it owed {count} obligation(s)");
            for owed in owed {
                eprintln!("    a {} reserved at {}", owed.kind, owed.site);
            }
        }
        Report::ObligationDropped { holder, owed } => {
            eprintln!(
                "asupersync: {holder:?} dropped a {} reserved at {}",
                owed.kind, owed.site
            );
        }
        Report::Futurelock {
            kind,
            holder,
            holder_name,
            owed,
            waiter,
            waiter_name,
            idle,
        } => {
            eprintln!(
                "asupersync: {} waits for a {kind} that {} holds and has not been polled for {idle:?}",
                person(*waiter, waiter_name.as_deref()),
                person(*holder, holder_name.as_deref()),
            );
            for owed in owed {
                eprintln!("    a {} reserved at {}", owed.kind, owed.site);
            }
        }
        Report::NeverYields {
            task,
            name,
            worker,
            running,
        } => eprintln!(
            "asupersync: {} has kept worker {} for {running:?} without yielding; let it await, or move its work to `cx.blocking`",
            person(*task, name.as_deref()),
            worker.0,
        ),
        Report::PanicContained { place, message } => {
            eprintln!("asupersync: {place} panicked: {message}");
        }
        Report::FlightSaved { cause, path } => eprintln!(
            "asupersync: after a {cause}, what happened last was saved; `asupersync lab show {}` opens it",
            path.display()
        ),
        Report::FlightNotSaved { cause, message } => {
            eprintln!("asupersync: after a {cause}, what happened last was not saved: {message}");
        }
        other => eprintln!("asupersync: {other:?}"),
    }
}

/// A task for people: its name if it has one.
fn person(task: TaskId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("`{name}` ({task})"),
        None => task.to_string(),
    }
}
