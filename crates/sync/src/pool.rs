//! Objects that are costly to make, lent to one task at a time and used again.
//!
//! The problem: to bound how many exist, to serve who waits fairly, and to lose no place and hand on no broken object, whatever happens on the way: a maker that fails, panics or is dropped half-way, a wait that is cancelled, a user that leaves something open.
//!
//! # States of a place
//! free → waiting to be filled (checking an idle object, or making one) → lent → free.
//! Every arrow out of the middle, errors and drops included, frees the place and disposes of the object.
//!
//! # Invariants
//! - Places in = free + filling + lent. At most the configured number of objects exists.
//! - An object is lent to one guard at a time, which is an obligation of whoever acquired it.
//! - An object does not return if it was discarded, failed its check, was used by a task that panicked, or has something begun on it that was not committed.
//! - Places are given first come, first served.
//! - No code of the program runs under a lock: objects are made, checked, disposed of and dropped outside.
//!
//! # Cost
//! Acquiring an object that the same worker gave back: a compare-and-swap, and a lock of that worker's own part of the pool.
//!
//! # Absent
//! A timeout of its own: the caller's budget, or a timeout around the call, cancels the wait.
//! A task of its own: whoever wants idle objects to be reaped spawns [`Pool::maintain`] in a region.

mod guard;
mod lent;
mod options;
mod store;

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use asupersync_core::{Cancelled, Time};
use asupersync_kernel::{CancelWait, Cx};

use self::lent::{Entry, Lent, Shared};
use self::store::{Next, Store};
use crate::notify::Notify;
use crate::semaphore::counter::{Refusal, Take};

pub use guard::Pooled;
pub use lent::Begun;
pub use options::PoolOptions;

/// Makes, checks and disposes of the objects of a [`Pool`].
pub trait Manager: Send + Sync + 'static {
    /// What is pooled.
    type Object: Send + 'static;
    /// Why an object could not be made.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes an object.
    ///
    /// # Errors
    /// The manager's own.
    /// # Cancel safety
    /// Lossy: the pool drops this future if the acquire that it runs in is dropped; what it has begun by then is the manager's to clean up.
    fn create(&self, cx: &Cx) -> impl Future<Output = Result<Self::Object, Self::Error>> + Send;

    /// Whether an object that was idle may be used again.
    ///
    /// # Cancel safety
    /// Lossy: an object whose check was cut short is disposed of.
    fn check(&self, cx: &Cx, object: &mut Self::Object) -> impl Future<Output = bool> + Send {
        let _ = (cx, object);
        std::future::ready(true)
    }

    /// Disposes of an object that will not be used again; dropping it, unless the manager knows better.
    fn dispose(&self, object: Self::Object) {
        drop(object);
    }
}

/// A [`Manager`] whose objects are made by a closure and never checked.
#[derive(Clone, Copy, Debug)]
pub struct MakeWith<F>(
    /// Makes an object.
    pub F,
);

impl<F, Fut, T, E> Manager for MakeWith<F>
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    type Object = T;
    type Error = E;

    fn create(&self, cx: &Cx) -> impl Future<Output = Result<T, E>> + Send {
        (self.0)(cx.clone())
    }
}

/// Why no object was acquired; no place was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
    /// The context had to stop.
    #[error("cancelled while waiting for a pooled object")]
    Cancelled(#[from] Cancelled),
    /// The manager could not make an object.
    #[error("the pool's manager could not make an object")]
    Create(#[source] E),
}

/// Why no object could be acquired without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryPoolError {
    /// All are lent, or others wait in line.
    #[error("all objects of the pool are lent")]
    Exhausted,
    /// None is idle, and making one would wait.
    #[error("no object of the pool is idle")]
    NoneIdle,
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
}

/// Objects for tasks to borrow; a cheap handle.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{MakeWith, Pool, PoolError, PoolOptions};
/// async fn work(cx: &Cx) -> Result<usize, PoolError<Cancelled>> {
///     let buffers = Pool::new(
///         PoolOptions::new(4),
///         MakeWith(async |_: Cx| Ok::<_, Cancelled>(Vec::<u8>::with_capacity(4096))),
///     );
///     let mut buffer = buffers.acquire(cx).await?;
///     buffer.clear();
///     Ok(buffer.capacity())
/// }
/// ```
pub struct Pool<M: Manager> {
    shared: Arc<Shared<M>>,
}

impl<M: Manager> Pool<M> {
    /// An empty pool; nothing is made before it is needed or maintained.
    #[must_use]
    pub fn new(options: PoolOptions, manager: M) -> Self {
        let max = options.max_size as usize;
        Self {
            shared: Arc::new(Shared {
                manager,
                store: Store::new(max, max.min(SHARDS)),
                options,
                counts: Counts::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// Waits for a place, and gives an idle object that is fit, or a new one.
    ///
    /// # Errors
    /// [`PoolError`] says why there is none.
    /// # Cancel safety
    /// Requeues: the place goes to the next in line; an object that was being checked is disposed of, and one that was being made is dropped with its maker.
    #[track_caller]
    pub fn acquire<'a>(
        &'a self,
        cx: &'a Cx,
    ) -> impl Future<Output = Result<Pooled<M>, PoolError<M::Error>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let lent = self.place(cx).await?;
            let lent = self.fill(cx, lent).await?;
            Ok(Pooled::new(cx, lent, site))
        }
    }

    /// Gives an idle object if there is one and nobody waits; its health is not checked, only its age.
    ///
    /// # Errors
    /// [`TryPoolError`] says what stands in the way.
    #[track_caller]
    pub fn try_acquire(&self, cx: &Cx) -> Result<Pooled<M>, TryPoolError> {
        let shared = &self.shared;
        shared
            .store
            .permits
            .try_take(1, None)
            .map_err(|refusal| match refusal {
                Refusal::Short => TryPoolError::Exhausted,
                Refusal::Closed => TryPoolError::Closed,
            })?;
        let mut lent = Lent::new(shared);
        while let Some(entry) = shared.store.pop(Shared::<M>::home(cx)) {
            let is_due = shared.is_due(&entry, shared.now(cx), 0);
            lent.put(entry);
            if !is_due {
                return Ok(Pooled::new(cx, lent, Location::caller()));
            }
            shared.counts.expired();
            lent.dispose();
        }
        Err(TryPoolError::NoneIdle)
    }

    /// Disposes of idle objects whose time is up, and makes as many as are to be kept ready, as far as places are free.
    ///
    /// # Errors
    /// [`PoolError::Create`] if one could not be made; those before it are there.
    /// # Cancel safety
    /// Safe: an object that was being made is dropped with its maker, and its place is free.
    pub async fn reap(&self, cx: &Cx) -> Result<Reaped, PoolError<M::Error>> {
        let mut reaped = Reaped {
            disposed: self.dispose_due(cx),
            created: 0,
        };
        while !self.is_closed() && self.shared.store.idle() < self.shared.options.min_idle as usize
        {
            cx.checkpoint()?;
            if self.shared.store.permits.try_take(1, None).is_err() {
                break;
            }
            let mut lent = Lent::new(&self.shared);
            if !self.shared.store.try_make() {
                break;
            }
            self.make(cx, &mut lent).await?;
            lent.give_back(Shared::<M>::home(cx), cx.now());
            reaped.created += 1;
        }
        Ok(reaped)
    }

    /// [Reaps](Self::reap) now and then until the pool is closed; for a task of the region that owns the pool.
    ///
    /// An object that cannot be made is tried again at the next turn, and counted in [`PoolStats::create_failed`].
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: as [`reap`](Self::reap).
    pub async fn maintain(&self, cx: &Cx) -> Result<(), Cancelled> {
        loop {
            let mut closed = pin!(self.shared.changed.notified(cx));
            if self.is_closed() {
                return Ok(());
            }
            if let Err(PoolError::Cancelled(cancelled)) = self.reap(cx).await {
                return Err(cancelled);
            }
            cx.checkpoint()?;
            let mut sleep = pin!(cx.sleep(self.shared.options.maintain_every));
            poll_fn(|task| match closed.as_mut().poll(task) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => sleep.as_mut().poll(task),
            })
            .await?;
        }
    }

    /// Gives nothing out any more, fails everybody in line, and disposes of what is idle.
    ///
    /// Objects that are lent stay good, and are disposed of when their guards end.
    pub fn close(&self) {
        let shared = &self.shared;
        shared.store.permits.resource.trace("pool.close");
        shared.store.permits.close();
        let idle = shared.store.take_idle(|_| true);
        shared.dispose_all(idle);
        shared.changed.notify_waiters();
    }

    /// Closes the pool, and waits until the last object that was lent is disposed of.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop; the pool is closed all the same.
    /// # Cancel safety
    /// Safe: the pool is closed from the first poll on; waiting again goes on.
    pub async fn close_and_drain(&self, cx: &Cx) -> Result<(), Cancelled> {
        self.close();
        loop {
            let changed = self.shared.changed.notified(cx);
            if self.shared.store.count() == 0 {
                return Ok(());
            }
            changed.await?;
        }
    }

    /// Whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.store.permits.is_closed()
    }

    /// The manager.
    #[must_use]
    pub fn manager(&self) -> &M {
        &self.shared.manager
    }

    /// What the pool has and what it has done; each number is right by itself, and they are not read at one moment.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let shared = &self.shared;
        let (size, idle) = (shared.store.count(), shared.store.idle());
        let counts = &shared.counts;
        PoolStats {
            max_size: shared.store.max(),
            size,
            idle,
            free_places: shared.store.permits.available(),
            reused: shared.store.reused(),
            created: counts.created.load(Ordering::Relaxed),
            create_failed: counts.create_failed.load(Ordering::Relaxed),
            check_failed: counts.check_failed.load(Ordering::Relaxed),
            expired: counts.expired.load(Ordering::Relaxed),
            discarded: counts.discarded.load(Ordering::Relaxed),
            detached: counts.detached.load(Ordering::Relaxed),
        }
    }

    const fn place<'a>(&'a self, cx: &'a Cx) -> WaitForPlace<'a, M> {
        let _ = cx;
        WaitForPlace {
            shared: &self.shared,
            take: Take::new(1),
            cancel: CancelWait::new(),
        }
    }

    /// Finds or makes an object for a place that has none.
    async fn fill(&self, cx: &Cx, mut lent: Lent<M>) -> Result<Lent<M>, PoolError<M::Error>> {
        let shared = &self.shared;
        loop {
            cx.checkpoint()?;
            match shared.store.pop_or_make(Shared::<M>::home(cx)) {
                Next::Make => {
                    self.make(cx, &mut lent).await?;
                    return Ok(lent);
                }
                Next::Found(entry) => {
                    let now = shared.now(cx);
                    let is_due = shared.is_due(&entry, now, 0);
                    let needs_check = shared.needs_check(&entry, now);
                    lent.put(entry);
                    if is_due {
                        shared.counts.expired();
                    } else if !needs_check || shared.manager.check(cx, lent.object_mut()).await {
                        return Ok(lent);
                    } else {
                        shared.counts.check_failed();
                    }
                    lent.dispose();
                }
            }
        }
    }

    /// Makes an object for a place for which one is counted.
    async fn make(&self, cx: &Cx, lent: &mut Lent<M>) -> Result<(), PoolError<M::Error>> {
        lent.count();
        let shared = &self.shared;
        let object = shared.manager.create(cx).await.map_err(|error| {
            shared.counts.create_failed();
            PoolError::Create(error)
        })?;
        shared.counts.created();
        lent.put(shared.entry(cx, object));
        Ok(())
    }

    fn dispose_due(&self, cx: &Cx) -> usize {
        let shared = &self.shared;
        let now = shared.now(cx);
        // So many may be idle for longer than the timeout.
        let mut surplus = shared
            .store
            .idle()
            .saturating_sub(shared.options.min_idle as usize);
        let due = shared.store.take_idle(|entry| {
            let is_due = shared.is_due(entry, now, surplus);
            surplus = surplus.saturating_sub(usize::from(is_due));
            is_due
        });
        let disposed = due.len();
        (0..disposed).for_each(|_| shared.counts.expired());
        shared.dispose_all(due);
        disposed
    }
}

impl<M: Manager> Shared<M> {
    /// The time, if anything here depends on it.
    fn now(&self, cx: &Cx) -> Time {
        let options = &self.options;
        let is_timed = options.max_lifetime.is_some()
            || options.idle_timeout.is_some()
            || options.check_after.is_some_and(|idle| !idle.is_zero());
        if is_timed { cx.now() } else { Time::ZERO }
    }

    fn entry(&self, cx: &Cx, object: M::Object) -> Entry<M::Object> {
        let options = &self.options;
        let draws = options.max_lifetime.is_some() || options.idle_timeout.is_some();
        let [first, second, ..] = if draws { cx.random_u64() } else { 0 }.to_le_bytes();
        let now = cx.now();
        let ends_at = options
            .max_lifetime
            .map_or(Time::MAX, |lifetime| now + shortened(lifetime, first));
        Entry {
            object,
            ends_at,
            jitter: second,
            idle_since: now,
        }
    }

    /// Whether the object's time is up; idleness counts against it only as long as there are surplus ones, which do not matter to who wants one now.
    fn is_due(&self, entry: &Entry<M::Object>, now: Time, surplus: usize) -> bool {
        let has_ended = now >= entry.ends_at;
        let is_stale = surplus > 0
            && self.options.idle_timeout.is_some_and(|timeout| {
                now.saturating_since(entry.idle_since) >= shortened(timeout, entry.jitter)
            });
        has_ended || is_stale
    }

    fn needs_check(&self, entry: &Entry<M::Object>, now: Time) -> bool {
        self.options
            .check_after
            .is_some_and(|idle| now.saturating_since(entry.idle_since) >= idle)
    }
}

/// A time less up to an eighth of it.
fn shortened(time: std::time::Duration, jitter: u8) -> std::time::Duration {
    time - time / (8 * 255) * u32::from(jitter)
}

/// More parts than workers use side by side only cost memory.
const SHARDS: usize = 16;

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What one look of the maintenance did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reaped {
    /// Objects whose time was up.
    pub disposed: usize,
    /// Objects that were made to be kept ready.
    pub created: usize,
}

/// What a pool has, and what it has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many objects may exist.
    pub max_size: usize,
    /// How many exist, those that are being made included.
    pub size: usize,
    /// How many of them are idle.
    pub idle: usize,
    /// How many more may be lent.
    pub free_places: u64,
    /// How often an idle object was taken up again, checks included.
    pub reused: u64,
    /// How many objects were made.
    pub created: u64,
    /// How often the manager failed to make one.
    pub create_failed: u64,
    /// How many objects failed their check.
    pub check_failed: u64,
    /// How many objects were disposed of because their time was up.
    pub expired: u64,
    /// How many objects were not fit to return.
    pub discarded: u64,
    /// How many objects left the pool.
    pub detached: u64,
}

/// What is counted off the fast path.
#[derive(Debug, Default)]
struct Counts {
    created: AtomicU64,
    create_failed: AtomicU64,
    check_failed: AtomicU64,
    expired: AtomicU64,
    discarded: AtomicU64,
    detached: AtomicU64,
}

impl Counts {
    fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    fn create_failed(&self) {
        self.create_failed.fetch_add(1, Ordering::Relaxed);
    }

    fn check_failed(&self) {
        self.check_failed.fetch_add(1, Ordering::Relaxed);
    }

    fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    fn discarded(&self) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    fn detached(&self) {
        self.detached.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits for a place in the pool.
struct WaitForPlace<'a, M: Manager> {
    shared: &'a Arc<Shared<M>>,
    take: Take,
    cancel: CancelWait,
}

impl<M: Manager> WaitForPlace<'_, M> {
    fn leave(&mut self) {
        if self.take.is_in_line() {
            self.take.leave(&self.shared.store.permits);
        }
    }
}

impl<M: Manager> Future for WaitForPlace<'_, M> {
    type Output = Result<Lent<M>, PoolError<M::Error>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        match this.take.poll(&this.shared.store.permits, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Lent::new(this.shared))),
            Poll::Ready(Err(_)) => {
                this.shared.store.permits.resource.trace("pool.leave");
                Poll::Ready(Err(PoolError::Closed))
            }
        }
    }
}

impl<M: Manager> Drop for WaitForPlace<'_, M> {
    fn drop(&mut self) {
        self.leave();
    }
}
