//! One wait for a condition that stands behind a primitive's lock.
//!
//! The problem: to look at the condition and to get in line under one lock, such that no news fall between the two, while wakers are cloned and dropped outside of it.
//!
//! # States
//! out of line → in line → granted, which is a hint to look again; it leaves the line when the condition holds, or by [`InLine::leave`].

use std::task::{Poll, Waker};

use asupersync_kernel::Resource;

use crate::primitive::{Mutex, lock};
use crate::waiters::{Place, Stand, WaitList};

/// A waiter that looks again whenever it is woken.
#[derive(Debug)]
pub(crate) struct InLine {
    place: Option<Place>,
    /// A trace knows of the wait, and not of its end.
    is_told: bool,
}

impl InLine {
    pub(crate) const fn new() -> Self {
        Self {
            place: None,
            is_told: false,
        }
    }

    /// Tells that it waits.
    pub(crate) fn tell(&mut self, resource: &Resource, operation: &'static str) {
        resource.trace(operation);
        self.is_told = true;
    }

    /// The caller tells how the wait has ended.
    pub(crate) const fn end(&mut self) {
        self.is_told = false;
    }

    /// Tells that it goes away, if it told that it waits.
    pub(crate) fn tell_left(&mut self, resource: &Resource, operation: &'static str) {
        if std::mem::take(&mut self.is_told) {
            resource.trace(operation);
        }
    }

    /// Ready with what `check` finds; otherwise in line behind the same lock.
    ///
    /// `check` runs under the lock, so no code of the program may run in it.
    pub(crate) fn poll<S, R>(
        &mut self,
        mutex: &Mutex<S>,
        line: impl Fn(&mut S) -> &mut WaitList,
        waker: &Waker,
        mut check: impl FnMut(&mut S) -> Option<R>,
    ) -> Poll<R> {
        // Who comes first comes to wait, mostly: its primitive has looked without the lock.
        let mut spare: Option<Waker> = self.place.is_none().then(|| waker.clone());
        loop {
            let mut state = lock(mutex);
            if let Some(found) = check(&mut state) {
                let place = self.place.take();
                let old = place.map(|place| line(&mut state).remove(place));
                drop(state);
                drop(old);
                return Poll::Ready(found);
            }
            let list = line(&mut state);
            let stand = self.place.as_ref().map(|place| list.stand(place, waker));
            match (stand, spare.take()) {
                (Some(Stand::Queued), _) => return Poll::Pending,
                (_, None) => {}
                (Some(Stand::OtherWaker), Some(fresh)) => {
                    let place = self.place.as_ref().expect("its stand was asked above");
                    let old = list.replace_waker(place, fresh);
                    drop(state);
                    drop(old);
                    return Poll::Pending;
                }
                (Some(Stand::Granted(_)) | None, Some(fresh)) => {
                    // The news were no good for this one: back into the line.
                    if let Some(place) = self.place.take() {
                        let _granted = list.remove(place);
                    }
                    self.place = Some(list.enqueue(fresh, ()));
                    return Poll::Pending;
                }
            }
            drop(state);
            spare = Some(waker.clone());
        }
    }

    /// Forgets a place that is known to be gone, without a look.
    pub(crate) fn forget_released(&mut self) {
        self.is_told = false;
        self.place = None;
    }

    /// Leaves the line.
    pub(crate) fn leave<S>(&mut self, mutex: &Mutex<S>, line: impl Fn(&mut S) -> &mut WaitList) {
        if let Some(place) = self.place.take() {
            let (_, old) = line(&mut lock(mutex)).remove(place);
            drop(old);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::waiters::Grant;

    #[test]
    fn whoever_found_what_it_waited_for_is_out_of_the_line() {
        let list = Mutex::new(WaitList::<()>::new());
        for is_granted in [false, true] {
            let mut line = InLine::new();
            let mut poll = |found: bool| {
                let check = |_: &mut WaitList| found.then_some(());
                line.poll(&list, |list| list, Waker::noop(), check)
            };
            assert!(poll(false).is_pending());
            assert!(poll(false).is_pending());
            assert!(!lock(&list).is_empty());
            if is_granted {
                lock(&list).grant_all(Grant::All).wake();
                assert!(poll(false).is_pending(), "the news were no good");
                assert!(!lock(&list).is_empty(), "so it is back in line");
            }
            assert!(poll(true).is_ready());
            assert!(line.place.is_none());
            assert!(lock(&list).is_unused());
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use crate::waiters::Grant;
    use loom::sync::Arc;
    use loom::thread;

    struct State {
        news: u32,
        line: WaitList,
    }

    #[test]
    fn loom_news_reach_everybody_in_line_also_beside_one_that_leaves() {
        loom::model(|| {
            let state = Arc::new(Mutex::new(State {
                news: 0,
                line: WaitList::new(),
            }));
            let teller = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let mut wakers = {
                        let mut state = lock(&state);
                        state.news = 1;
                        state.line.grant_all(Grant::All)
                    };
                    wakers.wake();
                })
            };
            let leaver = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let mut line = InLine::new();
                    let _ = line.poll(
                        &state,
                        |state: &mut State| &mut state.line,
                        Waker::noop(),
                        |state| (state.news > 0).then_some(()),
                    );
                    line.leave(&state, |state| &mut state.line);
                })
            };
            let mut line = InLine::new();
            wait(|task| {
                line.poll(
                    &state,
                    |state: &mut State| &mut state.line,
                    task.waker(),
                    |state| (state.news > 0).then_some(()),
                )
            });
            teller.join().unwrap();
            leaver.join().unwrap();
            assert!(lock(&state).line.is_empty());
        });
    }
}
