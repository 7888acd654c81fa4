//! The guard of a lent object.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;

use asupersync_core::ObligationKind;
use asupersync_kernel::{Cx, Obligation};

use super::Manager;
use super::lent::{Begun, Dues, Lease, Lent, Shared};

/// An object of a pool, lent; dropping the guard gives it back.
///
/// It does not return if it was [discarded](Self::discard), if something [begun](Self::begin) on it was not committed, if a panic unwinds through the guard, or if the pool is closed.
#[must_use = "the object goes back when the guard is dropped"]
pub struct Pooled<M: Manager> {
    lent: Option<Lent<M>>,
    lease: Lease,
    dues: Option<Arc<Dues>>,
    was_panicking: bool,
    cx: Cx,
}

impl<M: Manager> Pooled<M> {
    /// For a place with an object.
    pub(super) fn new(cx: &Cx, lent: Lent<M>, site: &'static Location<'static>) -> Self {
        Self {
            lease: Lease::new(cx, &lent, site),
            lent: Some(lent),
            dues: None,
            was_panicking: std::thread::panicking(),
            cx: cx.clone(),
        }
    }

    /// Begins something that must be over before the object may return to its pool; `cx` owes it.
    ///
    /// As long as what this gives is open, and if it is aborted or dropped, the object is disposed of when the guard ends.
    /// # Examples
    /// ```
    /// use asupersync_core::ObligationKind;
    /// use asupersync_kernel::{Cx, Leaked};
    /// use asupersync_sync::{Manager, Pooled};
    /// fn transact<M: Manager>(cx: &Cx, connection: &mut Pooled<M>) -> Result<(), Leaked> {
    ///     let transaction = connection.begin(cx, ObligationKind::Transaction);
    ///     // ... an early return here, or a cancelled wait, keeps the connection from the next user ...
    ///     transaction.commit()
    /// }
    /// ```
    #[track_caller]
    pub fn begin<C>(&mut self, cx: &Cx<C>, kind: ObligationKind) -> Begun {
        let dues = self.dues.get_or_insert_default();
        Begun::new(Obligation::reserve(cx, kind), dues)
    }

    /// Takes the object out of the pool for good; the pool may make another in its place.
    #[must_use = "the object is the caller's now"]
    pub fn detach(mut self) -> M::Object {
        let mut lent = self.take_lent();
        lent.shared().counts.detached();
        let object = lent.detach();
        object.expect("a guard has its object until it ends")
    }

    /// Disposes of an object that is known to be broken.
    pub fn discard(mut self) {
        self.take_lent().dispose_counted();
    }

    /// Ends the lease; the guard is empty after.
    fn take_lent(&mut self) -> Lent<M> {
        let lent = self.lent.take();
        let mut lent = lent.expect("a guard has its object until it ends");
        self.lease.end(&mut lent);
        lent
    }

    fn is_fit(&self) -> bool {
        let has_panicked = !self.was_panicking && std::thread::panicking();
        !has_panicked && self.dues.as_ref().is_none_or(|dues| dues.are_settled())
    }
}

impl<M: Manager> Lent<M> {
    fn dispose_counted(mut self) {
        self.shared().counts.discarded();
        self.dispose();
    }
}

impl<M: Manager> Deref for Pooled<M> {
    type Target = M::Object;

    fn deref(&self) -> &M::Object {
        let lent = self.lent.as_ref();
        lent.expect("a guard has its object until it ends").object()
    }
}

impl<M: Manager> DerefMut for Pooled<M> {
    fn deref_mut(&mut self) -> &mut M::Object {
        let lent = self.lent.as_mut();
        lent.expect("a guard has its object until it ends")
            .object_mut()
    }
}

impl<M: Manager> Drop for Pooled<M> {
    fn drop(&mut self) {
        if self.lent.is_none() {
            return;
        }
        let lent = self.take_lent();
        if self.is_fit() && lent.is_held() {
            lent.give_back(Shared::<M>::home(&self.cx), self.cx.now());
        } else {
            lent.dispose_counted();
        }
    }
}

impl<M: Manager<Object: fmt::Debug>> fmt::Debug for Pooled<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
