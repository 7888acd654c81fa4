//! What connections arrive at.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use asupersync_kernel::caps::HasIo;
use asupersync_kernel::{CancelWait, Cx};

use crate::address::{Address, find};
use crate::error::NetError;
use crate::options::TcpListenOptions;
use crate::port::{ListenIo, NetPort};
use crate::stream::TcpStream;

/// A TCP socket that accepts connections.
///
/// Any number of tasks may accept at once.
/// Dropping it resets the connections that nobody has accepted.
pub struct TcpListener {
    io: Arc<dyn ListenIo>,
    address: SocketAddr,
}

impl TcpListener {
    /// Listens on an address; if it stands for several, on the first that can be had.
    ///
    /// Port 0 lets the system choose; [`local_addr`](Self::local_addr) tells.
    /// # Errors
    /// [`NetError`]: of the last address, if none can be had.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub async fn bind<C: HasIo>(cx: &Cx<C>, address: impl Into<Address>) -> Result<Self, NetError> {
        Self::bind_with(cx, address, &TcpListenOptions::new()).await
    }

    /// As [`bind`](Self::bind), with options.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); an option that the system refuses counts as the address's failure.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub async fn bind_with<C: HasIo>(
        cx: &Cx<C>,
        address: impl Into<Address>,
        options: &TcpListenOptions,
    ) -> Result<Self, NetError> {
        let address = address.into();
        let net = NetPort::of(cx)?;
        let mut failed = None;
        for address in find(cx, net, address).await? {
            match net.driver().listen(address, options) {
                Ok(io) => {
                    let address = io.local_addr().map_err(NetError::LocalAddress)?;
                    return Ok(Self { io, address });
                }
                Err(source) => failed = Some(NetError::Bind { address, source }),
            }
        }
        Err(failed.expect("there was an address, and each that did not return has failed"))
    }

    /// Waits for a connection; gives it and the peer's address.
    ///
    /// Connections that die while they wait are passed over.
    /// # Errors
    /// [`NetError::Accept`]; if it [is transient](NetError::is_transient), sleep for a moment and go on.
    /// [`NetError::Cancelled`] if the holder of the context must stop.
    /// # Cancel safety
    /// Safe: no connection has been taken.
    pub async fn accept<C: HasIo>(&self, cx: &Cx<C>) -> Result<(TcpStream, SocketAddr), NetError> {
        let _authority = cx;
        let mut cancel = CancelWait::new();
        let (io, peer) = poll_fn(|task| {
            if let Poll::Ready(stop) = cancel.poll(task) {
                return Poll::Ready(Err(NetError::Cancelled(stop)));
            }
            self.io
                .poll_accept(task)
                .map_err(|source| NetError::Accept {
                    address: self.address,
                    source,
                })
        })
        .await?;
        Ok((TcpStream::new(io), peer))
    }

    /// The own address, with the port that was chosen.
    ///
    /// # Errors
    /// Never; the signature is what users know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("local", &self.address)
            .finish_non_exhaustive()
    }
}
