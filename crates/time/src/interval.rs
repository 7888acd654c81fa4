//! Ticks at a steady pace.

use std::pin::Pin;
use std::time::Duration;

use asupersync_core::{Cancelled, Time};
use asupersync_kernel::caps::HasTime;
use asupersync_kernel::{Cx, Sleep};

/// What an interval does when its owner came too late for a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTick {
    /// The missed ticks come at once, one after another, until the owner has caught up.
    #[default]
    Burst,
    /// The next tick comes a whole period after the late one.
    Delay,
    /// The missed ticks are left out; the next comes at the next multiple of the period.
    Skip,
}

/// Ticks at a steady pace; from [`interval`] or [`interval_at`].
pub struct Interval<'a, C> {
    sleep: Pin<Box<Sleep<'a, C>>>,
    cx: &'a Cx<C>,
    next: Time,
    period: Duration,
    missed: MissedTick,
}

/// Ticks now, and then every `period`.
///
/// # Panics
/// If `period` is zero.
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_time::interval;
/// use std::time::Duration;
///
/// async fn heartbeat(cx: Cx) -> Result<(), Cancelled> {
///     let mut beat = interval(&cx, Duration::from_secs(1));
///     for _ in 0..3 {
///         beat.tick().await?;
///     }
///     Ok(())
/// }
/// ```
pub fn interval<C: HasTime>(cx: &Cx<C>, period: Duration) -> Interval<'_, C> {
    interval_at(cx, cx.now(), period)
}

/// Ticks at `start`, and then every `period`.
///
/// # Panics
/// If `period` is zero.
pub fn interval_at<C: HasTime>(cx: &Cx<C>, start: Time, period: Duration) -> Interval<'_, C> {
    assert!(
        !period.is_zero(),
        "an interval's period is longer than nothing"
    );
    Interval {
        sleep: Box::pin(cx.sleep_until(start)),
        cx,
        next: start,
        period,
        missed: MissedTick::Burst,
    }
}

impl<C: HasTime> Interval<'_, C> {
    /// The same interval with another way to treat missed ticks.
    #[must_use]
    pub const fn missed_tick(mut self, missed: MissedTick) -> Self {
        self.missed = missed;
        self
    }

    /// The time between two ticks.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick and gives the moment for which it was set.
    ///
    /// # Errors
    /// [`Cancelled`] if the caller must stop.
    /// # Cancel safety
    /// Safe: a tick that was not given is not lost.
    pub async fn tick(&mut self) -> Result<Time, Cancelled> {
        self.sleep.as_mut().await?;
        let tick = self.next;
        self.next = following(tick, self.cx.now(), self.period, self.missed);
        self.sleep.as_mut().reset(self.next);
        Ok(tick)
    }

    /// Starts anew: the next tick comes a period from now.
    pub fn reset(&mut self) {
        self.next = self.cx.now() + self.period;
        self.sleep.as_mut().reset(self.next);
    }
}

/// The tick after `tick`, which was given at `now`.
fn following(tick: Time, now: Time, period: Duration, missed: MissedTick) -> Time {
    let regular = tick + period;
    if regular > now {
        return regular;
    }
    match missed {
        MissedTick::Burst => regular,
        MissedTick::Delay => now + period,
        MissedTick::Skip => {
            let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
            let late_ns = now.as_nanos() - tick.as_nanos();
            let periods = late_ns / period_ns + 1;
            Time::from_nanos(
                tick.as_nanos()
                    .saturating_add(periods.saturating_mul(period_ns)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(missed: MissedTick, now: u64, expected: u64) {
        let (tick, period) = (Time::from_secs(10), Duration::from_secs(3));
        let next = following(tick, Time::from_secs(now), period, missed);
        assert_eq!(next, Time::from_secs(expected), "{missed:?} at {now}");
    }

    #[test]
    fn an_owner_in_time_gets_the_regular_tick_under_every_policy() {
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            check(missed, 10, 13);
            check(missed, 12, 13);
        }
    }

    #[test]
    fn a_late_owner_gets_what_the_policy_says() {
        check(MissedTick::Burst, 20, 13);
        check(MissedTick::Delay, 20, 23);
        check(MissedTick::Skip, 20, 22);
        check(MissedTick::Skip, 22, 25);
    }
}
