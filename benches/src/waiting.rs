//! Tasks that wait for nothing but their waker, on whatever runtime.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// The wakers of tasks that wait, each in its place, and how often they were polled.
pub(crate) struct Waiting {
    wakers: Box<[Mutex<Option<Waker>>]>,
    polls: AtomicU64,
    is_over: AtomicBool,
}

impl Waiting {
    pub(crate) fn of(tasks: u64) -> Arc<Self> {
        Arc::new(Self {
            wakers: (0..tasks).map(|_| Mutex::new(None)).collect(),
            polls: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// Waits in a place until the end; a wake before that is counted.
    pub(crate) fn wait(this: &Arc<Self>, place: u64) -> impl Future<Output = ()> + Send + 'static {
        let this = Arc::clone(this);
        poll_fn(move |task| {
            let mut waker = this.wakers[place as usize].lock();
            match waker
                .as_ref()
                .is_some_and(|last| last.will_wake(task.waker()))
            {
                true => {}
                false => *waker = Some(task.waker().clone()),
            }
            drop(waker);
            this.polls.fetch_add(1, Ordering::Relaxed);
            match this.is_over.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }

    /// Polls of all tasks so far.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Wakes some tasks, far from each other and from `place`, where the last one was; the polls that there will have been once all of them had their turn.
    pub(crate) fn wake_some(&self, place: &mut u64) -> u64 {
        let polls = self.polls() + WAKES_AT_ONCE;
        for _ in 0..WAKES_AT_ONCE {
            *place = next_place(*place, self.wakers.len() as u64);
            if let Some(waker) = self.wakers[*place as usize].lock().as_ref() {
                waker.wake_by_ref();
            }
        }
        polls
    }

    /// Lets all of them end.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        for waker in &self.wakers {
            if let Some(waker) = waker.lock().take() {
                waker.wake();
            }
        }
    }
}

/// Wakes that are given before whoever gives them lets the woken have their turn.
pub(crate) const WAKES_AT_ONCE: u64 = 500;

/// The task that is woken next: a step that is coprime to a power of ten meets each once.
///
/// Among 100,000 and more the next lies far away; among 1,000 and 10,000 it is the neighbour, and a cache near the processor holds most of them anyway.
const fn next_place(place: u64, tasks: u64) -> u64 {
    (place + STEP) % tasks
}

const STEP: u64 = 70_001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_woken_once_before_any_is_woken_again() {
        for tasks in [500, 1_000, 10_000, 100_000] {
            let (mut place, mut woken) = (0, vec![false; tasks as usize]);
            for _ in 0..tasks {
                place = next_place(place, tasks);
                assert!(!std::mem::replace(&mut woken[place as usize], true));
            }
        }
    }
}
