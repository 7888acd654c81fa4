//! Cutting one operation short at every place where that can happen.
//!
//! The problem: an operation that waits can be cancelled, dropped or unwound at each of its awaits, and what it had got by then must go on to somebody else.
//! A schedule drawn at random meets such a place now and then; here each is met on purpose.
//!
//! # How
//! The program runs once undisturbed, which counts how often the probed operation is polled; then once for each place and way.
//! The run is the same up to the place, so the place is always reached.
//!
//! # Absent
//! Two interruptions in one run: what one leaves behind is checked by the program itself.

use std::fmt;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, Scope};

use crate::config::LabConfig;
use crate::lab::LabRuntime;
use crate::seeds::{SEED_VARIABLE, Seeds};

/// The variable that narrows a test to one interruption.
const PLACE_VARIABLE: &str = "ASUPERSYNC_PLACE";
/// How many seeds each place is met under.
const SEEDS: u64 = 4;

type End = Outcome<(), std::convert::Infallible>;

/// How an operation or a task is cut short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// Its context is cancelled, and it is polled to its end.
    Cancel,
    /// It is dropped.
    Drop,
    /// It is dropped by a panic that unwinds through it.
    Unwind,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cancel, Self::Drop, Self::Unwind];

    /// The way of this name: `cancel`, `drop` or `unwind`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.to_string() == name)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::Drop => "drop",
            Self::Unwind => "unwind",
        })
    }
}

/// When it is done: after so many polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    way: Way,
    polls: u64,
    /// When the operation is about to be polled again, which others may have caused; otherwise as soon as the last poll returned.
    is_woken: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.is_woken { "woken" } else { "waiting" };
        write!(f, "{}:{}:{when}", self.way, self.polls)
    }
}

/// Runs one operation of a program, and cuts it short where it is told; from [`every_await`].
///
/// Clones share the place: with several operations probed, one of them is cut short.
#[derive(Clone, Debug)]
pub struct Probe {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Option<Place>,
    polls: AtomicU64,
    /// After which polls the operation went on waiting.
    waits: Mutex<Vec<u64>>,
    was_reached: AtomicBool,
}

impl Probe {
    fn new(place: Option<Place>) -> Self {
        Self {
            shared: Arc::new(Shared {
                place,
                polls: AtomicU64::new(0),
                waits: Mutex::new(Vec::new()),
                was_reached: AtomicBool::new(false),
            }),
        }
    }

    /// The places of the run that has just ended, each with every way.
    fn places(&self) -> Vec<Place> {
        let polls = self.shared.polls.load(Ordering::Relaxed);
        let woken = (0..polls).map(|polls| (polls, true));
        let waiting = self.shared.waits().clone();
        let waiting = waiting.into_iter().map(|polls| (polls, false));
        let each_way = |(polls, is_woken)| {
            Way::ALL.map(|way| Place {
                way,
                polls,
                is_woken,
            })
        };
        woken.chain(waiting).flat_map(each_way).collect()
    }

    /// Runs `operation` in a region of its own; `None` if it was dropped or unwound.
    ///
    /// If it is cancelled, what it then gives is returned.
    /// # Panics
    /// If the operation panics by itself, or a panic is left in its region.
    /// # Cancel safety
    /// Drains: a dropped call drops the operation and closes its region.
    pub async fn run<F, C>(&self, cx: &Cx<C>, operation: F) -> Option<F::Output>
    where
        F: Future,
        C: HasSpawn,
    {
        self.run_with(cx, |_| operation).await
    }

    /// Like [`run`](Self::run), for an operation that opens regions: it is made with the context that is cancelled.
    ///
    /// What a dropped operation leaves behind is closed before this returns.
    /// # Panics
    /// As [`run`](Self::run).
    /// # Cancel safety
    /// Drains: as [`run`](Self::run).
    pub async fn run_with<F, Fut, C>(&self, cx: &Cx<C>, operation: F) -> Option<Fut::Output>
    where
        F: FnOnce(Cx<C>) -> Fut,
        Fut: Future,
        C: HasSpawn,
    {
        let mut output = None;
        let end = cx
            .region(async |scope: Scope<'_, std::convert::Infallible, C>| {
                let operation = pin!(Some(operation(scope.cx().clone())));
                let probed = Probed {
                    operation,
                    scope: &scope,
                    shared: &self.shared,
                };
                output = probed.await;
                End::Ok(())
            })
            .await;
        match end {
            Outcome::Panicked(payload) if payload.message() != UNWOUND => panic!("{payload}"),
            Outcome::Ok(()) | Outcome::Cancelled(_) | Outcome::Panicked(_) => output,
            Outcome::Err(never) => match never {},
        }
    }

    /// Whether the operation was cut short in this run, so far.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.shared.was_reached.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn waits(&self) -> MutexGuard<'_, Vec<u64>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way, if this is the place.
    fn reached(&self, is_woken: bool) -> Option<Way> {
        let place = self.place?;
        let polls = self.polls.load(Ordering::Relaxed);
        let here = place.polls == polls && place.is_woken == is_woken;
        (here && !self.was_reached.swap(true, Ordering::Relaxed)).then_some(place.way)
    }
}

struct Probed<'p, F, C> {
    operation: Pin<&'p mut Option<F>>,
    scope: &'p Scope<'p, std::convert::Infallible, C>,
    shared: &'p Shared,
}

impl<F, C> Probed<'_, F, C> {
    /// Whether the operation is gone.
    fn interrupt(&mut self, is_woken: bool) -> bool {
        match self.shared.reached(is_woken) {
            None => false,
            Some(Way::Cancel) => {
                self.scope.cancel(CancelKind::User);
                false
            }
            Some(Way::Drop) => {
                self.operation.set(None);
                true
            }
            // Without the hook's message: this panic is no failure.
            Some(Way::Unwind) => resume_unwind(Box::new(UNWOUND)),
        }
    }
}

impl<F: Future, C> Future for Probed<'_, F, C> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.interrupt(true) {
            return Poll::Ready(None);
        }
        let polls = this.shared.polls.fetch_add(1, Ordering::Relaxed) + 1;
        let operation = this.operation.as_mut().as_pin_mut();
        let operation = operation.expect("the future has not returned `Ready` before");
        match operation.poll(task) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if this.interrupt(false) => Poll::Ready(None),
            Poll::Pending => {
                this.shared.waits().push(polls);
                Poll::Pending
            }
        }
    }
}

/// The panic of a task that is cut short by one.
pub(crate) const UNWOUND_TASK: &str = "the task is unwound here on purpose";

const UNWOUND: &str = "the operation is unwound here on purpose";

/// Runs `program` once for each place at which the operation that it probes can be cut short, and each way, under several seeds.
///
/// The ways: its context is cancelled, it is dropped, or a panic unwinds through it.
/// The places: before its first poll; after each poll that found it waiting; and when it was woken after that, before it is polled.
/// The program sets the scene, runs the operation with [`Probe::run`], and checks what is left; the lab checks its laws.
///
/// `operation` names what is probed by its path in its crate, such as `mpsc::Sender::send`; `cargo xtask awaits` finds the functions that no program probes.
/// # Panics
/// On the first run that is not clean, with its place and how to replay it.
/// # Examples
/// ```
/// use asupersync_lab::every_await;
/// use std::time::Duration;
/// every_await("Cx::sleep", async |cx, probe| {
///     let slept = probe.run(&cx, cx.sleep(Duration::from_secs(1))).await;
///     let was_whole = slept.is_some_and(|end| end.is_ok());
///     assert_eq!(was_whole, !probe.was_interrupted());
/// });
/// ```
#[track_caller]
pub fn every_await<F, Fut>(operation: &str, program: F)
where
    F: Fn(Cx, Probe) -> Fut,
    Fut: Future<Output = ()>,
{
    let only = std::env::var(PLACE_VARIABLE).ok();
    let mut waits = false;
    for seed in Seeds::first(SEEDS) {
        let probe = run(operation, seed, None, &program);
        let places = probe.places();
        assert!(
            !places.is_empty(),
            "`{operation}` is not polled by its own program"
        );
        waits |= !probe.shared.waits().is_empty();
        for place in places {
            if only.as_ref().is_none_or(|only| *only == place.to_string()) {
                run(operation, seed, Some(place), &program);
            }
        }
    }
    assert!(
        waits || only.is_some(),
        "`{operation}` never has to wait in its own program, so nothing was cut short"
    );
}

/// One run.
#[track_caller]
fn run<F, Fut>(operation: &str, seed: u64, place: Option<Place>, program: &F) -> Probe
where
    F: Fn(Cx, Probe) -> Fut,
    Fut: Future<Output = ()>,
{
    let probe = Probe::new(place);
    let inner = probe.clone();
    let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx: Cx| {
        program(cx, inner).await;
        End::Ok(())
    });
    let place = place.map_or_else(String::new, |place| format!(" {PLACE_VARIABLE}={place}"));
    if let Outcome::Panicked(payload) = &report.outcome {
        panic!("`{operation}`: {payload}\n  replay: {SEED_VARIABLE}={seed}{place} cargo test");
    }
    assert!(
        report.is_clean() && report.outcome.is_ok(),
        "`{operation}` ended with {:?}; {}{place}",
        report.outcome,
        report.failure(),
    );
    assert!(
        place.is_empty() || probe.was_interrupted(),
        "`{operation}` did not come to{place} with seed {seed}: two runs of one seed differ"
    );
    probe
}
