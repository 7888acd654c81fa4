//! The kernel's ports, served by threads and the operating system.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, SystemTime};

use asupersync_core::{PanicPayload, RegionId, Time};
use asupersync_kernel::{
    Event, Host, KernelConfig, Lane, Program, Report, Runnable, TimerKey, WorkerId,
};
use asupersync_reactor::{Reactor, ReactorHandle};
use asupersync_sched::{Counters, Shared, Unparker, Worker};

use crate::blocking::BlockingPool;
use crate::clock::Clock;
use crate::flight::{Cause, FlightRecorder};
use crate::local;
use crate::monitor::Monitor;
use crate::queued::Queued;
use crate::signal::Signals;
use crate::ticks;
use crate::timers::Timers;

/// What hears of reports.
pub(crate) type OnReport = Arc<dyn Fn(&Report) + Send + Sync>;

/// The production host.
pub(crate) struct RuntimeHost {
    pub(crate) config: KernelConfig,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared<Queued>>,
    pub(crate) unparkers: Vec<Unparker>,
    pub(crate) timers: Timers,
    /// Held by the worker that sleeps in the reactor.
    pub(crate) reactor: Mutex<Reactor>,
    pub(crate) reactor_handle: ReactorHandle,
    pub(crate) blocking: BlockingPool,
    pub(crate) signals: Signals,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) flight: Option<FlightRecorder>,
    pub(crate) on_report: OnReport,
    pub(crate) ports: Vec<(TypeId, Box<dyn Any + Send + Sync>)>,
    pub(crate) metrics: Mutex<Vec<Counters>>,
    pub(crate) regions: AtomicU64,
    pub(crate) numbers: AtomicU64,
    pub(crate) leaks: AtomicU64,
    /// How often the governor looks, in dispatches; 0 is never.
    pub(crate) governor_interval: u32,
    /// How many obligations are open, and since when without a moment of none, in nanoseconds.
    pub(crate) obligations: AtomicI64,
    pub(crate) obligations_since: AtomicU64,
}

/// What the workers have done, and what the blocking pool holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Each worker's dispatches and fairness counters, as of its last sleep or end.
    pub workers: Vec<Counters>,
    /// Threads of the blocking pool now.
    pub blocking_threads: usize,
    /// Threads of the blocking pool ever started.
    pub blocking_threads_started: u64,
    /// Obligations leaked so far.
    pub obligations_leaked: u64,
}

impl RuntimeHost {
    /// How long obligations have been open without a moment of none.
    pub(crate) fn obligation_age(&self, now: Time) -> Duration {
        if self.obligations.load(Ordering::Relaxed) <= 0 {
            return Duration::ZERO;
        }
        let since = self.obligations_since.load(Ordering::Relaxed);
        now.saturating_since(Time::from_nanos(since))
    }

    /// Tells signals and the monitor which program runs now.
    pub(crate) fn attach(&self, program: Option<Program>) {
        if let Some(monitor) = &self.monitor {
            monitor.attach(program.clone());
        }
        self.signals.attach(program);
    }

    /// Whether the program has sources under the reactor's watch.
    pub(crate) fn has_sources(&self) -> bool {
        self.reactor_handle.source_count() > self.signals.watches()
    }

    pub(crate) fn wake(&self, worker: usize) {
        if self.unparkers[worker].unpark() {
            // A refusal leaves the wake noted for the next turn; the sleeper's timeout bounds the delay.
            let _ = self.reactor_handle.wake();
        }
    }

    /// Wakes a waker whose code may be the program's, on a thread that no panic may end.
    pub(crate) fn wake_contained(&self, waker: Waker) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            self.report(Report::PanicContained {
                place: "a timer's waker",
                message: PanicPayload::new(payload).message().to_owned(),
            });
        }
    }

    #[inline]
    fn wake_any(&self, worker: Option<usize>) {
        if let Some(worker) = worker {
            self.wake(worker);
        }
    }

    #[cold]
    fn schedule_pinned(&self, task: Queued, lane: Lane, worker: usize) {
        self.wake_any(match lane {
            Lane::Cancel => self.shared.pin_cancel(worker, task),
            Lane::Timed { deadline, priority } => {
                self.shared.pin_timed(worker, task, deadline, priority)
            }
            Lane::Ready | Lane::Yielded => self.shared.pin(worker, task),
        });
    }

    #[inline]
    fn schedule_here(&self, task: Queued, lane: Lane, worker: &Worker<Queued>) {
        self.wake_any(match lane {
            Lane::Yielded => return worker.push_yielded(task),
            Lane::Ready => worker.push_woken(task),
            Lane::Cancel => worker.push_cancel(task),
            Lane::Timed { deadline, priority } => worker.push_timed(task, deadline, priority),
        });
    }

    #[inline(never)]
    fn schedule_from_afar(&self, task: Queued, lane: Lane) {
        self.wake_any(match lane {
            Lane::Cancel => self.shared.inject_cancel(task),
            Lane::Timed { deadline, priority } => {
                self.shared.inject_timed(task, deadline, priority)
            }
            Lane::Ready | Lane::Yielded => self.shared.inject(task),
        });
    }
}

impl Host for RuntimeHost {
    fn config(&self) -> &KernelConfig {
        &self.config
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn moment(&self) -> Option<u64> {
        Some(ticks::moment(self.clock))
    }

    fn wall_now(&self) -> SystemTime {
        Clock::wall_now()
    }

    fn schedule(&self, task: Runnable, lane: Lane, pinned: Option<WorkerId>) {
        let task = Queued(task);
        match pinned {
            Some(worker) => self.schedule_pinned(task, lane, usize::from(worker.0)),
            None => local::with(self, |local| match local {
                Some(local) => self.schedule_here(task, lane, &local.worker),
                None => self.schedule_from_afar(task, lane),
            }),
        }
    }

    fn schedule_cancelled(&self, tasks: &mut Vec<Runnable>) {
        let tasks = tasks.drain(..).map(Queued);
        let woken = local::with(self, |local| match local {
            Some(local) => local.worker.push_cancelled(tasks),
            None => self.shared.inject_cancelled(tasks),
        });
        self.wake_any(woken);
    }

    fn current_worker(&self) -> Option<WorkerId> {
        local::with(self, |local| {
            let index = local?.worker.index();
            Some(WorkerId(
                u8::try_from(index).expect("a scheduler has at most 64 workers"),
            ))
        })
    }

    fn timer_insert(&self, at: Time, waker: Waker) -> TimerKey {
        let shard = local::with(self, |local| local.map(|local| local.worker.index()));
        match shard {
            Some(shard) => self.timers.insert(shard, at, waker),
            None => {
                let key = self.timers.insert(0, at, waker);
                // Worker 0 may sleep past the new deadline.
                self.wake(0);
                key
            }
        }
    }

    fn timer_cancel(&self, key: TimerKey) {
        self.timers.cancel(key);
    }

    fn next_region(&self) -> RegionId {
        RegionId::new(self.regions.fetch_add(1, Ordering::Relaxed))
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn random_u64(&self) -> u64 {
        fastrand::u64(..)
    }

    fn run_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        self.blocking.run(job);
    }

    fn record(&self, event: Event) {
        if let Some(monitor) = &self.monitor {
            monitor.see(self.clock.now(), &event);
        }
        let Some(flight) = &self.flight else { return };
        // The monitor's, which come with each operation on a lock.
        if !matches!(event, Event::Operation { .. }) {
            local::with(self, |local| flight.keep(local, &event));
            self.save_flight_after(&event);
        }
    }

    fn report(&self, report: Report) {
        // There is nobody left to tell that the listener panicked.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.on_report)(&report)));
    }

    fn count_leaks(&self, count: u32) -> u64 {
        self.save_flight_soon(Cause::Leak);
        self.leaks.fetch_add(u64::from(count), Ordering::Relaxed) + u64::from(count)
    }

    fn obligations_changed(&self, change: i64) {
        if self.obligations.fetch_add(change, Ordering::Relaxed) == 0 {
            self.obligations_since
                .store(self.clock.now().as_nanos(), Ordering::Relaxed);
        }
    }

    fn port(&self, port: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.ports
            .iter()
            .find(|(id, _)| *id == port)
            .map(|(_, port)| &**port)
    }
}

/// Wakes one worker; the root region's waker.
pub(crate) struct WakeWorker {
    pub(crate) host: Arc<RuntimeHost>,
    pub(crate) worker: usize,
}

impl Wake for WakeWorker {
    fn wake(self: Arc<Self>) {
        self.host.wake(self.worker);
    }
}
