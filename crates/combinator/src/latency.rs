//! How long calls took lately, and which of it is a percentile.
//!
//! A ring of the last samples; the percentile is computed anew when enough of them are new, so that a call pays little for it.

use std::time::Duration;

/// The last samples of a duration.
#[derive(Debug)]
pub(crate) struct Latencies {
    samples: Vec<Duration>,
    /// Where the next sample goes once the ring is full.
    next: usize,
    fresh: usize,
    percent: u8,
    known: Option<Duration>,
}

impl Latencies {
    pub(crate) fn new(percent: u8) -> Self {
        assert!((1..=100).contains(&percent), "a percentile is 1..=100");
        Self {
            samples: Vec::new(),
            next: 0,
            fresh: 0,
            percent,
            known: None,
        }
    }

    pub(crate) fn record(&mut self, sample: Duration) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        } else {
            self.samples[self.next] = sample;
            self.next = (self.next + 1) % SAMPLES_MAX;
        }
        self.fresh += 1;
        if self.samples.len() >= SAMPLES_MIN && (self.known.is_none() || self.fresh >= REFRESH) {
            self.fresh = 0;
            self.known = Some(self.compute());
        }
    }

    /// The percentile, once there are enough samples to speak of one.
    pub(crate) const fn percentile(&self) -> Option<Duration> {
        self.known
    }

    /// The smallest sample that so many percent do not exceed (nearest rank).
    fn compute(&self) -> Duration {
        let mut sorted = self.samples.clone();
        let rank = (sorted.len() * usize::from(self.percent)).div_ceil(100);
        let (_, found, _) = sorted.select_nth_unstable(rank - 1);
        *found
    }
}

/// How many samples are kept.
const SAMPLES_MAX: usize = 512;
/// How many samples there must be before a percentile is given.
const SAMPLES_MIN: usize = 16;
/// After how many new samples the percentile is computed anew.
const REFRESH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(percent: u8, samples: impl IntoIterator<Item = u64>) -> Option<u64> {
        let mut latencies = Latencies::new(percent);
        for sample in samples {
            latencies.record(Duration::from_millis(sample));
        }
        latencies
            .percentile()
            .map(|found| u64::try_from(found.as_millis()).unwrap())
    }

    #[test]
    fn a_percentile_is_the_nearest_rank_of_the_last_samples() {
        assert_eq!(of(95, 1..=15), None, "too few to speak of a percentile");
        assert_eq!(of(50, 1..=16), Some(8));
        assert_eq!(of(100, 1..=16), Some(16));
        assert_eq!(of(1, 1..=16), Some(1));
        let (old, new) = (std::iter::repeat_n(9000, 600), 1..=512);
        assert_eq!(
            of(95, old.chain(new)),
            Some(487),
            "what is old is forgotten"
        );
    }
}
