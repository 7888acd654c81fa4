//! A meeting point: nobody goes on before all have come.
//!
//! The problem: a fixed number of tasks meet, again and again, and one of them may vanish while it waits for the others.
//!
//! # States
//! A round counts arrivals up to the size; the last arrival leads, ends the round, and opens the next.
//!
//! # Invariants
//! - Arrivals of a round = waiters in line; who is cancelled or dropped while it waits counts out, so the barrier forms again and waits for somebody else.
//! - Each round has exactly one leader, and the leader never waits.
//! - Who has arrived in a round goes on with that round, however many rounds have passed when it is polled.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx, Resource};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::spot::Spot;
use crate::thread;
use crate::waiters::WaitList;

/// Lets tasks go on when as many have come as it was made for.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::Barrier;
/// async fn phases(cx: &Cx, barrier: &Barrier) -> Result<(), Cancelled> {
///     for phase in 0..3 {
///         // ... this task's part of the phase ...
///         if barrier.wait(cx).await?.is_leader() {
///             cx.trace(format!("phase {phase} is over"));
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct Barrier {
    size: usize,
    round: Mutex<Round>,
    /// How many rounds are over: a copy of the round's number, written under its lock.
    over: AtomicU64,
    resource: Resource,
}

#[derive(Debug)]
struct Round {
    number: u64,
    arrived: usize,
    line: WaitList,
}

impl Barrier {
    crate::primitive::const_unless_loom! {
        /// A barrier for so many; 0 counts as 1.
        #[must_use]
        pub fn new(size: usize) -> Self {
            Self {
                size: if size == 0 { 1 } else { size },
                round: Mutex::new(Round {
                    number: 0,
                    arrived: 0,
                    line: WaitList::new(),
                }),
                over: AtomicU64::new(0),
                resource: Resource::new(),
            }
        }
    }

    /// Arrives, and waits until all have.
    ///
    /// It arrives when it is first polled.
    /// Cost: one lock; the last arrival wakes the others.
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: it counts out, unless the round was complete by then, which stands for the others.
    pub const fn wait<'a, C>(&'a self, cx: &'a Cx<C>) -> BarrierWait<'a> {
        let _ = cx;
        BarrierWait {
            barrier: self,
            arrival: Arrival::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Arrives, and blocks the thread until all have; for threads outside the runtime.
    pub fn blocking_wait(&self) -> BarrierWaitResult {
        let mut arrival = Arrival::new();
        thread::wait(|task| arrival.poll(self, task.waker()))
    }

    /// How many meet.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// How many have come in this round and wait.
    #[must_use]
    pub fn arrived(&self) -> usize {
        lock(&self.round).arrived
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .field("arrived", &self.arrived())
            .finish_non_exhaustive()
    }
}

/// How a round ended for one of those who met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
    round: u64,
}

impl BarrierWaitResult {
    /// Whether this one came last; one of each round did.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Which round it was, counted from 0.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.round
    }
}

/// One arrival, without its context.
#[derive(Debug)]
struct Arrival {
    round: u64,
    place: Spot,
    end: Option<BarrierWaitResult>,
}

impl Arrival {
    const fn new() -> Self {
        Self {
            round: 0,
            place: Spot::new(),
            end: None,
        }
    }

    fn poll(&mut self, barrier: &Barrier, waker: &Waker) -> Poll<BarrierWaitResult> {
        if let Some(end) = self.end {
            return Poll::Ready(end);
        }
        let is_leader = if self.place.is_in_line() {
            if barrier.over.load(Ordering::Acquire) > self.round {
                // Everybody of this round was released before it was over.
                self.place.forget_released();
                return self.passes(false);
            }
            let looked = self
                .place
                .look(&barrier.round, |round| &mut round.line, waker);
            if looked.is_pending() {
                return Poll::Pending;
            }
            false
        } else {
            if !self.arrive(barrier, waker) {
                return Poll::Pending;
            }
            true
        };
        self.passes(is_leader)
    }

    fn passes(&mut self, is_leader: bool) -> Poll<BarrierWaitResult> {
        let end = BarrierWaitResult {
            is_leader,
            round: self.round,
        };
        self.end = Some(end);
        Poll::Ready(end)
    }

    /// Counts in; says whether that completed the round.
    fn arrive(&mut self, barrier: &Barrier, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut round = lock(&barrier.round);
        self.round = round.number;
        if round.arrived + 1 < barrier.size {
            round.arrived += 1;
            self.place.enter(&mut round.line, waker, 1);
            return false;
        }
        round.arrived = 0;
        round.number += 1;
        let wakers = round.line.release_all();
        barrier.over.store(round.number, Ordering::Release);
        drop(round);
        wakers.wake();
        true
    }

    /// Counts out, if the round is not over.
    fn leave(&mut self, barrier: &Barrier) {
        if !self.place.is_in_line() {
            return;
        }
        let old = {
            let mut round = lock(&barrier.round);
            let (grant, old) = self.place.leave(&mut round.line);
            if grant.is_none() {
                round.arrived -= 1;
            }
            old
        };
        drop(old);
    }
}

/// Waits until all have come; from [`Barrier::wait`].
///
/// # Cancel safety
/// Requeues: it counts out, unless the round was complete by then, which stands for the others.
#[must_use = "futures do nothing unless polled"]
pub struct BarrierWait<'a> {
    barrier: &'a Barrier,
    arrival: Arrival,
    cancel: CancelWait,
}

impl BarrierWait<'_> {
    fn leave(&mut self) {
        if self.arrival.place.is_in_line() {
            self.barrier.resource.trace("barrier.leave");
            self.arrival.leave(self.barrier);
        }
    }
}

impl Future for BarrierWait<'_> {
    type Output = Result<BarrierWaitResult, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled));
        }
        let met = this.arrival.poll(this.barrier, task.waker());
        this.barrier.resource.trace(if met.is_ready() {
            "barrier.pass"
        } else {
            "barrier.wait"
        });
        met.map(Ok)
    }
}

impl Drop for BarrierWait<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
