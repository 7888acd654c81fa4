//! Streams written as async code.
//!
//! The problem: a stream by hand is a state machine; an async body is one already.
//! The body is given a [`Yielder`], whose `yield_` puts an item into a slot and waits until the stream has handed it out.
//!
//! # Invariants
//! - The slot holds at most one item, and the body goes on only when it was taken.
//! - Items are given in the order of their yields, each once; the last ones before the stream ends.
//! - One allocation for a stream, none for an item.
//!
//! # Absent
//! A macro: `yield` is a reserved word, which no macro by example can give a meaning.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use asupersync_kernel::wake_contained;
use futures_core::Stream;
use pin_project_lite::pin_project;

/// A stream of what `body` yields; it ends when the body does.
///
/// The body runs within the polls of the stream: nothing of it happens while nobody asks for an item.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{StreamExt, generate};
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// # let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
/// let fibonacci = generate(async |mut out| {
///     let (mut a, mut b) = (0, 1);
///     loop {
///         out.yield_(a).await;
///         (a, b) = (b, a + b);
///     }
/// });
/// let first: Vec<u32> = fibonacci.take(8).collect(&cx).await?;
/// assert_eq!(first, [0, 1, 1, 2, 3, 5, 8, 13]);
/// # Ok::<(), Cancelled>(())
/// # });
/// # assert_eq!(report.outcome, Outcome::Ok(()));
/// ```
pub fn generate<T, F, Fut>(body: F) -> Generate<T, Fut>
where
    F: FnOnce(Yielder<T>) -> Fut,
    Fut: Future<Output = ()>,
{
    let slot = Arc::new(Slot::default());
    let yielder = Yielder {
        slot: Arc::clone(&slot),
    };
    Generate {
        body: Some(body(yielder)),
        ended: Ended { slot, end: None },
    }
}

/// A stream of what `body` yields, each as `Ok`; if the body fails, its error is the last item.
///
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{TryStreamExt, try_generate};
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let ticks = try_generate(async |mut out| {
///         for n in 0..3 {
///             cx.sleep(Duration::from_secs(1)).await?;
///             out.yield_(n).await;
///         }
///         Ok::<(), Cancelled>(())
///     });
///     ticks.try_collect::<Vec<u32>>(&cx).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(vec![0, 1, 2]));
/// assert_eq!(report.elapsed, Duration::from_secs(3));
/// ```
pub fn try_generate<T, E, F, Fut>(body: F) -> TryGenerate<T, Fut>
where
    F: FnOnce(Yielder<T>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let slot = Arc::new(Slot::default());
    let yielder = Yielder {
        slot: Arc::clone(&slot),
    };
    TryGenerate {
        body: Some(body(yielder)),
        ended: Ended { slot, end: None },
    }
}

/// Gives items to the stream whose body has it.
///
/// A yielder that outlives its body gives them to nobody: they are dropped.
pub struct Yielder<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Yielder<T> {
    /// Gives `item` to the stream and waits until it was handed out.
    ///
    /// # Cancel safety
    /// Lossy: a dropped call that was never polled drops the item; once polled, the stream gives it all the same.
    pub fn yield_(&mut self, item: T) -> Yield<'_, T> {
        Yield {
            slot: &self.slot,
            item: Some(item),
        }
    }
}

/// Waits until an item was handed out; from [`Yielder::yield_`].
///
/// # Cancel safety
/// Lossy: as [`Yielder::yield_`].
#[must_use = "futures do nothing unless polled"]
pub struct Yield<'a, T> {
    slot: &'a Slot<T>,
    item: Option<T>,
}

/// The item is moved, never pinned.
impl<T> Unpin for Yield<'_, T> {}

impl<T> Future for Yield<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let waker = task.waker().clone();
        let (polled, old) = this.slot.put(&mut this.item, waker);
        drop(old);
        if polled.is_pending() {
            // If the yielder was taken elsewhere, nobody else tells the stream.
            this.slot.wake_reader(task.waker());
        } else {
            // Given, or left over because nobody takes it any more.
            drop(this.item.take());
        }
        polled
    }
}

struct Slot<T>(Mutex<Inner<T>>);

struct Inner<T> {
    item: Option<T>,
    /// Who waits until the item was taken.
    writer: Option<Waker>,
    /// Who waits for the stream.
    reader: Option<Waker>,
    is_over: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            item: None,
            writer: None,
            reader: None,
            is_over: false,
        }))
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // No code of the program runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the item in if there is room; ready once it was in and is out again.
    fn put(&self, item: &mut Option<T>, waker: Waker) -> (Poll<()>, Option<Waker>) {
        let mut inner = self.lock();
        if inner.is_over {
            return (Poll::Ready(()), Some(waker));
        }
        if inner.item.is_none() {
            if item.is_none() {
                return (Poll::Ready(()), Some(waker));
            }
            inner.item = item.take();
        }
        (Poll::Pending, inner.writer.replace(waker))
    }

    fn wake_reader(&self, writer: &Waker) {
        let reader = self.lock().reader.take();
        // Within the stream's own poll the item is found right after.
        if let Some(reader) = reader
            && !reader.will_wake(writer)
        {
            wake_contained(reader);
        }
    }

    /// Takes the item; the body's waker is woken if it is not the stream's own.
    fn take(&self, reader: &Waker) -> Option<T> {
        let (item, writer) = {
            let mut inner = self.lock();
            let item = inner.item.take()?;
            (item, inner.writer.take())
        };
        if let Some(writer) = writer
            && !writer.will_wake(reader)
        {
            wake_contained(writer);
        }
        Some(item)
    }

    fn know_reader(&self, waker: &Waker) {
        let waker = waker.clone();
        let old = self.lock().reader.replace(waker);
        drop(old);
    }

    /// Ends it: what is still in it is given, and nothing more taken in.
    fn end(&self) {
        let writer = {
            let mut inner = self.lock();
            inner.is_over = true;
            inner.writer.take()
        };
        if let Some(writer) = writer {
            wake_contained(writer);
        }
    }
}

/// The body, and what it left.
struct Ended<T, O> {
    slot: Arc<Slot<T>>,
    /// The body's end, while an item that it left is given first.
    end: Option<O>,
}

impl<T, O> Ended<T, O> {
    /// Polls the body for its next item, or once for its end.
    fn poll<Fut: Future<Output = O>>(
        &mut self,
        mut body: Pin<&mut Option<Fut>>,
        task: &mut Context<'_>,
    ) -> Poll<Result<T, Option<O>>> {
        if let Some(item) = self.slot.take(task.waker()) {
            return Poll::Ready(Ok(item));
        }
        let Some(running) = body.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(self.end.take()));
        };
        self.slot.know_reader(task.waker());
        if let Poll::Ready(end) = running.poll(task) {
            self.end = Some(end);
            body.set(None);
            self.slot.end();
        }
        match self.slot.take(task.waker()) {
            Some(item) => Poll::Ready(Ok(item)),
            None if self.end.is_some() => Poll::Ready(Err(self.end.take())),
            None => Poll::Pending,
        }
    }
}

impl<T, O> Drop for Ended<T, O> {
    fn drop(&mut self) {
        self.slot.end();
    }
}

pin_project! {
    /// What a body yields; from [`generate`].
    #[must_use = "streams do nothing unless polled"]
    pub struct Generate<T, Fut: Future> {
        #[pin]
        body: Option<Fut>,
        ended: Ended<T, Fut::Output>,
    }
}

impl<T, Fut: Future<Output = ()>> Stream for Generate<T, Fut> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        this.ended.poll(this.body, task).map(Result::ok)
    }
}

pin_project! {
    /// What a body yields, and its error; from [`try_generate`].
    #[must_use = "streams do nothing unless polled"]
    pub struct TryGenerate<T, Fut: Future> {
        #[pin]
        body: Option<Fut>,
        ended: Ended<T, Fut::Output>,
    }
}

impl<T, E, Fut: Future<Output = Result<(), E>>> Stream for TryGenerate<T, Fut> {
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        this.ended.poll(this.body, task).map(|next| match next {
            Ok(item) => Some(Ok(item)),
            Err(Some(Err(error))) => Some(Err(error)),
            Err(Some(Ok(())) | None) => None,
        })
    }
}
