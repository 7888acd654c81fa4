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
//! - Whoever waits has left a waker: a task is woken itself, an inline node by the waker that it is polled with, a leaf below a combinator by the one that it registered.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asupersync_core::{CancelKind, CancelReason, CancelStage, Cancelled, Time};

use crate::current;
use crate::event::Event;
use crate::host::TimerKey;
use crate::mutation::{Mutation, is_on};
use crate::node::{Depth, Header, Locked, NodeRef};
use crate::waker::{self, Woken};

/// After the cleanup budget: so many polls, or so long, without masks; then the future is dropped.
const GRACE_POLLS: u32 = 16;
/// See [`GRACE_POLLS`].
const GRACE_TIME: Duration = Duration::from_secs(1);

/// What is asked of a node; one for all that are asked the same.
#[derive(Clone)]
pub(crate) struct Request {
    reason: CancelReason,
    /// The deepest node that was asked; only a mask or shield that is as deep keeps that back.
    depth: Depth,
    /// The whole cleanup, or the grace, which bounds the children's; the polls that are left count down on the node.
    cleanup: Cleanup,
}

impl Request {
    /// A request of the moment that the reason tells.
    pub(crate) fn new(reason: CancelReason, depth: Depth) -> Self {
        let now = reason.at();
        Self::at(reason, depth, now)
    }

    fn at(reason: CancelReason, depth: Depth, now: Time) -> Self {
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
    timer: Option<TimerKey>,
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
struct Cleanup {
    polls: u32,
    deadline: Time,
}

impl Cleanup {
    fn of(kind: CancelKind, now: Time) -> Self {
        let budget = kind.cleanup_budget(now);
        Self {
            polls: budget.poll_quota,
            deadline: budget.deadline.unwrap_or(Time::MAX),
        }
    }

    fn meet(self, other: Self) -> Self {
        Self {
            polls: self.polls.min(other.polls),
            deadline: self.deadline.min(other.deadline),
        }
    }
}

/// What a node does after its lock is released.
struct Step {
    wakers: Vec<Waker>,
    children: Option<Children>,
}

impl Step {
    /// Of a task in which nothing lives and nothing waits.
    const ALONE: Self = Self {
        wakers: Vec::new(),
        children: None,
    };
}

/// Who must be told, the oldest last, and what stands at their parent; reasons are shared between threads, so one is counted only where it is needed.
struct Children {
    nodes: Vec<NodeRef>,
    request: Request,
}

/// Who is asked the same, the oldest last.
struct Group {
    nodes: Vec<NodeRef>,
    asked: Asked,
}

/// Requests cancellation of `node` and of everything in it; the reason is of this moment.
pub(crate) fn request(node: &NodeRef, reason: CancelReason) {
    let depth = node.depth();
    request_inherited(node, &Asked::Once(Request::new(reason, depth)));
}

/// Requests cancellation of `node`, for a reason of the given kind that somebody makes now.
///
/// The asker is the context being polled, or else the node.
pub(crate) fn request_now(node: &NodeRef, kind: CancelKind) {
    request_inherited(node, &asked_now(node, kind));
}

/// Requests cancellation of `node` because one above it was asked.
pub(crate) fn request_inherited(node: &NodeRef, asked: &Asked) {
    let now = asked.reason.at();
    let Some(mut step) = request_one(node, asked) else {
        return;
    };
    notify(node, std::mem::take(&mut step.wakers));
    if let Some(children) = step.children {
        tell(inherit(node, children, now), node, now);
    }
}

/// Requests cancellation of a group and of everything below, parents before children; `above` is held meanwhile.
fn tell(group: Group, above: &NodeRef, now: Time) {
    let mut woken = Woken::of(above);
    let mut groups = vec![group];
    while let Some(group) = groups.last_mut() {
        let Some(node) = group.nodes.pop() else {
            groups.pop();
            continue;
        };
        let step = request_one(&node, &group.asked);
        if group.nodes.is_empty() {
            // A chain of regions may be long.
            groups.pop();
        }
        let Some(Step { wakers, children }) = step else {
            continue;
        };
        groups.extend(children.map(|children| inherit(&node, children, now)));
        if node.is_task() && wakers.is_empty() {
            woken.wake(node);
        } else {
            notify(&node, wakers);
        }
    }
}

/// A request on its way to one node, or to many.
#[derive(Clone)]
pub(crate) enum Asked {
    Once(Request),
    Shared(Arc<Request>),
}

impl Asked {
    pub(crate) fn into_shared(self) -> Arc<Request> {
        match self {
            Self::Once(request) => Arc::new(request),
            Self::Shared(request) => request,
        }
    }
}

impl Deref for Asked {
    type Target = Request;

    fn deref(&self) -> &Request {
        match self {
            Self::Once(request) => request,
            Self::Shared(request) => request,
        }
    }
}

/// Requests cancellation of one node, and tells the host; gives what follows, if that changes anything.
fn request_one(node: &NodeRef, asked: &Asked) -> Option<Step> {
    let step = accept(node, asked);
    if step.is_some() {
        node.record_structure(|| Event::CancelRequested {
            subject: node.subject(),
            kind: asked.reason.kind(),
        });
    } else {
        node.record(|| Event::CancelUnchanged {
            subject: node.subject(),
        });
    }
    step
}

/// What the children of a node are asked, for its own request.
fn inherit(node: &Header, children: Children, now: Time) -> Group {
    let Children { nodes, request } = children;
    let reason = inherited(node, &request.reason, now);
    let own = Cleanup::of(reason.kind(), now);
    Group::new(
        nodes,
        Request {
            reason,
            depth: request.depth,
            cleanup: own.meet(request.cleanup),
        },
    )
}

impl Group {
    fn new(mut nodes: Vec<NodeRef>, asked: Request) -> Self {
        if is_on(Mutation::ChildIsNotAsked) {
            nodes.pop();
        }
        Self {
            nodes,
            asked: Asked::Shared(Arc::new(asked)),
        }
    }
}

/// Records a request at one node; `None` if it changes nothing.
fn accept(node: &NodeRef, asked: &Asked) -> Option<Step> {
    let mut inner = node.lock();
    if node.state.is_complete() || inner.is_closed() {
        return None;
    }
    let is_first = inner.request().is_none();
    let has_nothing = node.is_task() && inner.more.is_nothing();
    if is_first {
        inner.ask(asked);
        node.polls_left
            .store(asked.cleanup.polls, Ordering::Relaxed);
        node.marks.set_stage(CancelStage::Requested);
    } else {
        strengthen(node, &mut inner, asked)?;
    }
    // After the stage is published: an unmasking that misses it is seen here, and the other way round.
    let depth = inner.request().map_or(asked.depth, Request::depth);
    let holds = holds_back(node, depth);
    if has_nothing && !holds {
        return Some(Step::ALONE);
    }
    if is_first && holds {
        inner.set_handed_on(false);
    }
    Some(step(node, &mut inner, holds))
}

/// Adds a request to the one that stands; `None` if that changes nothing.
fn strengthen(node: &Header, inner: &mut Locked<'_>, asked: &Request) -> Option<()> {
    let standing = inner.request()?;
    let is_stronger = standing.reason.is_weaker_than(&asked.reason);
    let is_deeper = standing.depth < asked.depth;
    let handed_on = inner.is_handed_on();
    let depth = standing.depth.max(asked.depth);
    let is_answered = !is_stronger && (handed_on || holds_back(node, depth));
    if is_answered && !is_deeper {
        return None;
    }
    let state = inner.cancel_mut()?;
    let request = &mut state.request;
    request.depth = depth;
    if is_stronger {
        request.reason = request.reason.clone().strengthen(asked.reason.clone());
        request.cleanup = request.cleanup.meet(asked.cleanup);
        node.polls_left
            .fetch_min(asked.cleanup.polls, Ordering::Relaxed);
    }
    (!is_answered).then_some(())
}

/// Whether a mask keeps what was asked of a node of this depth from what lives in the node.
fn holds_back(node: &Header, depth: Depth) -> bool {
    node.stage() <= Some(CancelStage::Requested) && node.shield() >= depth
}

/// What to wake and whom to tell, for a node whose cancellation has just changed.
fn step(node: &NodeRef, inner: &mut Locked<'_>, holds: bool) -> Step {
    let nodes = if holds { Vec::new() } else { inner.children() };
    let extra = inner.more.extra().into_iter();
    let mut wakers: Vec<Waker> = extra
        .flat_map(|extra| extra.wakers.iter().cloned())
        .collect();
    if !node.is_task() {
        wakers.extend(inner.contents().waiter.clone());
    }
    if !holds {
        inner.set_handed_on(true);
    }
    let request = inner.request();
    let children = request
        .filter(|_| !nodes.is_empty())
        .cloned()
        .map(|request| Children { nodes, request });
    Step { wakers, children }
}

/// The reason that a child gets for its parent's.
fn inherited(node: &Header, reason: &CancelReason, now: Time) -> CancelReason {
    // Siblings of a failed child are told so themselves; everybody else learns that the parent is going.
    if node.is_region() && reason.kind() == CancelKind::FailFast {
        return reason.clone();
    }
    CancelReason::new(CancelKind::ParentCancelled, node.origin(), now).with_cause(reason.clone())
}

/// Wakes a node and its leaves, outside its lock.
fn notify(node: &NodeRef, wakers: Vec<Waker>) {
    if node.is_task() {
        if !is_on(Mutation::RequestDoesNotWake) {
            waker::schedule(node);
        }
    } else if let Some(task) = node.parent().and_then(|parent| enclosing_task(parent)) {
        task.marks.set_urgent();
    }
    for leaf in wakers {
        waker::wake_contained(leaf);
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

/// Requests of one kind by one asker within this time are one, so that cancelling many tasks one by one allocates no more than for one.
const SHARED_FOR: Duration = Duration::from_micros(50);

thread_local! {
    static LAST: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

fn asked_now(node: &Header, kind: CancelKind) -> Asked {
    let now = node.host().now();
    let depth = node.depth();
    let origin = current::with(|node, _| node.origin()).unwrap_or_else(|| node.origin());
    let fresh = |last: &CancelReason| {
        last.kind() == kind
            && last.origin() == origin
            && last.at() <= now
            && now.saturating_since(last.at()) < SHARED_FOR
    };
    LAST.with_borrow_mut(|last| {
        let asked = match last.take().filter(|last| fresh(&last.reason)) {
            Some(last) if last.depth == depth => last,
            Some(last) => Asked::Once(Request::new(last.reason.clone(), depth)),
            None => Asked::Once(Request::new(CancelReason::new(kind, origin, now), depth)),
        };
        // Only tasks keep a pointer to what they are asked.
        let asked = if node.is_task() {
            Asked::Shared(asked.into_shared())
        } else {
            asked
        };
        last.insert(asked).clone()
    })
}

/// The cancellation that a new child of `inner`'s node is born with.
pub(crate) fn inherited_at_birth(node: &NodeRef, inner: &Locked<'_>) -> Option<Asked> {
    let standing = inner.request()?;
    if !inner.is_handed_on() {
        return None;
    }
    let reason = inherited(node, &standing.reason, standing.reason.at());
    Some(Asked::Once(Request::new(reason, standing.depth)))
}

/// Why `node` must stop now, if it must: a request stands, and no mask or shield as deep as the node that was asked holds it back.
#[inline]
pub(crate) fn observe(node: &Header, shield: Depth) -> Option<CancelReason> {
    let stage = node.stage()?;
    observe_at(node, stage, shield)
}

#[cold]
fn observe_at(node: &Header, stage: CancelStage, shield: Depth) -> Option<CancelReason> {
    let inner = node.lock();
    let request = inner.request()?;
    let is_held = stage == CancelStage::Requested && shield.max(node.shield()) >= request.depth;
    (!is_held).then(|| request.reason.clone().at_stage(stage))
}

/// The standing request, masked or not.
pub(crate) fn reason(node: &Header) -> Option<CancelReason> {
    let stage = node.stage()?;
    let inner = node.lock();
    let request = inner.request();
    request.map(|request| request.reason.clone().at_stage(stage))
}

/// Charges one poll to the node, before the poll.
///
/// The count is the node's poll quota, then what is left of its cleanup, then of its grace.
/// A node whose quota is spent is cancelled; one whose cleanup is spent goes to the next stage.
#[inline]
pub(crate) fn charge_poll(node: &NodeRef) {
    let left = node.polls_left.load(Ordering::Relaxed);
    match left {
        u32::MAX => {}
        _ if is_on(Mutation::PollsAreFree) => {}
        0 => spent(node),
        _ => {
            // A request that comes meanwhile sets the count anew; this poll is then on the house.
            let _ = node.polls_left.compare_exchange(
                left,
                left - 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
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
    let mut step = step(node, &mut inner, false);
    drop(inner);
    if let Some(timer) = timer {
        node.host().timer_cancel(timer);
    }
    node.record_structure(|| Event::CancelEscalated {
        subject: node.subject(),
        stage,
    });
    notify(node, std::mem::take(&mut step.wakers));
    if kept_back {
        tell_children(node, step, now);
    }
}

/// Hands a request that was kept back on to what lives in the node.
fn tell_children(node: &NodeRef, step: Step, now: Time) {
    let Some(Children { nodes, request }) = step.children else {
        return;
    };
    let reason = inherited(node, &request.reason, now);
    let at = reason.at();
    tell(
        Group::new(nodes, Request::new(reason, request.depth)),
        node,
        at,
    );
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
    node.mask.fetch_add(1, Ordering::SeqCst);
    let now = node.host().now();
    let asked = Request::at(reason.clone(), node.depth(), now);
    if accept(node, &Asked::Once(asked)).is_some() {
        node.record_structure(|| Event::CancelRequested {
            subject: node.subject(),
            kind: reason.kind(),
        });
    }
}

/// Hands a request that was kept back on to what lives in the node: its body has ended, so no mask of it is left.
pub(crate) fn release_held(node: &NodeRef) {
    let now = node.host().now();
    let step = {
        let mut inner = node.lock();
        if inner.is_handed_on() {
            return;
        }
        step(node, &mut inner, false)
    };
    tell_children(node, step, now);
}

/// Ends a mask; a request that it kept back now goes to what lives in the node.
pub(crate) fn unmask(node: &NodeRef) {
    if node.mask.fetch_sub(1, Ordering::SeqCst) > 1 || node.stage().is_none() {
        return;
    }
    let standing = node.lock().request().map(Request::depth);
    if let Some(depth) = standing
        && let Some(reason) = reason(node)
    {
        request_inherited(node, &Asked::Once(Request::new(reason, depth)));
    }
}

/// One wait's registration for cancellation.
///
/// A leaf future holds one and polls it before and after looking at its resource.
/// It costs one load while nothing is cancelled and the leaf is polled with its context's own waker; below a combinator with wakers of its own, the leaf's waker is registered with the context until the wait is dropped.
/// # Examples
/// ```
/// use asupersync_kernel::CancelWait;
/// use std::task::{Context, Poll, Waker};
/// let mut wait = CancelWait::new();
/// // Outside every task nothing is ever cancelled.
/// assert!(wait.poll(&mut Context::from_waker(Waker::noop())).is_pending());
/// ```
#[derive(Default)]
pub struct CancelWait {
    /// Boxed, since most waits never register and each of them has the room for it.
    registered: Option<Box<Registered>>,
}

struct Registered {
    node: NodeRef,
    place: u32,
    waker: Waker,
}

impl CancelWait {
    /// A wait that is not registered.
    #[must_use]
    pub const fn new() -> Self {
        Self { registered: None }
    }

    /// Ready once the context being polled must stop; the waker is woken when that changes.
    #[inline]
    pub fn poll(&mut self, task: &mut Context<'_>) -> Poll<Cancelled> {
        let polled = current::with_node(task.waker(), |node, own, shield| {
            if own && !node.marks.is_cancelled() {
                return Poll::Pending;
            }
            self.poll_node(node, own, shield, task)
        });
        polled.unwrap_or(Poll::Pending)
    }

    /// Whether the context being polled must stop now; registers nothing.
    #[must_use]
    #[inline]
    pub fn check() -> Option<Cancelled> {
        current::with(observe).flatten().map(Cancelled::new)
    }

    fn poll_node(
        &mut self,
        node: &NodeRef,
        own: bool,
        shield: Depth,
        task: &Context<'_>,
    ) -> Poll<Cancelled> {
        if let Some(reason) = observe(node, shield) {
            return Poll::Ready(Cancelled::new(reason));
        }
        if own {
            return Poll::Pending;
        }
        self.register(node, task.waker());
        // The request may have come between the look and the registration.
        match observe(node, shield) {
            Some(reason) => Poll::Ready(Cancelled::new(reason)),
            None => Poll::Pending,
        }
    }

    fn register(&mut self, node: &NodeRef, waker: &Waker) {
        let known = self.registered.as_ref();
        if known.is_some_and(|known| known.node.same(node) && known.waker.will_wake(waker)) {
            return;
        }
        self.unregister();
        let place = node.lock().more.extra_or_new().wakers.insert(waker.clone());
        self.registered = Some(Box::new(Registered {
            node: node.clone(),
            place,
            waker: waker.clone(),
        }));
    }

    fn unregister(&mut self) {
        if let Some(registered) = self.registered.take() {
            let Registered { node, place, .. } = *registered;
            let removed = node
                .lock()
                .more
                .extra_mut()
                .and_then(|extra| extra.wakers.remove(place));
            drop(removed);
        }
    }
}

impl Drop for CancelWait {
    #[inline]
    fn drop(&mut self) {
        if self.registered.is_some() {
            self.unregister();
        }
    }
}
