//! A request's way from a node to what lives in it, parents before children.

use std::sync::Arc;

use asupersync_core::{CancelKind, CancelReason, Time};

use super::request::{Asked, Cleanup, Request};
use super::{Answer, Step, notify, request_one};
use crate::mutation::{Mutation, is_on};
use crate::node::{Header, NodeRef};
use crate::waker::Woken;

/// Who must be told, the oldest last, and what stands at their parent; reasons are shared between threads, so one is counted only where it is needed.
pub(super) struct Children {
    pub(super) nodes: Vec<NodeRef>,
    pub(super) request: Request,
}

/// Who is asked the same, the oldest last.
pub(super) struct Group {
    nodes: Vec<NodeRef>,
    asked: Kept,
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
        let Some(node) = group.nodes.pop() else {
            groups.pop();
            continue;
        };
        let answer = request_one(&node, group.asked.asked());
        if group.nodes.is_empty() {
            // A chain of regions may be long.
            groups.pop();
        }
        let Step { wakers, children } = match answer {
            Answer::Unchanged => continue,
            Answer::Alone => {
                woken.wake(node);
                continue;
            }
            Answer::Further(step) => step,
        };
        groups.extend(children.map(|children| inherit(&node, children, now)));
        if node.is_task() && wakers.is_empty() {
            woken.wake(node);
        } else {
            notify(&node, wakers);
        }
    }
}

/// What the children of a node are asked, for its own request.
pub(super) fn inherit(node: &Header, children: Children, now: Time) -> Group {
    let Children { nodes, request } = children;
    let reason = inherited(node, &request.reason, now);
    let own = Cleanup::of(reason.kind(), now);
    Group::new(
        node,
        nodes,
        Request {
            reason,
            depth: request.depth,
            cleanup: own.meet(request.cleanup),
        },
    )
}

impl Group {
    /// All that lives in `node`.
    fn new(node: &Header, mut nodes: Vec<NodeRef>, request: Request) -> Self {
        if is_on(Mutation::ChildIsNotAsked) {
            nodes.pop();
        }
        let asked = if node.is_region() {
            Kept::ByRegion(node.lock().contents().tell(request))
        } else {
            Kept::Here(request)
        };
        Self { nodes, asked }
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
pub(super) fn tell_children(node: &NodeRef, step: Step, now: Time) {
    let Some(Children { nodes, request }) = step.children else {
        return;
    };
    let reason = inherited(node, &request.reason, now);
    let at = reason.at();
    tell(
        Group::new(node, nodes, Request::new(reason, request.depth)),
        node,
        at,
    );
}
