//! Two streams from one.
//!
//! The problem: each item of a source belongs to one of two readers, and the readers do not go at the same pace.
//! Whoever asks polls the source for both, and keeps what belongs to the other in a bounded buffer.
//!
//! # When the other's buffer is full
//! [`WhenFull::Lag`]: the oldest item in it is dropped, and its reader is told how many it missed; nobody ever waits for a reader that does not come.
//! [`WhenFull::Wait`]: the source is not polled until there is room; a program that reads only one side waits for ever, and so this is for two readers in tasks of their own.
//!
//! # Invariants
//! - Items in = given + buffered + missed + dropped with a side that has gone.
//! - A side holds at most `capacity` items, in order.
//! - The source is polled by one side at a time, without a lock, and wakes both.
//! - Each side looks by itself whether its context must stop: the source is polled behind a shield, so a cancelled side ends nothing for the other.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, wake_contained};
use futures_core::Stream;

use crate::pace::ROW_MAX;
use crate::stop::Stop;

/// What happens to an item for a side that does not take its items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenFull {
    /// The oldest item of that side is dropped, which that side is told.
    #[default]
    Lag,
    /// The other side waits.
    Wait,
}

/// How a stream is parted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOptions {
    capacity: usize,
    when_full: WhenFull,
}

impl PartitionOptions {
    /// Keeps at most `capacity` items for each side; see [`WhenFull`] for what comes after that.
    ///
    /// # Panics
    /// If `capacity` is zero.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a side that is not asked must hold an item");
        Self {
            capacity,
            when_full: WhenFull::Lag,
        }
    }

    /// Says what happens when a side is full.
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }
}

/// Why a side gave no item.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Items of this side were dropped, because it did not take them; it goes on with the oldest that is kept.
    #[error("this side fell behind and missed {missed} items")]
    Lagged {
        /// How many, exactly.
        missed: u64,
    },
    /// The context had to stop.
    #[error("cancelled while waiting for an item")]
    Cancelled(#[from] Cancelled),
}

/// One of the two streams; from [`StreamExt::partition`](crate::StreamExt::partition).
#[must_use = "streams do nothing unless polled"]
pub struct Part<S: Stream, F, C> {
    shared: Arc<Shared<S, F, C>>,
    side: usize,
    stop: Stop,
}

struct Shared<S: Stream, F, C> {
    cx: Cx<C>,
    options: PartitionOptions,
    bell: Arc<Bell>,
    state: Mutex<State<S, F>>,
}

struct State<S: Stream, F> {
    /// Away while a side polls it.
    source: Option<Box<Source<S, F>>>,
    is_done: bool,
    sides: [Side<S::Item>; 2],
}

struct Source<S, F> {
    stream: Pin<Box<S>>,
    is_first: F,
}

struct Side<T> {
    items: VecDeque<T>,
    missed: u64,
    is_gone: bool,
    /// Whether it came while the source was away.
    wants_turn: bool,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            missed: 0,
            is_gone: false,
            wants_turn: false,
        }
    }
}

/// The wakers of both sides, behind the one that the source knows.
#[derive(Default)]
struct Bell([Mutex<Option<Waker>>; 2]);

impl Bell {
    fn know(&self, side: usize, waker: &Waker) {
        let is_known = lock(&self.0[side])
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            let old = lock(&self.0[side]).replace(waker);
            drop(old);
        }
    }

    fn ring(&self, side: usize) {
        let waker = lock(&self.0[side]).take();
        if let Some(waker) = waker {
            wake_contained(waker);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(0);
        self.ring(1);
    }
}

pub(crate) fn partition<S, F, C>(
    stream: S,
    cx: &Cx<C>,
    options: PartitionOptions,
    is_first: F,
) -> (Part<S, F, C>, Part<S, F, C>)
where
    S: Stream,
{
    let source = Source {
        stream: Box::pin(stream),
        is_first,
    };
    let shared = Arc::new(Shared {
        cx: cx.clone(),
        options,
        bell: Arc::default(),
        state: Mutex::new(State {
            source: Some(Box::new(source)),
            is_done: false,
            sides: [Side::default(), Side::default()],
        }),
    });
    let part = |side| Part {
        shared: Arc::clone(&shared),
        side,
        stop: Stop::new(),
    };
    (part(0), part(1))
}

/// The source in the hands of one side; it goes back however the poll ends.
struct Turn<'t, S: Stream, F, C> {
    shared: &'t Shared<S, F, C>,
    side: usize,
    source: Option<Box<Source<S, F>>>,
}

impl<S: Stream, F, C> Drop for Turn<'_, S, F, C> {
    fn drop(&mut self) {
        let other = 1 - self.side;
        let wants_turn = {
            let mut state = lock(&self.shared.state);
            state.source = self.source.take();
            // A source that panicked is not polled again.
            state.is_done |= std::thread::panicking();
            let is_done = state.is_done;
            std::mem::take(&mut state.sides[other].wants_turn) || is_done
        };
        if wants_turn {
            self.shared.bell.ring(other);
        }
    }
}

/// What a side does next.
enum Step<'t, S: Stream, F, C> {
    Give(Option<Result<S::Item, PartitionError>>),
    Wait,
    Poll(Turn<'t, S, F, C>),
}

impl<S: Stream, F: FnMut(&S::Item) -> bool, C> Shared<S, F, C> {
    fn step(&self, side: usize) -> Step<'_, S, F, C> {
        let mut state = lock(&self.state);
        let State {
            source,
            is_done,
            sides,
        } = &mut *state;
        let capacity = self.options.capacity;
        if sides[side].missed > 0 {
            let missed = std::mem::take(&mut sides[side].missed);
            return Step::Give(Some(Err(PartitionError::Lagged { missed })));
        }
        if let Some(item) = sides[side].items.pop_front() {
            let made_room = sides[side].items.len() + 1 == capacity;
            drop(state);
            if made_room && self.options.when_full == WhenFull::Wait {
                self.bell.ring(1 - side);
            }
            return Step::Give(Some(Ok(item)));
        }
        if *is_done {
            return Step::Give(None);
        }
        let other = &sides[1 - side];
        let must_wait = self.options.when_full == WhenFull::Wait && other.items.len() == capacity;
        if must_wait && !other.is_gone {
            return Step::Wait;
        }
        match source.take() {
            Some(source) => Step::Poll(Turn {
                shared: self,
                side,
                source: Some(source),
            }),
            None => {
                sides[side].wants_turn = true;
                Step::Wait
            }
        }
    }

    /// Polls the source once; an item of this side is given, one of the other's kept.
    fn turn(&self, mut turn: Turn<'_, S, F, C>) -> Poll<Option<Option<S::Item>>> {
        let source = turn.source.as_mut().expect("a turn has the source");
        let waker = Waker::from(Arc::clone(&self.bell));
        let stream = &mut source.stream;
        let next = std::future::poll_fn(|task| stream.as_mut().poll_next(task));
        let next = pin!(self.cx.shield(next)).poll(&mut Context::from_waker(&waker));
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                lock(&self.state).is_done = true;
                Poll::Ready(Some(None))
            }
            Poll::Ready(Some(item)) => {
                let side = usize::from(!(source.is_first)(&item));
                if side == turn.side {
                    return Poll::Ready(Some(Some(item)));
                }
                let dropped = self.keep(side, item);
                drop(dropped);
                self.bell.ring(side);
                Poll::Ready(None)
            }
        }
    }

    /// Keeps an item for a side; gives the one that has no room any more.
    fn keep(&self, side: usize, item: S::Item) -> Option<S::Item> {
        let mut state = lock(&self.state);
        let side = &mut state.sides[side];
        if side.is_gone {
            return Some(item);
        }
        side.items.push_back(item);
        if side.items.len() > self.options.capacity {
            side.missed += 1;
            return side.items.pop_front();
        }
        None
    }
}

impl<S: Stream, F: FnMut(&S::Item) -> bool, C> Stream for Part<S, F, C> {
    type Item = Result<S::Item, PartitionError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(told) = self.stop.poll(task) {
            return Poll::Ready(told.map(|cancelled| Err(cancelled.into())));
        }
        let shared = &self.shared;
        shared.bell.know(self.side, task.waker());
        for _ in 0..ROW_MAX {
            match shared.step(self.side) {
                Step::Give(item) => return Poll::Ready(item),
                Step::Wait => return Poll::Pending,
                Step::Poll(turn) => match shared.turn(turn) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(item)) => return Poll::Ready(item.map(Ok)),
                    Poll::Ready(None) => {}
                },
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Stream, F, C> Drop for Part<S, F, C> {
    fn drop(&mut self) {
        let dropped = {
            let mut state = lock(&self.shared.state);
            let side = &mut state.sides[self.side];
            side.is_gone = true;
            std::mem::take(&mut side.items)
        };
        drop(dropped);
        // It may wait for room here.
        self.shared.bell.ring(1 - self.side);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of the program runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
