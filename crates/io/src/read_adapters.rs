//! Readers made of readers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead};

/// A reader that ends early; see [`ReadExt::take`](crate::ReadExt::take).
#[derive(Debug)]
pub struct Take<R> {
    inner: R,
    limit: u64,
}

impl<R> Take<R> {
    pub(crate) const fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit }
    }

    /// How many bytes may still come.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The reader below.
    #[must_use]
    pub const fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Gives the reader below back.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Take<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if allowed == 0 {
            return Poll::Ready(Ok(0));
        }
        let n = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf[..allowed]))?;
        self.limit -= n as u64;
        Poll::Ready(Ok(n))
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Take<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.limit == 0 {
            return Poll::Ready(Ok(&[]));
        }
        let bytes = ready!(Pin::new(&mut this.inner).poll_fill_buf(cx))?;
        let allowed = usize::try_from(this.limit)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        Poll::Ready(Ok(&bytes[..allowed]))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.limit = self
            .limit
            .checked_sub(amount as u64)
            .expect("only what was shown is consumed");
        Pin::new(&mut self.inner).consume(amount);
    }
}

/// A reader after another; see [`ReadExt::chain`](crate::ReadExt::chain).
#[derive(Debug)]
pub struct Chain<A, B> {
    first: A,
    second: B,
    first_done: bool,
}

impl<A, B> Chain<A, B> {
    pub(crate) const fn new(first: A, second: B) -> Self {
        Self {
            first,
            second,
            first_done: false,
        }
    }

    /// Gives both readers back.
    #[must_use]
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }
}

impl<A: AsyncRead + Unpin, B: AsyncRead + Unpin> AsyncRead for Chain<A, B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.first_done {
            let n = ready!(Pin::new(&mut self.first).poll_read(cx, buf))?;
            if n > 0 || buf.is_empty() {
                return Poll::Ready(Ok(n));
            }
            self.first_done = true;
        }
        Pin::new(&mut self.second).poll_read(cx, buf)
    }
}

impl<A: AsyncBufRead + Unpin, B: AsyncBufRead + Unpin> AsyncBufRead for Chain<A, B> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if !this.first_done {
            if !ready!(Pin::new(&mut this.first).poll_fill_buf(cx))?.is_empty() {
                // Asked again, because the borrow of the first answer would outlive the branch.
                return Pin::new(&mut this.first).poll_fill_buf(cx);
            }
            this.first_done = true;
        }
        Pin::new(&mut this.second).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        if self.first_done {
            Pin::new(&mut self.second).consume(amount);
        } else {
            Pin::new(&mut self.first).consume(amount);
        }
    }
}
