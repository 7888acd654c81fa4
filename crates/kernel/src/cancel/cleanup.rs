//! What is left of a cancelled node's cleanup: polls are counted, timers stand for deadlines, and what is spent leads to the next stage.

use std::sync::atomic::Ordering;
use std::time::Duration;

use asupersync_core::{CancelKind, CancelReason, CancelStage, Time};

use super::request::{Asked, Request};
use super::tell::tell_children;
use super::{Answer, Step, accept, notify, request, step};
use crate::event::Event;
use crate::mutation::{Mutation, is_on};
use crate::node::{Locked, NodeRef};
use crate::waker;

/// After the cleanup budget: so many polls, or so long, without masks; then the future is dropped.
const GRACE_POLLS: u32 = 16;
/// See [`GRACE_POLLS`].
const GRACE_TIME: Duration = Duration::from_secs(1);

/// Polls that are left to a node, while one of them is under way.
#[must_use = "a poll that does not end the node is charged"]
pub(crate) struct PollsLeft(u32);

impl PollsLeft {
    /// The poll that begins is not charged.
    const UNCOUNTED: Self = Self(u32::MAX);
}

/// Sees to it before a poll that the node has one left; the poll is [charged](charge_poll) after it, unless it ends the node.
///
/// The count is the node's poll quota, then what is left of its cleanup, then of its grace.
/// A node whose quota is spent is cancelled; one whose cleanup is spent goes to the next stage.
#[inline]
pub(crate) fn begin_poll(node: &NodeRef) -> PollsLeft {
    let left = node.polls_left.load(Ordering::Relaxed);
    if left == 0 && !is_on(Mutation::PollsAreFree) {
        spent(node);
        return PollsLeft::UNCOUNTED;
    }
    PollsLeft(left)
}

/// Charges a poll to the node.
#[inline]
pub(crate) fn charge_poll(node: &NodeRef, before: PollsLeft) {
    let PollsLeft(left) = before;
    if left == u32::MAX || is_on(Mutation::PollsAreFree) {
        return;
    }
    // A request that came meanwhile has set the count anew; this poll is then on the house.
    let _ = node
        .polls_left
        .compare_exchange(left, left - 1, Ordering::Relaxed, Ordering::Relaxed);
}

#[cold]
fn spent(node: &NodeRef) {
    let now = node.host().now();
    if node.stage().is_some() {
        if is_on(Mutation::MaskHoldsForEver) {
            return;
        }
        escalate(node, node.lock(), now);
    } else {
        request(
            node,
            CancelReason::new(CancelKind::PollQuota, node.origin(), now),
        );
    }
}

/// Takes a cancelled node to the next stage.
fn escalate(node: &NodeRef, mut inner: Locked<'_>, now: Time) {
    let stage = match node.stage() {
        None | Some(CancelStage::Dropped) => return,
        Some(CancelStage::Requested) if is_on(Mutation::GraceIsSkipped) => CancelStage::Dropped,
        Some(CancelStage::Requested) => CancelStage::Unshielded,
        Some(CancelStage::Unshielded) => CancelStage::Dropped,
    };
    let Some(state) = inner.cancel_mut() else {
        return;
    };
    node.polls_left.store(GRACE_POLLS, Ordering::Relaxed);
    state.request.cleanup.deadline = now + GRACE_TIME;
    let kept_back = !state.is_handed_on;
    let timer = state.timer.take();
    node.marks.set_stage(stage);
    let Step { waiting, children } = step(node, &mut inner, false);
    drop(inner);
    if let Some(timer) = timer {
        node.host().timer_cancel(timer);
    }
    node.record_structure(|| Event::CancelEscalated {
        subject: node.subject(),
        stage,
    });
    notify(node, waiting);
    if kept_back {
        tell_children(node, children, now);
    }
}

/// Makes sure that a node found waiting under cancellation will be looked at when its time is up.
pub(crate) fn arm_cleanup(node: &NodeRef) {
    let (deadline, armed) = {
        let inner = node.lock();
        let Some(request) = inner.request() else {
            return;
        };
        let timer = inner.cancel().and_then(|state| state.timer);
        (request.cleanup.deadline, timer.is_some())
    };
    if armed || node.stage() == Some(CancelStage::Dropped) {
        return;
    }
    let timer = node.host().timer_insert(deadline, waker::alarm(node));
    let mut inner = node.lock();
    match inner.cancel_mut() {
        Some(state) if state.timer.is_none() => {
            state.timer = Some(timer);
            node.marks.set_armed();
        }
        Some(_) | None => {
            drop(inner);
            node.host().timer_cancel(timer);
        }
    }
}

/// A timer of the node has fired: its deadline, or its cleanup's.
pub(crate) fn on_alarm(node: &NodeRef) {
    let now = node.host().now();
    let mut inner = node.lock();
    if node.state.is_complete() || inner.is_closed() {
        return;
    }
    let deadline = inner.budget().deadline.unwrap_or(Time::MAX);
    match inner.cancel_mut() {
        Some(state) if now >= state.request.cleanup.deadline => {
            state.timer = None;
            escalate(node, inner, now);
            rearm_if_inline(node);
        }
        Some(state) => {
            // An older, later or earlier alarm; the node is armed anew when it next waits.
            state.timer = None;
            drop(inner);
            arm_cleanup(node);
        }
        None if now >= deadline => {
            drop(inner);
            let reason = CancelReason::new(CancelKind::Deadline, node.origin(), now);
            request(node, reason);
        }
        None => {}
    }
}

/// An inline node may not be polled by its surroundings; its clock goes on all the same.
fn rearm_if_inline(node: &NodeRef) {
    if !node.is_task() {
        arm_cleanup(node);
    }
}

/// Sets the timer of a node's own deadline.
pub(crate) fn arm_deadline(node: &NodeRef) {
    let timer = node
        .host()
        .timer_insert(node.deadline(), waker::alarm(node));
    node.lock().more.extra_or_new().deadline_timer = Some(timer);
    node.marks.set_armed();
}

/// Forgets the timers of a node that has ended.
#[inline]
pub(crate) fn disarm(node: &NodeRef) {
    // Timers are armed by whoever polls the node, and by its maker; the poller sees both.
    if node.marks.is_armed() {
        disarm_armed(node);
    }
}

#[cold]
fn disarm_armed(node: &NodeRef) {
    let (cleanup, deadline) = {
        let mut inner = node.lock();
        let cleanup = if inner.cancel().is_some() {
            inner.cancel_mut().and_then(|state| state.timer.take())
        } else {
            None
        };
        let extra = inner.more.extra_mut();
        let deadline = extra.and_then(|extra| extra.deadline_timer.take());
        (cleanup, deadline)
    };
    for timer in [cleanup, deadline].into_iter().flatten() {
        node.host().timer_cancel(timer);
    }
}

/// Puts a finalizer's node under a cleanup budget without telling it, as if it had been cancelled behind a mask.
pub(crate) fn begin_cleanup(node: &NodeRef, reason: &CancelReason) {
    node.state.mask();
    let now = node.host().now();
    let asked = Request::at(reason.clone(), node.depth(), now);
    if !matches!(accept(node, Asked::Once(&asked)), Answer::Unchanged) {
        node.record_structure(|| Event::CancelRequested {
            subject: node.subject(),
            kind: reason.kind(),
        });
    }
}
