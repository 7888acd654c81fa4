//! Tasks that have ended, on their way out of their region.
//!
//! The problem: each end takes the region's lock and gives a reference to it up, and workers that run tasks of one region at a time hand the lines of the cache with both to and fro.
//!
//! # Invariants
//! - All of them are of one region, and none of them failed.
//! - The region waits for them only as long as it waits for others: they are settled before the worker polls a task of another region, looks for work elsewhere, or sleeps.

use std::ptr;

use crate::leave;
use crate::node::{Header, NodeRef, release_all};

/// So many leave at once; more would keep the memory of tasks that have ended for no gain.
const AT_ONCE: usize = 32;

/// What a worker gathers of the tasks that end in its hands, to take them out of their region together.
///
/// [`Runnable::run`](crate::Runnable::run) adds to it.
/// Whoever has one calls [`settle`](Self::settle) when it has nothing more to run: until then a region that waits for its last task may wait in vain.
/// The first task that ends is never gathered, so a host that makes a new one for each step has nothing to settle.
pub struct Ended {
    /// Where the last one ended, if nothing of another region was polled since; to compare with only.
    region: *const Header,
    nodes: Vec<NodeRef>,
    /// Whether one of them was cancelled.
    is_cancelled: bool,
}

impl Ended {
    /// Nobody yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            region: ptr::null(),
            nodes: Vec::new(),
            is_cancelled: false,
        }
    }

    /// As [`new`](Self::new), with the room for all that are ever kept.
    #[must_use]
    pub fn with_room() -> Self {
        let mut empty = Self::new();
        empty.nodes.reserve_exact(AT_ONCE);
        empty
    }

    /// Takes them out of their region, and wakes it if they were the last; whether there were any.
    #[inline]
    pub fn settle(&mut self) -> bool {
        if self.nodes.is_empty() {
            return false;
        }
        self.settle_some();
        true
    }

    /// Settles what is of another region than `next`, which is about to be polled.
    #[inline]
    pub(crate) fn make_way(&mut self, next: &NodeRef) {
        if !self.region.is_null() && self.region != region_of(next) {
            self.region = ptr::null();
            self.settle();
        }
    }

    /// Whether a task that ends in `region` may leave with others: it is not the first that follows another's poll.
    ///
    /// A task that ends between polls of other regions would only take longer.
    #[inline]
    pub(crate) fn gathers(&mut self, region: &NodeRef) -> bool {
        let region = region.as_non_null().as_ptr().cast_const();
        std::mem::replace(&mut self.region, region) == region
    }

    #[inline]
    pub(crate) fn add(&mut self, node: NodeRef, is_cancelled: bool) {
        self.is_cancelled |= is_cancelled;
        self.nodes.push(node);
        if self.nodes.len() == AT_ONCE {
            self.settle_some();
        }
    }

    fn settle_some(&mut self) {
        let is_cancelled = std::mem::take(&mut self.is_cancelled);
        let region = self.nodes.first().and_then(|node| node.parent());
        if let Some(region) = region {
            leave::leave(region, &self.nodes, is_cancelled);
        }
        release_all(self.nodes.drain(..));
    }
}

fn region_of(task: &NodeRef) -> *const Header {
    task.parent()
        .map_or(ptr::null(), |region| region.as_non_null().as_ptr())
}

impl Default for Ended {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended")
            .field("count", &self.nodes.len())
            .finish()
    }
}
