//! What is wrong with a recording.

use thiserror::Error;

/// Why a trace has no binary form.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// There are too many events.
    #[error("the trace takes {actual} bytes, and {limit} are allowed")]
    TooLarge {
        /// How many bytes are allowed.
        limit: usize,
        /// How many it would take.
        actual: usize,
    },
    /// An event has no tag in this version.
    #[error("no tag is known for {event}")]
    UnknownEvent {
        /// The event, for people.
        event: String,
    },
}

/// Why bytes are no trace.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as a trace does.
    #[error("this is not a trace")]
    NotATrace,
    /// Another version wrote them.
    #[error("the trace has version {version}, and version {supported} can be read")]
    UnknownVersion {
        /// The version that it states.
        version: u8,
        /// The version that can be read.
        supported: u8,
    },
    /// They were written in a way that is not known here.
    #[error("the trace has the unknown flags {flags:#04x}")]
    UnknownFlags {
        /// All flags.
        flags: u8,
    },
    /// They are compressed, and the feature `trace-compression` is off.
    #[error("the trace is compressed, and this build lacks the feature `trace-compression`")]
    CompressionNotBuilt,
    /// They end too early.
    #[error("the trace is cut off after {at} bytes")]
    Truncated {
        /// Where they end.
        at: usize,
    },
    /// There is more than the trace.
    #[error("{count} bytes follow the end of the trace")]
    TrailingBytes {
        /// How much more.
        count: u64,
    },
    /// The checksum is wrong.
    #[error("the trace is damaged: its checksum does not fit")]
    Damaged,
    /// They claim to be larger than is possible or allowed.
    #[error("the trace claims {actual} bytes, and at most {limit} are possible")]
    TooLarge {
        /// How many bytes are possible.
        limit: usize,
        /// How many are claimed.
        actual: u64,
    },
    /// The checksum is right, and what it covers is not.
    #[error("the trace is malformed at byte {at} of its body: {what}")]
    Malformed {
        /// Where in the body.
        at: usize,
        /// What was read there.
        what: &'static str,
    },
}
