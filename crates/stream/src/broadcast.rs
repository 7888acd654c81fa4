//! A broadcast channel as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_kernel::Cx;
use asupersync_sync::broadcast::{Receiver, RecvError};
use futures_core::Stream;
use futures_util::stream::unfold;

use crate::stop::Stop;

/// The messages of a broadcast channel; from [`broadcast_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct BroadcastStream<T> {
    messages: Pin<Box<dyn Stream<Item = Result<T, RecvError>> + Send>>,
    stop: Stop,
    is_closed: bool,
}

/// The messages of a broadcast channel as a stream, which ends when the channel is closed and everything was given.
///
/// A lag is an item: `Err(RecvError::Lagged { missed })`, after which the stream goes on.
/// Once the context being polled must stop it gives `Err(RecvError::Cancelled)`.
/// Cost: one allocation for the stream.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{StreamExt, broadcast_stream};
/// use asupersync_sync::broadcast::{self, RecvError};
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// # let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
/// let (tx, rx) = broadcast::channel(2);
/// for n in 1..=3 {
///     tx.send(n).expect("the receiver is here");
/// }
/// drop(tx);
/// let news: Vec<_> = broadcast_stream(&cx, rx).collect(&cx).await?;
/// assert_eq!(news, [Err(RecvError::Lagged { missed: 1 }), Ok(2), Ok(3)]);
/// # Ok::<(), Cancelled>(())
/// # });
/// # assert_eq!(report.outcome, Outcome::Ok(()));
/// ```
pub fn broadcast_stream<T, C>(cx: &Cx<C>, receiver: Receiver<T>) -> BroadcastStream<T>
where
    T: Clone + Send + Sync + 'static,
    C: 'static,
{
    let messages = unfold((receiver, cx.clone()), async |(mut receiver, cx)| {
        let message = receiver.recv(&cx).await;
        Some((message, (receiver, cx)))
    });
    BroadcastStream {
        messages: Box::pin(messages),
        stop: Stop::new(),
        is_closed: false,
    }
}

impl<T> Stream for BroadcastStream<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_closed || this.stop.is_over() {
            return Poll::Ready(None);
        }
        match ready!(this.messages.as_mut().poll_next(task)) {
            None | Some(Err(RecvError::Closed)) => {
                this.is_closed = true;
                Poll::Ready(None)
            }
            Some(Err(RecvError::Cancelled(cancelled))) => {
                let told = this.stop.tell(cancelled);
                told.map(|told| told.map(|cancelled| Err(cancelled.into())))
            }
            message => Poll::Ready(message),
        }
    }
}
