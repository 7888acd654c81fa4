//! How many calls run at a time, and how many wait for their turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use asupersync_sync::{AcquireError, Semaphore, SemaphorePermit};

use super::codel::{Codel, CodelOptions};
use super::error::PolicyError;
use super::observe::rejected;
use super::{Call, Strategy};

/// How a [`Bulkhead`] is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BulkheadOptions {
    running_max: u32,
    waiting_max: u32,
    wait_max: Duration,
    codel: Option<CodelOptions>,
}

impl BulkheadOptions {
    /// So many calls at a time; others are kept away at once.
    #[must_use]
    pub const fn new(running_max: u32) -> Self {
        Self {
            running_max,
            waiting_max: 0,
            wait_max: Duration::MAX,
            codel: None,
        }
    }

    /// How many calls may wait in line, first come first served, and how long each.
    #[must_use]
    pub const fn line(mut self, waiting_max: u32, wait_max: Duration) -> Self {
        self.waiting_max = waiting_max;
        self.wait_max = wait_max;
        self
    }

    /// Sheds calls from a line that stands: see [`CodelOptions`].
    #[must_use]
    pub const fn codel(mut self, options: CodelOptions) -> Self {
        self.codel = Some(options);
        self
    }
}

/// Bounds how many calls run at a time, so that one slow thing does not take everything.
///
/// Its places are permits of a [`Semaphore`]: obligations of their holder, handed on in line.
/// # Errors
/// [`PolicyError::BulkheadFull`] if the line is full or the wait was too long, [`PolicyError::Shed`] if the line stands.
/// # Examples
/// ```
/// use asupersync_combinator::{Bulkhead, BulkheadOptions, Policy};
/// use std::sync::Arc;
/// use std::time::Duration;
/// let bulkhead = Arc::new(Bulkhead::new(
///     BulkheadOptions::new(8).line(32, Duration::from_millis(200)),
/// ));
/// let policy = Policy::builder().with(Arc::clone(&bulkhead)).build();
/// assert_eq!((bulkhead.available(), bulkhead.waiting()), (8, 0));
/// # let _ = policy;
/// ```
/// # Source
/// The law `I74`.
#[derive(Debug)]
pub struct Bulkhead {
    options: BulkheadOptions,
    places: Semaphore,
    waiting: AtomicU32,
    codel: Option<Mutex<Codel>>,
}

/// A place in a [`Bulkhead`]; dropping gives it back.
#[derive(Debug)]
#[must_use = "dropping the permit gives the place back"]
pub struct BulkheadPermit<'a> {
    _place: SemaphorePermit<'a>,
    waited: Duration,
}

impl BulkheadPermit<'_> {
    /// How long the call waited in line.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl Bulkhead {
    /// A bulkhead with all places free.
    ///
    /// # Panics
    /// If no call may run.
    #[must_use]
    pub fn new(options: BulkheadOptions) -> Self {
        assert!(options.running_max > 0, "a bulkhead has a place");
        Self {
            options,
            places: Semaphore::new(u64::from(options.running_max)),
            waiting: AtomicU32::new(0),
            codel: options.codel.map(|options| Mutex::new(Codel::new(options))),
        }
    }

    /// How many places are free.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.places.available_permits()
    }

    /// How many calls wait in line.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place, or waits in line for one.
    ///
    /// A place that comes free at the moment at which the wait is over is taken.
    /// # Errors
    /// [`PolicyError::BulkheadFull`] or [`PolicyError::Shed`]; `Cancelled` is the outcome if the context must stop.
    /// # Cancel safety
    /// Requeues: a place that it had got goes to the next in line.
    pub async fn enter<'a, C, E>(
        &'a self,
        cx: &'a Cx<C>,
    ) -> Outcome<BulkheadPermit<'a>, PolicyError<E>>
    where
        C: HasTime,
    {
        if let Err(cancelled) = cx.checkpoint() {
            return Outcome::Cancelled(cancelled.into_reason());
        }
        if let Ok(place) = self.places.try_acquire(cx) {
            return self.admit(cx, place, Duration::ZERO);
        }
        let Some(in_line) = InLine::enter(&self.waiting, self.options.waiting_max) else {
            let waited = Duration::ZERO;
            return Outcome::Err(PolicyError::BulkheadFull { waited });
        };
        let start = cx.now();
        let place = self.wait(cx).await;
        drop(in_line);
        let waited = cx.now() - start;
        match place {
            Ok(Some(place)) => self.admit(cx, place, waited),
            Ok(None) => Outcome::Err(PolicyError::BulkheadFull { waited }),
            Err(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
        }
    }

    /// Waits for a place, as long as it may.
    async fn wait<'a, C: HasTime>(
        &'a self,
        cx: &'a Cx<C>,
    ) -> Result<Option<SemaphorePermit<'a>>, Cancelled> {
        let mut place = pin!(self.places.acquire(cx));
        let mut patience = pin!(cx.sleep(self.options.wait_max));
        poll_fn(|task| {
            match place.as_mut().poll(task) {
                Poll::Ready(Ok(place)) => return Poll::Ready(Ok(Some(place))),
                Poll::Ready(Err(AcquireError::Cancelled(cancelled))) => {
                    return Poll::Ready(Err(cancelled));
                }
                Poll::Ready(Err(_)) => unreachable!("the semaphore is never closed"),
                Poll::Pending => {}
            }
            patience.as_mut().poll(task).map_ok(|()| None)
        })
        .await
    }

    fn admit<'a, C: HasTime, E>(
        &'a self,
        cx: &Cx<C>,
        place: SemaphorePermit<'a>,
        waited: Duration,
    ) -> Outcome<BulkheadPermit<'a>, PolicyError<E>> {
        let is_shed = self.codel.as_ref().is_some_and(|codel| {
            let mut codel = codel.lock().unwrap_or_else(PoisonError::into_inner);
            codel.sheds(cx.now(), waited)
        });
        if is_shed {
            return Outcome::Err(PolicyError::Shed { waited });
        }
        Outcome::Ok(BulkheadPermit {
            _place: place,
            waited,
        })
    }
}

/// A place in the count of those who wait.
struct InLine<'a>(&'a AtomicU32);

impl<'a> InLine<'a> {
    fn enter(count: &'a AtomicU32, max: u32) -> Option<Self> {
        let entered = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < max).then(|| waiting + 1)
        });
        // Made only if it entered: its drop takes it out of the count.
        entered.ok().map(|_| Self(count))
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C, T, E> Strategy<C, T, E> for Bulkhead
where
    C: HasTime + 'static,
    T: Send,
    E: Send,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let permit = match self.enter(cx).await {
            Outcome::Ok(permit) => permit,
            other => {
                return other
                    .map(|_| unreachable!("a permit was taken above"))
                    .map_err(|error| rejected(next.observer(), error));
            }
        };
        let end = next.call(cx).await;
        drop(permit);
        end
    }
}
