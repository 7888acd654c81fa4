//! The contract of watch channels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use asupersync_kernel::Cx;
use asupersync_sync::watch::{self, RecvError};
use futures_util::future::FutureExt;

use crate::support::{End, drop_after, under_seeds, within};

#[test]
fn a_receiver_sees_the_latest_value_and_each_change_once() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = watch::channel(0);
        assert_eq!(rx.has_changed(), Ok(false));
        assert!(rx.changed(&cx).now_or_never().is_none());
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert!(rx.borrow().has_changed());
        assert_eq!(rx.changed(&cx).await, Ok(()));
        assert_eq!((*rx.borrow(), rx.has_changed()), (2, Ok(false)));
        rx.mark_changed();
        assert_eq!(rx.has_changed(), Ok(true));
        assert!(rx.borrow_and_update().has_changed());
        assert_eq!(rx.has_changed(), Ok(false));
        tx.send(3).unwrap();
        rx.mark_unchanged();
        assert!(rx.changed(&cx).now_or_never().is_none());
        assert_eq!(*tx.subscribe().borrow(), 3);
    });
}

#[test]
fn a_change_before_the_end_is_reported_before_the_end() {
    under_seeds(1, async |cx| {
        for closes in [true, false] {
            let (tx, mut rx) = watch::channel(0);
            let mut late = rx.clone();
            tx.send(1).unwrap();
            if closes {
                tx.close();
                assert_eq!(tx.send(2).unwrap_err().value, 2);
                assert!(tx.closed(&cx).now_or_never().is_some());
            }
            drop(tx);
            assert!(rx.is_closed());
            assert_eq!(rx.changed(&cx).await, Ok(()));
            assert_eq!(rx.changed(&cx).await, Err(RecvError::Closed));
            assert_eq!(rx.has_changed(), Err(RecvError::Closed));
            assert_eq!(*rx.borrow(), 1);
            assert_eq!(*late.wait_for(&cx, |value| *value == 1).await.unwrap(), 1);
            let end = late.wait_for(&cx, |value| *value == 2).await.map(drop);
            assert_eq!(end, Err(RecvError::Closed));
        }
    });
}

#[test]
fn a_snapshot_holds_up_nobody() {
    let (tx, rx) = watch::channel(vec![1]);
    let old = rx.borrow();
    // With a lock behind the guard this would wait for itself.
    tx.send_modify(|value| value.push(2));
    assert_eq!((&*old, &*rx.borrow()), (&vec![1], &vec![1, 2]));
    let before = tx.send_replace(vec![]);
    assert_eq!(*before, [1, 2]);
    thread::scope(|scope| {
        scope.spawn(move || assert_eq!(*old, [1]));
    });
}

#[test]
fn a_modification_that_is_not_wanted_or_panics_leaves_no_trace() {
    let (tx, rx) = watch::channel(vec![1]);
    assert!(!tx.send_if_modified(|value| {
        value.clear();
        false
    }));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        tx.send_modify(|value| {
            value.clear();
            panic!("on purpose");
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((&*rx.borrow(), rx.has_changed()), (&vec![1], Ok(false)));
    tx.send_modify(|value| value.push(2));
    assert_eq!((&*rx.borrow(), rx.has_changed()), (&vec![1, 2], Ok(true)));
}

#[test]
fn a_modification_that_writes_to_its_own_watch_is_refused_and_wedges_nothing() {
    let (tx, rx) = watch::channel(0);
    let nested = catch_unwind(AssertUnwindSafe(|| {
        tx.send_modify(|_| tx.send(9).unwrap());
    }));
    assert!(nested.is_err());
    assert_eq!(*rx.borrow(), 0);
    tx.send(1).unwrap();
    assert_eq!(*rx.borrow(), 1);
}

#[test]
fn no_modification_of_many_threads_is_lost_and_no_value_is_torn() {
    const EACH: u64 = 3000;
    let (tx, rx) = watch::channel((0_u64, 0_u64));
    thread::scope(|scope| {
        for _ in 0..3 {
            let tx = tx.clone();
            scope.spawn(move || {
                for _ in 0..EACH {
                    tx.send_modify(|(left, right)| {
                        *left += 1;
                        *right += 1;
                    });
                }
            });
        }
        for _ in 0..2 {
            let mut rx = rx.clone();
            scope.spawn(move || {
                let mut last = 0;
                while rx.blocking_changed().is_ok() {
                    let (left, right) = *rx.borrow_and_update();
                    assert_eq!(left, right, "torn");
                    assert!(left >= last, "backwards");
                    last = left;
                }
                assert_eq!(last, 3 * EACH, "the last change is seen");
            });
        }
        drop(tx);
    });
    assert_eq!(*rx.borrow(), (3 * EACH, 3 * EACH));
}

#[test]
fn the_last_change_is_seen_wherever_waits_are_dropped() {
    const CHANGES: u64 = 20;
    under_seeds(100, async |cx| {
        within(&cx, async |scope| {
            let (tx, rx) = watch::channel(0);
            let receivers: Vec<_> = (0..3)
                .map(|_| rx.clone())
                .map(|mut rx| {
                    scope.spawn(async move |cx: Cx| {
                        let mut last = 0;
                        loop {
                            let polls = 1 + cx.random_u64() % 4;
                            match drop_after(&cx, rx.changed(&cx), polls).await {
                                None => {}
                                Some(Ok(())) => {
                                    let now = *rx.borrow_and_update();
                                    assert!(now > last, "each change is reported once");
                                    last = now;
                                }
                                Some(Err(error)) => {
                                    assert_eq!(error, RecvError::Closed);
                                    return End::Ok(last);
                                }
                            }
                        }
                    })
                })
                .collect();
            drop(rx);
            for n in 1..=CHANGES {
                tx.send(n).unwrap();
                if scope.cx().random_u64() % 2 == 0 {
                    scope.cx().yield_now().await.unwrap();
                }
            }
            drop(tx);
            for receiver in receivers {
                assert_eq!(receiver.join(scope.cx()).await.ok().unwrap(), CHANGES);
            }
        })
        .await;
    });
}

#[test]
fn values_go_when_nobody_has_them() {
    let value = Arc::new(());
    let (tx, rx) = watch::channel(Arc::clone(&value));
    let kept = rx.borrow();
    drop(tx.send_replace(Arc::new(())));
    assert_eq!(Arc::strong_count(&value), 2);
    drop(kept);
    assert_eq!(Arc::strong_count(&value), 1);
}
