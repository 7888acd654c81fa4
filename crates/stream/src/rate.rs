//! Items at no more than a given rate.
//!
//! The problem: a source gives faster than somebody behind it may be asked.
//! Nothing is dropped: the source is not polled until its next item may pass.
//!
//! # Invariants
//! - In every span of time `t` at most `burst + t / period` items pass, as the generic cell rate algorithm says (ITU-T I.371).
//! - No item is held: the wait comes before the source is polled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use asupersync_core::Time;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasTime;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::timer::Timer;

/// How many items may pass in which time.
///
/// # Examples
/// ```
/// use asupersync_stream::Rate;
/// use std::time::Duration;
/// // A hundred a second, up to ten at once.
/// let rate = Rate::new(100, Duration::from_secs(1)).burst(10);
/// assert_eq!(rate.period(), Duration::from_millis(10));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    period: Duration,
    burst: u32,
}

impl Rate {
    /// `items` in each `time`, one after another.
    ///
    /// # Panics
    /// If `items` is zero, or the time for one item is less than a nanosecond.
    #[must_use]
    pub fn new(items: u32, time: Duration) -> Self {
        assert!(items > 0, "a rate of no items would never let one pass");
        let period = time / items;
        assert!(!period.is_zero(), "a rate has a time for each item");
        Self { period, burst: 1 }
    }

    /// Lets so many items pass at once, after a time in which none did.
    ///
    /// # Panics
    /// If `items` is zero.
    #[must_use]
    pub const fn burst(mut self, items: u32) -> Self {
        assert!(items > 0, "a burst of no items would never let one pass");
        self.burst = items;
        self
    }

    /// The time for one item.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }
}

pin_project! {
    /// A stream at no more than a rate; from [`StreamExt::rate_limited`](crate::StreamExt::rate_limited).
    #[must_use = "streams do nothing unless polled"]
    pub struct RateLimited<'a, S, C> {
        #[pin]
        stream: S,
        timer: Timer<'a, C>,
        rate: Rate,
        // When the next item would pass if they came evenly: the theoretical arrival time.
        even: Time,
    }
}

impl<'a, S, C: HasTime> RateLimited<'a, S, C> {
    pub(crate) fn new(stream: S, cx: &'a Cx<C>, rate: Rate) -> Self {
        Self {
            stream,
            timer: Timer::new(cx),
            rate,
            even: cx.now(),
        }
    }
}

impl<S: Stream, C: HasTime> Stream for RateLimited<'_, S, C> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.timer.is_set() {
            ready!(this.timer.poll(task));
        }
        let item = ready!(this.stream.poll_next(task));
        if item.is_some() {
            let now = this.timer.now();
            *this.even = now.max(*this.even) + this.rate.period;
            let slack = this.rate.period.saturating_mul(this.rate.burst - 1);
            if this.even.saturating_since(now) > slack {
                this.timer
                    .set(this.even.saturating_since(now).saturating_sub(slack));
            }
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
