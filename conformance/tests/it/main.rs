//! The kernel's promises, on both hosts.

mod admission;
mod budgets;
mod bugs;
mod cancellation;
mod capabilities;
mod channel_stress;
mod combinators;
mod errors;
mod files;
mod finalizers;
mod joining;
mod local;
mod locks_stress;
mod net;
mod obligations;
mod panics;
mod policies;
mod quiescence;
mod shared;
mod streams;
mod support;
mod time;
mod timeouts;
