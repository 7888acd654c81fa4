//! A reader with a buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

/// Reads large pieces from below and gives small ones.
///
/// If the reader below also writes, so does this, unbuffered; so one may buffer the reading half of a connection in place.
/// # Shape and units
/// 8 KiB, unless said otherwise; a read of at least that passes the empty buffer by.
/// # Examples
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output { let mut f = std::pin::pin!(future); loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) { return out; } } }
/// # block_on(async {
/// use asupersync_io::{BufReadExt, BufReader};
///
/// let mut reader = BufReader::new(&b"first\nsecond\n"[..]);
/// let mut line = String::new();
/// reader.read_line(&mut line, 80).await.unwrap();
/// assert_eq!(line, "first\n");
/// # });
/// ```
#[derive(Debug)]
pub struct BufReader<R> {
    inner: R,
    buf: Box<[u8]>,
    /// The bytes read and not yet consumed are `buf[start..end]`.
    start: usize,
    end: usize,
}

impl<R> BufReader<R> {
    /// A reader with a buffer of 8 KiB.
    pub fn new(inner: R) -> Self {
        Self::with_capacity(CAPACITY, inner)
    }

    /// A reader with a buffer of `capacity` bytes.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn with_capacity(capacity: usize, inner: R) -> Self {
        assert!(capacity > 0, "a buffered reader needs a buffer");
        Self {
            inner,
            buf: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// What has been read and not yet consumed.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// The reader below.
    #[must_use]
    pub const fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The reader below; reading from it directly passes the buffer by.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Gives the reader below back, and drops what is buffered; see [`buffer`](Self::buffer).
    #[must_use]
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BufReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.start == self.end && buf.len() >= self.buf.len() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let n = bytes.len().min(buf.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Poll::Ready(Ok(n))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for BufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.start == this.end {
            (this.start, this.end) = (0, 0);
            let n = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.buf))?;
            assert!(
                n <= this.buf.len(),
                "a reader claims more bytes than it was given room for"
            );
            this.end = n;
        }
        Poll::Ready(Ok(&this.buf[this.start..this.end]))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        assert!(
            amount <= self.end - self.start,
            "only what was shown is consumed"
        );
        self.start += amount;
    }
}

impl<R: AsyncWrite + Unpin> AsyncWrite for BufReader<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

const CAPACITY: usize = 8 << 10;
