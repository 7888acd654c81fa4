//! RaptorQ forward error correction, RFC 6330 in full, with no runtime in it.
mod code;
mod kernel;
mod octet;
mod solve;
mod tables;

pub use code::{Code, CodeError, ESI_MAX, SOURCE_SYMBOLS_MAX};
pub use kernel::{Backend, BackendError};
pub use solve::{Plan, PlanStats, Policy, PolicyEvent, PolicyReason, SolveError, SolveOptions};
