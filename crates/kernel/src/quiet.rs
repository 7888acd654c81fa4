//! Where a primitive may go its shortest way.
//!
//! The problem: an operation that takes what is free asks whether it must stop, tells of what it does, and notes what it owes.
//! Each of the three looks for its answer on its own, and nearly always in vain; so they are answered together, once.

use std::marker::PhantomData;

use crate::cx::Cx;
use crate::current;
use crate::node::NodeRef;
use crate::obligation::Obligation;

/// A context that this thread polls right now, of which nothing was asked, and of which nobody is told anything.
///
/// While it holds, an operation need not look for a cancellation, what it does is no event, and what it reserves is only counted.
/// Without it an operation goes its full way, which does the same and more.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, ObligationKind};
/// use asupersync_kernel::{CancelWait, Cx, Obligation};
/// fn reserve(cx: &Cx, take: impl Fn() -> bool) -> Result<Option<Obligation>, Cancelled> {
///     if let Some(quiet) = cx.quiet() {
///         return Ok(take().then(|| quiet.reserve()));
///     }
///     match CancelWait::check() {
///         Some(cancelled) => Err(cancelled),
///         None => Ok(take().then(|| Obligation::reserve(cx, ObligationKind::Transaction))),
///     }
/// }
/// ```
pub struct Quiet<'a> {
    node: &'a NodeRef,
    /// It holds on this thread only.
    thread: PhantomData<*const ()>,
}

impl<C> Cx<C> {
    /// Whether an operation under this context may go its shortest way.
    #[must_use]
    #[inline]
    pub fn quiet(&self) -> Option<Quiet<'_>> {
        let node = self.node();
        let is_quiet = current::is_polling(node.as_non_null())
            && node.stage().is_none()
            && node.region().is_quiet()
            && !node.obligations.is_closed();
        is_quiet.then_some(Quiet {
            node,
            thread: PhantomData,
        })
    }
}

impl Quiet<'_> {
    /// Makes the context owe something; nobody asks what.
    ///
    /// Cost: a load and a store on the holder's own memory.
    #[inline]
    pub fn reserve(self) -> Obligation {
        Obligation::counted(self.node)
    }
}
