//! What few nodes have, kept out of the way of the many that do not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use asupersync_core::{Budget, Severity};

use crate::cancel::Request;
use crate::event::Name;
use crate::host::TimerKey;
use crate::mutation::{Mutation, is_on};
use crate::node::NodeRef;
use crate::obligation::Record;

/// A finalizer that has not run: given the context to run under, it makes its future.
pub(crate) type Finalizer =
    Box<dyn FnOnce(NodeRef) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A child that ended badly and whose end nobody has taken yet.
pub(crate) struct Failed {
    pub(crate) node: NodeRef,
    pub(crate) severity: Severity,
}

impl Failed {
    /// Whether nobody has taken the end, and nobody but the region can.
    pub(crate) fn is_orphan(&self) -> bool {
        // In this order: whoever has the handle takes the end before it gives the handle up.
        let is_given_up = !self.node.state.has_handle();
        is_given_up && (!self.node.state.is_taken() || is_on(Mutation::JoinedErrorHidesOthers))
    }
}

/// The rarely needed part of a node.
#[derive(Default)]
#[repr(align(8))]
pub(crate) struct Extra {
    /// The node's budget where it differs from its region's.
    pub(crate) budget: Option<Budget>,
    pub(crate) cost_spent: u64,
    pub(crate) name: Option<Name>,
    /// Fires at the node's own deadline.
    pub(crate) deadline_timer: Option<TimerKey>,
    /// Wakers of combinators between the node and its leaves.
    pub(crate) wakers: Slots<Waker>,
    pub(crate) finalizers: Vec<Finalizer>,
    pub(crate) failed: Vec<Failed>,
    /// What a region asked of all that lives in it; nothing of that goes before the region's memory, since tasks point to it.
    told: Vec<Arc<Request>>,
    pub(crate) owed: Slots<Record>,
    /// Whether what was owed at the end was recovered; written when the list is taken.
    pub(crate) recovered: bool,
}

impl Extra {
    /// Keeps what a region asks of all that lives in it.
    ///
    /// The problem: a count for each of many tasks that are cancelled together is a line of the cache that all workers want at once, and costs more than the rest.
    /// So nobody counts: the region lets go of nothing that it told, which is little, since it asks again only for a stronger reason.
    pub(crate) fn tell(&mut self, request: Request) -> Arc<Request> {
        let told = Arc::new(request);
        self.told.push(Arc::clone(&told));
        told
    }
}

/// A list whose places keep their numbers.
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = Some(value);
            return index;
        }
        let index = u32::try_from(self.places.len()).expect("fewer than 2^32 places fit in memory");
        self.places.push(Some(value));
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.places.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(value)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// Empties the list; its numbers start anew.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(self).places.into_iter().flatten()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use asupersync_core::{CancelKind, CancelReason, Origin, Time};

    use super::*;

    #[test]
    fn a_region_keeps_all_that_it_told() {
        let mut extra = Extra::default();
        let mut tell = |kind| {
            let reason = CancelReason::new(kind, Origin::default(), Time::ZERO);
            Arc::downgrade(&extra.tell(Request::new(reason, 1)))
        };
        let told = [CancelKind::User, CancelKind::Shutdown].map(&mut tell);
        let kept = || told.iter().filter(|told| told.upgrade().is_some()).count();
        assert_eq!(kept(), 2);
        drop(extra);
        assert_eq!(kept(), 0);
    }
}
