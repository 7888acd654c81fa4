//! Contexts that run within another one's poll: region bodies, fibers, finalizers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::{CancelStage, ErrOf, IntoOutcome, OkOf, Outcome, PanicPayload};

use crate::cancel;
use crate::current;
use crate::node::NodeRef;

/// Polls a future under a node of its own, until it ends, panics or is dropped where it stands.
///
/// The future is dropped before the outcome is given.
pub(crate) struct Inline<Fut> {
    node: NodeRef,
    /// The waker that the node knows; compared so that the lock is taken only for a new one.
    waker: Option<Waker>,
    future: Option<Fut>,
}

impl<Fut: Future<Output: IntoOutcome>> Inline<Fut> {
    pub(crate) const fn new(node: NodeRef, future: Fut) -> Self {
        Self {
            node,
            waker: None,
            future: Some(future),
        }
    }

    pub(crate) const fn node(&self) -> &NodeRef {
        &self.node
    }

    fn know_waker(self: Pin<&mut Self>, waker: &Waker) {
        // SAFETY: `waker` is not pinned with the future.
        let this = unsafe { self.get_unchecked_mut() };
        if this
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            return;
        }
        this.waker = Some(waker.clone());
        let old = this.node.lock().contents().waiter.replace(waker.clone());
        drop(old);
    }

    fn future(self: Pin<&mut Self>) -> Pin<&mut Option<Fut>> {
        // SAFETY: the future is pinned with the whole and never moved out.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }
    }

    /// Drops the future; a panic in that is given back.
    pub(crate) fn drop_future(self: Pin<&mut Self>) -> Option<PanicPayload> {
        let mut future = self.future();
        catch_unwind(AssertUnwindSafe(|| future.as_mut().set(None)))
            .err()
            .map(PanicPayload::new)
    }
}

impl<Fut: Future<Output: IntoOutcome>> Future for Inline<Fut> {
    type Output = Outcome<OkOf<Fut>, ErrOf<Fut>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let node = self.node.clone();
        cancel::charge_poll(&node);
        let stage = node.stage();
        let outcome = if node.stage() == Some(CancelStage::Dropped) {
            Outcome::Cancelled(cancel::reason(&node).expect("a stage has a reason"))
        } else {
            match poll_future(&node, self.as_mut().future(), task) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    self.know_waker(task.waker());
                    // A request that came during the poll found the old waker, or none.
                    if node.stage() != stage {
                        task.waker().wake_by_ref();
                    }
                    if node.stage().is_some() {
                        cancel::arm_cleanup(&node);
                    }
                    return Poll::Pending;
                }
            }
        };
        Poll::Ready(match self.drop_future() {
            None => staged(&node, outcome),
            Some(payload) => Outcome::Panicked(payload),
        })
    }
}

fn poll_future<Fut: Future<Output: IntoOutcome>>(
    node: &NodeRef,
    future: Pin<&mut Option<Fut>>,
    task: &mut Context<'_>,
) -> Poll<Outcome<OkOf<Fut>, ErrOf<Fut>>> {
    let future = future
        .as_pin_mut()
        .expect("a future that has ended is not polled");
    let _frame = current::enter(node, task.waker());
    let polled = catch_unwind(AssertUnwindSafe(|| {
        future.poll(task).map(IntoOutcome::into_outcome)
    }));
    match polled {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Outcome::Panicked(PanicPayload::new(payload))),
    }
}

/// A cancelled outcome says how far the protocol had gone when the body ended.
fn staged<T, E>(node: &NodeRef, outcome: Outcome<T, E>) -> Outcome<T, E> {
    match (outcome, node.stage()) {
        (Outcome::Cancelled(reason), Some(stage)) => Outcome::Cancelled(reason.at_stage(stage)),
        (outcome, _) => outcome,
    }
}

/// Takes an inline node out of its surroundings.
pub(crate) fn unlink(under: &NodeRef, node: &NodeRef) {
    under.lock().unlink(node);
}

/// Links an inline node into its surroundings, and gives it the cancellation that stands there.
pub(crate) fn link(under: &NodeRef, node: &NodeRef) {
    let inherited = {
        let mut inner = under.lock();
        inner.link(node);
        cancel::inherited_at_birth(under, &inner)
    };
    if let Some(asked) = inherited {
        cancel::request_inherited(node, &asked);
    }
}
