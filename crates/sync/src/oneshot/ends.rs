//! The two ends of a cell that is written once and read once.
//!
//! # States
//! One word of flags: `COMPLETE`, the sender has sent or gone; `CLOSED`, the receiver wants nothing any more; `RX_WAITS` and `TX_WAITS`, a waker stands in that side's cell.
//! `COMPLETE` and `CLOSED` are final, and `COMPLETE` is not set after `CLOSED`.
//! `TX_GONE` and `RX_GONE` are set by each end's last use of the memory; whoever comes second frees it.
//!
//! # Invariants
//! - The value belongs to the sender until `COMPLETE`, and to the receiver after.
//! - A side's waker cell belongs to that side while its flag is down, and to the other side from the moment that sees the flag up while it sets its own final flag; whoever sees the other's final flag leaves its own cell alone.
//! - There is one of each end, and neither is cloned.
//! - The memory lives until both ends are gone.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::{Poll, Waker};

use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Resource, wake_contained};

use crate::primitive::{AtomicU32, Ordering, UnsafeCell};

const COMPLETE: u32 = 1;
const CLOSED: u32 = 2;
const RX_WAITS: u32 = 4;
const TX_WAITS: u32 = 8;
const TX_GONE: u32 = 16;
const RX_GONE: u32 = 32;

struct Shared<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
    rx_waker: UnsafeCell<Option<Waker>>,
    tx_waker: UnsafeCell<Option<Waker>>,
    resource: Resource,
}

/// What one end holds of the memory; `GONE` is that end's flag.
struct Half<T, const GONE: u32> {
    shared: NonNull<Shared<T>>,
    _owned: PhantomData<Shared<T>>,
}

// SAFETY: the flags give each cell to one side at a time, see the module's invariants; a value moves
// from the sender's thread to the receiver's, so `T: Send` is needed and enough.
unsafe impl<T: Send, const GONE: u32> Send for Half<T, GONE> {}
// SAFETY: as above.
unsafe impl<T: Send, const GONE: u32> Sync for Half<T, GONE> {}

impl<T, const GONE: u32> Deref for Half<T, GONE> {
    type Target = Shared<T>;

    #[inline]
    fn deref(&self) -> &Shared<T> {
        // SAFETY: the memory lives until this end's flag is up, which is set when it is dropped.
        unsafe { self.shared.as_ref() }
    }
}

impl<T, const GONE: u32> Drop for Half<T, GONE> {
    fn drop(&mut self) {
        let other = GONE ^ (TX_GONE | RX_GONE);
        // An end that sees the other gone has nobody to tell.
        let is_last = self.state.load(Ordering::Acquire) & other != 0
            || self.state.fetch_or(GONE, Ordering::AcqRel) & other != 0;
        if is_last {
            // SAFETY: it came from `Box::leak` in `pair`, and the other end has used it for the last time.
            drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
        }
    }
}

/// What a look at the cell finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look<T> {
    Empty,
    Closed,
    Value(T),
}

/// The sending end.
pub(super) struct Tx<T>(Half<T, TX_GONE>);

/// The receiving end.
pub(super) struct Rx<T>(Half<T, RX_GONE>);

pub(super) fn pair<T>() -> (Tx<T>, Rx<T>) {
    let shared = Box::new(Shared {
        state: AtomicU32::new(0),
        value: UnsafeCell::new(None),
        rx_waker: UnsafeCell::new(None),
        tx_waker: UnsafeCell::new(None),
        resource: Resource::new(),
    });
    let shared = NonNull::from(Box::leak(shared));
    let _owned = PhantomData;
    (Tx(Half { shared, _owned }), Rx(Half { shared, _owned }))
}

impl<T> Shared<T> {
    /// Registers `waker` in a side's own cell; the state seen last.
    ///
    /// # Safety
    /// The caller is the end that `cell` and `flag` belong to; `last` is the other side's final flag.
    unsafe fn register(
        &self,
        cell: &UnsafeCell<Option<Waker>>,
        flag: u32,
        last: u32,
        waker: &Waker,
    ) -> u32 {
        let mut state = self.state.load(Ordering::Acquire);
        if state & last == 0 && state & flag != 0 {
            state = self.state.fetch_and(!flag, Ordering::AcqRel);
        }
        if state & last != 0 {
            return state;
        }
        let is_known = cell.with(|place| {
            // SAFETY: the flag is down and was so when the other side was not final, so the cell is ours.
            let place = unsafe { &*place };
            place.as_ref().is_some_and(|known| known.will_wake(waker))
        });
        if !is_known {
            let waker = waker.clone();
            // SAFETY: as above; `clone` may have run other code, but no other holder of this end.
            let old = cell.with_mut(|place| unsafe { &mut *place }.replace(waker));
            drop(old);
        }
        self.state.fetch_or(flag, Ordering::AcqRel)
    }

    /// Takes the waker out of the other side's cell and wakes it.
    ///
    /// # Safety
    /// The caller has just set its final flag and saw the cell's flag up while doing so.
    unsafe fn wake(cell: &UnsafeCell<Option<Waker>>) {
        // SAFETY: the final flag gave the cell to the caller, once.
        let waker = cell.with_mut(|place| unsafe { &mut *place }.take());
        waker.into_iter().for_each(wake_contained);
    }
}

impl<T> Tx<T> {
    pub(super) fn send(self, value: T) -> Result<(), T> {
        // SAFETY: the value's cell is the sender's until `COMPLETE`, which only `complete` below sets.
        self.0
            .value
            .with_mut(|place| unsafe { *place = Some(value) });
        if self.complete() {
            // The cell is the receiver's now, which says what it finds there.
            self.0
                .resource
                .trace_messages(Some("oneshot.send"), 1, || 1);
            return Ok(());
        }
        // SAFETY: `CLOSED` came first, so the receiver will not look at the cell.
        let back = self.0.value.with_mut(|place| unsafe { &mut *place }.take());
        match back {
            Some(value) => Err(value),
            None => unreachable!("the value was put into the cell above"),
        }
    }

    /// Sets `COMPLETE` and wakes the receiver; false if the receiver has closed.
    fn complete(&self) -> bool {
        let mut state = self.0.state.load(Ordering::Relaxed);
        loop {
            if state & (CLOSED | COMPLETE) != 0 {
                return state & CLOSED == 0;
            }
            match self.0.state.compare_exchange_weak(
                state,
                state | COMPLETE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(seen) => state = seen,
            }
        }
        if state & RX_WAITS != 0 {
            // SAFETY: `COMPLETE` is this side's final flag, and `RX_WAITS` was up.
            unsafe { Shared::<T>::wake(&self.0.rx_waker) };
        }
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(super) fn poll_closed(&mut self, waker: &Waker) -> Poll<()> {
        // SAFETY: this is the sending end.
        let state = unsafe { self.0.register(&self.0.tx_waker, TX_WAITS, CLOSED, waker) };
        if state & CLOSED == 0 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl<T> Drop for Tx<T> {
    fn drop(&mut self) {
        if self.0.state.load(Ordering::Relaxed) & COMPLETE == 0 {
            self.0.resource.trace("oneshot.close");
            let _ = self.complete();
        }
    }
}

impl<T> Rx<T> {
    pub(super) fn look(&mut self) -> Look<T> {
        let state = self.0.state.load(Ordering::Acquire);
        let found = self.found(state);
        match found {
            Look::Value(_) => self.tell_taken(Some("oneshot.recv"), 1),
            Look::Closed if state & COMPLETE != 0 => self.tell_taken(Some("oneshot.look"), 0),
            Look::Closed | Look::Empty => self.0.resource.trace("oneshot.look"),
        }
        found
    }

    /// Tells that the value was taken out, or that the cell is left with nothing taken, and what is in it now; for a receiver that saw `COMPLETE`.
    fn tell_taken(&self, operation: Option<&'static str>, taken: i64) {
        self.0.resource.trace_messages(operation, -taken, || {
            // SAFETY: `COMPLETE` gave the cell to the receiver, and this is its only end.
            let is_left = self.0.value.with(|place| unsafe { &*place }.is_some());
            u64::from(is_left)
        });
    }

    #[inline]
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Option<T>> {
        let look = match self.look() {
            Look::Empty => {
                // SAFETY: this is the receiving end.
                let state = unsafe { self.0.register(&self.0.rx_waker, RX_WAITS, COMPLETE, waker) };
                if state & COMPLETE == 0 {
                    self.found(state)
                } else {
                    self.look()
                }
            }
            found => found,
        };
        match look {
            Look::Empty => Poll::Pending,
            Look::Closed => Poll::Ready(None),
            Look::Value(value) => Poll::Ready(Some(value)),
        }
    }

    /// What `state`, read by this end, means for it.
    fn found(&mut self, state: u32) -> Look<T> {
        if state & COMPLETE != 0 {
            // SAFETY: `COMPLETE` gave the cell to the receiver, which is borrowed exclusively.
            let mut value = self.0.value.with_mut(|place| unsafe { &mut *place }.take());
            if is_on(Mutation::ValueIsLost) {
                value = None;
            }
            return value.map_or(Look::Closed, Look::Value);
        }
        if state & CLOSED != 0 {
            Look::Closed
        } else {
            Look::Empty
        }
    }

    /// Refuses a value from now on; one that was sent before can still be taken.
    pub(super) fn close(&mut self) {
        self.0.resource.trace("oneshot.close");
        self.set_closed();
    }

    fn set_closed(&self) {
        let before = self.0.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before & (CLOSED | COMPLETE) == 0 && before & TX_WAITS != 0 {
            // SAFETY: `CLOSED` is this side's final flag and was just set, and `TX_WAITS` was up.
            unsafe { Shared::<T>::wake(&self.0.tx_waker) };
        }
    }
}

impl<T> Drop for Rx<T> {
    fn drop(&mut self) {
        self.0.resource.trace("oneshot.close");
        // Nobody is left on the other side who would ask, once that is final.
        if self.0.state.load(Ordering::Acquire) & COMPLETE == 0 {
            self.set_closed();
        }
        // A value that came first is dropped with the end that it was sent to, not with the sender.
        let state = self.0.state.load(Ordering::Acquire);
        let left = self.found(state);
        if matches!(left, Look::Value(_)) {
            self.tell_taken(None, 1);
        }
        drop(left);
    }
}

impl<T> fmt::Debug for Tx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.load(Ordering::Relaxed);
        f.debug_struct("Sender")
            .field("is_closed", &(state & CLOSED != 0))
            .finish()
    }
}

impl<T> fmt::Debug for Rx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.load(Ordering::Relaxed);
        f.debug_struct("Receiver")
            .field("is_complete", &(state & COMPLETE != 0))
            .field("is_closed", &(state & CLOSED != 0))
            .finish()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use loom::thread;

    #[test]
    fn loom_a_sent_value_reaches_the_waiting_receiver() {
        loom::model(|| {
            let (tx, mut rx) = pair();
            let sender = thread::spawn(move || tx.send(Box::new(7)).unwrap());
            let got = wait(|task| rx.poll(task.waker()));
            assert_eq!(got.as_deref(), Some(&7));
            sender.join().unwrap();
        });
    }

    #[test]
    fn loom_a_receiver_that_changes_its_waker_is_still_woken() {
        loom::model(|| {
            let (tx, mut rx) = pair();
            let sender = thread::spawn(move || tx.send(Box::new(7)).unwrap());
            let early = rx.poll(Waker::noop());
            let got = match early {
                Poll::Ready(got) => got,
                Poll::Pending => wait(|task| rx.poll(task.waker())),
            };
            assert_eq!(got.as_deref(), Some(&7));
            sender.join().unwrap();
        });
    }

    #[test]
    fn loom_a_value_is_either_taken_or_handed_back() {
        loom::model(|| {
            let (tx, mut rx) = pair();
            let sender = thread::spawn(move || tx.send(Box::new(7)).is_err());
            rx.close();
            let taken = matches!(rx.look(), Look::Value(_));
            assert_ne!(taken, sender.join().unwrap());
        });
    }

    #[test]
    fn loom_a_dropped_receiver_wakes_who_waits_for_it() {
        loom::model(|| {
            let (mut tx, rx) = pair::<Box<u32>>();
            let receiver = thread::spawn(move || drop(rx));
            wait(|task| tx.poll_closed(task.waker()));
            assert!(tx.send(Box::new(7)).is_err());
            receiver.join().unwrap();
        });
    }

    /// A waker that the memory keeps, and that is counted.
    struct Kept(loom::sync::Arc<()>);

    impl std::task::Wake for Kept {
        fn wake(self: std::sync::Arc<Self>) {
            drop(self.0.clone());
        }
    }

    #[test]
    fn loom_of_ends_that_go_at_once_one_frees_the_memory() {
        loom::model(|| {
            let counted = loom::sync::Arc::new(());
            let kept = Kept(loom::sync::Arc::clone(&counted));
            let (tx, mut rx) = pair::<u32>();
            assert!(
                rx.poll(&Waker::from(std::sync::Arc::new(kept)))
                    .is_pending()
            );
            let sender = thread::spawn(move || drop(tx));
            drop(rx);
            sender.join().unwrap();
            assert_eq!(loom::sync::Arc::strong_count(&counted), 1);
        });
    }

    #[test]
    fn loom_a_dropped_sender_wakes_the_receiver() {
        loom::model(|| {
            let (tx, mut rx) = pair::<Box<u32>>();
            let sender = thread::spawn(move || drop(tx));
            let got = wait(|task| rx.poll(task.waker()));
            assert!(got.is_none());
            sender.join().unwrap();
        });
    }
}
