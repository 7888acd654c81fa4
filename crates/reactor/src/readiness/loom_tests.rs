use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicBool, Ordering as StdOrdering};
use std::task::Wake;

use loom::sync::Arc;
use loom::thread;

use super::*;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, StdOrdering::SeqCst);
    }
}

#[test]
fn a_waiter_that_slept_has_been_woken_by_the_event() {
    loom::model(|| {
        let state = Arc::new(IoState::new(Interest::READABLE));
        let token = state.ready(Direction::Read).unwrap().unwrap();
        let reactor = {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                let mut wakers = Vec::new();
                state.raise(READABLE, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            })
        };
        let flag = StdArc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(StdArc::clone(&flag));
        // The call that the token allowed would have blocked, before or after the event.
        state.clear_blocked(token);
        let polled = state.poll_ready(Direction::Read, &mut Context::from_waker(&waker));
        reactor.join().unwrap();
        assert!(
            polled.is_ready() || flag.0.load(StdOrdering::SeqCst),
            "lost wake-up"
        );
        assert!(
            state.ready(Direction::Read).unwrap().is_some(),
            "lost event"
        );
    });
}

#[test]
fn both_halves_clear_at_once_without_losing_an_event() {
    loom::model(|| {
        let state = Arc::new(IoState::new(Interest::READABLE | Interest::WRITABLE));
        let read = state.ready(Direction::Read).unwrap().unwrap();
        let write = state.ready(Direction::Write).unwrap().unwrap();
        let writer = {
            let state = Arc::clone(&state);
            thread::spawn(move || state.clear_blocked(write))
        };
        let reactor = {
            let state = Arc::clone(&state);
            thread::spawn(move || state.raise(WRITABLE, &mut Vec::new()))
        };
        state.clear_blocked(read);
        writer.join().unwrap();
        reactor.join().unwrap();
        assert!(
            state.ready(Direction::Write).unwrap().is_some(),
            "lost event"
        );
    });
}
