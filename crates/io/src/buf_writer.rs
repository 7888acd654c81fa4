//! A writer with a buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::write_ext::poll_write_retrying;

/// Gathers small writes into large ones.
///
/// Flush or close it before dropping it: what is buffered then is lost.
/// If the writer below also reads, so does this.
/// # Shape and units
/// 8 KiB, unless said otherwise; a write of at least that passes the empty buffer by.
#[derive(Debug)]
pub struct BufWriter<W> {
    inner: W,
    buf: Vec<u8>,
    /// How much of `buf` the writer below has taken.
    written: usize,
    capacity: usize,
}

impl<W> BufWriter<W> {
    /// A writer with a buffer of 8 KiB.
    pub fn new(inner: W) -> Self {
        Self::with_capacity(CAPACITY, inner)
    }

    /// A writer with a buffer of `capacity` bytes.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn with_capacity(capacity: usize, inner: W) -> Self {
        assert!(capacity > 0, "a buffered writer needs a buffer");
        Self {
            inner,
            buf: Vec::with_capacity(capacity),
            written: 0,
            capacity,
        }
    }

    /// What has been taken and not yet handed on.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        &self.buf[self.written..]
    }

    /// The writer below.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The writer below; writing to it directly overtakes what is buffered.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Gives the writer below back, and what is still buffered.
    #[must_use]
    pub fn into_parts(mut self) -> (W, Vec<u8>) {
        self.buf.drain(..self.written);
        (self.inner, self.buf)
    }
}

impl<W: AsyncWrite + Unpin> BufWriter<W> {
    /// Hands the buffer on, without flushing the writer below.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buf.len() {
            let bytes = &self.buf[self.written..];
            self.written += ready!(poll_write_retrying(&mut self.inner, cx, bytes))?;
        }
        self.buf.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for BufWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buf.len() + bytes.len() > self.capacity {
            ready!(self.poll_empty(cx))?;
        }
        if bytes.len() >= self.capacity {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        self.buf.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for BufWriter<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<W: AsyncBufRead + Unpin> AsyncBufRead for BufWriter<W> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().inner).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.inner).consume(amount);
    }
}

const CAPACITY: usize = 8 << 10;
