//! The operating system's TCP, waited for with the reactor.
//!
//! A call is tried first and waited for only when it would block.

mod stream;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use asupersync_reactor::os::{Interest, TcpListener, TcpStream};
use asupersync_reactor::{Direction, IoSource, ReactorHandle};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::options::{Keepalive, TcpConnectOptions, TcpListenOptions, TcpOptions};
use crate::port::{Accepted, ListenIo, NetDriver, StreamIo};

use self::stream::OsStream;

pub(crate) struct OsNet {
    reactor: ReactorHandle,
}

struct OsListener {
    source: IoSource<TcpListener>,
    accepted: TcpOptions,
}

impl OsNet {
    pub(crate) const fn new(reactor: ReactorHandle) -> Self {
        Self { reactor }
    }
}

impl NetDriver for OsNet {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: &TcpConnectOptions,
    ) -> io::Result<Arc<dyn StreamIo>> {
        let socket = new_socket(address)?;
        apply(SockRef::from(&socket), &options.stream)?;
        if options.reuse_address {
            socket.set_reuse_address(true)?;
        }
        reuse_port(&socket, options.reuse_port)?;
        if let Some(local) = options.local {
            socket.bind(&local.into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if !is_in_progress(&error) => return Err(error),
            _ => {}
        }
        let stream = OsStream::watched(TcpStream::from_std(socket.into()), &self.reactor)?;
        Ok(Arc::new(stream))
    }

    fn listen(
        &self,
        address: SocketAddr,
        options: &TcpListenOptions,
    ) -> io::Result<Arc<dyn ListenIo>> {
        let socket = new_socket(address)?;
        if options.reuse_address {
            socket.set_reuse_address(true)?;
        }
        reuse_port(&socket, options.reuse_port)?;
        if let Some(only) = options.only_v6.filter(|_| address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        // Buffer sizes decide the window that is offered, so they must stand before; and what is refused is refused here.
        apply(SockRef::from(&socket), &options.stream)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from_std(socket.into());
        Ok(Arc::new(OsListener {
            source: self.reactor.register(listener, Interest::READABLE)?,
            accepted: options.stream,
        }))
    }
}

impl ListenIo for OsListener {
    fn poll_accept(&self, task: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let accepted = self.source.poll_io(Direction::Read, task, |listener| {
            loop {
                match listener.accept() {
                    Err(error) if died_in_the_queue(&error) => {}
                    end => return end,
                }
            }
        });
        let (stream, peer) = ready!(accepted)?;
        let stream = OsStream::watched(stream, self.source.reactor())?;
        stream.set_options(&self.accepted)?;
        Poll::Ready(Ok((Arc::new(stream), peer)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn apply(socket: SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    if let Some(nodelay) = options.nodelay {
        socket.set_tcp_nodelay(nodelay)?;
    }
    if let Some(hops) = options.ttl {
        if is_v6(&socket)? {
            socket.set_unicast_hops_v6(hops)?;
        } else {
            socket.set_ttl_v4(hops)?;
        }
    }
    if let Some(linger) = options.linger {
        socket.set_linger(linger)?;
    }
    match options.keepalive {
        None => {}
        Some(None) => socket.set_keepalive(false)?,
        Some(Some(keepalive)) => {
            socket.set_keepalive(true)?;
            socket.set_tcp_keepalive(&probes(&keepalive))?;
        }
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

fn probes(keepalive: &Keepalive) -> TcpKeepalive {
    let mut probes = TcpKeepalive::new();
    if let Some(idle) = keepalive.idle {
        probes = probes.with_time(idle);
    }
    if let Some(interval) = keepalive.interval {
        probes = probes.with_interval(interval);
    }
    if let Some(retries) = keepalive.retries {
        probes = probes.with_retries(retries);
    }
    probes
}

fn options_of(socket: SockRef<'_>) -> io::Result<TcpOptions> {
    let ttl = if is_v6(&socket)? {
        socket.unicast_hops_v6()?
    } else {
        socket.ttl_v4()?
    };
    let keepalive = if socket.keepalive()? {
        Some(Keepalive {
            idle: Some(socket.tcp_keepalive_time()?),
            interval: Some(socket.tcp_keepalive_interval()?),
            retries: Some(socket.tcp_keepalive_retries()?),
        })
    } else {
        None
    };
    Ok(TcpOptions {
        nodelay: Some(socket.tcp_nodelay()?),
        ttl: Some(ttl),
        linger: Some(socket.linger()?),
        keepalive: Some(keepalive),
        send_buffer_bytes: Some(socket.send_buffer_size()?),
        recv_buffer_bytes: Some(socket.recv_buffer_size()?),
    })
}

fn is_v6(socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(socket.local_addr()?.is_ipv6())
}

#[cfg(unix)]
fn reuse_port(socket: &Socket, reuse: bool) -> io::Result<()> {
    if reuse {
        socket.set_reuse_port(true)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn reuse_port(_socket: &Socket, _reuse: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(not(unix))]
fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether accepting failed because of that connection, not of the listener; Linux hands a connection's own errors to the one who accepts it.
fn died_in_the_queue(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable
    ) || is_protocol_error(error)
}

#[cfg(unix)]
fn is_protocol_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PROTO.raw_os_error())
}

#[cfg(not(unix))]
const fn is_protocol_error(_error: &io::Error) -> bool {
    false
}
