//! Nodes of the ownership tree.
//!
//! Tasks, region bodies, fibers and finalizers are nodes.
//! Every node but the root has a parent: a task's parent is the region that owns it; an inline node (region body, fiber, finalizer) stands under the node in whose poll it runs.
//!
//! # Invariants
//! - A node is linked in its parent's list of children from its birth to its end, so a request that walks the tree finds it.
//! - `links` are guarded by the parent's lock, everything in [`Inner`] by the node's own; no two locks are held at once.
//! - A node's memory lives as long as a reference to it; a child holds one to its parent.
//! - No code of the program (wakers, destructors, policies) runs under a lock.

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use asupersync_core::{Budget, CancelStage, Origin, Policy, RegionId, TaskId, Time};

use crate::account::Account;
use crate::cancel::CancelState;
use crate::event::{Event, Subject};
use crate::extra::Extra;
use crate::host::{Host, WorkerId};
use crate::obligation;
use crate::state::State;
use crate::task::Vtable;

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Scheduled by the host.
    Task,
    /// A region and its body.
    Region,
    /// Polled within another node: a fiber or a finalizer.
    Fiber,
}

/// Where a region stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// The body runs; work is admitted.
    Open,
    /// The body has ended; children go on.
    Closing,
    /// Children are being cancelled.
    Draining,
    /// Finalizers run; cleanup work is admitted.
    Finalizing,
    /// Nothing is left.
    Closed,
}

impl Phase {
    /// Whether the region may go from `self` to `next`.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Open, Self::Closing)
            | (Self::Closing, Self::Draining | Self::Finalizing)
            | (Self::Draining, Self::Finalizing)
            | (Self::Finalizing, Self::Closed) => true,
            (Self::Open | Self::Closing | Self::Draining | Self::Finalizing | Self::Closed, _) => {
                false
            }
        }
    }
}

/// Marks a task that any worker may poll.
const NO_HOME: u16 = u16::MAX;

/// The part that all nodes share; a task's future or a region's constants follow it in the same allocation.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) state: State,
    pub(crate) vtable: &'static Vtable,
    parent: Option<NodeRef>,
    links: UnsafeCell<Links>,
    inner: Mutex<Inner>,
    deadline: Time,
    pub(crate) mask: AtomicU32,
    pub(crate) polls_left: AtomicU32,
    pub(crate) obligations: Account,
    index: AtomicU32,
    home: u16,
    priority: u8,
    kind: Kind,
    stage: AtomicU8,
    /// A cancelled inline node within this task wants it polled before others.
    pub(crate) urgent: AtomicBool,
    /// A timer stands for the node, or stood.
    pub(crate) armed: AtomicBool,
    /// The task ended in a way that its region must hear of; written before completion.
    pub(crate) failed: AtomicBool,
    /// How many nodes there are from the root to this one; at its maximum for all that are deeper.
    depth: Depth,
    /// The deepest node whose mask or shield held where this one was opened, if any; what was asked of nodes above it is kept back.
    shield: Depth,
}

/// A node's distance from the root, which has 1; 0 stands for no node.
pub(crate) type Depth = u16;

#[derive(Default)]
struct Links {
    previous: Option<NonNull<Header>>,
    next: Option<NonNull<Header>>,
}

/// What a node's lock guards.
pub(crate) struct Inner {
    first_child: Option<NonNull<Header>>,
    /// How many tasks and blocking jobs live in the region.
    pub(crate) live: u32,
    pub(crate) next_index: u32,
    pub(crate) phase: Phase,
    /// Some task of the region ended cancelled.
    pub(crate) child_cancelled: bool,
    pub(crate) cancel: Option<CancelState>,
    pub(crate) extra: Option<Box<Extra>>,
    /// A task's joiner; for an inline node, whoever polls it.
    pub(crate) waiter: Option<Waker>,
}

/// What does not change in a region's life.
pub(crate) struct RegionTail {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) id: RegionId,
    /// `FailFast` unless another was chosen.
    pub(crate) policy: Option<Arc<dyn Policy>>,
    pub(crate) budget: Budget,
    pub(crate) record: bool,
    /// Whether the host wants at least the events of the structure.
    pub(crate) record_structure: bool,
    /// Whether the host wants operations at least.
    pub(crate) record_operations: bool,
    /// Whether obligations are more than a count: recorded, gauged, or told of when they are dropped.
    pub(crate) details_obligations: bool,
}

/// A region's allocation.
#[repr(C)]
pub(crate) struct RegionNode {
    pub(crate) header: Header,
    pub(crate) tail: RegionTail,
}

/// How to make a node.
pub(crate) struct NodeInit {
    pub(crate) state: State,
    pub(crate) vtable: &'static Vtable,
    pub(crate) parent: Option<NodeRef>,
    pub(crate) kind: Kind,
    pub(crate) budget: Budget,
    pub(crate) home: Option<WorkerId>,
    pub(crate) shield: Depth,
}

impl Header {
    pub(crate) fn new(init: NodeInit) -> Self {
        let above = init.parent.as_ref().map_or(0, |parent| parent.depth);
        Self {
            state: init.state,
            vtable: init.vtable,
            parent: init.parent,
            links: UnsafeCell::new(Links::default()),
            inner: Mutex::new(Inner {
                first_child: None,
                live: 0,
                next_index: 0,
                phase: Phase::Open,
                child_cancelled: false,
                cancel: None,
                extra: None,
                waiter: None,
            }),
            deadline: init.budget.deadline.unwrap_or(Time::MAX),
            mask: AtomicU32::new(0),
            polls_left: AtomicU32::new(init.budget.poll_quota),
            obligations: Account::new(),
            index: AtomicU32::new(0),
            home: init.home.map_or(NO_HOME, |worker| worker.0),
            priority: init.budget.priority,
            kind: init.kind,
            stage: AtomicU8::new(0),
            urgent: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            depth: above.saturating_add(1),
            shield: init.shield,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of the program runs under this lock, so a poisoned one guards a sound state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn is_task(&self) -> bool {
        matches!(self.kind, Kind::Task)
    }

    pub(crate) const fn is_region(&self) -> bool {
        matches!(self.kind, Kind::Region)
    }

    pub(crate) fn home(&self) -> Option<WorkerId> {
        (self.home != NO_HOME).then_some(WorkerId(self.home))
    }

    pub(crate) const fn priority(&self) -> u8 {
        self.priority
    }

    /// The deadline in force, or `Time::MAX`.
    pub(crate) const fn deadline(&self) -> Time {
        self.deadline
    }

    pub(crate) const fn parent(&self) -> Option<&NodeRef> {
        self.parent.as_ref()
    }

    pub(crate) fn take_parent(&mut self) -> Option<NodeRef> {
        self.parent.take()
    }

    pub(crate) fn set_index(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
    }

    /// The cancellation's stage, if one was requested.
    #[inline]
    pub(crate) fn stage(&self) -> Option<CancelStage> {
        match self.stage.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(CancelStage::Requested),
            2 => Some(CancelStage::Unshielded),
            _ => Some(CancelStage::Dropped),
        }
    }

    /// Publishes the stage; called under the node's lock.
    pub(crate) fn set_stage(&self, stage: CancelStage) {
        let number = match stage {
            CancelStage::Requested => 1,
            CancelStage::Unshielded => 2,
            CancelStage::Dropped => 3,
        };
        self.stage.fetch_max(number, Ordering::SeqCst);
    }

    pub(crate) const fn depth(&self) -> Depth {
        self.depth
    }

    /// The deepest mask or shield that holds here, of this node or of one that it is polled within; 0 if there is none.
    pub(crate) fn shield(&self) -> Depth {
        let mut node = self;
        let mut deepest = node.shield;
        loop {
            if node.depth <= deepest {
                return deepest;
            }
            if node.mask.load(Ordering::SeqCst) > 0 {
                return node.depth;
            }
            if node.is_task() {
                return deepest;
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => return deepest,
            }
            deepest = deepest.max(node.shield);
        }
    }

    /// The nearest region, the node itself included.
    #[inline]
    pub(crate) fn region(&self) -> &RegionTail {
        let mut node = self;
        loop {
            if node.is_region() {
                // SAFETY: nodes of kind `Region` are made only by `NodeRef::new_region`, as the first
                // field of a `#[repr(C)]` `RegionNode`, and are never moved.
                return unsafe { &(*std::ptr::from_ref(node).cast::<RegionNode>()).tail };
            }
            node = node.parent().expect("only a region has no parent");
        }
    }

    #[inline]
    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.region().host
    }

    /// The node's name in events and reports.
    pub(crate) fn subject(&self) -> Subject {
        if self.is_region() {
            Subject::Region(self.region().id)
        } else {
            Subject::Task(self.task_id())
        }
    }

    /// The name of a task or fiber: its region and its place there.
    pub(crate) fn task_id(&self) -> TaskId {
        let region = match self.parent() {
            Some(parent) if !self.is_region() => parent.region().id,
            Some(_) | None => self.region().id,
        };
        TaskId::new(region, self.index.load(Ordering::Relaxed))
    }

    pub(crate) fn origin(&self) -> Origin {
        match self.subject() {
            Subject::Region(region) => Origin { region, task: None },
            Subject::Task(task) => Origin {
                region: task.region(),
                task: Some(task),
            },
        }
    }

    /// Says that the outcome of this complete task was taken, if it is a failure.
    pub(crate) fn tell_failure_taken(&self) {
        if self.failed.load(Ordering::Relaxed) {
            self.record(|| Event::FailureTaken {
                task: self.task_id(),
            });
        }
    }

    /// Hands an event of the structure to the host, if it records those.
    #[inline]
    pub(crate) fn record_structure(&self, event: impl FnOnce() -> Event) {
        if self.region().record_structure {
            self.tell(event);
        }
    }

    /// Hands an event to the host, if it records all.
    #[inline]
    pub(crate) fn record(&self, event: impl FnOnce() -> Event) {
        if self.region().record {
            self.tell(event);
        }
    }

    #[cold]
    fn tell(&self, event: impl FnOnce() -> Event) {
        self.host().record(event());
    }
}

/// A counted reference to a node.
pub(crate) struct NodeRef(NonNull<Header>);

// SAFETY: all shared state of a node is atomic or behind its lock; `links` are touched only under the
// parent's lock; the future behind a task is touched only by the owner of its `RUNNING` flag, and a
// future that is not `Send` only on its home worker.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}

impl NodeRef {
    /// Makes a region's node with one reference.
    pub(crate) fn new_region(init: NodeInit, tail: RegionTail) -> Self {
        debug_assert!(
            init.kind == Kind::Region,
            "a region's tail belongs to a region"
        );
        let node = Box::new(RegionNode {
            header: Header::new(init),
            tail,
        });
        Self(NonNull::from(Box::leak(node)).cast())
    }

    /// Makes a fiber's node with one reference.
    pub(crate) fn new_fiber(init: NodeInit) -> Self {
        debug_assert!(init.kind == Kind::Fiber, "a bare header is a fiber");
        Self(NonNull::from(Box::leak(Box::new(Header::new(init)))))
    }

    /// # Safety
    /// The caller owns one reference to a live node and gives it up.
    pub(crate) const unsafe fn from_owned(node: NonNull<Header>) -> Self {
        Self(node)
    }

    /// # Safety
    /// The node is alive during the call.
    pub(crate) unsafe fn from_borrowed(node: NonNull<Header>) -> Self {
        // SAFETY: alive, by the caller's promise.
        unsafe { node.as_ref() }.state.retain();
        Self(node)
    }

    pub(crate) const fn as_ptr(&self) -> *mut Header {
        self.0.as_ptr()
    }

    pub(crate) const fn as_non_null(&self) -> NonNull<Header> {
        self.0
    }

    /// Gives the reference up without releasing it.
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        let node = self.0;
        std::mem::forget(self);
        node
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Links `child` at the front of the list that `inner`, this node's guarded part, holds.
    pub(crate) fn link(inner: &mut Inner, child: &Self) {
        let next = inner.first_child.replace(child.0);
        // SAFETY: `child` is alive and not linked, so its links are the caller's; they are guarded by
        // the parent's lock, which is held, as `inner` shows.
        unsafe {
            *child.links.get() = Links {
                previous: None,
                next,
            }
        };
        if let Some(next) = next {
            // SAFETY: a linked node is alive, and its links are guarded by the lock that is held.
            let links = unsafe { next.as_ref() }.links.get();
            // SAFETY: as above; no other reference to these links exists under the lock.
            unsafe { (*links).previous = Some(child.0) };
        }
    }

    /// Unlinks `child` from the list that `inner`, its parent's guarded part, holds.
    pub(crate) fn unlink(inner: &mut Inner, child: &Header) {
        // SAFETY: `child` is linked in this list, whose lock is held.
        let Links { previous, next } = std::mem::take(unsafe { &mut *child.links.get() });
        match previous {
            Some(previous) => {
                // SAFETY: a linked node is alive, and its links are guarded by the lock that is held.
                let links = unsafe { previous.as_ref() }.links.get();
                // SAFETY: as above.
                unsafe { (*links).next = next };
            }
            None => inner.first_child = next,
        }
        if let Some(next) = next {
            // SAFETY: as above.
            let links = unsafe { next.as_ref() }.links.get();
            // SAFETY: as above.
            unsafe { (*links).previous = previous };
        }
    }

    /// References to all children, the oldest first.
    pub(crate) fn children(inner: &Inner) -> Vec<Self> {
        let mut children = Vec::new();
        let mut cursor = inner.first_child;
        while let Some(node) = cursor {
            // SAFETY: a linked node is alive while the parent's lock is held, as `inner` shows.
            children.push(unsafe { Self::from_borrowed(node) });
            // SAFETY: links are guarded by that lock.
            let links = unsafe { node.as_ref() }.links.get();
            // SAFETY: as above.
            cursor = unsafe { (*links).next };
        }
        children.reverse();
        children
    }
}

impl Deref for NodeRef {
    type Target = Header;

    fn deref(&self) -> &Header {
        // SAFETY: a counted reference keeps its node alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for NodeRef {
    fn clone(&self) -> Self {
        self.state.retain();
        Self(self.0)
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        // A loop and not a recursion: a chain of parents may be a hundred thousand regions long.
        let mut node = self.0;
        loop {
            // SAFETY: the reference being dropped keeps the node alive up to here.
            let header = unsafe { node.as_ref() };
            if !header.state.release() {
                return;
            }
            if !header.obligations.is_clear() && obligation::keep(node) {
                return;
            }
            // SAFETY: that was the last reference, and `dealloc` belongs to the node's allocation.
            let parent = unsafe { (header.vtable.dealloc)(node) };
            match parent {
                Some(parent) => node = parent.into_raw(),
                None => return,
            }
        }
    }
}
