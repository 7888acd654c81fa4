//! What can be done with every stream.
//!
//! Methods that only change items are those of `futures-util`, handed through: one import gives all, and none that starves what it holds.

use std::future::poll_fn;
use std::panic::UnwindSafe;
use std::pin::pin;
use std::time::Duration;

use asupersync_core::{Cancelled, ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_kernel::{Cx, Scope};
use futures_core::Stream;
use futures_sink::Sink;

use crate::adaptor::{self, AsOk, Buffered, BufferedOk, Paced};
use crate::buffered::{OnError, Order};
use crate::cancel::OrCancelled;
use crate::chunks_timeout::ChunksTimeout;
use crate::debounce::Debounce;
use crate::forward::Forward;
use crate::latest::ZipLatest;
use crate::partition::{self, Part, PartitionOptions};
use crate::rate::{Rate, RateLimited};
use crate::timeout_each::TimeoutEach;
use crate::window::{Window, Windowed};
use crate::window_timed::{WindowTimed, Windows};

/// The items of many streams as they come; none is passed over for longer than each other stream gives one item.
///
/// It ends when all have ended.
/// Cost: one allocation for each stream, and one for each item's way back into the line.
pub fn merge<I>(streams: I) -> adaptor::SelectAll<I::Item>
where
    I: IntoIterator<Item: Stream + Unpin>,
{
    futures_util::stream::select_all(streams)
}

/// Methods of every [`Stream`].
///
/// What waits takes `&Cx` and fails with [`Cancelled`] once the context being polled must stop.
/// Import this instead of the trait of the same name in `futures-util`, not beside it: the two share names.
pub trait StreamExt: Stream {
    /// Changes each item by `f`.
    fn map<T, F>(self, f: F) -> adaptor::Map<Self, F>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> T,
    {
        futures_util::StreamExt::map(self, f)
    }

    /// Numbers the items from 0 on.
    fn enumerate(self) -> adaptor::Enumerate<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::enumerate(self)
    }

    /// Leaves out the items that `f` does not want.
    fn filter<Fut, F>(self, f: F) -> adaptor::Filter<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(&Self::Item) -> Fut,
        Fut: Future<Output = bool>,
    {
        futures_util::StreamExt::filter(self, f)
    }

    /// Changes each item by `f`, and leaves out those for which it gives `None`.
    fn filter_map<Fut, T, F>(self, f: F) -> adaptor::FilterMap<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Option<T>>,
    {
        futures_util::StreamExt::filter_map(self, f)
    }

    /// Changes each item by the future that `f` makes of it, one after another.
    fn then<Fut, F>(self, f: F) -> adaptor::Then<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future,
    {
        futures_util::StreamExt::then(self, f)
    }

    /// Changes each item by `f`, which keeps a state; ends when it gives `None`.
    fn scan<T, B, Fut, F>(self, initial: T, f: F) -> adaptor::Scan<Self, T, Fut, F>
    where
        Self: Sized,
        F: FnMut(&mut T, Self::Item) -> Fut,
        Fut: Future<Output = Option<B>>,
    {
        futures_util::StreamExt::scan(self, initial, f)
    }

    /// Leaves out the first items, for as long as `f` says.
    fn skip_while<Fut, F>(self, f: F) -> adaptor::SkipWhile<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(&Self::Item) -> Fut,
        Fut: Future<Output = bool>,
    {
        futures_util::StreamExt::skip_while(self, f)
    }

    /// Ends before the first item that `f` does not want.
    fn take_while<Fut, F>(self, f: F) -> adaptor::TakeWhile<Self, Fut, F>
    where
        Self: Sized,
        F: FnMut(&Self::Item) -> Fut,
        Fut: Future<Output = bool>,
    {
        futures_util::StreamExt::take_while(self, f)
    }

    /// Ends when `until` does.
    fn take_until<Fut>(self, until: Fut) -> adaptor::TakeUntil<Self, Fut>
    where
        Self: Sized,
        Fut: Future,
    {
        futures_util::StreamExt::take_until(self, until)
    }

    /// Ends after `count` items.
    fn take(self, count: usize) -> adaptor::Take<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::take(self, count)
    }

    /// Leaves out the first `count` items.
    fn skip(self, count: usize) -> adaptor::Skip<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::skip(self, count)
    }

    /// Stays at its end once it is there.
    fn fuse(self) -> adaptor::Fuse<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::fuse(self)
    }

    /// Calls `f` with each item that passes.
    fn inspect<F>(self, f: F) -> adaptor::Inspect<Self, F>
    where
        Self: Sized,
        F: FnMut(&Self::Item),
    {
        futures_util::StreamExt::inspect(self, f)
    }

    /// The items of the streams that are this one's items, one stream after another.
    fn flatten(self) -> adaptor::Flatten<Self>
    where
        Self: Sized,
        Self::Item: Stream,
    {
        futures_util::StreamExt::flatten(self)
    }

    /// The items of the streams that `f` makes, one stream after another.
    fn flat_map<U, F>(self, f: F) -> adaptor::FlatMap<Self, U, F>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> U,
        U: Stream,
    {
        futures_util::StreamExt::flat_map(self, f)
    }

    /// The items of the streams that are this one's items, up to `limit` streams at once, as they come.
    fn flatten_unordered(self, limit: impl Into<Option<usize>>) -> adaptor::FlattenUnordered<Self>
    where
        Self: Sized,
        Self::Item: Stream + Unpin,
    {
        futures_util::StreamExt::flatten_unordered(self, limit)
    }

    /// Pairs of the items of both, which ends with the first to end.
    fn zip<S>(self, other: S) -> adaptor::Zip<Self, S>
    where
        Self: Sized,
        S: Stream,
    {
        futures_util::StreamExt::zip(self, other)
    }

    /// The items of `other` after its own.
    fn chain<S>(self, other: S) -> adaptor::Chain<Self, S>
    where
        Self: Sized,
        S: Stream<Item = Self::Item>,
    {
        futures_util::StreamExt::chain(self, other)
    }

    /// Begins anew whenever it ends.
    fn cycle(self) -> adaptor::Cycle<Self>
    where
        Self: Sized,
        Self: Clone,
    {
        futures_util::StreamExt::cycle(self)
    }

    /// Lets its next item be looked at; [`SinkExt::send_all`](crate::SinkExt::send_all) takes one of these.
    fn peekable(self) -> adaptor::Peekable<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::peekable(self)
    }

    /// Chunks of `count` items, the last one perhaps smaller; see [`chunks_timeout`](Self::chunks_timeout) for those that do not wait for ever.
    fn chunks(self, count: usize) -> adaptor::Chunks<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::chunks(self, count)
    }

    /// Chunks of what is there without waiting, up to `count` items.
    fn ready_chunks(self, count: usize) -> adaptor::ReadyChunks<Self>
    where
        Self: Sized,
    {
        futures_util::StreamExt::ready_chunks(self, count)
    }

    /// A panic of the stream as its last item.
    fn catch_unwind(self) -> adaptor::CatchUnwind<Self>
    where
        Self: Sized,
        Self: UnwindSafe,
    {
        futures_util::StreamExt::catch_unwind(self)
    }

    /// The stream in a box that can change threads.
    fn boxed<'a>(self) -> adaptor::BoxStream<'a, Self::Item>
    where
        Self: Sized,
        Self: Send + 'a,
    {
        futures_util::StreamExt::boxed(self)
    }

    /// The stream in a box that stays on its thread.
    fn boxed_local<'a>(self) -> adaptor::LocalBoxStream<'a, Self::Item>
    where
        Self: Sized,
        Self: 'a,
    {
        futures_util::StreamExt::boxed_local(self)
    }

    /// The items of both as they come, in turn while both have some; ends when both have.
    fn merge<S>(self, other: S) -> adaptor::Select<Self, S>
    where
        Self: Sized,
        S: Stream<Item = Self::Item>,
    {
        futures_util::stream::select(self, other)
    }

    /// Waits for the next item; `None` is the end.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Safe: the call has taken no item.
    /// # Examples
    /// ```
    /// use asupersync_core::Cancelled;
    /// use asupersync_kernel::Cx;
    /// use asupersync_stream::{Stream, StreamExt};
    /// async fn sum(cx: &Cx, mut numbers: impl Stream<Item = u32> + Unpin) -> Result<u32, Cancelled> {
    ///     let mut sum = 0;
    ///     while let Some(n) = numbers.next(cx).await? {
    ///         sum += n;
    ///     }
    ///     Ok(sum)
    /// }
    /// ```
    fn next<'a>(&'a mut self, cx: &Cx<impl Sized>) -> OrCancelled<adaptor::Next<'a, Self>>
    where
        Self: Unpin,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::next(self))
    }

    /// Collects all items.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops what it had collected.
    fn collect<B>(self, cx: &Cx<impl Sized>) -> OrCancelled<adaptor::Collect<Paced<Self>, B>>
    where
        B: Default + Extend<Self::Item>,
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::collect(Paced::new(self)))
    }

    /// Folds all items into one value, one after another.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops what it had folded.
    fn fold<T, Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        init: T,
        f: F,
    ) -> OrCancelled<adaptor::Fold<Paced<Self>, Fut, T, F>>
    where
        F: FnMut(T, Self::Item) -> Fut,
        Fut: Future<Output = T>,
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::fold(Paced::new(self), init, f))
    }

    /// Runs `f` with each item, one after another.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops the future that `f` had made of an item.
    fn for_each<Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        f: F,
    ) -> OrCancelled<adaptor::ForEach<Paced<Self>, Fut, F>>
    where
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = ()>,
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::for_each(Paced::new(self), f))
    }

    /// Counts the items, and drops them.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled forgets what it had counted.
    fn count(self, cx: &Cx<impl Sized>) -> OrCancelled<adaptor::Count<Paced<Self>>>
    where
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::count(Paced::new(self)))
    }

    /// Whether there is an item that `f` says yes to; asks no further after one.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops the items that it had asked about.
    fn any<Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        f: F,
    ) -> OrCancelled<adaptor::Any<Paced<Self>, Fut, F>>
    where
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = bool>,
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::any(Paced::new(self), f))
    }

    /// Whether `f` says yes to all items; asks no further after a no.
    ///
    /// # Errors
    /// [`Cancelled`] once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops the items that it had asked about.
    fn all<Fut, F>(
        self,
        cx: &Cx<impl Sized>,
        f: F,
    ) -> OrCancelled<adaptor::All<Paced<Self>, Fut, F>>
    where
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = bool>,
        Self: Sized,
    {
        let _ = cx;
        OrCancelled::new(futures_util::StreamExt::all(Paced::new(self), f))
    }

    /// Sends all items into `sink` and closes it.
    ///
    /// # Errors
    /// The sink's own; or `Cancelled` once the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a call that is dropped or cancelled drops stream and sink, and one item may have been taken and not sent.
    /// [`SinkExt::send_all`](crate::SinkExt::send_all) keeps both.
    fn forward<K>(self, cx: &Cx<impl Sized>, sink: K) -> Forward<AsOk<Self, K::Error>, K>
    where
        K: Sink<Self::Item, Error: From<Cancelled>>,
        Self: Sized,
    {
        let _ = cx;
        Forward::new(AsOk::new(self), sink)
    }

    /// Runs `work` with each item, in up to `limit` tasks of `scope` at once, and gives the results in the order of the items.
    ///
    /// Tasks go on while nobody polls the stream; dropping it cancels them, and the scope's region drains them.
    /// An item is taken from the source only when there is room; a result that was not taken counts.
    /// The error of a task is an item; it also counts with the scope's policy, which by default cancels the rest.
    /// A reader that must stop gets the results that are there, then `Err` of `Cancelled` once, then the end.
    /// # Shape and units
    /// `limit` counts tasks and results that were not taken, 1 at least.
    /// # Panics
    /// If `limit` is zero; and the stream, when the result of a task that panicked is asked for.
    /// # Examples
    /// ```
    /// use asupersync_core::{Cancelled, Outcome};
    /// use asupersync_kernel::Cx;
    /// use asupersync_stream::{StreamExt, TryStreamExt, iter};
    /// use std::time::Duration;
    /// # use asupersync_lab::{LabConfig, LabRuntime};
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
    ///     cx.region(async |scope| {
    ///         let squares = iter(1..=6).buffered(&scope, 3, |cx: Cx, n: u64| async move {
    ///             cx.sleep(Duration::from_secs(1)).await?;
    ///             Ok::<_, Cancelled>(n * n)
    ///         });
    ///         squares.try_collect::<Vec<u64>>(scope.cx()).await
    ///     })
    ///     .await
    /// });
    /// assert_eq!(report.outcome, Outcome::Ok(vec![1, 4, 9, 16, 25, 36]));
    /// assert_eq!(report.elapsed, Duration::from_secs(2));
    /// ```
    /// # Source
    /// The laws `I80` and `I81`.
    fn buffered<'a, 's, F, Fut, R, C>(
        self,
        scope: &'a Scope<'s, R, C>,
        limit: usize,
        work: F,
    ) -> BufferedOk<'a, 's, Self, F, Fut, R, C>
    where
        F: Fn(Cx<C>, Self::Item) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
        Self: Sized,
    {
        let rules = (limit, Order::Items, OnError::GoOn);
        Buffered::new(AsOk::new(self), scope, work, rules)
    }

    /// As [`buffered`](Self::buffered), with the results in the order in which the tasks end.
    ///
    /// # Panics
    /// As [`buffered`](Self::buffered).
    fn buffer_unordered<'a, 's, F, Fut, R, C>(
        self,
        scope: &'a Scope<'s, R, C>,
        limit: usize,
        work: F,
    ) -> BufferedOk<'a, 's, Self, F, Fut, R, C>
    where
        F: Fn(Cx<C>, Self::Item) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
        Self: Sized,
    {
        let rules = (limit, Order::Ends, OnError::GoOn);
        Buffered::new(AsOk::new(self), scope, work, rules)
    }

    /// Runs `work` with each item, in up to `limit` tasks at once, in a region of its own.
    ///
    /// # Errors
    /// The first error or panic of a task; the others are then cancelled and drained.
    /// # Panics
    /// If `limit` is zero.
    /// # Cancel safety
    /// Drains: a dropped call drops the stream; its tasks are cancelled, and drained by the region around it.
    fn for_each_concurrent<F, Fut, C>(
        self,
        cx: &Cx<C>,
        limit: usize,
        work: F,
    ) -> impl Future<Output = Outcome<(), ErrOf<Fut>>>
    where
        F: Fn(Cx<C>, Self::Item) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome<Ok = (), Err: Send + 'static>> + Send + 'static,
        Self::Item: Send + 'static,
        C: HasSpawn,
        Self: Sized,
    {
        each(cx, AsOk::new(self), work, (limit, Order::Ends), |()| {})
    }

    /// Runs `work` with each item, in up to `limit` tasks at once, in a region of its own, and gives the results in the order of the items.
    ///
    /// # Errors
    /// The first error or panic of a task; the others are then cancelled and drained.
    /// # Panics
    /// If `limit` is zero.
    /// # Cancel safety
    /// Drains: a dropped call drops the stream and the results; its tasks are cancelled, and drained by the region around it.
    fn map_concurrent<F, Fut, C>(
        self,
        cx: &Cx<C>,
        limit: usize,
        work: F,
    ) -> impl Future<Output = Outcome<Vec<OkOf<Fut>>, ErrOf<Fut>>>
    where
        F: Fn(Cx<C>, Self::Item) -> Fut + Clone + Send + 'static,
        Fut: Future<Output: IntoOutcome<Ok: Send + 'static, Err: Send + 'static>> + Send + 'static,
        Self::Item: Send + 'static,
        C: HasSpawn,
        Self: Sized,
    {
        // Each with its number, so that none waits for room behind a slow one before it.
        let source = AsOk::new(self.enumerate());
        let work = move |cx: Cx<C>, (index, item)| {
            let work = work(cx, item);
            async move { work.await.into_outcome().map(|result| (index, result)) }
        };
        async move {
            let mut results = Vec::new();
            let keep = |result| results.push(result);
            let end = each(cx, source, work, (limit, Order::Ends), keep).await;
            end.map(|()| {
                results.sort_unstable_by_key(|(index, _)| *index);
                results.into_iter().map(|(_, result)| result).collect()
            })
        }
    }

    /// Lets an item pass no sooner than `period` after the one before; none is dropped.
    ///
    /// The source is not polled meanwhile.
    /// # Panics
    /// If `period` is zero.
    fn throttle<C: HasTime>(self, cx: &Cx<C>, period: Duration) -> RateLimited<'_, Self, C>
    where
        Self: Sized,
    {
        RateLimited::new(self, cx, Rate::new(1, period))
    }

    /// Lets items pass at no more than `rate`; none is dropped.
    ///
    /// The source is not polled meanwhile.
    fn rate_limited<C: HasTime>(self, cx: &Cx<C>, rate: Rate) -> RateLimited<'_, Self, C>
    where
        Self: Sized,
    {
        RateLimited::new(self, cx, rate)
    }

    /// Gives an item once no other has come for `quiet`; one that another follows sooner is dropped, and counted.
    ///
    /// The last item before the end is given at once.
    fn debounce<C: HasTime>(self, cx: &Cx<C>, quiet: Duration) -> Debounce<'_, Self, C>
    where
        Self: Sized,
    {
        Debounce::new(self, cx, quiet)
    }

    /// Gives [`Elapsed`](crate::Elapsed) whenever no item has come for `after` since one was asked for, and goes on.
    fn timeout_each<C: HasTime>(self, cx: &Cx<C>, after: Duration) -> TimeoutEach<'_, Self, C>
    where
        Self: Sized,
    {
        TimeoutEach::new(self, cx, after)
    }

    /// Chunks of up to `items_max` items, each given at the latest `time_max` after its first item came.
    ///
    /// # Panics
    /// If `items_max` is zero.
    fn chunks_timeout<C: HasTime>(
        self,
        cx: &Cx<C>,
        items_max: usize,
        time_max: Duration,
    ) -> ChunksTimeout<'_, Self, C>
    where
        Self: Sized,
    {
        ChunksTimeout::new(self, cx, items_max, time_max)
    }

    /// Windows of a count of items, which may overlap; what is left at the end is the last window if something in it is new.
    fn window(self, window: Window) -> Windowed<Self>
    where
        Self::Item: Clone,
        Self: Sized,
    {
        Windowed::new(self, window)
    }

    /// Windows of time, which may overlap, counted from now; at the end those that have items are given at once.
    fn window_timed<C: HasTime>(self, cx: &Cx<C>, windows: Windows) -> WindowTimed<'_, Self, C>
    where
        Self::Item: Clone,
        Self: Sized,
    {
        WindowTimed::new(self, cx, windows)
    }

    /// Pairs of the latest items of both, one for each item that comes once both have given one; ends when both have.
    ///
    /// Elsewhere it is called `combine_latest`.
    fn zip_latest<S>(self, other: S) -> ZipLatest<Self, S>
    where
        Self::Item: Clone,
        S: Stream<Item: Clone>,
        Self: Sized,
    {
        ZipLatest::new(self, other)
    }

    /// Parts the stream in two: items that `is_first` says yes to, and the others.
    ///
    /// Each side holds a bounded number of items for a reader that does not take them; [`PartitionOptions`] says what comes then.
    /// The two may be read by different tasks.
    /// # Examples
    /// ```
    /// use asupersync_core::{Cancelled, Outcome};
    /// use asupersync_kernel::Cx;
    /// use asupersync_stream::{PartitionError, PartitionOptions, StreamExt, TryStreamExt, iter};
    /// # use asupersync_lab::{LabConfig, LabRuntime};
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
    ///     let (even, odd) = iter(1..=6).partition(&cx, PartitionOptions::new(8), |n| n % 2 == 0);
    ///     let even: Vec<u32> = even.try_collect(&cx).await?;
    ///     let odd: Vec<u32> = odd.try_collect(&cx).await?;
    ///     Ok::<_, PartitionError>((even, odd))
    /// });
    /// assert_eq!(report.outcome, Outcome::Ok((vec![2, 4, 6], vec![1, 3, 5])));
    /// ```
    fn partition<F, C>(
        self,
        cx: &Cx<C>,
        options: PartitionOptions,
        is_first: F,
    ) -> (Part<Self, F, C>, Part<Self, F, C>)
    where
        F: FnMut(&Self::Item) -> bool,
        Self: Sized,
    {
        partition::partition(self, cx, options, is_first)
    }
}

impl<S: Stream + ?Sized> StreamExt for S {}

/// Runs `work` with each item of `source` in a region, and hands each result to `keep`.
pub(crate) async fn each<S, I, F, Fut, C>(
    cx: &Cx<C>,
    source: S,
    work: F,
    (limit, order): (usize, Order),
    mut keep: impl FnMut(OkOf<Fut>),
) -> Outcome<(), ErrOf<Fut>>
where
    S: Stream<Item = Result<I, ErrOf<Fut>>>,
    F: Fn(Cx<C>, I) -> Fut + Clone + Send + 'static,
    I: Send + 'static,
    Fut: Future<Output: IntoOutcome<Ok: Send + 'static, Err: Send + 'static>> + Send + 'static,
    C: HasSpawn,
{
    cx.region(async |scope| {
        let rules = (limit, order, OnError::Stop);
        let mut results = pin!(Buffered::new(source, &scope, work, rules));
        loop {
            match poll_fn(|task| results.as_mut().poll_outcome(task)).await {
                None => return Outcome::Ok(()),
                Some(Outcome::Ok(result)) => keep(result),
                Some(bad) => return bad.map(drop),
            }
        }
    })
    .await
}
