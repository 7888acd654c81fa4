//! What is read and changed under a node's lock: its children, and what was asked of it.

use std::ptr::NonNull;

use asupersync_core::Budget;
use parking_lot::MutexGuard;

use super::{Contents, Header, Links, NodeRef, Nodes};
use crate::cancel::{Asked, CancelState, Request};
use crate::more::LockedMore;
use crate::node::Phase;

/// A node's lock while it is held.
pub(crate) struct Locked<'a> {
    pub(super) node: &'a Header,
    pub(crate) more: LockedMore<'a>,
    pub(super) _guard: MutexGuard<'a, ()>,
}

/// How far a walk over a region's children has come.
pub(crate) struct Place {
    /// The task whose turn is next.
    next: NodeRef,
    /// What the region's next task would have been called when the walk began.
    until: u32,
}

impl Locked<'_> {
    /// What lives in this node, which is no task.
    pub(crate) fn contents(&mut self) -> &mut Contents {
        self.own_contents_mut()
            .expect("only inline nodes are asked for their contents")
    }

    #[inline]
    fn own_contents(&self) -> Option<&Contents> {
        let inline = self.node.inline()?;
        // SAFETY: the contents are guarded by the lock that `self` holds, and borrowed from it.
        Some(unsafe { &*inline.contents.get() })
    }

    #[inline]
    fn own_contents_mut(&mut self) -> Option<&mut Contents> {
        let inline = self.node.inline()?;
        // SAFETY: the contents are guarded by the lock that `self` holds, and borrowed from it exclusively.
        Some(unsafe { &mut *inline.contents.get() })
    }

    /// Whether the node is an inline one that has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.own_contents()
            .is_some_and(|contents| contents.phase == Phase::Closed)
    }

    /// The standing request.
    #[inline]
    pub(crate) fn request(&self) -> Option<&Request> {
        match self.own_contents() {
            Some(contents) => contents.cancel.as_ref().map(|state| &state.request),
            None => self.more.request(),
        }
    }

    /// What is kept of the standing request, where that is more than the request.
    pub(crate) fn cancel(&self) -> Option<&CancelState> {
        match self.own_contents() {
            Some(contents) => contents.cancel.as_ref(),
            None => self.more.cancel(),
        }
    }

    /// The standing request, to be changed.
    pub(crate) fn cancel_mut(&mut self) -> Option<&mut CancelState> {
        if self.node.is_task() {
            return self.more.cancel_mut();
        }
        self.contents().cancel.as_mut()
    }

    /// Notes the first request, taken to be handed on.
    pub(crate) fn ask(&mut self, asked: Asked<'_>) {
        match self.own_contents_mut() {
            Some(contents) => {
                let state = CancelState::new(Request::clone(&asked));
                contents.cancel = Some(state);
            }
            None => self.more.ask(asked),
        }
    }

    /// Whether nothing that was asked of the node is kept back from what lives in it.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.cancel().is_none_or(|state| state.is_handed_on)
    }

    pub(crate) fn set_handed_on(&mut self, is_handed_on: bool) {
        if self.is_handed_on() != is_handed_on
            && let Some(state) = self.cancel_mut()
        {
            state.is_handed_on = is_handed_on;
        }
    }

    /// The budget in force at this node.
    pub(crate) fn budget(&self) -> Budget {
        let own = self.more.extra().and_then(|extra| extra.budget);
        own.unwrap_or_else(|| *self.node.region().budget())
    }

    fn first_child(&self) -> Option<NonNull<Header>> {
        match self.own_contents() {
            Some(contents) => contents.first_child,
            None => self.more.child(),
        }
    }

    /// Links `child` at the front of this node's list.
    #[inline]
    pub(crate) fn link(&mut self, child: &NodeRef) {
        let next = match self.own_contents_mut() {
            Some(contents) => {
                let next = contents.first_child.replace(child.0);
                if next.is_none() {
                    contents.last_child = Some(child.0);
                }
                next
            }
            None => {
                let next = self.more.child();
                self.more.set_child(Some(child.0));
                next
            }
        };
        // SAFETY: `child` is alive and not linked, so its links are the caller's; they are guarded by
        // the parent's lock, which `self` holds.
        unsafe {
            *child.links.get() = Links {
                previous: None,
                next,
            }
        };
        if let Some(next) = next {
            // SAFETY: a linked node is alive, and its links are guarded by the lock that is held.
            let links = unsafe { next.as_ref() }.links.get();
            // SAFETY: as above; no other reference to these links exists under the lock.
            unsafe { (*links).previous = Some(child.0) };
        }
    }

    /// Unlinks `child` from this node's list.
    #[inline]
    pub(crate) fn unlink(&mut self, child: &Header) {
        // SAFETY: `child` is linked in this list, whose lock is held.
        let links = unsafe { &mut *child.links.get() };
        // One by one, since a neighbour has just written one of them.
        let (previous, next) = (links.previous.take(), links.next.take());
        debug_assert!(
            previous.is_some() || self.first_child() == Some(NonNull::from(child)),
            "a child is taken out of the list in which it stands"
        );
        if let Some(previous) = previous {
            // SAFETY: a linked node is alive, and its links are guarded by the lock that is held.
            let links = unsafe { previous.as_ref() }.links.get();
            // SAFETY: as above.
            unsafe { (*links).next = next };
        }
        if let Some(next) = next {
            // SAFETY: as above.
            let links = unsafe { next.as_ref() }.links.get();
            // SAFETY: as above.
            unsafe { (*links).previous = previous };
        }
        match self.own_contents_mut() {
            Some(contents) => {
                if previous.is_none() {
                    contents.first_child = next;
                }
                if next.is_none() {
                    contents.last_child = previous;
                }
            }
            None if previous.is_none() => self.more.set_child(next),
            None => {}
        }
    }

    /// References to so many children, the oldest first, from the given place on; and where the walk goes on.
    ///
    /// More if no task follows, since only a task stays in one list until its end; and all there are, if the one at the place has ended.
    /// Those that have ended and still stand there are left out, and what came after the walk began.
    pub(crate) fn children_from(
        &self,
        place: Option<&Place>,
        limit: usize,
    ) -> (Nodes, Option<Place>) {
        let Some(contents) = self.own_contents() else {
            return (self.children_of_task(), None);
        };
        let until = place.map_or(contents.next_index, |place| place.until);
        let (mut cursor, limit) = match place {
            None => (contents.last_child, limit),
            Some(Place { next, .. }) if self.is_linked(next) => (Some(next.0), limit),
            Some(_) => (contents.last_child, usize::MAX),
        };
        let (mut first, mut others) = (None, Vec::new());
        let mut rest = None;
        while let Some(node) = cursor {
            // SAFETY: a linked node is alive while the parent's lock is held, as `self` shows.
            let header = unsafe { node.as_ref() };
            if header.is_task() {
                if !header.is_older_than(until) {
                    break;
                }
                if others.len() + 1 >= limit {
                    rest = Some(node);
                    break;
                }
            }
            // Looked at before any is counted: an exchange would keep the memory of the next from coming meanwhile.
            if !header.state.is_complete() {
                match first {
                    None => first = Some(node),
                    Some(_) => others.push(node),
                }
            }
            // SAFETY: links are guarded by that lock.
            cursor = unsafe { (*header.links.get()).previous };
        }
        // SAFETY: as above.
        let count = |node| unsafe { NodeRef::from_borrowed(node) };
        let rest = rest.map(|next| Place {
            next: count(next),
            until,
        });
        let others = others.into_iter().map(count).collect();
        (Nodes::new(first.map(count), others), rest)
    }

    /// References to all children of a task, the oldest first.
    fn children_of_task(&self) -> Nodes {
        let (mut oldest, mut others) = (None, Vec::new());
        for child in self.children() {
            others.extend(oldest.replace(child));
        }
        others.reverse();
        Nodes::new(oldest, others)
    }

    /// Whether `child`, a task that was linked in this node's list, still is.
    fn is_linked(&self, child: &NodeRef) -> bool {
        debug_assert!(
            child.is_task(),
            "others may stand in another list meanwhile"
        );
        // SAFETY: a task is linked in no other list, and this one's links are guarded by the lock that `self` holds.
        let Links { previous, next } = unsafe { &*child.links.get() };
        previous.is_some() || next.is_some() || self.first_child() == Some(child.0)
    }

    /// References to all children, the oldest last.
    pub(crate) fn children(&self) -> impl Iterator<Item = NodeRef> {
        let next = |node: &NonNull<Header>| {
            // SAFETY: a linked node is alive while the parent's lock is held, as `self` shows.
            let links = unsafe { node.as_ref() }.links.get();
            // SAFETY: links are guarded by that lock.
            unsafe { (*links).next }
        };
        // SAFETY: as above.
        let count = |node| unsafe { NodeRef::from_borrowed(node) };
        std::iter::successors(self.first_child(), next).map(count)
    }
}
