//! The cancellation protocol: request, observe, clean up within a budget, escalate.
//!
//! # States of a node's cancellation
//! none → `Requested` → `Unshielded` → `Dropped`.
//! A request strengthens the reason, tightens the cleanup budget and walks down the tree, parents before children.
//! From the request on every poll of the node is charged to the cleanup budget, and a timer stands for its deadline as soon as the node is found waiting.
//! When the budget is spent, masks no longer hold (`Unshielded`); when the grace after that is spent, the future is dropped where it stands (`Dropped`).
//!
//! # Invariants
//! - The stage only rises, and is published under the node's lock.
//! - A mask or shield holds back what is asked of its own node and of those above it, and not what is asked of nodes below it: a race that is run behind a shield can tell its losers.
//! - A node that was opened under a mask keeps such a request back from what lives in it until its own body has ended or its cleanup budget is spent, also if the mask lifts before.
//! - Whoever waits has left a waker: a task is woken itself, a leaf below a combinator by the waker that it registered, an inline node by the one that it is polled with; one that has left none is polled by the task that is its parent, with its own, or has not been polled.

mod cleanup;
mod request;
mod tell;
mod wait;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use asupersync_core::{CancelKind, CancelReason, CancelStage, Origin};

use crate::current;
use crate::event::Event;
use crate::mutation::{Mutation, is_on};
use crate::node::{Depth, Header, Locked, NodeRef};
use crate::waker;

use self::tell::{Children, inherit, inherited, tell, tell_children};

pub(crate) use self::cleanup::{
    arm_cleanup, arm_deadline, begin_cleanup, begin_poll, charge_poll, disarm, on_alarm,
};
pub(crate) use self::request::{Asked, CancelState, Request};
pub use self::wait::CancelWait;

/// What a node does after its lock is released.
struct Step {
    waiting: Waiting,
    children: Option<Children>,
}

/// Who waits in a node.
struct Waiting {
    /// Whoever polls the node, which is no task.
    around: Option<Waker>,
    leaves: Vec<Waker>,
}

/// What a request came to at one node.
enum Answer {
    /// It changed nothing.
    Unchanged,
    /// It stands at a task in which nothing lives and nothing waits, which is to be woken.
    Alone,
    /// It stands, and this follows.
    Further(Step),
}

/// Requests cancellation of `node` and of everything in it; the reason is of this moment.
pub(crate) fn request(node: &NodeRef, reason: CancelReason) {
    let depth = node.depth();
    ask(node, Asked::Once(&Request::new(reason, depth)));
}

/// Requests cancellation of `node`, for a reason of the given kind that somebody makes now.
///
/// The asker is the context being polled, or else the node.
pub(crate) fn request_now(node: &NodeRef, kind: CancelKind) {
    let origin = current::with(|node, _| node.origin()).unwrap_or_else(|| node.origin());
    let new = || CancelReason::new(kind, origin, node.host().now());
    let Some(moment) = node.host().moment() else {
        return request(node, new());
    };
    LAST.with(|last| {
        // Borrowed already, if a waker that a request has called makes another.
        let Ok(mut last) = last.try_borrow_mut() else {
            return request(node, new());
        };
        last.take_if(|last| !last.is(kind, origin, moment));
        let last = last.get_or_insert_with(|| Last {
            moment,
            reason: new(),
            request: None,
        });
        // Only tasks keep a pointer to what they are asked.
        if node.is_task() {
            ask(node, Asked::Shared(last.request(node.depth())));
        } else {
            request(node, last.reason.clone());
        }
    });
}

/// Requests cancellation of `node` because one above it was asked.
pub(crate) fn request_inherited(node: &NodeRef, request: &Request) {
    ask(node, Asked::Once(request));
}

/// Requests cancellation of `node` and of everything in it.
fn ask(node: &NodeRef, asked: Asked<'_>) {
    let Step { waiting, children } = match request_one(node, asked) {
        Answer::Unchanged => return,
        Answer::Alone => return wake_task(node),
        Answer::Further(step) => step,
    };
    notify(node, waiting);
    if let Some(children) = children {
        let now = asked.reason.at();
        tell(inherit(node, children, now), node, now);
    }
}

/// Requests cancellation of one node, and tells the host.
fn request_one(node: &NodeRef, asked: Asked<'_>) -> Answer {
    let answer = accept(node, asked);
    if !matches!(answer, Answer::Unchanged) {
        node.record_structure(|| Event::CancelRequested {
            subject: node.subject(),
            kind: asked.reason.kind(),
        });
    } else {
        node.record(|| Event::CancelUnchanged {
            subject: node.subject(),
        });
    }
    answer
}

/// Records a request at one node.
fn accept(node: &NodeRef, asked: Asked<'_>) -> Answer {
    let mut inner = node.lock();
    if node.state.is_complete() || inner.is_closed() {
        return Answer::Unchanged;
    }
    if node.is_task() && inner.more.is_nothing() {
        return accept_alone(node, &mut inner, asked);
    }
    let is_first = inner.request().is_none();
    if is_first {
        inner.ask(asked);
        publish(node, &asked);
    } else if !strengthen(node, &mut inner, &asked) {
        return Answer::Unchanged;
    }
    // After the stage is published: an unmasking that misses it is seen here, and the other way round.
    let depth = inner.request().map_or(asked.depth, Request::depth);
    let holds = holds_back(node, depth);
    if is_first && holds {
        inner.set_handed_on(false);
    }
    Answer::Further(step(node, &mut inner, holds))
}

/// Records the first request at a task in which nothing lives and nothing waits.
fn accept_alone(node: &NodeRef, inner: &mut Locked<'_>, asked: Asked<'_>) -> Answer {
    inner.more.ask(asked);
    publish(node, &asked);
    // As above.
    if !holds_back(node, asked.depth) {
        return Answer::Alone;
    }
    inner.set_handed_on(false);
    Answer::Further(step(node, inner, true))
}

/// Makes the first request seen by those who look without the lock.
fn publish(node: &Header, asked: &Request) {
    node.polls_left
        .store(asked.cleanup.polls, Ordering::Relaxed);
    node.marks.set_stage(CancelStage::Requested);
}

/// Adds a request to the one that stands; whether that changes anything.
fn strengthen(node: &Header, inner: &mut Locked<'_>, asked: &Request) -> bool {
    let Some(standing) = inner.request() else {
        return false;
    };
    let is_stronger = standing.reason.is_weaker_than(&asked.reason);
    let is_deeper = standing.depth < asked.depth;
    let handed_on = inner.is_handed_on();
    let depth = standing.depth.max(asked.depth);
    let is_answered = !is_stronger && (handed_on || holds_back(node, depth));
    if is_answered && !is_deeper {
        return false;
    }
    let Some(state) = inner.cancel_mut() else {
        return false;
    };
    let request = &mut state.request;
    request.depth = depth;
    if is_stronger {
        request.reason = request.reason.clone().strengthen(asked.reason.clone());
        request.cleanup = request.cleanup.meet(asked.cleanup);
        node.polls_left
            .fetch_min(asked.cleanup.polls, Ordering::Relaxed);
    }
    !is_answered
}

/// Whether a mask keeps what was asked of a node of this depth from what lives in the node.
fn holds_back(node: &Header, depth: Depth) -> bool {
    node.stage() <= Some(CancelStage::Requested) && node.shield() >= depth
}

/// What to wake and whom to tell, for a node whose cancellation has just changed.
fn step(node: &NodeRef, inner: &mut Locked<'_>, holds: bool) -> Step {
    let extra = inner.more.extra().into_iter();
    let leaves = extra.flat_map(|extra| extra.wakers.iter().cloned());
    let leaves = leaves.collect();
    let mut around = None;
    if !node.is_task() {
        let waiter = inner.contents().waiter.clone();
        around = waiter.or_else(|| node.task_above().cloned().map(waker::task_waker));
    }
    let waiting = Waiting { around, leaves };
    let mut children = None;
    if !holds {
        inner.set_handed_on(true);
        children = Children::of(inner);
    }
    Step { waiting, children }
}

/// Wakes a node and its leaves, outside its lock.
fn notify(node: &NodeRef, waiting: Waiting) {
    if node.is_task() {
        wake_task(node);
    } else if let Some(task) = node.parent().and_then(|parent| enclosing_task(parent)) {
        task.marks.set_urgent();
    }
    for waker in waiting.leaves.into_iter().chain(waiting.around) {
        waker::wake_contained(waker);
    }
}

fn wake_task(node: &NodeRef) {
    if !is_on(Mutation::RequestDoesNotWake) {
        waker::schedule(node);
    }
}

/// The task in whose poll `node` is polled: itself, or the next around it.
pub(crate) fn enclosing_task(node: &Header) -> Option<&Header> {
    let mut node = node;
    while !node.is_task() {
        node = node.parent()?;
    }
    Some(node)
}

/// Requests of one kind by one asker within so many of the host's counts are one, so that cancelling many tasks one by one allocates no more than for one; 100 µs at most.
const SHARED_FOR: u64 = 100_000;

/// What was asked last on this thread.
struct Last {
    /// When, by the host's count.
    moment: u64,
    reason: CancelReason,
    /// What the last task was asked.
    request: Option<Arc<Request>>,
}

impl Last {
    /// Whether it is what somebody asks for now.
    fn is(&self, kind: CancelKind, origin: Origin, moment: u64) -> bool {
        moment.wrapping_sub(self.moment) < SHARED_FOR
            && self.reason.kind() == kind
            && self.reason.origin() == origin
    }

    /// What a task of this depth is asked.
    fn request(&mut self, depth: Depth) -> &Arc<Request> {
        self.request.take_if(|last| last.depth != depth);
        let new = || Arc::new(Request::new(self.reason.clone(), depth));
        self.request.get_or_insert_with(new)
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// The cancellation that a new child of `inner`'s node is born with.
#[inline]
pub(crate) fn inherited_at_birth(node: &NodeRef, inner: &Locked<'_>) -> Option<Request> {
    inherited_from(node, inner, inner.request()?)
}

#[cold]
fn inherited_from(node: &NodeRef, inner: &Locked<'_>, standing: &Request) -> Option<Request> {
    if !inner.is_handed_on() {
        return None;
    }
    let reason = inherited(node, &standing.reason, standing.reason.at());
    Some(Request::new(reason, standing.depth))
}

/// Why `node` must stop now, if it must: a request stands, and no mask or shield as deep as the node that was asked holds it back.
#[inline]
pub(crate) fn observe(node: &Header, shield: Depth) -> Option<CancelReason> {
    let stage = node.stage()?;
    observe_at(node, stage, shield)
}

#[cold]
fn observe_at(node: &Header, stage: CancelStage, shield: Depth) -> Option<CancelReason> {
    let look = |request: &Request| {
        let is_held = stage == CancelStage::Requested && shield.max(node.shield()) >= request.depth;
        (!is_held).then(|| request.reason.clone().at_stage(stage))
    };
    match node.request_alone() {
        Some(request) => look(request),
        None => look(node.lock().request()?),
    }
}

/// The standing request, masked or not.
pub(crate) fn reason(node: &Header) -> Option<CancelReason> {
    let stage = node.stage()?;
    let inner = node.lock();
    let request = inner.request();
    request.map(|request| request.reason.clone().at_stage(stage))
}

/// Hands a request that was kept back on to what lives in the node: its body has ended, so no mask of it is left.
pub(crate) fn release_held(node: &NodeRef) {
    let now = node.host().now();
    let Step { children, .. } = {
        let mut inner = node.lock();
        if inner.is_handed_on() {
            return;
        }
        step(node, &mut inner, false)
    };
    tell_children(node, children, now);
}

/// Ends a mask; a request that it kept back now goes to what lives in the node.
pub(crate) fn unmask(node: &NodeRef) {
    if !node.state.unmask() || node.stage().is_none() {
        return;
    }
    let standing = node.lock().request().map(Request::depth);
    if let Some(depth) = standing
        && let Some(reason) = reason(node)
    {
        ask(node, Asked::Once(&Request::new(reason, depth)));
    }
}
