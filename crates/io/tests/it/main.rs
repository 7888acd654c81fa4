//! Streams, buffers and frames, in memory.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail by panicking, like the tests"
)]

mod framing;
mod streams;
mod support;
