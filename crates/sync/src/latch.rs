//! A gate that opens once, when enough has happened.
//!
//! The problem: any number of tasks wait until a number of events have come, in whatever order, and who comes later does not wait at all.
//!
//! # States
//! closed, with a count above zero → open, for good.
//!
//! # Invariants
//! - The count only falls; whoever takes it to zero opens the line, under its lock.
//! - Who gets in line has looked at the count under that lock, so it is either let in or opened for.
//!
//! # Absent
//! Closing again: that is a [`Barrier`](crate::Barrier) or a [`Semaphore`](crate::Semaphore).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{CancelWait, Cx, Resource};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::spot::Spot;
use crate::thread;
use crate::waiters::{Grant, WaitList};

/// Lets everybody through once it has been counted down to zero.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::Latch;
/// async fn serve(cx: &Cx, warm: &Latch) -> Result<(), Cancelled> {
///     // Each cache calls `warm.count_down()` when it is filled.
///     warm.wait(cx).await
/// }
/// ```
pub struct Latch {
    count: AtomicU64,
    line: Mutex<WaitList>,
    resource: Resource,
}

impl Latch {
    crate::primitive::const_unless_loom! {
        /// A latch that opens after so many events; 0 is open.
        #[must_use]
        pub fn new(count: u64) -> Self {
            Self {
                count: AtomicU64::new(count),
                line: Mutex::new(WaitList::new()),
                resource: Resource::new(),
            }
        }
    }

    /// Counts one event; says whether it opened the latch.
    ///
    /// An open latch stays open.
    /// Cost: one compare-and-swap; who opens wakes all.
    pub fn count_down(&self) -> bool {
        self.count_down_by(1)
    }

    /// Counts `events` events; says whether they opened the latch.
    pub fn count_down_by(&self, events: u64) -> bool {
        let mut count = self.count.load(Ordering::Relaxed);
        loop {
            let left = count.saturating_sub(events);
            match self
                .count
                .compare_exchange_weak(count, left, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if left > 0 || count == 0 => {
                    self.resource.trace("latch.count_down");
                    return false;
                }
                Ok(_) => break,
                Err(seen) => count = seen,
            }
        }
        self.resource.trace("latch.open");
        let mut wakers = lock(&self.line).grant_all(Grant::All);
        if !is_on(Mutation::LatchIsSilent) {
            wakers.wake();
        }
        true
    }

    /// How many events are left.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the latch is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.count() == 0
    }

    /// Waits until the latch is open.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub const fn wait<'a, C>(&'a self, cx: &'a Cx<C>) -> LatchWait<'a> {
        let _ = cx;
        LatchWait::new(self, true)
    }

    /// Counts one event, and waits until the latch is open.
    ///
    /// The event is counted when the call is first polled.
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop; before the first poll, nothing is counted.
    /// # Cancel safety
    /// Lossy: the event, once counted, stays so; [`wait`](Self::wait) waits on without another.
    pub const fn arrive_and_wait<'a, C>(&'a self, cx: &'a Cx<C>) -> LatchWait<'a> {
        let _ = cx;
        LatchWait::new(self, false)
    }

    /// Blocks the thread until the latch is open; for threads outside the runtime.
    pub fn blocking_wait(&self) {
        let mut place = Spot::new();
        thread::wait(|task| self.poll_open(&mut place, task.waker()));
    }

    fn poll_open(&self, place: &mut Spot, waker: &Waker) -> Poll<()> {
        if place.is_in_line() {
            return place.look(&self.line, |line| line, waker).map(drop);
        }
        if self.is_open() {
            return Poll::Ready(());
        }
        let waker = waker.clone();
        let mut line = lock(&self.line);
        if self.is_open() {
            drop(line);
            return Poll::Ready(());
        }
        place.enter(&mut line, waker, ());
        Poll::Pending
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// Waits until a latch is open; from [`Latch::wait`] and [`Latch::arrive_and_wait`].
///
/// # Cancel safety
/// Safe: nothing happened, but for the event that [`Latch::arrive_and_wait`] has counted.
#[must_use = "futures do nothing unless polled"]
pub struct LatchWait<'a> {
    latch: &'a Latch,
    has_arrived: bool,
    place: Spot,
    cancel: CancelWait,
}

impl<'a> LatchWait<'a> {
    const fn new(latch: &'a Latch, has_arrived: bool) -> Self {
        Self {
            latch,
            has_arrived,
            place: Spot::new(),
            cancel: CancelWait::new(),
        }
    }

    fn leave(&mut self) {
        if self.place.is_in_line() {
            self.latch.resource.trace("latch.leave");
            let (_, old) = self.place.leave(&mut lock(&self.latch.line));
            drop(old);
        }
    }
}

impl Future for LatchWait<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled));
        }
        if !this.has_arrived {
            this.has_arrived = true;
            this.latch.count_down();
        }
        let opened = this.latch.poll_open(&mut this.place, task.waker());
        this.latch.resource.trace(if opened.is_ready() {
            "latch.pass"
        } else {
            "latch.wait"
        });
        opened.map(Ok)
    }
}

impl Drop for LatchWait<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_the_last_event_opens_for_everybody() {
        loom::model(|| {
            let latch = Arc::new(Latch::new(2));
            let threads = [0, 1].map(|_| {
                let latch = Arc::clone(&latch);
                thread::spawn(move || {
                    let opened = latch.count_down();
                    latch.blocking_wait();
                    opened
                })
            });
            latch.blocking_wait();
            let opened = threads.map(|thread| u32::from(thread.join().unwrap()));
            assert_eq!(opened.iter().sum::<u32>(), 1);
        });
    }

    #[test]
    fn loom_a_waiter_may_leave_while_the_latch_opens() {
        loom::model(|| {
            let latch = Arc::new(Latch::new(1));
            let other = Arc::clone(&latch);
            let leaver = thread::spawn(move || {
                let mut place = Spot::new();
                let _ = other.poll_open(&mut place, Waker::noop());
                let _ = place.leave(&mut lock(&other.line));
            });
            latch.count_down();
            latch.blocking_wait();
            leaver.join().unwrap();
        });
    }
}
