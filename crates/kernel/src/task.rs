//! Tasks: how they are spawned, polled and ended.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use asupersync_core::{
    Budget, CancelKind, CancelReason, CancelStage, ChildEnd, Decision, ErrOf, IntoOutcome, Outcome,
    PanicPayload, Severity,
};

use crate::cancel::{self, Request};
use crate::cell::{Cell, CellVtable, start};
use crate::current;
use crate::ended::Ended;
use crate::event::{Event, Name};
use crate::free_lists;
use crate::host::{Lane, WorkerId};
use crate::leave;
use crate::mutation::{Mutation, is_on, is_on_by_turns};
use crate::node::{Header, Kind, NodeInit, NodeRef, Phase, RegionTail};
use crate::obligation;
use crate::state::{Claim, Queue, State};
use crate::waker;

/// What the kernel does with a node without knowing its future.
pub(crate) struct Vtable {
    /// Polls the future; when ready, drops it and stores the outcome.
    pub(crate) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<Severity>,
    /// Drops the future and stores an outcome in its place.
    pub(crate) stop: unsafe fn(NonNull<Header>, CancelReason) -> Severity,
    /// Replaces the outcome by a panic.
    pub(crate) fail: unsafe fn(NonNull<Header>, PanicPayload),
    /// Whether the stored outcome is a cancellation by the task's own budget.
    pub(crate) own_budget: unsafe fn(NonNull<Header>) -> bool,
    /// Moves an outcome out; an error goes into the `Option<E>` behind the pointer, and is told without its value.
    ///
    /// An heir knows nothing of the error type of its region, and has no error: it writes nothing.
    pub(crate) deliver: unsafe fn(NonNull<Header>, *mut ()) -> Outcome<(), ()>,
    /// So many bytes behind the header's beginning stands the outcome of a complete task.
    pub(crate) outcome_offset: usize,
    /// Drops the outcome; gives back its panic, if it is one.
    pub(crate) discard: unsafe fn(NonNull<Header>) -> Option<PanicPayload>,
    /// Frees the allocation and gives back the parent.
    pub(crate) dealloc: unsafe fn(NonNull<Header>) -> Option<NodeRef>,
}

/// The table of nodes that are not tasks; `N` is their allocation.
pub(crate) struct InlineVtable<N>(PhantomData<N>);

impl<N> InlineVtable<N> {
    pub(crate) const VTABLE: &'static Vtable = &Vtable {
        poll: |_, _| unreachable!("an inline node is not scheduled"),
        stop: |_, _| unreachable!("an inline node is not scheduled"),
        fail: |_, _| unreachable!("an inline node stores no outcome"),
        own_budget: |_| false,
        deliver: |_, _| Outcome::Ok(()),
        // It stores no outcome.
        outcome_offset: 0,
        discard: |_| None,
        dealloc: dealloc_inline::<N>,
    };
}

/// # Safety
/// `node` is the header at the beginning of an `N`, and its last reference is gone.
unsafe fn dealloc_inline<N>(node: NonNull<Header>) -> Option<NodeRef> {
    let mut node = node;
    // SAFETY: the last reference is gone.
    let parent = unsafe { node.as_mut() }.take_parent();
    // SAFETY: as above, and the allocation was made for an `N`, whose first field is the header.
    unsafe { free_lists::free(node.cast::<N>()) };
    parent
}

/// How to spawn a task.
pub(crate) struct SpawnInit {
    pub(crate) budget: Option<Budget>,
    pub(crate) name: Option<Name>,
    pub(crate) home: Option<WorkerId>,
    /// Admitted also while the region is closing: the kernel's own cleanup.
    pub(crate) cleanup: bool,
    pub(crate) site: &'static str,
    /// The line there, or 0.
    pub(crate) line: u32,
}

/// Makes a task in `region`, starts its body with the node that is its context, and hands it to the host.
///
/// The caller answers for `Fut: 'static`, or for its end before whatever it borrows; and for `Send`, or a home.
pub(crate) fn spawn<Fut, E>(
    region: &NodeRef,
    init: SpawnInit,
    make: impl FnOnce(NodeRef) -> Fut,
) -> NodeRef
where
    Fut: Future<Output: IntoOutcome>,
    ErrOf<Fut>: Into<E>,
{
    let tail = region.region();
    let own_budget = init.budget.map(|own| narrowed(tail, own));
    let cell = free_lists::take::<Cell<Fut>>();
    let node = NodeInit {
        // For the scheduler, for the caller, and for the task's own context.
        state: State::new_scheduled(3, Queue::Plain, init.home),
        parent: Some(region.clone()),
        nature: region.nature.below(Kind::Task),
        poll_quota: own_budget.as_ref().unwrap_or(tail.budget()).poll_quota,
    };
    let header = Header::new(node, CellVtable::<Fut, E>::VTABLE);
    // SAFETY: the memory was taken for it.
    unsafe { cell.write(Cell::new(header)) };
    let raw = cell.cast::<Header>();
    // SAFETY: one of the three references that the state was made with.
    let node = unsafe { NodeRef::from_owned(raw) };
    // SAFETY: another of them.
    let context = unsafe { NodeRef::from_owned(raw) };
    if own_budget.is_some() || init.name.is_some() {
        equip(&node, own_budget, init.name.clone());
    }
    start(&node, context, make);
    let mut born_cancelled = None;
    if !admit(region, &node, init.cleanup, &mut born_cancelled) {
        refuse(&node);
        return node;
    }
    if node.nature.records_structure() {
        record_spawn(&node, (init.site, init.line), init.name);
    }
    if let Some(budget) = own_budget {
        begin_budget(&node, budget, tail.budget());
    }
    if let Some(request) = &born_cancelled {
        cancel::request_inherited(&node, request);
    }
    waker::enqueue(&node, Queue::Plain, Lane::Ready);
    node
}

/// The budget of a task that has one of its own, in a region.
#[cold]
fn narrowed(region: &RegionTail, own: Budget) -> Budget {
    let mut budget = region.budget().meet(own);
    if is_on(Mutation::DeadlineIsReplaced) {
        budget.deadline = own.deadline.or(budget.deadline);
    }
    budget
}

/// Gives a task that nobody else knows yet what few tasks have.
#[cold]
fn equip(node: &NodeRef, budget: Option<Budget>, name: Option<Name>) {
    let mut inner = node.lock();
    let extra = inner.more.extra_or_new();
    extra.budget = budget;
    extra.name = name;
    if budget.is_some() {
        node.marks.set_budgeted();
    }
}

/// Tells how the budget of a task differs from its region's, and sees to its deadline.
#[cold]
fn begin_budget(node: &NodeRef, budget: Budget, region: &Budget) {
    if budget != *region {
        node.record(|| Event::BudgetNarrowed {
            subject: node.subject(),
            budget,
        });
    }
    if budget.deadline.is_some() && budget.deadline != region.deadline {
        cancel::arm_deadline(node);
    }
}

#[cold]
fn record_spawn(node: &NodeRef, (site, line): (&'static str, u32), name: Option<Name>) {
    node.record_structure(|| Event::TaskSpawned {
        task: node.task_id(),
        pinned: node.state.home().is_some(),
        site: site.into(),
        line,
    });
    if let Some(name) = name {
        node.record_structure(|| Event::TaskNamed {
            task: node.task_id(),
            name,
        });
    }
}

/// Links a task into its region; false if the region admits no work any more.
///
/// The cancellation that the task is born with, if there is one, goes into `asked`.
fn admit(region: &NodeRef, node: &NodeRef, cleanup: bool, asked: &mut Option<Request>) -> bool {
    let mut inner = region.lock();
    let contents = inner.contents();
    let admitted = match contents.phase {
        Phase::Open | Phase::Finalizing => true,
        Phase::Closing | Phase::Draining => cleanup,
        Phase::Closed => false,
    };
    if !admitted {
        return false;
    }
    node.set_index(contents.next_index);
    contents.next_index += 1;
    contents.live += 1;
    inner.link(node);
    if !cleanup && let Some(inherited) = cancel::inherited_at_birth(region, &inner) {
        *asked = Some(inherited);
    }
    true
}

/// Ends a task that its region did not admit: its body never runs.
fn refuse(node: &NodeRef) {
    let now = node.host().now();
    let origin = node.parent().expect("a task has a region").origin();
    let reason = CancelReason::new(CancelKind::ResourceUnavailable, origin, now)
        .with_message("the region no longer admits work");
    let claim = node.state.claim(Queue::Plain);
    debug_assert_eq!(claim, Claim::Run, "nobody else knows the task");
    // SAFETY: `claim` made the caller the owner of `RUNNING`.
    unsafe { (node.vtable.stop)(node.as_non_null(), reason) };
    let _ = node.state.complete();
    release_scheduler(node);
}

/// Gives up the scheduler's reference, or the one that completion made.
fn release_scheduler(node: &NodeRef) {
    // SAFETY: the caller's transition made the scheduler's reference its own.
    drop(unsafe { NodeRef::from_owned(node.as_non_null()) });
}

/// A task in a queue of the host.
///
/// The host keeps it in the queue that it was given for and calls [`run`](Self::run) when its turn comes.
/// Dropping it instead ends the task: its future is dropped and its outcome is a cancellation.
#[must_use = "a task that is not run is dropped"]
pub struct Runnable {
    /// The node's pointer, with the lowest bit set for a cancel lane: queues are as long as there are tasks.
    word: NonNull<Header>,
}

const CANCEL_LANE: usize = 1;
const _: () = assert!(align_of::<Header>() > CANCEL_LANE);

// SAFETY: an entry stands for the scheduler's reference; see `NodeRef`.
unsafe impl Send for Runnable {}

impl Runnable {
    #[inline]
    pub(crate) fn new(node: &NodeRef, queue: Queue) -> Self {
        let lane = match queue {
            Queue::Plain => 0,
            Queue::Cancel => CANCEL_LANE,
        };
        Self {
            word: node.as_non_null().map_addr(|word| word | lane),
        }
    }

    /// The task's name.
    #[must_use]
    pub fn task_id(&self) -> asupersync_core::TaskId {
        self.node_ref().task_id()
    }

    /// Whether the task no longer wants to be polled: another entry served it, or it has ended.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.node_ref().state.is_scheduled()
    }

    /// Gives the entry up for its word, for a queue that keeps words.
    pub fn into_raw(self) -> NonNull<()> {
        let word = self.word;
        std::mem::forget(self);
        word.cast()
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave up.
    ///
    /// # Safety
    /// `word` is of [`into_raw`](Self::into_raw), and its entry was not taken back before.
    pub const unsafe fn from_raw(word: NonNull<()>) -> Self {
        Self { word: word.cast() }
    }

    /// Polls the task once, if it still wants to be polled.
    ///
    /// If it ends, it is taken out of its region at once or left to `ended`; what that had of another region is settled before.
    pub fn run(self, ended: &mut Ended) {
        let (node, queue) = (self.node_ref(), self.queue());
        std::mem::forget(self);
        ended.make_way(&node);
        run(&node, queue, ended);
    }

    pub(crate) fn node_ref(&self) -> ManuallyDrop<NodeRef> {
        let node = self.word.as_ptr().map_addr(|word| word & !CANCEL_LANE);
        // SAFETY: a node's pointer is not null, and has no bit below its alignment that could be cleared here.
        let node = unsafe { NonNull::new_unchecked(node) };
        // SAFETY: the entry keeps the scheduler's reference alive; `ManuallyDrop` leaves the count.
        ManuallyDrop::new(unsafe { NodeRef::from_owned(node) })
    }

    fn queue(&self) -> Queue {
        if self.word.addr().get() & CANCEL_LANE == 0 {
            Queue::Plain
        } else {
            Queue::Cancel
        }
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        let node = self.node_ref();
        match node.state.claim(self.queue()) {
            Claim::Run => {
                let now = node.host().now();
                let reason = CancelReason::new(CancelKind::Shutdown, node.origin(), now)
                    .with_message("the host dropped the task")
                    .at_stage(CancelStage::Dropped);
                // SAFETY: the claim gave `RUNNING` to this caller.
                let severity = unsafe { (node.vtable.stop)(node.as_non_null(), reason) };
                finish(&node, severity, None);
            }
            Claim::Stale => {}
            Claim::StaleLast => release_scheduler(&node),
        }
    }
}

/// Ends a task that is not being polled, by dropping its future; false if it is being polled.
///
/// The caller answers for being allowed to drop the future on this thread.
pub(crate) fn stop_parked(node: &NodeRef) -> bool {
    end_parked(node, None)
}

/// As [`stop_parked`], and the outcome is a panic.
pub(crate) fn unwind_parked(node: &NodeRef, payload: PanicPayload) -> bool {
    end_parked(node, Some(payload))
}

fn end_parked(node: &NodeRef, panic: Option<PanicPayload>) -> bool {
    if !node.state.seize() {
        return node.state.is_complete();
    }
    let now = node.host().now();
    let reason = CancelReason::new(CancelKind::Shutdown, node.origin(), now)
        .with_message("the host gave up")
        .at_stage(CancelStage::Dropped);
    // SAFETY: `seize` gave `RUNNING` to this caller.
    let mut severity = unsafe { (node.vtable.stop)(node.as_non_null(), reason) };
    if let Some(payload) = panic {
        // SAFETY: the outcome is the caller's until `complete`.
        unsafe { (node.vtable.fail)(node.as_non_null(), payload) };
        severity = Severity::Panicked;
    }
    finish(node, severity, None);
    true
}

fn run(node: &NodeRef, queue: Queue, ended: &mut Ended) {
    match node.state.claim(queue) {
        Claim::Run => {}
        Claim::Stale => return,
        Claim::StaleLast => return release_scheduler(node),
    }
    node.record(|| Event::TaskPolled {
        task: node.task_id(),
    });
    let polls = cancel::begin_poll(node);
    if node.marks.is_pressed()
        && let Some(severity) = begin_pressed(node)
    {
        return finish(node, severity, Some(ended));
    }
    let (polled, is_woken) = poll_claimed(node);
    if let Poll::Ready(severity) = polled {
        return finish(node, severity, Some(ended));
    }
    cancel::charge_poll(node, polls);
    let queue = match node.marks.is_pressed() {
        true => suspend_pressed(node),
        false => Queue::Plain,
    };
    if is_on_by_turns(Mutation::PolledUnwoken) {
        let _ = node.state.schedule(queue);
    }
    if node.state.suspend(queue, is_woken) {
        waker::enqueue(node, queue, Lane::Yielded);
    }
}

/// Begins the poll of a task that is cancelled or urgent; its end, if its future was dropped instead.
#[cold]
fn begin_pressed(node: &NodeRef) -> Option<Severity> {
    node.marks.clear_urgent();
    if node.stage() != Some(CancelStage::Dropped) {
        return None;
    }
    let reason = cancel::reason(node).expect("a stage has a reason");
    // SAFETY: the caller owns `RUNNING`.
    Some(unsafe { (node.vtable.stop)(node.as_non_null(), reason) })
}

/// Prepares the wait of a task that is cancelled or urgent; the kind of queue that it belongs into.
#[cold]
fn suspend_pressed(node: &NodeRef) -> Queue {
    if node.marks.is_cancelled() {
        cancel::arm_cleanup(node);
    }
    waker::queue_of(node)
}

/// Polls a task whose `RUNNING` flag the caller owns; also says whether it woke itself.
#[inline]
fn poll_claimed(node: &NodeRef) -> (Poll<Severity>, bool) {
    let turn = current::begin_turn(node);
    let polled = waker::with_task_waker(node, |waker| {
        let _frame = current::enter(node, waker);
        // SAFETY: the caller owns `RUNNING`.
        unsafe { (node.vtable.poll)(node.as_non_null(), &mut Context::from_waker(waker)) }
    });
    (polled, turn.is_woken())
}

/// Ends a task: its outcome is stored, and the caller still owns it.
///
/// It leaves its region at once, or with those that `ended` gathers.
fn finish(node: &NodeRef, severity: Severity, mut ended: Option<&mut Ended>) {
    let raw = node.as_non_null();
    let mut severity = severity;
    if let Some(leak) = obligation::settle_leaks(node) {
        // SAFETY: the outcome is the caller's until `complete`.
        unsafe { (node.vtable.fail)(raw, leak) };
        severity = Severity::Panicked;
    }
    cancel::disarm(node);
    node.record_structure(|| Event::TaskEnded {
        task: node.task_id(),
        severity,
    });
    if is_on(Mutation::EndToldTwice) {
        node.record_structure(|| Event::TaskEnded {
            task: node.task_id(),
            severity,
        });
    }
    let has_failed = leave::counts_as_failure(node, severity);
    if has_failed {
        node.marks.set_failed();
    }
    let completed = node.state.complete();
    let region = node.parent().expect("a task has a region");
    if leave::consult(region, ChildEnd::new(node.task_id(), severity)) == Decision::CancelRest {
        leave::fail_fast(region, node);
    }
    let is_cancelled = severity == Severity::Cancelled;
    let gathers = !has_failed && ended.as_mut().is_some_and(|ended| ended.gathers(region));
    if has_failed {
        leave::leave_failed(region, node, severity);
    } else if !gathers {
        leave::leave(region, std::slice::from_ref(node), is_cancelled);
    }
    if !node.state.has_handle() {
        discard_unwanted(node);
    }
    if completed.has_waiter && !is_on(Mutation::JoinerIsNotWoken) {
        node.joiner.wake(node);
    }
    // SAFETY: completion made the scheduler's reference the caller's.
    let node = unsafe { NodeRef::from_owned(raw) };
    if let Some(ended) = ended.filter(|_| gathers) {
        ended.add(node, is_cancelled);
    }
}

/// Drops an outcome that neither a handle nor the region will take, on the thread that may drop it.
pub(crate) fn discard_unwanted(node: &NodeRef) {
    if node.marks.is_failed() {
        return;
    }
    // Whoever has the only reference has no rival.
    let is_taken = if node.state.has_one_reference() {
        node.state.take_alone()
    } else {
        node.state.take()
    };
    if is_taken {
        // SAFETY: `take` made the outcome the caller's, and the task is complete.
        unsafe { (node.vtable.discard)(node.as_non_null()) };
    }
}

/// Takes the outcome of a complete task for its handle.
///
/// # Safety
/// The task is complete, its future's outcome is an `Outcome<T, E>`, and its outcome was not taken.
#[inline]
pub(crate) unsafe fn take_outcome<T, E>(node: &NodeRef) -> Outcome<T, E> {
    // SAFETY: the node's pointer is that of its allocation, in which the outcome stands.
    let place = unsafe { node.as_ptr().byte_add(node.vtable.outcome_offset) };
    // SAFETY: by the caller's promise the outcome is there, and is read once.
    unsafe { place.cast::<Outcome<T, E>>().read() }
}
