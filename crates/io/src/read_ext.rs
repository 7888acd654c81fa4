//! Reading.
//!
//! Each method gives a future that borrows the reader and keeps its own progress.
//! Absent: numbers of all widths; frames and codecs are for that.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

use crate::ReadError;
use crate::read_adapters::{Chain, Take};

/// What can be done with a reader.
pub trait ReadExt: AsyncRead {
    /// Reads what is there, up to the length of `buf`; zero means the end of the stream, or an empty `buf`.
    ///
    /// # Cancel safety
    /// Safe: a dropped call has read nothing.
    fn read<'a>(&'a mut self, buf: &'a mut [u8]) -> Read<'a, Self>
    where
        Self: Unpin,
    {
        Read { reader: self, buf }
    }

    /// Fills `buf`.
    ///
    /// # Errors
    /// [`ReadError::EndOfStream`] inside an error of kind [`io::ErrorKind::UnexpectedEof`], or what the reader says.
    /// # Cancel safety
    /// Lossy: the bytes read so far stand in `buf`, but dropping the future forgets how many.
    /// Poll it by reference instead of dropping it, and it goes on where it was; [`ReadExact::filled`] counts.
    fn read_exact<'a>(&'a mut self, buf: &'a mut [u8]) -> ReadExact<'a, Self>
    where
        Self: Unpin,
    {
        ReadExact {
            reader: self,
            buf,
            filled: 0,
        }
    }

    /// Appends everything up to the end of the stream to `buf`, and gives the number of bytes.
    ///
    /// Memory follows the bytes that come, never faster than by doubling.
    /// # Shape and units
    /// `limit` is the number of bytes that may come.
    /// # Errors
    /// [`ReadError::LimitExceeded`] if more come; the first `limit` bytes are then in `buf`.
    /// # Cancel safety
    /// Safe: the bytes read so far are in `buf`.
    fn read_to_end<'a>(&'a mut self, buf: &'a mut Vec<u8>, limit: usize) -> ReadToEnd<'a, Self>
    where
        Self: Unpin,
    {
        ReadToEnd {
            reader: self,
            fill: Fill::new(limit),
            buf,
        }
    }

    /// Appends everything up to the end of the stream to `text`, and gives the number of bytes.
    ///
    /// # Errors
    /// [`ReadError::LimitExceeded`] if more than `limit` bytes come, [`ReadError::NotUtf8`]; `text` is then as before.
    /// # Cancel safety
    /// Lossy: the bytes read so far are lost with the future.
    fn read_to_string<'a>(
        &'a mut self,
        text: &'a mut String,
        limit: usize,
    ) -> ReadToString<'a, Self>
    where
        Self: Unpin,
    {
        ReadToString {
            reader: self,
            fill: Fill::new(limit),
            bytes: Vec::new(),
            text,
        }
    }

    /// A reader that ends after `limit` bytes of this one.
    fn take(self, limit: u64) -> Take<Self>
    where
        Self: Sized,
    {
        Take::new(self, limit)
    }

    /// A reader that goes on with `next` when this one ends.
    fn chain<R: AsyncRead>(self, next: R) -> Chain<Self, R>
    where
        Self: Sized,
    {
        Chain::new(self, next)
    }
}

impl<R: AsyncRead + ?Sized> ReadExt for R {}

/// See [`ReadExt::read`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Read<'a, R: ?Sized> {
    reader: &'a mut R,
    buf: &'a mut [u8],
}

impl<R: AsyncRead + Unpin + ?Sized> Future for Read<'_, R> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Pin::new(&mut *this.reader).poll_read(cx, this.buf)
    }
}

/// See [`ReadExt::read_exact`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadExact<'a, R: ?Sized> {
    reader: &'a mut R,
    buf: &'a mut [u8],
    filled: usize,
}

impl<R: ?Sized> ReadExact<'_, R> {
    /// How many bytes of the buffer have been read.
    #[must_use]
    pub const fn filled(&self) -> usize {
        self.filled
    }
}

impl<R: AsyncRead + Unpin + ?Sized> Future for ReadExact<'_, R> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let wanted = this.buf.len();
        while this.filled < wanted {
            let rest = &mut this.buf[this.filled..];
            let n = ready!(poll_read_retrying(&mut *this.reader, cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(ReadError::EndOfStream {
                    filled: this.filled,
                    wanted,
                }
                .into()));
            }
            this.filled += n;
        }
        Poll::Ready(Ok(()))
    }
}

/// See [`ReadExt::read_to_end`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadToEnd<'a, R: ?Sized> {
    reader: &'a mut R,
    fill: Fill,
    buf: &'a mut Vec<u8>,
}

impl<R: AsyncRead + Unpin + ?Sized> Future for ReadToEnd<'_, R> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.fill.poll(&mut *this.reader, cx, this.buf)
    }
}

/// See [`ReadExt::read_to_string`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadToString<'a, R: ?Sized> {
    reader: &'a mut R,
    fill: Fill,
    bytes: Vec<u8>,
    text: &'a mut String,
}

impl<R: AsyncRead + Unpin + ?Sized> Future for ReadToString<'_, R> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let count = ready!(this.fill.poll(&mut *this.reader, cx, &mut this.bytes))?;
        let text = std::str::from_utf8(&this.bytes).map_err(|error| ReadError::NotUtf8 {
            valid_up_to: error.valid_up_to(),
        })?;
        this.text.push_str(text);
        Poll::Ready(Ok(count))
    }
}

/// Progress of a read to the end of the stream.
#[derive(Debug)]
struct Fill {
    limit: usize,
    count: usize,
    chunk: usize,
}

impl Fill {
    const fn new(limit: usize) -> Self {
        Self {
            limit,
            count: 0,
            chunk: CHUNK_MIN,
        }
    }

    fn poll<R: AsyncRead + Unpin + ?Sized>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let left = self.limit - self.count;
            if left == 0 {
                // Only one more byte can tell a stream that just fits from one that does not.
                return match ready!(poll_read_retrying(reader, cx, &mut [0]))? {
                    0 => Poll::Ready(Ok(self.count)),
                    _ => Poll::Ready(Err(ReadError::LimitExceeded { limit: self.limit }.into())),
                };
            }
            let mut room = Room::new(buf, self.chunk.min(left));
            let wanted = room.spare().len();
            let n = ready!(poll_read_retrying(reader, cx, room.spare()))?;
            room.keep(n);
            if n == 0 {
                return Poll::Ready(Ok(self.count));
            }
            self.count += n;
            if n == wanted {
                self.chunk = (self.chunk * 2).min(CHUNK_MAX);
            }
        }
    }
}

/// Zeroed room at the end of a vector; what was not kept is cut off again, also by a panic.
struct Room<'a> {
    buf: &'a mut Vec<u8>,
    len: usize,
}

impl<'a> Room<'a> {
    fn new(buf: &'a mut Vec<u8>, bytes: usize) -> Self {
        let len = buf.len();
        buf.resize(len + bytes, 0);
        Self { buf, len }
    }

    fn spare(&mut self) -> &mut [u8] {
        &mut self.buf[self.len..]
    }

    fn keep(&mut self, n: usize) {
        assert!(
            n <= self.buf.len() - self.len,
            "a reader claims more bytes than it was given room for"
        );
        self.len += n;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.buf.truncate(self.len);
    }
}

/// Reads, and reads again if a signal interrupted it.
pub(crate) fn poll_read_retrying<R: AsyncRead + Unpin + ?Sized>(
    reader: &mut R,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        match ready!(Pin::new(&mut *reader).poll_read(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

const CHUNK_MIN: usize = 1 << 10;
const CHUNK_MAX: usize = 1 << 16;
