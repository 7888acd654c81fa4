//! The promises of channels and locks, mostly under the lab.
#![cfg(not(loom))]

mod batches;
mod broadcast;
mod cancel;
mod conserve;
mod every_await_channels;
mod futurelock;
mod leaks;
mod locks;
mod mpsc;
mod oneshot;
mod rendezvous;
mod session;
mod single_flight;
mod support;
mod threads;
mod wakers;
mod watch;
