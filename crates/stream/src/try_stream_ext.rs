//! What can be done with every stream of results.

use asupersync_core::{Cancelled, ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, Scope};
use futures_core::stream::TryStream;
use futures_core::{Stream, TryFuture};
use futures_sink::Sink;

use crate::adaptor::{self, Buffered, Paced};
use crate::buffered::{OnError, Order};
use crate::cancel::TryOrCancelled;
use crate::forward::Forward;
use crate::stream_ext::each;

/// Methods of every stream whose items are results.
///
/// What waits takes `&Cx` and fails with the stream's error made of [`Cancelled`] once the context being polled must stop.
/// A stream whose error cannot be made of `Cancelled` gets one that can with [`err_into`](Self::err_into).
pub trait TryStreamExt: TryStream {
    /// Changes each value by `f`.
    fn map_ok<T, F>(self, f: F) -> adaptor::MapOk<Self, F>
    where
        Self: Sized,
        F: FnMut(Self::Ok) -> T,
    {
        futures_util::TryStreamExt::map_ok(self, f)
    }

    /// Changes each error by `f`.
    fn map_err<E, F>(self, f: F) -> adaptor::MapErr<Self, F>
    where
        Self: Sized,
        F: FnMut(Self::Error) -> E,
    {
        futures_util::TryStreamExt::map_err(self, f)
    }

    /// Converts each error.
    fn err_into<E>(self) -> adaptor::ErrInto<Self, E>
    where
        Self: Sized,
        Self::Error: Into<E>,
    {
        futures_util::TryStreamExt::err_into(self)
    }

    /// Changes each value by the fallible future that `f` makes of it.
    fn and_then<Fut, F>(self, f: F) -> adaptor::AndThen<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(Self::Ok) -> Fut,
        Fut: TryFuture<Error = Self::Error>,
    {
        futures_util::TryStreamExt::and_then(self, f)
    }

    /// Answers each error with the fallible future that `f` makes of it.
    fn or_else<Fut, F>(self, f: F) -> adaptor::OrElse<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(Self::Error) -> Fut,
        Fut: TryFuture<Ok = Self::Ok>,
    {
        futures_util::TryStreamExt::or_else(self, f)
    }

    /// Calls `f` with each value that passes.
    fn inspect_ok<F>(self, f: F) -> adaptor::InspectOk<Self, F>
    where
        Self: Sized,
        F: FnMut(&Self::Ok),
    {
        futures_util::TryStreamExt::inspect_ok(self, f)
    }

    /// Calls `f` with each error that passes.
    fn inspect_err<F>(self, f: F) -> adaptor::InspectErr<Self, F>
    where
        Self: Sized,
        F: FnMut(&Self::Error),
    {
        futures_util::TryStreamExt::inspect_err(self, f)
    }

    /// Leaves out the values that `f` does not want; errors pass.
    fn try_filter<Fut, F>(self, f: F) -> adaptor::TryFilter<Self, Fut, F>
    where
        Self: Sized,
        Fut: Future<Output = bool>,
        F: FnMut(&Self::Ok) -> Fut,
    {
        futures_util::TryStreamExt::try_filter(self, f)
    }

    /// Changes each value by `f`, and leaves out those for which it gives `None`; errors pass.
    fn try_filter_map<Fut, F, T>(self, f: F) -> adaptor::TryFilterMap<Self, Fut, F>
    where
        Self: Sized,
        Fut: TryFuture<Ok = Option<T>, Error = Self::Error>,
        F: FnMut(Self::Ok) -> Fut,
    {
        futures_util::TryStreamExt::try_filter_map(self, f)
    }

    /// Leaves out the first values, for as long as `f` says; errors pass.
    fn try_skip_while<Fut, F>(self, f: F) -> adaptor::TrySkipWhile<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(&Self::Ok) -> Fut,
        Fut: TryFuture<Ok = bool, Error = Self::Error>,
    {
        futures_util::TryStreamExt::try_skip_while(self, f)
    }

    /// Ends before the first value that `f` does not want; errors pass.
    fn try_take_while<Fut, F>(self, f: F) -> adaptor::TryTakeWhile<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(&Self::Ok) -> Fut,
        Fut: TryFuture<Ok = bool, Error = Self::Error>,
    {
        futures_util::TryStreamExt::try_take_while(self, f)
    }

    /// The values of the streams that are this one's values, one stream after another.
    fn try_flatten(self) -> adaptor::TryFlatten<Self>
    where
        Self: Sized,
        Self::Ok: TryStream<Error: From<Self::Error>>,
    {
        futures_util::TryStreamExt::try_flatten(self)
    }

    /// Chunks of `count` values; an error hands out what its chunk had.
    fn try_chunks(self, count: usize) -> adaptor::TryChunks<Self>
    where
        Self: Sized,
    {
        futures_util::TryStreamExt::try_chunks(self, count)
    }

    /// Waits for the next value; `None` is the end.
    ///
    /// # Errors
    /// The stream's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Safe: the call has taken no item.
    fn try_next<'a>(&'a mut self, cx: &Cx<impl Sized>) -> TryOrCancelled<adaptor::TryNext<'a, Self>>
    where
        Self: Unpin,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        TryOrCancelled::new(futures_util::TryStreamExt::try_next(self))
    }

    /// Collects all values, up to the first error.
    ///
    /// # Errors
    /// The stream's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped, cancelled or fails drops what it had collected.
    fn try_collect<B>(
        self,
        cx: &Cx<impl Sized>,
    ) -> TryOrCancelled<adaptor::TryCollect<Paced<Self>, B>>
    where
        B: Default + Extend<Self::Ok>,
        Self: Stream<Item = Result<Self::Ok, Self::Error>> + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        TryOrCancelled::new(futures_util::TryStreamExt::try_collect(Paced::new(self)))
    }

    /// Folds all values into one, one after another, up to the first error.
    ///
    /// # Errors
    /// The stream's own, or that of `f`; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped, cancelled or fails drops what it had folded.
    fn try_fold<T, Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        init: T,
        f: F,
    ) -> TryOrCancelled<adaptor::TryFold<Paced<Self>, Fut, T, F>>
    where
        F: FnMut(T, Self::Ok) -> Fut,
        Fut: TryFuture<Ok = T, Error = Self::Error>,
        Self: Stream<Item = Result<Self::Ok, Self::Error>> + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        TryOrCancelled::new(futures_util::TryStreamExt::try_fold(
            Paced::new(self),
            init,
            f,
        ))
    }

    /// Runs `f` with each value, one after another, up to the first error.
    ///
    /// # Errors
    /// The stream's own, or that of `f`; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops the future that `f` had made of a value.
    fn try_for_each<Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        f: F,
    ) -> TryOrCancelled<adaptor::TryForEach<Paced<Self>, Fut, F>>
    where
        F: FnMut(Self::Ok) -> Fut,
        Fut: TryFuture<Ok = (), Error = Self::Error>,
        Self: Stream<Item = Result<Self::Ok, Self::Error>> + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        TryOrCancelled::new(futures_util::TryStreamExt::try_for_each(
            Paced::new(self),
            f,
        ))
    }

    /// Sends all values into `sink`, up to the first error, and closes it.
    ///
    /// # Errors
    /// The stream's own, or the sink's; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops stream and sink, and one value may have been taken and not sent.
    fn try_forward<K>(self, cx: &Cx<impl Sized>, sink: K) -> Forward<Self, K>
    where
        K: Sink<Self::Ok, Error = Self::Error>,
        Self: Stream<Item = Result<Self::Ok, Self::Error>> + Sized,
        Self::Error: From<Cancelled>,
    {
        let _ = cx;
        Forward::new(self, sink)
    }

    /// As [`StreamExt::buffered`](crate::StreamExt::buffered), up to the first error: of the stream, or of a task.
    ///
    /// The tasks that are left are then cancelled and drained, the error is given, and the stream ends.
    /// # Panics
    /// As [`StreamExt::buffered`](crate::StreamExt::buffered).
    fn try_buffered<'a, 's, F, Fut, R, C>(
        self,
        scope: &'a Scope<'s, R, C>,
        limit: usize,
        work: F,
    ) -> Buffered<'a, 's, Self, F, OkOf<Fut>, ErrOf<Fut>, R, C>
    where
        F: Fn(Cx<C>, Self::Ok) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome<Err = Self::Error>> + Send + 'static,
        Self: Sized,
    {
        Buffered::new(self, scope, work, (limit, Order::Items, OnError::Stop))
    }

    /// As [`try_buffered`](Self::try_buffered), with the results in the order in which the tasks end.
    ///
    /// # Panics
    /// As [`StreamExt::buffered`](crate::StreamExt::buffered).
    fn try_buffer_unordered<'a, 's, F, Fut, R, C>(
        self,
        scope: &'a Scope<'s, R, C>,
        limit: usize,
        work: F,
    ) -> Buffered<'a, 's, Self, F, OkOf<Fut>, ErrOf<Fut>, R, C>
    where
        F: Fn(Cx<C>, Self::Ok) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome<Err = Self::Error>> + Send + 'static,
        Self: Sized,
    {
        Buffered::new(self, scope, work, (limit, Order::Ends, OnError::Stop))
    }

    /// Runs `work` with each value, in up to `limit` tasks at once, in a region of its own, up to the first error.
    ///
    /// # Errors
    /// The stream's own, or the first error or panic of a task; the tasks that are left are cancelled and drained.
    /// # Panics
    /// If `limit` is zero.
    /// # Cancel safety
    /// Drains: a dropped call drops the stream; its tasks are cancelled, and drained by the region around it.
    fn try_for_each_concurrent<F, Fut, C>(
        self,
        cx: &Cx<C>,
        limit: usize,
        work: F,
    ) -> impl Future<Output = Outcome<(), Self::Error>>
    where
        F: Fn(Cx<C>, Self::Ok) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome<Ok = (), Err = Self::Error>> + Send + 'static,
        Self: Stream<Item = Result<Self::Ok, Self::Error>> + Sized,
        Self::Ok: Send + 'static,
        Self::Error: Send + 'static,
        C: HasSpawn,
    {
        each(cx, self, work, (limit, Order::Ends), |()| {})
    }
}

impl<S: TryStream + ?Sized> TryStreamExt for S {}
