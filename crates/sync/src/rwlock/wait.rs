//! The futures of the lock, and what a guard holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::CancelWait;

use super::RwLock;
use super::raw::{Mode, Raw, Seize, Upgrade};
use crate::mutex::LockError;

/// Waits for an [`RwLock`]; from [`RwLock::read`], [`RwLock::write`] and their kin.
///
/// `L` is the lock or its [`Arc`], `G` the guard that comes of it.
/// # Cancel safety
/// Requeues: what was handed to it is let go, and who may then come in comes in.
#[must_use = "futures do nothing unless polled"]
pub struct RwLockWait<'a, L, G>
where
    L: ?Sized,
{
    lock: &'a L,
    raw: &'a Raw,
    guard: fn(&'a L) -> G,
    seize: Seize,
    cancel: CancelWait,
}

impl<'a, L: ?Sized, G> RwLockWait<'a, L, G> {
    pub(super) const fn new(lock: &'a L, raw: &'a Raw, mode: Mode, guard: fn(&'a L) -> G) -> Self {
        Self {
            lock,
            raw,
            guard,
            seize: Seize::new(mode),
            cancel: CancelWait::new(),
        }
    }

    fn poll_slow(&mut self, task: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        if let Poll::Ready(cancelled) = self.cancel.poll(task) {
            self.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        let was_in_line = self.seize.is_in_line();
        let seized = self.seize.poll(self.raw, task.waker());
        let mode = self.seize.mode();
        if seized.is_pending() && was_in_line {
            self.raw.resource.trace(mode.wait());
        } else if seized.is_pending() && !self.seize.is_in_line() {
            // Who comes back has no place that somebody could hand it.
            self.raw.resource.trace("rwlock.look");
        }
        seized.map(|()| self.raw.admitted(mode, was_in_line))
    }

    fn leave(&mut self) {
        if self.seize.is_in_line() {
            self.seize.leave(self.raw);
        }
    }
}

impl<L: ?Sized, G> Future for RwLockWait<'_, L, G> {
    type Output = Result<G, LockError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mode = this.seize.mode();
        let is_free =
            !this.seize.is_in_line() && CancelWait::check().is_none() && this.raw.try_take(mode);
        let taken = if is_free {
            Poll::Ready(this.raw.admitted(mode, false))
        } else {
            this.poll_slow(task)
        };
        taken.map_ok(|()| (this.guard)(this.lock))
    }
}

impl<L: ?Sized, G> Drop for RwLockWait<'_, L, G> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// How a guard reaches its lock.
pub(super) trait HasRaw {
    fn raw(&self) -> &Raw;
}

impl HasRaw for &Raw {
    fn raw(&self) -> &Raw {
        self
    }
}

impl<T: ?Sized> HasRaw for Arc<RwLock<T>> {
    fn raw(&self) -> &Raw {
        &self.raw
    }
}

/// What a guard holds, let go when it is dropped.
#[derive(Debug)]
pub(super) struct Hold<L: HasRaw> {
    lock: L,
    mode: Mode,
    was_panicking: bool,
}

impl<L: HasRaw> Hold<L> {
    /// For who has taken the lock in this mode only: the hold stands for that.
    #[inline]
    pub(super) fn new(lock: L, mode: Mode) -> Self {
        Self {
            lock,
            mode,
            was_panicking: mode == Mode::Write && std::thread::panicking(),
        }
    }

    /// From writing or upgradable reading to something less.
    pub(super) fn downgrade(&mut self, to: Mode) {
        let raw = self.lock.raw();
        raw.resource.trace("rwlock.downgrade");
        match self.mode {
            Mode::Write => raw.downgrade(to),
            Mode::Upgradable => raw.give_up_upgrade(),
            Mode::Read => {}
        }
        self.mode = to;
    }

    /// From upgradable reading to writing, if there is no other reader.
    pub(super) fn try_upgrade(&mut self) -> bool {
        let is_writer = self.lock.raw().try_upgrade();
        if is_writer {
            self.set_writer();
        }
        is_writer
    }

    fn set_writer(&mut self) {
        self.lock.raw().resource.trace("rwlock.upgraded");
        self.mode = Mode::Write;
        self.was_panicking = std::thread::panicking();
    }

    /// From upgradable reading to writing, once the other readers have let go.
    pub(super) async fn upgrade(&mut self) -> Result<(), LockError> {
        Upgrading {
            raw: self.lock.raw(),
            upgrade: Upgrade::new(),
            cancel: CancelWait::new(),
        }
        .await?;
        self.set_writer();
        Ok(())
    }
}

impl<L: HasRaw> Drop for Hold<L> {
    #[inline]
    fn drop(&mut self) {
        let raw = self.lock.raw();
        if self.mode == Mode::Write && !self.was_panicking && std::thread::panicking() {
            raw.poison();
        }
        raw.resource.trace_with(|| raw.unlock_operation(self.mode));
        raw.release(self.mode);
    }
}

/// One wait of an upgradable reader, which it still is if the wait is given up.
struct Upgrading<'a> {
    raw: &'a Raw,
    upgrade: Upgrade,
    cancel: CancelWait,
}

impl Future for Upgrading<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        let was_in_line = this.upgrade.is_in_line();
        let upgraded = this.upgrade.poll(this.raw, task.waker());
        if upgraded.is_pending() && !was_in_line {
            this.raw.resource.trace("rwlock.upgrade");
        }
        upgraded.map(Ok)
    }
}

impl Drop for Upgrading<'_> {
    fn drop(&mut self) {
        if self.upgrade.is_in_line() {
            self.raw.resource.trace("rwlock.keep");
            self.upgrade.leave(self.raw);
        }
    }
}
