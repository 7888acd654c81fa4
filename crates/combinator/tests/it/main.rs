//! The promises of the combinators, under the lab.

mod bracket;
mod every_await;
mod flow;
mod groups;
mod hedge;
mod laws;
mod support;
