//! Holding cancellation back: a guard for a stretch of code, a future for one operation.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::node::NodeRef;

/// Holds cancellation of its context back until dropped; from [`Cx::mask`](crate::Cx::mask).
#[must_use = "the mask ends when the guard is dropped"]
pub struct MaskGuard {
    node: NodeRef,
}

impl MaskGuard {
    pub(crate) fn new(node: NodeRef) -> Self {
        node.state.mask();
        node.record(|| Event::Masked {
            subject: node.subject(),
        });
        Self { node }
    }
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        self.node.record(|| Event::Unmasked {
            subject: self.node.subject(),
        });
        cancel::unmask(&self.node);
    }
}

/// A future polled with cancellation held back; from [`Cx::shield`](crate::Cx::shield).
#[must_use = "futures do nothing unless polled"]
pub struct Shield<F> {
    future: F,
}

impl<F> Shield<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let _frame = current::enter_shield();
        // SAFETY: the only field is pinned with the whole and never moved out.
        let future = unsafe { self.map_unchecked_mut(|shield| &mut shield.future) };
        future.poll(task)
    }
}
