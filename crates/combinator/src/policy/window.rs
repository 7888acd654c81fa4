//! What the last calls came to: a sliding window over a number of calls or over time.
//!
//! Pure: time in, tallies out. Memory is bounded by the window's size.

use std::collections::VecDeque;
use std::time::Duration;

use asupersync_core::Time;

/// Over which calls a circuit breaker computes its rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// The last so many calls, 1 to 65,536.
    Calls(u32),
    /// The calls that ended within so long.
    ///
    /// Time goes on in tenths of the span: a call counts for at least nine tenths of it and at most the whole.
    Span(Duration),
}

/// How many calls ended, and how.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    pub(super) calls: u32,
    pub(super) failures: u32,
    pub(super) slow: u32,
}

impl Tally {
    pub(super) const fn one(is_failure: bool, is_slow: bool) -> Self {
        Self {
            calls: 1,
            failures: is_failure as u32,
            slow: is_slow as u32,
        }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.slow = self.slow.saturating_add(other.slow);
    }

    const fn remove(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failures = self.failures.saturating_sub(other.failures);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// A window with what it saw.
#[derive(Debug)]
pub(super) struct Sliding {
    window: Window,
    /// The oldest first; each with the tenth of time in which it was made, or 0.
    parts: VecDeque<(u64, Tally)>,
    total: Tally,
}

impl Sliding {
    pub(super) fn new(window: Window) -> Self {
        match window {
            Window::Calls(calls) => {
                assert!(
                    (1..=CALLS_MAX).contains(&calls),
                    "a window is of 1 to {CALLS_MAX} calls"
                );
            }
            Window::Span(span) => {
                assert!(span >= SPAN_MIN, "a window is of {SPAN_MIN:?} or more");
            }
        }
        Self {
            window,
            parts: VecDeque::new(),
            total: Tally::default(),
        }
    }

    pub(super) fn record(&mut self, now: Time, one: Tally) {
        self.forget(now);
        match self.window {
            Window::Calls(calls) => {
                if self.parts.len() >= calls as usize {
                    self.forget_oldest();
                }
                self.parts.push_back((0, one));
            }
            Window::Span(span) => {
                let tenth = tenth_of(now, span);
                match self.parts.back_mut() {
                    // A call whose end was taken before another's may be told after it.
                    Some((last, tally)) if *last >= tenth => tally.add(one),
                    _ => self.parts.push_back((tenth, one)),
                }
            }
        }
        self.total.add(one);
    }

    pub(super) fn tally(&mut self, now: Time) -> Tally {
        self.forget(now);
        self.total
    }

    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.total = Tally::default();
    }

    fn forget(&mut self, now: Time) {
        if let Window::Span(span) = self.window {
            let tenth = tenth_of(now, span);
            while self
                .parts
                .front()
                .is_some_and(|(old, _)| old.saturating_add(TENTHS) <= tenth)
            {
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, tally)) = self.parts.pop_front() {
            self.total.remove(tally);
        }
    }
}

fn tenth_of(now: Time, span: Duration) -> u64 {
    let tenth = u64::try_from(span.as_nanos() / u128::from(TENTHS)).unwrap_or(u64::MAX);
    now.as_nanos() / tenth.max(1)
}

const TENTHS: u64 = 10;
const CALLS_MAX: u32 = 1 << 16;
const SPAN_MIN: Duration = Duration::from_micros(10);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_forgets_in_tenths() {
        let mut sliding = Sliding::new(Window::Span(Duration::from_secs(10)));
        sliding.record(Time::from_millis(500), Tally::one(true, false));
        sliding.record(Time::from_millis(3_000), Tally::one(false, true));
        assert_eq!(sliding.tally(Time::from_millis(9_999)).calls, 2);
        assert_eq!(sliding.tally(Time::from_millis(10_000)).calls, 1);
        assert_eq!(sliding.tally(Time::from_millis(12_999)).slow, 1);
        assert_eq!(sliding.tally(Time::from_millis(13_000)), Tally::default());
    }

    proptest! {
        #[test]
        fn calls_are_the_last_so_many(
            size in 1_u32..20,
            calls in prop::collection::vec(any::<(bool, bool)>(), 0..100),
        ) {
            let mut sliding = Sliding::new(Window::Calls(size));
            for (index, (failure, slow)) in calls.iter().enumerate() {
                sliding.record(Time::ZERO, Tally::one(*failure, *slow));
                let first = (index + 1).saturating_sub(size as usize);
                let mut expected = Tally::default();
                for (failure, slow) in &calls[first..=index] {
                    expected.add(Tally::one(*failure, *slow));
                }
                prop_assert_eq!(sliding.tally(Time::ZERO), expected);
            }
        }

        #[test]
        fn a_span_holds_nine_tenths_surely_and_more_than_the_whole_never(
            steps in prop::collection::vec((0_u64..400, any::<bool>()), 0..100),
        ) {
            let span = 1_000;
            let mut sliding = Sliding::new(Window::Span(Duration::from_millis(span)));
            let mut now = 0;
            let mut failures = Vec::new();
            for (step, failure) in steps {
                now += step;
                sliding.record(Time::from_millis(now), Tally::one(failure, false));
                failures.push((now, failure));
                let within = |age| {
                    let young = failures.iter().filter(|(at, _)| now - at < age);
                    u32::try_from(young.filter(|(_, failure)| *failure).count()).unwrap()
                };
                let found = sliding.tally(Time::from_millis(now)).failures;
                prop_assert!(within(span * 9 / 10) <= found);
                prop_assert!(found <= within(span));
                prop_assert!(sliding.parts.len() <= 10);
            }
        }
    }
}
