//! Which context is being polled on this thread.
//!
//! Leaves of the future tree that have no `Cx` parameter observe cancellation through it.
//! It is observation only: no authority can be had from it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::Waker;

use crate::node::{Depth, Header, NodeRef};

/// The innermost context being polled.
#[derive(Clone, Copy)]
struct Frame {
    node: *const Header,
    waker: *const Waker,
    /// The deepest node whose shield is being polled.
    shield: Depth,
}

thread_local! {
    static FRAME: Cell<Frame> =
        const { Cell::new(Frame { node: ptr::null(), waker: ptr::null(), shield: 0 }) };
}

/// The task that this thread polls, innermost, and whether it woke itself meanwhile.
#[derive(Clone, Copy)]
struct Turn {
    task: *const Header,
    is_woken: bool,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn { task: ptr::null(), is_woken: false }) };
}

/// Restores the turn of the task around, if there is one, when dropped.
pub(crate) struct Begun(Turn);

impl Begun {
    /// Whether the task woke itself since its turn began.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        TURN.get().is_woken
    }
}

impl Drop for Begun {
    #[inline]
    fn drop(&mut self) {
        TURN.set(self.0);
    }
}

/// Says that this thread polls a task from now on.
#[must_use]
#[inline]
pub(crate) fn begin_turn(task: &NodeRef) -> Begun {
    Begun(TURN.replace(Turn {
        task: task.as_ptr(),
        is_woken: false,
    }))
}

/// Notes that a task woke itself; false if it is not the one that this thread polls.
///
/// Whoever polls it looks at that at the end of the poll, so the wake costs no exchange.
#[inline]
pub(crate) fn wake_own(task: &NodeRef) -> bool {
    let turn = TURN.get();
    let is_own = ptr::eq(turn.task, task.as_ptr());
    if is_own {
        TURN.set(Turn {
            is_woken: true,
            ..turn
        });
    }
    is_own
}

/// Whether this thread polls the task, with nothing else within it.
#[inline]
pub(crate) fn is_turn_of(task: &NodeRef) -> bool {
    ptr::eq(TURN.get().task, task.as_ptr())
}

/// Restores the previous frame when dropped.
pub(crate) struct Entered(Frame);

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        FRAME.set(self.0);
    }
}

/// Makes `node` the current context, polled with `waker`; a task starts without a shield, an inline context keeps its surroundings'.
#[must_use]
#[inline]
pub(crate) fn enter(node: &NodeRef, waker: &Waker) -> Entered {
    let previous = FRAME.get();
    let shield = if node.is_task() { 0 } else { previous.shield };
    FRAME.set(Frame {
        node: node.as_ptr(),
        waker,
        shield,
    });
    Entered(previous)
}

/// Makes the current context shielded from what is asked of it or of those around it.
#[must_use]
#[inline]
pub(crate) fn enter_shield() -> Entered {
    let previous = FRAME.get();
    let depth = with(|node, _| node.depth()).unwrap_or(0);
    FRAME.set(Frame {
        shield: previous.shield.max(depth),
        ..previous
    });
    Entered(previous)
}

/// The deepest node whose shield holds in the current context; 0 if there is none.
#[inline]
pub(crate) fn shield() -> Depth {
    FRAME.get().shield
}

/// Whether this thread polls `node` right now, and nothing within it.
#[inline]
pub(crate) fn is_polling(node: NonNull<Header>) -> bool {
    FRAME.get().node == node.as_ptr().cast_const()
}

/// Calls `f` with the current context, whether `waker` is the one that it is polled with, and its shield.
///
/// The reference is borrowed: a leaf's poll counts nothing.
#[inline]
pub(crate) fn with_node<R>(waker: &Waker, f: impl FnOnce(&NodeRef, bool, Depth) -> R) -> Option<R> {
    let frame = FRAME.get();
    let node = NonNull::new(frame.node.cast_mut())?;
    // SAFETY: a frame's pointers are valid until its guard is dropped, and the guard is dropped on
    // this thread before what they were made from; nothing of them outlives this call.
    let polled_with = unsafe { frame.waker.as_ref() };
    let own = polled_with.is_some_and(|own| own.will_wake(waker));
    // SAFETY: as above, the node is alive; `ManuallyDrop` leaves its count as it is.
    let node = ManuallyDrop::new(unsafe { NodeRef::from_owned(node) });
    Some(f(&node, own, frame.shield))
}

/// Calls `f` with the current context, without touching its reference count.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Header, Depth) -> R) -> Option<R> {
    let frame = FRAME.get();
    // SAFETY: as in `with_node`; `f` gets a borrow that ends with this call.
    let node = unsafe { frame.node.as_ref() }?;
    Some(f(node, frame.shield))
}
