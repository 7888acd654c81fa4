//! Copying one stream into another.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::read_ext::poll_read_retrying;
use crate::write_ext::poll_write_retrying;

/// Copies everything from `reader` to `writer`, flushes, and gives the number of bytes.
///
/// Whenever the reader makes it wait, it flushes what it has, so that a dialogue does not stall.
/// Cost: one buffer of 16 KiB.
/// # Errors
/// What the reader or the writer says.
/// # Cancel safety
/// Lossy: up to 16 KiB that have been read are lost; [`copy_buf`] loses none.
pub fn copy<'a, R, W>(reader: &'a mut R, writer: &'a mut W) -> Copy<'a, R, W>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let buf = vec![0; BUFFER].into_boxed_slice();
    Copy {
        reader,
        writer,
        buf,
        start: 0,
        end: 0,
        count: 0,
        unflushed: false,
    }
}

/// Copies everything from a buffered reader to `writer`, flushes, and gives the number of bytes.
///
/// # Errors
/// What the reader or the writer says.
/// # Cancel safety
/// Safe: what has not been written is still in the reader; [`CopyBuf::count`] says how much has.
pub fn copy_buf<'a, R, W>(reader: &'a mut R, writer: &'a mut W) -> CopyBuf<'a, R, W>
where
    R: AsyncBufRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    CopyBuf {
        reader,
        writer,
        count: 0,
        unflushed: false,
    }
}

/// See [`copy`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Copy<'a, R: ?Sized, W: ?Sized> {
    reader: &'a mut R,
    writer: &'a mut W,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    count: u64,
    unflushed: bool,
}

impl<R, W> Future for Copy<'_, R, W>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            while this.start < this.end {
                let bytes = &this.buf[this.start..this.end];
                let n = ready!(poll_write_retrying(&mut *this.writer, cx, bytes))?;
                this.start += n;
                this.count += n as u64;
                this.unflushed = true;
            }
            let Poll::Ready(n) = poll_read_retrying(&mut *this.reader, cx, &mut this.buf) else {
                return flush_while_waiting(&mut *this.writer, cx, &mut this.unflushed);
            };
            (this.start, this.end) = (0, n?);
            if this.end == 0 {
                ready!(Pin::new(&mut *this.writer).poll_flush(cx))?;
                return Poll::Ready(Ok(this.count));
            }
        }
    }
}

/// See [`copy_buf`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct CopyBuf<'a, R: ?Sized, W: ?Sized> {
    reader: &'a mut R,
    writer: &'a mut W,
    count: u64,
    unflushed: bool,
}

impl<R: ?Sized, W: ?Sized> CopyBuf<'_, R, W> {
    /// How many bytes the writer has taken so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

impl<R, W> Future for CopyBuf<'_, R, W>
where
    R: AsyncBufRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let Poll::Ready(bytes) = Pin::new(&mut *this.reader).poll_fill_buf(cx) else {
                return flush_while_waiting(&mut *this.writer, cx, &mut this.unflushed);
            };
            let bytes = match bytes {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                ready!(Pin::new(&mut *this.writer).poll_flush(cx))?;
                return Poll::Ready(Ok(this.count));
            }
            let n = ready!(poll_write_retrying(&mut *this.writer, cx, bytes))?;
            Pin::new(&mut *this.reader).consume(n);
            this.count += n as u64;
            this.unflushed = true;
        }
    }
}

fn flush_while_waiting<W: AsyncWrite + Unpin + ?Sized>(
    writer: &mut W,
    cx: &mut Context<'_>,
    unflushed: &mut bool,
) -> Poll<io::Result<u64>> {
    if *unflushed {
        ready!(Pin::new(writer).poll_flush(cx))?;
        *unflushed = false;
    }
    Poll::Pending
}

const BUFFER: usize = 16 << 10;
