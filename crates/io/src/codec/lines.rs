//! Lines of text.
//!
//! # States
//! *Collecting* a line, of which the front has been searched already; or *skipping* the rest of a line that was too long.

use bytes::{Buf, BytesMut};

use crate::LineError;
use crate::codec::{Decoder, Encoder};
use crate::find::find_byte;

/// One line of UTF-8 a frame, ended by a line feed, before which one carriage return is taken off.
///
/// A line longer than allowed gives [`LineError::TooLong`] once, as soon as that is certain, and the line after it follows.
/// The last line may lack its ending.
/// A codec belongs to one stream: it remembers how much of the buffer it has searched.
/// # Examples
/// ```
/// use asupersync_io::{Decoder, LinesCodec};
/// use bytes::BytesMut;
///
/// let mut codec = LinesCodec::new(8);
/// let mut bytes = BytesMut::from("short\r\nmuch too long for it");
/// assert_eq!(codec.decode(&mut bytes).unwrap().unwrap(), "short");
/// assert!(codec.decode(&mut bytes).is_err());
/// assert!(codec.decode(&mut bytes).unwrap().is_none());
/// bytes.extend_from_slice(b" either\nnext\n");
/// assert_eq!(codec.decode(&mut bytes).unwrap().unwrap(), "next");
/// ```
#[derive(Clone, Debug)]
pub struct LinesCodec {
    max_line_bytes: usize,
    /// Bytes at the front of the buffer that hold no line feed.
    searched: usize,
    skipping: bool,
}

impl LinesCodec {
    /// A codec for lines of at most `max_line_bytes`, their endings not counted.
    #[must_use]
    pub const fn new(max_line_bytes: usize) -> Self {
        Self {
            max_line_bytes,
            searched: 0,
            skipping: false,
        }
    }

    /// The longest line allowed, in bytes, its ending not counted.
    #[must_use]
    pub const fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    /// Passes the rest of a line that was too long; `false` if it goes on.
    fn skip(&mut self, src: &mut BytesMut) -> bool {
        match find_byte(b'\n', src) {
            Some(at) => {
                src.advance(at + 1);
                self.skipping = false;
            }
            None => src.clear(),
        }
        !self.skipping
    }
}

impl Decoder for LinesCodec {
    type Item = String;
    type Error = LineError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<String>, LineError> {
        if self.skipping && !self.skip(src) {
            return Ok(None);
        }
        let max = self.max_line_bytes;
        let window = &src[..src.len().min(max.saturating_add(2))];
        let searched = self.searched.min(window.len());
        if let Some(at) = find_byte(b'\n', &window[searched..]) {
            self.searched = 0;
            let line = src.split_to(searched + at + 1);
            let line = &line[..searched + at];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return checked_line(line, max).map(|line| Some(line.to_owned()));
        }
        if is_too_long(window, max) {
            self.searched = 0;
            self.skipping = true;
            self.skip(src);
            return Err(LineError::TooLong { limit: max });
        }
        self.searched = window.len();
        Ok(None)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<String>, LineError> {
        if let Some(line) = self.decode(src)? {
            return Ok(Some(line));
        }
        self.searched = 0;
        if src.is_empty() {
            return Ok(None);
        }
        let line = src.split();
        checked_line(&line, self.max_line_bytes).map(|line| Some(line.to_owned()))
    }

    fn buffer_bytes_max(&self) -> usize {
        self.max_line_bytes.saturating_add(2)
    }

    fn can_resume(&self, error: &LineError) -> bool {
        matches!(error, LineError::TooLong { .. } | LineError::NotUtf8 { .. })
    }
}

impl<S: AsRef<str>> Encoder<S> for LinesCodec {
    type Error = LineError;

    fn encode(&mut self, line: S, dst: &mut BytesMut) -> Result<(), LineError> {
        let line = line.as_ref();
        if line.len() > self.max_line_bytes {
            return Err(LineError::TooLong {
                limit: self.max_line_bytes,
            });
        }
        if let Some(index) = find_byte(b'\n', line.as_bytes()) {
            return Err(LineError::LineBreak { index });
        }
        // It would be taken off with the line feed.
        if line.ends_with('\r') {
            return Err(LineError::LineBreak {
                index: line.len() - 1,
            });
        }
        dst.reserve(line.len() + 1);
        dst.extend_from_slice(line.as_bytes());
        dst.extend_from_slice(b"\n");
        Ok(())
    }
}

/// Whether a line whose line feed has not come yet is longer than `max` for certain.
pub(crate) fn is_too_long(line: &[u8], max: usize) -> bool {
    // One byte more may be the carriage return of the ending.
    line.len() > max && (line.len() - max > 1 || line[max] != b'\r')
}

/// A complete line, without its ending, as text.
pub(crate) fn checked_line(line: &[u8], max: usize) -> Result<&str, LineError> {
    if line.len() > max {
        return Err(LineError::TooLong { limit: max });
    }
    std::str::from_utf8(line).map_err(|error| LineError::NotUtf8 {
        valid_up_to: error.valid_up_to(),
    })
}
