//! A watch channel as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_core::Cancelled;
use asupersync_kernel::Cx;
use asupersync_sync::watch::{Receiver, RecvError};
use futures_core::Stream;
use futures_util::stream::unfold;

use crate::stop::Stop;

/// The values of a watch channel; from [`watch_stream`] and [`watch_changes`].
#[must_use = "streams do nothing unless polled"]
pub struct WatchStream<T> {
    values: Pin<Box<dyn Stream<Item = Result<T, RecvError>> + Send>>,
    stop: Stop,
    is_closed: bool,
}

/// The value of a watch now, and then the latest whenever it has changed; values in between are left out.
///
/// It ends when the last value was given and no other will come.
/// Once the context being polled must stop it gives `Err(Cancelled)`.
/// Cost: one allocation for the stream, and a clone of each value given.
pub fn watch_stream<T, C>(cx: &Cx<C>, mut receiver: Receiver<T>) -> WatchStream<T>
where
    T: Clone + Send + Sync + 'static,
    C: 'static,
{
    receiver.mark_changed();
    watch_changes(cx, receiver)
}

/// The latest value of a watch whenever it has changed since the receiver saw it; otherwise as [`watch_stream`].
pub fn watch_changes<T, C>(cx: &Cx<C>, receiver: Receiver<T>) -> WatchStream<T>
where
    T: Clone + Send + Sync + 'static,
    C: 'static,
{
    let values = unfold((receiver, cx.clone()), async |(mut receiver, cx)| {
        let changed = receiver.changed(&cx).await;
        let value = changed.map(|()| T::clone(&receiver.borrow_and_update()));
        Some((value, (receiver, cx)))
    });
    WatchStream {
        values: Box::pin(values),
        stop: Stop::new(),
        is_closed: false,
    }
}

impl<T> Stream for WatchStream<T> {
    type Item = Result<T, Cancelled>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_closed || this.stop.is_over() {
            return Poll::Ready(None);
        }
        match ready!(this.values.as_mut().poll_next(task)) {
            Some(Ok(value)) => Poll::Ready(Some(Ok(value))),
            Some(Err(RecvError::Cancelled(cancelled))) => {
                this.stop.tell(cancelled).map(|told| told.map(Err))
            }
            None | Some(Err(_)) => {
                this.is_closed = true;
                Poll::Ready(None)
            }
        }
    }
}
