//! How a leaf waits for cancellation beside what it waits for.

use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;

use super::observe;
use crate::current;
use crate::node::{Depth, NodeRef};

/// One wait's registration for cancellation.
///
/// A leaf future holds one and polls it before and after looking at its resource.
/// It costs one load while nothing is cancelled and the leaf is polled with its context's own waker; below a combinator with wakers of its own, the leaf's waker is registered with the context until the wait is dropped.
/// As a future it waits for nothing else.
///
/// # Examples
/// ```
/// use asupersync_kernel::CancelWait;
/// use std::task::{Context, Poll, Waker};
/// let mut wait = CancelWait::new();
/// // Outside every task nothing is ever cancelled.
/// assert!(wait.poll(&mut Context::from_waker(Waker::noop())).is_pending());
/// ```
#[derive(Default)]
pub struct CancelWait {
    /// Boxed, since most waits never register and each of them has the room for it; let go by [`unregister`](Self::unregister) alone.
    registered: ManuallyDrop<Option<Box<Registered>>>,
}

struct Registered {
    node: NodeRef,
    place: u32,
    waker: Waker,
}

impl CancelWait {
    /// A wait that is not registered.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            registered: ManuallyDrop::new(None),
        }
    }

    /// Ready once the context being polled must stop; the waker is woken when that changes.
    #[inline]
    pub fn poll(&mut self, task: &mut Context<'_>) -> Poll<Cancelled> {
        let polled = current::with_node(task.waker(), |node, own, shield| {
            if own && !node.marks.is_cancelled() {
                return Poll::Pending;
            }
            self.poll_node(node, own, shield, task)
        });
        polled.unwrap_or(Poll::Pending)
    }

    /// Whether the context being polled must stop now; registers nothing.
    #[must_use]
    #[inline]
    pub fn check() -> Option<Cancelled> {
        current::with(observe).flatten().map(Cancelled::new)
    }

    fn poll_node(
        &mut self,
        node: &NodeRef,
        own: bool,
        shield: Depth,
        task: &Context<'_>,
    ) -> Poll<Cancelled> {
        if let Some(reason) = observe(node, shield) {
            return Poll::Ready(Cancelled::new(reason));
        }
        if own {
            return Poll::Pending;
        }
        self.register(node, task.waker());
        // The request may have come between the look and the registration.
        match observe(node, shield) {
            Some(reason) => Poll::Ready(Cancelled::new(reason)),
            None => Poll::Pending,
        }
    }

    fn register(&mut self, node: &NodeRef, waker: &Waker) {
        let known = self.registered.as_ref();
        if known.is_some_and(|known| known.node.same(node) && known.waker.will_wake(waker)) {
            return;
        }
        self.unregister();
        let place = node.lock().more.extra_or_new().wakers.insert(waker.clone());
        *self.registered = Some(Box::new(Registered {
            node: node.clone(),
            place,
            waker: waker.clone(),
        }));
    }

    #[cold]
    fn unregister(&mut self) {
        if let Some(registered) = self.registered.take() {
            let Registered { node, place, .. } = *registered;
            let removed = node
                .lock()
                .more
                .extra_mut()
                .and_then(|extra| extra.wakers.remove(place));
            drop(removed);
        }
    }
}

/// Waits until the context being polled must stop.
///
/// # Cancel safety
/// Nothing is lost if it is dropped: whoever waits again is told again.
///
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::{CancelWait, Cx};
///
/// /// Serves until it is cancelled, and says goodbye.
/// async fn serve(_cx: Cx) -> Outcome<(), Cancelled> {
///     let cancelled = CancelWait::new().await;
///     println!("stopping: {}", cancelled.reason());
///     Outcome::Ok(())
/// }
/// ```
impl Future for CancelWait {
    type Output = Cancelled;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Cancelled> {
        Self::poll(self.get_mut(), task)
    }
}

impl Drop for CancelWait {
    #[inline]
    fn drop(&mut self) {
        if self.registered.is_some() {
            self.unregister();
        }
    }
}
