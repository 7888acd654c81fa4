//! An optional adviser: what the runtime as a whole should do first.
//!
//! Every so many dispatches a worker looks at the pressure of the moment and weighs four potentials: work that waits, deadlines that are near, tasks that are being cancelled, obligations that have been open for long.
//! The greatest of the last three, if it outweighs the waiting work, becomes the advice until the next look.
//! Advice shifts turns between lanes; it never switches a streak limit off, so the dispatch bound holds with the limits that it sets.
//!
//! Deliberately absent: prediction. The advice is a function of what is seen.

use std::time::Duration;

/// What the governor sees.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pressure {
    /// Entries that wait in the ready lane.
    pub ready: usize,
    /// Entries that wait in the cancel lane: regions and tasks that are draining.
    pub draining: usize,
    /// Entries that wait in the timed lane.
    pub timed: usize,
    /// How long until the earliest deadline among them; zero if it has passed.
    pub slack: Option<Duration>,
    /// How long some obligation has been open without a moment of none.
    pub obligation_age: Duration,
}

/// What to do first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Advice {
    /// The lanes' own order.
    #[default]
    None,
    /// Tasks with deadlines go before cancelled ones.
    MeetDeadlines,
    /// Longer streaks for cancelled tasks, which give back what they hold.
    DrainObligations,
    /// Longer streaks for cancelled tasks, so that regions close.
    DrainRegions,
}

/// A deadline nearer than this presses; the nearer, the more.
const SLACK_HORIZON: Duration = Duration::from_millis(50);
/// An obligation open for longer than this presses.
const AGE_HORIZON: Duration = Duration::from_millis(500);
/// How much longer a cancel streak may be under advice to drain.
pub(crate) const DRAIN_STREAKS: u32 = 4;

/// Chooses the advice for what is seen.
///
/// # Examples
/// ```
/// use asupersync_sched::{Advice, Pressure, advise};
/// use std::time::Duration;
/// let calm = Pressure { ready: 100, ..Pressure::default() };
/// assert_eq!(advise(&calm), Advice::None);
/// let late = Pressure { timed: 20, slack: Some(Duration::ZERO), ..calm };
/// assert_eq!(advise(&late), Advice::MeetDeadlines);
/// ```
#[must_use]
pub fn advise(pressure: &Pressure) -> Advice {
    let share = |part: Duration, whole: Duration| part.as_secs_f64() / whole.as_secs_f64();
    let waiting = (1.0 + pressure.ready as f64).ln();
    let urgency = pressure
        .slack
        .map_or(0.0, |slack| 1.0 - share(slack, SLACK_HORIZON).min(1.0));
    let deadlines = urgency * (4.0 + (1.0 + pressure.timed as f64).ln());
    let regions = 1.5 * (1.0 + pressure.draining as f64).ln();
    let age = share(pressure.obligation_age, AGE_HORIZON);
    let obligations = if pressure.draining == 0 {
        0.0
    } else {
        age.min(8.0)
    };
    let choices = [
        (deadlines, Advice::MeetDeadlines),
        (obligations, Advice::DrainObligations),
        (regions, Advice::DrainRegions),
    ];
    let greatest = choices
        .into_iter()
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match greatest {
        Some((potential, advice)) if potential > waiting => advice,
        Some(_) | None => Advice::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pressure: Pressure, expected: Advice) {
        assert_eq!(advise(&pressure), expected, "{pressure:?}");
    }

    #[test]
    fn nothing_presses_when_nothing_waits() {
        check(Pressure::default(), Advice::None);
        check(
            Pressure {
                ready: 1_000,
                ..Pressure::default()
            },
            Advice::None,
        );
    }

    #[test]
    fn each_pressure_alone_gets_its_advice() {
        let base = Pressure {
            ready: 3,
            ..Pressure::default()
        };
        let (near, far) = (Duration::from_millis(5), Duration::from_secs(5));
        check(
            Pressure {
                timed: 2,
                slack: Some(near),
                ..base
            },
            Advice::MeetDeadlines,
        );
        check(
            Pressure {
                timed: 2,
                slack: Some(far),
                ..base
            },
            Advice::None,
        );
        check(
            Pressure {
                draining: 500,
                ..base
            },
            Advice::DrainRegions,
        );
        check(
            Pressure {
                draining: 2,
                obligation_age: far,
                ..base
            },
            Advice::DrainObligations,
        );
        check(
            Pressure {
                obligation_age: far,
                ..base
            },
            Advice::None,
        );
    }
}
