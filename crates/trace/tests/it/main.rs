//! What the crate promises of recordings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod codec;
mod dpor;
mod model;
mod model_dpor;
mod order;
mod rings;
mod structure;
