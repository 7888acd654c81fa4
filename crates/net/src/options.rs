//! What can be set on sockets.

use std::net::SocketAddr;
use std::time::Duration;

/// Options of a TCP stream; what is `None` is left as the system has it.
///
/// # Examples
/// ```
/// use asupersync_net::TcpOptions;
/// let options = TcpOptions::new().nodelay(true).ttl(64);
/// assert_eq!(options.or(&TcpOptions::new().nodelay(false)).nodelay, Some(true));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Whether small writes go out at once instead of being gathered (`TCP_NODELAY`).
    pub nodelay: Option<bool>,
    /// Over how many routers a packet may go (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    pub ttl: Option<u32>,
    /// What dropping the stream does with bytes that were not yet sent (`SO_LINGER`); see [`linger`](Self::linger).
    pub linger: Option<Option<Duration>>,
    /// Whether an idle connection is probed, and how (`SO_KEEPALIVE`); `Some(None)` switches it off.
    pub keepalive: Option<Option<Keepalive>>,
    /// Size of the buffer for bytes under way, in bytes (`SO_SNDBUF`); Linux doubles it.
    pub send_buffer_bytes: Option<usize>,
    /// Size of the buffer for bytes not yet read, in bytes (`SO_RCVBUF`); Linux doubles it.
    pub recv_buffer_bytes: Option<usize>,
}

/// How an idle connection is probed; what is `None` is left as the system has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Keepalive {
    /// How long a connection is idle before the first probe; whole seconds.
    pub idle: Option<Duration>,
    /// The time between probes; whole seconds.
    pub interval: Option<Duration>,
    /// After how many unanswered probes the connection counts as broken.
    pub retries: Option<u32>,
}

impl Keepalive {
    /// The first probe after `idle`.
    #[must_use]
    pub const fn after(idle: Duration) -> Self {
        Self {
            idle: Some(idle),
            interval: None,
            retries: None,
        }
    }

    /// The time between probes.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// After how many unanswered probes the connection counts as broken.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }
}

impl TcpOptions {
    /// Everything as the system has it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nodelay: None,
            ttl: None,
            linger: None,
            keepalive: None,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
        }
    }

    /// Whether small writes go out at once instead of being gathered.
    #[must_use]
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = Some(nodelay);
        self
    }

    /// Over how many routers a packet may go.
    #[must_use]
    pub const fn ttl(mut self, hops: u32) -> Self {
        self.ttl = Some(hops);
        self
    }

    /// What dropping the stream does with bytes that were not yet sent.
    ///
    /// `None`: the system sends them in the background.
    /// Zero: they are thrown away and the connection is reset.
    /// More: the thread that drops the stream is blocked for up to so long, whole seconds; on a worker that stops other tasks too, so avoid it.
    #[must_use]
    pub const fn linger(mut self, linger: Option<Duration>) -> Self {
        self.linger = Some(linger);
        self
    }

    /// Whether an idle connection is probed, and how.
    #[must_use]
    pub const fn keepalive(mut self, keepalive: Option<Keepalive>) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// Size of the buffer for bytes under way, in bytes.
    #[must_use]
    pub const fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = Some(bytes);
        self
    }

    /// Size of the buffer for bytes not yet read, in bytes.
    #[must_use]
    pub const fn recv_buffer_bytes(mut self, bytes: usize) -> Self {
        self.recv_buffer_bytes = Some(bytes);
        self
    }

    /// These options, and `other`'s where these leave something open.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            nodelay: self.nodelay.or(other.nodelay),
            ttl: self.ttl.or(other.ttl),
            linger: self.linger.or(other.linger),
            keepalive: self.keepalive.or(other.keepalive),
            send_buffer_bytes: self.send_buffer_bytes.or(other.send_buffer_bytes),
            recv_buffer_bytes: self.recv_buffer_bytes.or(other.recv_buffer_bytes),
        }
    }
}

/// How a connection is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TcpConnectOptions {
    /// Options of the stream.
    pub stream: TcpOptions,
    /// The own address; the system chooses unless set, and its port if that is 0.
    pub local: Option<SocketAddr>,
    /// Whether the own address may still be in use by an ended connection (`SO_REUSEADDR`).
    pub reuse_address: bool,
    /// Whether several sockets may have the own address (`SO_REUSEPORT`); where the system has no such option this does nothing.
    pub reuse_port: bool,
}

impl TcpConnectOptions {
    /// Everything as the system has it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stream: TcpOptions::new(),
            local: None,
            reuse_address: false,
            reuse_port: false,
        }
    }

    /// Options of the stream.
    #[must_use]
    pub const fn stream(mut self, options: TcpOptions) -> Self {
        self.stream = options;
        self
    }

    /// The own address.
    #[must_use]
    pub const fn local(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Whether the own address may still be in use by an ended connection.
    #[must_use]
    pub const fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether several sockets may have the own address.
    #[must_use]
    pub const fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }
}

/// How a listener is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TcpListenOptions {
    /// How many connections may wait to be accepted; the system may cap it.
    pub backlog: u32,
    /// Whether the address may still be in use by ended connections (`SO_REUSEADDR`); on Unix it may unless switched off.
    pub reuse_address: bool,
    /// Whether several listeners may share the address, each getting a part of the connections (`SO_REUSEPORT`); where the system has no such option this does nothing.
    pub reuse_port: bool,
    /// Whether a listener on an IPv6 address takes IPv6 connections only (`IPV6_V6ONLY`).
    pub only_v6: Option<bool>,
    /// Options of the accepted streams.
    pub stream: TcpOptions,
}

impl Default for TcpListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TcpListenOptions {
    /// A backlog of 1024, and what suits a server.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_address: cfg!(unix),
            reuse_port: false,
            only_v6: None,
            stream: TcpOptions::new(),
        }
    }

    /// How many connections may wait to be accepted.
    #[must_use]
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether the address may still be in use by ended connections.
    #[must_use]
    pub const fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether several listeners may share the address.
    #[must_use]
    pub const fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Whether a listener on an IPv6 address takes IPv6 connections only.
    #[must_use]
    pub const fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    /// Options of the accepted streams.
    #[must_use]
    pub const fn stream(mut self, options: TcpOptions) -> Self {
        self.stream = options;
        self
    }
}

/// As many as other servers take.
const BACKLOG: u32 = 1024;
