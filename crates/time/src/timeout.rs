//! A race with a sleep.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_core::{Budget, CancelKind, Collect, ErrOf, IntoOutcome, OkOf, Outcome, Time};
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_kernel::{Cx, Fiber, RegionOptions, Sleep};

/// Why work under a timeout gave no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError<E> {
    /// The time was up; the work was cancelled with `Timeout` and has ended.
    #[error("timed out after {after:?}")]
    Elapsed {
        /// The time that it had.
        after: Duration,
    },
    /// The work failed by itself.
    #[error(transparent)]
    Failed(E),
}

/// Runs `body`, and cancels it with `Timeout` if it has not ended after `duration`.
///
/// The body runs inline and may borrow.
/// When the time is up it is cancelled and drained: this returns only when the body has ended, within the cleanup budget of a timeout.
/// A body that ends with a value all the same keeps it.
/// # Errors
/// [`TimeoutError::Elapsed`] if the time was up, [`TimeoutError::Failed`] with the body's error; `Cancelled` and `Panicked` as the body's.
/// # Cancel safety
/// Drains: a dropped call drops the body, and the region around it closes what the body had opened.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_time::{TimeoutError, timeout};
/// use std::time::Duration;
///
/// async fn patient(cx: &Cx) -> Outcome<(), TimeoutError<Cancelled>> {
///     timeout(cx, Duration::from_secs(1), async |cx: Cx| {
///         cx.sleep(Duration::from_secs(3600)).await
///     })
///     .await
/// }
/// ```
pub async fn timeout<C, F, Fut>(
    cx: &Cx<C>,
    duration: Duration,
    body: F,
) -> Outcome<OkOf<Fut>, TimeoutError<ErrOf<Fut>>>
where
    C: HasSpawn + HasTime,
    F: FnOnce(Cx<C>) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let deadline = cx.now() + duration;
    let options = RegionOptions::new().policy(Collect);
    let mut elapsed = false;
    let end = cx
        .region_with(options, async |scope| {
            let work = pin!(scope.fiber(body));
            let sleep = pin!(cx.sleep_until(deadline));
            Race {
                work,
                sleep,
                elapsed: &mut elapsed,
            }
            .await
        })
        .await;
    match end {
        Outcome::Cancelled(reason) if elapsed && timed_out(&reason) => {
            Outcome::Err(TimeoutError::Elapsed { after: duration })
        }
        end => end.map_err(TimeoutError::Failed),
    }
}

/// Runs `body`, and cancels it with `Deadline` if it has not ended at the moment `at`.
///
/// The body runs inline and may borrow.
/// Unlike the time of a [`timeout`] the moment is part of the body's budget: `cx.budget()` tells it, and what runs below is under it too.
/// A body that ends with a value all the same keeps it; with a moment that has passed nothing is started.
/// # Errors
/// [`TimeoutError::Elapsed`] if the moment came first, with the time from the call until then; [`TimeoutError::Failed`] with the body's error; `Cancelled` and `Panicked` as the body's.
/// An earlier deadline of the caller's own budget cancels the caller too, and is no error of this call.
/// # Cancel safety
/// Drains: a dropped call drops the body, and the region around it closes what the body had opened.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_time::{TimeoutError, deadline};
/// use std::time::Duration;
///
/// async fn patient(cx: &Cx) -> Outcome<(), TimeoutError<Cancelled>> {
///     let at = cx.now() + Duration::from_secs(1);
///     deadline(cx, at, async |cx: Cx| {
///         assert_eq!(cx.budget().deadline, Some(at));
///         cx.sleep(Duration::from_secs(3600)).await
///     })
///     .await
/// }
/// ```
pub async fn deadline<C, F, Fut>(
    cx: &Cx<C>,
    at: Time,
    body: F,
) -> Outcome<OkOf<Fut>, TimeoutError<ErrOf<Fut>>>
where
    C: HasSpawn + HasTime,
    F: FnOnce(Cx<C>) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let after = at.saturating_since(cx.now());
    if after == Duration::ZERO {
        return match cx.checkpoint() {
            Ok(()) => Outcome::Err(TimeoutError::Elapsed { after }),
            Err(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
        };
    }
    let options = RegionOptions::new()
        .policy(Collect)
        .budget(Budget::new().with_deadline(at));
    let mut region = None;
    let end = cx
        .region_with(options, async |scope| {
            region = Some(scope.id());
            body(scope.cx().clone()).await
        })
        .await;
    match end {
        Outcome::Cancelled(reason)
            if reason.root_cause().kind() == CancelKind::Deadline
                && Some(reason.root_cause().origin().region) == region =>
        {
            Outcome::Err(TimeoutError::Elapsed { after })
        }
        end => end.map_err(TimeoutError::Failed),
    }
}

/// Whether the body was cancelled by its timeout, and not by something stronger that came meanwhile.
fn timed_out(reason: &asupersync_core::CancelReason) -> bool {
    reason.root_cause().kind() == CancelKind::Timeout
}

struct Race<'a, 'f, C, Fut: Future<Output: IntoOutcome>> {
    work: Pin<&'a mut Fiber<'f, Fut>>,
    sleep: Pin<&'a mut Sleep<'f, C>>,
    elapsed: &'a mut bool,
}

impl<C, Fut: Future<Output: IntoOutcome>> Future for Race<'_, '_, C, Fut> {
    type Output = Outcome<OkOf<Fut>, ErrOf<Fut>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(outcome) = this.work.as_mut().poll(task) {
            return Poll::Ready(outcome);
        }
        // A sleep that was cancelled says nothing of the time; the body hears of the request itself.
        if !*this.elapsed && matches!(this.sleep.as_mut().poll(task), Poll::Ready(Ok(()))) {
            *this.elapsed = true;
            this.work.cancel(CancelKind::Timeout);
            return this.work.as_mut().poll(task);
        }
        Poll::Pending
    }
}
