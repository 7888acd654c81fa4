//! The operating system's TCP, waited for with the reactor.
//!
//! A call is tried first and waited for only when it would block.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use asupersync_reactor::os::{Interest, TcpListener, TcpStream};
use asupersync_reactor::{Direction, IoSource, ReactorHandle};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::options::{Keepalive, TcpConnectOptions, TcpListenOptions, TcpOptions};
use crate::port::{Accepted, ListenIo, NetDriver, StreamIo};

pub(crate) struct OsNet {
    reactor: ReactorHandle,
}

struct OsStream(IoSource<TcpStream>);

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

impl OsStream {
    fn watched(stream: TcpStream, reactor: &ReactorHandle) -> io::Result<Self> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(Self(reactor.register(stream, both)?))
    }

    /// Moves bytes; one call that moves fewer than it could spares the next, which would block.
    fn poll_move(
        &self,
        direction: Direction,
        task: &mut Context<'_>,
        room: usize,
        mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let token = ready!(self.0.poll_ready(direction, task))?;
            match call(self.0.get_ref()) {
                Ok(moved) => {
                    if 0 < moved && moved < room.min(CALL_BYTES_MAX) {
                        self.0.clear_drained(token);
                    }
                    return Poll::Ready(Ok(moved));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.clear_blocked(token);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl StreamIo for OsStream {
    fn poll_connected(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_io(Direction::Write, task, |stream| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        })
    }

    fn poll_read(&self, task: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_move(Direction::Read, task, buf.len(), |mut stream| {
            stream.read(buf)
        })
    }

    fn poll_read_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = bufs.len().min(BUFS_MAX);
        let bufs = &mut bufs[..count];
        let room = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_move(Direction::Read, task, room, |mut stream| {
            stream.read_vectored(bufs)
        })
    }

    fn poll_write(&self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_move(Direction::Write, task, bytes.len(), |mut stream| {
            stream.write(bytes)
        })
    }

    fn poll_write_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A call takes at most so many buffers, and then moves fewer bytes though it would not block.
        let bufs = &bufs[..bufs.len().min(BUFS_MAX)];
        let room = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_move(Direction::Write, task, room, |mut stream| {
            stream.write_vectored(bufs)
        })
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.0.get_ref().shutdown(how) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            end => end,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }

    fn options(&self) -> io::Result<TcpOptions> {
        options_of(SockRef::from(self.0.get_ref()))
    }

    fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        apply(SockRef::from(self.0.get_ref()), options)
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

/// As many buffers as every system takes in one call.
const BUFS_MAX: usize = 1024;

/// A call may move no more than about two gigabytes, also when it would not block.
const CALL_BYTES_MAX: usize = 1 << 30;
