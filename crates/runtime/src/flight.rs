//! The flight recorder: what happened last, kept in bounded memory while the program runs.
//!
//! # What it does
//! Each worker writes the beginnings and ends of tasks, regions, cancellations and obligations into a ring of its own; other threads share one.
//! The record is read at any moment, through [`FlightRecorder`]; a task reaches it with `cx.port::<FlightRecorder>()`.
//! With a folder it is also saved when a task panics, when an obligation leaks, and when a program ends and leaves something behind.
//!
//! # Invariants
//! - Recording takes no lock and allocates nothing.
//! - A saved record appears whole or not at all; what became of it is reported.
//! - Records are saved on the blocking pool, so that no worker waits for a disk; the one of an unfinished shutdown, by the thread that waited for that shutdown.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use asupersync_core::{Severity, Time};
use asupersync_kernel::{Event, Report};
use asupersync_trace::{EncodeError, EventRings, LastEvents};

use crate::clock::Clock;
use crate::host::RuntimeHost;
use crate::local::Local;
use crate::ticks::Ticks;

/// How much the flight recorder keeps, and where it saves it.
///
/// # Examples
/// ```
/// use asupersync_runtime::{FlightConfig, RuntimeBuilder};
/// let config = FlightConfig {
///     folder: Some("/var/log/ledger".into()),
///     ..FlightConfig::default()
/// };
/// let builder = RuntimeBuilder::new().flight_recorder(config);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlightConfig {
    /// The memory of all rings together, 64 bytes an event; 1 MiB by default.
    pub bytes: usize,
    /// The folder into which the record is saved when something goes wrong; nowhere by default.
    pub folder: Option<PathBuf>,
    /// How many records a runtime saves at most; 16 by default.
    pub files_max: usize,
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            folder: None,
            files_max: 16,
        }
    }
}

/// Why a record could not be saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlightError {
    /// The record has no binary form.
    #[error("the flight record cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The file cannot be written.
    #[error("the flight record {} cannot be written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The record of a running program, in the hands of any thread.
///
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_runtime::{FlightConfig, FlightRecorder, RuntimeBuilder};
///
/// let mut runtime = RuntimeBuilder::new().flight_recorder(FlightConfig::default()).build()?;
/// let events = runtime.block_on(async |cx: Cx| {
///     let recorder = cx.port::<FlightRecorder>().expect("it was switched on");
///     Ok::<_, Cancelled>(recorder.read().trace.events.len())
/// });
/// assert!(matches!(events, Outcome::Ok(events) if events > 0));
/// # Ok::<_, asupersync_runtime::BuildError>(())
/// ```
#[derive(Clone)]
pub struct FlightRecorder(Arc<Inner>);

struct Inner {
    rings: EventRings,
    ticks: Ticks,
    config: FlightConfig,
    /// The ring of threads that are no workers.
    shared: usize,
    /// A record is about to be saved, and will hold what is recorded until then.
    is_pending: AtomicBool,
    saved: AtomicUsize,
}

impl fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightRecorder")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// Why a record is saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    Panic,
    Leak,
    Unfinished,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Leak => "leak",
            Self::Unfinished => "unfinished",
        }
    }
}

impl FlightRecorder {
    pub(crate) fn new(config: FlightConfig, workers: usize, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            rings: EventRings::new(workers + 1, config.bytes),
            ticks: Ticks::new(clock),
            config,
            shared: workers,
            is_pending: AtomicBool::new(false),
            saved: AtomicUsize::new(0),
        }))
    }

    /// What happened last; the program goes on meanwhile.
    #[must_use]
    pub fn read(&self) -> LastEvents {
        let Inner { rings, ticks, .. } = &*self.0;
        rings.read_by(ticks.reading())
    }

    /// Saves what happened last as a recording, which `asupersync lab show` opens; blocks the thread.
    ///
    /// # Errors
    /// [`FlightError`], if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), FlightError> {
        let bytes = self.read().trace.encode()?;
        let part = path.with_extension("part");
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
        written.map_err(|source| FlightError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// Keeps an event of a worker, or of another thread.
    #[inline]
    pub(crate) fn keep(&self, worker: Option<&Local>, event: &Event) {
        let Inner { rings, ticks, .. } = &*self.0;
        match worker {
            // There is one worker of each index, and this thread is it.
            Some(local) => {
                let at = self.stamp(&local.seen);
                rings.push_alone(local.worker.index(), at, local.polled(), event);
            }
            None => rings.push(self.0.shared, ticks.stamp(), None, event),
        }
    }

    /// A worker's stamp, not smaller than that of any event on another thread of which it has seen a consequence.
    #[inline]
    fn stamp(&self, seen: &Cell<u64>) -> Time {
        match self.may_follow(seen) {
            true => self.0.ticks.stamp(),
            false => self.0.ticks.stamp_early(),
        }
    }

    /// Whether what a worker does now may follow from what it had not seen at its last event.
    ///
    /// `seen` is how many events of other threads there were then.
    /// Where there are several workers this is always so, since to look at all their rings costs more than to wait.
    #[inline]
    fn may_follow(&self, seen: &Cell<u64>) -> bool {
        let pushed = self.0.rings.pushed(self.0.shared);
        seen.replace(pushed) != pushed || self.0.shared > 1
    }

    /// Whether a record is to be saved now; says so once until [`save_for`](Self::save_for) reads it.
    fn begins_save(&self) -> bool {
        self.may_save() && !self.0.is_pending.swap(true, Ordering::AcqRel)
    }

    /// Whether there is a folder, and room in it.
    fn may_save(&self) -> bool {
        let config = &self.0.config;
        config.folder.is_some() && self.0.saved.load(Ordering::Relaxed) < config.files_max
    }

    /// Saves the record in the folder; what people should hear of that.
    fn save_for(&self, cause: Cause) -> Option<Report> {
        self.0.is_pending.store(false, Ordering::Release);
        let folder = self.0.config.folder.as_ref()?;
        self.0.saved.fetch_add(1, Ordering::Relaxed);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let cause = cause.name();
        let path = folder.join(format!(
            "flight-{}-{number}-{cause}.trace",
            std::process::id()
        ));
        let made = fs::create_dir_all(folder).map_err(|source| FlightError::File {
            path: folder.clone(),
            source,
        });
        Some(match made.and_then(|()| self.save(&path)) {
            Ok(()) => Report::FlightSaved { cause, path },
            Err(error) => Report::FlightNotSaved {
                cause,
                message: with_cause(&error),
            },
        })
    }
}

impl RuntimeHost {
    /// Saves the flight record soon, if there is one and it has a folder.
    pub(crate) fn save_flight_soon(&self, cause: Cause) {
        let Some(flight) = self.flight.as_ref().filter(|flight| flight.begins_save()) else {
            return;
        };
        let (flight, hear) = (flight.clone(), self.on_report.clone());
        self.blocking.run(Box::new(move || {
            // The pool catches what a listener throws.
            if let Some(report) = flight.save_for(cause) {
                hear(&report);
            }
        }));
    }

    /// Saves the flight record now, if there is one and it has a folder.
    pub(crate) fn save_flight(&self, cause: Cause) {
        let wanted = self.flight.as_ref().filter(|flight| flight.may_save());
        if let Some(report) = wanted.and_then(|flight| flight.save_for(cause)) {
            asupersync_kernel::Host::report(self, report);
        }
    }

    /// Saves the record after an event that asks for it.
    pub(crate) fn save_flight_after(&self, event: &Event) {
        if let Event::TaskEnded {
            severity: Severity::Panicked,
            ..
        } = event
        {
            self.save_flight_soon(Cause::Panic);
        }
    }
}

fn with_cause(error: &FlightError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Numbers of files, so that two runtimes of one process do not meet.
static FILES: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use asupersync_core::ObligationId;
    use asupersync_kernel::Settlement;

    use super::*;

    fn settled(number: u64) -> Event {
        Event::ObligationSettled {
            obligation: ObligationId::new(number),
            settlement: Settlement::Committed,
        }
    }

    #[test]
    fn a_worker_waits_unless_it_is_alone_and_nothing_is_new() {
        for (workers, again) in [(1, false), (2, true)] {
            let flight = FlightRecorder::new(FlightConfig::default(), workers, Clock::new());
            let seen = Cell::new(u64::MAX);
            assert!(flight.may_follow(&seen), "it has come from somewhere");
            assert_eq!(flight.may_follow(&seen), again, "{workers} workers");
            flight.keep(None, &settled(0));
            assert!(flight.may_follow(&seen), "another thread's event is new");
            assert_eq!(flight.may_follow(&seen), again, "{workers} workers");
        }
    }

    /// Nothing stands between the look at what the other thread did and the stamp, so only the stamp can keep them apart.
    #[test]
    fn a_workers_stamp_is_not_before_the_events_whose_consequences_it_has_seen() {
        for workers in [1, 2] {
            let flight = FlightRecorder::new(FlightConfig::default(), workers, Clock::new());
            let Inner { rings, ticks, .. } = &*flight.0;
            let (last, seen) = (AtomicU64::new(0), Cell::new(u64::MAX));
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let at = ticks.stamp();
                        rings.push(workers, at, None, &settled(0));
                        last.store(at.as_nanos(), Ordering::Release);
                    }
                });
                let mut early = 0;
                for _ in 0..300_000 {
                    let cause = last.load(Ordering::Acquire);
                    let at = flight.stamp(&seen);
                    early += u32::from(at.as_nanos() < cause);
                }
                is_over.store(true, Ordering::Relaxed);
                assert_eq!(early, 0, "{workers} workers");
            });
        }
    }
}
