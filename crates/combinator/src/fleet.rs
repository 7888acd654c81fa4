//! Any number of fibers of one kind, each woken by itself.
//!
//! The problem: polling every branch at each wake costs the square of their number, and charges one branch's polls to all.
//! So each fiber has a waker of its own that puts its number into a queue, and only what stands there is polled.
//!
//! # Invariants
//! - A fiber stands in the queue at most once.
//! - Wakers are cloned, called and dropped outside of the queue's lock.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_core::{CancelKind, ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::{Fiber, wake_contained};

/// Fibers that run beside each other, by number.
pub(crate) struct Fleet<'f, Fut: Future<Output: IntoOutcome>> {
    members: Vec<Option<Member<'f, Fut>>>,
    live: usize,
    ready: Arc<Ready>,
}

struct Member<'f, Fut: Future<Output: IntoOutcome>> {
    fiber: Pin<Box<Fiber<'f, Fut>>>,
    mark: Arc<Mark>,
    waker: Waker,
}

/// A fiber's number and outcome.
type Ended<Fut> = (usize, Outcome<OkOf<Fut>, ErrOf<Fut>>);

impl<'f, Fut: Future<Output: IntoOutcome>> Fleet<'f, Fut> {
    pub(crate) fn new() -> Self {
        Self {
            members: Vec::new(),
            live: 0,
            ready: Arc::default(),
        }
    }

    /// Adds a fiber, which is polled next after those that are ready; gives its number.
    pub(crate) fn push(&mut self, fiber: Fiber<'f, Fut>) -> usize {
        let index = self.members.len();
        let mark = Arc::new(Mark {
            index,
            is_queued: AtomicBool::new(true),
            ready: Arc::clone(&self.ready),
        });
        self.members.push(Some(Member {
            fiber: Box::pin(fiber),
            waker: Waker::from(Arc::clone(&mark)),
            mark,
        }));
        self.live += 1;
        self.ready.lock().queue.push_back(index);
        index
    }

    /// Has fiber `first` polled first; called before anything was polled.
    pub(crate) fn begin_with(&self, first: usize) {
        let mut ready = self.ready.lock();
        let count = ready.queue.len();
        if count > 0 {
            ready.queue.rotate_left(first % count);
        }
    }

    /// How many fibers have not ended.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// Cancels every fiber that has not ended.
    pub(crate) fn cancel_all(&self, kind: CancelKind) {
        for member in self.members.iter().flatten() {
            member.fiber.cancel(kind);
        }
    }

    /// The next end; `None` if every fiber has ended.
    pub(crate) async fn next(&mut self) -> Option<Ended<Fut>> {
        poll_fn(|task| self.poll_next(task)).await
    }

    pub(crate) fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Option<Ended<Fut>>> {
        if self.live == 0 {
            return Poll::Ready(None);
        }
        self.ready.know(task.waker());
        for _ in 0..self.members.len() {
            let Some(index) = self.ready.pop() else {
                return Poll::Pending;
            };
            // A waker that outlives its fiber may still ring.
            let Some(member) = &mut self.members[index] else {
                continue;
            };
            // Before the poll: who wakes it from now on queues it again.
            member.mark.is_queued.swap(false, Ordering::AcqRel);
            let polled = member
                .fiber
                .as_mut()
                .poll(&mut Context::from_waker(&member.waker));
            if let Poll::Ready(outcome) = polled {
                self.members[index] = None;
                self.live -= 1;
                return Poll::Ready(Some((index, outcome)));
            }
        }
        // Fibers that wake each other must not keep the others of the thread from their turn.
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The numbers of the fibers to be polled, and who is to be told of new ones.
#[derive(Default)]
struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    queue: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under the lock but the allocator.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<usize> {
        self.lock().queue.pop_front()
    }

    fn know(&self, waker: &Waker) {
        let known = {
            let state = self.lock();
            state
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        };
        if !known {
            let new = waker.clone();
            let old = self.lock().waker.replace(new);
            drop(old);
        }
    }
}

/// What a fiber's waker points to.
struct Mark {
    index: usize,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = {
            let mut ready = self.ready.lock();
            ready.queue.push_back(self.index);
            ready.waker.take()
        };
        if let Some(waker) = waker {
            wake_contained(waker);
        }
    }
}
