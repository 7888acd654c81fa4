//! The two directions of a TCP connection, apart.
//!
//! Splitting takes no lock: each direction has its own wait, and the network serves both at once.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_kernel::CancelWait;
use futures_io::{AsyncRead, AsyncWrite};

use crate::port::StreamIo;
use crate::stream::{TcpStream, poll_unless_cancelled, show};

/// The read direction of a borrowed stream; from [`TcpStream::split`].
pub struct ReadHalf<'a> {
    io: &'a dyn StreamIo,
    cancel: &'a mut CancelWait,
}

/// The write direction of a borrowed stream; from [`TcpStream::split`].
///
/// Dropping it closes nothing.
pub struct WriteHalf<'a> {
    io: &'a dyn StreamIo,
    cancel: &'a mut CancelWait,
}

/// The read direction of a stream; from [`TcpStream::into_split`].
///
/// Dropping it closes nothing while the other half lives.
pub struct OwnedReadHalf {
    io: Arc<dyn StreamIo>,
    cancel: CancelWait,
}

/// The write direction of a stream; from [`TcpStream::into_split`].
///
/// Dropping it closes the write direction, so that the peer's reader comes to its end.
pub struct OwnedWriteHalf {
    /// `None` only between [`OwnedReadHalf::reunite`] and the drop right after it.
    io: Option<Arc<dyn StreamIo>>,
    cancel: CancelWait,
}

/// Two halves that do not belong to one stream.
#[derive(Debug, thiserror::Error)]
#[error("the two halves belong to two streams, {0:?} and {1:?}")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl<'a> ReadHalf<'a> {
    pub(crate) fn new(io: &'a dyn StreamIo, cancel: &'a mut CancelWait) -> Self {
        Self { io, cancel }
    }
}

impl<'a> WriteHalf<'a> {
    pub(crate) fn new(io: &'a dyn StreamIo, cancel: &'a mut CancelWait) -> Self {
        Self { io, cancel }
    }
}

impl OwnedReadHalf {
    pub(crate) fn new(io: Arc<dyn StreamIo>, cancel: CancelWait) -> Self {
        Self { io, cancel }
    }

    /// Makes the stream whole again.
    ///
    /// # Errors
    /// [`ReuniteError`] with both halves, if they do not belong together.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.io, write.io()) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        Ok(TcpStream::new(self.io))
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
    /// What the network says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.peer_addr()
    }
}

impl OwnedWriteHalf {
    pub(crate) fn new(io: Arc<dyn StreamIo>, cancel: CancelWait) -> Self {
        Self {
            io: Some(io),
            cancel,
        }
    }

    fn io(&self) -> &Arc<dyn StreamIo> {
        self.io
            .as_ref()
            .expect("only forget takes it, and that takes self")
    }

    /// Drops the half without closing the write direction; that ends with the other half.
    pub fn forget(mut self) {
        self.io = None;
    }

    /// The own address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io().local_addr()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io().peer_addr()
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(io) = self.io.take() {
            // A connection that is gone refuses; its end needs no telling then.
            let _gone = io.shutdown(Shutdown::Write);
        }
    }
}

macro_rules! reading {
    ($half:ty) => {
        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                task: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let Self { io, cancel } = self.get_mut();
                poll_unless_cancelled(cancel, task, |task| io.poll_read(task, buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                task: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let Self { io, cancel } = self.get_mut();
                poll_unless_cancelled(cancel, task, |task| io.poll_read_vectored(task, bufs))
            }
        }
    };
}

reading!(ReadHalf<'_>);
reading!(OwnedReadHalf);

macro_rules! writing {
    ($half:ty, $this:ident => $io:expr) => {
        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                task: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let io: &dyn StreamIo = $io;
                poll_unless_cancelled(&mut $this.cancel, task, |task| io.poll_write(task, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                task: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let io: &dyn StreamIo = $io;
                poll_unless_cancelled(&mut $this.cancel, task, |task| {
                    io.poll_write_vectored(task, bufs)
                })
            }

            fn poll_flush(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                let io: &dyn StreamIo = $io;
                Poll::Ready(io.shutdown(Shutdown::Write))
            }
        }
    };
}

writing!(WriteHalf<'_>, this => this.io);
writing!(OwnedWriteHalf, this => {
    let io = this.io.as_deref();
    io.expect("only forget takes it, and that takes self")
});

impl fmt::Debug for ReadHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "ReadHalf", self.io)
    }
}

impl fmt::Debug for WriteHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "WriteHalf", self.io)
    }
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "OwnedReadHalf", &*self.io)
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "OwnedWriteHalf", &**self.io())
    }
}
