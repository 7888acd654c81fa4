//! Channels of one receiver as streams.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::All;
use asupersync_sync::mpsc::{Receiver, RecvError, UnboundedReceiver};
use futures_core::Stream;

use crate::stop::Stop;

/// The messages of a bounded channel; from [`receiver_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct ReceiverStream<T, C = All> {
    receiver: Receiver<T>,
    cx: Cx<C>,
    stop: Stop,
}

/// The messages of a channel as a stream, which ends when the channel is closed and empty.
///
/// Once the context being polled must stop it gives `Err(Cancelled)`, and messages stay in the channel.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{TryStreamExt, receiver_stream};
/// use asupersync_sync::mpsc;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let (tx, rx) = mpsc::channel(4);
///     for n in 1..=3 {
///         tx.try_send(n).expect("there is room");
///     }
///     drop(tx);
///     let doubled = receiver_stream(&cx, rx).map_ok(|n| 2 * n);
///     doubled.try_collect::<Vec<u32>>(&cx).await
/// });
/// assert_eq!(report.outcome, Outcome::<_, Cancelled>::Ok(vec![2, 4, 6]));
/// ```
pub fn receiver_stream<T, C>(cx: &Cx<C>, receiver: Receiver<T>) -> ReceiverStream<T, C> {
    ReceiverStream {
        receiver,
        cx: cx.clone(),
        stop: Stop::new(),
    }
}

/// The messages of an unbounded channel; from [`unbounded_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct UnboundedStream<T, C = All> {
    receiver: UnboundedReceiver<T>,
    cx: Cx<C>,
    stop: Stop,
}

/// The messages of an unbounded channel as a stream; as [`receiver_stream`].
pub fn unbounded_stream<T, C>(cx: &Cx<C>, receiver: UnboundedReceiver<T>) -> UnboundedStream<T, C> {
    UnboundedStream {
        receiver,
        cx: cx.clone(),
        stop: Stop::new(),
    }
}

macro_rules! stream_of_a_receiver {
    ($stream:ident, $receiver:ident) => {
        impl<T, C> $stream<T, C> {
            /// The receiver, with what is still in its channel.
            pub fn into_inner(self) -> $receiver<T> {
                self.receiver
            }

            /// Takes no more messages in; those that are in the channel are still given.
            pub fn close(&mut self) {
                self.receiver.close();
            }
        }

        impl<T, C> Stream for $stream<T, C> {
            type Item = Result<T, Cancelled>;

            fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                let this = self.get_mut();
                if let Poll::Ready(told) = this.stop.poll(task) {
                    return Poll::Ready(told.map(Err));
                }
                // The receiver itself keeps the waker, so each poll may make its own future.
                match pin!(this.receiver.recv(&this.cx)).poll(task) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(message)) => Poll::Ready(Some(Ok(message))),
                    Poll::Ready(Err(RecvError::Cancelled(cancelled))) => {
                        this.stop.tell(cancelled).map(|told| told.map(Err))
                    }
                    Poll::Ready(Err(_)) => Poll::Ready(None),
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.receiver.len(), None)
            }
        }

        // Nothing of it is pinned: the receiver is only lent to each poll.
        impl<T, C> Unpin for $stream<T, C> {}
    };
}

stream_of_a_receiver!(ReceiverStream, Receiver);
stream_of_a_receiver!(UnboundedStream, UnboundedReceiver);
