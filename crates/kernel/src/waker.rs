//! Wakers made from references to nodes, and waking with care.
//!
//! # Safety
//! The functions of the two tables are called by `Waker` alone, with the pointer that the waker was made from: one counted reference to a node, which the consuming ones take over and the others borrow.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use asupersync_core::{Budget, PanicPayload, Time};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::host::{Lane, Report};
use crate::mutation::{Mutation, is_on};
use crate::node::{Header, NodeRef, Terms};
use crate::state::{Queue, Wake};
use crate::task::Runnable;

/// Asks for a poll of a task.
#[inline]
pub(crate) fn schedule(node: &NodeRef) {
    if current::wake_own(node) {
        return node.record(|| Event::WakeMerged {
            task: node.task_id(),
        });
    }
    schedule_other(node);
}

/// As [`schedule`], of a task that this thread does not poll.
fn schedule_other(node: &NodeRef) {
    let queue = queue_of(node);
    if is_woken(node, queue) {
        enqueue(node, queue, Lane::Ready);
    }
}

/// Asks for a poll and tells the host; true if the caller must put an entry into a queue of the given kind.
fn is_woken(node: &NodeRef, queue: Queue) -> bool {
    let is_woken = node.state.schedule(queue);
    if is_woken {
        node.record(|| Event::TaskWoken {
            task: node.task_id(),
        });
    } else if !node.state.is_complete() {
        node.record(|| Event::WakeMerged {
            task: node.task_id(),
        });
    }
    is_woken
}

/// As [`schedule`], and gives the reference up; `beside` is a node that is held meanwhile.
///
/// One exchange instead of two where both have one host, which lives as long as `beside`: whoever takes the entry may let the task and all above it go.
pub(crate) fn schedule_beside(node: NodeRef, beside: &Header) {
    let has_one_host = || node.region_of_task().has_host_of(beside.region());
    if node.nature.records() || !has_one_host() || current::is_turn_of(&node) {
        return schedule(&node);
    }
    let queue = queue_of(&node);
    let node = ManuallyDrop::new(node);
    match node.state.schedule_and_release(queue) {
        Wake::Complete => drop(ManuallyDrop::into_inner(node)),
        Wake::Covered => {}
        Wake::Enqueue => enqueue(&node, queue, Lane::Ready),
    }
}

/// Tasks of one host that are woken to be cancelled, handed to it a few at a time.
pub(crate) struct Woken<'a> {
    /// A node of theirs that is held meanwhile.
    above: &'a NodeRef,
    entries: Vec<Runnable>,
}

/// So many, for others to take some of them soon.
const WOKEN_AT_ONCE: usize = 64;

impl<'a> Woken<'a> {
    /// Of the host of `above`.
    pub(crate) const fn of(above: &'a NodeRef) -> Self {
        Self {
            above,
            entries: Vec::new(),
        }
    }

    /// As [`schedule`], and gives the reference up.
    pub(crate) fn wake(&mut self, node: NodeRef) {
        if is_on(Mutation::RequestDoesNotWake) {
            return;
        }
        if node.state.home().is_some() || current::is_turn_of(&node) {
            return schedule(&node);
        }
        let queue = queue_of(&node);
        if node.nature.records() {
            if !is_woken(&node, queue) {
                return;
            }
            self.push(&node, queue);
        } else {
            // One exchange instead of two: what the caller holds keeps the host, and the entry keeps the task.
            let node = ManuallyDrop::new(node);
            match node.state.schedule_and_release(queue) {
                Wake::Complete => drop(ManuallyDrop::into_inner(node)),
                Wake::Covered => {}
                Wake::Enqueue => self.push(&node, queue),
            }
        }
    }

    fn push(&mut self, node: &NodeRef, queue: Queue) {
        self.entries.push(Runnable::new(node, queue));
        if self.entries.len() == WOKEN_AT_ONCE {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.above.host().schedule_cancelled(&mut self.entries);
    }
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            self.hand_over();
        }
    }
}

/// The kind of queue that a task belongs into now.
pub(crate) fn queue_of(node: &NodeRef) -> Queue {
    if node.marks.is_pressed() {
        Queue::Cancel
    } else {
        Queue::Plain
    }
}

/// Hands an entry to the host; `plain` is the lane of a task that has neither deadline nor cancellation.
#[inline]
pub(crate) fn enqueue(node: &NodeRef, queue: Queue, plain: Lane) {
    let Terms { host, budget } = node.region_of_task().terms();
    let lane = match queue {
        Queue::Cancel => Lane::Cancel,
        Queue::Plain if node.marks.is_budgeted() || budget.deadline.is_some() => {
            timed_lane(node).unwrap_or(plain)
        }
        Queue::Plain => plain,
    };
    host.schedule(Runnable::new(node, queue), lane, node.state.home());
}

/// The lane of a task with a deadline.
#[cold]
fn timed_lane(node: &NodeRef) -> Option<Lane> {
    let Budget {
        deadline, priority, ..
    } = node.budget();
    let deadline = deadline.filter(|deadline| *deadline != Time::MAX);
    deadline.map(|deadline| Lane::Timed { deadline, priority })
}

/// Wakes a waker whose code may be the program's; a panic in it is reported and goes no further.
///
/// For primitives, which must wake the others in line all the same.
#[inline]
pub fn wake_contained(waker: Waker) {
    if is_task(&waker) {
        // It runs none of the program's code.
        return waker.wake();
    }
    wake_foreign(waker);
}

fn wake_foreign(waker: Waker) {
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

/// Whoever waits, in one word: a task, or somebody else under a number or in a box.
///
/// For lines with many entries: nearly always a task waits, polled with its own waker, and then half of a [`Waker`] says what the other half would.
/// # Invariants
/// - The two lowest bits are clear for a node's pointer, which has a counted reference; otherwise they say whether a box's pointer or a number is above them.
/// # Examples
/// ```
/// use asupersync_kernel::{Waiter, Who};
/// use std::task::Waker;
/// // This one is no task's, so the line keeps it elsewhere, as its fourth.
/// assert!(Waiter::task(Waker::noop().clone()).is_err());
/// assert!(matches!(Waiter::number(4).who(), Who::Number(4)));
/// ```
#[derive(Debug)]
pub struct Waiter(NonNull<()>);

/// What a [`Waiter`] stands for.
#[derive(Debug)]
pub enum Who {
    /// A task, or somebody in a box.
    Waker(Waker),
    /// Somebody whose waker the line keeps under this number.
    Number(u32),
}

// SAFETY: it owns what a waker owns, and a waker may be sent.
unsafe impl Send for Waiter {}
// SAFETY: a shared one is only compared.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// A task that is polled with its own waker.
    ///
    /// # Errors
    /// The waker, if it is not a task's own.
    pub fn task(waker: Waker) -> Result<Self, Waker> {
        if !is_task(&waker) {
            return Err(waker);
        }
        let waker = ManuallyDrop::new(waker);
        let node = NonNull::new(waker.data().cast_mut());
        Ok(Self(node.expect("a waker's node is not null")))
    }

    /// Somebody else, whose waker is kept elsewhere.
    ///
    /// # Panics
    /// If the number does not fit beside two bits, which it does while there are as many wakers.
    #[must_use]
    pub fn number(number: u32) -> Self {
        let word = (number as usize).checked_mul(TAG + 1);
        let word = word.expect("fewer wakers than this fit in memory") | NUMBER;
        let word = std::ptr::without_provenance_mut(word);
        Self(NonNull::new(word).expect("a tagged word is not zero"))
    }

    /// Anybody; allocates unless it is a task's own waker.
    pub(crate) fn any(waker: Waker) -> Self {
        Self::task(waker).unwrap_or_else(|waker| {
            let boxed = NonNull::from(Box::leak(Box::new(waker))).cast();
            Self(boxed.map_addr(|word| word | BOXED))
        })
    }

    /// Whether it is the task or the one in the box that `waker` wakes; false for a number.
    #[must_use]
    pub fn will_wake(&self, waker: &Waker) -> bool {
        match self.tag() {
            // SAFETY: the box is this word's, and borrowed with it.
            BOXED => unsafe { self.boxed().as_ref() }.will_wake(waker),
            NUMBER => false,
            _ => is_task(waker) && std::ptr::eq(waker.data(), self.0.as_ptr()),
        }
    }

    /// The number under which the waker is kept elsewhere, if it is.
    #[must_use]
    pub fn as_number(&self) -> Option<u32> {
        let number = self.0.addr().get() >> TAG_BITS;
        // It was made from as many bits.
        #[expect(clippy::cast_possible_truncation, reason = "a number is 32 bits wide")]
        (self.tag() == NUMBER).then_some(number as u32)
    }

    /// Whom to wake.
    #[must_use]
    pub fn who(self) -> Who {
        let this = ManuallyDrop::new(self);
        if let Some(number) = this.as_number() {
            return Who::Number(number);
        }
        Who::Waker(match this.tag() {
            // SAFETY: the box was this word's, which is forgotten.
            BOXED => *unsafe { Box::from_raw(this.boxed().as_ptr()) },
            // SAFETY: a word that is not tagged is a node's pointer, whose reference the waker takes over.
            _ => task_waker(unsafe { NodeRef::from_owned(this.0.cast()) }),
        })
    }

    /// The reference to the task, if it is one.
    pub(crate) fn into_task(self) -> Result<NodeRef, Self> {
        if self.tag() != 0 {
            return Err(self);
        }
        let node = ManuallyDrop::new(self).0.cast();
        // SAFETY: a word that is not tagged is a node's pointer, with a reference that the caller takes over.
        Ok(unsafe { NodeRef::from_owned(node) })
    }

    pub(crate) fn into_raw(self) -> *mut () {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// The word is null, or comes from [`into_raw`](Self::into_raw) and makes no other waiter.
    pub(crate) unsafe fn from_raw(word: *mut ()) -> Option<Self> {
        NonNull::new(word).map(Self)
    }

    fn tag(&self) -> usize {
        self.0.addr().get() & TAG
    }

    fn boxed(&self) -> NonNull<Waker> {
        let pointer = self.0.as_ptr().map_addr(|word| word & !TAG).cast();
        NonNull::new(pointer).expect("a box's pointer is not null")
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(Self(self.0).who());
    }
}

const TAG_BITS: u32 = 2;
const TAG: usize = (1 << TAG_BITS) - 1;
/// Set in the word for a box.
const BOXED: usize = 0b01;
/// Set in the word for a number.
const NUMBER: usize = 0b10;
const _: () = assert!(align_of::<Header>() > TAG && align_of::<Waker>() > TAG);

/// A waker that takes the reference over.
pub(crate) fn task_waker(node: NodeRef) -> Waker {
    // SAFETY: the table's functions agree on what the pointer is: one counted reference.
    unsafe { Waker::from_raw(RawWaker::new(raw(node), &TASK)) }
}

/// Whether it is the task's own.
#[inline]
pub(crate) fn is_of(waker: &Waker, task: &NodeRef) -> bool {
    is_task(waker) && std::ptr::eq(waker.data(), task.as_ptr().cast_const().cast())
}

/// Whether it is a task's own.
#[inline]
pub(crate) fn is_task(waker: &Waker) -> bool {
    std::ptr::eq(waker.vtable(), &TASK)
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
    let mut node = Some(node);
    let _ = current::with(|polled, _| {
        if let Some(node) = node.take() {
            schedule_beside(node, polled);
        }
    });
    if let Some(node) = node {
        schedule(&node);
    }
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
