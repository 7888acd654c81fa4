//! Writing.
//!
//! Each method gives a future that borrows the writer and keeps its own progress.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

/// What can be done with a writer.
pub trait WriteExt: AsyncWrite {
    /// Writes a part of `bytes` and says how much.
    ///
    /// # Cancel safety
    /// Safe: a dropped call has written nothing.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Write<'a, Self>
    where
        Self: Unpin,
    {
        Write {
            writer: self,
            bytes,
        }
    }

    /// Writes all of `bytes`; into a buffered writer this does not flush.
    ///
    /// # Errors
    /// [`io::ErrorKind::WriteZero`] if the writer takes no more, or what it says.
    /// # Cancel safety
    /// Lossy: an unknown part of `bytes` has been written.
    /// Poll the future by reference instead of dropping it; [`WriteAll::unwritten`] says what is left.
    fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a, Self>
    where
        Self: Unpin,
    {
        WriteAll {
            writer: self,
            bytes,
        }
    }

    /// Writes a part of the buffers, in order, with one call, and says how much.
    ///
    /// # Cancel safety
    /// Safe: a dropped call has written nothing.
    fn write_vectored<'a>(&'a mut self, bufs: &'a [IoSlice<'a>]) -> WriteVectored<'a, Self>
    where
        Self: Unpin,
    {
        WriteVectored { writer: self, bufs }
    }

    /// Writes all buffers, in order, with as few calls as the writer allows.
    ///
    /// The slices are moved on as they are written, so that afterwards they say nothing.
    /// # Errors
    /// [`io::ErrorKind::WriteZero`] if the writer takes no more, or what it says.
    /// # Cancel safety
    /// Lossy: an unknown part has been written; poll the future by reference instead of dropping it.
    fn write_all_vectored<'a, 'b>(
        &'a mut self,
        bufs: &'a mut [IoSlice<'b>],
    ) -> WriteAllVectored<'a, 'b, Self>
    where
        Self: Unpin,
    {
        WriteAllVectored { writer: self, bufs }
    }

    /// Hands everything buffered to whatever lies below.
    ///
    /// # Cancel safety
    /// Safe: what is not flushed stays buffered.
    fn flush(&mut self) -> Flush<'_, Self>
    where
        Self: Unpin,
    {
        Flush { writer: self }
    }

    /// Flushes and ends the stream of bytes; a reader at the other side sees the end.
    ///
    /// # Cancel safety
    /// Safe: call it again to go on.
    fn close(&mut self) -> Close<'_, Self>
    where
        Self: Unpin,
    {
        Close { writer: self }
    }
}

impl<W: AsyncWrite + ?Sized> WriteExt for W {}

/// See [`WriteExt::write`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Write<'a, W: ?Sized> {
    writer: &'a mut W,
    bytes: &'a [u8],
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for Write<'_, W> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Pin::new(&mut *this.writer).poll_write(cx, this.bytes)
    }
}

/// See [`WriteExt::write_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAll<'a, W: ?Sized> {
    writer: &'a mut W,
    bytes: &'a [u8],
}

impl<'a, W: ?Sized> WriteAll<'a, W> {
    /// The bytes that the writer has not taken yet.
    #[must_use]
    pub const fn unwritten(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for WriteAll<'_, W> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while !this.bytes.is_empty() {
            let n = ready!(poll_write_retrying(&mut *this.writer, cx, this.bytes))?;
            this.bytes = &this.bytes[n..];
        }
        Poll::Ready(Ok(()))
    }
}

/// See [`WriteExt::write_vectored`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteVectored<'a, W: ?Sized> {
    writer: &'a mut W,
    bufs: &'a [IoSlice<'a>],
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for WriteVectored<'_, W> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Pin::new(&mut *this.writer).poll_write_vectored(cx, this.bufs)
    }
}

/// See [`WriteExt::write_all_vectored`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAllVectored<'a, 'b, W: ?Sized> {
    writer: &'a mut W,
    bufs: &'a mut [IoSlice<'b>],
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for WriteAllVectored<'_, '_, W> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Skips empty slices, so that a write of nothing is not taken for a full writer.
        IoSlice::advance_slices(&mut this.bufs, 0);
        while !this.bufs.is_empty() {
            let written = ready!(Pin::new(&mut *this.writer).poll_write_vectored(cx, this.bufs));
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => IoSlice::advance_slices(&mut this.bufs, n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// See [`WriteExt::flush`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Flush<'a, W: ?Sized> {
    writer: &'a mut W,
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for Flush<'_, W> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.writer).poll_flush(cx)
    }
}

/// See [`WriteExt::close`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Close<'a, W: ?Sized> {
    writer: &'a mut W,
}

impl<W: AsyncWrite + Unpin + ?Sized> Future for Close<'_, W> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.writer).poll_close(cx)
    }
}

/// Writes at least one byte of a non-empty slice, again if a signal interrupted it.
pub(crate) fn poll_write_retrying<W: AsyncWrite + Unpin + ?Sized>(
    writer: &mut W,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        match ready!(Pin::new(&mut *writer).poll_write(cx, bytes)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                assert!(
                    n <= bytes.len(),
                    "a writer claims more bytes than it was given"
                );
                return Poll::Ready(Ok(n));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
