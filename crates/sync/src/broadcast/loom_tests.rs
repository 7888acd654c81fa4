//! Models of what stands beside the lock of a broadcast channel: the copy of `sent`, and who is woken.

use loom::sync::Arc;
use loom::thread;

use super::chan::{Chan, Cursor, Found, Freed};
use crate::line::InLine;
use crate::thread::wait;

/// The next message, or its count as missed; `None` at the end.
fn recv(chan: &Chan<u32>, cursor: &mut Cursor<u32>) -> Option<Result<u32, u64>> {
    let mut line = InLine::new();
    let found = wait(|task| {
        if let Some(found) = chan.take_own(cursor) {
            return std::task::Poll::Ready(found);
        }
        let mut freed = Freed::none();
        let looked = line.poll(
            &chan.state,
            |state| &mut state.waiting,
            task.waker(),
            |state| chan.look(state, cursor, &mut freed),
        );
        looked.map(|looked| chan.found(cursor, &looked))
    });
    match found {
        Found::Message(message) => Some(Ok(message)),
        Found::Lagged(missed) => Some(Err(missed)),
        Found::Closed => None,
    }
}

#[test]
fn loom_a_receiver_sees_or_counts_what_overtakes_it() {
    loom::model(|| {
        let (chan, mut cursor) = Chan::new(1);
        let chan = Arc::new(chan);
        let sender = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || {
                (0..2).for_each(|n| assert!(chan.send(n).is_ok()));
                chan.remove_sender();
            })
        };
        let mut next = 0;
        while let Some(found) = recv(&chan, &mut cursor) {
            match found {
                Ok(n) => {
                    assert_eq!(u64::from(n), next);
                    next += 1;
                }
                Err(missed) => next += missed,
            }
        }
        assert_eq!(next, 2);
        sender.join().unwrap();
        chan.unsubscribe(&mut cursor);
    });
}

#[test]
fn loom_a_receiver_that_goes_leaves_nothing_of_its_messages() {
    loom::model(|| {
        let (chan, mut first) = Chan::new(2);
        let chan = Arc::new(chan);
        let mut second = chan.subscribe();
        let leaver = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || chan.unsubscribe(&mut second))
        };
        assert!(chan.send(7).is_ok());
        leaver.join().unwrap();
        assert_eq!(recv(&chan, &mut first), Some(Ok(7)));
        assert_eq!(chan.len(), 0);
    });
}
