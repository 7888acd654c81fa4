//! Segments: sent, under way, arrived.

use asupersync_core::Time;

use super::Effects;
use super::connection::{ConnectionId, Delivery, End, Phase, Segment};
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
        way.travelling += connection.slowed;
        let copy = self.faults.disturb(&mut way, &segment, effects);
        let pipe = connection.outgoing(from);
        let arrival = pipe.wire.carry(effects.now, way);
        pipe.in_flight.push_back((arrival, segment));
        let delivery = Delivery {
            connection: id,
            from,
        };
        effects.deliver.push((arrival, delivery));
        if copy {
            // It finds its place taken.
            let arrival = pipe.wire.carry_copy(effects.now, way);
            effects.deliver.push((arrival, delivery));
        }
    }

    pub(super) fn deliver(&mut self, delivery: Delivery, effects: &mut Effects<'_>) {
        let Delivery {
            connection: id,
            from,
        } = delivery;
        let Some(segment) = self.take_due(id, from, effects.now) else {
            // It came too late for a connection that has ended; what ended it would have found it otherwise.
            return effects.record(id, "tcp.miss");
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
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
            Segment::Data(bytes) => self.arrive_data(id, from, &bytes, effects),
            Segment::Fin => {
                effects.record(id, "tcp.end");
                pipe.fin_received = true;
                effects.wake.extend(pipe.reader.take());
            }
            Segment::Reset => {
                effects.record(id, "tcp.reset");
                connection.break_end(from.other(), effects.choose(2) == 0, effects);
            }
        }
    }

    /// The next segment of a direction, if its time has come.
    fn take_due(&mut self, id: ConnectionId, from: End, now: Time) -> Option<Segment> {
        let in_flight = &mut self.connections.get_mut(&id)?.outgoing(from).in_flight;
        in_flight
            .pop_front_if(|(at, _)| *at <= now)
            .map(|(_, segment)| segment)
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

    fn settle_connect(&mut self, id: ConnectionId, phase: Phase, effects: &mut Effects<'_>) {
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
