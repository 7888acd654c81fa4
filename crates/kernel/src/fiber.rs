//! Children that borrow from a region's body and are polled within it.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_core::{CancelKind, ChildEnd, Decision, ErrOf, IntoOutcome, OkOf, Outcome, TaskId};

use crate::cancel;
use crate::event::Event;
use crate::inline::Inline;
use crate::node::NodeRef;
use crate::obligation;
use crate::region::FiberNode;
use crate::task;

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
        if task::consult(region, ChildEnd::new(node.task_id(), severity)) == Decision::CancelRest {
            task::fail_fast(region, node);
        }
        Poll::Ready(outcome)
    }
}
