//! Which context is being polled on this thread.
//!
//! Leaves of the future tree that have no `Cx` parameter observe cancellation through it.
//! It is observation only: no authority can be had from it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::Waker;

use crate::node::{Header, NodeRef};

/// The innermost context being polled.
#[derive(Clone, Copy)]
struct Frame {
    node: *const Header,
    waker: *const Waker,
    shielded: bool,
}

thread_local! {
    static FRAME: Cell<Frame> =
        const { Cell::new(Frame { node: ptr::null(), waker: ptr::null(), shielded: false }) };
}

/// Restores the previous frame when dropped.
pub(crate) struct Entered(Frame);

impl Drop for Entered {
    fn drop(&mut self) {
        FRAME.set(self.0);
    }
}

/// Makes `node` the current context, polled with `waker`; a task starts without a shield, an inline context keeps its surroundings'.
#[must_use]
pub(crate) fn enter(node: &NodeRef, waker: &Waker) -> Entered {
    let previous = FRAME.get();
    let shielded = previous.shielded && !node.is_task();
    FRAME.set(Frame {
        node: node.as_ptr(),
        waker,
        shielded,
    });
    Entered(previous)
}

/// Makes the current context shielded.
#[must_use]
pub(crate) fn enter_shield() -> Entered {
    let previous = FRAME.get();
    FRAME.set(Frame {
        shielded: true,
        ..previous
    });
    Entered(previous)
}

/// Whether the current context is shielded.
pub(crate) fn is_shielded() -> bool {
    FRAME.get().shielded
}

/// Whether this thread polls `node` right now, and nothing within it.
pub(crate) fn is_polling(node: NonNull<Header>) -> bool {
    FRAME.get().node == node.as_ptr().cast_const()
}

/// Calls `f` with the current context, whether `waker` is the one that it is polled with, and whether it is shielded.
///
/// The reference is borrowed: a leaf's poll counts nothing.
pub(crate) fn with_node<R>(waker: &Waker, f: impl FnOnce(&NodeRef, bool, bool) -> R) -> Option<R> {
    let frame = FRAME.get();
    let node = NonNull::new(frame.node.cast_mut())?;
    // SAFETY: a frame's pointers are valid until its guard is dropped, and the guard is dropped on
    // this thread before what they were made from; nothing of them outlives this call.
    let polled_with = unsafe { frame.waker.as_ref() };
    let own = polled_with.is_some_and(|own| own.will_wake(waker));
    // SAFETY: as above, the node is alive; `ManuallyDrop` leaves its count as it is.
    let node = ManuallyDrop::new(unsafe { NodeRef::from_owned(node) });
    Some(f(&node, own, frame.shielded))
}

/// Calls `f` with the current context, without touching its reference count.
pub(crate) fn with<R>(f: impl FnOnce(&Header, bool) -> R) -> Option<R> {
    let frame = FRAME.get();
    // SAFETY: as in `with_node`; `f` gets a borrow that ends with this call.
    let node = unsafe { frame.node.as_ref() }?;
    Some(f(node, frame.shielded))
}
