//! Listeners: where connections arrive, and wait to be accepted.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};

use asupersync_net::TcpListenOptions;

use super::Effects;
use super::connection::{ConnectionId, End, Phase, Segment};
use super::state::{State, not_connected, overlap};

/// Names a listener.
pub(super) type ListenerId = u64;

pub(super) struct Listener {
    address: SocketAddr,
    options: TcpListenOptions,
    /// Connections to be accepted; at most the backlog.
    ready: VecDeque<ConnectionId>,
    /// Connections that the backlog has no room for; each has a client that waits.
    pub(super) waiting: VecDeque<ConnectionId>,
    accepting: VecDeque<Waker>,
}

impl State {
    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        options: &TcpListenOptions,
        effects: &mut Effects<'_>,
    ) -> io::Result<ListenerId> {
        if self.away.contains_key(&address.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let address = match address.port() {
            0 => self.free_port(|state, port| {
                let address = SocketAddr::new(address.ip(), port);
                (!state.is_listened_on(address, false)).then_some(address)
            })?,
            _ if self.is_listened_on(address, options.reuse_port) => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            _ => address,
        };
        let id = effects.number();
        effects.record(id, "tcp.listen");
        effects.record(self.table(effects), "tcp.bind");
        self.listeners.insert(
            id,
            Listener {
                address,
                options: *options,
                ready: VecDeque::new(),
                waiting: VecDeque::new(),
                accepting: VecDeque::new(),
            },
        );
        Ok(id)
    }

    pub(super) fn listener_address(&self, id: ListenerId) -> io::Result<SocketAddr> {
        let listener = self.listeners.get(&id).ok_or_else(not_connected)?;
        Ok(listener.address)
    }

    /// Whether a listener stands in the way of another one on this address.
    pub(super) fn is_listened_on(&self, address: SocketAddr, reuse_port: bool) -> bool {
        self.listeners.values().any(|listener| {
            let shares = reuse_port && listener.options.reuse_port;
            overlap(listener.address, address) && !shares
        })
    }

    /// The listener that a connection to `address` reaches; which of several is decided.
    pub(super) fn listener_at(
        &self,
        address: SocketAddr,
        effects: &Effects<'_>,
    ) -> Option<ListenerId> {
        let exact: Vec<ListenerId> = self.listeners_where(|own| own == address);
        let found = if exact.is_empty() {
            self.listeners_where(|own| own.ip().is_unspecified() && overlap(own, address))
        } else {
            exact
        };
        let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
        found.get(effects.choose(count) as usize).copied()
    }

    pub(super) fn listeners_where(&self, matches: impl Fn(SocketAddr) -> bool) -> Vec<ListenerId> {
        let found = self
            .listeners
            .iter()
            .filter(|(_, own)| matches(own.address));
        found.map(|(id, _)| *id).collect()
    }

    pub(super) fn accept(
        &mut self,
        id: ListenerId,
        waker: Waker,
        effects: &mut Effects<'_>,
    ) -> Poll<io::Result<(ConnectionId, SocketAddr)>> {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return Poll::Ready(Err(not_connected()));
        };
        let Some(connection) = listener.ready.pop_front() else {
            if listener.accepting.len() == ACCEPTING_MAX {
                effects.wake.extend(listener.accepting.pop_front());
            }
            if !listener
                .accepting
                .iter()
                .any(|known| known.will_wake(&waker))
            {
                listener.accepting.push_back(waker);
            }
            effects.record(id, "tcp.wait");
            return Poll::Pending;
        };
        let options = listener.options.stream;
        self.admit_waiting(id, effects);
        let accepted = self
            .connections
            .get_mut(&connection)
            .expect("a connection stays while a listener's queue holds its server end");
        effects.record(id, "tcp.accept");
        effects.record(connection, "tcp.accept");
        accepted.side_mut(End::Server).options = options;
        Poll::Ready(Ok((connection, accepted.side(End::Client).address)))
    }

    /// Moves connections into the backlog while it has room.
    pub(super) fn admit_waiting(&mut self, id: ListenerId, effects: &mut Effects<'_>) {
        while let Some(listener) = self.listeners.get_mut(&id) {
            if listener.ready.len() >= listener.options.backlog.max(1) as usize {
                return;
            }
            let Some(next) = listener.waiting.pop_front() else {
                return;
            };
            // Its client may have given up meanwhile.
            let Some(connection) = self.connections.get_mut(&next) else {
                continue;
            };
            let server = connection.side_mut(End::Server);
            server.open = true;
            server.phase = Phase::Connected;
            listener.ready.push_back(next);
            effects.record(id, "tcp.arrive");
            effects.record(next, "tcp.arrive");
            effects.wake.extend(listener.accepting.drain(..));
            self.send(next, End::Server, Segment::Established, effects);
        }
    }

    /// The machine of an address is gone, and its listeners with it.
    pub(super) fn lose_listeners(&mut self, ip: IpAddr, effects: &mut Effects<'_>) {
        for id in self.listeners_where(|own| own.ip() == ip) {
            if let Some(listener) = self.listeners.remove(&id) {
                effects.record(id, "tcp.vanish");
                effects.record(self.table(effects), "tcp.unbind");
                effects.wake.extend(listener.accepting);
                for connection in listener.ready {
                    if let Some(connection) = self.connections.get_mut(&connection) {
                        connection.side_mut(End::Server).open = false;
                    }
                }
                for connection in listener.waiting {
                    // Nobody has answered its client, which asks again.
                    self.send(connection, End::Client, Segment::Syn, effects);
                }
            }
        }
    }

    pub(super) fn close_listener(&mut self, id: ListenerId, effects: &mut Effects<'_>) {
        let Some(listener) = self.listeners.remove(&id) else {
            return;
        };
        effects.record(id, "tcp.close");
        effects.record(self.table(effects), "tcp.unbind");
        effects.forget.extend(listener.accepting);
        for connection in listener.waiting {
            self.send(connection, End::Server, Segment::Refused, effects);
        }
        for connection in listener.ready {
            self.abort(connection, End::Server, effects);
        }
    }
}

/// So many tasks are remembered as waiting to accept; one more wakes the oldest, which then asks again.
const ACCEPTING_MAX: usize = 1024;
