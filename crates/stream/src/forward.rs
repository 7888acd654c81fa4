//! A whole stream into a sink.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_core::Cancelled;
use asupersync_kernel::CancelWait;
use futures_core::Stream;
use futures_sink::Sink;
use futures_util::stream::Peekable;
use pin_project_lite::pin_project;

use crate::pace::ROW_MAX;

pin_project! {
    /// Sends a stream into a sink; from [`StreamExt::forward`](crate::StreamExt::forward).
    ///
    /// # Cancel safety
    /// Lossy: as [`StreamExt::forward`](crate::StreamExt::forward).
    #[must_use = "futures do nothing unless polled"]
    pub struct Forward<S: Stream, K> {
        #[pin]
        stream: Peekable<S>,
        #[pin]
        sink: K,
        is_done: bool,
        cancel: CancelWait,
    }
}

impl<S: Stream, K> Forward<S, K> {
    pub(crate) fn new(stream: S, sink: K) -> Self {
        Self {
            stream: futures_util::StreamExt::peekable(stream),
            sink,
            is_done: false,
            cancel: CancelWait::new(),
        }
    }
}

impl<S, K, T, E> Future for Forward<S, K>
where
    S: Stream<Item = Result<T, E>>,
    K: Sink<T, Error = E>,
    E: From<Cancelled>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        let mut row = 0;
        while !*this.is_done {
            if row == ROW_MAX {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            row += 1;
            match this.stream.as_mut().poll_peek(task) {
                Poll::Pending => {
                    ready!(this.sink.as_mut().poll_flush(task))?;
                    return Poll::Pending;
                }
                Poll::Ready(None) => *this.is_done = true,
                Poll::Ready(Some(_)) => {
                    ready!(this.sink.as_mut().poll_ready(task))?;
                    // It was looked at, so it is there.
                    if let Poll::Ready(Some(item)) = this.stream.as_mut().poll_next(task) {
                        this.sink.as_mut().start_send(item?)?;
                    }
                }
            }
        }
        this.sink.poll_close(task)
    }
}
