//! How a source of ours says that it was cut short.
//!
//! # States
//! going on → told (`Err(Cancelled)` was given) → going on again, once the context being polled need not stop any more.
//! While told, the source is at its end: whoever skips errors comes out of its loop, and whoever cleans up behind a shield can go on reading.

use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::CancelWait;

#[derive(Default)]
pub(crate) struct Stop {
    wait: CancelWait,
    is_told: bool,
}

impl Stop {
    pub(crate) const fn new() -> Self {
        Self {
            wait: CancelWait::new(),
            is_told: false,
        }
    }

    /// Ready with the item to give if the context being polled must stop: the error once, then the end.
    pub(crate) fn poll(&mut self, task: &mut Context<'_>) -> Poll<Option<Cancelled>> {
        let Poll::Ready(cancelled) = self.wait.poll(task) else {
            self.is_told = false;
            return Poll::Pending;
        };
        self.tell(cancelled)
    }

    /// Whether the source has said so, and the context must still stop.
    pub(crate) fn is_over(&mut self) -> bool {
        self.is_told = self.is_told && CancelWait::check().is_some();
        self.is_told
    }

    /// The error for the first who asks, the end for the next.
    pub(crate) fn tell(&mut self, cancelled: Cancelled) -> Poll<Option<Cancelled>> {
        let is_told = std::mem::replace(&mut self.is_told, true);
        Poll::Ready((!is_told).then_some(cancelled))
    }
}
