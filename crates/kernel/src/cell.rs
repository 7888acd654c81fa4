//! A task's memory: one allocation for context, state and future, later the outcome.
//!
//! # States
//! A task's body is its future, then its outcome, then nothing; nothing in it says which.
//! Whoever owns it knows: before completion it is the future, unless making that panicked, which is marked; the transition that completes the task follows upon the outcome; `TAKEN` is set by whoever moves the outcome out.
//! Only the owner of the `RUNNING` flag touches the future; after `COMPLETE`, only the owner of `TAKEN` touches the outcome.
//!
//! # Safety
//! The private functions of the vtable take a header and the word of their caller that it is the header of a live allocation of the type that the table was made for, and that the caller owns the body at this moment: by `RUNNING` before completion, by `TAKEN` after it, by the last reference in `dealloc`.

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use asupersync_core::{
    CancelKind, CancelReason, ErrOf, IntoOutcome, OkOf, Outcome, PanicPayload, Severity,
};

use crate::free_lists;
use crate::node::{Header, NodeRef};
use crate::task::Vtable;

/// A task's allocation.
#[repr(C)]
pub(crate) struct Cell<Fut: Future<Output: IntoOutcome>> {
    header: Header,
    body: UnsafeCell<MaybeUninit<Body<Fut>>>,
}

impl<Fut: Future<Output: IntoOutcome>> Cell<Fut> {
    /// A task whose body is nothing yet; [`start`] writes it.
    pub(crate) const fn new(header: Header) -> Self {
        Self {
            header,
            body: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

union Body<Fut: Future<Output: IntoOutcome>> {
    future: ManuallyDrop<Fut>,
    outcome: ManuallyDrop<OutcomeOf<Fut>>,
}

type OutcomeOf<Fut> = Outcome<OkOf<Fut>, ErrOf<Fut>>;

pub(crate) struct CellVtable<Fut, E>(PhantomData<(Fut, E)>);

impl<Fut, E> CellVtable<Fut, E>
where
    Fut: Future<Output: IntoOutcome>,
    ErrOf<Fut>: Into<E>,
{
    pub(crate) const VTABLE: &'static Vtable = &Vtable {
        poll: poll::<Fut>,
        stop: stop::<Fut>,
        fail: fail::<Fut>,
        own_budget: own_budget::<Fut>,
        deliver: deliver::<Fut, E>,
        outcome_offset: std::mem::offset_of!(Cell<Fut>, body),
        discard: discard::<Fut>,
        dealloc: dealloc::<Fut>,
    };
}

/// The place of the body behind a header.
///
/// # Safety
/// `node` is the header of a live `Cell<Fut>`.
const unsafe fn body<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>) -> *mut Body<Fut> {
    // SAFETY: `Cell` is `repr(C)` with the header first.
    let cell = unsafe { node.cast::<Cell<Fut>>().as_ref() };
    cell.body.get().cast()
}

/// The future in the body.
///
/// # Safety
/// As for [`body`], and the caller owns the body, which is the future.
unsafe fn future<'a, Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>) -> &'a mut Fut {
    // SAFETY: by the caller's promise.
    let place = unsafe { body::<Fut>(node) }.cast::<Fut>();
    // SAFETY: a union's fields begin where it does, and this one is written.
    unsafe { &mut *place }
}

/// The outcome in the body.
///
/// # Safety
/// As for [`body`], and the caller owns the body, which is the outcome.
unsafe fn outcome<'a, Fut>(node: NonNull<Header>) -> &'a mut OutcomeOf<Fut>
where
    Fut: Future<Output: IntoOutcome>,
{
    // SAFETY: by the caller's promise.
    let place = unsafe { body::<Fut>(node) }.cast::<OutcomeOf<Fut>>();
    // SAFETY: a union's fields begin where it does, and this one is written.
    unsafe { &mut *place }
}

/// Moves the outcome out; the body is nothing after that.
///
/// # Safety
/// As for [`outcome`].
unsafe fn move_out<Fut>(node: NonNull<Header>) -> OutcomeOf<Fut>
where
    Fut: Future<Output: IntoOutcome>,
{
    // SAFETY: by the caller's promise.
    let place = unsafe { outcome::<Fut>(node) };
    // SAFETY: nobody reads the place again before it is written.
    unsafe { std::ptr::from_mut(place).read() }
}

/// Puts an outcome into a body that is nothing.
///
/// # Safety
/// As for [`body`], and the caller owns the body.
unsafe fn put<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>, outcome: OutcomeOf<Fut>) {
    let outcome = ManuallyDrop::new(outcome);
    // SAFETY: by the caller's promise.
    let place = unsafe { body::<Fut>(node) };
    // SAFETY: the place is the caller's, and what it held before is gone.
    unsafe { place.write(Body { outcome }) };
}

unsafe fn poll<Fut: Future<Output: IntoOutcome>>(
    node: NonNull<Header>,
    task: &mut Context<'_>,
) -> Poll<Severity> {
    // SAFETY: whoever polls the task keeps it alive.
    if unsafe { node.as_ref() }.marks.is_stillborn() {
        // SAFETY: the caller owns `RUNNING`, and making the future panicked, so the outcome stands.
        return Poll::Ready(unsafe { outcome::<Fut>(node) }.severity());
    }
    // SAFETY: the caller owns `RUNNING`, and the task has a future.
    let place = std::ptr::from_mut(unsafe { future::<Fut>(node) });
    let mut has_future = true;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as above.
        let future = unsafe { &mut *place };
        // SAFETY: the future stays in its allocation until it is dropped there.
        let future = unsafe { Pin::new_unchecked(future) };
        let Poll::Ready(output) = future.poll(task) else {
            return None;
        };
        let outcome = output.into_outcome();
        has_future = false;
        // SAFETY: nobody reads the place again before it is written, also after a panic.
        unsafe { place.drop_in_place() };
        let severity = outcome.severity();
        // SAFETY: as above, and the future is gone.
        unsafe { put::<Fut>(node, outcome) };
        Some(severity)
    }));
    match ended {
        Ok(None) => Poll::Pending,
        Ok(Some(severity)) => Poll::Ready(severity),
        // SAFETY: as above.
        Err(payload) => Poll::Ready(unsafe { unwound::<Fut>(node, has_future, payload) }),
    }
}

/// Ends a task whose poll or whose future's drop has panicked.
///
/// # Safety
/// As for [`body`], and the caller owns the body, which is the future if there is one and nothing otherwise.
#[cold]
unsafe fn unwound<Fut: Future<Output: IntoOutcome>>(
    node: NonNull<Header>,
    has_future: bool,
    payload: Box<dyn Any + Send>,
) -> Severity {
    let panic = Outcome::Panicked(PanicPayload::new(payload));
    if has_future {
        // SAFETY: by the caller's promise.
        return unsafe { store::<Fut>(node, panic) };
    }
    // SAFETY: by the caller's promise.
    unsafe { put::<Fut>(node, panic) };
    Severity::Panicked
}

unsafe fn stop<Fut: Future<Output: IntoOutcome>>(
    node: NonNull<Header>,
    reason: CancelReason,
) -> Severity {
    // SAFETY: the caller owns `RUNNING`.
    unsafe { store::<Fut>(node, Outcome::Cancelled(reason)) }
}

/// Drops the future and puts `outcome` in its place; a panic in the drop is worse than any outcome.
///
/// # Safety
/// As for [`body`], and the caller owns the body of a task that has not completed.
unsafe fn store<Fut: Future<Output: IntoOutcome>>(
    node: NonNull<Header>,
    outcome: OutcomeOf<Fut>,
) -> Severity {
    // SAFETY: by the caller's promise.
    let dropped = unsafe { drop_unfinished::<Fut>(node) };
    let outcome = match dropped {
        Ok(()) => outcome,
        Err(payload) => Outcome::Panicked(PanicPayload::new(payload)),
    };
    let severity = outcome.severity();
    // SAFETY: the future is gone.
    unsafe { put::<Fut>(node, outcome) };
    severity
}

/// Drops what the body of a task that has not completed holds; the body is nothing after that, also if the drop panics.
///
/// # Safety
/// As for [`store`].
unsafe fn drop_unfinished<Fut>(node: NonNull<Header>) -> std::thread::Result<()>
where
    Fut: Future<Output: IntoOutcome>,
{
    // SAFETY: whoever owns the body keeps the task alive.
    if unsafe { node.as_ref() }.marks.is_stillborn() {
        // SAFETY: making the future panicked, so the outcome stands.
        return unsafe { drop_outcome::<Fut>(node) };
    }
    // SAFETY: the body is the future.
    let place = std::ptr::from_mut(unsafe { future::<Fut>(node) });
    // SAFETY: nobody reads the place again before it is written, also after a panic.
    catch_unwind(AssertUnwindSafe(|| unsafe { place.drop_in_place() }))
}

/// Drops the outcome; the body is nothing after that, also if the drop panics.
///
/// # Safety
/// As for [`outcome`].
unsafe fn drop_outcome<Fut>(node: NonNull<Header>) -> std::thread::Result<()>
where
    Fut: Future<Output: IntoOutcome>,
{
    // SAFETY: by the caller's promise.
    let outcome = unsafe { move_out::<Fut>(node) };
    catch_unwind(AssertUnwindSafe(|| drop(outcome)))
}

unsafe fn fail<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>, payload: PanicPayload) {
    // SAFETY: the caller owns the outcome.
    let _ = unsafe { drop_outcome::<Fut>(node) };
    // SAFETY: the outcome is gone.
    unsafe { put::<Fut>(node, Outcome::Panicked(payload)) };
}

unsafe fn own_budget<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>) -> bool {
    // SAFETY: the caller owns the outcome.
    let outcome = unsafe { outcome::<Fut>(node) };
    // SAFETY: whoever owns the outcome keeps the node alive.
    let header = unsafe { node.as_ref() };
    let Outcome::Cancelled(reason) = outcome else {
        return false;
    };
    let kinds = [
        CancelKind::Deadline,
        CancelKind::PollQuota,
        CancelKind::CostBudget,
    ];
    kinds.contains(&reason.kind()) && reason.origin() == header.origin()
}

unsafe fn deliver<Fut, E>(node: NonNull<Header>, error: *mut ()) -> Outcome<(), ()>
where
    Fut: Future<Output: IntoOutcome>,
    ErrOf<Fut>: Into<E>,
{
    // SAFETY: the caller owns the outcome.
    let outcome = unsafe { move_out::<Fut>(node) };
    outcome.map(drop).map_err(|own| {
        // SAFETY: the place is the region's, and `E` its error type: tasks are spawned with it, and heirs have no error.
        unsafe { *error.cast::<Option<E>>() = Some(own.into()) };
    })
}

unsafe fn discard<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>) -> Option<PanicPayload> {
    // SAFETY: the caller owns the outcome.
    let panic = match unsafe { outcome::<Fut>(node) } {
        Outcome::Panicked(payload) => Some(payload.clone()),
        _ => None,
    };
    // SAFETY: as above.
    let dropped = unsafe { drop_outcome::<Fut>(node) };
    panic.or(dropped.err().map(PanicPayload::new))
}

unsafe fn dealloc<Fut: Future<Output: IntoOutcome>>(node: NonNull<Header>) -> Option<NodeRef> {
    // SAFETY: the last reference is gone, so the body is the caller's.
    let state = unsafe { &node.as_ref().state };
    let _ = if !state.is_complete() {
        // SAFETY: as above, and the task has not completed.
        unsafe { drop_unfinished::<Fut>(node) }
    } else if state.take_alone() {
        // SAFETY: as above, and nobody has taken the outcome of the complete task.
        unsafe { drop_outcome::<Fut>(node) }
    } else {
        Ok(())
    };
    let mut node = node;
    // SAFETY: the last reference is gone.
    let parent = unsafe { node.as_mut() }.take_parent();
    // SAFETY: as above, the allocation was made for this type, and its body is nothing.
    unsafe { free_lists::free(node.cast::<Cell<Fut>>()) };
    parent
}

/// Writes the future into its place; a panic while making it is the task's.
pub(crate) fn start<Fut: Future<Output: IntoOutcome>>(
    node: &NodeRef,
    context: NodeRef,
    make: impl FnOnce(NodeRef) -> Fut,
) {
    // SAFETY: the task was made for this future.
    let body = unsafe { body::<Fut>(node.as_non_null()) };
    // SAFETY: as above.
    let place = unsafe { &raw mut (*body).future };
    // Made where it stays, since it may be large.
    let made = catch_unwind(AssertUnwindSafe(|| {
        let future = ManuallyDrop::new(make(context));
        // SAFETY: the task is not linked and not queued, so its body, which is nothing yet, is the caller's.
        unsafe { place.write(future) };
    }));
    if let Err(payload) = made {
        node.marks.set_stillborn();
        let panic = Outcome::Panicked(PanicPayload::new(payload));
        // SAFETY: as above; nothing was written.
        unsafe { put::<Fut>(node.as_non_null(), panic) };
    }
}
