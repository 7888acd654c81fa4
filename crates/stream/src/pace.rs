//! Streams that are always ready, made to let others have their turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

/// How many items in a row are given in one poll.
pub(crate) const ROW_MAX: u32 = 128;

pin_project! {
    /// A stream that waits for one turn after so many items in a row that it did not wait for.
    ///
    /// Whoever takes all items in one poll would see neither a cancellation nor the other tasks of its thread.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct Paced<S> {
        #[pin]
        stream: S,
        row: u32,
    }
}

impl<S> Paced<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, row: 0 }
    }
}

impl<S: Stream> Stream for Paced<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if *this.row == ROW_MAX {
            *this.row = 0;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = this.stream.poll_next(task);
        *this.row = if next.is_ready() { *this.row + 1 } else { 0 };
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
