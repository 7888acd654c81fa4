//! What can be wrong with the bytes, as opposed to with the transport.

use std::io;

/// Why a read failed though the transport works.
///
/// It arrives inside an [`io::Error`]: `error.get_ref().and_then(|e| e.downcast_ref::<ReadError>())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// More bytes came than the caller allows.
    #[error("the stream holds more than the {limit} bytes allowed")]
    LimitExceeded {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The stream ended before the buffer was full.
    #[error("the stream ended after {filled} of {wanted} bytes")]
    EndOfStream {
        /// Bytes that came.
        filled: usize,
        /// Bytes that were asked for.
        wanted: usize,
    },
    /// The bytes are no UTF-8.
    #[error("invalid UTF-8 after {valid_up_to} bytes")]
    NotUtf8 {
        /// Bytes before the first invalid one.
        valid_up_to: usize,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::LimitExceeded { .. } => io::ErrorKind::FileTooLarge,
            ReadError::EndOfStream { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::NotUtf8 { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Why a line could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A line is longer than allowed; the rest of it is skipped, and the next call gives the line after it.
    #[error("a line is longer than the {limit} bytes allowed")]
    TooLong {
        /// The limit in bytes, without the line ending.
        limit: usize,
    },
    /// A line is no UTF-8; it has been consumed, and the next call gives the line after it.
    #[error("a line has invalid UTF-8 after {valid_up_to} bytes")]
    NotUtf8 {
        /// Bytes of the line before the first invalid one.
        valid_up_to: usize,
    },
    /// A text to be written as one line would be read as something else.
    #[error("a text with a line break at byte {index} cannot be sent as one line")]
    LineBreak {
        /// Where the line feed, or the carriage return at the end, stands.
        index: usize,
    },
    /// The transport failed, or ended where the frame format does not allow it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is larger than allowed.
    #[error("a frame of {actual} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// What the length field says, or the frame to be written has.
        actual: u64,
    },
    /// The length field, adjusted, is below zero.
    #[error("the length field says {value}, which the adjustment of {adjustment} makes negative")]
    NegativeLength {
        /// What the length field says.
        value: u64,
        /// The codec's length adjustment.
        adjustment: i64,
    },
    /// The length of a frame to be written cannot be expressed.
    #[error("a length of {value} does not fit a length field of {width} bytes")]
    LengthField {
        /// The value that the length field would have.
        value: i128,
        /// The width of the length field in bytes.
        width: usize,
    },
    /// A frame to be written is shorter than the header that stands before its length field.
    #[error("a frame of {actual} bytes is shorter than its header of {header} bytes")]
    HeaderMissing {
        /// Bytes of the frame.
        actual: usize,
        /// Bytes before the length field.
        header: usize,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame, {buffered} bytes into it")]
    Truncated {
        /// Bytes of the unfinished frame.
        buffered: usize,
    },
    /// A decoder wants more bytes buffered than it said it would ever need.
    #[error("the decoder has not made a frame of the {buffered} bytes that it said are enough")]
    Stalled {
        /// Bytes buffered.
        buffered: usize,
    },
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        let kind = match error {
            FrameError::Io(error) => return error,
            FrameError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            FrameError::LengthField { .. } | FrameError::HeaderMissing { .. } => {
                io::ErrorKind::InvalidInput
            }
            FrameError::TooLarge { .. }
            | FrameError::NegativeLength { .. }
            | FrameError::Stalled { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
