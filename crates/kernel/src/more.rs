//! One word for what most nodes have nothing of, and few have more than one thing of.
//!
//! The problem: a waiting task pays for every field, and a box for each task that opens a region or is cancelled would cost more than it saves.
//!
//! # States
//! nothing → the first child, or the request, or what the region told, or a box of what is rare → a box of several of them; a box stays.
//! The last two are boxes of their own, since many tasks have a child when they are cancelled, and few have anything else.
//!
//! # Invariants
//! - The three lowest bits of the word say what it points to, and are clear in every pointer, since all of that is aligned; the word is null for nothing.
//! - A request and a box are owned; a child is not, and neither is what the region told: its memory outlives the task's, and it lets go of nothing that it told.
//! - A request that stands alone was handed on to what lives in the node, and has no timer.
//!   It is never changed, and lives as long as the node: so whoever holds the node may read it without the lock.
//! - Child and request are a task's; an inline node has room for its own.
//! - The word is written under the node's lock.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::cancel::{Asked, CancelState, Request};
use crate::extra::Extra;
use crate::node::Header;

/// What a node has beside its future and its places in lists.
pub(crate) struct More {
    word: AtomicPtr<()>,
}

/// What the word stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Child,
    Request,
    Told,
    Extra,
    Several,
}

const TAG: usize = 0b111;
const CHILD: usize = 1;
const REQUEST: usize = 2;
const TOLD: usize = 3;
const EXTRA: usize = 4;
const SEVERAL: usize = 5;

const _: () = assert!(align_of::<Header>() > TAG);
const _: () = assert!(align_of::<Request>() > TAG);
const _: () = assert!(align_of::<Extra>() > TAG);
const _: () = assert!(align_of::<Several>() > TAG);

/// What would stand alone if it were alone.
#[repr(align(8))]
struct Several {
    first_child: Option<NonNull<Header>>,
    cancel: Option<CancelState>,
    /// The request that stood alone before, which may be being read without the lock.
    _alone: Option<Arc<Request>>,
    extra: Option<Box<Extra>>,
}

// Beyond this an allocator takes a lock for it, for each task with an open region that is cancelled.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Several>() <= 96, "it is small");

impl More {
    pub(crate) const fn nothing() -> Self {
        Self {
            word: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Whether there is nothing, as of this moment.
    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        self.word.load(Ordering::Relaxed).is_null()
    }

    /// The request that stands alone, without the lock.
    #[inline]
    pub(crate) fn request_alone(&self) -> Option<&Request> {
        // Acquire: the request was written before the word.
        let word = self.word.load(Ordering::Acquire);
        match kind(word) {
            // SAFETY: a request of these kinds is not changed, and is let go of when the node is, or after it.
            Kind::Request | Kind::Told => Some(unsafe { &*pointer::<Request>(word) }),
            Kind::Nothing | Kind::Child | Kind::Extra | Kind::Several => None,
        }
    }

    /// All of it, for whoever holds the node's lock.
    ///
    /// # Safety
    /// The caller holds the lock, and asks for it once.
    #[inline]
    pub(crate) const unsafe fn locked(&self) -> LockedMore<'_> {
        LockedMore(self)
    }

    #[cold]
    fn free(&mut self) {
        let word = *self.word.get_mut();
        match kind(word) {
            Kind::Nothing | Kind::Child | Kind::Told => {}
            // SAFETY: the word owns one count of the `Arc`, and nobody uses it again.
            Kind::Request => drop(unsafe { Arc::from_raw(pointer::<Request>(word)) }),
            // SAFETY: the word owns the box, and nobody uses it again.
            Kind::Extra => drop(unsafe { Box::from_raw(pointer::<Extra>(word)) }),
            // SAFETY: as above.
            Kind::Several => drop(unsafe { Box::from_raw(pointer::<Several>(word)) }),
        }
    }
}

impl Drop for More {
    #[inline]
    fn drop(&mut self) {
        if !self.word.get_mut().is_null() {
            self.free();
        }
    }
}

/// [`More`] under the node's lock.
pub(crate) struct LockedMore<'a>(&'a More);

impl LockedMore<'_> {
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.is_nothing()
    }

    /// A task's youngest child.
    pub(crate) fn child(&self) -> Option<NonNull<Header>> {
        match self.kind() {
            Kind::Nothing | Kind::Request | Kind::Told | Kind::Extra => None,
            Kind::Child => NonNull::new(pointer(self.word())),
            Kind::Several => self.several()?.first_child,
        }
    }

    pub(crate) fn set_child(&mut self, child: Option<NonNull<Header>>) {
        match (self.kind(), child) {
            (Kind::Nothing | Kind::Child, None) => self.set(std::ptr::null_mut()),
            (Kind::Nothing | Kind::Child, Some(child)) => self.set(tagged(child.as_ptr(), CHILD)),
            (Kind::Request | Kind::Told | Kind::Extra, None) => {}
            (Kind::Request | Kind::Told | Kind::Extra, Some(_)) | (Kind::Several, _) => {
                self.several_or_new().first_child = child
            }
        }
    }

    /// The standing request.
    pub(crate) fn request(&self) -> Option<&Request> {
        match self.kind() {
            Kind::Nothing | Kind::Child | Kind::Extra => None,
            Kind::Request | Kind::Told => self.0.request_alone(),
            Kind::Several => Some(&self.several()?.cancel.as_ref()?.request),
        }
    }

    /// Notes the first request, taken to be handed on.
    pub(crate) fn ask(&mut self, asked: Asked<'_>) {
        debug_assert!(self.request().is_none(), "the first request is noted once");
        if !self.is_nothing() {
            self.several_or_new().cancel = Some(CancelState::new(Request::clone(&asked)));
            return;
        }
        self.set(match asked {
            Asked::Told(request) => tagged(Arc::as_ptr(request).cast_mut(), TOLD),
            Asked::Once(_) | Asked::Shared(_) => {
                let request = Arc::into_raw(asked.to_shared());
                tagged(request.cast_mut(), REQUEST)
            }
        });
    }

    /// The standing request, to be changed.
    pub(crate) fn cancel_mut(&mut self) -> Option<&mut CancelState> {
        match self.kind() {
            Kind::Nothing | Kind::Child | Kind::Extra => None,
            Kind::Request | Kind::Told | Kind::Several => self.several_or_new().cancel.as_mut(),
        }
    }

    /// What is kept of the standing request, where that is more than the request.
    pub(crate) fn cancel(&self) -> Option<&CancelState> {
        self.several()?.cancel.as_ref()
    }

    /// What is rare, if there is any.
    pub(crate) fn extra(&self) -> Option<&Extra> {
        match self.kind() {
            Kind::Nothing | Kind::Child | Kind::Request | Kind::Told => None,
            // SAFETY: a word of this kind is the pointer of a box that it owns, read and changed under the lock only.
            Kind::Extra => Some(unsafe { &*pointer::<Extra>(self.word()) }),
            Kind::Several => self.several()?.extra.as_deref(),
        }
    }

    pub(crate) fn extra_mut(&mut self) -> Option<&mut Extra> {
        match self.kind() {
            Kind::Nothing | Kind::Child | Kind::Request | Kind::Told => None,
            Kind::Extra => Some(self.extra_or_new()),
            Kind::Several => self.several_or_new().extra.as_deref_mut(),
        }
    }

    /// What is rare, made if there is none.
    pub(crate) fn extra_or_new(&mut self) -> &mut Extra {
        match self.kind() {
            Kind::Nothing => self.set(tagged(Box::into_raw(Box::<Extra>::default()), EXTRA)),
            Kind::Extra => {}
            Kind::Child | Kind::Request | Kind::Told | Kind::Several => {
                return self.several_or_new().extra.get_or_insert_default();
            }
        }
        // SAFETY: as in `extra`, and the borrow is exclusive.
        unsafe { &mut *pointer::<Extra>(self.word()) }
    }

    fn several(&self) -> Option<&Several> {
        // SAFETY: as in `extra`.
        (self.kind() == Kind::Several).then(|| unsafe { &*pointer::<Several>(self.word()) })
    }

    /// The box of several; what stood alone before goes into it.
    fn several_or_new(&mut self) -> &mut Several {
        let (old, kind) = (self.word(), self.kind());
        if kind != Kind::Several {
            let several = Box::new(Several {
                first_child: self.child(),
                cancel: self.request().cloned().map(CancelState::new),
                // SAFETY: the word owned one count of the `Arc`, and is written over below.
                _alone: (kind == Kind::Request).then(|| unsafe { Arc::from_raw(pointer(old)) }),
                // SAFETY: the word owned the box, and is written over below.
                extra: (kind == Kind::Extra).then(|| unsafe { Box::from_raw(pointer(old)) }),
            });
            self.set(tagged(Box::into_raw(several), SEVERAL));
        }
        // SAFETY: as in `extra_or_new`.
        unsafe { &mut *pointer::<Several>(self.word()) }
    }

    fn kind(&self) -> Kind {
        kind(self.word())
    }

    fn word(&self) -> *mut () {
        self.0.word.load(Ordering::Relaxed)
    }

    fn set(&mut self, word: *mut ()) {
        // Release: what it points to is read without the lock.
        self.0.word.store(word, Ordering::Release);
    }
}

fn kind(word: *mut ()) -> Kind {
    match word.addr() & TAG {
        CHILD => Kind::Child,
        REQUEST => Kind::Request,
        TOLD => Kind::Told,
        EXTRA => Kind::Extra,
        SEVERAL => Kind::Several,
        _ => Kind::Nothing,
    }
}

fn pointer<T>(word: *mut ()) -> *mut T {
    word.map_addr(|word| word & !TAG).cast()
}

fn tagged<T>(pointer: *mut T, tag: usize) -> *mut () {
    pointer.map_addr(|word| word | tag).cast()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use asupersync_core::{CancelKind, CancelReason, Origin, Time};

    use super::*;

    fn reason() -> CancelReason {
        let at = Time::ZERO + Duration::from_secs(1);
        CancelReason::new(CancelKind::User, Origin::default(), at)
    }

    fn request() -> Arc<Request> {
        Arc::new(Request::new(reason(), 3))
    }

    fn locked(more: &More) -> LockedMore<'_> {
        // SAFETY: no other thread knows it, and no test asks twice.
        unsafe { more.locked() }
    }

    /// A pointer that is aligned and never followed.
    fn child(number: usize) -> NonNull<Header> {
        let place = align_of::<Header>() * number;
        NonNull::new(std::ptr::without_provenance_mut(place)).expect("not null")
    }

    #[test]
    fn a_child_stands_alone_and_goes_again() {
        let node = More::nothing();
        let mut more = locked(&node);
        for number in [1, 2] {
            more.set_child(Some(child(number)));
            assert_eq!(more.child(), Some(child(number)));
            assert!(more.extra().is_none() && more.request().is_none());
        }
        more.set_child(None);
        assert!(more.is_nothing());
    }

    #[test]
    fn a_request_stands_alone_and_is_shared() {
        let request = request();
        let node = More::nothing();
        let mut more = locked(&node);
        more.ask(Asked::Shared(&request));
        assert_eq!(Arc::strong_count(&request), 2);
        assert!(std::ptr::eq(
            more.request().expect("it was asked"),
            &*request
        ));
        assert!(more.extra().is_none() && more.child().is_none());
        more.set_child(None);
        assert!(more.request().is_some(), "no child is no change");
        drop(node);
        assert_eq!(Arc::strong_count(&request), 1);
    }

    #[test]
    fn what_the_region_told_is_not_counted() {
        let told = request();
        let node = More::nothing();
        let mut more = locked(&node);
        more.ask(Asked::Told(&told));
        assert_eq!(Arc::strong_count(&told), 1);
        let read = more.request().expect("it was asked");
        assert!(std::ptr::eq(read, &*told));
        assert!(more.extra().is_none() && more.child().is_none());
        assert!(more.cancel_mut().is_some());
        more.set_child(Some(child(1)));
        let read = more.request().expect("it still stands");
        assert!(
            !std::ptr::eq(read, &*told),
            "what is changed is the task's own"
        );
        assert_eq!(read.depth(), 3);
    }

    #[test]
    fn what_stood_alone_is_in_the_box() {
        let request = request();
        for is_asked_first in [true, false] {
            let node = More::nothing();
            let mut more = locked(&node);
            if is_asked_first {
                more.ask(Asked::Shared(&request));
                more.set_child(Some(child(1)));
            } else {
                more.set_child(Some(child(1)));
                more.ask(Asked::Shared(&request));
            }
            let kept = if is_asked_first { 2 } else { 1 };
            assert_eq!(Arc::strong_count(&request), kept, "the box has its own");
            assert_eq!(more.child(), Some(child(1)));
            assert_eq!(more.request().map(Request::depth), Some(3));
            let state = more.cancel_mut().expect("it was asked");
            assert!(state.is_handed_on);
            more.set_child(None);
            assert!(more.child().is_none() && more.request().is_some());
            assert!(more.extra().is_none() && more.extra_mut().is_none());
        }
    }

    #[test]
    fn what_is_rare_goes_with_what_stood_alone() {
        let request = request();
        let asks: [fn(&mut LockedMore<'_>, &Arc<Request>); 4] = [
            |_, _| {},
            |more, request| more.ask(Asked::Shared(request)),
            |more, request| more.ask(Asked::Told(request)),
            |more, _| more.set_child(Some(child(1))),
        ];
        for is_rare_first in [true, false] {
            for ask in asks {
                let node = More::nothing();
                let mut more = locked(&node);
                if is_rare_first {
                    more.extra_or_new().cost_spent = 7;
                    ask(&mut more, &request);
                } else {
                    ask(&mut more, &request);
                    more.extra_or_new().cost_spent = 7;
                }
                let (asked, with_child) = (more.request().is_some(), more.child().is_some());
                more.set_child(None);
                assert_eq!(more.extra().map(|extra| extra.cost_spent), Some(7));
                let extra = more.extra_mut().expect("it stays");
                extra.cost_spent += 1;
                assert_eq!(more.extra_or_new().cost_spent, 8);
                assert_eq!(more.request().is_some(), asked);
                assert_eq!(more.cancel_mut().is_some(), asked);
                assert!(!asked || !with_child);
                more.set_child(Some(child(2)));
                assert_eq!(more.child(), Some(child(2)));
                assert_eq!(more.extra().map(|extra| extra.cost_spent), Some(8));
            }
        }
        assert_eq!(Arc::strong_count(&request), 1);
    }

    #[test]
    fn a_request_that_is_changed_leaves_the_shared_one_as_it_was() {
        let request = request();
        let node = More::nothing();
        let mut more = locked(&node);
        more.ask(Asked::Shared(&request));
        let read = node.request_alone().expect("it stands alone");
        let state = more.cancel_mut().expect("it was asked");
        state.request = Request::new(reason(), 4);
        assert!(more.cancel().is_some() && node.request_alone().is_none());
        assert_eq!(more.request().map(Request::depth), Some(4));
        assert!(
            std::ptr::eq(read, &*request),
            "it is still there to be read"
        );
        assert_eq!(read.depth(), 3);
        drop(node);
        assert_eq!(Arc::strong_count(&request), 1);
    }
}
