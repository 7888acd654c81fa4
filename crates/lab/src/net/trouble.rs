//! What goes wrong.

use std::net::{IpAddr, SocketAddr};

use super::Effects;
use super::connection::{Alarm, Connection, ConnectionId, End, Phase};
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

    /// The machine of an address goes down, and says so.
    pub(super) fn crash(&mut self, ip: IpAddr, effects: &mut Effects<'_>) {
        for id in self.listeners_where(|own| own.ip() == ip) {
            self.close_listener(id, effects);
        }
        for end in [End::Client, End::Server] {
            let own = |each: &Connection| {
                let side = each.side(end);
                side.open && side.address.ip() == ip
            };
            let connections = self.connections.iter().filter(|(_, each)| own(each));
            let ids: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
            for id in ids {
                self.abort(id, end, effects);
            }
        }
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

    /// The machine of an address is gone without a word; false if it was already.
    pub(super) fn vanish(&mut self, ip: IpAddr, effects: &mut Effects<'_>) -> bool {
        if self.away.contains_key(&ip) {
            return false;
        }
        let number = effects.number();
        effects.record(number, "tcp.vanish");
        self.away.insert(ip, number);
        self.lose_listeners(ip, effects);
        for end in [End::Client, End::Server] {
            let own = |each: &Connection| {
                let side = each.side(end);
                // A server that has not answered has nothing to lose.
                let is_known = end == End::Client || side.phase != Phase::Connecting;
                side.address.ip() == ip && is_known
            };
            let connections = self.connections.iter().filter(|(_, each)| own(each));
            let ids: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
            for id in ids {
                self.lose(id, end, effects);
            }
        }
        true
    }

    /// The machine of an address is back, and knows nothing of what was; false if it was not away.
    pub(super) fn restore(&mut self, ip: IpAddr, effects: &mut Effects<'_>) -> bool {
        let Some(number) = self.away.remove(&ip) else {
            return false;
        };
        effects.record(number, "tcp.restore");
        self.acknowledge(effects);
        true
    }

    /// Perhaps one end of a connection is gone without a word, and nothing reaches it for a while.
    pub(super) fn vanish_by_chance(
        &mut self,
        id: ConnectionId,
        end: End,
        effects: &mut Effects<'_>,
    ) {
        let stands = self.connections.get(&id).is_some_and(Connection::stands);
        if !stands {
            return;
        }
        let decision = effects.fault(self.faults.half_open, PARTS, Trouble::HalfOpen);
        if decision == 0 {
            return;
        }
        let until = effects.now + part_of(self.faults.half_open_max, decision);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.side_mut(end).silent_until = until;
        }
        self.lose(id, end, effects);
    }

    /// An end's machine has lost it; what it had sent and what it had not read is lost with it.
    fn lose(&mut self, id: ConnectionId, end: End, effects: &mut Effects<'_>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            effects.record(id, "tcp.vanish");
            connection.break_end(end, Phase::Gone, false, effects);
            self.remove_if_left(id, effects);
        }
    }
}
