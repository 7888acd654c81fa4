//! The close protocol of regions.
//!
//! `Open → Closing → Draining → Finalizing → Closed`.
//! The body runs within the caller's poll; then the region waits for what lives in it, runs its finalizers, and is closed.
//! If the region's future is dropped on the way, the region is cancelled and a task of the enclosing region finishes the protocol.
//!
//! # Invariants
//! - `Closed` is entered only with no task, no job, no finalizer and no open obligation left.
//! - Each finalizer runs at most once, last in first out, masked, under a cleanup budget of its own.
//! - An end that nobody joined reaches the region's outcome, or is reported as suppressed by a worse one.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use asupersync_core::{
    Budget, CancelKind, CancelReason, Outcome, PanicPayload, Policy, Severity, Time,
};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::extra::Finalizer;
use crate::fiber::FiberNode;
use crate::inline::{self, Inline};
use crate::leave;
use crate::mutation::{Mutation, is_on};
use crate::node::{Contents, Kind, NodeInit, NodeRef, Phase, RegionInit, Terms};
use crate::obligation;
use crate::state::State;
use crate::task::{self, SpawnInit};

/// How a region is opened.
///
/// # Examples
/// ```
/// use asupersync_kernel::RegionOptions;
/// use asupersync_core::{Budget, Collect};
/// let options = RegionOptions::new().policy(Collect).budget(Budget::new().with_poll_quota(500));
/// ```
#[derive(Clone, Default)]
pub struct RegionOptions {
    policy: Option<Arc<dyn Policy>>,
    budget: Option<Budget>,
}

impl RegionOptions {
    /// The policy `FailFast`, and the opener's budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides what happens when a child ends.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy + 'static) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Narrows the region's budget.
    #[must_use]
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// An open region, until it is closed; dropping it leaves the closing to the enclosing region.
pub(crate) struct OpenRegion {
    /// The finalizer under way; it goes to the heir with the region.
    cleanup: Option<Cleanup>,
    node: NodeRef,
    /// The heir in which the region stands, if it does not stand under its parent any more.
    heir: Option<NodeRef>,
    closed: bool,
}

/// A finalizer that has been started.
type Cleanup = Pin<Box<dyn Future<Output = Outcome<(), Infallible>> + Send>>;

impl OpenRegion {
    /// Opens a region under the node that is polled; without options, one with the opener's budget and the policy `FailFast`.
    #[inline]
    pub(crate) fn open(under: &NodeRef, options: Option<&RegionOptions>) -> Self {
        Self {
            cleanup: None,
            node: open_node(under, options),
            heir: None,
            closed: false,
        }
    }

    pub(crate) const fn node(&self) -> &NodeRef {
        &self.node
    }

    /// The node in whose poll the region runs.
    fn under(&self) -> &NodeRef {
        let under = self.heir.as_ref().or(self.node.parent());
        under.expect("only the root region has no parent")
    }

    /// Runs the close protocol after the body, unless [`try_close_empty`](Self::try_close_empty) has; gives the region's outcome.
    pub(crate) async fn close<T, E>(&mut self, body: Outcome<T, E>) -> Outcome<T, E> {
        self.body_ended(body.severity());
        if !is_on(Mutation::RegionClosesEarly) && !is_on(Mutation::RegionLeavesTasks) {
            self.wait_quiescent().await;
        }
        if !is_on(Mutation::RegionSkipsFinalizing) {
            self.begin_finalizing();
        }
        let cleanup = self.run_finalizers().await;
        if !is_on(Mutation::RegionClosesEarly) && !is_on(Mutation::RegionLeavesTasks) {
            self.wait_quiescent().await;
        }
        let leak = obligation::settle_leaks(&self.node);
        let children = self.finish_children::<E>();
        let outcome = settle(&self.node, body, children);
        match cleanup.or(leak) {
            None => outcome,
            Some(panic) => worse(outcome, Outcome::Panicked(panic)),
        }
    }

    /// Goes through the whole protocol at once if there is nothing to wait for, to run or to tell.
    pub(crate) fn try_close_empty(&mut self, body: Severity) -> bool {
        if !self.node.obligations().is_clear() || !self.leave_if_empty() {
            return false;
        }
        self.closed = true;
        if self.node.nature.records_structure() {
            self.record_close(body);
        }
        true
    }

    /// Closes an empty region and takes it out of its surroundings; false if it is not empty.
    fn leave_if_empty(&self) -> bool {
        let mut around = self.under().lock();
        if self.node.state.has_one_reference() {
            // SAFETY: nobody else has a reference, and the list from which one could be had is locked.
            let is_closed =
                unsafe { self.node.contents_alone() }.is_some_and(Contents::close_if_empty);
            if is_closed {
                around.unlink(&self.node);
            }
            return is_closed;
        }
        drop(around);
        let mut inner = self.node.lock();
        if !inner.more.is_nothing() || !inner.contents().close_if_empty() {
            return false;
        }
        drop(inner);
        inline::unlink(self.under(), &self.node);
        true
    }

    /// Tells of a close that went through at once.
    #[cold]
    fn record_close(&self, body: Severity) {
        let region = self.node.region().id;
        let events = [
            Event::RegionClosing { region, body },
            Event::RegionFinalizing { region },
            Event::RegionClosed { region },
        ];
        for event in events {
            self.node.record_structure(|| event);
        }
    }

    /// Enters `Closing`; unless the body ended well, what lives in the region is cancelled.
    fn body_ended(&self, severity: Severity) {
        self.become_phase(Phase::Closing);
        let region = self.node.region().id;
        self.node.record_structure(|| Event::RegionClosing {
            region,
            body: severity,
        });
        if severity != Severity::Ok {
            self.become_phase(Phase::Draining);
            let reason = cancel::reason(&self.node).unwrap_or_else(|| {
                let now = self.node.host().now();
                CancelReason::new(CancelKind::FailFast, self.node.origin(), now)
                    .with_message("the region's body failed")
            });
            self.cancel_children(&reason);
        }
    }

    /// Cancels what lives in the region, also if the body had already been told and the request was kept back.
    fn cancel_children(&self, reason: &CancelReason) {
        cancel::request(&self.node, reason.clone());
        cancel::release_held(&self.node);
    }

    fn become_phase(&self, next: Phase) {
        let mut inner = self.node.lock();
        let phase = &mut inner.contents().phase;
        debug_assert!(phase.may_become(next), "{phase:?} may not become {next:?}");
        *phase = next;
    }

    /// Waits until no task and no job lives in the region.
    async fn wait_quiescent(&mut self) {
        std::future::poll_fn(|task| {
            let mut inner = self.node.lock();
            if inner.contents().live == 0 {
                return Poll::Ready(());
            }
            let known = inner
                .contents()
                .waiter
                .as_ref()
                .is_some_and(|known| known.will_wake(task.waker()));
            let old = if known {
                None
            } else {
                inner.contents().waiter.replace(task.waker().clone())
            };
            drop(inner);
            drop(old);
            Poll::Pending
        })
        .await;
    }

    fn begin_finalizing(&self) {
        self.become_phase(Phase::Finalizing);
        let region = self.node.region().id;
        self.node
            .record_structure(|| Event::RegionFinalizing { region });
    }

    /// Runs what is left of the finalizers, beginning with the one under way.
    async fn run_finalizers(&mut self) -> Option<PanicPayload> {
        let region = self.node.region().id;
        let mut panic = None;
        loop {
            if self.cleanup.is_none() {
                self.cleanup = self.start_finalizer();
            }
            let Some(cleanup) = &mut self.cleanup else {
                return panic;
            };
            let end = cleanup.await;
            self.cleanup = None;
            let severity = end.severity();
            self.node
                .record_structure(|| Event::FinalizerEnded { region, severity });
            if let Outcome::Panicked(payload) = end {
                panic.get_or_insert(payload);
            }
        }
    }

    fn next_finalizer(&self) -> Option<Finalizer> {
        let mut inner = self.node.lock();
        let finalizers = &mut inner.more.extra_mut()?.finalizers;
        let next = finalizers.pop()?;
        if is_on(Mutation::FinalizerIsDropped) {
            return finalizers.pop();
        }
        Some(next)
    }

    /// Starts the next finalizer behind a mask that holds as long as its cleanup budget.
    fn start_finalizer(&self) -> Option<Cleanup> {
        let finalizer = self.next_finalizer()?;
        let region = self.node.region().id;
        self.node
            .record_structure(|| Event::FinalizerStarted { region });
        let fiber = FiberNode::open(&self.node, None);
        let reason = cancel::reason(&self.node).unwrap_or_else(|| {
            let now = self.node.host().now();
            CancelReason::new(CancelKind::Deadline, self.node.origin(), now)
                .with_message("the finalizer's cleanup budget")
        });
        cancel::begin_cleanup(fiber.node(), &reason);
        let context = fiber.node().clone();
        let body = async move {
            finalizer(context).await;
            Outcome::<(), Infallible>::Ok(())
        };
        Some(Box::pin(async move {
            let end = pin!(Inline::new(fiber.node(), body)).await;
            drop(fiber);
            end
        }))
    }

    /// Enters `Closed` and gathers what failed children left; the children's worst end comes back.
    fn finish_children<E>(&mut self) -> Option<Outcome<(), E>> {
        cancel::disarm(&self.node);
        let failed = {
            let mut inner = self.node.lock();
            let contents = inner.contents();
            debug_assert!(
                contents.live == 0
                    || is_on(Mutation::RegionClosesEarly)
                    || is_on(Mutation::RegionLeavesTasks),
                "a region closes when nothing lives in it"
            );
            debug_assert!(
                contents.phase.may_become(Phase::Closed) || is_on(Mutation::RegionSkipsFinalizing),
                "finalizers have run"
            );
            contents.phase = Phase::Closed;
            inner
                .more
                .extra_mut()
                .map(|extra| std::mem::take(&mut extra.failed))
                .unwrap_or_default()
        };
        inline::unlink(self.under(), &self.node);
        self.closed = true;
        let region = self.node.region().id;
        self.node
            .record_structure(|| Event::RegionClosed { region });
        let mut worst: Option<Outcome<(), E>> = None;
        for child in failed {
            if worst
                .as_ref()
                .is_some_and(|worst| worst.severity() >= child.severity)
            {
                leave::suppress(&child.node, child.severity);
                continue;
            }
            // SAFETY: a region's tasks are spawned with its error type.
            if let Some(end) = unsafe { leave::deliver_end::<E>(&child.node) } {
                worst = Some(end);
            }
        }
        worst
    }

    /// Finishes the protocol for a region whose future was dropped; only a panic is left to tell.
    async fn close_abandoned(mut self) -> Outcome<(), Infallible> {
        // What a finalizer under way has spawned may wait for it, so that goes on first.
        if self.cleanup.is_none() {
            self.wait_quiescent().await;
            self.begin_finalizing();
        }
        let cleanup = self.run_finalizers().await;
        self.wait_quiescent().await;
        let leak = obligation::settle_leaks(&self.node);
        let panic = cleanup.or(leak).or(self.discard_children());
        match panic {
            None => Outcome::Ok(()),
            Some(payload) => Outcome::Panicked(payload),
        }
    }

    fn discard_children(&mut self) -> Option<PanicPayload> {
        let failed = {
            let mut inner = self.node.lock();
            inner
                .more
                .extra_mut()
                .map(|extra| std::mem::take(&mut extra.failed))
                .unwrap_or_default()
        };
        let panic = failed
            .into_iter()
            .filter_map(|child| leave::suppress(&child.node, child.severity))
            .reduce(|first, _| first);
        let _ = self.finish_children::<Infallible>();
        panic
    }

    /// Cancels the region and gives it to a task of the enclosing region.
    fn abandon(&mut self) {
        if host_gave_up(&self.node) {
            // Nobody will run an heir; what lives here was reported as left behind.
            self.node.lock().contents().phase = Phase::Closed;
            inline::unlink(self.under(), &self.node);
            return;
        }
        let now = self.node.host().now();
        let phase = self.node.lock().contents().phase;
        match phase {
            Phase::Open => {
                self.become_phase(Phase::Closing);
                self.become_phase(Phase::Draining);
            }
            Phase::Closing => self.become_phase(Phase::Draining),
            Phase::Draining | Phase::Finalizing | Phase::Closed => {}
        }
        let reason = CancelReason::new(CancelKind::User, self.node.origin(), now)
            .with_message("the region's future was dropped");
        self.cancel_children(&reason);
        if self.is_empty() {
            let _ = obligation::settle_leaks(&self.node);
            self.skip_to_closed();
            return;
        }
        inline::unlink(self.under(), &self.node);
        self.hand_over();
    }

    fn is_empty(&self) -> bool {
        let mut inner = self.node.lock();
        let is_quiet = inner.contents().live == 0;
        let extra = inner.more.extra();
        is_quiet
            && self.cleanup.is_none()
            && extra.is_none_or(|extra| extra.finalizers.is_empty() && extra.failed.is_empty())
    }

    fn skip_to_closed(&mut self) {
        if self.node.lock().contents().phase != Phase::Finalizing {
            self.begin_finalizing();
        }
        let _ = self.finish_children::<Infallible>();
    }

    fn hand_over(&mut self) {
        let heir_region = enclosing_region(self.under());
        let node = self.node.clone();
        let cleanup = self.cleanup.take();
        if cleanup.is_none() && node.lock().contents().phase == Phase::Finalizing {
            // What finalizers have spawned is waited for, and the protocol goes on from there.
            node.lock().contents().phase = Phase::Draining;
        }
        let init = SpawnInit {
            budget: None,
            name: None,
            home: None,
            cleanup: true,
            site: "a region whose future was dropped",
            line: 0,
        };
        let orphan = node.clone();
        let heir = task::spawn::<_, Infallible>(&heir_region, init, move |under| {
            inline::link(&under, &orphan);
            let region = Self {
                cleanup,
                node: orphan,
                heir: Some(under),
                closed: false,
            };
            region.close_abandoned()
        });
        node.record_structure(|| Event::RegionAbandoned {
            region: node.region().id,
            heir: heir.task_id(),
        });
        heir.state.drop_handle();
    }
}

impl Drop for OpenRegion {
    fn drop(&mut self) {
        if !self.closed {
            self.closed = true;
            self.abandon();
        }
    }
}

/// Makes a region's node and links it under the node that is polled.
fn open_node(under: &NodeRef, options: Option<&RegionOptions>) -> NodeRef {
    let outer = under.region();
    let own = options.and_then(|options| options.budget);
    let is_budgeted = own.is_some() || under.marks.is_budgeted();
    let terms = is_budgeted.then(|| terms_of_its_own(under, own));
    let budget = terms.as_ref().map_or(outer.budget(), |terms| &terms.budget);
    let init = RegionInit {
        node: NodeInit {
            state: State::new_idle(1),
            parent: Some(under.clone()),
            nature: under.nature.below(Kind::Region),
            poll_quota: budget.poll_quota,
        },
        shield: current::shield().max(under.shield()),
        id: outer.host().next_region(),
        policy: options.and_then(|options| options.policy.clone()),
    };
    let node = NodeRef::new_region(init, terms);
    node.record_structure(|| Event::RegionOpened {
        region: node.region().id,
        parent: Some(under.subject()),
    });
    let deadline = is_budgeted.then(|| tell_budget(under, &node)).flatten();
    inline::link(under, &node);
    if deadline.is_some() {
        cancel::arm_deadline(&node);
    }
    node
}

/// The terms of a region whose budget is not that of the region around.
#[cold]
fn terms_of_its_own(under: &NodeRef, own: Option<Budget>) -> Terms {
    let effective = under.budget();
    Terms {
        host: under.region().terms().host.borrowed(),
        budget: own.map_or(effective, |own| effective.meet(own)),
    }
}

/// Tells how the budget of a region differs from its opener's; its deadline, if that is an earlier one.
#[cold]
fn tell_budget(under: &NodeRef, node: &NodeRef) -> Option<Time> {
    let (effective, budget) = (under.budget(), *node.region().budget());
    if budget != effective {
        node.record(|| Event::BudgetNarrowed {
            subject: node.subject(),
            budget,
        });
    }
    budget
        .deadline
        .filter(|_| budget.deadline != effective.deadline)
}

/// Whether the program's root region was closed over what still lives.
fn host_gave_up(node: &NodeRef) -> bool {
    let mut root = node;
    while let Some(parent) = root.parent() {
        root = parent;
    }
    root.lock().is_closed()
}

/// The region that `under` belongs to: itself, or its task's.
fn enclosing_region(under: &NodeRef) -> NodeRef {
    let mut node = under;
    while !node.is_region() {
        node = node.parent().expect("only a region has no parent");
    }
    node.clone()
}

/// The region's outcome from its body's end and its children's worst.
fn settle<T, E>(
    node: &NodeRef,
    body: Outcome<T, E>,
    children: Option<Outcome<(), E>>,
) -> Outcome<T, E> {
    let Some(children) = children else {
        return unless_cut_short(node, body);
    };
    if only_failed_fast(node, &body) {
        return children.map(|()| unreachable!("a failed child has no value"));
    }
    worse(body, children)
}

/// A region that was cancelled from outside while its tasks went on did not do its work, although its body ended well.
///
/// A body that cancelled its own region knew what it did.
fn unless_cut_short<T, E>(node: &NodeRef, body: Outcome<T, E>) -> Outcome<T, E> {
    if !body.is_ok() || !node.lock().contents().child_cancelled {
        return body;
    }
    match cancel::reason(node) {
        Some(reason) if reason.origin() != node.origin() => Outcome::Cancelled(reason),
        Some(_) | None => body,
    }
}

/// Whether the body was cancelled for no other reason than a child's failure.
fn only_failed_fast<T, E>(node: &NodeRef, body: &Outcome<T, E>) -> bool {
    body.cancel_reason().is_some_and(|reason| {
        reason.kind() == CancelKind::FailFast && reason.origin().region == node.region().id
    })
}

/// The worse of the two; the body's on equal severity.
fn worse<T, E>(body: Outcome<T, E>, other: Outcome<(), E>) -> Outcome<T, E> {
    if body.severity() >= other.severity() {
        body
    } else {
        other.map(|()| unreachable!("an end worse than another is no value"))
    }
}
