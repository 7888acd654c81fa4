//! One connection: two ends and the two directions between them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use asupersync_core::Time;
use asupersync_net::TcpOptions;

use super::Effects;
use super::stalls::Stall;
use super::wire::Wire;

/// Names a connection.
pub(super) type ConnectionId = u64;

/// An end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What is to happen when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alarm {
    /// The next segment from an end of a connection is due.
    Segment { connection: ConnectionId, from: End },
    /// An end that has heard nothing since then has waited for long enough.
    Unheard {
        connection: ConnectionId,
        from: End,
        since: Time,
    },
    /// A partition is over.
    Heal(u64),
}

/// What travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    /// The client wants a connection.
    Syn,
    /// The server's system has taken it.
    Established,
    /// Nobody listens there.
    Refused,
    /// Bytes; never none.
    Data(Vec<u8>),
    /// No more bytes will come.
    Fin,
    /// The connection is broken.
    Reset,
}

impl Segment {
    /// How many bytes of the program are in it.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Syn | Self::Established | Self::Refused | Self::Fin | Self::Reset => 0,
        }
    }

    /// After how long it is first sent again.
    ///
    /// # Source
    /// RFC 6298, section 2: 1 second while nothing was measured; what systems then take is often their least, which is 200 ms on Linux.
    pub(super) const fn patience(&self) -> Duration {
        match self {
            Self::Syn | Self::Established => Duration::from_secs(1),
            Self::Refused | Self::Data(_) | Self::Fin | Self::Reset => Duration::from_millis(200),
        }
    }
}

/// What an end knows of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Connected,
    Refused,
    Reset,
    /// It has heard nothing for too long.
    TimedOut,
    /// Its machine has lost it.
    Gone,
}

impl Phase {
    /// Whether the end's system knows nothing of the connection any more, although the other end was not told.
    pub(super) const fn is_forgotten(self) -> bool {
        match self {
            Self::TimedOut | Self::Gone => true,
            Self::Connecting | Self::Connected | Self::Refused | Self::Reset => false,
        }
    }
}

/// One direction, named by the end that sends.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) in_flight: VecDeque<(Time, Segment)>,
    pub(super) wire: Wire,
    pub(super) received: VecDeque<u8>,
    /// Bytes that have their place in the buffer: under way, received and not read, or read and the sender has not heard of it.
    pub(super) held: usize,
    /// Bytes that were read, of which the sender has not heard.
    pub(super) owed: usize,
    /// Since when the sender cannot hear that its bytes have arrived.
    pub(super) unheard_since: Option<Time>,
    /// Whether the next segment does not get through.
    pub(super) stall: Option<Stall>,
    pub(super) fin_sent: bool,
    pub(super) fin_received: bool,
    /// The other end takes no more bytes.
    pub(super) read_shut: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    /// The sender hears of what was read.
    pub(super) fn acknowledge(&mut self, effects: &mut Effects<'_>) {
        self.held -= std::mem::take(&mut self.owed);
        effects.wake.extend(self.writer.take());
    }
}

/// One end, as its program holds it.
pub(super) struct Side {
    pub(super) address: SocketAddr,
    pub(super) phase: Phase,
    /// Whether a program or a listener's queue holds it.
    pub(super) open: bool,
    pub(super) options: TcpOptions,
    pub(super) outgoing: Pipe,
    /// Until when nothing reaches it, although its address is there.
    pub(super) silent_until: Time,
    /// Whether it has answered by a reset what it knew nothing of.
    pub(super) has_answered: bool,
}

pub(super) struct Connection {
    /// How much longer each segment takes, since the server is slow.
    pub(super) slowed: Duration,
    client: Side,
    server: Side,
}

impl Connection {
    pub(super) fn new(client: SocketAddr, server: SocketAddr, options: TcpOptions) -> Self {
        let side = |address, phase, open, options| Side {
            address,
            phase,
            open,
            options,
            outgoing: Pipe::default(),
            silent_until: Time::ZERO,
            has_answered: false,
        };
        Self {
            slowed: Duration::ZERO,
            client: side(client, Phase::Connecting, true, options),
            server: side(server, Phase::Connecting, false, TcpOptions::new()),
        }
    }

    pub(super) const fn side(&self, end: End) -> &Side {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }

    pub(super) const fn side_mut(&mut self, end: End) -> &mut Side {
        match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// The direction in which this end sends.
    pub(super) const fn outgoing(&mut self, end: End) -> &mut Pipe {
        &mut self.side_mut(end).outgoing
    }

    /// The direction from which this end reads.
    pub(super) const fn incoming(&mut self, end: End) -> &mut Pipe {
        self.outgoing(end.other())
    }

    /// The client's address and the server's.
    pub(super) const fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.client.address, self.server.address)
    }

    /// The addresses of an end and of its peer.
    pub(super) fn ips(&self, end: End) -> (IpAddr, IpAddr) {
        let ip = |end| self.side(end).address.ip();
        (ip(end), ip(end.other()))
    }

    /// Whether both ends have it.
    pub(super) fn stands(&self) -> bool {
        [&self.client, &self.server]
            .iter()
            .all(|side| side.phase == Phase::Connected && side.open)
    }

    /// Breaks one end: what it would still send is lost, and it learns of it at once.
    pub(super) fn break_end(
        &mut self,
        end: End,
        phase: Phase,
        keep_received: bool,
        effects: &mut Effects<'_>,
    ) {
        self.side_mut(end).phase = phase;
        let outgoing = self.outgoing(end);
        outgoing.in_flight.clear();
        outgoing.held = outgoing.received.len();
        outgoing.owed = 0;
        outgoing.unheard_since = None;
        outgoing.stall = None;
        effects.wake.extend(outgoing.writer.take());
        let incoming = self.incoming(end);
        if !keep_received {
            incoming.held -= incoming.received.len();
            incoming.received.clear();
        }
        effects.wake.extend(incoming.reader.take());
    }

    /// Hands the wakers out, so that they are not dropped under the lock.
    pub(super) fn forget_wakers(&mut self, effects: &mut Effects<'_>) {
        for end in [End::Client, End::Server] {
            let pipe = self.outgoing(end);
            effects.forget.extend(pipe.reader.take());
            effects.forget.extend(pipe.writer.take());
        }
    }
}

/// Keeps the waker of the last poll.
pub(super) fn wait_in(slot: &mut Option<Waker>, waker: Waker, effects: &mut Effects<'_>) {
    effects.forget.extend(slot.replace(waker));
}
