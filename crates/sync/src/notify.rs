//! A wake-up without a value.
//!
//! The problem: to say "look again" to one waiter or to all, so that a call just before the wait is not lost.
//!
//! # States
//! `EMPTY → NOTIFIED` by [`Notify::notify_one`] while nobody waits; `EMPTY → WAITING` by the first waiter.
//! The upper bits count the calls of [`Notify::notify_waiters`], by which a [`Notified`] knows of a call that came after it was made.
//!
//! # Invariants
//! - `WAITING` is set and taken back under the lock, and stands exactly while the line is not empty.
//! - A notification that was handed to a waiter which then goes away is handed to the next, or stored.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{CancelWait, Cx, Resource};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::waiters::{Grant, Place, Stand, WaitList};

const EMPTY: u64 = 0;
const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;
const MASK: u64 = 3;
/// One call of `notify_waiters`.
const CALL: u64 = 4;

/// Wakes one waiting task, or all of them.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::Notify;
/// async fn wait_until(cx: &Cx, changed: &Notify, done: impl Fn() -> bool) -> Result<(), Cancelled> {
///     loop {
///         // Made before the look, so that a call of `notify_waiters` in between is not missed.
///         let notified = changed.notified(cx);
///         if done() {
///             return Ok(());
///         }
///         notified.await?;
///     }
/// }
/// ```
pub struct Notify {
    state: AtomicU64,
    waiters: Mutex<WaitList>,
    resource: Resource,
}

impl Notify {
    crate::primitive::const_unless_loom! {
        /// Without a stored notification.
        #[must_use]
        pub fn new() -> Self {
            Self {
                state: AtomicU64::new(EMPTY),
                waiters: Mutex::new(WaitList::new()),
                resource: Resource::new(),
            }
        }
    }

    /// Waits for a notification.
    ///
    /// It consumes a stored one at once, is served in line by [`notify_one`](Self::notify_one), and sees every [`notify_waiters`](Self::notify_waiters) from its making on, even before its first poll.
    /// Its place in line is taken at the first poll, or by [`Notified::enable`].
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a notification that it had got goes to the next in line.
    pub fn notified<'a, C>(&'a self, cx: &'a Cx<C>) -> Notified<'a> {
        let _ = cx;
        Notified {
            notify: self,
            wait: Wait::new(self.state.load(Ordering::SeqCst)),
            cancel: CancelWait::new(),
        }
    }

    /// Wakes the first in line; if nobody waits, the next one to wait does not.
    ///
    /// At most one notification is stored.
    /// Cost: one compare-and-swap while nobody waits, a lock otherwise.
    pub fn notify_one(&self) {
        self.resource.trace("notify.one");
        self.notify(WaitList::grant_front);
    }

    /// Like [`notify_one`](Self::notify_one), but wakes the last in line: who came last has the warmest cache.
    ///
    /// If that one goes away without using it, the notification goes to the first in line.
    pub fn notify_last(&self) {
        self.resource.trace("notify.last");
        self.notify(WaitList::grant_back);
    }

    fn notify(&self, choose: fn(&mut WaitList, Grant) -> Option<Waker>) {
        let mut state = self.state.load(Ordering::SeqCst);
        while state & MASK != WAITING {
            match self.store_one(state) {
                Ok(()) => return,
                Err(seen) => state = seen,
            }
        }
        let waker = self.hand_on(&mut lock(&self.waiters), choose);
        waker
            .into_iter()
            .filter(|_| !is_on(Mutation::NotifyIsSilent))
            .for_each(asupersync_kernel::wake_contained);
    }

    /// Wakes everybody whose [`Notified`] was made before this call; stores nothing.
    ///
    /// Cost: one lock; an allocation if more than a few wait.
    pub fn notify_waiters(&self) {
        self.resource.trace("notify.all");
        let mut wakers = {
            let mut waiters = lock(&self.waiters);
            self.state.fetch_add(CALL, Ordering::SeqCst);
            let wakers = waiters.grant_all(Grant::All);
            self.settle(&waiters);
            wakers
        };
        wakers.wake();
    }

    fn store_one(&self, state: u64) -> Result<(), u64> {
        let stored = state & !MASK | NOTIFIED;
        // Also if one is stored already: whoever takes it must see what came before this call.
        self.state
            .compare_exchange(state, stored, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
    }

    /// Gives one notification to the chosen one in line, or stores it.
    fn hand_on(
        &self,
        waiters: &mut WaitList,
        choose: fn(&mut WaitList, Grant) -> Option<Waker>,
    ) -> Option<Waker> {
        let waker = choose(waiters, Grant::One);
        self.settle(waiters);
        if waker.is_none() {
            let mut state = self.state.load(Ordering::SeqCst);
            while let Err(seen) = self.store_one(state) {
                state = seen;
            }
        }
        waker
    }

    /// Takes `WAITING` back if the line has become empty.
    fn settle(&self, waiters: &WaitList) {
        if waiters.is_empty() && self.state.load(Ordering::SeqCst) & MASK == WAITING {
            // Under the lock nobody else changes a state that is `WAITING`.
            self.state.fetch_sub(WAITING, Ordering::SeqCst);
        }
    }

    /// Takes a stored notification.
    fn take(&self) -> bool {
        let mut state = self.state.load(Ordering::SeqCst);
        while state & MASK == NOTIFIED {
            let taken = self.state.compare_exchange(
                state,
                state & !MASK,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            match taken {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Ordering::Relaxed) & MASK;
        f.debug_struct("Notify")
            .field("is_stored", &(state == NOTIFIED))
            .field("has_waiters", &(state == WAITING))
            .finish_non_exhaustive()
    }
}

/// One wait on a [`Notify`], without its context: its stage in one word, since each waiting task has one.
///
/// The lowest bits tell the stage, as [`Stage`] has them; the calls that an unpolled one knows of leave these bits free.
struct Wait(u64);

#[derive(Debug)]
enum Stage {
    Unpolled { calls: u64 },
    Queued(Place),
    Done,
}

const QUEUED: u64 = 1;
const DONE: u64 = 2;
const STAGE_BITS: u32 = MASK.count_ones();

impl Wait {
    const fn new(state: u64) -> Self {
        Self(state & !MASK)
    }

    const fn is_done(&self) -> bool {
        self.0 & MASK == DONE
    }

    fn stage(&self) -> Stage {
        match self.0 & MASK {
            QUEUED => {
                let index = u32::try_from(self.0 >> STAGE_BITS);
                Stage::Queued(Place::from_index(
                    index.expect("it was made from as many bits"),
                ))
            }
            DONE => Stage::Done,
            _ => Stage::Unpolled { calls: self.0 },
        }
    }

    fn queue(&mut self, place: Place) {
        self.0 = u64::from(place.into_index()) << STAGE_BITS | QUEUED;
    }

    /// The wait has ended; its place, if it has one, is the caller's to give up.
    fn end(&mut self) -> Option<Place> {
        let stage = self.stage();
        self.0 = DONE;
        match stage {
            Stage::Queued(place) => Some(place),
            Stage::Unpolled { .. } | Stage::Done => None,
        }
    }

    fn poll(&mut self, notify: &Notify, waker: &Waker) -> Poll<()> {
        match self.stage() {
            Stage::Done => Poll::Ready(()),
            Stage::Unpolled { calls } => self.enter(notify, calls, waker),
            Stage::Queued(place) => self.look(notify, &place, waker),
        }
    }

    fn enter(&mut self, notify: &Notify, calls: u64, waker: &Waker) -> Poll<()> {
        let is_called = notify.state.load(Ordering::SeqCst) & !MASK != calls;
        if is_called || notify.take() {
            self.end();
            return Poll::Ready(());
        }
        let waker = waker.clone();
        let mut waiters = lock(&notify.waiters);
        let mut state = notify.state.load(Ordering::SeqCst);
        loop {
            if state & !MASK != calls || (state & MASK == NOTIFIED && notify.take()) {
                self.end();
                drop(waiters);
                return Poll::Ready(());
            }
            if state & MASK == WAITING {
                break;
            }
            // Only `EMPTY` is left: what was `NOTIFIED` has been taken by somebody else.
            let empty = state & !MASK;
            let waiting = notify.state.compare_exchange(
                empty,
                empty | WAITING,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            match waiting {
                Ok(_) => break,
                Err(seen) => state = seen,
            }
        }
        self.queue(waiters.enqueue(waker, ()));
        Poll::Pending
    }

    fn look(&mut self, notify: &Notify, place: &Place, waker: &Waker) -> Poll<()> {
        let mut spare = None;
        loop {
            let mut waiters = lock(&notify.waiters);
            match waiters.stand(place, waker) {
                Stand::Queued => return Poll::Pending,
                Stand::OtherWaker => match spare.take() {
                    Some(waker) => {
                        let old = waiters.replace_waker(place, waker);
                        drop(waiters);
                        drop(old);
                        return Poll::Pending;
                    }
                    None => {
                        drop(waiters);
                        spare = Some(waker.clone());
                    }
                },
                Stand::Granted(_) => {
                    if let Some(place) = self.end() {
                        waiters.remove(place);
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Leaves the line and passes on what was not used.
    fn leave(&mut self, notify: &Notify) {
        let Some(place) = self.end() else {
            return;
        };
        notify.resource.trace("notify.leave");
        let (old, next) = {
            let mut waiters = lock(&notify.waiters);
            let (grant, old) = waiters.remove(place);
            let next = match grant {
                Some(Grant::One) => notify.hand_on(&mut waiters, WaitList::grant_front),
                Some(Grant::All | Grant::Closed) => None,
                None => {
                    notify.settle(&waiters);
                    None
                }
            };
            (old, next)
        };
        drop(old);
        next.into_iter().for_each(asupersync_kernel::wake_contained);
    }
}

/// Waits for a notification; from [`Notify::notified`].
///
/// # Cancel safety
/// Requeues: a notification that it had got goes to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Notified<'a> {
    notify: &'a Notify,
    wait: Wait,
    cancel: CancelWait,
}

impl Notified<'_> {
    /// Takes the place in line now, without waiting; true if there is a notification already.
    pub fn enable(self: Pin<&mut Self>) -> bool {
        let this = self.get_mut();
        this.notify.resource.trace("notify.enable");
        this.wait.poll(this.notify, Waker::noop()).is_ready()
    }
}

impl Future for Notified<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.wait.is_done() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.wait.leave(this.notify);
            // A further poll fails again, as the context still must stop.
            this.wait = Wait::new(this.notify.state.load(Ordering::SeqCst));
            return Poll::Ready(Err(cancelled));
        }
        let ready = this.wait.poll(this.notify, task.waker());
        this.notify.resource.trace(if ready.is_ready() {
            "notify.notified"
        } else {
            "notify.wait"
        });
        ready.map(Ok)
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.wait.leave(self.notify);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use loom::sync::Arc;
    use loom::thread;

    fn block_on(notify: &Notify) {
        {
            let mut this = Wait::new(notify.state.load(Ordering::SeqCst));
            wait(|task| this.poll(notify, task.waker()))
        };
    }

    #[test]
    fn loom_every_notify_one_frees_one_waiter() {
        loom::model(|| {
            let notify = Arc::new(Notify::new());
            let other = Arc::clone(&notify);
            let waiter = thread::spawn(move || block_on(&other));
            notify.notify_one();
            waiter.join().unwrap();
        });
    }

    #[test]
    fn loom_a_waiter_that_leaves_passes_its_notification_on() {
        loom::model(|| {
            let notify = Arc::new(Notify::new());
            let (leaver, stayer) = (Arc::clone(&notify), Arc::clone(&notify));
            let leaver = thread::spawn(move || {
                let mut wait = Wait::new(leaver.state.load(Ordering::SeqCst));
                let used = wait.poll(&leaver, Waker::noop()).is_ready();
                wait.leave(&leaver);
                used
            });
            let stayer = thread::spawn(move || block_on(&stayer));
            notify.notify_one();
            if leaver.join().unwrap() {
                notify.notify_one();
            }
            stayer.join().unwrap();
        });
    }
}
