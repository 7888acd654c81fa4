//! What lives in an inline node, and what it was asked.

use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use super::{Header, Phase};
use crate::cancel::{CancelState, Request};

/// What an inline node's lock guards beside what every node's does.
pub(crate) struct Contents {
    /// The youngest.
    pub(super) first_child: Option<NonNull<Header>>,
    /// The oldest.
    pub(super) last_child: Option<NonNull<Header>>,
    pub(super) cancel: Option<CancelState>,
    /// What a region asked of all that lives in it; nothing of that goes before the region's memory, since tasks point to it.
    told: Vec<Arc<Request>>,
    /// How many tasks and blocking jobs live in the region.
    pub(crate) live: u32,
    pub(crate) next_index: u32,
    pub(crate) phase: Phase,
    /// Whoever polls the node, unless it is the task in which it was opened, with its own waker.
    pub(crate) waiter: Option<Waker>,
    /// Some task of the region ended cancelled.
    pub(crate) child_cancelled: bool,
}

impl Contents {
    pub(super) const fn new() -> Self {
        Self {
            first_child: None,
            last_child: None,
            cancel: None,
            told: Vec::new(),
            live: 0,
            next_index: 0,
            phase: Phase::Open,
            waiter: None,
            child_cancelled: false,
        }
    }

    /// Closes a region in which nothing lives, and that was asked nothing; whether it is one.
    #[inline]
    pub(crate) const fn close_if_empty(&mut self) -> bool {
        let is_empty = self.live == 0 && self.cancel.is_none() && !self.child_cancelled;
        if is_empty {
            self.phase = Phase::Closed;
        }
        is_empty
    }

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

#[cfg(all(test, not(loom)))]
mod tests {
    use asupersync_core::{CancelKind, CancelReason, Origin, Time};

    use super::*;

    #[test]
    fn a_region_keeps_all_that_it_told() {
        let mut contents = Contents::new();
        let mut tell = |kind| {
            let reason = CancelReason::new(kind, Origin::default(), Time::ZERO);
            Arc::downgrade(&contents.tell(Request::new(reason, 1)))
        };
        let told = [CancelKind::User, CancelKind::Shutdown].map(&mut tell);
        let kept = || told.iter().filter(|told| told.upgrade().is_some()).count();
        assert_eq!(kept(), 2);
        drop(contents);
        assert_eq!(kept(), 0);
    }
}
