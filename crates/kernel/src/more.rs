//! One word for what most nodes have nothing of, and few have more than one thing of.
//!
//! The problem: a waiting task pays for every field, and a box for each task that opens a region or is cancelled would cost more than it saves.
//!
//! # States
//! nothing → the first child, or the request, or what the region told → a box with the rest; a box stays.
//!
//! # Invariants
//! - The word is null for nothing; otherwise its two lowest bits say what it points to, and are clear in every pointer, since all of that is aligned.
//! - A request and a box are owned; a child is not, and neither is what the region told: its memory outlives the task's, and it lets go of nothing that it told.
//! - A request that stands alone was handed on to what lives in the node, and has no timer.
//! - Child and request are a task's; an inline node has room for its own.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::cancel::{Asked, CancelState, Request};
use crate::extra::Extra;
use crate::node::Header;

/// What a node has beside its future and its places in lists.
pub(crate) struct More {
    word: *mut (),
}

/// What the word stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Child,
    Request,
    Told,
    Extra,
}

const TAG: usize = 0b11;
const CHILD: usize = 0b01;
const REQUEST: usize = 0b10;
const TOLD: usize = 0b11;

const _: () = assert!(align_of::<Header>() > TAG);
const _: () = assert!(align_of::<Request>() > TAG);
const _: () = assert!(align_of::<Extra>() > TAG);

impl More {
    pub(crate) const NOTHING: Self = Self {
        word: std::ptr::null_mut(),
    };

    pub(crate) fn is_nothing(&self) -> bool {
        self.word.is_null()
    }

    /// A task's youngest child.
    pub(crate) fn child(&self) -> Option<NonNull<Header>> {
        match self.kind() {
            Kind::Nothing | Kind::Request | Kind::Told => None,
            Kind::Child => NonNull::new(self.pointer()),
            Kind::Extra => self.extra()?.first_child,
        }
    }

    pub(crate) fn set_child(&mut self, child: Option<NonNull<Header>>) {
        match (self.kind(), child) {
            (Kind::Nothing | Kind::Child, None) => self.word = std::ptr::null_mut(),
            (Kind::Nothing | Kind::Child, Some(child)) => self.word = tagged(child.as_ptr(), CHILD),
            (Kind::Request | Kind::Told, None) => {}
            (Kind::Request | Kind::Told, Some(_)) | (Kind::Extra, _) => {
                self.extra_or_new().first_child = child
            }
        }
    }

    /// The standing request.
    pub(crate) fn request(&self) -> Option<&Request> {
        match self.kind() {
            Kind::Nothing | Kind::Child => None,
            // SAFETY: a word of these kinds is the pointer of a request, which the word's own `Arc` keeps, or the task's region.
            Kind::Request | Kind::Told => Some(unsafe { &*self.pointer::<Request>() }),
            Kind::Extra => Some(&self.extra()?.cancel.as_ref()?.request),
        }
    }

    /// Notes the first request, taken to be handed on.
    pub(crate) fn ask(&mut self, asked: Asked<'_>) {
        debug_assert!(self.request().is_none(), "the first request is noted once");
        if !self.is_nothing() {
            self.extra_or_new().cancel = Some(CancelState::new(Request::clone(&asked)));
            return;
        }
        self.word = match asked {
            Asked::Told(request) => tagged(Arc::as_ptr(request).cast_mut(), TOLD),
            Asked::Once(_) | Asked::Shared(_) => {
                let request = Arc::into_raw(asked.to_shared());
                tagged(request.cast_mut(), REQUEST)
            }
        };
    }

    /// The standing request, to be changed.
    pub(crate) fn cancel_mut(&mut self) -> Option<&mut CancelState> {
        match self.kind() {
            Kind::Nothing | Kind::Child => None,
            Kind::Request | Kind::Told | Kind::Extra => self.extra_or_new().cancel.as_mut(),
        }
    }

    /// What is kept of the standing request, where that is more than the request.
    pub(crate) fn cancel(&self) -> Option<&CancelState> {
        self.extra()?.cancel.as_ref()
    }

    pub(crate) fn extra(&self) -> Option<&Extra> {
        // SAFETY: a word of this kind is the pointer of a box that it owns.
        (self.kind() == Kind::Extra).then(|| unsafe { &*self.pointer::<Extra>() })
    }

    pub(crate) fn extra_mut(&mut self) -> Option<&mut Extra> {
        // SAFETY: as in `extra`, and the borrow is exclusive.
        (self.kind() == Kind::Extra).then(|| unsafe { &mut *self.pointer::<Extra>() })
    }

    /// The box; what stood alone before goes into it.
    pub(crate) fn extra_or_new(&mut self) -> &mut Extra {
        if self.kind() != Kind::Extra {
            let extra = Box::new(Extra {
                first_child: self.child(),
                cancel: self.request().cloned().map(CancelState::new),
                ..Extra::default()
            });
            // The old word is dropped, and with it the request that it owned.
            *self = Self {
                word: Box::into_raw(extra).cast(),
            };
        }
        // SAFETY: as in `extra_mut`; the word is a box's now.
        unsafe { &mut *self.pointer::<Extra>() }
    }

    fn kind(&self) -> Kind {
        if self.word.is_null() {
            return Kind::Nothing;
        }
        match self.word.addr() & TAG {
            CHILD => Kind::Child,
            REQUEST => Kind::Request,
            TOLD => Kind::Told,
            _ => Kind::Extra,
        }
    }

    fn pointer<T>(&self) -> *mut T {
        self.word.map_addr(|word| word & !TAG).cast()
    }

    #[cold]
    fn free(&mut self) {
        match self.kind() {
            Kind::Nothing | Kind::Child | Kind::Told => {}
            // SAFETY: the word owns one count of the `Arc`, and nobody uses it again.
            Kind::Request => drop(unsafe { Arc::from_raw(self.pointer::<Request>()) }),
            // SAFETY: the word owns the box, and nobody uses it again.
            Kind::Extra => drop(unsafe { Box::from_raw(self.pointer::<Extra>()) }),
        }
    }
}

impl Drop for More {
    #[inline]
    fn drop(&mut self) {
        if !self.is_nothing() {
            self.free();
        }
    }
}

fn tagged<T>(pointer: *mut T, tag: usize) -> *mut () {
    pointer.map_addr(|word| word | tag).cast()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use asupersync_core::{CancelKind, CancelReason, Origin, Time};

    use super::*;

    fn request() -> Arc<Request> {
        let at = Time::ZERO + Duration::from_secs(1);
        let reason = CancelReason::new(CancelKind::User, Origin::default(), at);
        Arc::new(Request::new(reason, 3))
    }

    /// A pointer that is aligned and never followed.
    fn child(number: usize) -> NonNull<Header> {
        let place = align_of::<Header>() * number;
        NonNull::new(std::ptr::without_provenance_mut(place)).expect("not null")
    }

    #[test]
    fn a_child_stands_alone_and_goes_again() {
        let mut more = More::NOTHING;
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
        let mut more = More::NOTHING;
        more.ask(Asked::Shared(&request));
        assert_eq!(Arc::strong_count(&request), 2);
        assert!(std::ptr::eq(
            more.request().expect("it was asked"),
            &*request
        ));
        assert!(more.extra().is_none() && more.child().is_none());
        more.set_child(None);
        assert!(more.request().is_some(), "no child is no change");
        drop(more);
        assert_eq!(Arc::strong_count(&request), 1);
    }

    #[test]
    fn what_the_region_told_is_not_counted() {
        let told = request();
        let mut more = More::NOTHING;
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
            let mut more = More::NOTHING;
            if is_asked_first {
                more.ask(Asked::Shared(&request));
                more.set_child(Some(child(1)));
            } else {
                more.set_child(Some(child(1)));
                more.ask(Asked::Shared(&request));
            }
            assert_eq!(Arc::strong_count(&request), 1, "the box has its own");
            assert_eq!(more.child(), Some(child(1)));
            assert_eq!(more.request().map(Request::depth), Some(3));
            let state = more.cancel_mut().expect("it was asked");
            assert!(state.is_handed_on);
            more.set_child(None);
            assert!(more.child().is_none() && more.request().is_some());
        }
    }

    #[test]
    fn a_request_that_is_changed_leaves_the_shared_one_as_it_was() {
        let request = request();
        let mut more = More::NOTHING;
        more.ask(Asked::Shared(&request));
        assert!(more.cancel_mut().is_some());
        assert!(more.extra().is_some());
        assert_eq!(Arc::strong_count(&request), 1);
    }
}
