//! Frames that say how long they are.
//!
//! # Shape
//! On the wire: a header of `offset` bytes, the length field, the payload.
//! As a frame: the header and the payload, without the length field.
//! The length field's value plus the adjustment is the number of payload bytes.

use bytes::{Buf, BytesMut};

use crate::FrameError;
use crate::codec::{Decoder, Encoder};

/// Frames with a length field.
///
/// A frame shares memory with the frames read together with it, up to 64 KiB; copy what you keep for long.
/// # Examples
/// ```
/// use asupersync_io::{Decoder, Encoder, LengthDelimitedCodec};
/// use bytes::BytesMut;
///
/// // One byte of kind, then a little-endian length of two bytes that counts the payload.
/// let mut codec = LengthDelimitedCodec::builder()
///     .length_field_offset(1)
///     .length_field_bytes(2)
///     .little_endian()
///     .max_frame_bytes(1024)
///     .build();
/// let mut wire = BytesMut::new();
/// codec.encode(b"Kabc", &mut wire).unwrap();
/// assert_eq!(&wire[..], b"K\x03\x00abc");
/// assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), b"Kabc"[..]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LengthDelimitedCodec {
    options: LengthDelimitedBuilder,
}

impl LengthDelimitedCodec {
    /// Frames of at most 8 MiB after a big-endian length of four bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self::builder().build()
    }

    /// For other formats.
    pub const fn builder() -> LengthDelimitedBuilder {
        LengthDelimitedBuilder {
            width: 4,
            offset: 0,
            adjustment: 0,
            little_endian: false,
            max_frame_bytes: 8 << 20,
        }
    }

    /// The largest frame allowed, in bytes.
    #[must_use]
    pub const fn max_frame_bytes(&self) -> usize {
        self.options.max_frame_bytes
    }

    /// What the length field at the front of `src` says, if it is there.
    fn length_field(&self, src: &[u8]) -> Option<u64> {
        let LengthDelimitedBuilder {
            width,
            offset,
            little_endian,
            ..
        } = self.options;
        let field = src.get(offset..)?.get(..width)?;
        let mut bytes = [0; 8];
        Some(if little_endian {
            bytes[..width].copy_from_slice(field);
            u64::from_le_bytes(bytes)
        } else {
            bytes[8 - width..].copy_from_slice(field);
            u64::from_be_bytes(bytes)
        })
    }

    /// The number of payload bytes that a length field announces.
    fn payload_bytes(&self, value: u64) -> Result<usize, FrameError> {
        let LengthDelimitedBuilder {
            offset,
            adjustment,
            max_frame_bytes: limit,
            ..
        } = self.options;
        let payload = i128::from(value) + i128::from(adjustment);
        if payload < 0 {
            return Err(FrameError::NegativeLength { value, adjustment });
        }
        let actual = payload + offset as i128;
        match usize::try_from(actual) {
            Ok(frame) if frame <= limit => Ok(frame - offset),
            _ => Err(FrameError::TooLarge {
                limit,
                actual: u64::try_from(actual).unwrap_or(u64::MAX),
            }),
        }
    }
}

impl Default for LengthDelimitedCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for LengthDelimitedCodec {
    type Item = BytesMut;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        let Some(value) = self.length_field(src) else {
            return Ok(None);
        };
        let LengthDelimitedBuilder { width, offset, .. } = self.options;
        let payload = self.payload_bytes(value)?;
        // The header is in memory, so that only an absurd payload under an absurd limit overflows.
        let total = payload
            .checked_add(offset + width)
            .ok_or(FrameError::TooLarge {
                limit: self.options.max_frame_bytes,
                actual: payload as u64,
            })?;
        if src.len() < total {
            return Ok(None);
        }
        let mut frame = src.split_to(total);
        frame.copy_within(..offset, width);
        frame.advance(width);
        Ok(Some(frame))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        match self.decode(src)? {
            None if !src.is_empty() => Err(FrameError::Truncated {
                buffered: src.len(),
            }),
            frame => Ok(frame),
        }
    }

    fn buffer_bytes_max(&self) -> usize {
        let LengthDelimitedBuilder {
            width,
            offset,
            max_frame_bytes,
            ..
        } = self.options;
        max_frame_bytes.max(offset).saturating_add(width)
    }
}

impl<B: AsRef<[u8]>> Encoder<B> for LengthDelimitedCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: B, dst: &mut BytesMut) -> Result<(), FrameError> {
        let LengthDelimitedBuilder {
            width,
            offset,
            adjustment,
            little_endian,
            max_frame_bytes,
        } = self.options;
        let frame = frame.as_ref();
        if frame.len() > max_frame_bytes {
            return Err(FrameError::TooLarge {
                limit: max_frame_bytes,
                actual: frame.len() as u64,
            });
        }
        let Some((header, payload)) = frame.split_at_checked(offset) else {
            return Err(FrameError::HeaderMissing {
                actual: frame.len(),
                header: offset,
            });
        };
        let value = payload.len() as i128 - i128::from(adjustment);
        let length = u64::try_from(value)
            .ok()
            .filter(|length| width == 8 || length >> (8 * width) == 0)
            .ok_or(FrameError::LengthField { value, width })?;
        dst.reserve(frame.len() + width);
        dst.extend_from_slice(header);
        if little_endian {
            dst.extend_from_slice(&length.to_le_bytes()[..width]);
        } else {
            dst.extend_from_slice(&length.to_be_bytes()[8 - width..]);
        }
        dst.extend_from_slice(payload);
        Ok(())
    }
}

/// The format of a [`LengthDelimitedCodec`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `build` to make a codec of it"]
pub struct LengthDelimitedBuilder {
    width: usize,
    offset: usize,
    adjustment: i64,
    little_endian: bool,
    max_frame_bytes: usize,
}

impl LengthDelimitedBuilder {
    /// How many bytes the length field has; 4 unless said otherwise.
    ///
    /// # Panics
    /// If that is not 1 to 8.
    pub const fn length_field_bytes(mut self, width: usize) -> Self {
        assert!(1 <= width && width <= 8, "a length field has 1 to 8 bytes");
        self.width = width;
        self
    }

    /// How many header bytes stand before the length field; they open the frame.
    pub const fn length_field_offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// What must be added to the length field's value to get the number of bytes after it.
    ///
    /// Say `-4` if a length field of four bytes counts itself.
    pub const fn length_adjustment(mut self, adjustment: i64) -> Self {
        self.adjustment = adjustment;
        self
    }

    /// The length field has its lowest byte first.
    pub const fn little_endian(mut self) -> Self {
        self.little_endian = true;
        self
    }

    /// The length field has its highest byte first, as it is unless said otherwise.
    pub const fn big_endian(mut self) -> Self {
        self.little_endian = false;
        self
    }

    /// The largest frame allowed, in bytes of header and payload; 8 MiB unless said otherwise.
    pub const fn max_frame_bytes(mut self, limit: usize) -> Self {
        self.max_frame_bytes = limit;
        self
    }

    /// The codec.
    #[must_use]
    pub const fn build(self) -> LengthDelimitedCodec {
        LengthDelimitedCodec { options: self }
    }
}
