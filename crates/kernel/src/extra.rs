//! What few nodes have, kept out of the way of the many that do not.

use std::pin::Pin;
use std::task::Waker;

use asupersync_core::{Budget, Severity};

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
    pub(crate) owed: Slots<Record>,
    /// Whether what was owed at the end was recovered; written when the list is taken.
    pub(crate) recovered: bool,
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
