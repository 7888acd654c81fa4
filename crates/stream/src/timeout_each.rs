//! A bound on the wait for each item.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::timer::{Ring, Timer};

/// No item came within the time; the stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no item came within {after:?}")]
pub struct Elapsed {
    /// The time that it had.
    pub after: Duration,
}

pin_project! {
    /// A stream that says when an item is late; from [`StreamExt::timeout_each`](crate::StreamExt::timeout_each).
    #[must_use = "streams do nothing unless polled"]
    pub struct TimeoutEach<'a, S, C> {
        #[pin]
        stream: S,
        timer: Timer<'a, C>,
        after: Duration,
    }
}

impl<'a, S, C: HasTime> TimeoutEach<'a, S, C> {
    pub(crate) const fn new(stream: S, cx: &'a Cx<C>, after: Duration) -> Self {
        Self {
            stream,
            timer: Timer::new(cx),
            after,
        }
    }
}

impl<S: Stream, C: HasTime> Stream for TimeoutEach<'_, S, C> {
    type Item = Result<S::Item, Elapsed>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if let Poll::Ready(next) = this.stream.poll_next(task) {
            this.timer.clear();
            return Poll::Ready(next.map(Ok));
        }
        if !this.timer.is_set() {
            this.timer.set(*this.after);
        }
        match this.timer.poll(task) {
            Poll::Ready(Ring::Due) => Poll::Ready(Some(Err(Elapsed { after: *this.after }))),
            // A cancellation is not a late item; the source says it, or whoever waits for the stream.
            Poll::Ready(Ring::Stop) | Poll::Pending => Poll::Pending,
        }
    }
}
