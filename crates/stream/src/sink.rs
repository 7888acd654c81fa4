//! Channels as sinks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_core::{Cancelled, Effect};
use asupersync_kernel::Cx;
use asupersync_sync::mpsc::{
    OwnedSendPermit, ReserveError, ReserveOwned, SendError, SendFailure, Sender, UnboundedSender,
};
use futures_sink::Sink;

/// Why an item did not go into a channel.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError<T> {
    /// The receiver has gone or was closed, or the sink itself was closed; no item was taken.
    #[error("the sink is closed")]
    Closed,
    /// The context had to stop; no item was taken.
    #[error("cancelled while waiting for room in a sink")]
    Cancelled(#[from] Cancelled),
    /// The item was not sent; it is handed back.
    #[error("the item was not sent: {failure}")]
    NotSent {
        /// The item.
        item: T,
        /// Why.
        failure: SendFailure,
    },
}

impl<T> SinkError<T> {
    /// Whether the item may have arrived: it has not.
    pub const fn effect(&self) -> Effect {
        Effect::NotStarted
    }
}

impl<T> fmt::Debug for SinkError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Cancelled(cancelled) => f.debug_tuple("Cancelled").field(cancelled).finish(),
            Self::NotSent { failure, .. } => f
                .debug_struct("NotSent")
                .field("failure", failure)
                .finish_non_exhaustive(),
        }
    }
}

impl<T> From<SendError<T>> for SinkError<T> {
    fn from(error: SendError<T>) -> Self {
        Self::NotSent {
            item: error.value,
            failure: error.failure,
        }
    }
}

/// A bounded channel as a sink; from [`sender_sink`].
///
/// Ready means that a slot is reserved, as an obligation of `cx`'s task: what was started is then sent at once.
/// Dropping the sink gives the slot back.
#[must_use = "sinks do nothing unless polled"]
pub struct SenderSink<'a, T: Send + 'static, C> {
    cx: &'a Cx<C>,
    sender: Option<Sender<T>>,
    slot: Slot<'a, T, C>,
}

enum Slot<'a, T, C> {
    None,
    Asked(ReserveOwned<'a, T, C>),
    Reserved(OwnedSendPermit<T>),
}

/// A sink that sends to a bounded channel, and waits while that is full.
///
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{SinkError, SinkExt, StreamExt, iter, sender_sink};
/// use asupersync_sync::mpsc;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// # let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
/// let (tx, mut rx) = mpsc::channel(4);
/// iter(1..=3).forward(&cx, sender_sink(&cx, tx)).await?;
/// assert_eq!(rx.recv(&cx).await, Ok(1));
/// assert_eq!(rx.len(), 2);
/// # Ok::<(), SinkError<u32>>(())
/// # });
/// # assert_eq!(report.outcome, Outcome::Ok(()));
/// ```
pub const fn sender_sink<T: Send + 'static, C>(
    cx: &Cx<C>,
    sender: Sender<T>,
) -> SenderSink<'_, T, C> {
    SenderSink {
        cx,
        sender: Some(sender),
        slot: Slot::None,
    }
}

impl<T: Send + 'static, C> SenderSink<'_, T, C> {
    fn let_go(&mut self) {
        if let Slot::Reserved(permit) = std::mem::replace(&mut self.slot, Slot::None) {
            drop(permit.abort());
        }
    }
}

impl<T: Send + 'static, C> Sink<T> for SenderSink<'_, T, C> {
    type Error = SinkError<T>;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        loop {
            match &mut this.slot {
                Slot::Reserved(_) => return Poll::Ready(Ok(())),
                Slot::None => {
                    let Some(sender) = &this.sender else {
                        return Poll::Ready(Err(SinkError::Closed));
                    };
                    this.slot = Slot::Asked(sender.clone().reserve_owned(this.cx));
                }
                Slot::Asked(reserve) => {
                    let reserved = ready!(Pin::new(reserve).poll(task));
                    this.slot = Slot::None;
                    match reserved {
                        Ok(permit) => this.slot = Slot::Reserved(permit),
                        Err(ReserveError::Cancelled(cancelled)) => {
                            return Poll::Ready(Err(cancelled.into()));
                        }
                        Err(_) => return Poll::Ready(Err(SinkError::Closed)),
                    }
                }
            }
        }
    }

    /// # Panics
    /// If the sink was not ready.
    fn start_send(self: Pin<&mut Self>, item: T) -> Result<(), Self::Error> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.slot, Slot::None) {
            Slot::Reserved(permit) => {
                permit.send(item)?;
                Ok(())
            }
            Slot::None | Slot::Asked(_) => {
                panic!("`start_send` is called only after `poll_ready` has said yes")
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // What was started is in the channel.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.let_go();
        this.sender = None;
        Poll::Ready(Ok(()))
    }
}

impl<T: Send + 'static, C> Drop for SenderSink<'_, T, C> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// An unbounded channel as a sink, which is always ready; from [`unbounded_sink`].
#[derive(Debug)]
#[must_use = "sinks do nothing unless polled"]
pub struct UnboundedSink<T>(Option<UnboundedSender<T>>);

/// A sink that sends to an unbounded channel and never waits.
pub const fn unbounded_sink<T>(sender: UnboundedSender<T>) -> UnboundedSink<T> {
    UnboundedSink(Some(sender))
}

impl<T> Sink<T> for UnboundedSink<T> {
    type Error = SinkError<T>;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &self.0 {
            Some(sender) if !sender.is_closed() => Poll::Ready(Ok(())),
            Some(_) | None => Poll::Ready(Err(SinkError::Closed)),
        }
    }

    fn start_send(self: Pin<&mut Self>, item: T) -> Result<(), Self::Error> {
        match &self.0 {
            Some(sender) => Ok(sender.send(item)?),
            None => Err(SinkError::NotSent {
                item,
                failure: SendFailure::Closed,
            }),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().0 = None;
        Poll::Ready(Ok(()))
    }
}
