//! The two halves of framing, apart from the streams they work on.
//!
//! # States
//! Reading: *decoding* what is buffered, *reading* more, at the *end* of the stream, or *over* after an error from which the decoder cannot resume.
//! After a failure of the transport reading pauses: it says once that there is nothing more, and goes on when asked again.
//! So a loop over frames ends, and yet no byte is lost if the failure passes.
//!
//! # Invariants
//! The read buffer holds at most what the decoder says it may need, and one read more.
//! The write buffer holds whole frames, of which the first may be sent in part; nothing is ever cut out of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};

use crate::read_ext::poll_read_retrying;
use crate::write_ext::poll_write_retrying;
use crate::{Decoder, Encoder, FrameError};

/// What a framed reader asks for at once, at most; it starts with an eighth of it.
pub const FRAMED_READ_BYTES_MAX: usize = 64 << 10;
/// From so many bytes of unsent frames on, a framed writer makes senders wait.
pub const FRAMED_HIGH_WATER_BYTES: usize = 64 << 10;

/// The reading half.
#[derive(Debug)]
pub(crate) struct ReadState {
    pub(crate) buf: BytesMut,
    chunk: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The buffer may hold a frame.
    Decoding,
    /// The buffer holds no whole frame.
    Reading,
    /// The transport failed, and that has been said.
    Paused,
    /// No more bytes will come.
    End,
    /// No more frames will come.
    Over,
}

impl ReadState {
    pub(crate) fn new(buf: BytesMut) -> Self {
        Self {
            buf,
            chunk: FRAMED_READ_BYTES_MAX / 8,
            phase: Phase::Decoding,
        }
    }

    pub(crate) fn poll_frame<R: AsyncRead + Unpin, D: Decoder>(
        &mut self,
        io: &mut R,
        decoder: &mut D,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<D::Item, D::Error>>> {
        loop {
            let decoded = match self.phase {
                Phase::Decoding => decoder.decode(&mut self.buf),
                Phase::End => decoder.decode_eof(&mut self.buf),
                Phase::Reading => {
                    match ready!(self.poll_fill(io, cx)) {
                        Ok(0) => self.phase = Phase::End,
                        Ok(_) => self.phase = Phase::Decoding,
                        Err(error) => {
                            self.phase = Phase::Paused;
                            return Poll::Ready(Some(Err(error.into())));
                        }
                    }
                    continue;
                }
                Phase::Paused => {
                    self.phase = Phase::Reading;
                    return Poll::Ready(None);
                }
                Phase::Over => return Poll::Ready(None),
            };
            match decoded {
                Ok(Some(item)) => return Poll::Ready(Some(Ok(item))),
                Ok(None) if self.phase == Phase::End => self.phase = Phase::Over,
                Ok(None) if self.buf.len() >= decoder.buffer_bytes_max() => {
                    self.phase = Phase::Over;
                    let error = io::Error::from(FrameError::Stalled {
                        buffered: self.buf.len(),
                    });
                    return Poll::Ready(Some(Err(error.into())));
                }
                Ok(None) => self.phase = Phase::Reading,
                Err(error) => {
                    if !decoder.can_resume(&error) {
                        self.phase = Phase::Over;
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut tail = Tail::new(&mut self.buf);
        let kept = tail.len;
        tail.buf.resize(kept + self.chunk, 0);
        let n = ready!(poll_read_retrying(io, cx, &mut tail.buf[kept..]))?;
        assert!(
            n <= self.chunk,
            "a reader claims more bytes than it was given room for"
        );
        tail.len += n;
        drop(tail);
        if n == self.chunk {
            self.chunk = (self.chunk * 2).min(FRAMED_READ_BYTES_MAX);
        } else if n < self.chunk / 4 {
            self.chunk = (self.chunk / 2).max(FRAMED_READ_BYTES_MAX / 8);
        }
        Poll::Ready(Ok(n))
    }
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct WriteState {
    pub(crate) buf: BytesMut,
    pub(crate) high_water_bytes: usize,
}

impl WriteState {
    pub(crate) const fn new(buf: BytesMut) -> Self {
        Self {
            buf,
            high_water_bytes: FRAMED_HIGH_WATER_BYTES,
        }
    }

    /// Waits until the buffer is below the high-water mark; once at the mark, it sends all that the transport takes.
    pub(crate) fn poll_ready<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buf.len() < self.high_water_bytes {
            return Poll::Ready(Ok(()));
        }
        match self.poll_send(io, cx) {
            Poll::Pending if self.buf.len() < self.high_water_bytes => Poll::Ready(Ok(())),
            polled => polled,
        }
    }

    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    pub(crate) fn poll_close<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(io, cx))?;
        Pin::new(io).poll_close(cx)
    }

    /// Appends a frame, or nothing if the encoder fails or panics.
    pub(crate) fn encode<I, E: Encoder<I>>(
        &mut self,
        encoder: &mut E,
        item: I,
    ) -> Result<(), E::Error> {
        let mut tail = Tail::new(&mut self.buf);
        encoder.encode(item, tail.buf)?;
        tail.len = tail.buf.len();
        Ok(())
    }

    fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buf.is_empty() {
            let n = ready!(poll_write_retrying(io, cx, &self.buf))?;
            self.buf.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

/// A buffer whose end is cut off again unless it was accepted, also by a panic.
struct Tail<'a> {
    buf: &'a mut BytesMut,
    len: usize,
}

impl<'a> Tail<'a> {
    fn new(buf: &'a mut BytesMut) -> Self {
        let len = buf.len();
        Self { buf, len }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.buf.truncate(self.len);
    }
}
