//! What is asked of a node.

use std::ops::Deref;
use std::sync::Arc;

use asupersync_core::{CancelKind, CancelReason, Time};

use crate::host::TimerKey;
use crate::node::Depth;

/// What is asked of a node; one for all that are asked the same.
#[derive(Clone)]
#[repr(align(8))]
pub(crate) struct Request {
    pub(super) reason: CancelReason,
    /// The deepest node that was asked; only a mask or shield that is as deep keeps that back.
    pub(super) depth: Depth,
    /// The whole cleanup, or the grace, which bounds the children's; the polls that are left count down on the node.
    pub(super) cleanup: Cleanup,
}

impl Request {
    /// A request of the moment that the reason tells.
    pub(crate) fn new(reason: CancelReason, depth: Depth) -> Self {
        let now = reason.at();
        Self::at(reason, depth, now)
    }

    pub(super) fn at(reason: CancelReason, depth: Depth, now: Time) -> Self {
        let cleanup = Cleanup::of(reason.kind(), now);
        Self {
            reason,
            depth,
            cleanup,
        }
    }

    pub(crate) const fn depth(&self) -> Depth {
        self.depth
    }
}

/// A request that stands at a node, and how far it has gone there.
pub(crate) struct CancelState {
    pub(crate) request: Request,
    pub(super) timer: Option<TimerKey>,
    /// Whether the request was handed on to what lives in the node.
    pub(crate) is_handed_on: bool,
}

impl CancelState {
    /// A request that was handed on.
    pub(crate) const fn new(request: Request) -> Self {
        Self {
            request,
            timer: None,
            is_handed_on: true,
        }
    }
}

/// How long cleanup may take: so many polls, and until then.
#[derive(Clone, Copy)]
pub(super) struct Cleanup {
    pub(super) polls: u32,
    pub(super) deadline: Time,
}

impl Cleanup {
    pub(super) fn of(kind: CancelKind, now: Time) -> Self {
        let budget = kind.cleanup_budget(now);
        Self {
            polls: budget.poll_quota,
            deadline: budget.deadline.unwrap_or(Time::MAX),
        }
    }

    pub(super) fn meet(self, other: Self) -> Self {
        Self {
            polls: self.polls.min(other.polls),
            deadline: self.deadline.min(other.deadline),
        }
    }
}

/// A request on its way to one node, or to many.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    Once(&'a Request),
    Shared(&'a Arc<Request>),
    /// On its way to what lives in a region, which keeps it; so nobody there counts it.
    Told(&'a Arc<Request>),
}

impl Asked<'_> {
    /// The request, for whoever keeps it.
    pub(crate) fn to_shared(self) -> Arc<Request> {
        match self {
            Self::Once(request) => Arc::new(request.clone()),
            Self::Shared(request) | Self::Told(request) => Arc::clone(request),
        }
    }
}

impl Deref for Asked<'_> {
    type Target = Request;

    #[inline]
    fn deref(&self) -> &Request {
        match self {
            Self::Once(request) => request,
            Self::Shared(request) | Self::Told(request) => request,
        }
    }
}
