//! No framing at all.

use std::io;

use bytes::BytesMut;

use crate::codec::{Decoder, Encoder};

/// Gives the bytes as they come, in pieces that mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCodec;

impl Decoder for BytesCodec {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        Ok((!src.is_empty()).then(|| src.split()))
    }

    fn buffer_bytes_max(&self) -> usize {
        1
    }
}

impl<B: AsRef<[u8]>> Encoder<B> for BytesCodec {
    type Error = io::Error;

    fn encode(&mut self, bytes: B, dst: &mut BytesMut) -> io::Result<()> {
        dst.extend_from_slice(bytes.as_ref());
        Ok(())
    }
}
