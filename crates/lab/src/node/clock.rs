//! What time of day a simulated machine believes it is.
//!
//! # How
//! A clock is a line over the lab's time: how far it is ahead at one moment, and how much it gains from there.
//! Only the time of day is wrong: deadlines and sleeps count on the lab's time, as in production they count on a clock that nobody sets.

use std::time::{Duration, SystemTime};

use asupersync_core::Time;
use asupersync_kernel::{Event, Subject};

use super::{CLOCK_STEP, LabNode, NodeId, Place};
use crate::faults::{Faults, PARTS, part_of};
use crate::host::LabHost;

/// How a machine's time of day differs from the lab's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    since: Time,
    /// Nanoseconds, at that moment; negative if it is behind.
    ahead: i128,
    /// Of each second, in microseconds.
    gain: i32,
}

impl Clock {
    pub(super) const TRUE: Self = Self {
        since: Time::ZERO,
        ahead: 0,
        gain: 0,
    };

    fn ahead(self, now: Time) -> i128 {
        let elapsed = i128::from(now.as_nanos().saturating_sub(self.since.as_nanos()));
        self.ahead + elapsed * i128::from(self.gain) / 1_000_000
    }

    fn step(&mut self, by: i128) {
        self.ahead = self.ahead.saturating_add(by);
    }

    fn drift(&mut self, now: Time, gain: i32) {
        *self = Self {
            since: now,
            ahead: self.ahead(now),
            gain,
        };
    }

    /// The time of day, if the lab's began at `start`; where a [`SystemTime`] ends, it stands still.
    fn read(self, start: SystemTime, now: Time) -> SystemTime {
        let since_start = i128::from(now.as_nanos()) + self.ahead(now);
        let distance = duration(since_start.unsigned_abs());
        let time = match since_start {
            0.. => start.checked_add(distance),
            _ => start.checked_sub(distance),
        };
        time.unwrap_or(start)
    }
}

/// So many nanoseconds, or the longest time there is.
fn duration(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match u64::try_from(nanos / SECOND) {
        Ok(seconds) => Duration::new(seconds, (nanos % SECOND) as u32),
        Err(_) => Duration::MAX,
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

impl LabNode {
    /// Its time of day goes forward by so much, at once.
    ///
    /// What it sleeps for and its deadlines stay what they are; see [`Cx::wall_now`](asupersync_kernel::Cx::wall_now).
    ///
    /// # Examples
    /// ```
    /// use asupersync_core::Cancelled;
    /// use asupersync_kernel::Scope;
    /// use asupersync_lab::{LabConfig, LabNode, LabRuntime};
    /// use std::time::Duration;
    ///
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
    ///     let late = LabNode::new(&cx, "late", [10, 0, 0, 1]);
    ///     late.clock_back(Duration::from_secs(60));
    ///     cx.region(async |scope: Scope<'_, Cancelled>| {
    ///         let cx = scope.cx();
    ///         let there = late.start(&scope, async |cx| Ok::<_, Cancelled>(cx.wall_now()));
    ///         let there = there.join(cx).await.ok().expect("nothing stops it");
    ///         assert_eq!(cx.wall_now(), there + Duration::from_secs(60));
    ///         Ok::<_, Cancelled>(())
    ///     })
    ///     .await
    /// });
    /// report.assert_clean();
    /// assert!(report.outcome.is_ok());
    /// ```
    pub fn clock_forward(&self, by: Duration) {
        self.set_clock(|clock, _| clock.step(nanos(by)));
    }

    /// Its time of day goes back by so much, at once.
    pub fn clock_back(&self, by: Duration) {
        self.set_clock(|clock, _| clock.step(-nanos(by)));
    }

    /// From now on its time of day gains so many microseconds each second, and with a negative number loses them.
    ///
    /// # Panics
    /// If it loses a second or more each second.
    pub fn clock_drift(&self, microseconds: i32) {
        assert!(microseconds > -1_000_000, "a clock does not run backwards");
        self.set_clock(|clock, now| clock.drift(now, microseconds));
    }

    fn set_clock(&self, change: impl FnOnce(&mut Clock, Time)) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        let now = asupersync_kernel::Host::now(&*host);
        let resource = host.with_nodes(|book, _| {
            let node = book.get(self.id);
            change(&mut node.clock, now);
            node.clock_number
        });
        host.injected(None, CLOCK_STEP);
        tell(&host, resource, "clock.set");
    }
}

fn tell(host: &LabHost, resource: u64, operation: &'static str) {
    use asupersync_kernel::Host;
    if host.config().record {
        host.record(Event::Operation {
            subject: None,
            resource,
            name: operation.into(),
        });
    }
}

impl LabHost {
    /// The time of day where the process runs that runs now.
    pub(crate) fn wall_clock(&self, start: SystemTime, now: Time) -> SystemTime {
        let place = self.place();
        let found = self.with_nodes(|book, _| {
            let node = book.node(place.node)?;
            Some((node.clock, node.clock_number))
        });
        let Some((clock, resource)) = found else {
            return Clock::TRUE.read(start, now);
        };
        tell(self, resource, "clock.read");
        clock.read(start, now)
    }

    /// Decides how wrong the clock of a new node is: not at all, or ahead or behind by a part of the most.
    pub(super) fn skew_clock(&self, node: NodeId) {
        let max = self.clock_skew();
        if !max.is_zero() {
            let by = part_of_step(max, self.decide_by(WAYS + 1, |rng| rng.u32(..=WAYS)));
            self.with_nodes(|book, _| book.get(node).clock.step(by));
        }
    }

    /// Asks whether the clock of a node is set wrong now, if it is one.
    pub(crate) fn may_step_clock(&self, faults: &Faults, place: Place, subject: Option<Subject>) {
        if place == Place::NOWHERE {
            return;
        }
        let way = self.fault(faults.clock_step, WAYS);
        if way == 0 {
            return;
        }
        let by = part_of_step(faults.clock_step_max, way);
        self.with_nodes(|book, _| book.get(place.node).clock.step(by));
        self.injected(subject, CLOCK_STEP);
    }
}

/// The smaller numbers are forward, the others back.
fn part_of_step(max: Duration, way: u32) -> i128 {
    match way {
        0..=PARTS => nanos(part_of(max, way)),
        _ => -nanos(part_of(max, way - PARTS)),
    }
}

/// How many ways there are to be wrong.
const WAYS: u32 = 2 * PARTS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_clock_that_is_set_goes_on_from_there() {
        let mut clock = Clock::TRUE;
        clock.step(nanos(Duration::from_secs(5)));
        let read = |clock: Clock, seconds| clock.read(START, Time::from_secs(seconds));
        assert_eq!(read(clock, 10), START + Duration::from_secs(15));
        clock.drift(Time::from_secs(10), -100_000);
        assert_eq!(read(clock, 10), START + Duration::from_secs(15));
        assert_eq!(read(clock, 20), START + Duration::from_secs(24));
        clock.drift(Time::from_secs(20), 0);
        clock.step(-nanos(Duration::from_secs(4)));
        assert_eq!(read(clock, 20), START + Duration::from_secs(20));
        assert_eq!(read(clock, 30), START + Duration::from_secs(30));
    }

    #[test]
    fn ways_to_be_wrong_go_forward_and_back_by_up_to_the_most() {
        let max = Duration::from_secs(8);
        let second = nanos(Duration::from_secs(1));
        let steps: Vec<i128> = (0..=WAYS)
            .map(|way| part_of_step(max, way) / second)
            .collect();
        assert_eq!(
            steps,
            [0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8]
        );
    }

    proptest! {
        #[test]
        fn no_clock_fails_or_runs_backwards(
            steps in prop::collection::vec((any::<i64>(), -999_999_i32..), 0..8),
            seconds in prop::collection::vec(0..u32::MAX, 1..8),
        ) {
            let mut clock = Clock::TRUE;
            let mut now = Time::ZERO;
            for (by, gain) in steps {
                clock.step(i128::from(by));
                clock.drift(now, gain);
                now += Duration::from_secs(1);
            }
            let mut last = clock.read(START + Duration::from_secs(1 << 40), now);
            for second in seconds {
                now += Duration::from_secs(u64::from(second));
                let next = clock.read(START + Duration::from_secs(1 << 40), now);
                prop_assert!(next >= last);
                last = next;
            }
        }
    }
}
