//! The newest events of each worker, in memory of a fixed size.
//!
//! # How
//! Each worker has a ring of its own, into which it writes without an exchange, and all other threads share one.
//! An event is packed into one cache line: what happened, when, and in which poll of which task.
//! Reading merges the rings by time and makes a [`Trace`] of them, which is a recording like any other.
//!
//! # What is kept
//! Beginnings and ends of tasks, regions, cancellations and obligations; other events are passed over.
//! Of a task's name the first 24 bytes are kept, and of the places where tasks are spawned the first 256 different files.
//!
//! # Invariants
//! - Recording takes no lock and allocates nothing; the first event from a file enters the file's name once.
//! - What is read is in the order of each ring; between rings time decides.

use asupersync_core::{TaskId, Time};
use asupersync_kernel::Event;

use crate::record::{Trace, TraceEvent};

mod ring;
mod sites;
mod words;

use ring::Ring;
use sites::Sites;
use words::{Entry, pack, unpack};

/// Rings of the newest events.
///
/// # Examples
/// ```
/// use asupersync_core::{RegionId, Severity, TaskId, Time};
/// use asupersync_kernel::Event;
/// use asupersync_trace::{EventRings, Polled};
///
/// let rings = EventRings::new(2, 1 << 16);
/// let task = TaskId::new(RegionId::new(0), 1);
/// let ended = Event::TaskEnded { task, severity: Severity::Ok };
/// rings.push(0, Time::from_secs(1), Some(Polled { task, poll: 7 }), &ended);
/// let last = rings.read();
/// assert_eq!(last.overwritten, 0);
/// assert_eq!(last.trace.events[0].event, Event::TaskPolled { task });
/// assert_eq!(last.trace.events[1].event, ended);
/// ```
pub struct EventRings {
    rings: Box<[Ring]>,
    sites: Sites,
}

/// The poll in which something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polled {
    /// The task that was polled.
    pub task: TaskId,
    /// Which poll of its worker that was, counted round.
    pub poll: u32,
}

/// What the rings held when they were read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastEvents {
    /// The newest events, each behind the poll in which it happened.
    ///
    /// What no task did stands behind an advance of the clock, if a worker did it, or behind the start of a job.
    /// If events are missing, the first says how many.
    pub trace: Trace,
    /// How many events are missing: overwritten by newer ones, or given up because their place was just being written.
    pub overwritten: u64,
}

impl EventRings {
    /// So many rings, the last for threads that are no workers, which share so many bytes; each holds at least one event.
    ///
    /// # Panics
    /// If there are no rings.
    #[must_use]
    pub fn new(rings: usize, bytes: usize) -> Self {
        assert!(rings > 0, "events need a ring to go into");
        let slots = bytes / rings / EVENT_BYTES;
        Self {
            rings: (0..rings).map(|_| Ring::new(slots)).collect(),
            sites: Sites::new(),
        }
    }

    /// Keeps an event, unless it is of a kind that is passed over.
    ///
    /// Cost: two exchanges and seven writes on one cache line, and one on the ring's own.
    /// # Panics
    /// If there is no such ring.
    pub fn push(&self, ring: usize, at: Time, polled: Option<Polled>, event: &Event) {
        if let Some(words) = pack(&self.sites, at, polled, event) {
            self.rings[ring].push(&words);
        }
    }

    /// The same for a ring into which nobody else pushes, before the caller has handed it over.
    ///
    /// If somebody does nevertheless, events are lost or mixed, and nothing worse.
    /// Cost: nine writes on one cache line, and one on the ring's own; no exchange.
    /// # Panics
    /// If there is no such ring.
    #[inline]
    pub fn push_alone(&self, ring: usize, at: Time, polled: Option<Polled>, event: &Event) {
        if let Some(words) = pack(&self.sites, at, polled, event) {
            self.rings[ring].push_alone(&words);
        }
    }

    /// How many events were pushed into a ring; at least those of which the caller has seen a consequence.
    ///
    /// # Panics
    /// If there is no such ring.
    #[must_use]
    #[inline]
    pub fn pushed(&self, ring: usize) -> u64 {
        self.rings[ring].begun()
    }

    /// The newest events; others may write meanwhile.
    #[must_use]
    pub fn read(&self) -> LastEvents {
        self.read_by(|at| at)
    }

    /// The newest events, of which each was pushed with a moment of some clock that `time_of` reads.
    ///
    /// A clock that is cheap to look at may count what only becomes time when somebody reads it.
    /// # Shape and units
    /// `time_of` keeps the order of its arguments.
    #[must_use]
    pub fn read_by(&self, time_of: impl Fn(Time) -> Time) -> LastEvents {
        let mut entries = Vec::new();
        let mut overwritten = 0;
        let shared = self.rings.len() - 1;
        for (ring, place) in self.rings.iter().enumerate() {
            let read = place.read();
            overwritten += read.missing;
            let mut last = Time::ZERO;
            for (_, words) in &read.records {
                let Some(mut entry) = unpack(&self.sites, words) else {
                    continue;
                };
                if ring != shared {
                    // One writer's events are in their order, also if its clock was looked at too early.
                    last = last.max(entry.at);
                    entry.at = last;
                }
                entries.push((ring, entry));
            }
        }
        // Stable, so that the order of each ring stays.
        entries.sort_by_key(|(_, entry)| entry.at);
        for (_, entry) in &mut entries {
            entry.at = time_of(entry.at);
        }
        LastEvents {
            trace: merged(entries, shared, overwritten),
            overwritten,
        }
    }
}

/// Who did something: a poll, or what is no poll of a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Actor {
    ring: usize,
    polled: Option<Polled>,
}

/// One trace of what stands in the rings; the last of these is shared by threads that are no workers.
fn merged(entries: Vec<(usize, Entry)>, shared: usize, overwritten: u64) -> Trace {
    let mut trace = Trace::default();
    let mut current: Option<Actor> = None;
    let (mut step, mut job) = (0, 0);
    let mut keep = |at, step, event| trace.events.push(TraceEvent { at, step, event });
    if overwritten > 0 {
        let at = entries.first().map_or(Time::ZERO, |(_, entry)| entry.at);
        keep(at, 0, Event::EventsOverwritten { count: overwritten });
    }
    for (ring, Entry { at, polled, event }) in entries {
        // A name follows what it names, and does not say again who gave it.
        let is_name = matches!(event, Event::TaskNamed { .. });
        let actor = Actor { ring, polled };
        if current != Some(actor) && !(is_name && current.is_some()) {
            current = Some(actor);
            step += 1;
            let begin = match polled {
                Some(Polled { task, .. }) => Event::TaskPolled { task },
                None if ring == shared => {
                    job += 1;
                    Event::JobStarted { job: job - 1 }
                }
                None => Event::ClockAdvanced { to: at },
            };
            keep(at, step, begin);
        }
        keep(at, step, event);
    }
    trace
}

/// What one event takes.
const EVENT_BYTES: usize = (ring::WORDS + 1) * size_of::<u64>();
