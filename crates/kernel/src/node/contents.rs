//! What lives in an inline node, and what it was asked.

use std::ptr::NonNull;
use std::task::Waker;

use super::{Header, Phase};
use crate::cancel::CancelState;

/// What an inline node's lock guards beside what every node's does.
///
/// What a spawn and an end change stands first, beside the lock and the count of references, on as few lines of the cache as it can.
#[repr(C)]
pub(crate) struct Contents {
    /// The youngest.
    pub(super) first_child: Option<NonNull<Header>>,
    /// The oldest.
    pub(super) last_child: Option<NonNull<Header>>,
    /// How many tasks and blocking jobs live in the region.
    pub(crate) live: u32,
    pub(crate) next_index: u32,
    pub(crate) phase: Phase,
    /// Some task of the region ended cancelled.
    pub(crate) child_cancelled: bool,
    /// Whoever polls the node, unless it is the task in which it was opened, with its own waker.
    pub(crate) waiter: Option<Waker>,
    pub(super) cancel: Option<CancelState>,
}

impl Contents {
    pub(super) const fn new() -> Self {
        Self {
            first_child: None,
            last_child: None,
            live: 0,
            next_index: 0,
            phase: Phase::Open,
            child_cancelled: false,
            waiter: None,
            cancel: None,
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
}
