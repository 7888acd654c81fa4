//! What can be done with every sink.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};
use futures_core::Stream;
use futures_sink::Sink;
use futures_util::SinkExt as _;
use futures_util::stream::Peekable;

use crate::adaptor::{Buffer, SinkErrInto, SinkMapErr, With};
use crate::pace::ROW_MAX;

/// Methods of every [`Sink`]: waits that fail with the sink's error made of `Cancelled`, and adaptors of `futures-util`.
///
/// A sink whose error cannot be made of `Cancelled` gets one that can with [`sink_err_into`](Self::sink_err_into).
pub trait SinkExt<T>: Sink<T> {
    /// Waits until the sink has room for an item; [`Slot::send`](crate::adaptor::Slot::send) then cannot fail for want of it.
    ///
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Safe: no item was taken; room that was had stays with the sink.
    fn ready<'a>(&'a mut self, cx: &Cx<impl Sized>) -> Ready<'a, Self, T>
    where
        Self: Unpin + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        Ready {
            sink: Some(self),
            cancel: CancelWait::new(),
            item: PhantomData,
        }
    }

    /// Sends `item` and waits until the sink has passed everything on.
    ///
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: an item that had no room yet is dropped with the call; to keep it, wait for [`ready`](Self::ready) first.
    fn send<'a>(&'a mut self, cx: &Cx<impl Sized>, item: T) -> Feed<'a, Self, T>
    where
        Self: Unpin + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        Feed {
            sink: self,
            item: Some(item),
            cancel: CancelWait::new(),
        }
    }

    /// Sends all items of a stream and waits until the sink has passed everything on; the sink stays open.
    ///
    /// An item is taken from `items` only when the sink has room for it.
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Safe: what was not sent stays in `items`.
    fn send_all<'a, S>(
        &'a mut self,
        cx: &Cx<impl Sized>,
        items: &'a mut Peekable<S>,
    ) -> SendAll<'a, Self, S>
    where
        Self: Unpin + Sized,
        Self::Error: From<Cancelled>,
        S: Stream<Item = T> + Unpin,
    {
        let _ = cx;
        SendAll {
            sink: self,
            items,
            cancel: CancelWait::new(),
        }
    }

    /// Waits until the sink has passed everything on.
    ///
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Safe: what is in the sink stays there.
    fn flush<'a>(&'a mut self, cx: &Cx<impl Sized>) -> Flush<'a, Self, T>
    where
        Self: Unpin + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        Flush {
            sink: self,
            cancel: CancelWait::new(),
            item: PhantomData,
        }
    }

    /// Passes everything on and closes the sink.
    ///
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Safe: what is in the sink stays there, and another call goes on with it.
    fn close<'a>(&'a mut self, cx: &Cx<impl Sized>) -> Close<'a, Self, T>
    where
        Self: Unpin + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        Close {
            sink: self,
            cancel: CancelWait::new(),
            item: PhantomData,
        }
    }

    /// Makes each item by `f` before it goes into the sink.
    fn with<U, Fut, F, E>(self, f: F) -> With<Self, T, U, Fut, F>
    where
        F: FnMut(U) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Self::Error>,
        Self: Sized,
    {
        futures_util::SinkExt::with(self, f)
    }

    /// Changes the sink's error.
    fn sink_map_err<E, F>(self, f: F) -> SinkMapErr<Self, F>
    where
        F: FnOnce(Self::Error) -> E,
        Self: Sized,
    {
        futures_util::SinkExt::sink_map_err(self, f)
    }

    /// Converts the sink's error.
    fn sink_err_into<E>(self) -> SinkErrInto<Self, T, E>
    where
        Self: Sized,
        Self::Error: Into<E>,
    {
        futures_util::SinkExt::sink_err_into(self)
    }

    /// Keeps up to `capacity` items for a sink that has no room.
    fn buffer(self, capacity: usize) -> Buffer<Self, T>
    where
        Self: Sized,
    {
        futures_util::SinkExt::buffer(self, capacity)
    }
}

impl<T, K: Sink<T> + ?Sized> SinkExt<T> for K {}

/// Room in a sink for one item; dropping it leaves the sink ready.
#[derive(Debug)]
#[must_use = "a slot does nothing unless an item is sent"]
pub struct Slot<'a, K, T> {
    sink: &'a mut K,
    item: PhantomData<fn(T)>,
}

impl<K: Sink<T> + Unpin, T> Slot<'_, K, T> {
    /// Sends `item`; never waits.
    ///
    /// # Errors
    /// The sink's own.
    pub fn send(self, item: T) -> Result<(), K::Error> {
        self.sink.start_send_unpin(item)
    }
}

/// Waits for room in a sink; from [`SinkExt::ready`]. Its output is a [`Slot`].
///
/// # Cancel safety
/// Safe: no item was taken.
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'a, K, T> {
    sink: Option<&'a mut K>,
    cancel: CancelWait,
    item: PhantomData<fn(T)>,
}

impl<'a, K, T> Future for Ready<'a, K, T>
where
    K: Sink<T, Error: From<Cancelled>> + Unpin,
{
    type Output = Result<Slot<'a, K, T>, K::Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        let sink = this.sink.as_mut();
        let sink = sink.expect("a future is not polled after its end");
        ready!(sink.poll_ready_unpin(task))?;
        Poll::Ready(Ok(Slot {
            sink: this.sink.take().expect("it was there a moment ago"),
            item: PhantomData,
        }))
    }
}

/// Sends one item; from [`SinkExt::send`].
///
/// # Cancel safety
/// Lossy: as [`SinkExt::send`].
#[must_use = "futures do nothing unless polled"]
pub struct Feed<'a, K, T> {
    sink: &'a mut K,
    item: Option<T>,
    cancel: CancelWait,
}

/// The item is moved, never pinned.
impl<K, T> Unpin for Feed<'_, K, T> {}

impl<K, T> Future for Feed<'_, K, T>
where
    K: Sink<T, Error: From<Cancelled>> + Unpin,
{
    type Output = Result<(), K::Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        if this.item.is_some() {
            ready!(this.sink.poll_ready_unpin(task))?;
            if let Some(item) = this.item.take() {
                this.sink.start_send_unpin(item)?;
            }
        }
        this.sink.poll_flush_unpin(task)
    }
}

/// Sends many items; from [`SinkExt::send_all`].
///
/// # Cancel safety
/// Safe: what was not sent stays in the stream.
#[must_use = "futures do nothing unless polled"]
pub struct SendAll<'a, K, S: Stream> {
    sink: &'a mut K,
    items: &'a mut Peekable<S>,
    cancel: CancelWait,
}

impl<K, S> Future for SendAll<'_, K, S>
where
    S: Stream + Unpin,
    K: Sink<S::Item, Error: From<Cancelled>> + Unpin,
{
    type Output = Result<(), K::Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled.into()));
        }
        for _ in 0..ROW_MAX {
            match Pin::new(&mut *this.items).poll_peek(task) {
                Poll::Pending => {
                    ready!(this.sink.poll_flush_unpin(task))?;
                    return Poll::Pending;
                }
                Poll::Ready(None) => return this.sink.poll_flush_unpin(task),
                Poll::Ready(Some(_)) => {
                    ready!(this.sink.poll_ready_unpin(task))?;
                    // It was looked at, so it is there.
                    if let Poll::Ready(Some(item)) = Pin::new(&mut *this.items).poll_next(task) {
                        this.sink.start_send_unpin(item)?;
                    }
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Waits until a sink has passed everything on; from [`SinkExt::flush`].
///
/// # Cancel safety
/// Safe: what is in the sink stays there.
#[must_use = "futures do nothing unless polled"]
pub struct Flush<'a, K, T> {
    sink: &'a mut K,
    cancel: CancelWait,
    item: PhantomData<fn(T)>,
}

impl<K, T> Future for Flush<'_, K, T>
where
    K: Sink<T, Error: From<Cancelled>> + Unpin,
{
    type Output = Result<(), K::Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.cancel.poll(task) {
            Poll::Ready(cancelled) => Poll::Ready(Err(cancelled.into())),
            Poll::Pending => this.sink.poll_flush_unpin(task),
        }
    }
}

/// Waits until a sink is closed; from [`SinkExt::close`].
///
/// # Cancel safety
/// Safe: what is in the sink stays there.
#[must_use = "futures do nothing unless polled"]
pub struct Close<'a, K, T> {
    sink: &'a mut K,
    cancel: CancelWait,
    item: PhantomData<fn(T)>,
}

impl<K, T> Future for Close<'_, K, T>
where
    K: Sink<T, Error: From<Cancelled>> + Unpin,
{
    type Output = Result<(), K::Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.cancel.poll(task) {
            Poll::Ready(cancelled) => Poll::Ready(Err(cancelled.into())),
            Poll::Pending => this.sink.poll_close_unpin(task),
        }
    }
}
