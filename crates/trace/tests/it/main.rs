//! What the crate promises of recordings.

mod access;
