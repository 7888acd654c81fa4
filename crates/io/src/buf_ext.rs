//! Reading up to a delimiter, from a buffered reader, with a limit.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncBufRead;

use crate::find::find_byte;
use crate::{Lines, ReadError};

/// What can be done with a buffered reader.
pub trait BufReadExt: AsyncBufRead {
    /// Appends bytes to `buf` up to and with `delimiter`, or up to the end of the stream, and gives their number.
    ///
    /// # Shape and units
    /// `limit` counts the bytes appended, the delimiter among them.
    /// # Errors
    /// [`ReadError::LimitExceeded`] if `limit` bytes came without the delimiter: they are in `buf`, what follows is unread, and [`skip_until`](Self::skip_until) finds the delimiter.
    /// # Cancel safety
    /// Safe: the bytes read so far are in `buf`.
    fn read_until<'a>(
        &'a mut self,
        delimiter: u8,
        buf: &'a mut Vec<u8>,
        limit: usize,
    ) -> ReadUntil<'a, Self>
    where
        Self: Unpin,
    {
        ReadUntil {
            reader: self,
            until: Until {
                delimiter,
                limit,
                count: 0,
            },
            buf,
        }
    }

    /// Consumes bytes up to and with `delimiter`, or up to the end of the stream, and gives their number.
    ///
    /// # Cancel safety
    /// Safe: call it again to go on.
    fn skip_until(&mut self, delimiter: u8) -> SkipUntil<'_, Self>
    where
        Self: Unpin,
    {
        SkipUntil {
            reader: self,
            delimiter,
            count: 0,
        }
    }

    /// Appends a line with its line feed to `text`, and gives the number of bytes; zero means the end of the stream.
    ///
    /// # Shape and units
    /// `limit` counts the bytes of the line, the line ending among them.
    /// # Errors
    /// [`ReadError::LimitExceeded`] for a longer line, of which `limit` bytes have been consumed; `skip_until(b'\n')` passes the rest.
    /// [`ReadError::NotUtf8`], with the line consumed.
    /// `text` is then as before.
    /// # Cancel safety
    /// Lossy: the part of the line read so far is lost with the future; [`lines`](Self::lines) loses nothing.
    fn read_line<'a>(&'a mut self, text: &'a mut String, limit: usize) -> ReadLine<'a, Self>
    where
        Self: Unpin,
    {
        let until = Until {
            delimiter: b'\n',
            limit,
            count: 0,
        };
        ReadLine {
            reader: self,
            until,
            bytes: Vec::new(),
            text,
        }
    }

    /// The lines of this reader, without their endings.
    ///
    /// # Shape and units
    /// `max_line_bytes` counts the bytes of a line without its ending.
    fn lines(self, max_line_bytes: usize) -> Lines<Self>
    where
        Self: Sized,
    {
        Lines::new(self, max_line_bytes)
    }
}

impl<R: AsyncBufRead + ?Sized> BufReadExt for R {}

/// See [`BufReadExt::read_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadUntil<'a, R: ?Sized> {
    reader: &'a mut R,
    until: Until,
    buf: &'a mut Vec<u8>,
}

impl<R: AsyncBufRead + Unpin + ?Sized> Future for ReadUntil<'_, R> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.until.poll(&mut *this.reader, cx, this.buf)
    }
}

/// See [`BufReadExt::read_line`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadLine<'a, R: ?Sized> {
    reader: &'a mut R,
    until: Until,
    bytes: Vec<u8>,
    text: &'a mut String,
}

impl<R: AsyncBufRead + Unpin + ?Sized> Future for ReadLine<'_, R> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let count = ready!(this.until.poll(&mut *this.reader, cx, &mut this.bytes))?;
        let line = std::str::from_utf8(&this.bytes).map_err(|error| ReadError::NotUtf8 {
            valid_up_to: error.valid_up_to(),
        })?;
        this.text.push_str(line);
        Poll::Ready(Ok(count))
    }
}

/// See [`BufReadExt::skip_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct SkipUntil<'a, R: ?Sized> {
    reader: &'a mut R,
    delimiter: u8,
    count: u64,
}

impl<R: AsyncBufRead + Unpin + ?Sized> Future for SkipUntil<'_, R> {
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let bytes = ready!(poll_bytes(&mut *this.reader, cx))?;
            let found = find_byte(this.delimiter, bytes);
            let n = found.map_or(bytes.len(), |at| at + 1);
            Pin::new(&mut *this.reader).consume(n);
            this.count += n as u64;
            if found.is_some() || n == 0 {
                return Poll::Ready(Ok(this.count));
            }
        }
    }
}

/// Progress of a read up to a delimiter.
#[derive(Debug)]
struct Until {
    delimiter: u8,
    limit: usize,
    count: usize,
}

impl Until {
    fn poll<R: AsyncBufRead + Unpin + ?Sized>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let bytes = ready!(poll_bytes(reader, cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(self.count));
            }
            let left = self.limit - self.count;
            if left == 0 {
                return Poll::Ready(Err(ReadError::LimitExceeded { limit: self.limit }.into()));
            }
            let bytes = &bytes[..bytes.len().min(left)];
            let found = find_byte(self.delimiter, bytes);
            let n = found.map_or(bytes.len(), |at| at + 1);
            buf.extend_from_slice(&bytes[..n]);
            Pin::new(&mut *reader).consume(n);
            self.count += n;
            if found.is_some() {
                return Poll::Ready(Ok(self.count));
            }
        }
    }
}

/// The buffered bytes, asked for again if a signal interrupted it.
pub(crate) fn poll_bytes<'a, R: AsyncBufRead + Unpin + ?Sized>(
    reader: &'a mut R,
    cx: &mut Context<'_>,
) -> Poll<io::Result<&'a [u8]>> {
    loop {
        match ready!(Pin::new(&mut *reader).poll_fill_buf(cx)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
            // Not asked again: that would read behind the end.
            Ok([]) => return Poll::Ready(Ok(&[])),
            // Asked again, because the borrow of the first answer would outlive the loop; what is buffered is given again.
            Ok(_) => break,
        }
    }
    Pin::new(reader).poll_fill_buf(cx)
}
