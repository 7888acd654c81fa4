//! The production host, through its public interface.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod regions;
mod signals;
