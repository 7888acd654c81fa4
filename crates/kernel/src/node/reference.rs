//! Counted references to nodes, and what becomes of a node when the last one goes.

use std::mem::offset_of;
use std::ops::Deref;
use std::ptr::NonNull;

use super::{Depth, Header, InlineNode, Kind, NodeInit, OwnTerms, RegionInit, RegionNode, Terms};
use crate::free_lists;
use crate::obligation;
use crate::task::Vtable;

/// A counted reference to a node.
pub(crate) struct NodeRef(pub(super) NonNull<Header>);

// SAFETY: all shared state of a node is atomic or behind its lock; `links` are touched only under the
// parent's lock; the future behind a task is touched only by the owner of its `RUNNING` flag, and a
// future that is not `Send` only on its home worker.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}

impl NodeRef {
    /// Makes a region's node with one reference; without `terms` it lives on those of the region above.
    ///
    /// # Panics
    /// If there are no terms, neither its own nor above it.
    #[inline]
    pub(crate) fn new_region(init: RegionInit, terms: Option<Terms>) -> Self {
        if let Some(terms) = terms {
            return Self::new_region_with(init, terms);
        }
        let above = init.node.parent.as_ref();
        let above = above.expect("a root region has terms of its own");
        let terms = above.region().terms;
        let node = free_lists::take::<RegionNode>();
        // SAFETY: the memory was taken for it.
        unsafe { node.write(RegionNode::new(init, terms, Vtable::REGION)) };
        Self::new(node)
    }

    #[cold]
    fn new_region_with(init: RegionInit, terms: Terms) -> Self {
        let node = free_lists::take::<OwnTerms>();
        // SAFETY: the memory was taken for all of it, the terms included.
        let place = unsafe { node.byte_add(offset_of!(OwnTerms, terms)) };
        let region = RegionNode::new(init, place.cast(), Vtable::OWN_TERMS);
        // SAFETY: the memory was taken for it.
        unsafe { node.write(OwnTerms { region, terms }) };
        Self::new(node)
    }

    /// Makes a fiber's node with one reference; `shield` is the deepest that holds where it is opened.
    pub(crate) fn new_fiber(init: NodeInit, shield: Depth) -> Self {
        debug_assert!(
            init.nature.is(Kind::Fiber),
            "an inline node that is no region"
        );
        let node = free_lists::take::<InlineNode>();
        // SAFETY: the memory was taken for it.
        unsafe { node.write(InlineNode::new(init, shield, Vtable::FIBER)) };
        Self::new(node)
    }

    /// `node` begins with a header, and has one reference.
    #[inline]
    fn new<T>(node: NonNull<T>) -> Self {
        // For `Header::allocation`.
        node.expose_provenance();
        Self(node.cast())
    }

    /// # Safety
    /// The caller owns one reference to a live node and gives it up.
    pub(crate) const unsafe fn from_owned(node: NonNull<Header>) -> Self {
        Self(node)
    }

    /// # Safety
    /// The node is alive during the call.
    pub(crate) unsafe fn from_borrowed(node: NonNull<Header>) -> Self {
        // SAFETY: alive, by the caller's promise.
        unsafe { node.as_ref() }.state.retain();
        Self(node)
    }

    pub(crate) const fn as_ptr(&self) -> *mut Header {
        self.0.as_ptr()
    }

    pub(crate) const fn as_non_null(&self) -> NonNull<Header> {
        self.0
    }

    /// Gives the reference up without releasing it.
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        let node = self.0;
        std::mem::forget(self);
        node
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Deref for NodeRef {
    type Target = Header;

    fn deref(&self) -> &Header {
        // SAFETY: a counted reference keeps its node alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        self.state.retain();
        Self(self.0)
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference being dropped is given up here.
        if let Some(parent) = unsafe { release(self.0) } {
            release_above(parent);
        }
    }
}

/// Gives a reference up, and whatever was held by what it held last.
fn release_above(parent: NodeRef) {
    // A loop and not a recursion: a chain of parents may be a hundred thousand regions long.
    let mut next = Some(parent);
    while let Some(node) = next {
        // SAFETY: `into_raw` gave the reference up.
        next = unsafe { release(node.into_raw()) };
    }
}

/// Gives a reference up; the parent's, if it was the last and the node is freed.
///
/// # Safety
/// The caller owns the reference.
#[inline]
unsafe fn release(node: NonNull<Header>) -> Option<NodeRef> {
    // SAFETY: the reference keeps the node alive up to here.
    let header = unsafe { node.as_ref() };
    if !header.is_sole() && !header.state.release() {
        return None;
    }
    // SAFETY: that was the last reference.
    unsafe { free(node) }
}

/// Frees a node unless something open keeps it; the parent's reference.
///
/// # Safety
/// The last reference to the node is gone.
unsafe fn free(node: NonNull<Header>) -> Option<NodeRef> {
    // SAFETY: the node has not been freed.
    let header = unsafe { node.as_ref() };
    if !header.obligations().is_clear() && obligation::keep(node) {
        return None;
    }
    // SAFETY: by the caller's promise, and `dealloc` belongs to the node's allocation.
    unsafe { (header.vtable.dealloc)(node) }
}

/// Gives references to nodes of one parent up, and those to the parent that they had at once.
pub(crate) fn release_all(nodes: impl Iterator<Item = NodeRef>) {
    let mut parent: Option<NodeRef> = None;
    let mut beside = 0;
    for node in nodes {
        // SAFETY: `into_raw` gave this reference up.
        let Some(freed) = (unsafe { release(node.into_raw()) }) else {
            continue;
        };
        if parent.is_none() {
            parent = Some(freed);
        } else {
            let _ = freed.into_raw();
            beside += 1;
        }
    }
    if let Some(parent) = parent {
        parent.state.release_beside(beside);
    }
}
