//! How long a segment is under way.
//!
//! What is drawn is a step on a scale and not a time: a small number that a schedule can hold, and 0 is the shortest time.

use std::time::Duration;

/// How long segments are under way.
///
/// # Examples
/// ```
/// use asupersync_lab::{Latency, NetConfig};
/// use std::time::Duration;
/// let ms = Duration::from_millis;
/// // Half a millisecond, another one in the mean, and now and then many.
/// let near = Latency::exponential(ms(1) / 2, ms(1), ms(20));
/// assert_eq!(near.shortest(), ms(1) / 2);
/// assert_eq!(near.longest(), ms(20));
/// let net = NetConfig::default().latency(near);
/// assert_eq!(Latency::from(ms(3)), Latency::fixed(ms(3)));
/// # let _ = net;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    shortest: Duration,
    /// What one step of the scale adds.
    step: Duration,
    steps: u32,
    longest: Duration,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Each step is as likely as any other.
    Uniform,
    /// Each further step is taken with a chance of 7 in 8.
    Exponential,
}

impl Latency {
    /// Always the same.
    #[must_use]
    pub const fn fixed(time: Duration) -> Self {
        Self {
            shortest: time,
            step: Duration::ZERO,
            steps: 0,
            longest: time,
            shape: Shape::Uniform,
        }
    }

    /// Between these two, each with equal chance, in sixteenths of what lies between them.
    ///
    /// # Panics
    /// If the longest is shorter than the shortest.
    #[must_use]
    pub fn uniform(shortest: Duration, longest: Duration) -> Self {
        assert!(
            shortest <= longest,
            "the longest latency, {longest:?}, is below the shortest, {shortest:?}"
        );
        let step = (longest - shortest) / UNIFORM_STEPS;
        Self {
            shortest,
            step,
            steps: if step.is_zero() { 0 } else { UNIFORM_STEPS },
            longest,
            shape: Shape::Uniform,
        }
    }

    /// The shortest and, on top of it, so much more in the mean, with a long tail that is cut at the longest.
    ///
    /// The times are in sevenths of that mean: their distribution is geometric, the exponential's counterpart on a scale of steps, and is drawn with whole numbers only, so it is the same on every machine.
    ///
    /// # Panics
    /// If the longest is shorter than the shortest.
    #[must_use]
    pub fn exponential(shortest: Duration, mean_more: Duration, longest: Duration) -> Self {
        assert!(
            shortest <= longest,
            "the longest latency, {longest:?}, is below the shortest, {shortest:?}"
        );
        let step = mean_more / MEAN_STEPS;
        let fit = (longest - shortest)
            .as_nanos()
            .checked_div(step.as_nanos())
            .unwrap_or_default();
        // The cut counts as a step, though it may be a shorter one.
        let steps = if step.is_zero() {
            0
        } else {
            fit.saturating_add(1)
        };
        Self {
            shortest,
            step,
            steps: u32::try_from(steps)
                .unwrap_or(u32::MAX)
                .min(EXPONENTIAL_STEPS_MAX),
            longest,
            shape: Shape::Exponential,
        }
    }

    /// The time that a segment takes unless more is decided.
    #[must_use]
    pub const fn shortest(&self) -> Duration {
        self.shortest
    }

    /// The most that it can take.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// How many times there are to decide between.
    pub(super) const fn count(&self) -> u32 {
        self.steps + 1
    }

    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> u32 {
        match self.shape {
            Shape::Uniform => rng.u32(..self.count()),
            Shape::Exponential => {
                let mut step = 0;
                while step < self.steps && rng.u32(..=MEAN_STEPS) > 0 {
                    step += 1;
                }
                step
            }
        }
    }

    /// The time that a decision stands for.
    pub(super) fn time(&self, decision: u32) -> Duration {
        let more = self.step.saturating_mul(decision);
        self.shortest.saturating_add(more).min(self.longest)
    }
}

impl From<Duration> for Latency {
    fn from(time: Duration) -> Self {
        Self::fixed(time)
    }
}

/// How many steps lie between the shortest and the longest of equal chance.
const UNIFORM_STEPS: u32 = 16;
/// How many steps the mean of the exponential is: a chance of 7 in 8 to go on is taken 7 times in the mean.
const MEAN_STEPS: u32 = 7;
/// No tail has more steps than this, which is eighteen times the mean.
const EXPONENTIAL_STEPS_MAX: u32 = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn drawn(latency: Latency) -> Vec<Duration> {
        let mut rng = fastrand::Rng::with_seed(7);
        let times = (0..20_000).map(|_| latency.time(latency.draw(&mut rng)));
        times.collect()
    }

    fn mean(times: &[Duration]) -> Duration {
        times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap()
    }

    #[test]
    fn the_exponential_has_its_mean_and_its_tail() {
        let times = drawn(Latency::exponential(MS * 2, MS * 10, MS * 1000));
        let mean = mean(&times);
        assert!(MS * 118 / 10 < mean && mean < MS * 122 / 10, "{mean:?}");
        let beyond = |time| times.iter().filter(|each| **each > time).count();
        // Of an exponential 13.5 % lie beyond twice its mean, and 1.8 % beyond four times.
        assert!(
            (2_000..3_400).contains(&beyond(MS * 22)),
            "{}",
            beyond(MS * 22)
        );
        assert!((250..600).contains(&beyond(MS * 42)), "{}", beyond(MS * 42));
    }

    #[test]
    fn the_uniform_has_its_ends_and_its_mean() {
        let times = drawn(Latency::uniform(MS * 4, MS * 20));
        let mean = mean(&times);
        assert!(MS * 118 / 10 < mean && mean < MS * 122 / 10, "{mean:?}");
        assert!(times.contains(&(MS * 4)) && times.contains(&(MS * 20)));
    }

    proptest! {
        #[test]
        fn a_time_is_between_shortest_and_longest_and_0_is_the_shortest(
            shortest in 0_u64..1 << 40,
            more in 0_u64..1 << 40,
            mean in 0_u64..1 << 40,
            seed: u64,
        ) {
            let (from, to) = (Duration::from_nanos(shortest), Duration::from_nanos(shortest + more));
            let kinds = [
                Latency::fixed(from),
                Latency::uniform(from, to),
                Latency::exponential(from, Duration::from_nanos(mean), to),
            ];
            let mut rng = fastrand::Rng::with_seed(seed);
            for latency in kinds {
                prop_assert_eq!(latency.time(0), from);
                let decision = latency.draw(&mut rng);
                prop_assert!(decision < latency.count());
                let times = [latency.time(decision), latency.time(latency.count() - 1)];
                for time in times {
                    prop_assert!(from <= time && time <= latency.longest());
                }
            }
        }
    }
}
