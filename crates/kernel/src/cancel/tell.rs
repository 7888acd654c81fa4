//! A request's way from a node to what lives in it, parents before children.

use std::sync::Arc;

use asupersync_core::{CancelKind, CancelReason, Time};

use super::request::{Asked, Cleanup, Request};
use super::{Answer, Step, notify, request_one};
use crate::mutation::{Mutation, is_on};
use crate::node::{Header, Locked, NodeRef, Nodes, Place};
use crate::waker::Woken;

/// So many children are looked at before the first of them is told: many do not fit in the caches, and would be fetched twice.
const TOLD_AT_ONCE: usize = 64;

/// Who must be told, the oldest first, and what stands at their parent; reasons are shared between threads, so one is counted only where it is needed.
pub(super) struct Children {
    nodes: Nodes,
    /// Where those stand that are not among them.
    rest: Option<Place>,
    request: Request,
}

impl Children {
    /// All that lives in `inner`'s node, if anything does.
    pub(super) fn of(inner: &Locked<'_>) -> Option<Self> {
        let (nodes, rest) = inner.children_from(None, TOLD_AT_ONCE);
        let request = inner.request().filter(|_| nodes.len() > 0)?.clone();
        Some(Self {
            nodes,
            rest,
            request,
        })
    }
}

/// Who is asked the same, the oldest first.
pub(super) struct Group {
    nodes: Nodes,
    /// Their parent, and where those stand that are not among them.
    rest: Option<(NodeRef, Place)>,
    kept: Kept,
}

/// What they are asked, and whether their region keeps it for them.
enum Kept {
    Here(Request),
    ByRegion(Arc<Request>),
}

impl Kept {
    const fn asked(&self) -> Asked<'_> {
        match self {
            Self::Here(request) => Asked::Once(request),
            Self::ByRegion(request) => Asked::Told(request),
        }
    }
}

/// Requests cancellation of a group and of everything below, parents before children; `above` is held meanwhile.
pub(super) fn tell(group: Group, above: &NodeRef, now: Time) {
    let mut woken = Woken::of(above);
    let mut groups = vec![group];
    while let Some(group) = groups.last_mut() {
        let Some(node) = group.next() else {
            groups.pop();
            continue;
        };
        let answer = request_one(&node, group.kept.asked());
        if group.is_at_end() {
            // A chain of regions may be long.
            groups.pop();
        }
        let Step { waiting, children } = match answer {
            Answer::Unchanged => continue,
            Answer::Alone => {
                woken.wake(node);
                continue;
            }
            Answer::Further(step) => step,
        };
        groups.extend(children.map(|children| inherit(&node, children, now)));
        if node.is_task() && waiting.leaves.is_empty() {
            woken.wake(node);
        } else {
            notify(&node, waiting);
        }
    }
}

/// What the children of a node are asked, for its own request.
pub(super) fn inherit(node: &NodeRef, children: Children, now: Time) -> Group {
    let standing = &children.request;
    let reason = inherited(node, &standing.reason, now);
    let own = Cleanup::of(reason.kind(), now);
    let request = Request {
        reason,
        depth: standing.depth,
        cleanup: own.meet(standing.cleanup),
    };
    Group::new(node, children, request)
}

impl Group {
    /// All that lives in `node`.
    fn new(node: &NodeRef, children: Children, request: Request) -> Self {
        let Children {
            mut nodes, rest, ..
        } = children;
        if is_on(Mutation::ChildIsNotAsked) {
            nodes.next_back();
        }
        let is_for_many = !nodes.is_one() || rest.is_some();
        let kept = if node.is_region() && is_for_many {
            Kept::ByRegion(node.lock().more.extra_or_new().tell(request))
        } else {
            Kept::Here(request)
        };
        Self {
            nodes,
            rest: rest.map(|place| (node.clone(), place)),
            kept,
        }
    }

    fn next(&mut self) -> Option<NodeRef> {
        if self.nodes.len() == 0
            && let Some((above, place)) = self.rest.take()
        {
            let (nodes, rest) = above.lock().children_from(Some(&place), TOLD_AT_ONCE);
            self.nodes = nodes;
            self.rest = rest.map(|place| (above, place));
        }
        self.nodes.next()
    }

    fn is_at_end(&self) -> bool {
        self.nodes.len() == 0 && self.rest.is_none()
    }
}

/// The reason that a child gets for its parent's.
pub(super) fn inherited(node: &Header, reason: &CancelReason, now: Time) -> CancelReason {
    // Siblings of a failed child are told so themselves; everybody else learns that the parent is going.
    if node.is_region() && reason.kind() == CancelKind::FailFast {
        return reason.clone();
    }
    CancelReason::new(CancelKind::ParentCancelled, node.origin(), now).with_cause(reason.clone())
}

/// Hands a request that was kept back on to what lives in the node.
pub(super) fn tell_children(node: &NodeRef, children: Option<Children>, now: Time) {
    let Some(children) = children else {
        return;
    };
    let reason = inherited(node, &children.request.reason, now);
    let at = reason.at();
    let request = Request::new(reason, children.request.depth);
    tell(Group::new(node, children, request), node, at);
}
