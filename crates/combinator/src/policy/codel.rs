//! When a line that has stood too long sheds who comes to its head: controlled delay.
//!
//! Pure: time and delays in, decisions out.
//! Short delays now and then are what a line is for; a delay that does not come below the target for a whole interval is a standing line, which helps nobody.

use std::time::Duration;

use asupersync_core::Time;

/// The delay that a line may have.
///
/// # Source
/// RFC 8289, *Controlled Delay Active Queue Management*, sections 4 and 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodelOptions {
    /// A delay that is fine for as long as it lasts.
    pub target: Duration,
    /// For how long the delay may be above the target before calls are shed.
    pub interval: Duration,
}

impl CodelOptions {
    /// With the delay that is fine, and for how long it may be above that.
    #[must_use]
    pub const fn new(target: Duration, interval: Duration) -> Self {
        Self { target, interval }
    }
}

/// The state of one line.
#[derive(Debug)]
pub(super) struct Codel {
    options: CodelOptions,
    /// When the delay will have been above the target for an interval.
    above_until: Option<Time>,
    shedding: Option<Shedding>,
    /// How many it shed the last time, and until when.
    last: (u32, Time),
}

#[derive(Clone, Copy, Debug)]
struct Shedding {
    next: Time,
    count: u32,
}

impl Codel {
    pub(super) const fn new(options: CodelOptions) -> Self {
        Self {
            options,
            above_until: None,
            shedding: None,
            last: (0, Time::ZERO),
        }
    }

    /// Whether who comes to the head of the line now, after `delay`, is shed.
    pub(super) fn sheds(&mut self, now: Time, delay: Duration) -> bool {
        let stands = self.stands(now, delay);
        match self.shedding {
            Some(_) if !stands => {
                self.shedding = None;
                false
            }
            Some(shedding) if now >= shedding.next => {
                let count = shedding.count.saturating_add(1);
                self.shed(shedding.next, now, count);
                true
            }
            Some(_) => false,
            None if stands => {
                // A line that stands again soon after is shed at the rate that had helped.
                let (count, ended) = self.last;
                let is_soon = now - ended < self.options.interval * 16;
                let count = if is_soon && count > 2 { count - 2 } else { 1 };
                self.shed(now, now, count);
                true
            }
            None => false,
        }
    }

    /// Whether the delay has been above the target for an interval.
    fn stands(&mut self, now: Time, delay: Duration) -> bool {
        if delay < self.options.target {
            self.above_until = None;
            return false;
        }
        let until = *self.above_until.get_or_insert(now + self.options.interval);
        now >= until
    }

    fn shed(&mut self, due: Time, now: Time, count: u32) {
        // The control law: the n-th comes after the interval divided by the root of n.
        let pause = self.options.interval.div_f64(f64::from(count).sqrt());
        self.shedding = Some(Shedding {
            next: due + pause,
            count,
        });
        self.last = (count, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn codel() -> Codel {
        Codel::new(CodelOptions::new(MS * 5, MS * 100))
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_burst_within_the_interval_is_not_shed() {
        let mut codel = codel();
        assert!((0..100).all(|now| !codel.sheds(at(now), MS * 50)));
        assert!(!codel.sheds(at(100), MS * 4), "the line was short once");
        assert!((101..201).all(|now| !codel.sheds(at(now), MS * 50)));
    }

    #[test]
    fn a_standing_line_is_shed_ever_more_often_until_it_is_short() {
        let mut codel = codel();
        let shed: Vec<u64> = (0..400)
            .filter(|now| codel.sheds(at(*now), MS * 9))
            .collect();
        // 100, then after 100, 100/√2, 100/√3, 100/√4 ..
        assert_eq!(shed, [100, 200, 271, 329, 379]);
        assert!(!codel.sheds(at(400), MS));
        assert!(!codel.sheds(at(401), MS * 9));
    }

    proptest! {
        #[test]
        fn below_the_target_nothing_is_shed(
            calls in prop::collection::vec((0_u64..50, 0_u32..12), 0..300),
        ) {
            let (mut codel, mut now) = (codel(), 0);
            for (step, delay) in calls {
                now += step;
                let is_shed = codel.sheds(at(now), MS * delay);
                prop_assert!(!is_shed || delay >= 5);
            }
        }
    }
}
