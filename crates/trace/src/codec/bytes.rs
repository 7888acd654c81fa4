//! Numbers and texts as bytes.

use super::error::DecodeError;

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends how far `value` is from `last`, and makes it the last.
pub(super) fn put_difference(out: &mut Vec<u8>, last: &mut u64, value: u64) {
    let difference = value.wrapping_sub(*last) as i64;
    put_varint(out, ((difference << 1) ^ (difference >> 63)) as u64);
    *last = value;
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes that are read from the front.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            at: self.bytes.len(),
        }
    }

    pub(super) const fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { at: self.at, what }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.truncated())?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(self.malformed("a number beyond 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number beyond 64 bits"))
    }

    pub(super) fn difference(&mut self, last: &mut u64) -> Result<u64, DecodeError> {
        let zigzag = self.varint()?;
        *last = last.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
        Ok(*last)
    }

    /// A count of things that take `bytes_each` or more; a claim beyond what is left is refused at once.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<u64, DecodeError> {
        let count = self.varint()?;
        let possible = (self.bytes.len() - self.at) / bytes_each;
        if count > possible as u64 {
            return Err(self.truncated());
        }
        Ok(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| self.truncated())?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a text that is not UTF-8"))
    }
}

/// The checksum of Ethernet, zip and PNG.
///
/// # Source
/// ISO/IEC 8802-3, clause 3.2.9; the polynomial is reversed.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn numbers_survive_at_their_edges() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Input::new(&out).varint(), Ok(value));
            for start in [0, 1, value, u64::MAX] {
                let mut out = Vec::new();
                let (mut here, mut there) = (start, start);
                put_difference(&mut out, &mut here, value);
                assert_eq!(Input::new(&out).difference(&mut there), Ok(value));
            }
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut beyond = [0xff; 10];
        beyond[9] = 0x02;
        for bytes in [&beyond[..], &[0xff; 10], &[0x80; 11]] {
            let end = Input::new(bytes).varint();
            assert!(matches!(end, Err(DecodeError::Malformed { .. })), "{end:?}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_anything_is_set_aside() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(Input::new(&out).count(1).is_err());
        assert_eq!(Input::new(&[2, 0, 0]).count(1), Ok(2));
        assert!(Input::new(&[3, 0, 0]).count(1).is_err());
    }
}
