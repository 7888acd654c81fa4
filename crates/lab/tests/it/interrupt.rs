//! An operation is cut short at every place, and a loss is found at the place where it happens.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use asupersync_core::Outcome;
use asupersync_kernel::{CancelWait, Cx};
use asupersync_lab::{Probe, every_await};
use asupersync_sync::{Notify, oneshot};

type End = Outcome<(), Infallible>;

/// Takes the value in one poll and gives it back in a later one: what must not be written.
async fn takes_too_early(cx: &Cx, source: &Mutex<Option<u32>>) -> Option<u32> {
    let taken = source.lock().expect("nobody panics under it").take();
    cx.yield_now().await.ok()?;
    taken
}

#[test]
fn a_value_lost_between_two_polls_is_found_with_its_place() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        every_await("takes_too_early", async |cx: Cx, probe: Probe| {
            let source = Mutex::new(Some(7));
            let got = probe
                .run(&cx, takes_too_early(&cx, &source))
                .await
                .flatten();
            let left = source.lock().unwrap().take();
            assert!(got.xor(left).is_some(), "the value is lost");
        });
    }));
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the value is lost"), "{message}");
    assert!(
        message.contains("ASUPERSYNC_PLACE=cancel:0:woken"),
        "{message}"
    );
}

#[test]
fn every_place_is_met_in_every_way() {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&met);
    every_await("three polls", move |cx: Cx, probe: Probe| {
        let seen = Arc::clone(&seen);
        async move {
            let mut polls = 0;
            let mut cancel = CancelWait::new();
            let notes = Notes {
                seen: &seen,
                polls: &mut polls,
            };
            let end = probe
                .run(&cx, async {
                    let notes = notes;
                    poll_fn(|task| {
                        *notes.polls += 1;
                        if cancel.poll(task).is_ready() {
                            return Poll::Ready(Err(*notes.polls));
                        }
                        if *notes.polls == 3 {
                            return Poll::Ready(Ok(()));
                        }
                        task.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await
                })
                .await;
            if let Some(Err(polls)) = end {
                seen.lock()
                    .unwrap()
                    .insert(format!("cancelled in poll {polls}"));
            }
        }
    });
    let met = met.lock().unwrap();
    let expected: BTreeSet<String> = (1..=3)
        .map(|poll| format!("cancelled in poll {poll}"))
        .chain((0..=2).map(|polls| format!("dropped after {polls}")))
        .chain((0..=2).map(|polls| format!("unwound after {polls}")))
        .chain(["dropped after 3".to_owned()])
        .collect();
    assert_eq!(*met, expected);
}

/// Notes how the operation that holds it goes.
struct Notes<'a> {
    seen: &'a Mutex<BTreeSet<String>>,
    polls: &'a mut u32,
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        let way = if std::thread::panicking() {
            "unwound"
        } else {
            "dropped"
        };
        let note = format!("{way} after {}", self.polls);
        self.seen
            .lock()
            .expect("nobody panics under it")
            .insert(note);
    }
}

#[test]
fn a_wait_that_nobody_can_end_is_a_failure() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        every_await("Notify::notified", async |cx: Cx, probe: Probe| {
            let notify = Notify::new();
            let _ = probe.run(&cx, notify.notified(&cx)).await;
        });
    }));
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("it stalled"), "{message}");
}

#[test]
fn a_program_whose_operation_never_waits_is_refused() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        every_await("oneshot::Receiver::recv", async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = oneshot::channel();
            tx.send(1).unwrap();
            let _ = probe.run(&cx, rx.recv(&cx)).await;
        });
    }));
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("never has to wait"), "{message}");
}

#[test]
fn a_peer_may_end_the_wait() {
    every_await("oneshot::Receiver::recv", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = oneshot::channel();
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |_: Cx| {
                    let _ = tx.send(5);
                    End::Ok(())
                });
                let got = probe.run(scope.cx(), rx.recv(scope.cx())).await;
                assert!(probe.was_interrupted() || got == Some(Ok(5)));
                End::Ok(())
            })
            .await;
        assert!(end.is_ok());
    });
}
