//! The promises of the combinators, under the lab.

mod bracket;
mod flow;
mod groups;
mod hedge;
mod support;
