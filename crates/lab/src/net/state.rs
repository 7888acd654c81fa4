//! The network's decisions: state and an operation in, effects out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use asupersync_core::Time;
use asupersync_net::{TcpConnectOptions, TcpListenOptions, TcpOptions};

use super::Effects;
use super::config::NetConfig;
use super::connection::{Connection, ConnectionId, Delivery, End, Phase, Segment, wait_in};

/// Names a listener.
pub(super) type ListenerId = u64;

struct Listener {
    address: SocketAddr,
    options: TcpListenOptions,
    /// Connections to be accepted; at most the backlog.
    ready: VecDeque<ConnectionId>,
    /// Connections that the backlog has no room for; each has a client that waits.
    waiting: VecDeque<ConnectionId>,
    accepting: VecDeque<Waker>,
}

pub(super) struct State {
    config: NetConfig,
    rng: fastrand::Rng,
    listeners: BTreeMap<ListenerId, Listener>,
    connections: BTreeMap<ConnectionId, Connection>,
    by_addresses: BTreeMap<(SocketAddr, SocketAddr), ConnectionId>,
    next_port: u16,
}

impl State {
    pub(super) fn new(seed: u64, config: NetConfig) -> Self {
        Self {
            config,
            // Its own stream of numbers, so that traffic does not shift the schedule.
            rng: fastrand::Rng::with_seed(seed ^ SEED_MARK),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            by_addresses: BTreeMap::new(),
            next_port: EPHEMERAL_MIN,
        }
    }

    pub(super) fn set_latency(&mut self, latency: Duration, jitter: Duration) {
        self.config.latency = latency;
        self.config.jitter = jitter;
    }

    pub(super) fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.config.hosts.get(host) {
            Some(found) => Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the lab's network knows no such host; name it with `NetConfig::host`",
            )),
        }
    }

    // --- listeners

    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        options: &TcpListenOptions,
        effects: &mut Effects<'_>,
    ) -> io::Result<ListenerId> {
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
    fn is_listened_on(&self, address: SocketAddr, reuse_port: bool) -> bool {
        self.listeners.values().any(|listener| {
            let shares = reuse_port && listener.options.reuse_port;
            overlap(listener.address, address) && !shares
        })
    }

    /// The listener that a connection to `address` reaches; one of several is drawn.
    fn listener_at(&mut self, address: SocketAddr) -> Option<ListenerId> {
        let exact: Vec<ListenerId> = self.listeners_where(|own| own == address);
        let found = if exact.is_empty() {
            self.listeners_where(|own| own.ip().is_unspecified() && overlap(own, address))
        } else {
            exact
        };
        match found.len() {
            0 => None,
            1 => found.first().copied(),
            count => Some(found[self.rng.usize(..count)]),
        }
    }

    fn listeners_where(&self, matches: impl Fn(SocketAddr) -> bool) -> Vec<ListenerId> {
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
            return Poll::Pending;
        };
        let options = listener.options.stream;
        self.admit_waiting(id, effects);
        let accepted = self
            .connections
            .get_mut(&connection)
            .expect("a connection stays while a listener's queue holds its server end");
        effects.record(connection, "tcp.accept");
        accepted.side_mut(End::Server).options = options;
        Poll::Ready(Ok((connection, accepted.side(End::Client).address)))
    }

    /// Moves connections into the backlog while it has room.
    fn admit_waiting(&mut self, id: ListenerId, effects: &mut Effects<'_>) {
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
            effects.wake.extend(listener.accepting.drain(..));
            self.send(next, End::Server, Segment::Established, effects);
        }
    }

    pub(super) fn close_listener(&mut self, id: ListenerId, effects: &mut Effects<'_>) {
        let Some(listener) = self.listeners.remove(&id) else {
            return;
        };
        effects.record(id, "tcp.close");
        effects.forget.extend(listener.accepting);
        for connection in listener.waiting {
            self.send(connection, End::Server, Segment::Refused, effects);
        }
        for connection in listener.ready {
            self.abort(connection, End::Server, effects);
        }
    }

    // --- connections

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
        self.connections
            .insert(id, Connection::new(client, server, options.stream));
        self.by_addresses.insert((client, server), id);
        self.send(id, End::Client, Segment::Syn, effects);
        Ok(id)
    }

    fn is_taken(&self, client: SocketAddr, server: SocketAddr) -> bool {
        self.by_addresses.contains_key(&(client, server))
    }

    /// Tries each ephemeral port once, going on where the last search ended.
    fn free_port(
        &mut self,
        accept: impl Fn(&Self, u16) -> Option<SocketAddr>,
    ) -> io::Result<SocketAddr> {
        for _ in EPHEMERAL_MIN..=u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_MIN);
            if let Some(address) = accept(self, port) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
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
            Phase::Connecting => {
                wait_in(&mut connection.outgoing(end).writer, waker, effects);
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
            return Poll::Pending;
        }
        let most = buf.len().min(pipe.received.len());
        let count = shorten(&mut self.rng, self.config.short_probability, most);
        for (place, byte) in buf.iter_mut().zip(pipe.received.drain(..count)) {
            *place = byte;
        }
        pipe.held -= count;
        effects.wake.extend(pipe.writer.take());
        effects.record(id, "tcp.read");
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
            return Poll::Pending;
        }
        if chance(&mut self.rng, self.config.reset_probability) {
            self.reset(id, effects);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = room.min(bytes.len());
        let count = shorten(&mut self.rng, self.config.short_probability, most);
        pipe.held += count;
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
    fn abort(&mut self, id: ConnectionId, end: End, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        effects.record(id, "tcp.abort");
        let side = connection.side_mut(end);
        side.open = false;
        let tells = side.phase == Phase::Connected;
        connection.break_end(end, false, effects);
        if tells {
            self.send(id, end, Segment::Reset, effects);
        }
        self.remove_if_left(id, effects);
    }

    fn remove_if_left(&mut self, id: ConnectionId, effects: &mut Effects<'_>) {
        let left = |each: &Connection| !each.side(End::Client).open && !each.side(End::Server).open;
        if !self.connections.get(&id).is_some_and(left) {
            return;
        }
        if let Some(mut connection) = self.connections.remove(&id) {
            self.by_addresses.remove(&connection.addresses());
            connection.forget_wakers(effects);
        }
    }

    // --- faults

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
        self.reset(id, effects)
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
        let (id, addresses) = standing[self.rng.usize(..standing.len())];
        self.reset(id, effects).then_some(addresses)
    }

    /// Breaks both ends at once; whether bytes that had arrived can still be read is drawn for each.
    fn reset(&mut self, id: ConnectionId, effects: &mut Effects<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|each| each.stands()) else {
            return false;
        };
        effects.record(id, "tcp.reset");
        for end in [End::Client, End::Server] {
            connection.break_end(end, self.rng.bool(), effects);
        }
        true
    }

    /// The machine of an address goes down.
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

    // --- segments

    fn send(&mut self, id: ConnectionId, from: End, segment: Segment, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let jitter = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let extra = if jitter == 0 {
            0
        } else {
            self.rng.u64(..=jitter)
        };
        let pipe = connection.outgoing(from);
        let earliest = effects.now + self.config.latency + Duration::from_nanos(extra);
        pipe.last_arrival = pipe.last_arrival.max(earliest);
        pipe.in_flight.push_back((pipe.last_arrival, segment));
        effects.deliver.push((
            pipe.last_arrival,
            Delivery {
                connection: id,
                from,
            },
        ));
    }

    pub(super) fn deliver(&mut self, delivery: Delivery, effects: &mut Effects<'_>) {
        let Delivery {
            connection: id,
            from,
        } = delivery;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = connection.outgoing(from);
        // What was lost in a reset leaves deliveries behind that find nothing.
        let due = |(at, _): &(Time, Segment)| *at <= effects.now;
        if !pipe.in_flight.front().is_some_and(due) {
            return;
        }
        let Some((_, segment)) = pipe.in_flight.pop_front() else {
            return;
        };
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
                pipe.fin_received = true;
                effects.wake.extend(pipe.reader.take());
            }
            Segment::Reset => {
                effects.record(id, "tcp.reset");
                connection.break_end(from.other(), self.rng.bool(), effects);
            }
        }
    }

    fn arrive_syn(&mut self, id: ConnectionId, effects: &mut Effects<'_>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (_, server) = connection.addresses();
        let Some(listener) = self.listener_at(server) else {
            return self.send(id, End::Server, Segment::Refused, effects);
        };
        if let Some(found) = self.listeners.get_mut(&listener) {
            found.waiting.push_back(id);
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
            connection.outgoing(from).held -= bytes.len();
            if connection.side(from.other()).phase == Phase::Connected {
                connection.side_mut(from.other()).phase = Phase::Reset;
                self.send(id, from.other(), Segment::Reset, effects);
            }
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
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Whether two listeners' addresses stand for a common one; the IPv6 wildcard includes IPv4.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, narrow: SocketAddr| match wide.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let same_port = one.port() == other.port();
    same_port && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

fn chance(rng: &mut fastrand::Rng, probability: f64) -> bool {
    probability > 0.0 && rng.f64() < probability
}

/// Mostly all of it, now and then only a part; at least one.
fn shorten(rng: &mut fastrand::Rng, probability: f64, most: usize) -> usize {
    if most > 1 && chance(rng, probability) {
        rng.usize(1..most)
    } else {
        most
    }
}

const SEED_MARK: u64 = 0x6E65_7477_6F72_6B21;
/// The first of the ports that are given out.
const EPHEMERAL_MIN: u16 = 49_152;
/// What a socket has unless told otherwise.
const TTL: u32 = 64;
/// So many tasks are remembered as waiting to accept; one more wakes the oldest, which then asks again.
const ACCEPTING_MAX: usize = 1024;
