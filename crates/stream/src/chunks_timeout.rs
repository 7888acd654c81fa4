//! Items in chunks, none of which waits longer than a given time.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::timer::Timer;

pin_project! {
    /// A stream of chunks; from [`StreamExt::chunks_timeout`](crate::StreamExt::chunks_timeout).
    ///
    /// Items in = given + held, and fewer than a chunk are held.
    #[must_use = "streams do nothing unless polled"]
    pub struct ChunksTimeout<'a, S: Stream, C> {
        #[pin]
        stream: S,
        timer: Timer<'a, C>,
        held: Vec<S::Item>,
        items_max: usize,
        time_max: Duration,
        is_done: bool,
    }
}

impl<'a, S: Stream, C: HasTime> ChunksTimeout<'a, S, C> {
    pub(crate) fn new(stream: S, cx: &'a Cx<C>, items_max: usize, time_max: Duration) -> Self {
        assert!(items_max > 0, "a chunk holds at least one item");
        Self {
            stream,
            timer: Timer::new(cx),
            held: Vec::new(),
            items_max,
            time_max,
            is_done: false,
        }
    }
}

impl<S: Stream, C: HasTime> Stream for ChunksTimeout<'_, S, C> {
    type Item = Vec<S::Item>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while !*this.is_done {
            match this.stream.as_mut().poll_next(task) {
                Poll::Pending => break,
                Poll::Ready(None) => *this.is_done = true,
                Poll::Ready(Some(item)) => {
                    if this.held.is_empty() {
                        this.timer.set(*this.time_max);
                    }
                    this.held.push(item);
                    if this.held.len() == *this.items_max {
                        this.timer.clear();
                        return Poll::Ready(Some(mem::take(this.held)));
                    }
                }
            }
        }
        if *this.is_done {
            this.timer.clear();
            let rest = mem::take(this.held);
            return Poll::Ready((!rest.is_empty()).then_some(rest));
        }
        // Set while something is held, and only then.
        this.timer.poll(task).map(|_| Some(mem::take(this.held)))
    }
}
