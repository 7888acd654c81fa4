//! What goes wrong.

use std::net::{IpAddr, SocketAddr};

use super::Effects;
use super::connection::{Alarm, ConnectionId, End, Phase};
use super::faults::Trouble;
use super::stalls::Partition;
use super::state::State;
use crate::faults::{PARTS, part_of};

impl State {
    pub(super) fn reset_between(
        &mut self,
        one: SocketAddr,
        other: SocketAddr,
        effects: &mut Effects<'_>,
    ) -> bool {
        let forth = self.by_addresses.get(&(one, other));
        let Some(&id) = forth.or_else(|| self.by_addresses.get(&(other, one))) else {
            return false;
        };
        let reset = self.reset(id, effects);
        if reset {
            effects.tell(Trouble::Reset);
        }
        reset
    }

    pub(super) fn reset_random(
        &mut self,
        effects: &mut Effects<'_>,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let standing = self.connections.iter().filter(|(_, each)| each.stands());
        let standing: Vec<_> = standing.map(|(id, each)| (*id, each.addresses())).collect();
        if standing.is_empty() {
            return None;
        }
        let count = u32::try_from(standing.len()).unwrap_or(u32::MAX);
        let (id, addresses) = standing[effects.choose(count) as usize];
        effects.tell(Trouble::Reset);
        self.reset(id, effects).then_some(addresses)
    }

    /// Breaks both ends at once; whether bytes that had arrived can still be read is decided for each.
    pub(super) fn reset(&mut self, id: ConnectionId, effects: &mut Effects<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|each| each.stands()) else {
            return false;
        };
        effects.record(id, "tcp.reset");
        for end in [End::Client, End::Server] {
            let keeps = effects.choose(2) == 0;
            connection.break_end(end, Phase::Reset, keeps, effects);
        }
        true
    }

    /// Perhaps closes the way between two addresses for a while: both ways, or one of the two.
    pub(super) fn part_by_chance(&mut self, own: IpAddr, peer: IpAddr, effects: &mut Effects<'_>) {
        let decision = effects.fault(self.faults.partition, 3 * PARTS, Trouble::Partition);
        let Some(index) = decision.checked_sub(1) else {
            return;
        };
        let (from, to) = if index / PARTS == 2 {
            (peer, own)
        } else {
            (own, peer)
        };
        let partition = Partition {
            from: [from].into(),
            to: [to].into(),
            both_ways: index / PARTS == 0,
        };
        let id = self.part(partition, effects);
        let time = part_of(self.faults.partition_max, index % PARTS + 1);
        effects.later.push((effects.now + time, Alarm::Heal(id)));
    }
}
