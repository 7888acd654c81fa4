//! One waiter's side of a line: how it looks at its own entry.
//!
//! The problem: what a waiter does when it is polled again is the same for every primitive with a line, and it must clone and drop wakers outside of the lock.
//!
//! # States
//! out → queued ([`Spot::enter`]) → granted → out.

use std::task::{Poll, Waker};

use crate::primitive::{Mutex, lock};
use crate::waiters::{Grant, Place, Stand, WaitList};

/// A waiter's place in a line, if it has one.
#[derive(Debug)]
pub(crate) struct Spot {
    place: Option<Place>,
}

impl Spot {
    pub(crate) const fn new() -> Self {
        Self { place: None }
    }

    pub(crate) const fn is_in_line(&self) -> bool {
        self.place.is_some()
    }

    /// Gets in line behind the others, under their lock.
    pub(crate) fn enter<N: Copy>(&mut self, line: &mut WaitList<N>, waker: Waker, need: N) {
        self.place = Some(line.enqueue(waker, need));
    }

    /// Ready with what was granted, which also ends the place; for a waiter that is in line.
    ///
    /// `line_of` finds the line in what its lock guards.
    pub(crate) fn look<L, N: Copy>(
        &mut self,
        guarded: &Mutex<L>,
        line_of: impl Fn(&mut L) -> &mut WaitList<N>,
        waker: &Waker,
    ) -> Poll<Grant> {
        self.look_and(guarded, line_of, waker, |_| ())
    }

    /// Like [`look`](Self::look); what was granted has an effect under the same lock, once the place has ended.
    pub(crate) fn look_and<L, N: Copy>(
        &mut self,
        guarded: &Mutex<L>,
        line_of: impl Fn(&mut L) -> &mut WaitList<N>,
        waker: &Waker,
        granted: impl Fn(&mut L),
    ) -> Poll<Grant> {
        let mut spare = None;
        loop {
            let mut held = lock(guarded);
            let line = line_of(&mut held);
            let Some(place) = &self.place else {
                return Poll::Pending;
            };
            match line.stand(place, waker) {
                Stand::Queued => return Poll::Pending,
                Stand::OtherWaker => match spare.take() {
                    Some(waker) => {
                        let old = line.replace_waker(place, waker);
                        drop(held);
                        drop(old);
                        return Poll::Pending;
                    }
                    None => {
                        drop(held);
                        spare = Some(waker.clone());
                    }
                },
                Stand::Granted(grant) => {
                    if let Some(place) = self.place.take() {
                        line.remove(place);
                    }
                    granted(&mut held);
                    return Poll::Ready(grant);
                }
            }
        }
    }

    /// Forgets a place that is known to be gone, without a look.
    pub(crate) fn forget_released(&mut self) {
        self.place = None;
    }

    /// Leaves the line, under its lock: what was granted and not seen, and the waker to drop without the lock.
    pub(crate) fn leave<N: Copy>(
        &mut self,
        line: &mut WaitList<N>,
    ) -> (Option<Grant>, Option<Waker>) {
        match self.place.take() {
            Some(place) => line.remove(place),
            None => (None, None),
        }
    }
}
