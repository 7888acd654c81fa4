//! Channels and locks: what tasks share, with waits that cancellation reaches and nothing lost on the way.
//!
//! # What is here
//! - [`mpsc`]: many senders, one receiver; bounded with reserve and commit, or unbounded.
//! - [`oneshot`]: one value, one allocation, no lock.
//! - [`rendezvous`]: no buffer; a send completes when a receiver takes the value.
//! - [`broadcast`]: every receiver sees every message, or learns how many it missed.
//! - [`watch`]: the latest value, and the news that it changed.
//! - [`session`]: requests with replies, each an obligation of who accepted it.
//! - [`SingleFlight`]: concurrent calls by key are run once.
//! - [`Semaphore`]: counted permits, each an obligation of its holder.
//! - [`Mutex`]: fair, across waits, with a poison policy.
//! - [`RwLock`]: many readers or one writer, fair, with an upgradable reader.
//! - [`ContendedMutex`]: a mutex that tells, under the feature `lock-metrics`, how long it was waited for and held.
//! - [`Condvar`]: waiting under a mutex for what it guards to change.
//! - [`Notify`]: a wake-up without a value.
//! - [`Barrier`], [`Latch`]: meeting points, again and again or once.
//! - [`OnceCell`], [`Lazy`]: a value that is made once, by whoever comes first and succeeds.
//! - [`Pool`]: objects that are costly to make, lent and used again.
//!
//! # What holds for all of them
//! - A waiting operation takes `&Cx` and is a leaf future: a plain struct, without allocation once its primitive has seen as many waiters at once.
//!   [`SingleFlight::run`] is not a leaf, since it runs the program's own work; a call of a [`session`] allocates its cell.
//! - Once the context being polled must stop, the operation fails with `Cancelled`, at once and again.
//! - Waiters are served first come, first served.
//! - What was handed to a waiter that is then dropped or cancelled goes to the next one.
//! - Wakers are called, cloned and dropped outside of every lock, and a panic in one does not keep the next from being woken.
//!
//! # What is not
//! Anything that does I/O, and anything that spawns.
#![expect(
    unsafe_code,
    reason = "a value in a channel's slot or behind a lock is moved by whoever the lock-free state names"
)]

// tidy(crate-length): channels and locks are one crate by design, since all of them wait in one kind of line
mod barrier;
// tidy(contents-page): `Sender` and `Receiver` are named by their family, as everywhere in async Rust
pub mod broadcast;
mod condvar;
mod contended;
mod latch;
mod line;
// tidy(contents-page): for the same reason as `broadcast`, whose names it shares
pub mod mpsc;
mod mutex;
mod notify;
mod once_cell;
// tidy(contents-page): for the same reason as `mpsc`, whose names it shares
pub mod oneshot;
mod pool;
mod primitive;
// tidy(contents-page): for the same reason as `mpsc`, whose names it shares
pub mod rendezvous;
mod rwlock;
mod semaphore;
// tidy(contents-page): `Client` and `Server` say little without their family
pub mod session;
mod single_flight;
mod slab;
mod spot;
mod thread;
mod waiters;
// tidy(contents-page): for the same reason as `mpsc`, whose names it shares
pub mod watch;

pub use barrier::{Barrier, BarrierWait, BarrierWaitResult};
pub use condvar::Condvar;
pub use contended::{ContendedGuard, ContendedMutex};
#[cfg(feature = "lock-metrics")]
pub use contended::{Histogram, LockMetrics};
pub use latch::{Latch, LatchWait};
pub use mutex::{
    Lock, LockError, LockOwned, MappedMutexGuard, Mutex, MutexGuard, OwnedMappedMutexGuard,
    OwnedMutexGuard, TryLockError,
};
pub use notify::{Notified, Notify};
pub use once_cell::{InitError, Lazy, OnceCell, SetError};
pub use pool::{
    Begun, MakeWith, Manager, Pool, PoolError, PoolOptions, PoolStats, Pooled, Reaped, TryPoolError,
};
pub use rwlock::{
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockUpgradableReadGuard,
    OwnedRwLockWriteGuard, RwLock, RwLockMappedWriteGuard, RwLockReadGuard,
    RwLockUpgradableReadGuard, RwLockWait, RwLockWriteGuard,
};
pub use semaphore::{
    Acquire, AcquireError, AcquireOwned, OwnedSemaphorePermit, Semaphore, SemaphorePermit,
    TryAcquireError,
};
pub use single_flight::{FlightError, SingleFlight};
