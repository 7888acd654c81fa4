//! A connection's life, from its request to its end, and what programs do with it meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use asupersync_net::{TcpConnectOptions, TcpOptions};

use super::Effects;
use super::connection::{Connection, ConnectionId, End, Phase, Segment, wait_in};
use super::faults::Trouble;
use super::state::{State, not_connected};
use crate::faults::{PARTS, part_of};

impl State {
    pub(super) fn connect(
        &mut self,
        server: SocketAddr,
        options: &TcpConnectOptions,
        effects: &mut Effects<'_>,
    ) -> io::Result<ConnectionId> {
        // As on a real machine, the wildcard means this machine.
        let server = match server.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, server.port()).into(),
            IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, server.port()).into(),
            _ => server,
        };
        let wanted = options.local.unwrap_or(SocketAddr::new(server.ip(), 0));
        let ip = if wanted.ip().is_unspecified() {
            server.ip()
        } else {
            wanted.ip()
        };
        if self.away.contains_key(&ip) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let client = match wanted.port() {
            0 => self.free_port(|state, port| {
                let client = SocketAddr::new(ip, port);
                let taken = state.is_taken(client, server) || state.is_listened_on(client, false);
                (!taken).then_some(client)
            })?,
            port if self.is_taken(SocketAddr::new(ip, port), server) => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            port => SocketAddr::new(ip, port),
        };
        let id = effects.number();
        effects.record(id, "tcp.connect");
        let mut connection = Connection::new(client, server, options.stream);
        let slow = effects.fault(self.faults.slow_peer, PARTS, Trouble::SlowPeer);
        connection.slowed = part_of(self.faults.slow_peer_max, slow);
        self.connections.insert(id, connection);
        self.by_addresses.insert((client, server), id);
        self.part_by_chance(client.ip(), server.ip(), effects);
        self.send(id, End::Client, Segment::Syn, effects);
        Ok(id)
    }

    fn is_taken(&self, client: SocketAddr, server: SocketAddr) -> bool {
        self.by_addresses.contains_key(&(client, server))
    }

    pub(super) fn connections(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let standing = self.connections.values().filter(|each| each.stands());
        standing.map(Connection::addresses).collect()
    }

    pub(super) fn connected(
        &mut self,
        id: ConnectionId,
        end: End,
        waker: Waker,
        effects: &mut Effects<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(not_connected()));
        };
        match connection.side(end).phase {
            Phase::Connected => Poll::Ready(Ok(())),
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Phase::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Phase::TimedOut => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Phase::Gone => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Phase::Connecting => {
                wait_in(&mut connection.outgoing(end).writer, waker, effects);
                effects.record(id, "tcp.wait");
                Poll::Pending
            }
        }
    }

    pub(super) fn read(
        &mut self,
        id: ConnectionId,
        end: End,
        buf: &mut [u8],
        waker: Waker,
        effects: &mut Effects<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(not_connected()));
        };
        let phase = connection.side(end).phase;
        let pipe = connection.incoming(end);
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if pipe.received.is_empty() {
            if pipe.fin_received || pipe.read_shut {
                return Poll::Ready(Ok(0));
            }
            if let Some(error) = failure(phase) {
                return Poll::Ready(Err(error));
            }
            wait_in(&mut pipe.reader, waker, effects);
            effects.record(id, "tcp.wait");
            self.vanish_by_chance(id, end.other(), effects);
            return Poll::Pending;
        }
        let most = buf.len().min(pipe.received.len());
        let count = shorten(effects, self.config.short_probability, most);
        for (place, byte) in buf.iter_mut().zip(pipe.received.drain(..count)) {
            *place = byte;
        }
        effects.record(id, "tcp.read");
        self.make_room(id, end.other(), count, effects);
        Poll::Ready(Ok(count))
    }

    pub(super) fn write(
        &mut self,
        id: ConnectionId,
        end: End,
        bytes: &[u8],
        waker: Waker,
        effects: &mut Effects<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(not_connected()));
        };
        let side = connection.side(end);
        let ended = connection.side(end.other()).outgoing.fin_received;
        match failure(side.phase) {
            Some(_) if side.phase == Phase::Reset && ended => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Some(error) => return Poll::Ready(Err(error)),
            None if side.outgoing.fin_sent => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            None => {}
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let size = side
            .options
            .send_buffer_bytes
            .unwrap_or(self.config.buffer_bytes);
        let pipe = connection.outgoing(end);
        let room = size.max(1).saturating_sub(pipe.held);
        if room == 0 {
            wait_in(&mut pipe.writer, waker, effects);
            effects.record(id, "tcp.wait");
            return Poll::Pending;
        }
        let most = room.min(bytes.len());
        if connection.stands() && effects.fault(self.faults.reset, 1, Trouble::Reset) > 0 {
            self.reset(id, effects);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (own, peer) = connection.ips(end);
        self.part_by_chance(own, peer, effects);
        self.vanish_by_chance(id, end.other(), effects);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(not_connected()));
        };
        let count = shorten(effects, self.config.short_probability, most);
        connection.outgoing(end).held += count;
        effects.record(id, "tcp.write");
        self.send(id, end, Segment::Data(bytes[..count].to_vec()), effects);
        Poll::Ready(Ok(count))
    }

    pub(super) fn shutdown(
        &mut self,
        id: ConnectionId,
        end: End,
        how: Shutdown,
        effects: &mut Effects<'_>,
    ) -> io::Result<()> {
        let connection = self.connections.get_mut(&id).ok_or_else(not_connected)?;
        if connection.side(end).phase != Phase::Connected {
            // There is nothing left to end.
            return Ok(());
        }
        effects.record(id, "tcp.shutdown");
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            let pipe = connection.incoming(end);
            pipe.read_shut = true;
            effects.wake.extend(pipe.reader.take());
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            let pipe = connection.outgoing(end);
            effects.wake.extend(pipe.writer.take());
            if !std::mem::replace(&mut pipe.fin_sent, true) {
                self.send(id, end, Segment::Fin, effects);
            }
        }
        Ok(())
    }

    /// The end's own address and its peer's.
    pub(super) fn addresses(
        &self,
        id: ConnectionId,
        end: End,
    ) -> io::Result<(SocketAddr, SocketAddr)> {
        let connection = self.connections.get(&id).ok_or_else(not_connected)?;
        let (own, peer) = (connection.side(end), connection.side(end.other()));
        Ok((own.address, peer.address))
    }

    pub(super) fn options(&self, id: ConnectionId, end: End) -> io::Result<TcpOptions> {
        let connection = self.connections.get(&id).ok_or_else(not_connected)?;
        let defaults = TcpOptions::new()
            .nodelay(false)
            .ttl(TTL)
            .linger(None)
            .keepalive(None)
            .send_buffer_bytes(self.config.buffer_bytes)
            .recv_buffer_bytes(self.config.buffer_bytes);
        Ok(connection.side(end).options.or(&defaults))
    }

    pub(super) fn set_options(
        &mut self,
        id: ConnectionId,
        end: End,
        options: &TcpOptions,
        effects: &mut Effects<'_>,
    ) -> io::Result<()> {
        let connection = self.connections.get_mut(&id).ok_or_else(not_connected)?;
        let side = connection.side_mut(end);
        side.options = options.or(&side.options);
        // A larger buffer may have room now.
        effects.wake.extend(side.outgoing.writer.take());
        Ok(())
    }

    /// The program lets go of its end.
    pub(super) fn close(&mut self, id: ConnectionId, end: End, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let unread = !connection.incoming(end).received.is_empty();
        let linger = connection.side(end).options.linger;
        if unread || linger == Some(Some(Duration::ZERO)) {
            return self.abort(id, end, effects);
        }
        effects.record(id, "tcp.close");
        let side = connection.side_mut(end);
        side.open = false;
        let says_so = side.phase == Phase::Connected && !side.outgoing.fin_sent;
        side.outgoing.fin_sent = true;
        if says_so {
            self.send(id, end, Segment::Fin, effects);
        }
        self.remove_if_left(id, effects);
    }

    /// Ends a connection from one end: what it has not read is lost, and the peer is told of a reset.
    pub(super) fn abort(&mut self, id: ConnectionId, end: End, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        effects.record(id, "tcp.abort");
        let side = connection.side_mut(end);
        side.open = false;
        let tells = side.phase == Phase::Connected;
        let phase = if side.phase.is_forgotten() {
            side.phase
        } else {
            Phase::Reset
        };
        connection.break_end(end, phase, false, effects);
        if tells {
            self.send(id, end, Segment::Reset, effects);
        }
        self.remove_if_left(id, effects);
    }

    pub(super) fn remove_if_left(&mut self, id: ConnectionId, effects: &mut Effects<'_>) {
        let left = |each: &Connection| !each.side(End::Client).open && !each.side(End::Server).open;
        if !self.connections.get(&id).is_some_and(left) {
            return;
        }
        if let Some(mut connection) = self.connections.remove(&id) {
            self.by_addresses.remove(&connection.addresses());
            connection.forget_wakers(effects);
        }
    }
}

/// What an end can no longer do anything but say.
fn failure(phase: Phase) -> Option<io::Error> {
    match phase {
        Phase::Connected => None,
        Phase::Connecting => Some(not_connected()),
        Phase::Refused => Some(io::ErrorKind::ConnectionRefused.into()),
        Phase::Reset => Some(io::ErrorKind::ConnectionReset.into()),
        Phase::TimedOut => Some(io::ErrorKind::TimedOut.into()),
        Phase::Gone => Some(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Mostly all of it, now and then only a part: one byte, or so many of [`SHORT_PARTS`].
fn shorten(effects: &Effects<'_>, probability: f64, most: usize) -> usize {
    if most < 2 {
        return most;
    }
    match effects.decide(probability, SHORT_PARTS) {
        0 => most,
        part => (most.saturating_mul(part as usize - 1) / SHORT_PARTS as usize).max(1),
    }
}

/// How many lengths a short read or write can have.
const SHORT_PARTS: u32 = 8;
/// What a socket has unless told otherwise.
const TTL: u32 = 64;
