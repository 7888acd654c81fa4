//! Segments: sent, under way, arrived.

use asupersync_core::Time;

use super::Effects;
use super::connection::{Alarm, ConnectionId, End, Phase, Segment};
use super::faults::Trouble;
use super::state::State;

impl State {
    pub(super) fn send(
        &mut self,
        id: ConnectionId,
        from: End,
        segment: Segment,
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (own, peer) = connection.ips(from);
        let mut way = self.config.way(own, peer, segment.bytes(), effects);
        way.travelling = way.travelling.saturating_add(connection.slowed);
        let copy = self.faults.disturb(&mut way, &segment, effects);
        let pipe = connection.outgoing(from);
        let arrival = pipe.wire.carry(effects.now, way);
        pipe.in_flight.push_back((arrival, segment));
        let alarm = Alarm::Segment {
            connection: id,
            from,
        };
        effects.later.push((arrival, alarm));
        if copy {
            // It finds its place taken.
            let arrival = pipe.wire.carry_copy(effects.now, way);
            effects.later.push((arrival, alarm));
        }
    }

    /// A time has come.
    pub(super) fn come(&mut self, alarm: Alarm, effects: &mut Effects<'_>) {
        match alarm {
            Alarm::Segment { connection, from } => self.deliver(connection, from, effects),
            Alarm::Unheard {
                connection,
                from,
                since,
            } => self.unheard(connection, from, since, effects),
            Alarm::Heal(partition) => {
                self.heal(partition, effects);
            }
        }
    }

    /// The next segment of a direction arrives, if it is due and gets through; with it those that it held back.
    fn deliver(&mut self, id: ConnectionId, from: End, effects: &mut Effects<'_>) {
        if !self.is_due(id, from, effects.now) {
            // It came too late for a connection that has ended; what ended it would have found it otherwise.
            return effects.record(id, "tcp.miss");
        }
        let mut was_stalled = false;
        while self.is_due(id, from, effects.now) {
            if let Some(cause) = self.obstacle(id, from, effects.now) {
                return self.hold_back(id, from, cause, effects);
            }
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let pipe = connection.outgoing(from);
            was_stalled |= pipe.stall.take().is_some();
            if let Some((_, segment)) = pipe.in_flight.pop_front() {
                self.arrive(id, from, segment, effects);
            }
            if !was_stalled {
                return;
            }
        }
    }

    fn is_due(&self, id: ConnectionId, from: End, now: Time) -> bool {
        let connection = self.connections.get(&id);
        let first = connection.and_then(|each| each.side(from).outgoing.in_flight.front());
        first.is_some_and(|(at, _)| *at <= now)
    }

    /// What keeps the segments of a direction from their receiver.
    fn obstacle(&self, id: ConnectionId, from: End, now: Time) -> Option<u64> {
        let connection = self.connections.get(&id)?;
        if connection.side(from.other()).silent_until > now {
            return Some(id);
        }
        let (sender, receiver) = connection.ips(from);
        self.blocked(sender, receiver)
    }

    fn arrive(&mut self, id: ConnectionId, from: End, segment: Segment, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let receiver = connection.side_mut(from.other());
        if receiver.phase.is_forgotten() && segment != Segment::Reset {
            effects.record(id, "tcp.miss");
            let answers = !std::mem::replace(&mut receiver.has_answered, true);
            connection.outgoing(from).held -= segment.bytes();
            if answers {
                self.send(id, from.other(), Segment::Reset, effects);
            }
            return;
        }
        let pipe = connection.outgoing(from);
        match segment {
            Segment::Syn => self.arrive_syn(id, effects),
            Segment::Established => {
                effects.record(id, "tcp.connected");
                self.settle_connect(id, Phase::Connected, effects);
            }
            Segment::Refused => {
                effects.record(id, "tcp.refused");
                self.settle_connect(id, Phase::Refused, effects);
            }
            Segment::Data(bytes) => {
                self.arrive_data(id, from, &bytes, effects);
                self.watch_if_unheard(id, from, effects);
            }
            Segment::Fin => {
                effects.record(id, "tcp.end");
                pipe.fin_received = true;
                effects.wake.extend(pipe.reader.take());
                self.watch_if_unheard(id, from, effects);
            }
            Segment::Reset => {
                effects.record(id, "tcp.reset");
                let keeps = effects.choose(2) == 0;
                connection.break_end(from.other(), Phase::Reset, keeps, effects);
            }
        }
    }

    fn arrive_syn(&mut self, id: ConnectionId, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (_, server) = connection.addresses();
        effects.record(id, "tcp.arrive");
        effects.record(self.table(effects), "tcp.find");
        let listener = self.listener_at(server, effects);
        let taken = listener.filter(|_| {
            let refused = effects.fault(self.faults.refuse, 1, Trouble::Refuse);
            refused == 0
        });
        let Some(listener) = taken else {
            return self.send(id, End::Server, Segment::Refused, effects);
        };
        if let Some(found) = self.listeners.get_mut(&listener) {
            found.waiting.push_back(id);
            effects.record(listener, "tcp.arrive");
        }
        self.admit_waiting(listener, effects);
    }

    pub(super) fn settle_connect(
        &mut self,
        id: ConnectionId,
        phase: Phase,
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let client = connection.side_mut(End::Client);
        effects.wake.extend(client.outgoing.writer.take());
        if client.phase != Phase::Connecting {
            return;
        }
        client.phase = phase;
        if phase == Phase::Connected && !client.open {
            // The client has given up meanwhile; the server's end learns it by a reset.
            client.phase = Phase::Reset;
            self.send(id, End::Client, Segment::Reset, effects);
        }
    }

    fn arrive_data(
        &mut self,
        id: ConnectionId,
        from: End,
        bytes: &[u8],
        effects: &mut Effects<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.side(from.other()).open {
            effects.record(id, "tcp.deliver");
            let pipe = connection.outgoing(from);
            pipe.received.extend(bytes);
            effects.wake.extend(pipe.reader.take());
        } else {
            // Nobody is there to read it, which the sender learns once.
            effects.record(id, "tcp.miss");
            connection.outgoing(from).held -= bytes.len();
            if connection.side(from.other()).phase == Phase::Connected {
                connection.side_mut(from.other()).phase = Phase::Reset;
                self.send(id, from.other(), Segment::Reset, effects);
            }
        }
    }
}
