//! Counted permits, each an obligation of its holder.
//!
//! The problem: to bound how many do something at once, fairly, without losing a permit to a waiter that was cancelled.
//!
//! # Invariants
//! - Permits in = available + held + handed to a waiter + forgotten.
//! - The first in line is served first, also if a later one needs less.
//!
//! # Whose permits
//! Permits are an obligation of the context that acquired them; whoever splits or merges them takes the obligation over.
//! A thread outside the runtime has no context, so what it acquires by blocking is owed by nobody and is only returned when dropped.

pub(crate) mod counter;
mod permit;

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx, Obligation, Recover};

use self::counter::{Counter, Operations, PERMITS_MAX, Refusal, Take};
use self::permit::Held;
use crate::thread;

pub use permit::{OwnedSemaphorePermit, SemaphorePermit};

/// Why no permit was acquired; none was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The semaphore is closed.
    #[error("the semaphore is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a permit")]
    Cancelled(#[from] Cancelled),
}

/// Why no permit could be acquired without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// There are too few, or others wait in line.
    #[error("no permits are free")]
    NoPermits,
    /// The semaphore is closed.
    #[error("the semaphore is closed")]
    Closed,
}

/// A number of permits that tasks take and return.
///
/// # Examples
/// ```
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{AcquireError, Semaphore};
/// async fn fetch(cx: &Cx, connections: &Semaphore) -> Result<(), AcquireError> {
///     let permit = connections.acquire(cx).await?;
///     // ... at most so many tasks are here at once ...
///     drop(permit);
///     Ok(())
/// }
/// ```
pub struct Semaphore {
    shared: Arc<Shared>,
}

impl Semaphore {
    /// The most permits that a semaphore may hold.
    pub const MAX_PERMITS: u64 = PERMITS_MAX;

    /// A semaphore with so many permits.
    ///
    /// # Panics
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[must_use]
    pub fn new(permits: u64) -> Self {
        assert!(
            permits <= PERMITS_MAX,
            "a semaphore holds at most {PERMITS_MAX} permits"
        );
        Self {
            shared: Arc::new(Shared::new(permits)),
        }
    }

    /// Permits that are free now; those that a waiter needs more of count as free.
    #[must_use]
    pub fn available_permits(&self) -> u64 {
        self.shared.counter.available()
    }

    /// Waits for one permit.
    ///
    /// Cost: one compare-and-swap and an obligation, no allocation, if one is free and nobody waits.
    /// # Errors
    /// [`AcquireError::Closed`] once the semaphore is closed, [`AcquireError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a permit that it had got goes to the next in line.
    #[track_caller]
    pub fn acquire<'a, C>(&'a self, cx: &'a Cx<C>) -> Acquire<'a, C> {
        self.acquire_many(cx, 1)
    }

    /// Waits for `count` permits, and gets all of them at once; those behind wait meanwhile.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    /// # Cancel safety
    /// Requeues: permits that it had got go to the next in line.
    #[track_caller]
    pub fn acquire_many<'a, C>(&'a self, cx: &'a Cx<C>, count: u32) -> Acquire<'a, C> {
        Acquire(Waiting::new(&self.shared, cx, count))
    }

    /// Like [`acquire`](Self::acquire); the permit does not borrow the semaphore.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    /// # Cancel safety
    /// Requeues: a permit that it had got goes to the next in line.
    #[track_caller]
    pub fn acquire_owned<'a, C>(&'a self, cx: &'a Cx<C>) -> AcquireOwned<'a, C> {
        self.acquire_many_owned(cx, 1)
    }

    /// Like [`acquire_many`](Self::acquire_many); the permit does not borrow the semaphore.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    /// # Cancel safety
    /// Requeues: permits that it had got go to the next in line.
    #[track_caller]
    pub fn acquire_many_owned<'a, C>(&'a self, cx: &'a Cx<C>, count: u32) -> AcquireOwned<'a, C> {
        AcquireOwned(Waiting::new(&self.shared, cx, count))
    }

    /// Takes one permit if one is free and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError`] says what stands in the way.
    #[track_caller]
    pub fn try_acquire<C>(&self, cx: &Cx<C>) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(cx, 1)
    }

    /// Takes `count` permits if they are free and nobody waits.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    #[track_caller]
    pub fn try_acquire_many<C>(
        &self,
        cx: &Cx<C>,
        count: u32,
    ) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let held = Shared::try_hold(&self.shared, cx, count, Location::caller())?;
        Ok(SemaphorePermit::new(&self.shared, held))
    }

    /// Like [`try_acquire`](Self::try_acquire); the permit does not borrow the semaphore.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    #[track_caller]
    pub fn try_acquire_owned<C>(
        &self,
        cx: &Cx<C>,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(cx, 1)
    }

    /// Like [`try_acquire_many`](Self::try_acquire_many); the permit does not borrow the semaphore.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    #[track_caller]
    pub fn try_acquire_many_owned<C>(
        &self,
        cx: &Cx<C>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let held = Shared::try_hold(&self.shared, cx, count, Location::caller())?;
        Ok(OwnedSemaphorePermit::new(Arc::clone(&self.shared), held))
    }

    /// Blocks the thread until it has `count` permits, all at once; for threads outside the runtime.
    ///
    /// On a worker it would keep who returns them from running.
    /// # Errors
    /// [`AcquireError::Closed`] once the semaphore is closed.
    pub fn blocking_acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        let held = self.take_blocking(count)?;
        Ok(SemaphorePermit::new(&self.shared, held))
    }

    /// Like [`blocking_acquire_many`](Self::blocking_acquire_many); the permit does not borrow the semaphore.
    ///
    /// # Errors
    /// As [`blocking_acquire_many`](Self::blocking_acquire_many).
    pub fn blocking_acquire_many_owned(
        &self,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let held = self.take_blocking(count)?;
        Ok(OwnedSemaphorePermit::new(Arc::clone(&self.shared), held))
    }

    /// Blocks the thread until it has a permit; see [`blocking_acquire_many`](Self::blocking_acquire_many).
    ///
    /// # Errors
    /// As [`blocking_acquire_many`](Self::blocking_acquire_many).
    pub fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.blocking_acquire_many(1)
    }

    fn take_blocking(&self, count: u32) -> Result<Held, AcquireError> {
        let mut take = Take::new(count);
        thread::wait(|task| take.poll(&self.shared.counter, task.waker()))
            .map_err(|_| AcquireError::Closed)?;
        self.shared.counter.resource.trace(ACQUIRE);
        Ok(Held::unowed(count))
    }

    /// Adds permits.
    ///
    /// # Panics
    /// If more than [`MAX_PERMITS`](Self::MAX_PERMITS) would be free.
    pub fn add_permits(&self, count: u64) {
        let added = self.shared.counter.add(count, Some("semaphore.add"));
        assert!(added, "a semaphore holds at most {PERMITS_MAX} permits");
    }

    /// Takes up to `count` free permits out for good; says how many.
    #[must_use = "fewer permits may have been free"]
    pub fn forget_permits(&self, count: u64) -> u64 {
        self.shared.counter.take_up_to(count)
    }

    /// Gives out no more permits, and fails everybody in line.
    ///
    /// Permits that are held stay good.
    pub fn close(&self) {
        self.shared.counter.resource.trace("semaphore.close");
        self.shared.counter.close();
    }

    /// Whether the semaphore was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.counter.is_closed()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What taking permits is called in a trace.
const ACQUIRE: &str = "semaphore.acquire";
const RELEASE: &str = "semaphore.release";

static OPERATIONS: Operations = Operations {
    wait: "semaphore.wait",
    grant: "semaphore.grant",
    give_back: "semaphore.give_back",
    leave: "semaphore.leave",
};

/// What a semaphore's handles and permits have in common.
#[derive(Debug)]
struct Shared {
    counter: Counter,
}

impl Shared {
    fn new(permits: u64) -> Self {
        Self {
            counter: Counter::new(permits, &OPERATIONS),
        }
    }

    #[inline]
    fn try_hold<C>(
        this: &Arc<Self>,
        cx: &Cx<C>,
        count: u32,
        site: &'static Location<'static>,
    ) -> Result<Held, TryAcquireError> {
        if let Some(held) = this.hold_quietly(cx, count) {
            return Ok(held);
        }
        this.try_take(count)?;
        Ok(Held::new(cx, this, count, site))
    }

    /// Takes what is free, where nobody is told of it.
    #[inline]
    fn hold_quietly<C>(&self, cx: &Cx<C>, count: u32) -> Option<Held> {
        let take = || self.counter.take_quietly(count);
        Obligation::reserve_quietly(cx, take).map(|owed| Held::owed(owed, count))
    }

    fn try_take(&self, count: u32) -> Result<(), TryAcquireError> {
        match self.counter.try_take(count, Some(ACQUIRE)) {
            Ok(()) => Ok(()),
            Err(Refusal::Short) => Err(TryAcquireError::NoPermits),
            Err(Refusal::Closed) => Err(TryAcquireError::Closed),
        }
    }
}

impl Recover for Shared {
    fn recover(&self, ticket: u64) {
        self.counter.give_back(ticket, RELEASE);
    }
}

/// One wait for permits.
struct Waiting<'a, C> {
    shared: &'a Arc<Shared>,
    cx: &'a Cx<C>,
    take: Take,
    cancel: CancelWait,
    site: &'static Location<'static>,
}

impl<'a, C> Waiting<'a, C> {
    #[track_caller]
    fn new(shared: &'a Arc<Shared>, cx: &'a Cx<C>, count: u32) -> Self {
        Self {
            shared,
            cx,
            take: Take::new(count),
            cancel: CancelWait::new(),
            site: Location::caller(),
        }
    }

    /// Takes what is free without a place in line, where nobody is told of it.
    #[inline]
    fn take_quietly(&self) -> Option<Held> {
        if self.take.is_in_line() {
            return None;
        }
        self.shared.hold_quietly(self.cx, self.take.need())
    }

    /// Takes what is free without a place in line.
    fn take_at_once(&self) -> Option<Held> {
        let is_taken = !self.take.is_in_line()
            && CancelWait::check().is_none()
            && (self.shared.counter)
                .try_take(self.take.need(), Some(ACQUIRE))
                .is_ok();
        is_taken.then(|| self.held())
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<Held, AcquireError>> {
        if let Some(held) = self.take_at_once() {
            return Poll::Ready(Ok(held));
        }
        if let Poll::Ready(cancelled) = self.cancel.poll(task) {
            self.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        match self.take.poll(&self.shared.counter, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => {
                self.shared.counter.resource.trace("semaphore.leave");
                Poll::Ready(Err(AcquireError::Closed))
            }
            Poll::Ready(Ok(())) => {
                self.shared.counter.resource.trace(ACQUIRE);
                Poll::Ready(Ok(self.held()))
            }
        }
    }

    fn leave(&mut self) {
        self.take.leave(&self.shared.counter);
    }

    fn held(&self) -> Held {
        Held::new(self.cx, self.shared, self.take.need(), self.site)
    }
}

impl<C> Drop for Waiting<'_, C> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits for permits; from [`Semaphore::acquire`].
///
/// # Cancel safety
/// Requeues: permits that it had got go to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a, C>(Waiting<'a, C>);

/// Waits for permits that do not borrow the semaphore; from [`Semaphore::acquire_owned`].
///
/// # Cancel safety
/// Requeues: permits that it had got go to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireOwned<'a, C>(Waiting<'a, C>);

impl<'a, C> Future for Acquire<'a, C> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut self.get_mut().0;
        let shared = this.shared;
        if let Some(held) = this.take_quietly() {
            return Poll::Ready(Ok(SemaphorePermit::new(shared, held)));
        }
        this.poll(task)
            .map_ok(|held| SemaphorePermit::new(shared, held))
    }
}

impl<C> Future for AcquireOwned<'_, C> {
    type Output = Result<OwnedSemaphorePermit, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut self.get_mut().0;
        let shared = this.shared;
        if let Some(held) = this.take_quietly() {
            return Poll::Ready(Ok(OwnedSemaphorePermit::new(Arc::clone(shared), held)));
        }
        this.poll(task)
            .map_ok(|held| OwnedSemaphorePermit::new(Arc::clone(shared), held))
    }
}
