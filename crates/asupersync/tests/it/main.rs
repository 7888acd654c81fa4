//! What the facade promises, tried from outside.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

// The example's own modules, so that what people read is what is attacked.
#[path = "../../examples/ledger/input.rs"]
mod input;
#[path = "../../examples/ledger/journal.rs"]
mod journal;
#[path = "../../examples/ledger/service.rs"]
mod service;

mod ledger;
mod macros;
mod net_faults;
