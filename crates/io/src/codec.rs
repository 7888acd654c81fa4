//! Between bytes and frames.
//!
//! # Invariants
//! A decoder sees the stream's bytes once, in order, in pieces of any size, and its frames do not depend on the pieces.
//! What a length field says decides nothing about memory until the bytes are there.

mod bytes_codec;
mod length_delimited;
mod lines;

use std::io;

use bytes::BytesMut;

use crate::FrameError;

pub use bytes_codec::BytesCodec;
pub use length_delimited::{LengthDelimitedBuilder, LengthDelimitedCodec};
pub use lines::LinesCodec;
pub(crate) use lines::{checked_line, is_too_long};

/// Makes frames of bytes.
pub trait Decoder {
    /// A frame.
    type Item;
    /// Why there is none.
    type Error: From<io::Error>;

    /// Takes one frame off the front of `src`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are no frame; what [`can_resume`](Self::can_resume) says decides whether decoding goes on.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error>;

    /// As [`decode`](Self::decode), when no more bytes will come; it is called until it gives `None`.
    ///
    /// # Errors
    /// As for `decode`; unless overridden, [`FrameError::Truncated`] inside an [`io::Error`] if bytes are left over.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error> {
        match self.decode(src)? {
            Some(item) => Ok(Some(item)),
            None if src.is_empty() => Ok(None),
            None => Err(io::Error::from(FrameError::Truncated {
                buffered: src.len(),
            })
            .into()),
        }
    }

    /// With so many bytes in `src`, `decode` never asks for more.
    ///
    /// This bounds what a peer can make us buffer; a decoder that breaks its word ends with [`FrameError::Stalled`].
    fn buffer_bytes_max(&self) -> usize;

    /// Whether decoding can go on after this error.
    fn can_resume(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}

/// Makes bytes of frames.
pub trait Encoder<Item> {
    /// Why a frame cannot be sent.
    type Error: From<io::Error>;

    /// Appends a frame to `dst`.
    ///
    /// # Errors
    /// If the frame cannot be sent; what was appended is then cut off again, and nothing of it is sent.
    fn encode(&mut self, item: Item, dst: &mut BytesMut) -> Result<(), Self::Error>;
}
