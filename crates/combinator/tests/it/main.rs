//! The promises of the combinators, under the lab.

mod bracket;
mod breaker;
mod cache;
mod compose;
mod every_await;
mod every_await_policies;
mod flow;
mod groups;
mod hedge;
mod laws;
mod limits;
mod retry;
mod service;
mod support;
