//! When a segment arrives.
//!
//! A direction is a line of bytes that leave one after another, at the bandwidth, and then are under way for the latency.
//! The receiver hands bytes on in the order in which they were sent, so a segment that others have overtaken holds them back until it is there: in effect none arrives before those sent earlier.

use std::net::IpAddr;
use std::time::Duration;

use asupersync_core::Time;

use super::Effects;
use super::config::NetConfig;
use super::connection::Segment;
use super::faults::{NetFaults, Trouble};
use crate::faults::{PARTS, part_of};

/// How long a segment takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// To leave.
    pub(super) leaving: Duration,
    /// To arrive after that.
    pub(super) travelling: Duration,
}

/// One direction of a connection.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wire {
    /// When the last segment has left.
    pub(super) free: Time,
    /// When the last segment arrives.
    pub(super) last_arrival: Time,
}

impl Wire {
    /// Sends a segment; says when it arrives.
    pub(super) fn carry(&mut self, now: Time, way: Way) -> Time {
        self.free = self.free.max(now) + way.leaving;
        self.last_arrival = self.last_arrival.max(self.free + way.travelling);
        self.last_arrival
    }

    /// Sends a segment again that nobody waits for; says when it arrives.
    pub(super) fn carry_copy(&mut self, now: Time, way: Way) -> Time {
        self.free = self.free.max(now) + way.leaving;
        self.free + way.travelling
    }
}

impl NetConfig {
    /// How long so many bytes take from one address to another.
    pub(super) fn way(&self, from: IpAddr, to: IpAddr, bytes: usize, effects: &Effects<'_>) -> Way {
        let factor = |ip| self.slow.get(&ip).copied().unwrap_or(1);
        let factor = factor(from).max(factor(to));
        let leaving = self.bandwidth.map_or(Duration::ZERO, |bandwidth| {
            let nanos = bytes as u128 * NANOS_PER_SECOND / u128::from(bandwidth.get());
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        Way {
            leaving: leaving.saturating_mul(factor),
            travelling: effects.latency(&self.latency).saturating_mul(factor),
        }
    }
}

impl NetFaults {
    /// Makes the way of a segment longer by what goes wrong with it; says whether a copy takes the same way.
    pub(super) fn disturb(&self, way: &mut Way, segment: &Segment, effects: &Effects<'_>) -> bool {
        let losses = effects.fault(self.loss, LOSSES_MAX, Trouble::Loss);
        // Each time it waits for twice as long as before: 1, 3, 7 times the first.
        let repeated = segment.patience() * ((1 << losses) - 1);
        let overtaken = effects.fault(self.reorder, PARTS, Trouble::Reorder);
        let longer = part_of(self.reorder_max, overtaken);
        let more = repeated.saturating_add(longer);
        way.travelling = way.travelling.saturating_add(more);
        effects.fault(self.duplicate, 1, Trouble::Duplicate) > 0
    }
}

/// How often a segment is lost at most, before it arrives.
const LOSSES_MAX: u32 = 3;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// When a receiver hands each segment on, if it keeps those that come before their turn.
    fn reassembled(arrivals: &[u64]) -> Vec<u64> {
        let mut by_time: Vec<_> = (0..arrivals.len()).collect();
        by_time.sort_by_key(|segment| arrivals[*segment]);
        let mut kept = BTreeSet::new();
        let mut handed_on = Vec::new();
        for segment in by_time {
            kept.insert(segment);
            while kept.remove(&handed_on.len()) {
                handed_on.push(arrivals[segment]);
            }
        }
        handed_on
    }

    proptest! {
        #[test]
        fn a_segment_arrives_when_a_receiver_would_hand_it_on(
            ways in prop::collection::vec((0_u64..50, 0_u64..50, 0_u64..50), 1..20),
        ) {
            let mut wire = Wire::default();
            let (mut now, mut free) = (Time::ZERO, 0);
            let (mut alone, mut seen) = (Vec::new(), Vec::new());
            for (pause, leaving, travelling) in ways {
                now += Duration::from_nanos(pause);
                free = now.as_nanos().max(free) + leaving;
                alone.push(free + travelling);
                let way = Way {
                    leaving: Duration::from_nanos(leaving),
                    travelling: Duration::from_nanos(travelling),
                };
                seen.push(wire.carry(now, way).as_nanos());
            }
            prop_assert_eq!(seen, reassembled(&alone));
        }
    }
}
