//! What a holder of a permit has: its place in the pool, and perhaps an object.
//!
//! Every path by which an acquire can end (a value, an error, a panic, a cancelled or dropped wait) drops one of these, so no place is lost.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use asupersync_core::{ObligationKind, Time};
use asupersync_kernel::{Cx, Leaked, Obligation, Recover};

use super::store::Store;
use super::{Counts, Manager, PoolOptions};
use crate::notify::Notify;

/// What the handles, the guards and the recovery of a pool have in common.
pub(super) struct Shared<M: Manager> {
    pub(super) manager: M,
    pub(super) options: PoolOptions,
    pub(super) store: Store<Entry<M::Object>>,
    pub(super) counts: Counts,
    /// Told when the pool is closed, and when it then has no object left.
    pub(super) changed: Notify,
}

impl<M: Manager> Shared<M> {
    /// The part of the store that the caller's worker uses.
    pub(super) fn home(cx: &Cx) -> usize {
        cx.current_worker()
            .map_or(0, |worker| usize::from(worker.0))
    }

    /// One object fewer.
    pub(super) fn uncount(&self) {
        if self.store.uncount() && self.store.permits.is_closed() {
            self.changed.notify_waiters();
        }
    }

    fn return_permit(&self) {
        self.store.permits.give_back(1, "pool.release");
    }

    /// Hands objects that are no longer counted to the manager.
    pub(super) fn dispose_all(&self, entries: Vec<Entry<M::Object>>) {
        for entry in entries {
            self.manager.dispose(entry.object);
        }
        if self.store.permits.is_closed() && self.store.count() == 0 {
            self.changed.notify_waiters();
        }
    }
}

impl<M: Manager> Recover for Shared<M> {
    /// The guard was forgotten or outlived its task: its object counts no more, and its place is free.
    fn recover(&self, _ticket: u64) {
        self.uncount();
        self.return_permit();
    }
}

/// An object and how long it lasts.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) object: T,
    pub(super) ends_at: Time,
    /// From 0 to 255 parts of the jitter.
    pub(super) jitter: u8,
    pub(super) idle_since: Time,
}

/// A place in the pool: one permit, and whether an object is counted for it.
struct Place<M: Manager> {
    shared: Arc<Shared<M>>,
    is_counted: bool,
    /// Not so once the recovery of a leak has given both back.
    is_held: bool,
}

impl<M: Manager> Drop for Place<M> {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        if self.is_counted {
            self.shared.uncount();
        }
        self.shared.return_permit();
    }
}

/// A place in the pool, and its object if it has one, which is disposed of unless it is given back.
pub(super) struct Lent<M: Manager> {
    entry: Option<Entry<M::Object>>,
    // Declared last: a panic while the object is disposed of still gives the place back.
    place: Place<M>,
}

impl<M: Manager> Lent<M> {
    /// For who has taken a permit only.
    pub(super) fn new(shared: &Arc<Shared<M>>) -> Self {
        shared.store.permits.resource.trace("pool.acquire");
        Self {
            entry: None,
            place: Place {
                shared: Arc::clone(shared),
                is_counted: false,
                is_held: true,
            },
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared<M>> {
        &self.place.shared
    }

    /// An object is counted for this place, and is being made.
    pub(super) fn count(&mut self) {
        self.place.is_counted = true;
    }

    pub(super) fn put(&mut self, entry: Entry<M::Object>) {
        self.place.is_counted = true;
        self.entry = Some(entry);
    }

    pub(super) fn object(&self) -> &M::Object {
        let entry = self.entry.as_ref();
        &entry.expect("a guard has its object until it ends").object
    }

    pub(super) fn object_mut(&mut self) -> &mut M::Object {
        let entry = self.entry.as_mut();
        &mut entry.expect("a guard has its object until it ends").object
    }

    /// Parts with the object, which counts no more.
    pub(super) fn detach(&mut self) -> Option<M::Object> {
        let entry = self.entry.take()?;
        self.uncount();
        Some(entry.object)
    }

    /// Hands the object to the manager; the place stays.
    pub(super) fn dispose(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.place.shared.manager.dispose(entry.object);
        }
        self.uncount();
    }

    fn uncount(&mut self) {
        if std::mem::take(&mut self.place.is_counted) && self.place.is_held {
            self.place.shared.uncount();
        }
    }

    /// Whether the place was not given back by the recovery of a leak.
    pub(super) const fn is_held(&self) -> bool {
        self.place.is_held
    }

    /// The recovery of a leak has given the place back already.
    fn was_recovered(&mut self) {
        self.place.is_held = false;
    }

    /// Lays the object among the idle ones, and frees the place.
    pub(super) fn give_back(mut self, home: usize, now: Time) {
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        entry.idle_since = now;
        match self.place.shared.store.push(home, entry) {
            // It is counted as idle from now on, and the permit returns with the place.
            Ok(()) => self.place.is_counted = false,
            Err(entry) => self.entry = Some(entry),
        }
    }
}

impl<M: Manager> Drop for Lent<M> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.place.shared.manager.dispose(entry.object);
        }
    }
}

/// The lease of a guard: an obligation of the context that acquired the object.
pub(super) struct Lease(Option<Obligation>);

impl Lease {
    pub(super) fn new<M: Manager>(
        cx: &Cx,
        lent: &Lent<M>,
        site: &'static Location<'static>,
    ) -> Self {
        let obligation =
            Obligation::reserve_recoverable_at(cx, ObligationKind::Lease, lent.shared(), 0, site);
        Self(Some(obligation))
    }

    /// Ends the lease; whatever becomes of the object, its return is what was owed.
    pub(super) fn end<M: Manager>(&mut self, lent: &mut Lent<M>) {
        let Some(obligation) = self.0.take() else {
            return;
        };
        if obligation
            .commit()
            .is_err_and(|leaked| leaked.is_recovered())
        {
            lent.was_recovered();
        }
    }
}

/// What is still owed on an object, in the hands of its users.
#[derive(Debug, Default)]
pub(super) struct Dues {
    open: AtomicU32,
    is_spoiled: AtomicBool,
}

impl Dues {
    /// Whether everything that was begun was committed.
    pub(super) fn are_settled(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0 && !self.is_spoiled.load(Ordering::Acquire)
    }
}

/// Something begun on a pooled object, such as a transaction; from [`Pooled::begin`](super::Pooled::begin).
///
/// While it is open, and if it is aborted or dropped, the object cannot return to its pool.
#[must_use = "dropping it aborts, and the object does not return to its pool"]
pub struct Begun {
    obligation: Option<Obligation>,
    dues: Arc<Dues>,
}

impl Begun {
    pub(super) fn new(obligation: Obligation, dues: &Arc<Dues>) -> Self {
        dues.open.fetch_add(1, Ordering::AcqRel);
        Self {
            obligation: Some(obligation),
            dues: Arc::clone(dues),
        }
    }

    /// It is over and has left nothing behind; also after an orderly rollback.
    ///
    /// # Errors
    /// [`Leaked`] if the context that began it has ended before; then the object does not return to its pool.
    pub fn commit(mut self) -> Result<(), Leaked> {
        let Some(obligation) = self.obligation.take() else {
            return Ok(());
        };
        if let Err(leaked) = obligation.commit() {
            self.dues.is_spoiled.store(true, Ordering::Release);
            return Err(leaked);
        }
        self.dues.open.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }

    /// It was given up where it stood; the object does not return to its pool.
    pub fn abort(mut self) {
        self.dues.is_spoiled.store(true, Ordering::Release);
        if let Some(obligation) = self.obligation.take() {
            // Leaked or not, the object is spoiled.
            let _ = obligation.abort();
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.obligation.take().is_some() {
            self.dues.is_spoiled.store(true, Ordering::Release);
        }
    }
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun")
            .field("is_open", &self.obligation.is_some())
            .finish_non_exhaustive()
    }
}
