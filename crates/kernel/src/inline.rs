//! Contexts that run within another one's poll: region bodies, fibers, finalizers.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::{CancelStage, ErrOf, IntoOutcome, OkOf, Outcome, PanicPayload};

use crate::cancel;
use crate::current;
use crate::node::NodeRef;
use crate::waker;

/// Polls a future under a node of its own, until it ends, panics or is dropped where it stands.
///
/// The future is dropped before the outcome is given.
pub(crate) struct Inline<N, Fut> {
    /// A reference, or a borrowed one.
    node: N,
    /// The waker that the node was given, if it was; compared so that the lock is taken only for a new one.
    waker: Option<Waker>,
    future: Option<Fut>,
}

/// The parts of a pinned [`Inline`].
struct Parts<'a, Fut> {
    node: &'a NodeRef,
    waker: &'a mut Option<Waker>,
    future: Pin<&'a mut Option<Fut>>,
}

impl<N: Borrow<NodeRef>, Fut: Future<Output: IntoOutcome>> Inline<N, Fut> {
    pub(crate) const fn new(node: N, future: Fut) -> Self {
        Self {
            node,
            waker: None,
            future: Some(future),
        }
    }

    pub(crate) fn node(&self) -> &NodeRef {
        self.node.borrow()
    }

    fn parts(self: Pin<&mut Self>) -> Parts<'_, Fut> {
        // SAFETY: nothing is moved out, and only the future is pinned.
        let this = unsafe { self.get_unchecked_mut() };
        Parts {
            node: this.node.borrow(),
            waker: &mut this.waker,
            // SAFETY: the future is pinned with the whole and never moved out.
            future: unsafe { Pin::new_unchecked(&mut this.future) },
        }
    }
}

impl<Fut> Parts<'_, Fut> {
    fn know_waker(&mut self, waker: &Waker) {
        let is_known = match &*self.waker {
            Some(known) => known.will_wake(waker),
            None => self
                .node
                .task_above()
                .is_some_and(|task| waker::is_of(waker, task)),
        };
        if is_known {
            return;
        }
        *self.waker = Some(waker.clone());
        let old = self.node.lock().contents().waiter.replace(waker.clone());
        drop(old);
    }

    /// Drops the future; a panic in that is given back.
    fn drop_future(&mut self) -> Option<PanicPayload> {
        catch_unwind(AssertUnwindSafe(|| self.future.as_mut().set(None)))
            .err()
            .map(PanicPayload::new)
    }
}

impl<N: Borrow<NodeRef>, Fut: Future<Output: IntoOutcome>> Future for Inline<N, Fut> {
    type Output = Outcome<OkOf<Fut>, ErrOf<Fut>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.parts();
        let node = this.node;
        let polls = cancel::begin_poll(node);
        let rank = node.marks.rank();
        // Changed in place, since each move of an outcome waits for what was stored just before.
        let mut polled = Poll::Pending;
        if rank > 0 && node.stage() == Some(CancelStage::Dropped) {
            let reason = cancel::reason(node).expect("a stage has a reason");
            polled = Poll::Ready(Outcome::Cancelled(reason));
        } else {
            poll_future(node, this.future.as_mut(), task, &mut polled);
        }
        if polled.is_pending() {
            cancel::charge_poll(node, polls);
            this.know_waker(task.waker());
            // A request that came during the poll found the old waker, or none.
            if node.marks.rank() != rank {
                task.waker().wake_by_ref();
            }
            if node.marks.is_cancelled() {
                cancel::arm_cleanup(node);
            }
            // Nothing of what is there without an outcome is moved.
            return Poll::Pending;
        }
        if let Some(payload) = this.drop_future() {
            polled = Poll::Ready(Outcome::Panicked(payload));
        } else if let Some(stage) = node.stage() {
            set_stage(&mut polled, stage);
        }
        polled
    }
}

fn poll_future<Fut: Future<Output: IntoOutcome>>(
    node: &NodeRef,
    future: Pin<&mut Option<Fut>>,
    task: &mut Context<'_>,
    polled: &mut Poll<Outcome<OkOf<Fut>, ErrOf<Fut>>>,
) {
    let future = future
        .as_pin_mut()
        .expect("a future that has ended is not polled");
    let _frame = current::enter(node, task.waker());
    let caught = catch_unwind(AssertUnwindSafe(|| {
        *polled = future.poll(task).map(IntoOutcome::into_outcome);
    }));
    if let Err(payload) = caught {
        *polled = Poll::Ready(Outcome::Panicked(PanicPayload::new(payload)));
    }
}

/// A cancelled outcome says how far the protocol had gone when the body ended.
#[cold]
fn set_stage<T, E>(polled: &mut Poll<Outcome<T, E>>, stage: CancelStage) {
    let ended = std::mem::replace(polled, Poll::Pending);
    *polled = ended.map(|outcome| match outcome {
        Outcome::Cancelled(reason) => Outcome::Cancelled(reason.at_stage(stage)),
        outcome => outcome,
    });
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
