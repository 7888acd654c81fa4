//! The shortest way to reserve and to commit, where nobody is told of either.
//!
//! The problem: an operation that takes what is free asks whether it must stop, tells of what it does, and notes what it owes.
//! Each of the three looks for its answer on its own, and nearly always in vain; so they are answered together, once.
//!
//! # Invariants
//! - The answer holds while the caller takes and no longer, so it is never handed out: what a caller does meanwhile is a closure, which returns to the same poll on the same thread.

use super::Obligation;
use crate::current;
use crate::cx::Cx;
use crate::node::NodeRef;
use crate::tagged::Tagged;

impl Obligation {
    /// Takes something and makes `cx` owe it, if that is all there is to do.
    ///
    /// It is so if this thread polls `cx` right now, nothing was asked of it, no host listens to operations, and obligations are only counted.
    /// Then `take` need not look for a cancellation, and what it does is no event.
    /// `None` if it is not so, or if `take` says that it took nothing; the caller goes the full way, which does the same and more.
    /// Cost: three loads, and a load and a store on the holder's own memory.
    /// # Examples
    /// ```
    /// use asupersync_core::{Cancelled, ObligationKind};
    /// use asupersync_kernel::{CancelWait, Cx, Obligation};
    /// fn reserve(cx: &Cx, take: impl Fn() -> bool) -> Result<Option<Obligation>, Cancelled> {
    ///     if let Some(owed) = Obligation::reserve_quietly(cx, &take) {
    ///         return Ok(Some(owed));
    ///     }
    ///     match CancelWait::check() {
    ///         Some(cancelled) => Err(cancelled),
    ///         None => Ok(take().then(|| Obligation::reserve(cx, ObligationKind::Transaction))),
    ///     }
    /// }
    /// ```
    #[must_use = "dropping an obligation aborts it"]
    #[inline]
    pub fn reserve_quietly<C>(cx: &Cx<C>, take: impl FnOnce() -> bool) -> Option<Self> {
        let holder = cx.node();
        if !is_quiet(holder) || !holder.obligations().add_own() {
            return None;
        }
        let owed = Self {
            holder: holder.as_non_null(),
            detail: Tagged::NOTHING,
        };
        // Counted before, so that it is asked once whether the account is open.
        if take() {
            return Some(owed);
        }
        let is_counted = owed.account().remove_own();
        debug_assert!(is_counted, "a holder ends after its poll");
        std::mem::forget(owed);
        None
    }

    /// Settles as [`commit`](Self::commit) does, if nobody is told of it and this thread polls the holder right now.
    ///
    /// Then what the caller gives back is no event either.
    /// # Errors
    /// Itself, not settled, if there is more to do.
    #[inline]
    pub fn commit_quietly(self) -> Result<(), Self> {
        let is_quiet = self.detail.is_nothing()
            && current::is_polling(self.holder)
            // SAFETY: what is polled is alive.
            && unsafe { self.holder.as_ref() }.nature.is_quiet();
        if is_quiet && self.account().remove_own() {
            std::mem::forget(self);
            return Ok(());
        }
        Err(self)
    }
}

#[inline]
fn is_quiet(holder: &NodeRef) -> bool {
    current::is_polling(holder.as_non_null())
        && !holder.marks.is_cancelled()
        && holder.nature.is_quiet()
}
