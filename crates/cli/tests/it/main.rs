//! The command, run as a user runs it.

mod lab;
mod raptorq;
