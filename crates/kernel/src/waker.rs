//! Wakers made from references to nodes, and waking with care.
//!
//! # Safety
//! The functions of the two tables are called by `Waker` alone, with the pointer that the waker was made from: one counted reference to a node, which the consuming ones take over and the others borrow.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::task::{RawWaker, RawWakerVTable, Waker};

use asupersync_core::{PanicPayload, Time};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::host::{Lane, Report};
use crate::node::{Header, NodeRef};
use crate::state::Queue;
use crate::task::Runnable;

/// Asks for a poll of a task.
pub(crate) fn schedule(node: &NodeRef) {
    if current::wake_own(node) {
        return node.record(|| Event::WakeMerged {
            task: node.task_id(),
        });
    }
    let queue = queue_of(node);
    if node.state.schedule(queue) {
        node.record(|| Event::TaskWoken {
            task: node.task_id(),
        });
        enqueue(node, queue, Lane::Ready);
    } else if !node.state.is_complete() {
        node.record(|| Event::WakeMerged {
            task: node.task_id(),
        });
    }
}

/// The kind of queue that a task belongs into now.
pub(crate) fn queue_of(node: &NodeRef) -> Queue {
    if node.stage().is_some() || node.urgent.load(Ordering::Acquire) {
        Queue::Cancel
    } else {
        Queue::Plain
    }
}

/// Hands an entry to the host; `plain` is the lane of a task that has neither deadline nor cancellation.
pub(crate) fn enqueue(node: &NodeRef, queue: Queue, plain: Lane) {
    let lane = match queue {
        Queue::Cancel => Lane::Cancel,
        Queue::Plain if node.deadline() != Time::MAX => Lane::Timed {
            deadline: node.deadline(),
            priority: node.priority(),
        },
        Queue::Plain => plain,
    };
    node.host()
        .schedule(Runnable::new(node, queue), lane, node.home());
}

/// Wakes a waker whose code may be the program's; a panic in it is reported and goes no further.
///
/// For primitives, which must wake the others in line all the same.
pub fn wake_contained(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        let message = PanicPayload::new(payload).message().to_owned();
        let report = Report::PanicContained {
            place: "a waker",
            message,
        };
        current::with(|node, _| node.host().report(report));
    }
}

/// Calls `f` with a waker that borrows `node` instead of counting a reference.
pub(crate) fn with_task_waker<R>(node: &NodeRef, f: impl FnOnce(&Waker) -> R) -> R {
    let data = node.as_ptr().cast_const().cast();
    // SAFETY: the table's functions agree on what the pointer is: one counted reference; `ManuallyDrop`
    // keeps the borrowed one from being released.
    let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &TASK)) });
    f(&waker)
}

/// A waker for the node's timers.
pub(crate) fn alarm(node: &NodeRef) -> Waker {
    // SAFETY: as in `with_task_waker`; the reference counted here is the waker's.
    unsafe { Waker::from_raw(RawWaker::new(raw(node.clone()), &ALARM)) }
}

static TASK: RawWakerVTable = RawWakerVTable::new(clone_task, wake_task, wake_task_by_ref, release);
static ALARM: RawWakerVTable = RawWakerVTable::new(clone_alarm, ring, ring_by_ref, release);

fn raw(node: NodeRef) -> *const () {
    node.into_raw().as_ptr().cast_const().cast()
}

/// The reference behind a waker, borrowed.
///
/// # Safety
/// `data` comes from [`raw`], and its reference is alive during the call.
unsafe fn borrowed(data: *const ()) -> ManuallyDrop<NodeRef> {
    let node = NonNull::new(data.cast_mut().cast::<Header>()).expect("a waker's node is not null");
    // SAFETY: `ManuallyDrop` keeps the count as it is.
    ManuallyDrop::new(unsafe { NodeRef::from_owned(node) })
}

unsafe fn clone_task(data: *const ()) -> RawWaker {
    // SAFETY: the waker being cloned holds a reference.
    let node = unsafe { borrowed(data) };
    RawWaker::new(raw(NodeRef::clone(&node)), &TASK)
}

unsafe fn clone_alarm(data: *const ()) -> RawWaker {
    // SAFETY: the waker being cloned holds a reference.
    let node = unsafe { borrowed(data) };
    RawWaker::new(raw(NodeRef::clone(&node)), &ALARM)
}

unsafe fn wake_task(data: *const ()) {
    // SAFETY: the waker being consumed holds a reference, which `into_inner` takes over.
    let node = ManuallyDrop::into_inner(unsafe { borrowed(data) });
    schedule(&node);
}

unsafe fn wake_task_by_ref(data: *const ()) {
    // SAFETY: the waker holds a reference.
    let node = unsafe { borrowed(data) };
    schedule(&node);
}

unsafe fn ring(data: *const ()) {
    // SAFETY: the waker being consumed holds a reference, which `into_inner` takes over.
    let node = ManuallyDrop::into_inner(unsafe { borrowed(data) });
    cancel::on_alarm(&node);
}

unsafe fn ring_by_ref(data: *const ()) {
    // SAFETY: the waker holds a reference.
    let node = unsafe { borrowed(data) };
    cancel::on_alarm(&node);
}

unsafe fn release(data: *const ()) {
    // SAFETY: the waker being dropped holds a reference.
    drop(ManuallyDrop::into_inner(unsafe { borrowed(data) }));
}
