//! Streams of frames.
//!
//! All bytes that were read or are to be written live in the framed stream and not in its futures.
//! So dropping a future loses no byte, and never tears a frame.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use crate::framed_state::{ReadState, WriteState};
use crate::{Decoder, Encoder};

/// Frames in one direction: those that come in.
#[derive(Debug)]
pub struct FramedRead<T, C> {
    io: T,
    codec: C,
    read: ReadState,
}

/// Frames in one direction: those that go out.
#[derive(Debug)]
pub struct FramedWrite<T, C> {
    io: T,
    codec: C,
    write: WriteState,
}

/// Frames in both directions over one stream.
///
/// # Examples
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output { let mut f = std::pin::pin!(future); loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) { return out; } } }
/// # block_on(async {
/// use asupersync_io::{Framed, LinesCodec, duplex};
///
/// let (client, server) = duplex(1024);
/// let mut client = Framed::new(client, LinesCodec::new(80));
/// let mut server = Framed::new(server, LinesCodec::new(80));
/// client.send("hello").await.unwrap();
/// assert_eq!(server.next().await.unwrap().unwrap(), "hello");
/// # });
/// ```
#[derive(Debug)]
pub struct Framed<T, C> {
    io: T,
    codec: C,
    read: ReadState,
    write: WriteState,
}

/// What a framed stream is made of; [`Framed::into_parts`] and [`Framed::from_parts`] lose no byte between them.
#[derive(Debug)]
pub struct FramedParts<T, C> {
    /// The stream of bytes.
    pub io: T,
    /// The codec.
    pub codec: C,
    /// Bytes read and not yet decoded.
    pub read_buf: BytesMut,
    /// Bytes encoded and not yet written.
    pub write_buf: BytesMut,
}

impl<T, C> FramedRead<T, C> {
    /// Frames read from `io`.
    #[must_use]
    pub fn new(io: T, codec: C) -> Self {
        Self {
            io,
            codec,
            read: ReadState::new(BytesMut::new()),
        }
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> FramedParts<T, C> {
        let Self { io, codec, read } = self;
        FramedParts {
            io,
            codec,
            read_buf: read.buf,
            write_buf: BytesMut::new(),
        }
    }
}

impl<T, C> FramedWrite<T, C> {
    /// Frames written to `io`.
    #[must_use]
    pub fn new(io: T, codec: C) -> Self {
        Self {
            io,
            codec,
            write: WriteState::new(BytesMut::new()),
        }
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> FramedParts<T, C> {
        let Self { io, codec, write } = self;
        FramedParts {
            io,
            codec,
            read_buf: BytesMut::new(),
            write_buf: write.buf,
        }
    }
}

impl<T, C> Framed<T, C> {
    /// Frames read from and written to `io`.
    #[must_use]
    pub fn new(io: T, codec: C) -> Self {
        let (read_buf, write_buf) = (BytesMut::new(), BytesMut::new());
        Self::from_parts(FramedParts {
            io,
            codec,
            read_buf,
            write_buf,
        })
    }

    /// Puts it together, with bytes that have been read or encoded already.
    #[must_use]
    pub fn from_parts(parts: FramedParts<T, C>) -> Self {
        let FramedParts {
            io,
            codec,
            read_buf,
            write_buf,
        } = parts;
        Self {
            io,
            codec,
            read: ReadState::new(read_buf),
            write: WriteState::new(write_buf),
        }
    }

    /// Takes it apart, to go on with another codec or with bare bytes.
    #[must_use]
    pub fn into_parts(self) -> FramedParts<T, C> {
        let Self {
            io,
            codec,
            read,
            write,
        } = self;
        FramedParts {
            io,
            codec,
            read_buf: read.buf,
            write_buf: write.buf,
        }
    }
}

/// Leave to put one frame into a framed writer; see [`FramedWrite::reserve`].
#[derive(Debug)]
#[must_use = "dropping the permit sends nothing"]
pub struct FramePermit<'a, C> {
    codec: &'a mut C,
    write: &'a mut WriteState,
}

impl<C> FramePermit<'_, C> {
    /// Puts the frame behind those not yet written, without waiting; a flush sends it.
    ///
    /// # Errors
    /// What the encoder says; nothing of the frame is then sent.
    pub fn put<I>(self, item: I) -> Result<(), C::Error>
    where
        C: Encoder<I>,
    {
        self.write.encode(self.codec, item)
    }
}

macro_rules! common_methods {
    ($framed:ident) => {
        impl<T, C> $framed<T, C> {
            /// The stream of bytes below.
            #[must_use]
            pub const fn get_ref(&self) -> &T {
                &self.io
            }

            /// The stream of bytes below; reading or writing it directly passes the buffers by.
            pub const fn get_mut(&mut self) -> &mut T {
                &mut self.io
            }

            /// The codec.
            #[must_use]
            pub const fn codec(&self) -> &C {
                &self.codec
            }

            /// The codec; between two frames it may be changed.
            pub const fn codec_mut(&mut self) -> &mut C {
                &mut self.codec
            }
        }
    };
}

macro_rules! reading_methods {
    ($framed:ident) => {
        impl<T, C> $framed<T, C> {
            /// Bytes read and not yet decoded.
            #[must_use]
            pub fn read_buffer(&self) -> &[u8] {
                &self.read.buf
            }
        }

        impl<T: AsyncRead + Unpin, C: Decoder> $framed<T, C> {
            /// The next frame; `None` at the end of the stream.
            ///
            /// # Errors
            /// What the decoder says, and what the stream says.
            /// After a decoder's error from which it cannot resume, `None` follows for good.
            /// After a failure of the stream `None` follows once; the call after that tries again.
            /// # Cancel safety
            /// Safe: all bytes read are kept for the next call.
            pub async fn next(&mut self) -> Option<Result<C::Item, C::Error>> {
                poll_fn(|cx| self.poll_next_frame(cx)).await
            }

            /// Polls for the next frame.
            pub fn poll_next_frame(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<C::Item, C::Error>>> {
                self.read.poll_frame(&mut self.io, &mut self.codec, cx)
            }
        }

        impl<T: AsyncRead + Unpin, C: Decoder + Unpin> Stream for $framed<T, C> {
            type Item = Result<C::Item, C::Error>;

            fn poll_next(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                self.poll_next_frame(cx)
            }
        }
    };
}

macro_rules! writing_methods {
    ($framed:ident) => {
        impl<T, C> $framed<T, C> {
            /// Bytes encoded and not yet written.
            #[must_use]
            pub fn write_buffer(&self) -> &[u8] {
                &self.write.buf
            }

            /// From so many unwritten bytes on, senders wait; [`FRAMED_HIGH_WATER_BYTES`](crate::FRAMED_HIGH_WATER_BYTES) unless said otherwise.
            ///
            /// A single frame may exceed it.
            /// # Panics
            /// If it is zero.
            #[must_use]
            pub fn with_high_water_bytes(mut self, bytes: usize) -> Self {
                assert!(
                    bytes > 0,
                    "with a high-water mark of zero nothing could ever be sent"
                );
                self.write.high_water_bytes = bytes;
                self
            }
        }

        impl<T: AsyncWrite + Unpin, C> $framed<T, C> {
            /// Waits until there is room for a frame.
            ///
            /// The first of two phases: a frame is made only when it can be sent.
            /// # Errors
            /// What the stream says.
            /// # Cancel safety
            /// Safe: a dropped call, or permit, has sent nothing.
            pub async fn reserve(&mut self) -> io::Result<FramePermit<'_, C>> {
                poll_fn(|cx| self.write.poll_ready(&mut self.io, cx)).await?;
                Ok(FramePermit {
                    codec: &mut self.codec,
                    write: &mut self.write,
                })
            }

            /// Waits for room and puts a frame behind those not yet written, without flushing.
            ///
            /// # Errors
            /// What the encoder or the stream says; nothing of the frame is then sent.
            /// # Cancel safety
            /// Lossy: `item` is dropped with the call and nothing of it sent; [`reserve`](Self::reserve) keeps it.
            pub async fn feed<I>(&mut self, item: I) -> Result<(), C::Error>
            where
                C: Encoder<I>,
            {
                self.reserve().await?.put(item)
            }

            /// Waits for room, puts a frame behind those not yet written, and flushes.
            ///
            /// # Errors
            /// What the encoder or the stream says.
            /// # Cancel safety
            /// Lossy: either nothing of `item` is sent, or it is in the buffer and the next flush sends all of it.
            pub async fn send<I>(&mut self, item: I) -> Result<(), C::Error>
            where
                C: Encoder<I>,
            {
                self.feed(item).await?;
                Ok(self.flush().await?)
            }

            /// Writes all frames and flushes the stream below.
            ///
            /// # Errors
            /// What the stream says; what was not written stays in the buffer.
            /// # Cancel safety
            /// Safe: call it again to go on.
            pub async fn flush(&mut self) -> io::Result<()> {
                poll_fn(|cx| self.poll_flush(cx)).await
            }

            /// Writes all frames and ends the stream below.
            ///
            /// # Errors
            /// What the stream says; what was not written stays in the buffer.
            /// # Cancel safety
            /// Safe: call it again to go on.
            pub async fn close(&mut self) -> io::Result<()> {
                poll_fn(|cx| self.poll_close(cx)).await
            }

            /// Polls for room for a frame.
            ///
            /// # Errors
            /// What the stream says.
            pub fn poll_reserve(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<FramePermit<'_, C>>> {
                let ready = self.write.poll_ready(&mut self.io, cx);
                ready.map_ok(|()| FramePermit {
                    codec: &mut self.codec,
                    write: &mut self.write,
                })
            }

            /// Polls for all frames to be written and flushed.
            ///
            /// # Errors
            /// What the stream says.
            pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.write.poll_flush(&mut self.io, cx)
            }

            /// Polls for all frames to be written and the stream to be ended.
            ///
            /// # Errors
            /// What the stream says.
            pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.write.poll_close(&mut self.io, cx)
            }
        }
    };
}

common_methods!(FramedRead);
common_methods!(FramedWrite);
common_methods!(Framed);
reading_methods!(FramedRead);
reading_methods!(Framed);
writing_methods!(FramedWrite);
writing_methods!(Framed);
