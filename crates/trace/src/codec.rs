//! Recordings as bytes: compact, versioned, and checked before anything of them is believed.
//!
//! # Layout of version 2
//! `89 41 53 54` (`\x89AST`), the version, the flags, the length of the body as it stands in the file (a varint), CRC-32 of the body as it stands, the body.
//! Flag 1 says that the body is an LZ4 block behind its length (a varint); no other flag is known.
//! The body is a table of names (count; length and UTF-8 of each), the count of events, and the events.
//! An event is the time and the step since the event before, a tag, and its fields; numbers that grow slowly stand as differences from the last of their kind.
//! Numbers are LEB128 varints; differences may be negative and are zigzagged.
//!
//! # Invariants
//! - What is decoded is what was encoded, event for event.
//! - Input that was cut, damaged or written by something else is an error that says so, and never a panic.
//! - Memory is bounded by the input: nothing is set aside for a count before its bytes were seen, and a name is kept once, however often it is used.
//!
//! # Deliberately absent
//! Reading event by event: a recording is checked as a whole before its first event is used.

use std::collections::BTreeMap;

use asupersync_core::Time;
use asupersync_kernel::Name;

use crate::record::{Trace, TraceEvent};

mod bytes;
mod error;
mod fields;

pub use error::{DecodeError, EncodeError};

use bytes::{Input, crc32, put_varint};
use fields::{Last, get_event, put_event};

impl Trace {
    /// The trace in the binary form, version [`VERSION`].
    ///
    /// Equal traces give equal bytes on every machine.
    /// Cost: one pass over the events, one over the bytes.
    /// # Errors
    /// [`EncodeError::TooLarge`] beyond [`BODY_BYTES_MAX`]; [`EncodeError::UnknownEvent`] for an event that this version has no tag for.
    /// # Examples
    /// ```
    /// use asupersync_core::{RegionId, Time};
    /// use asupersync_kernel::Event;
    /// use asupersync_trace::{DecodeError, Trace, TraceEvent};
    /// let event = Event::RegionClosed { region: RegionId::new(3) };
    /// let trace = Trace { events: vec![TraceEvent { at: Time::ZERO, step: 1, event }] };
    /// let bytes = trace.encode().unwrap();
    /// assert_eq!(Trace::decode(&bytes), Ok(trace));
    /// assert_eq!(Trace::decode(b"GIF89a"), Err(DecodeError::NotATrace));
    /// ```
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(framed(0, &self.body()?))
    }

    /// As [`encode`](Self::encode), and compressed.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[cfg(feature = "trace-compression")]
    pub fn encode_compressed(&self) -> Result<Vec<u8>, EncodeError> {
        let body = self.body()?;
        let mut packed = Vec::new();
        put_varint(&mut packed, body.len() as u64);
        packed.extend_from_slice(&lz4_flex::block::compress(&body));
        Ok(framed(FLAG_LZ4, &packed))
    }

    /// The trace that these bytes are the binary form of.
    ///
    /// Memory is bounded by the length of `bytes`: some dozens of bytes for each, and 255 times more if it is compressed, up to [`BODY_BYTES_MAX`] for the body.
    /// # Errors
    /// What is wrong with the bytes; see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (flags, stored) = unframed(bytes)?;
        match flags {
            0 => decode_body(stored),
            _ => decode_body(&unpacked(stored)?),
        }
    }

    fn body(&self) -> Result<Vec<u8>, EncodeError> {
        let mut names = Names::default();
        let mut events = Vec::new();
        let mut last = Last::default();
        let (mut at, mut step) = (0, 0);
        for traced in &self.events {
            bytes::put_difference(&mut events, &mut at, traced.at.as_nanos());
            bytes::put_difference(&mut events, &mut step, traced.step);
            last.at = at;
            put_event(&mut events, &mut last, &mut names, &traced.event)?;
        }
        let mut body = Vec::new();
        put_varint(&mut body, names.in_order.len() as u64);
        for name in &names.in_order {
            bytes::put_text(&mut body, name);
        }
        put_varint(&mut body, self.events.len() as u64);
        body.append(&mut events);
        if body.len() > BODY_BYTES_MAX {
            return Err(EncodeError::TooLarge {
                limit: BODY_BYTES_MAX,
                actual: body.len(),
            });
        }
        Ok(body)
    }
}

/// The names of a recording, each once, in the order of their first use.
#[derive(Default)]
struct Names<'a> {
    in_order: Vec<&'a str>,
    index: BTreeMap<&'a str, u64>,
}

impl<'a> Names<'a> {
    fn index_of(&mut self, name: &'a str) -> u64 {
        *self.index.entry(name).or_insert_with(|| {
            self.in_order.push(name);
            self.in_order.len() as u64 - 1
        })
    }
}

fn framed(flags: u8, stored: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(stored.len() + HEAD_BYTES_MAX);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&[VERSION, flags]);
    put_varint(&mut file, stored.len() as u64);
    file.extend_from_slice(&crc32(stored).to_le_bytes());
    file.extend_from_slice(stored);
    file
}

/// The flags and the body as it stands, once its length and its checksum are right.
fn unframed(bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut input = Input::new(bytes);
    let magic = bytes.get(..MAGIC.len());
    if magic.is_none() && !bytes.is_empty() && MAGIC.starts_with(bytes) {
        return Err(input.truncated());
    }
    if magic != Some(&MAGIC[..]) {
        return Err(DecodeError::NotATrace);
    }
    input.take(MAGIC.len())?;
    let version = input.byte()?;
    if version != VERSION {
        return Err(DecodeError::UnknownVersion {
            version,
            supported: VERSION,
        });
    }
    let flags = input.byte()?;
    if flags & !FLAG_LZ4 != 0 {
        return Err(DecodeError::UnknownFlags { flags });
    }
    let length = input.varint()?;
    let checksum = input.take(size_of::<u32>())?;
    let stored = input.rest();
    let is_longer = match u64::try_from(stored.len()) {
        Ok(actual) if actual == length => None,
        Ok(actual) => Some(actual > length),
        Err(_) => Some(true),
    };
    match is_longer {
        None => {}
        Some(false) => return Err(DecodeError::Truncated { at: bytes.len() }),
        Some(true) => {
            return Err(DecodeError::TrailingBytes {
                count: stored.len() as u64 - length,
            });
        }
    }
    if crc32(stored).to_le_bytes() != checksum {
        return Err(DecodeError::Damaged);
    }
    Ok((flags, stored))
}

#[cfg(feature = "trace-compression")]
fn unpacked(stored: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut input = Input::new(stored);
    let claimed = input.varint()?;
    let packed = input.rest();
    // No LZ4 block grows by more than this, so a larger claim is not believed, and nothing set aside for it.
    let possible = packed
        .len()
        .saturating_mul(LZ4_RATIO_MAX)
        .min(BODY_BYTES_MAX);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > possible {
        return Err(DecodeError::TooLarge {
            limit: possible,
            actual: claimed,
        });
    }
    let body = lz4_flex::block::decompress(packed, length);
    let body = body.map_err(|_| DecodeError::Malformed {
        at: 0,
        what: "the LZ4 block",
    })?;
    if body.len() != length {
        return Err(DecodeError::Malformed {
            at: body.len(),
            what: "the length of the LZ4 block",
        });
    }
    Ok(body)
}

#[cfg(not(feature = "trace-compression"))]
const fn unpacked(_stored: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::CompressionNotBuilt)
}

fn decode_body(body: &[u8]) -> Result<Trace, DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            limit: BODY_BYTES_MAX,
            actual: body.len() as u64,
        });
    }
    let mut input = Input::new(body);
    let mut names = Vec::new();
    for _ in 0..input.count(NAME_BYTES_MIN)? {
        names.push(Name::shared(input.text()?));
    }
    let mut events = Vec::new();
    let (mut at, mut step) = (0, 0);
    let mut last = Last::default();
    for _ in 0..input.count(EVENT_BYTES_MIN)? {
        input.difference(&mut at)?;
        input.difference(&mut step)?;
        last.at = at;
        let event = get_event(&mut input, &mut last, &names)?;
        events.push(TraceEvent {
            at: Time::from_nanos(at),
            step,
            event,
        });
    }
    match input.rest().len() {
        0 => Ok(Trace { events }),
        count => Err(DecodeError::TrailingBytes {
            count: count as u64,
        }),
    }
}

/// Any bytes go in, as a file and as the body of one whose frame is right; what comes out survives the way back.
///
/// # Panics
/// If a promise of the codec does not hold.
pub fn fuzz_decode(data: &[u8]) {
    for file in [data.to_vec(), framed(0, data), framed(FLAG_LZ4, data)] {
        if let Ok(trace) = Trace::decode(&file) {
            let again = trace.encode().expect("what was decoded has tags");
            assert_eq!(Trace::decode(&again).as_ref(), Ok(&trace));
        }
    }
}

/// The version of the binary form that is written, and the only one that is read.
pub const VERSION: u8 = 2;

/// The largest body, uncompressed.
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// The first octet is no ASCII, so that a transfer as text shows.
const MAGIC: [u8; 4] = *b"\x89AST";
const FLAG_LZ4: u8 = 1;
/// Magic, version, flags, a varint and a checksum.
const HEAD_BYTES_MAX: usize = 4 + 1 + 1 + 10 + 4;
/// The length of an empty name.
const NAME_BYTES_MIN: usize = 1;
/// Time, step and tag.
const EVENT_BYTES_MIN: usize = 3;
#[cfg(feature = "trace-compression")]
const LZ4_RATIO_MAX: usize = 255;
