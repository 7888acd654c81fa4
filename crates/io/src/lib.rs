//! Byte streams: reading, writing, buffering and framing over the futures-io traits.
//!
//! Everything here works with any [`AsyncRead`] and [`AsyncWrite`], so that other crates' streams and adapters fit.
//! Limits are parameters: what a peer sends never decides how much memory is taken.
//!
//! # Cancellation
//! These futures take no context; the sockets below them observe the cancellation of the task that polls.
//! Each operation says what dropping it loses.
//! Where that matters, read through [`Framed`], [`FramedRead`] or [`Lines`], which keep every byte, and write through [`FramedWrite::reserve`].
//!
//! # Absent
//! No splitting into halves: sockets of `net` split without a lock.
#![forbid(unsafe_code)]

mod buf_ext;
mod buf_reader;
mod buf_writer;
mod codec;
mod copy;
mod duplex;
mod error;
mod find;
mod framed;
mod framed_state;
mod fuzz;
mod lines;
mod read_adapters;
mod read_ext;
mod write_ext;

pub use buf_ext::{BufReadExt, ReadLine, ReadUntil, SkipUntil};
pub use buf_reader::BufReader;
pub use buf_writer::BufWriter;
pub use codec::{
    BytesCodec, Decoder, Encoder, LengthDelimitedBuilder, LengthDelimitedCodec, LinesCodec,
};
pub use copy::{Copy, CopyBuf, copy, copy_buf};
pub use duplex::{DuplexStream, duplex};
pub use error::{FrameError, LineError, ReadError};
pub use framed::{FramePermit, Framed, FramedParts, FramedRead, FramedWrite};
pub use framed_state::{FRAMED_HIGH_WATER_BYTES, FRAMED_READ_BYTES_MAX};
pub use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
#[doc(hidden)]
pub use fuzz::{fuzz_length_delimited, fuzz_lines};
pub use lines::Lines;
pub use read_adapters::{Chain, Take};
pub use read_ext::{Read, ReadExact, ReadExt, ReadToEnd, ReadToString};
pub use write_ext::{Close, Flush, Write, WriteAll, WriteAllVectored, WriteExt, WriteVectored};
