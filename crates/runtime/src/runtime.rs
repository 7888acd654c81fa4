//! The runtime: its threads, and the program that runs on them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use asupersync_core::{Budget, CancelKind, ErrOf, IntoOutcome, OkOf, Outcome, Time};
use asupersync_kernel::{Cx, Root, RootOptions, Unfinished, WorkerId, run_root};
use asupersync_sched::{Parker, Worker};

use crate::builder::{BuildError, RuntimeBuilder};
use crate::flight::{Cause, FlightRecorder};
use crate::host::{Metrics, RuntimeHost, WakeWorker};
use crate::local;
use crate::monitor::Monitor;
use crate::queued::Queued;
use crate::worker::Loop;

/// Threads, clock, reactor and blocking pool for one program at a time.
///
/// The thread that calls [`block_on`](Self::block_on) is worker 0; a runtime with one worker has no other thread.
pub struct Runtime {
    host: Arc<RuntimeHost>,
    /// Worker 0, while no program runs.
    place: Option<(Worker<Queued>, Parker)>,
    threads: Vec<JoinHandle<()>>,
    monitor: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    shutdown_timeout: Duration,
    report: ShutdownReport,
}

/// What a program left behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// What had not ended when the shutdown budget was spent; empty after an orderly end.
    pub unfinished: Vec<Unfinished>,
    /// How long the close protocol took after the root body ended or a signal came.
    pub took: Duration,
    /// How many signals came while the program ran.
    pub signals: u32,
}

pub(crate) struct Parts {
    pub(crate) host: Arc<RuntimeHost>,
    pub(crate) places: Vec<(Worker<Queued>, Parker)>,
    pub(crate) shutdown_timeout: Duration,
}

impl Runtime {
    /// A runtime with the defaults of [`RuntimeBuilder`].
    ///
    /// # Errors
    /// [`BuildError`], if the operating system refuses a resource.
    pub fn new() -> Result<Self, BuildError> {
        RuntimeBuilder::new().build()
    }

    /// Builds a runtime of a chosen shape.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    pub(crate) fn start(parts: Parts) -> Result<Self, BuildError> {
        let Parts {
            host,
            places,
            shutdown_timeout,
        } = parts;
        let mut places = places.into_iter();
        let place = places.next();
        let mut runtime = Self {
            host,
            place,
            threads: Vec::new(),
            monitor: None,
            stop: Arc::new(AtomicBool::new(false)),
            shutdown_timeout,
            report: ShutdownReport::default(),
        };
        for (worker, parker) in places {
            let index = worker.index();
            let thread = runtime
                .start_worker(worker, parker)
                .map_err(|source| BuildError::Thread { index, source })?;
            runtime.threads.push(thread);
        }
        runtime.monitor = runtime.start_monitor().map_err(BuildError::Monitor)?;
        Ok(runtime)
    }

    fn start_worker(
        &self,
        worker: Worker<Queued>,
        parker: Parker,
    ) -> std::io::Result<JoinHandle<()>> {
        let (host, stop) = (Arc::clone(&self.host), Arc::clone(&self.stop));
        let name = format!("asupersync-{}", worker.index());
        std::thread::Builder::new().name(name).spawn(move || {
            let local = local::enter(&host, worker);
            let mut work = Loop::new(host, local, parker);
            work.run(&stop);
            let (local, _) = work.into_parts();
            // What is left was given up by the program; each entry ends its task.
            drop(local::leave(local).drain());
        })
    }

    fn start_monitor(&self) -> std::io::Result<Option<JoinHandle<()>>> {
        if self.host.monitor.is_none() {
            return Ok(None);
        }
        let host = Arc::clone(&self.host);
        let name = "asupersync-monitor".to_owned();
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || Monitor::run(&host)).map(Some)
    }

    /// Runs a program: `body` in the root region, on this thread, until nothing of the program is left.
    ///
    /// The body may borrow from the caller and need not be `Send`.
    /// When it has ended, whatever it left to close is closed; SIGINT and SIGTERM cancel the program with `Shutdown`.
    /// Between two programs they do nothing by default; see [`RuntimeBuilder::handle_signals`].
    /// After the shutdown budget, or a second signal, what has not ended is left behind and stands in [`last_shutdown`](Self::last_shutdown).
    /// # Errors
    /// The outcome is the body's.
    /// # Panics
    /// If this thread runs a program already: a task cannot call `block_on`.
    pub fn block_on<F, Fut>(&mut self, body: F) -> Outcome<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        assert!(
            !local::is_worker(),
            "`block_on` was called by a task; await the future instead, or use `cx.blocking`"
        );
        let (worker, parker) = self
            .place
            .take()
            .expect("a program borrows the runtime mutably");
        let local = local::enter(&self.host, worker);
        let mut work = Loop::new(Arc::clone(&self.host), local, parker);
        let options = RootOptions {
            budget: Budget::UNLIMITED,
            home: WorkerId(0),
            waker: Waker::from(Arc::new(WakeWorker {
                host: Arc::clone(&self.host),
                worker: 0,
            })),
        };
        let mut closing = Closing::new(&self.host, self.shutdown_timeout);
        let kernel_host: Arc<dyn asupersync_kernel::Host> = self.host.clone();
        let end = run_root(kernel_host, options, body, |root| {
            closing.turn(root, &mut work)
        });
        self.report = closing.report(end.unfinished);
        if !self.report.unfinished.is_empty() {
            self.host.save_flight(Cause::Unfinished);
        }
        self.host.attach(None);
        work.publish_counters();
        let (local, parker) = work.into_parts();
        self.place = Some((local::leave(local), parker));
        end.outcome
    }

    /// What the last program left behind.
    #[must_use]
    pub const fn last_shutdown(&self) -> &ShutdownReport {
        &self.report
    }

    /// The flight recorder, if [`RuntimeBuilder::flight_recorder`] switched it on; also for other threads, through a clone.
    #[must_use]
    pub fn flight_recorder(&self) -> Option<&FlightRecorder> {
        self.host.flight.as_ref()
    }

    /// What the workers have done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (blocking_threads, blocking_threads_started) = self.host.blocking.threads();
        Metrics {
            workers: self
                .host
                .metrics
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            blocking_threads,
            blocking_threads_started,
            obligations_leaked: self.host.leaks.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(monitor) = &self.host.monitor {
            monitor.stop();
        }
        if let Some(thread) = self.monitor.take() {
            // Its listener's panics are contained, so it ends without one.
            let _ = thread.join();
        }
        for worker in 1..self.host.unparkers.len() {
            self.host.wake(worker);
        }
        if let Some((worker, _)) = self.place.take() {
            drop(worker.drain());
        }
        let stuck = !self.report.unfinished.is_empty();
        for thread in self.threads.drain(..) {
            if !stuck || thread.is_finished() {
                // A worker thread ends without a panic: tasks are caught by the kernel.
                let _ = thread.join();
            }
        }
        self.host.blocking.close(if stuck {
            Duration::ZERO
        } else {
            self.shutdown_timeout
        });
    }
}

/// The root's loop: run tasks until nothing is left, within the shutdown budget.
struct Closing<'a> {
    host: &'a Arc<RuntimeHost>,
    timeout: Duration,
    /// When the close protocol began.
    since: Option<Time>,
    signals_before: u32,
    attached: bool,
}

impl<'a> Closing<'a> {
    fn new(host: &'a Arc<RuntimeHost>, timeout: Duration) -> Self {
        let signals_before = host.signals.count();
        Self {
            host,
            timeout,
            since: None,
            signals_before,
            attached: false,
        }
    }

    fn turn(&mut self, root: &Root, work: &mut Loop) -> ControlFlow<()> {
        if !self.attached {
            self.host.attach(Some(root.program()));
            self.attached = true;
        }
        let ran = work.run_some(|| root.body_ended() || self.signals() > 0);
        if root.is_quiescent() {
            return ControlFlow::Break(());
        }
        let give_up_at = self.give_up_at(root);
        if give_up_at.is_some_and(|at| self.host.clock.now() >= at) || self.signals() > 1 {
            return ControlFlow::Break(());
        }
        if !ran || root.body_ended() {
            work.idle(|| root.is_quiescent() || self.signals() > 1, give_up_at);
        }
        ControlFlow::Continue(())
    }

    /// When the shutdown budget is spent, if closing has begun.
    fn give_up_at(&mut self, root: &Root) -> Option<Time> {
        if self.since.is_none() && (root.body_ended() || self.signals() > 0) {
            self.since = Some(self.host.clock.now());
            root.cancel(CancelKind::Shutdown, "the program is shutting down");
        }
        self.since.map(|since| since + self.timeout)
    }

    fn signals(&self) -> u32 {
        self.host.signals.count() - self.signals_before
    }

    fn report(&self, unfinished: Vec<Unfinished>) -> ShutdownReport {
        let now = self.host.clock.now();
        // A program may end before this loop has seen the signal that asked it to.
        let since = [self.host.signals.asked_at(), self.since];
        let since = since.into_iter().flatten().min();
        let took = since.map_or(Duration::ZERO, |since| now.saturating_since(since));
        ShutdownReport {
            unfinished,
            took,
            signals: self.signals(),
        }
    }
}

#[cfg(test)]
mod tests {
    use asupersync_core::Cancelled;
    use asupersync_reactor::os::{Interest, UnixStream};

    use super::*;

    #[test]
    fn the_watch_for_signals_is_no_source_for_which_a_busy_worker_asks() {
        let mut runtime = RuntimeBuilder::new().worker_threads(1).build().unwrap();
        let end = runtime.block_on(async |cx| {
            cx.sleep(Duration::from_millis(2)).await?;
            Ok::<_, Cancelled>(())
        });
        assert_eq!(end, Outcome::Ok(()));
        let host = &runtime.host;
        assert_eq!(host.reactor_handle.source_count(), 1, "it slept");
        assert!(!host.has_sources());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = host.reactor_handle.register(ours, Interest::READABLE);
        assert!(host.has_sources());
        drop(source);
        assert!(!host.has_sources());
    }

    /// The last task ends on another worker, whose wake finds this one with nothing to run but the program over.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about a poll that lasts")]
    fn who_leaves_its_worker_no_longer_counts_as_searching() {
        let mut runtime = Runtime::builder().worker_threads(2).build().unwrap();
        for _ in 0..10 {
            let started = Arc::new(AtomicBool::new(false));
            let end = runtime.block_on(async |cx| {
                let there = Arc::clone(&started);
                let mut left = Box::pin(cx.region(async move |scope| {
                    scope.spawn(async move |_: Cx| {
                        there.store(true, Ordering::Release);
                        std::thread::sleep(Duration::from_millis(5));
                        Ok::<_, Cancelled>(())
                    });
                    // It takes the slot, from where the first task becomes stealable.
                    scope.spawn(async |_: Cx| Ok::<_, Cancelled>(()));
                    std::future::pending::<Result<(), Cancelled>>().await
                }));
                assert!(futures_util::poll!(left.as_mut()).is_pending());
                while !started.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                Ok::<_, Cancelled>(())
            });
            assert_eq!(end, Outcome::Ok(()));
            let (worker, _) = runtime.place.as_ref().unwrap();
            assert!(!worker.is_searching());
        }
    }
}
