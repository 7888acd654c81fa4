//! Items as tasks of a region, and their results as a stream.
//!
//! The problem: futures that only the stream polls stand still while its reader is busy, with locks and connections in their hands.
//! Here each item becomes a task of a scope: it goes on whoever polls, and its region waits for it.
//!
//! # Invariants
//! - At most `limit` items are under way or wait to be taken.
//! - The source is polled by the reader of the stream, and not before there is room; so it may borrow.
//! - Dropping the stream cancels its tasks; their region drains them.
//! - A result that is there is given even to a reader that must stop; then the reader is told, and nothing more is begun.
//!
//! # Absent
//! Room for results beyond the limit: with a reader that is slower than the tasks it is the reader that bounds them.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_core::{CancelKind, Cancelled, ErrOf, IntoOutcome, OkOf, Outcome, PanicPayload};
use asupersync_kernel::{CancelWait, Cx, JoinHandle, Scope, wake_contained};
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::stop::Stop;

pin_project! {
    /// A stream whose every item is `Ok`.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct AsOk<S, E> {
        #[pin]
        stream: S,
        error: PhantomData<fn() -> E>,
    }
}

impl<S, E> AsOk<S, E> {
    pub(crate) const fn new(stream: S) -> Self {
        Self {
            stream,
            error: PhantomData,
        }
    }
}

impl<S: Stream, E> Stream for AsOk<S, E> {
    type Item = Result<S::Item, E>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project()
            .stream
            .poll_next(task)
            .map(|next| next.map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

/// In which order results are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// That of the items.
    Items,
    /// That of the tasks' ends.
    Ends,
}

/// What an error does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnError {
    /// It is an item as any other.
    GoOn,
    /// The rest is cancelled and drained before the error is given, and then the stream ends.
    Stop,
}

pin_project! {
    /// The results of tasks; from [`StreamExt::buffered`](crate::StreamExt::buffered) and its kin.
    #[must_use = "streams do nothing unless polled"]
    pub struct Buffered<'a, 's, S, F, T, E, R, C> {
        #[pin]
        source: S,
        source_is_done: bool,
        scope: &'a Scope<'s, R, C>,
        work: F,
        tasks: Tasks<T, E>,
        on_error: OnError,
        // What ended the stream, while the rest is drained.
        failed: Option<Failed<E>>,
        stop: Stop,
    }
}

/// What [`StreamExt::buffered`](crate::StreamExt::buffered) makes of a stream `S`, with tasks that run `Fut`.
pub type BufferedOk<'a, 's, S, F, Fut, R, C> =
    Buffered<'a, 's, AsOk<S, ErrOf<Fut>>, F, OkOf<Fut>, ErrOf<Fut>, R, C>;

/// An end that is no value.
enum Failed<E> {
    Err(E),
    Cancelled(Cancelled),
    Panicked(PanicPayload),
}

impl<E> Failed<E> {
    fn into_outcome<T>(self) -> Outcome<T, E> {
        match self {
            Self::Err(error) => Outcome::Err(error),
            Self::Cancelled(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
            Self::Panicked(payload) => Outcome::Panicked(payload),
        }
    }

    /// What counts if both happened: a panic before all, and a cancellation, which may follow from the other, last.
    fn worse(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Panicked(_), _) | (Self::Err(_), Self::Err(_) | Self::Cancelled(_)) => self,
            (Self::Cancelled(_), Self::Cancelled(_)) => self,
            (_, _) => other,
        }
    }
}

/// A value, or why there is none.
fn sort<T, E>(outcome: Outcome<T, E>) -> Result<T, Failed<E>> {
    match outcome {
        Outcome::Ok(value) => Ok(value),
        Outcome::Err(error) => Err(Failed::Err(error)),
        Outcome::Cancelled(reason) => Err(Failed::Cancelled(Cancelled::new(reason))),
        Outcome::Panicked(payload) => Err(Failed::Panicked(payload)),
    }
}

impl<'a, 's, S, F, T, E, R, C> Buffered<'a, 's, S, F, T, E, R, C> {
    pub(crate) fn new(
        source: S,
        scope: &'a Scope<'s, R, C>,
        work: F,
        (limit, order, on_error): (usize, Order, OnError),
    ) -> Self {
        assert!(limit > 0, "without a task nothing would go on");
        Self {
            source,
            source_is_done: false,
            scope,
            work,
            tasks: Tasks::new(limit, order),
            on_error,
            failed: None,
            stop: Stop::new(),
        }
    }
}

impl<'s, S, F, Fut, I, R, C> Buffered<'_, 's, S, F, OkOf<Fut>, ErrOf<Fut>, R, C>
where
    S: Stream<Item = Result<I, ErrOf<Fut>>>,
    F: Fn(Cx<C>, I) -> Fut + Clone + Send + 'static,
    I: Send + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
    OkOf<Fut>: Send + 'static,
    ErrOf<Fut>: Into<R> + Send + 'static,
{
    /// The next result; a cancelled reader is told once, then it is the end.
    pub(crate) fn poll_outcome(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Outcome<OkOf<Fut>, ErrOf<Fut>>>> {
        let this = self.as_mut().project();
        this.tasks.ready.know(task.waker());
        if this.failed.is_some() {
            return self.drain();
        }
        if let Err(failed) = self.as_mut().fill(task) {
            return self.fail(failed);
        }
        let this = self.as_mut().project();
        if let Some(outcome) = this.tasks.take() {
            return match (sort(outcome), *this.on_error) {
                (Ok(value), _) => Poll::Ready(Some(Outcome::Ok(value))),
                (Err(failed), OnError::GoOn) => Poll::Ready(Some(failed.into_outcome())),
                (Err(failed), OnError::Stop) => self.fail(failed),
            };
        }
        if *this.source_is_done && this.tasks.count() == 0 {
            return Poll::Ready(None);
        }
        let told = this.stop.poll(task);
        told.map(|told| told.map(|cancelled| Outcome::Cancelled(cancelled.into_reason())))
    }

    /// Begins what there is room for.
    fn fill(self: Pin<&mut Self>, task: &mut Context<'_>) -> Result<(), Failed<ErrOf<Fut>>> {
        let mut this = self.project();
        while !*this.source_is_done && this.tasks.has_room() && CancelWait::check().is_none() {
            match this.source.as_mut().poll_next(task) {
                Poll::Pending => break,
                Poll::Ready(None) => *this.source_is_done = true,
                Poll::Ready(Some(Ok(item))) => {
                    let work = this.work.clone();
                    let handle = this.scope.spawn(move |cx: Cx<C>| work(cx, item));
                    this.tasks.add(this.scope.cx(), handle);
                }
                Poll::Ready(Some(Err(error))) => return Err(Failed::Err(error)),
            }
        }
        Ok(())
    }

    fn fail(
        mut self: Pin<&mut Self>,
        failed: Failed<ErrOf<Fut>>,
    ) -> Poll<Option<Outcome<OkOf<Fut>, ErrOf<Fut>>>> {
        let this = self.as_mut().project();
        *this.failed = Some(failed);
        *this.source_is_done = true;
        this.tasks.cancel();
        self.drain()
    }

    /// Waits for the tasks that are left, also if the reader must stop: they were told.
    fn drain(self: Pin<&mut Self>) -> Poll<Option<Outcome<OkOf<Fut>, ErrOf<Fut>>>> {
        let this = self.project();
        while let Some(outcome) = this.tasks.take_any() {
            if let Err(other) = sort(outcome) {
                let failed = this.failed.take().map_or_else(
                    || unreachable!("only a failed stream is drained"),
                    |failed| failed.worse(other),
                );
                *this.failed = Some(failed);
            }
        }
        if this.tasks.count() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(this.failed.take().map(Failed::into_outcome))
    }
}

impl<S, F, Fut, I, R, C> Stream for Buffered<'_, '_, S, F, OkOf<Fut>, ErrOf<Fut>, R, C>
where
    S: Stream<Item = Result<I, ErrOf<Fut>>>,
    F: Fn(Cx<C>, I) -> Fut + Clone + Send + 'static,
    I: Send + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
    OkOf<Fut>: Send + 'static,
    ErrOf<Fut>: Into<R> + From<Cancelled> + Send + 'static,
{
    type Item = Result<OkOf<Fut>, ErrOf<Fut>>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_outcome(task).map(|next| {
            next.map(|outcome| match outcome {
                Outcome::Ok(value) => Ok(value),
                Outcome::Err(error) => Err(error),
                Outcome::Cancelled(reason) => Err(Cancelled::new(reason).into()),
                // As with a scoped thread: the panic goes on in whoever asks for the result.
                Outcome::Panicked(payload) => {
                    let message = payload.message().to_owned();
                    resume_unwind(payload.take().unwrap_or_else(|| Box::new(message)))
                }
            })
        })
    }
}

/// The tasks of a stream, by place.
struct Tasks<T, E> {
    places: Vec<Place<T, E>>,
    free: Vec<usize>,
    /// The places in the order of their items, if results are given so.
    line: VecDeque<usize>,
    ready: Arc<Ready>,
    limit: usize,
    order: Order,
}

struct Place<T, E> {
    handle: Option<JoinHandle<T, E>>,
    waker: Waker,
    mark: Arc<Mark>,
}

impl<T, E> Place<T, E> {
    /// Before its task is looked at: an end that comes from now on is told.
    fn forget_end(&self) {
        self.mark.is_queued.swap(false, Ordering::AcqRel);
    }
}

impl<T, E> Tasks<T, E> {
    fn new(limit: usize, order: Order) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            line: VecDeque::new(),
            ready: Arc::default(),
            limit,
            order,
        }
    }

    const fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    const fn has_room(&self) -> bool {
        self.count() < self.limit
    }

    fn add<C>(&mut self, cx: &Cx<C>, mut handle: JoinHandle<T, E>) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.places.len();
            let mark = Arc::new(Mark {
                index,
                is_queued: AtomicBool::new(false),
                ready: Arc::clone(&self.ready),
            });
            self.places.push(Place {
                handle: None,
                waker: Waker::from(Arc::clone(&mark)),
                mark,
            });
            index
        });
        if self.order == Order::Items {
            self.line.push_back(index);
        }
        let place = &mut self.places[index];
        // Its end wakes the place, also if the reader is cancelled meanwhile.
        let mut end = Context::from_waker(&place.waker);
        if pin!(cx.shield(handle.wait(cx))).poll(&mut end).is_ready() {
            place.waker.wake_by_ref();
        }
        place.handle = Some(handle);
    }

    /// The next result that is to be given, if it is there.
    fn take(&mut self) -> Option<Outcome<T, E>> {
        match self.order {
            Order::Ends => self.take_ended(),
            Order::Items => {
                // Which ones have ended does not matter, only that the next end is told.
                while let Some(index) = self.ready.pop() {
                    self.places[index].forget_end();
                }
                let index = *self.line.front()?;
                let outcome = self.take_at(index)?;
                self.line.pop_front();
                Some(outcome)
            }
        }
    }

    /// The result of the task that ended first, when results are given so.
    fn take_ended(&mut self) -> Option<Outcome<T, E>> {
        let index = self.ready.pop()?;
        self.places[index].forget_end();
        self.take_at(index)
    }

    /// The result of any task that has ended, in no order.
    fn take_any(&mut self) -> Option<Outcome<T, E>> {
        (0..self.places.len()).find_map(|index| self.take_at(index))
    }

    fn take_at(&mut self, index: usize) -> Option<Outcome<T, E>> {
        let place = &mut self.places[index];
        match place.handle.take()?.try_join() {
            Ok(outcome) => {
                self.free.push(index);
                Some(outcome)
            }
            Err(handle) => {
                place.handle = Some(handle);
                None
            }
        }
    }

    fn cancel(&self) {
        for place in &self.places {
            if let Some(handle) = &place.handle {
                handle.cancel_with(CancelKind::User);
            }
        }
    }
}

impl<T, E> Drop for Tasks<T, E> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The places whose tasks have ended, and who is to be told.
#[derive(Default)]
struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    ended: VecDeque<usize>,
    reader: Option<Waker>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code of the program runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<usize> {
        self.lock().ended.pop_front()
    }

    fn know(&self, waker: &Waker) {
        let is_known = self
            .lock()
            .reader
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            let old = self.lock().reader.replace(waker);
            drop(old);
        }
    }
}

/// What the end of a place's task wakes.
struct Mark {
    index: usize,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let reader = {
            let mut queue = self.ready.lock();
            queue.ended.push_back(self.index);
            queue.reader.take()
        };
        if let Some(reader) = reader {
            wake_contained(reader);
        }
    }
}
