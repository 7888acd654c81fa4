//! How what lives in a region leaves it, and what becomes of how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use asupersync_core::{
    CancelKind, CancelReason, ChildEnd, Decision, FailFast, Outcome, PanicPayload, Policy, Severity,
};

use crate::cancel;
use crate::event::Event;
use crate::extra::Failed;
use crate::host::Report;
use crate::mutation::{Mutation, is_on};
use crate::node::{Header, Locked, NodeRef, Phase};
use crate::waker;

/// Whether the region must hear of this end if nobody joins the task.
///
/// Being cancelled from outside is no failure; running out of one's own budget is.
pub(crate) fn counts_as_failure(node: &NodeRef, severity: Severity) -> bool {
    match severity {
        Severity::Ok => false,
        Severity::Err | Severity::Panicked => true,
        // SAFETY: the outcome is the caller's until `complete`.
        Severity::Cancelled => unsafe { (node.vtable.own_budget)(node.as_non_null()) },
    }
}

/// Takes tasks that have ended out of their region.
#[inline]
pub(crate) fn leave(region: &NodeRef, ended: &[NodeRef], is_cancelled: bool) {
    let waiter = {
        let mut inner = region.lock();
        take_out(&mut inner, ended, is_cancelled);
        fewer(&mut inner, ended.len())
    };
    if let Some(waiter) = waiter {
        waker::wake_contained(waiter);
    }
}

/// As [`leave`], for one whose failure the region keeps.
#[cold]
pub(crate) fn leave_failed(region: &NodeRef, node: &NodeRef, severity: Severity) {
    let (let_go, waiter) = {
        let mut inner = region.lock();
        let is_cancelled = severity == Severity::Cancelled;
        take_out(&mut inner, std::slice::from_ref(node), is_cancelled);
        let let_go = if is_on(Mutation::ErrorIsLost) {
            Vec::new()
        } else {
            keep_failure(&mut inner, node, severity)
        };
        (let_go, fewer(&mut inner, 1))
    };
    for failed in let_go {
        suppress(&failed.node, failed.severity);
    }
    if let Some(waiter) = waiter {
        waker::wake_contained(waiter);
    }
}

/// Takes them out of the list of children, and notes whether one of them was cancelled.
#[inline]
fn take_out(inner: &mut Locked<'_>, ended: &[NodeRef], is_cancelled: bool) {
    for node in ended {
        inner.unlink(node);
    }
    inner.contents().child_cancelled |= is_cancelled;
}

/// Asks the region's policy about a child's end; a policy that panics is taken to want the rest cancelled.
#[inline]
pub(crate) fn consult(region: &NodeRef, end: ChildEnd) -> Decision {
    match &region.region().policy {
        None => FailFast.on_child_end(&end),
        Some(policy) => consult_chosen(region, &**policy, end),
    }
}

fn consult_chosen(region: &NodeRef, policy: &dyn Policy, end: ChildEnd) -> Decision {
    catch_unwind(AssertUnwindSafe(|| policy.on_child_end(&end))).unwrap_or_else(|payload| {
        let message = PanicPayload::new(payload).message().to_owned();
        region.host().report(Report::PanicContained {
            place: "a region's policy",
            message,
        });
        Decision::CancelRest
    })
}

/// Cancels body and siblings of a child that failed.
pub(crate) fn fail_fast(region: &NodeRef, child: &Header) {
    let now = region.host().now();
    cancel::request(
        region,
        CancelReason::new(CancelKind::FailFast, child.origin(), now),
    );
}

/// Counts one blocking job less, and wakes a region that waits for the last.
pub(crate) fn release_live(region: &NodeRef) {
    let waiter = fewer(&mut region.lock(), 1);
    if let Some(waiter) = waiter {
        waker::wake_contained(waiter);
    }
}

/// Counts so many less; gives the waker of a region that waits for the last.
fn fewer(inner: &mut Locked<'_>, count: usize) -> Option<Waker> {
    let contents = inner.contents();
    contents.live -= u32::try_from(count).expect("as many live there");
    let is_last = contents.live == 0 && contents.phase > Phase::Open;
    contents.waiter.as_ref().filter(|_| is_last).cloned()
}

/// Keeps a failed child until the region closes or its handle takes the outcome; gives back whom it need not keep.
///
/// Of those that nobody can join only the worst is kept, so that a region with endless failures stays small.
/// Those that were joined go when there is no more room, so that they cost as little.
fn keep_failure(inner: &mut Locked<'_>, node: &NodeRef, severity: Severity) -> Vec<Failed> {
    let failed = &mut inner.more.extra_or_new().failed;
    let newcomer = Failed {
        node: node.clone(),
        severity,
    };
    if !node.state.has_handle() {
        let orphan = failed.iter_mut().find(|kept| kept.is_orphan());
        if let Some(kept) = orphan {
            let loser = if newcomer.severity > kept.severity {
                std::mem::replace(kept, newcomer)
            } else {
                newcomer
            };
            return vec![loser];
        }
    }
    let mut joined = Vec::new();
    if failed.len() == failed.capacity() {
        joined.extend(failed.extract_if(.., |kept| kept.node.state.is_taken()));
        // As many again come before the next look, however few went.
        failed.reserve(failed.len() + 1);
    }
    failed.push(newcomer);
    joined
}

/// Drops an end that nobody will take, and says so in the trace.
pub(crate) fn suppress(node: &NodeRef, severity: Severity) -> Option<PanicPayload> {
    if !node.state.take() {
        return None;
    }
    node.record_structure(|| Event::EndSuppressed {
        task: node.task_id(),
        severity,
    });
    // SAFETY: `take` made the outcome the caller's, and the task is complete.
    unsafe { (node.vtable.discard)(node.as_non_null()) }
}

/// Takes a failed child's end for its region, unless its handle took it.
///
/// # Safety
/// `E` is the error type of the region that the child was spawned in.
pub(crate) unsafe fn deliver_end<E>(node: &NodeRef) -> Option<Outcome<(), E>> {
    if !node.state.take() {
        return None;
    }
    node.record(|| Event::FailureTaken {
        task: node.task_id(),
    });
    let mut error: Option<E> = None;
    let place = std::ptr::from_mut(&mut error).cast();
    // SAFETY: `take` made the outcome the caller's; `E` is right by the caller's promise.
    let end = unsafe { (node.vtable.deliver)(node.as_non_null(), place) };
    match end {
        Outcome::Ok(()) => None,
        Outcome::Err(()) => error.map(Outcome::Err),
        Outcome::Cancelled(reason) => Some(Outcome::Cancelled(reason)),
        Outcome::Panicked(payload) => Some(Outcome::Panicked(payload)),
    }
}
