//! The promises of streams and sinks, under the lab.

mod cancel;
mod conserve;
mod every_await;
mod generate;
mod many;
mod sinks;
mod sources;
mod support;
mod tasks;
mod time;
