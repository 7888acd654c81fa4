//! What a host's network must do.
//!
//! The traits are for hosts and for tests that bring a network of their own; programs use [`TcpStream`](crate::TcpStream) and [`TcpListener`](crate::TcpListener).
//! One operation costs one dynamic call.
//!
//! # Rules
//! - A poll that is pending has done nothing, and wakes the waker of the last poll in its direction when it is worth trying again.
//! - Reading and writing may happen from two tasks at once; one direction is polled by one task at a time, except accepting, which any number of tasks may wait for.
//! - No waker is called while the implementation holds a lock.
//! - Cancellation is not known here.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_kernel::Cx;
use asupersync_reactor::ReactorHandle;

use crate::error::NetError;
use crate::options::{TcpConnectOptions, TcpListenOptions, TcpOptions};
use crate::os::OsNet;

/// A host's network, found with `cx.port::<NetPort>()`.
#[derive(Clone)]
pub struct NetPort(Arc<dyn NetDriver>);

impl NetPort {
    /// A network of the host's own.
    #[must_use]
    pub fn new(driver: impl NetDriver) -> Self {
        Self(Arc::new(driver))
    }

    /// The operating system's network, waited for with this reactor.
    #[must_use]
    pub fn os(reactor: ReactorHandle) -> Self {
        Self::new(OsNet::new(reactor))
    }

    pub(crate) fn of<C>(cx: &Cx<C>) -> Result<&Self, NetError> {
        cx.port().ok_or(NetError::NoNetwork)
    }

    /// What drives it.
    #[must_use]
    pub fn driver(&self) -> &dyn NetDriver {
        &*self.0
    }
}

impl fmt::Debug for NetPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetPort").finish_non_exhaustive()
    }
}

/// Makes sockets.
pub trait NetDriver: Send + Sync + 'static {
    /// Looks a name up; may block, and is called where that is allowed.
    ///
    /// # Errors
    /// What the lookup says.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// Begins to connect; [`StreamIo::poll_connected`] tells when that is done.
    ///
    /// # Errors
    /// What the network says at once.
    fn connect(
        &self,
        address: SocketAddr,
        options: &TcpConnectOptions,
    ) -> io::Result<Arc<dyn StreamIo>>;

    /// Begins to listen.
    ///
    /// # Errors
    /// What the network says.
    fn listen(
        &self,
        address: SocketAddr,
        options: &TcpListenOptions,
    ) -> io::Result<Arc<dyn ListenIo>>;
}

/// A stream of bytes in both directions; dropping it closes both.
pub trait StreamIo: Send + Sync + 'static {
    /// Ready once the connection stands or has failed; it counts as the write direction.
    fn poll_connected(&self, task: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes bytes that have arrived; 0 into a non-empty buffer means that the peer sends no more.
    fn poll_read(&self, task: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// As [`poll_read`](Self::poll_read), into several buffers; only the first that is not empty unless overridden.
    fn poll_read_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => self.poll_read(task, buf),
            None => self.poll_read(task, &mut []),
        }
    }

    /// Gives bytes to the network; the number says how many it took.
    fn poll_write(&self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// As [`poll_write`](Self::poll_write), from several buffers; only the first that is not empty unless overridden.
    fn poll_write_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(task, first.map_or(&[], |buf| buf))
    }

    /// Ends a direction without waiting; ending one that has ended is no error.
    ///
    /// # Errors
    /// What the network says.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// The own address.
    ///
    /// # Errors
    /// What the network says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The peer's address.
    ///
    /// # Errors
    /// What the network says; a connection that has failed has no peer.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// The options in force, as far as the network tells.
    ///
    /// # Errors
    /// What the network says.
    fn options(&self) -> io::Result<TcpOptions>;

    /// Sets those options that are not `None`, in the order of their declaration up to the first that fails.
    ///
    /// # Errors
    /// What the network says.
    fn set_options(&self, options: &TcpOptions) -> io::Result<()>;
}

/// An accepted stream, and whose it is.
pub type Accepted = (Arc<dyn StreamIo>, SocketAddr);

/// What connections arrive at; dropping it refuses those that wait.
pub trait ListenIo: Send + Sync + 'static {
    /// Takes a connection that has arrived.
    ///
    /// A connection that died while it waited is passed over.
    fn poll_accept(&self, task: &mut Context<'_>) -> Poll<io::Result<Accepted>>;

    /// The own address.
    ///
    /// # Errors
    /// What the network says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}
