//! Items in windows of time, which may overlap.
//!
//! The problem: what came in each stretch of time, without a timer while nothing comes, and in bounded memory.
//!
//! # Invariants
//! - Window `k` begins at `origin + k * step` and is given when its end has come; windows without items are not given.
//! - Items are held for as long as a window that is not given has them, and at most `items_max` are: then the source waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_core::Time;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::timer::{Ring, Timer};

/// How long a window of time is, how far the next is from it, and how many items may be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    size: Duration,
    step: Duration,
    items_max: usize,
}

/// Items that a [`Windows`] holds if nothing else is said.
const ITEMS_MAX: usize = 65_536;

impl Windows {
    /// Windows of `size`, one after another.
    ///
    /// # Panics
    /// If `size` is zero.
    #[must_use]
    pub fn tumbling(size: Duration) -> Self {
        Self::sliding(size, size)
    }

    /// Windows of `size`, each beginning `step` after the one before.
    ///
    /// # Panics
    /// If `step` is zero, or greater than `size`.
    #[must_use]
    pub fn sliding(size: Duration, step: Duration) -> Self {
        assert!(!step.is_zero(), "the next window is not the same");
        assert!(step <= size, "every moment is in a window");
        Self {
            size,
            step,
            items_max: ITEMS_MAX,
        }
    }

    /// Holds at most so many items, 65,536 if nothing is said; with so many the source waits for the end of a window.
    ///
    /// # Panics
    /// If `items_max` is zero.
    #[must_use]
    pub const fn items_max(mut self, items_max: usize) -> Self {
        assert!(items_max > 0, "a window holds at least one item");
        self.items_max = items_max;
        self
    }
}

/// What came in a stretch of time.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TimedWindow<T> {
    /// Its first moment.
    pub start: Time,
    /// The moment after its last.
    pub end: Time,
    /// What came, in order; never empty.
    pub items: Vec<T>,
}

pin_project! {
    /// A stream of windows of time; from [`StreamExt::window_timed`](crate::StreamExt::window_timed).
    #[must_use = "streams do nothing unless polled"]
    pub struct WindowTimed<'a, S: Stream, C> {
        #[pin]
        stream: S,
        timer: Timer<'a, C>,
        held: Held<S::Item>,
        is_done: bool,
    }
}

struct Held<T> {
    windows: Windows,
    /// The beginning of the next window to be given.
    start: Time,
    items: VecDeque<(Time, T)>,
}

impl<T> Held<T> {
    fn end(&self) -> Time {
        self.start + self.windows.size
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.windows.items_max
    }

    fn push(&mut self, now: Time, item: T) {
        if self.items.is_empty() && now >= self.end() {
            // To the first window that has this moment; what was between had no items.
            let step_ns = nanos(self.windows.step);
            let late_ns = now.as_nanos() - self.end().as_nanos();
            let steps = late_ns / step_ns + 1;
            let start_ns = self.start.as_nanos();
            self.start = Time::from_nanos(start_ns.saturating_add(steps.saturating_mul(step_ns)));
        }
        self.items.push_back((now, item));
    }

    /// The next window, if it has items; what no later window has is forgotten.
    fn close(&mut self) -> Option<TimedWindow<T>>
    where
        T: Clone,
    {
        let (start, end) = (self.start, self.end());
        self.start += self.windows.step;
        let mut items = Vec::new();
        while let Some((at, _)) = self.items.front()
            && *at < self.start
        {
            items.extend(self.items.pop_front().map(|(_, item)| item));
        }
        let shared = self.items.iter().take_while(|(at, _)| *at < end);
        items.extend(shared.map(|(_, item)| item.clone()));
        (!items.is_empty()).then_some(TimedWindow { start, end, items })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a, S: Stream, C: HasTime> WindowTimed<'a, S, C> {
    pub(crate) fn new(stream: S, cx: &'a Cx<C>, windows: Windows) -> Self {
        Self {
            stream,
            timer: Timer::new(cx),
            held: Held {
                windows,
                start: cx.now(),
                items: VecDeque::new(),
            },
            is_done: false,
        }
    }
}

impl<S: Stream<Item: Clone>, C: HasTime> Stream for WindowTimed<'_, S, C> {
    type Item = TimedWindow<S::Item>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            // First what has ended: an item that comes now belongs to a later window.
            while !this.held.items.is_empty()
                && (*this.is_done || this.timer.now() >= this.held.end())
            {
                this.timer.clear();
                if let Some(window) = this.held.close() {
                    return Poll::Ready(Some(window));
                }
            }
            if *this.is_done {
                return Poll::Ready(None);
            }
            if !this.held.is_full() {
                match this.stream.as_mut().poll_next(task) {
                    Poll::Ready(Some(item)) => {
                        this.held.push(this.timer.now(), item);
                        continue;
                    }
                    Poll::Ready(None) => {
                        *this.is_done = true;
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            if this.held.items.is_empty() {
                return Poll::Pending;
            }
            if !this.timer.is_set() {
                this.timer.set_at(this.held.end());
            }
            match this.timer.poll(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ring::Due) => {}
                Poll::Ready(Ring::Stop) => return Poll::Ready(early(this.held)),
            }
        }
    }
}

/// The next window that has items, although its end has not come.
fn early<T: Clone>(held: &mut Held<T>) -> Option<TimedWindow<T>> {
    while !held.items.is_empty() {
        if let Some(window) = held.close() {
            return Some(window);
        }
    }
    unreachable!("every item is in a window, since none begins after the end of the one before")
}
