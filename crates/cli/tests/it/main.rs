//! The command, run as a user runs it.

#[cfg(test)]
mod lab;
#[cfg(test)]
mod raptorq;
