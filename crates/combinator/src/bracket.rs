//! Acquire, use, release: what was acquired is released, however its use ends.
//!
//! The problem: code after an `await` may never run, because the task was cancelled, panicked, or its future was dropped.
//!
//! # How
//! The release is a finalizer of a region that the bracket opens, registered in the poll in which the acquisition ended.
//! The resource is lent to its use as [`Held`], which gives it back when it is dropped.
//!
//! # Invariants
//! - Acquired once, released once; not acquired, not released.
//! - The release runs after the use has ended and its regions are closed, behind a mask that holds as long as its cleanup budget.
//! - A resource that its use did not give back, because it was forgotten or put elsewhere, cannot be released: the outcome is `Panicked` and says so.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use asupersync_core::{ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasSpawn;

use crate::branches::collect;

/// A resource that is lent to its use; from [`bracket`].
///
/// Dropping it gives the resource back to its release.
pub struct Held<R> {
    resource: Option<R>,
    place: Arc<Place<R>>,
}

impl<R> Deref for Held<R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.resource.as_ref().expect(IS_HELD)
    }
}

impl<R> DerefMut for Held<R> {
    fn deref_mut(&mut self) -> &mut R {
        self.resource.as_mut().expect(IS_HELD)
    }
}

const IS_HELD: &str = "the resource leaves when this is dropped";

impl<R> Drop for Held<R> {
    fn drop(&mut self) {
        self.place.put(self.resource.take());
    }
}

impl<R: fmt::Debug> fmt::Debug for Held<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.resource).finish()
    }
}

/// Where a value waits for who takes it.
struct Place<T>(Mutex<Option<T>>);

impl<T> Place<T> {
    fn empty() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    fn put(&self, value: Option<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Acquires a resource, uses it, and releases it, however its use ends: with a value, an error, a panic, cancelled or dropped.
///
/// Acquisition and use run inline and may borrow.
/// The release runs when the use has ended, masked, within the cleanup budget of a finalizer; it owns what it needs, since it must outlive the caller if that is dropped.
/// # Errors
/// The acquisition's, then nothing was used or released; the use's; or, after a use that ended well, the release's.
/// A panic of the release is the outcome in any case.
/// # Panics
/// The outcome is `Panicked` if the use kept the resource beyond its own end.
/// # Cancel safety
/// Drains: a dropped call drops acquisition or use; what was acquired is released by the region around it before that closes.
/// An error of that release has nobody left to hear it, and stands in the trace.
/// # Examples
/// ```
/// use asupersync_combinator::{Held, bracket};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering::Relaxed}};
/// # use asupersync_lab::{LabConfig, LabRuntime};
///
/// let open = Arc::new(AtomicU32::new(0));
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     bracket(
///         &cx,
///         async |_: Cx| {
///             open.fetch_add(1, Relaxed);
///             Ok::<_, Cancelled>(Arc::clone(&open))
///         },
///         async |_: Cx, connection: Held<Arc<AtomicU32>>| Ok(connection.load(Relaxed)),
///         async |_: Cx, connection: Arc<AtomicU32>| {
///             connection.fetch_sub(1, Relaxed);
///             Ok(())
///         },
///     )
///     .await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(1));
/// assert_eq!(open.load(Relaxed), 0);
/// ```
/// # Source
/// The law `I61`.
pub async fn bracket<C, A, AFut, U, UFut, D, DFut>(
    cx: &Cx<C>,
    acquire: A,
    consume: U,
    release: D,
) -> Outcome<OkOf<UFut>, ErrOf<UFut>>
where
    C: HasSpawn + 'static,
    A: FnOnce(Cx<C>) -> AFut,
    AFut: Future<Output: IntoOutcome<Ok: Send + 'static, Err = ErrOf<UFut>>>,
    U: FnOnce(Cx<C>, Held<OkOf<AFut>>) -> UFut,
    UFut: Future<Output: IntoOutcome<Err: Send + 'static>>,
    D: FnOnce(Cx<C>, OkOf<AFut>) -> DFut + Send + 'static,
    DFut: Future<Output: IntoOutcome<Ok = (), Err = ErrOf<UFut>>> + Send + 'static,
{
    let place = Place::empty();
    let released = Place::<Outcome<(), ErrOf<UFut>>>::empty();
    let region = cx.region_with(collect(), async |scope| {
        let acquired = acquire(scope.cx().clone()).await.into_outcome();
        let resource = match acquired {
            Outcome::Ok(resource) => resource,
            bad => return bad.map(|_| unreachable!("a value was taken above")),
        };
        // From here on the resource is given back, also if `consume` panics.
        let held = Held {
            resource: Some(resource),
            place: Arc::clone(&place),
        };
        let failure = Arc::clone(&released);
        scope.defer(async move |cx: Cx<C>| {
            let resource = place
                .take()
                .expect("a bracket's resource is given back by the end of its use");
            match release(cx.clone(), resource).await.into_outcome() {
                Outcome::Ok(()) => {}
                Outcome::Panicked(payload) => panic!("{payload}"),
                bad => {
                    cx.trace("a bracket's release failed");
                    failure.put(Some(bad));
                }
            }
        });
        consume(scope.cx().clone(), held).await.into_outcome()
    });
    match (region.await, released.take()) {
        (Outcome::Ok(_), Some(failed)) => failed.map(|()| unreachable!("only failures are kept")),
        (end, _) => end,
    }
}
