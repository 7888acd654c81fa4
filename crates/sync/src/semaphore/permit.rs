//! Permits that are held, and the obligation to return them.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;

use asupersync_core::ObligationKind;
use asupersync_kernel::{Cx, Obligation};

use super::{ACQUIRE, RELEASE, Shared};

/// Permits and who owes them.
///
/// It is moved with every permit that is taken, so it is as few words as it can be.
pub(super) struct Held {
    /// None for permits of a thread outside the runtime: returned when dropped, and owed by nobody.
    ///
    /// It is settled by whoever ends the permits, so nothing is left to drop.
    obligation: ManuallyDrop<Option<Obligation>>,
    /// 0 if nothing is left to return.
    count: u32,
}

impl Held {
    #[inline]
    pub(super) fn new<C>(
        cx: &Cx<C>,
        shared: &Arc<Shared>,
        count: u32,
        site: &'static Location<'static>,
    ) -> Self {
        let obligation = Obligation::reserve_recoverable_at(
            cx,
            ObligationKind::SemaphorePermit,
            shared,
            u64::from(count),
            site,
        );
        Self::owed(obligation, count)
    }

    #[inline]
    pub(super) const fn owed(obligation: Obligation, count: u32) -> Self {
        Self {
            obligation: ManuallyDrop::new(Some(obligation)),
            count,
        }
    }

    pub(super) const fn unowed(count: u32) -> Self {
        Self {
            obligation: ManuallyDrop::new(None),
            count,
        }
    }

    const fn paid() -> Self {
        Self::unowed(0)
    }

    /// Ends the obligation without returning anything; says how many permits that leaves in the caller's hands.
    ///
    /// `None` if they were leaked and recovered, and so are in circulation again.
    #[inline]
    fn settle(&mut self) -> Option<u32> {
        let count = std::mem::take(&mut self.count);
        // Returning the permits is what was owed, however it comes about.
        match self.obligation.take().map(Obligation::commit) {
            Some(Err(leaked)) if leaked.is_recovered() => None,
            None | Some(Ok(()) | Err(_)) => Some(count),
        }
    }

    fn forget(&mut self, shared: &Shared) {
        if self.settle().is_some_and(|count| count > 0) {
            shared.counter.resource.trace(RELEASE);
        }
    }

    #[inline]
    fn give_back(&mut self, shared: &Shared) {
        let Some(obligation) = self.obligation.take() else {
            return self.give_back_told(shared);
        };
        match obligation.commit_quietly() {
            Ok(()) => shared.counter.give_back_quietly(self.count),
            Err(obligation) => {
                *self.obligation = Some(obligation);
                self.give_back_told(shared);
            }
        }
    }

    #[cold]
    fn give_back_told(&mut self, shared: &Shared) {
        if let Some(count) = self.settle()
            && count > 0
        {
            shared.counter.give_back(count.into(), RELEASE);
        }
    }

    fn split<C>(
        &mut self,
        cx: &Cx<C>,
        shared: &Arc<Shared>,
        count: u32,
        site: &'static Location<'static>,
    ) -> Option<Self> {
        let rest = self.count.checked_sub(count)?;
        // If they were leaked and recovered, nothing is left to split.
        self.settle()?;
        shared.counter.resource.trace(ACQUIRE);
        *self = Self::new(cx, shared, rest, site);
        Some(Self::new(cx, shared, count, site))
    }

    fn merge<C>(
        &mut self,
        cx: &Cx<C>,
        shared: &Arc<Shared>,
        mut other: Self,
        site: &'static Location<'static>,
    ) {
        let parts = [self.settle(), other.settle()];
        let sum: u64 = parts.into_iter().flatten().map(u64::from).sum();
        // Were there more, the counter would be wrong; what a guard cannot count goes back.
        let kept = u32::try_from(sum).unwrap_or(u32::MAX);
        shared.counter.give_back(sum - u64::from(kept), RELEASE);
        *self = Self::new(cx, shared, kept, site);
    }
}

/// Permits of a [`Semaphore`](super::Semaphore); dropping returns them.
#[must_use = "dropping the permit returns it"]
pub struct SemaphorePermit<'a> {
    shared: &'a Arc<Shared>,
    held: Held,
}

/// Permits of a [`Semaphore`](super::Semaphore) that do not borrow it; dropping returns them.
#[must_use = "dropping the permit returns it"]
pub struct OwnedSemaphorePermit {
    shared: Arc<Shared>,
    held: Held,
}

impl<'a> SemaphorePermit<'a> {
    pub(super) const fn new(shared: &'a Arc<Shared>, held: Held) -> Self {
        Self { shared, held }
    }

    /// How many permits these are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.held.count
    }

    /// Takes the permits out of circulation for good.
    pub fn forget(mut self) {
        self.held.forget(self.shared);
    }

    /// Splits `count` permits off; `cx` owes both parts from now on.
    ///
    /// `None` if there are fewer.
    #[track_caller]
    pub fn split<C>(&mut self, cx: &Cx<C>, count: u32) -> Option<Self> {
        let held = self
            .held
            .split(cx, self.shared, count, Location::caller())?;
        Some(Self::new(self.shared, held))
    }

    /// Adds the permits of `other`; `cx` owes the sum from now on.
    ///
    /// # Panics
    /// If they are of another semaphore.
    #[track_caller]
    pub fn merge<C>(&mut self, cx: &Cx<C>, mut other: Self) {
        assert!(
            Arc::ptr_eq(self.shared, other.shared),
            "permits of one semaphore cannot be merged into another's"
        );
        let taken = std::mem::replace(&mut other.held, Held::paid());
        self.held.merge(cx, self.shared, taken, Location::caller());
    }
}

impl OwnedSemaphorePermit {
    pub(super) const fn new(shared: Arc<Shared>, held: Held) -> Self {
        Self { shared, held }
    }

    /// How many permits these are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.held.count
    }

    /// Takes the permits out of circulation for good.
    pub fn forget(mut self) {
        self.held.forget(&self.shared);
    }

    /// Splits `count` permits off; `cx` owes both parts from now on.
    ///
    /// `None` if there are fewer.
    #[track_caller]
    pub fn split<C>(&mut self, cx: &Cx<C>, count: u32) -> Option<Self> {
        let held = self
            .held
            .split(cx, &self.shared, count, Location::caller())?;
        Some(Self::new(Arc::clone(&self.shared), held))
    }

    /// Adds the permits of `other`; `cx` owes the sum from now on.
    ///
    /// # Panics
    /// If they are of another semaphore.
    #[track_caller]
    pub fn merge<C>(&mut self, cx: &Cx<C>, mut other: Self) {
        assert!(
            Arc::ptr_eq(&self.shared, &other.shared),
            "permits of one semaphore cannot be merged into another's"
        );
        let taken = std::mem::replace(&mut other.held, Held::paid());
        self.held.merge(cx, &self.shared, taken, Location::caller());
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.held.give_back(self.shared);
    }
}

impl Drop for OwnedSemaphorePermit {
    #[inline]
    fn drop(&mut self) {
        self.held.give_back(&self.shared);
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SemaphorePermit")
            .field(&self.count())
            .finish()
    }
}

impl fmt::Debug for OwnedSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedSemaphorePermit")
            .field(&self.count())
            .finish()
    }
}
