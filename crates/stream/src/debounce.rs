//! The last item of each run of them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::pace::ROW_MAX;
use crate::timer::Timer;

pin_project! {
    /// A stream of what was last said before it went quiet; from [`StreamExt::debounce`](crate::StreamExt::debounce).
    ///
    /// Items in = given + superseded + held, and at most one is held.
    #[must_use = "streams do nothing unless polled"]
    pub struct Debounce<'a, S: Stream, C> {
        #[pin]
        stream: S,
        timer: Timer<'a, C>,
        quiet: Duration,
        held: Option<S::Item>,
        superseded: u64,
        is_done: bool,
    }
}

impl<'a, S: Stream, C: HasTime> Debounce<'a, S, C> {
    pub(crate) const fn new(stream: S, cx: &'a Cx<C>, quiet: Duration) -> Self {
        Self {
            stream,
            timer: Timer::new(cx),
            quiet,
            held: None,
            superseded: 0,
            is_done: false,
        }
    }

    /// How many items were left out so far, because another came too soon after them.
    #[must_use]
    pub const fn superseded(&self) -> u64 {
        self.superseded
    }
}

impl<S: Stream, C: HasTime> Stream for Debounce<'_, S, C> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let mut row = 0;
        while !*this.is_done {
            if row == ROW_MAX {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            row += 1;
            match this.stream.as_mut().poll_next(task) {
                Poll::Pending => break,
                Poll::Ready(None) => *this.is_done = true,
                Poll::Ready(Some(item)) => {
                    *this.superseded += u64::from(this.held.replace(item).is_some());
                    this.timer.set(*this.quiet);
                }
            }
        }
        if *this.is_done {
            this.timer.clear();
            return Poll::Ready(this.held.take());
        }
        match this.timer.poll(task) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(this.held.take()),
        }
    }
}
