//! Nodes of the ownership tree.
//!
//! Tasks, region bodies, fibers and finalizers are nodes.
//! Every node but the root has a parent: a task's parent is the region that owns it; an inline node (region body, fiber, finalizer) stands under the node in whose poll it runs.
//!
//! # Invariants
//! - A node is linked in its parent's list of children from its birth to its end, so a request that walks the tree finds it.
//! - `links` are guarded by the parent's lock, [`More`] and [`Contents`] by the node's own; no two locks are held at once.
//! - A node's memory lives as long as a reference to it; a child holds one to its parent.
//! - No code of the program (wakers, destructors, policies) runs under a lock.

mod contents;
mod locked;
mod nature;
mod nodes;
mod reference;

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_core::{Budget, CancelStage, Origin, Policy, RegionId, TaskId, Time};
use parking_lot::Mutex;

use crate::account::{Account, Afar, Counts, Own};
use crate::cancel::Request;
use crate::event::{Event, Subject};
use crate::host::Host;
use crate::joiner::Joiner;
use crate::marks::Marks;
use crate::more::More;
use crate::state::State;
use crate::task::{InlineVtable, Vtable};

pub(crate) use self::contents::Contents;
pub(crate) use self::locked::{Locked, Place};
pub(crate) use self::nature::{Kind, Nature};
pub(crate) use self::nodes::Nodes;
pub(crate) use self::reference::{NodeRef, release_all};

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

/// The part that all nodes share; a task's future or an inline node's own part follows it in the same allocation.
///
/// What a wake and a poll read stands last, beside the future: a task that nobody has looked at for long is in no cache, and each of its lines is a trip to memory.
#[repr(C, align(8))]
pub(crate) struct Header {
    links: UnsafeCell<Links>,
    /// Who waits for a task's end.
    pub(crate) joiner: Joiner,
    more: More,
    pub(crate) state: State,
    pub(crate) vtable: &'static Vtable,
    parent: Option<NodeRef>,
    pub(crate) polls_left: AtomicU32,
    index: AtomicU32,
    afar: Afar,
    own: Own,
    pub(crate) nature: Nature,
    pub(crate) marks: Marks,
    lock: Mutex<()>,
}

// A task that waits costs little more than its header and its future.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Header>() <= 72, "each task pays for its header");

/// A node's distance from the root, which has 1; 0 stands for no node.
pub(crate) type Depth = u16;

#[derive(Default)]
struct Links {
    previous: Option<NonNull<Header>>,
    next: Option<NonNull<Header>>,
}

/// The allocation of a region body, fiber or finalizer.
#[repr(C)]
struct InlineNode {
    header: Header,
    contents: UnsafeCell<Contents>,
    /// How many nodes there are from the root to this one; at its maximum for all that are deeper.
    depth: Depth,
    /// The deepest node whose mask or shield held where this one was opened, if any; what was asked of nodes above it is kept back.
    shield: Depth,
}

/// What does not change in a region's life.
pub(crate) struct RegionTail {
    /// The region's own, or those of a region above it, which it keeps alive.
    terms: NonNull<Terms>,
    pub(crate) id: RegionId,
    /// `FailFast` unless another was chosen.
    pub(crate) policy: Option<Arc<dyn Policy>>,
}

// SAFETY: terms are `Send` and `Sync`, never changed, and alive as long as the region.
unsafe impl Send for RegionTail {}
// SAFETY: as above.
unsafe impl Sync for RegionTail {}

impl RegionTail {
    /// The host and the budget.
    #[inline]
    pub(crate) const fn terms(&self) -> &Terms {
        // SAFETY: the region has them in its own allocation, or a region above it has, and a region holds those above it.
        unsafe { self.terms.as_ref() }
    }

    #[inline]
    pub(crate) const fn budget(&self) -> &Budget {
        &self.terms().budget
    }

    #[inline]
    pub(crate) fn host(&self) -> &dyn Host {
        &*self.terms().host
    }

    /// Whether both regions have one host.
    #[inline]
    pub(crate) fn has_host_of(&self, other: &Self) -> bool {
        // Nearly always they have more than the host in common.
        self.terms == other.terms || self.terms().host.is_same(&other.terms().host)
    }
}

/// What holds in a region, and in those below it that do not narrow it.
///
/// The problem: a region would be a quarter larger if each had its own, and nearly all have those of the region above.
pub(crate) struct Terms {
    pub(crate) host: HostRef,
    pub(crate) budget: Budget,
}

/// The host of a program.
///
/// # Invariants
/// - The root region owns it; the regions below borrow it, and each of them holds its parent.
pub(crate) struct HostRef {
    host: NonNull<dyn Host>,
    _owner: Option<Arc<dyn Host>>,
}

// SAFETY: a host is `Send` and `Sync`, and alive as long as the root region.
unsafe impl Send for HostRef {}
// SAFETY: as above.
unsafe impl Sync for HostRef {}

impl HostRef {
    /// For the root region.
    pub(crate) fn owned(host: Arc<dyn Host>) -> Self {
        Self {
            host: NonNull::from(&*host),
            _owner: Some(host),
        }
    }

    #[inline]
    fn is_same(&self, other: &Self) -> bool {
        self.host.addr() == other.host.addr()
    }

    /// For a region below this one.
    pub(crate) const fn borrowed(&self) -> Self {
        Self {
            host: self.host,
            _owner: None,
        }
    }
}

impl Deref for HostRef {
    type Target = dyn Host;

    #[inline]
    fn deref(&self) -> &Self::Target {
        // SAFETY: this region or one above it owns the host, and a region holds those above it.
        unsafe { self.host.as_ref() }
    }
}

/// The allocation of a region that lives on the terms of one above it.
#[repr(C)]
struct RegionNode {
    inline: InlineNode,
    tail: RegionTail,
}

/// The allocation of a region with terms of its own.
#[repr(C)]
struct OwnTerms {
    region: RegionNode,
    terms: Terms,
}

// Of regions there may be as many as of tasks.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<RegionNode>() <= 232, "each region pays for it");

/// How to make a node.
pub(crate) struct NodeInit {
    pub(crate) state: State,
    pub(crate) parent: Option<NodeRef>,
    pub(crate) nature: Nature,
    pub(crate) poll_quota: u32,
}

/// How to make a region's node.
pub(crate) struct RegionInit {
    pub(crate) node: NodeInit,
    /// The deepest shield that holds where the region is opened.
    pub(crate) shield: Depth,
    pub(crate) id: RegionId,
    pub(crate) policy: Option<Arc<dyn Policy>>,
}

impl Header {
    #[inline]
    pub(crate) fn new(init: NodeInit, vtable: &'static Vtable) -> Self {
        Self {
            links: UnsafeCell::new(Links::default()),
            joiner: Joiner::nobody(),
            more: More::nothing(),
            state: init.state,
            vtable,
            parent: init.parent,
            polls_left: AtomicU32::new(init.poll_quota),
            index: AtomicU32::new(0),
            afar: Afar::new(),
            own: Own::new(),
            nature: init.nature,
            marks: Marks::new(),
            lock: Mutex::new(()),
        }
    }

    /// Whether the caller's reference is the only one, and nothing that is open keeps the node.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        self.state.has_one_reference() && self.obligations().is_clear()
    }

    /// What the node owes.
    #[inline]
    pub(crate) const fn obligations(&self) -> Account<'_, Self> {
        Account::of(self)
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        // No code of the program runs under this lock, so what it guards is sound also after a panic.
        let guard = self.lock.lock();
        // SAFETY: the lock is held by `guard`, which goes with it.
        let more = unsafe { self.more.locked() };
        Locked {
            node: self,
            more,
            _guard: guard,
        }
    }

    /// What lives in an inline node, without its lock; nothing where the node has more than that.
    ///
    /// # Safety
    /// Nobody else has a reference to the node, or can come to have one meanwhile.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the caller answers for being alone")]
    pub(crate) unsafe fn contents_alone(&self) -> Option<&mut Contents> {
        let inline = self.inline().filter(|_| self.more.is_nothing())?;
        // SAFETY: by the caller's promise nobody else is there to use them.
        Some(unsafe { &mut *inline.contents.get() })
    }

    /// A task's standing request, without its lock; nothing where more stands with it.
    #[inline]
    pub(crate) fn request_alone(&self) -> Option<&Request> {
        self.more.request_alone()
    }

    pub(crate) const fn is_task(&self) -> bool {
        self.nature.is(Kind::Task)
    }

    pub(crate) const fn is_region(&self) -> bool {
        self.nature.is(Kind::Region)
    }

    /// The budget in force at this node; takes its lock if it has one of its own.
    #[inline]
    pub(crate) fn budget(&self) -> Budget {
        if self.marks.is_budgeted() {
            self.lock().budget()
        } else {
            *self.region().budget()
        }
    }

    /// The deadline in force, or `Time::MAX`.
    pub(crate) fn deadline(&self) -> Time {
        self.budget().deadline.unwrap_or(Time::MAX)
    }

    pub(crate) const fn parent(&self) -> Option<&NodeRef> {
        self.parent.as_ref()
    }

    /// The task in whose own body this node was opened.
    #[inline]
    pub(crate) fn task_above(&self) -> Option<&NodeRef> {
        self.parent().filter(|parent| parent.is_task())
    }

    pub(crate) fn take_parent(&mut self) -> Option<NodeRef> {
        self.parent.take()
    }

    pub(crate) fn set_index(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
    }

    /// Whether this task came before the one with the given number; there are fewer at a time than half of all numbers.
    fn is_older_than(&self, index: u32) -> bool {
        self.index.load(Ordering::Relaxed).wrapping_sub(index) > u32::MAX / 2
    }

    /// The cancellation's stage, if one was requested.
    #[inline]
    pub(crate) fn stage(&self) -> Option<CancelStage> {
        self.marks.stage()
    }

    /// An inline node's own part.
    fn inline(&self) -> Option<&InlineNode> {
        if self.is_task() {
            return None;
        }
        // SAFETY: nodes that are no tasks are made only by `NodeRef::new_region` and `new_fiber`,
        // with an `InlineNode` first, whose first field is the header; all are `#[repr(C)]` and never moved.
        Some(unsafe { &*self.allocation::<InlineNode>() })
    }

    /// The allocation that begins with this header; a reference to the header alone does not reach what follows it.
    fn allocation<T>(&self) -> *const T {
        std::ptr::with_exposed_provenance(std::ptr::from_ref(self).addr())
    }

    pub(crate) fn depth(&self) -> Depth {
        match (self.inline(), self.parent()) {
            (Some(inline), _) => inline.depth,
            (None, Some(region)) => region.depth().saturating_add(1),
            (None, None) => unreachable!("a task has a region"),
        }
    }

    /// The deepest mask or shield that holds here, of this node or of one that it is polled within; 0 if there is none.
    pub(crate) fn shield(&self) -> Depth {
        let mut node = self;
        let mut deepest = 0;
        loop {
            let Some(inline) = node.inline() else {
                let masked = node.state.masks() > 0;
                return if masked {
                    deepest.max(node.depth())
                } else {
                    deepest
                };
            };
            deepest = deepest.max(inline.shield);
            if inline.depth <= deepest {
                return deepest;
            }
            if node.state.masks() > 0 {
                return inline.depth;
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => return deepest,
            }
        }
    }

    /// The nearest region, the node itself included.
    #[inline]
    pub(crate) fn region(&self) -> &RegionTail {
        let mut node = self;
        while !node.is_region() {
            node = node.parent().expect("only a region has no parent");
        }
        node.tail()
    }

    /// A task's region.
    #[inline]
    pub(crate) fn region_of_task(&self) -> &RegionTail {
        debug_assert!(self.is_task(), "others may stand under a task");
        self.parent().expect("a task has a region").tail()
    }

    /// A region's own part.
    #[inline]
    fn tail(&self) -> &RegionTail {
        debug_assert!(self.is_region(), "only regions have a tail");
        // SAFETY: nodes of kind `Region`, and no others are a task's parent, are made only by `NodeRef::new_region`,
        // as the first part of a `#[repr(C)]` `RegionNode`, and are never moved.
        unsafe { &(*self.allocation::<RegionNode>()).tail }
    }

    #[inline]
    pub(crate) fn host(&self) -> &dyn Host {
        self.region().host()
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
        if self.marks.is_failed() {
            self.record(|| Event::FailureTaken {
                task: self.task_id(),
            });
        }
    }

    /// Hands an event of the structure to the host, if it records those.
    #[inline]
    pub(crate) fn record_structure(&self, event: impl FnOnce() -> Event) {
        if self.nature.records_structure() {
            self.tell(event);
        }
    }

    /// Hands an event to the host, if it records all.
    #[inline]
    pub(crate) fn record(&self, event: impl FnOnce() -> Event) {
        if self.nature.records() {
            self.tell(event);
        }
    }

    #[cold]
    fn tell(&self, event: impl FnOnce() -> Event) {
        self.host().record(event());
    }
}

impl Counts for Header {
    #[inline]
    fn own(&self) -> &Own {
        &self.own
    }

    #[inline]
    fn afar(&self) -> &Afar {
        &self.afar
    }
}

impl InlineNode {
    #[inline]
    fn new(init: NodeInit, shield: Depth, vtable: &'static Vtable) -> Self {
        let above = init.parent.as_ref().map_or(0, |parent| parent.depth());
        Self {
            header: Header::new(init, vtable),
            contents: UnsafeCell::new(Contents::new()),
            depth: above.saturating_add(1),
            shield,
        }
    }
}

impl RegionNode {
    #[inline]
    fn new(init: RegionInit, terms: NonNull<Terms>, vtable: &'static Vtable) -> Self {
        let RegionInit {
            node,
            shield,
            id,
            policy,
        } = init;
        debug_assert!(
            node.nature.is(Kind::Region),
            "a region's tail belongs to a region"
        );
        Self {
            inline: InlineNode::new(node, shield, vtable),
            tail: RegionTail { terms, id, policy },
        }
    }
}

impl Vtable {
    /// The table of region bodies.
    const REGION: &'static Self = InlineVtable::<RegionNode>::VTABLE;
    /// The table of the bodies of regions with terms of their own.
    const OWN_TERMS: &'static Self = InlineVtable::<OwnTerms>::VTABLE;
    /// The table of fibers and finalizers.
    const FIBER: &'static Self = InlineVtable::<InlineNode>::VTABLE;
}
