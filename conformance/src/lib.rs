//! Scenarios that hold on every host: the same program under the lab and in production.
//!
//! A scenario is an async function of a context that asserts.
//! [`on_both_hosts`] runs it under the lab, twice for each of several seeds with equal traces and no broken law, and on the production host with 1, 2 and 4 workers.
#![forbid(unsafe_code)]

mod both;

pub use both::{Hosts, on_both_hosts};
