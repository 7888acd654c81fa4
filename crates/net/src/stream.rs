//! A TCP connection.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use asupersync_kernel::caps::HasIo;
use asupersync_kernel::{CancelWait, Cx};
use futures_io::{AsyncRead, AsyncWrite};

use crate::address::{Address, find};
use crate::error::NetError;
use crate::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::options::{TcpConnectOptions, TcpOptions};
use crate::port::{NetPort, StreamIo};

/// A TCP connection, read and written through the `futures_io` traits.
///
/// Reading and writing observe the cancellation of the context that is being polled; see the [crate](crate) for what they then return.
/// Closing it ends the write direction only; dropping it ends both, and resets the connection if bytes have arrived that were not read.
/// # Cancel safety
/// A read or write that is dropped or cancelled while it waits has moved no bytes.
/// # Examples
/// See the [crate](crate).
pub struct TcpStream {
    io: Arc<dyn StreamIo>,
    read: CancelWait,
    write: CancelWait,
}

impl TcpStream {
    /// Connects to an address; if it stands for several, to the first that answers.
    ///
    /// # Errors
    /// [`NetError`]: of the last address, if none answers.
    /// # Cancel safety
    /// Safe: what was begun is closed; the peer may have seen a connection come and go.
    pub async fn connect<C: HasIo>(
        cx: &Cx<C>,
        address: impl Into<Address>,
    ) -> Result<Self, NetError> {
        Self::connect_with(cx, address, &TcpConnectOptions::new()).await
    }

    /// As [`connect`](Self::connect), with options.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); an option that the system refuses counts as the address's failure.
    /// # Cancel safety
    /// Safe: as [`connect`](Self::connect).
    pub async fn connect_with<C: HasIo>(
        cx: &Cx<C>,
        address: impl Into<Address>,
        options: &TcpConnectOptions,
    ) -> Result<Self, NetError> {
        let address = address.into();
        let net = NetPort::of(cx)?;
        let mut failed = None;
        for address in find(cx, net, address).await? {
            match connect_one(net, address, options).await {
                Err(error @ NetError::Connect { .. }) => failed = Some(error),
                end => return end,
            }
        }
        Err(failed.expect("there was an address, and each that did not return has failed"))
    }

    pub(crate) fn new(io: Arc<dyn StreamIo>) -> Self {
        Self {
            io,
            read: CancelWait::new(),
            write: CancelWait::new(),
        }
    }

    /// The own address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// What the network says; a connection that has failed has no peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.peer_addr()
    }

    /// The options in force, as far as the network tells.
    ///
    /// # Errors
    /// What the network says.
    pub fn options(&self) -> io::Result<TcpOptions> {
        self.io.options()
    }

    /// Sets the options that are not left open, in the order of their declaration up to the first that fails.
    ///
    /// # Errors
    /// What the network says.
    pub fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        self.io.set_options(options)
    }

    /// Whether small writes go out at once instead of being gathered.
    ///
    /// # Errors
    /// What the network says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.set_options(&TcpOptions::new().nodelay(nodelay))
    }

    /// Ends the read direction, the write direction or both, without waiting.
    ///
    /// # Errors
    /// What the network says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.shutdown(how)
    }

    /// Two halves that borrow this stream and can be used at once within a task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let io = &*self.io;
        (
            ReadHalf::new(io, &mut self.read),
            WriteHalf::new(io, &mut self.write),
        )
    }

    /// Two halves that can go to two tasks; [`OwnedReadHalf::reunite`] undoes it.
    ///
    /// Dropping the write half closes the write direction.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let Self { io, read, write } = self;
        (
            OwnedReadHalf::new(Arc::clone(&io), read),
            OwnedWriteHalf::new(io, write),
        )
    }
}

async fn connect_one(
    net: &NetPort,
    address: SocketAddr,
    options: &TcpConnectOptions,
) -> Result<TcpStream, NetError> {
    let failed = |source| NetError::Connect { address, source };
    let io = net.driver().connect(address, options).map_err(failed)?;
    let mut cancel = CancelWait::new();
    poll_fn(|task| {
        if let Poll::Ready(stop) = cancel.poll(task) {
            return Poll::Ready(Err(NetError::Cancelled(stop)));
        }
        io.poll_connected(task).map_err(failed)
    })
    .await?;
    Ok(TcpStream::new(io))
}

/// Polls an operation of one direction, unless the context being polled must stop.
pub(crate) fn poll_unless_cancelled<R>(
    cancel: &mut CancelWait,
    task: &mut Context<'_>,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    let result = match cancel.poll(task) {
        Poll::Ready(stop) => Err(stop.into()),
        Poll::Pending => ready!(operation(task)),
    };
    // The wait is over; the stream may go to another task before its next.
    *cancel = CancelWait::new();
    Poll::Ready(result)
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, read, .. } = self.get_mut();
        poll_unless_cancelled(read, task, |task| io.poll_read(task, buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, read, .. } = self.get_mut();
        poll_unless_cancelled(read, task, |task| io.poll_read_vectored(task, bufs))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, write, .. } = self.get_mut();
        poll_unless_cancelled(write, task, |task| io.poll_write(task, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, write, .. } = self.get_mut();
        poll_unless_cancelled(write, task, |task| io.poll_write_vectored(task, bufs))
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the write direction; it does not wait, so cancellation does not stop it.
    fn poll_close(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io.shutdown(Shutdown::Write))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "TcpStream", &*self.io)
    }
}

pub(crate) fn show(f: &mut fmt::Formatter<'_>, name: &str, io: &dyn StreamIo) -> fmt::Result {
    f.debug_struct(name)
        .field("local", &io.local_addr().ok())
        .field("peer", &io.peer_addr().ok())
        .finish()
}
