//! Children that borrow from a region's body and are polled within it.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_core::{
    Budget, CancelKind, ChildEnd, Decision, ErrOf, IntoOutcome, OkOf, Outcome, TaskId,
};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::inline::{self, Inline};
use crate::leave;
use crate::node::{Kind, NodeInit, NodeRef, Phase};
use crate::obligation;
use crate::state::State;

/// A fiber; from [`Scope::fiber`](crate::Scope::fiber).
///
/// It does nothing unless awaited, and cannot leave its region's body.
#[must_use = "futures do nothing unless polled"]
pub struct Fiber<'f, Fut: Future<Output: IntoOutcome>> {
    // The future is declared, and so dropped, before the node that it runs under.
    inline: Inline<NodeRef, Fut>,
    fiber: FiberNode,
    body: PhantomData<&'f ()>,
}

impl<Fut: Future<Output: IntoOutcome>> Fiber<'_, Fut> {
    pub(crate) fn new(region: &NodeRef, make: impl FnOnce(NodeRef) -> Fut) -> Self {
        let fiber = FiberNode::open(region, None);
        let future = make(fiber.node().clone());
        Self {
            inline: Inline::new(fiber.node().clone(), future),
            fiber,
            body: PhantomData,
        }
    }

    /// The fiber's name.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.inline.node().task_id()
    }

    /// Asks the fiber to stop, for a reason of the given kind.
    pub fn cancel(&self, kind: CancelKind) {
        let node = self.fiber.node();
        cancel::request_now(node, kind);
    }
}

impl<Fut: Future<Output: IntoOutcome>> Future for Fiber<'_, Fut> {
    type Output = Outcome<OkOf<Fut>, ErrOf<Fut>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `inline` is pinned with the whole; `fiber` is only borrowed.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let inline = unsafe { Pin::new_unchecked(&mut this.inline) };
        let Poll::Ready(mut outcome) = inline.poll(task) else {
            return Poll::Pending;
        };
        let node = this.fiber.node();
        if let Some(leak) = obligation::settle_leaks(node) {
            outcome = Outcome::Panicked(leak);
        }
        let severity = outcome.severity();
        node.record_structure(|| Event::TaskEnded {
            task: node.task_id(),
            severity,
        });
        let region = this.fiber.region();
        if leave::consult(region, ChildEnd::new(node.task_id(), severity)) == Decision::CancelRest {
            leave::fail_fast(region, node);
        }
        Poll::Ready(outcome)
    }
}

/// The node of a fiber or finalizer, linked into its region while it lives.
pub(crate) struct FiberNode {
    node: NodeRef,
}

impl FiberNode {
    pub(crate) fn open(region: &NodeRef, budget: Option<Budget>) -> Self {
        let outer = *region.region().budget();
        let effective = budget.map_or(outer, |own| outer.meet(own));
        let init = NodeInit {
            state: State::new_idle(1),
            parent: Some(region.clone()),
            nature: region.nature.below(Kind::Fiber),
            poll_quota: effective.poll_quota,
        };
        let node = NodeRef::new_fiber(init, current::shield());
        {
            let mut inner = region.lock();
            let contents = inner.contents();
            node.set_index(contents.next_index);
            contents.next_index += 1;
        }
        if budget.is_some() {
            node.lock().more.extra_or_new().budget = Some(effective);
            node.marks.set_budgeted();
        }
        if effective != outer {
            node.record(|| Event::BudgetNarrowed {
                subject: node.subject(),
                budget: effective,
            });
        }
        inline::link(region, &node);
        if effective.deadline.is_some() && effective.deadline != outer.deadline {
            cancel::arm_deadline(&node);
        }
        Self { node }
    }

    pub(crate) const fn node(&self) -> &NodeRef {
        &self.node
    }

    pub(crate) fn region(&self) -> &NodeRef {
        self.node.parent().expect("a fiber has a region")
    }
}

impl Drop for FiberNode {
    fn drop(&mut self) {
        cancel::disarm(&self.node);
        self.node.lock().contents().phase = Phase::Closed;
        inline::unlink(self.region(), &self.node);
    }
}
