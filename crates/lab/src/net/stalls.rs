//! Segments that do not get through.
//!
//! A segment that cannot reach its receiver is sent again, after twice as long each time, and holds back those behind it; so an established connection stands still and goes on by itself once the way is open again.
//! A sender that hears nothing for too long gives up, without a word to the other end.
//! Nothing is heard either if bytes arrive and the way back is closed: their place in the sender's buffer stays taken, and in the end the sender gives up as well.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use asupersync_core::Time;

use super::Effects;
use super::connection::{Alarm, ConnectionId, End, Phase, Segment};
use super::state::State;

/// Addresses that cannot reach others.
pub(super) struct Partition {
    pub(super) from: BTreeSet<IpAddr>,
    pub(super) to: BTreeSet<IpAddr>,
    /// Whether the others cannot reach them either.
    pub(super) both_ways: bool,
}

impl Partition {
    fn parts(&self, from: IpAddr, to: IpAddr) -> bool {
        let forth = self.from.contains(&from) && self.to.contains(&to);
        let back = self.from.contains(&to) && self.to.contains(&from);
        forth || (self.both_ways && back)
    }
}

/// A direction that stands still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    since: Time,
    /// How long after the next failure it is tried again.
    wait: Duration,
}

impl State {
    /// Closes the way between addresses; gives the number under which it can be opened again.
    pub(super) fn part(&mut self, partition: Partition, effects: &mut Effects<'_>) -> u64 {
        let id = effects.number();
        effects.record(id, "tcp.partition");
        for (connection, each) in &self.connections {
            let (client, server) = each.ips(End::Client);
            if partition.parts(client, server) || partition.parts(server, client) {
                effects.record(*connection, "tcp.partition");
            }
        }
        self.partitions.insert(id, partition);
        id
    }

    /// Opens a way again; whether it was closed.
    pub(super) fn heal(&mut self, id: u64, effects: &mut Effects<'_>) -> bool {
        if self.partitions.remove(&id).is_none() {
            return false;
        }
        effects.record(id, "tcp.heal");
        self.acknowledge(effects);
        true
    }

    pub(super) fn heal_all(&mut self, effects: &mut Effects<'_>) {
        while let Some((&id, _)) = self.partitions.first_key_value() {
            self.heal(id, effects);
        }
    }

    /// Why nothing gets from one address to another; `None` if it does.
    pub(super) fn blocked(&self, from: IpAddr, to: IpAddr) -> Option<u64> {
        let away = self.away.get(&to).or_else(|| self.away.get(&from));
        if let Some(id) = away {
            return Some(*id);
        }
        let parting = self.partitions.iter();
        let mut parting = parting.filter(|(_, each)| each.parts(from, to));
        parting.next().map(|(id, _)| *id)
    }

    /// The next segment of a direction has not got through: it is sent again later, or the sender gives up.
    pub(super) fn hold_back(
        &mut self,
        id: ConnectionId,
        from: End,
        cause: u64,
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = connection.outgoing(from);
        let Some((_, first)) = pipe.in_flight.front() else {
            return;
        };
        effects.record(cause, "tcp.blocked");
        effects.record(id, "tcp.stall");
        let limit = match first {
            Segment::Syn | Segment::Established => self.config.connect_timeout,
            Segment::Refused | Segment::Data(_) | Segment::Fin | Segment::Reset => {
                self.config.stall_timeout
            }
        };
        let stall = pipe.stall.get_or_insert(Stall {
            since: effects.now,
            wait: first.patience(),
        });
        let end = stall.since + limit;
        if effects.now >= end {
            return self.give_up(id, from, effects);
        }
        let again = (effects.now + stall.wait).min(end);
        stall.wait = (stall.wait * 2).min(WAIT_MAX);
        for (due, _) in &mut pipe.in_flight {
            *due = again.max(*due);
        }
        pipe.wire.last_arrival = pipe.wire.last_arrival.max(again);
        let alarm = Alarm::Segment {
            connection: id,
            from,
        };
        effects.later.push((again, alarm));
    }

    /// Bytes have arrived, and whoever sent them cannot hear of it.
    pub(super) fn watch_if_unheard(
        &mut self,
        id: ConnectionId,
        from: End,
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (sender, receiver) = connection.ips(from);
        let Some(cause) = self.blocked(receiver, sender) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = connection.outgoing(from);
        if pipe.unheard_since.is_none() {
            effects.record(cause, "tcp.blocked");
            pipe.unheard_since = Some(effects.now);
            let alarm = Alarm::Unheard {
                connection: id,
                from,
                since: effects.now,
            };
            effects
                .later
                .push((effects.now + self.config.stall_timeout, alarm));
        }
    }

    /// A sender has waited for long enough, if it still waits.
    pub(super) fn unheard(
        &mut self,
        id: ConnectionId,
        from: End,
        since: Time,
        effects: &mut Effects<'_>,
    ) {
        let pipe = self
            .connections
            .get_mut(&id)
            .map(|each| each.outgoing(from));
        if pipe.is_some_and(|pipe| pipe.unheard_since == Some(since)) {
            self.give_up(id, from, effects);
        }
    }

    /// A program has read bytes, so there is room for others, as soon as the sender hears of it.
    pub(super) fn make_room(
        &mut self,
        id: ConnectionId,
        from: End,
        bytes: usize,
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (sender, receiver) = connection.ips(from);
        let cause = self.blocked(receiver, sender);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = connection.outgoing(from);
        pipe.owed += bytes;
        match cause {
            Some(cause) => effects.record(cause, "tcp.blocked"),
            None => pipe.acknowledge(effects),
        }
    }

    /// Tells every sender what it could not hear before.
    pub(super) fn acknowledge(&mut self, effects: &mut Effects<'_>) {
        let mut open = Vec::new();
        for (id, connection) in &self.connections {
            for from in [End::Client, End::Server] {
                let (sender, receiver) = connection.ips(from);
                if self.blocked(receiver, sender).is_none() {
                    open.push((*id, from));
                }
            }
        }
        for (id, from) in open {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let pipe = connection.outgoing(from);
            if pipe.owed > 0 || pipe.unheard_since.is_some() {
                effects.record(id, "tcp.heal");
                pipe.unheard_since = None;
                pipe.acknowledge(effects);
            }
        }
    }

    /// An end gives up; the other learns nothing of it.
    fn give_up(&mut self, id: ConnectionId, from: End, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        effects.record(id, "tcp.timeout");
        connection.break_end(from, Phase::TimedOut, true, effects);
        let is_opening = connection.side(End::Client).phase == Phase::Connecting;
        if from == End::Server && is_opening {
            // The client's own requests were not answered for as long.
            self.settle_connect(id, Phase::TimedOut, effects);
        }
        self.remove_if_left(id, effects);
    }
}

/// No wait between two attempts is longer.
///
/// # Source
/// RFC 6298, section 2.5: a bound on it is at least 60 seconds.
const WAIT_MAX: Duration = Duration::from_secs(60);
