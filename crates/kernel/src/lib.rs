//! Regions, tasks, cancellation, obligations and contexts: the one kernel that every host drives.
//!
//! # What is here
//! - The ownership tree: every task is owned by a region ([`Cx::region`], [`Scope`]), and a region closes only when nothing of it is left.
//! - Cancellation as a protocol: request, observe ([`CancelWait`]), clean up within a budget, escalate.
//! - Obligations ([`Obligation`]): what stands between a reserve and its commit or abort.
//! - The ports of a host ([`Host`]): clock, queues, timers, entropy, blocking jobs. Production and lab implement them; nothing else differs.
//!
//! # What is not
//! Threads, queues, clocks, sockets and channels: engines, hosts and primitives bring them.
#![expect(
    unsafe_code,
    reason = "a task's context, state and future share one allocation behind one thin pointer"
)]

mod account;
mod blocking;
mod cancel;
mod cell;
// tidy(contents-page): capability sets are named with their module, as in `caps::OnlyTime`.
pub mod caps;
mod current;
mod cx;
mod ended;
mod event;
mod extra;
mod fiber;
mod free_lists;
mod host;
mod inline;
mod join;
mod joiner;
mod leave;
mod marks;
mod mask;
mod meddle;
mod more;
// tidy(contents-page): defects are named with their module, as in `mutation::with`.
#[doc(hidden)]
pub mod mutation;
mod node;
mod obligation;
mod primitive;
mod region;
mod resource;
mod root;
mod scope;
mod sleep;
mod state;
mod tagged;
mod task;
mod waker;

pub use blocking::BlockingError;
pub use cancel::CancelWait;
pub use cx::Cx;
pub use ended::Ended;
pub use event::{Event, Name, Settlement, Subject};
pub use fiber::Fiber;
pub use free_lists::FreeLists;
pub use host::{Host, KernelConfig, Lane, LeakEscalation, Owed, Report, TimerKey, WorkerId};
pub use join::{Join, JoinHandle, Wait};
pub use mask::{MaskGuard, Shield};
pub use meddle::Meddler;
pub use obligation::{Leaked, Obligation, Recover};
pub use region::RegionOptions;
pub use resource::Resource;
pub use root::{Program, Root, RootEnd, RootOptions, Unfinished, run_root};
pub use scope::{Scope, SpawnOptions};
pub use sleep::Sleep;
pub use task::Runnable;
pub use waker::{Waiter, Who, wake_contained};
