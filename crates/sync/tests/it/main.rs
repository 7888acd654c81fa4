//! The promises of channels and locks, mostly under the lab.
#![cfg(not(loom))]

mod batches;
mod broadcast;
mod cancel;
mod conserve;
mod contended;
mod every_await_channels;
mod every_await_locks;
mod futurelock;
mod leaks;
mod locks;
mod locks_more;
mod meet;
mod mpsc;
mod oneshot;
mod pool;
mod rendezvous;
mod rwlock;
mod session;
mod single_flight;
mod support;
mod threads;
mod wakers;
mod watch;
