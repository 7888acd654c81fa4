//! Entry points for fuzzers: any bytes go in, and a panic means that a promise is broken.
//!
//! The first bytes choose the codec's options and where the stream is cut into pieces.

use std::fmt::Debug;

use bytes::BytesMut;

use crate::{Decoder, LengthDelimitedCodec, LinesCodec};

/// Lines: no panic, no dependence on the pieces, no line longer than allowed, bounded buffering.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_lines(data: &[u8]) {
    let Some(([max, cut], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let codec = || LinesCodec::new(usize::from(max % 32));
    let whole = decode_all(codec(), stream, stream.len().max(1));
    assert_eq!(decode_all(codec(), stream, usize::from(*cut).max(1)), whole);
    assert_eq!(decode_all(codec(), stream, 1), whole);
    for line in whole.iter().flatten() {
        assert!(line.len() <= usize::from(max % 32));
        assert!(!line.contains('\n'));
    }
}

/// Length-delimited frames: no panic, no dependence on the pieces, no frame larger than allowed, bounded buffering.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_length_delimited(data: &[u8]) {
    let Some(([width, offset, adjustment, max, cut], stream)) = data.split_first_chunk::<5>()
    else {
        return;
    };
    let builder = LengthDelimitedCodec::builder()
        .length_field_bytes(usize::from(width % 8) + 1)
        .length_field_offset(usize::from(offset % 8))
        .length_adjustment(i64::from(adjustment.cast_signed() / 8))
        .max_frame_bytes(usize::from(*max));
    let builder = if width & 8 == 0 {
        builder.big_endian()
    } else {
        builder.little_endian()
    };
    let whole = decode_all(builder.build(), stream, stream.len().max(1));
    assert_eq!(
        decode_all(builder.build(), stream, usize::from(*cut).max(1)),
        whole
    );
    assert_eq!(decode_all(builder.build(), stream, 1), whole);
    for frame in whole.iter().flatten() {
        assert!(frame.len() <= usize::from(*max));
    }
}

/// What a decoder makes of a stream cut into pieces: frames, and errors by what they say.
fn decode_all<D>(mut decoder: D, stream: &[u8], piece: usize) -> Vec<Result<D::Item, String>>
where
    D: Decoder<Error: ToString, Item: Debug>,
{
    let mut buf = BytesMut::new();
    let mut all = Vec::new();
    let mut pieces = stream.chunks(piece);
    loop {
        let next = pieces.next();
        buf.extend_from_slice(next.unwrap_or_default());
        loop {
            let decoded = match next {
                Some(_) => decoder.decode(&mut buf),
                None => decoder.decode_eof(&mut buf),
            };
            match decoded {
                Ok(Some(item)) => all.push(Ok(item)),
                Ok(None) => break,
                Err(error) => {
                    all.push(Err(error.to_string()));
                    if !decoder.can_resume(&error) {
                        return all;
                    }
                }
            }
        }
        assert!(
            buf.len() < decoder.buffer_bytes_max(),
            "a decoder asks for more than it said"
        );
        if next.is_none() {
            return all;
        }
    }
}
