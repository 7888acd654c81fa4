//! RaptorQ forward error correction, RFC 6330 in full, with no runtime in it.
//!
//! A sender cuts an object into source blocks and sends encoding symbols of each: the source symbols
//! themselves, then as many repair symbols as it likes. A receiver recovers a block from almost any
//! set of symbols that is as large as the block.
//!
//! | level | types |
//! | --- | --- |
//! | object | [`Oti`], [`ObjectEncoder`], [`StreamEncoder`], [`ObjectDecoder`], [`Packet`] |
//! | block | [`BlockShape`], [`BlockEncoder`], [`BlockDecoder`] |
//! | code | [`Code`], [`Plan`], [`PlanCache`] |
//! | trust | [`SymbolKey`] for authenticated symbols, [`Transcript`] for checking a recovery |
//! | processor | [`Backend`] |
//!
//! Everything is a plain value: nothing waits, starts a thread, reads a clock or draws a random number.
//! Input from outside never panics, and memory is bounded by what the caller allows.
//! Unsafe code is in one module, the symbol loops.
//!
//! # Examples
//! ```
//! use asupersync_raptorq::{BlockDecoder, BlockEncoder, BlockShape, DecodeOptions, Plan};
//!
//! let shape = BlockShape::single(50, 100)?; // 50 symbols of 100 octets
//! let block: Vec<u8> = (0..5000_u32).map(|i| (i * i / 7) as u8).collect();
//! let plan = Plan::encoding(*shape.code()); // made once, good for every block of this size
//! let encoder = BlockEncoder::new(shape, &block[..], &plan)?;
//!
//! let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
//! for esi in (0..60).filter(|esi| esi % 10 != 3) {
//!     decoder.add(esi, &encoder.symbol(esi)?)?;
//! }
//! decoder.decode(None)?;
//! assert_eq!(decoder.into_block(), Some(block));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod cache;
mod code;
mod decoder;
mod encoder;
mod kernel;
mod layout;
mod object;
mod octet;
mod oti;
mod packet;
mod proof;
mod solve;
mod tables;

pub use auth::{AuthError, SymbolKey, TAG_BYTES};
pub use cache::{CacheStats, PlanCache};
pub use code::{Code, CodeError, ESI_MAX, SOURCE_SYMBOLS_MAX};
pub use decoder::{BlockDecoder, DecodeError, DecodeOptions, DecodeStats, SymbolError, Taken};
pub use encoder::BlockEncoder;
pub use kernel::{Backend, BackendError};
pub use layout::BlockShape;
pub use object::{
    ObjectDecoder, ObjectEncoder, ObjectError, ObjectOptions, Progress, RecoveredBlock,
    StreamEncoder, StreamError,
};
pub use oti::{Derivation, Oti, OtiError, OtiFields, TRANSFER_LENGTH_MAX};
pub use packet::{Packet, PacketError, PayloadId};
pub use proof::{ProofError, Transcript, Verdict};
pub use solve::{Plan, PlanStats, Policy, PolicyEvent, PolicyReason, SolveError, SolveOptions};
