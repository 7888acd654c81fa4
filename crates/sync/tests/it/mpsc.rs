//! The contract of channels.

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_sync::mpsc::{
    self, RecvError, ReserveError, SendFailure, TryRecvError, TryReserveError, TrySendError,
};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, settle, under_seeds, within};

#[test]
fn messages_arrive_in_order_through_many_laps_of_the_ring() {
    for capacity in [1, 3, 64, 100] {
        under_seeds(3, move |cx| async move {
            within(&cx, async |scope| {
                let (tx, mut rx) = mpsc::channel(capacity);
                scope.spawn(async move |cx: Cx| {
                    for n in 0..1000_u32 {
                        tx.send(&cx, n).await.unwrap();
                    }
                    End::Ok(())
                });
                for n in 0..1000 {
                    assert_eq!(rx.recv(scope.cx()).await, Ok(n));
                }
                assert_eq!(rx.recv(scope.cx()).await, Err(RecvError::Closed));
                assert_eq!(rx.recv(scope.cx()).await, Err(RecvError::Closed));
            })
            .await;
        });
    }
}

#[test]
fn a_reservation_counts_against_the_capacity_and_blocks_nobody_else() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(2);
        let permit = tx.reserve(&cx).await.unwrap();
        assert_eq!((tx.capacity(), tx.len(), tx.max_capacity()), (1, 0, 2));
        tx.try_send(1).unwrap();
        assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
        assert!(matches!(tx.try_reserve(&cx), Err(TryReserveError::Full)));
        // The later message is not held up by the reservation that came before it.
        assert_eq!(rx.recv(&cx).await, Ok(1));
        permit.send(3).unwrap();
        assert_eq!(rx.try_recv(), Ok(3));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_dropped_permit_gives_its_slot_to_the_first_in_line() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let permit = tx.reserve(&cx).await.unwrap();
        let mut first = Box::pin(tx.send(&cx, 1));
        let mut second = Box::pin(tx.send(&cx, 2));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        drop(permit);
        assert_eq!(
            tx.try_send(9),
            Err(TrySendError::Full(9)),
            "nobody overtakes the line"
        );
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut first).is_ready());
        assert_eq!(rx.try_recv(), Ok(1));
        assert!(poll!(&mut second).is_ready());
        assert_eq!(rx.try_recv(), Ok(2));
    });
}

#[test]
fn those_who_wait_for_a_slot_are_served_in_order() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let mut line: Vec<_> = (1..6).map(|n| Box::pin(tx.send(&cx, n))).collect();
        for waiter in &mut line {
            assert!(poll!(waiter).is_pending());
        }
        // The third leaves the line.
        drop(line.remove(2));
        let mut received = Vec::new();
        while let Ok(n) = rx.try_recv() {
            received.push(n);
            // Whoever is polled first, the slot is the first one's.
            for at in (0..line.len()).rev() {
                if poll!(&mut line[at]).is_ready() {
                    drop(line.remove(at));
                }
            }
        }
        assert_eq!(received, [0, 1, 2, 4, 5]);
    });
}

#[test]
fn a_slot_handed_to_a_waiter_that_is_dropped_goes_to_the_next() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let mut first = Box::pin(tx.send(&cx, 1));
        let mut second = Box::pin(tx.reserve(&cx));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert_eq!(rx.try_recv(), Ok(0));
        drop(first);
        let permit = second.await.unwrap();
        permit.send(2).unwrap();
        assert_eq!(rx.try_recv(), Ok(2));
        assert_eq!(rx.capacity(), 1);
    });
}

#[test]
fn close_fails_who_waits_and_delivers_what_was_promised() {
    under_seeds(8, async |cx| {
        within(&cx, async |scope| {
            let cx = scope.cx();
            let (tx, mut rx) = mpsc::channel(2);
            let permit = tx.reserve(cx).await.unwrap();
            tx.try_send(1).unwrap();
            let waiter = {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| End::Ok(tx.send(&cx, 2).await))
            };
            let watcher = {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| End::Ok(tx.closed(&cx).await.is_ok()))
            };
            settle(cx).await;
            rx.close();
            let error = waiter.join(cx).await.ok().unwrap().unwrap_err();
            assert_eq!((error.value, error.failure), (2, SendFailure::Closed));
            assert!(watcher.join(cx).await.ok().unwrap());
            assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
            assert!(matches!(tx.reserve(cx).await, Err(ReserveError::Closed)));
            assert_eq!(rx.recv(cx).await, Ok(1));
            // Not over while the permit is out.
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            assert!(rx.recv(cx).now_or_never().is_none());
            permit.send(4).unwrap();
            assert_eq!(rx.recv(cx).await, Ok(4));
            assert_eq!(rx.recv(cx).await, Err(RecvError::Closed));
        })
        .await;
    });
}

#[test]
fn the_last_permit_that_is_given_back_ends_a_closed_channel() {
    under_seeds(16, async |cx| {
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::channel::<u32>(1);
            scope.spawn(async move |cx: Cx| {
                let permit = tx.reserve(&cx).await.unwrap();
                settle(&cx).await;
                drop(permit);
                settle(&cx).await;
                End::Ok(())
            });
            while rx.capacity() == 1 {
                scope.cx().yield_now().await.unwrap();
            }
            rx.close();
            assert_eq!(rx.recv(scope.cx()).await, Err(RecvError::Closed));
        })
        .await;
    });
}

#[test]
fn a_permit_hands_the_value_back_when_the_receiver_has_gone() {
    under_seeds(1, async |cx| {
        let (tx, rx) = mpsc::channel(1);
        let permit = tx.reserve(&cx).await.unwrap();
        let owned = {
            let (tx, rx) = mpsc::channel(1);
            let permit = tx.reserve_owned(&cx).await.unwrap();
            drop(rx);
            permit
        };
        drop(rx);
        let error = permit.send(5).unwrap_err();
        assert_eq!((error.value, error.failure), (5, SendFailure::Closed));
        assert_eq!(owned.send(6).unwrap_err().into_inner(), 6);
    });
}

#[test]
fn an_owned_permit_gives_its_sender_back() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let tx = tx.reserve_owned(&cx).await.unwrap().send(1).unwrap();
        assert_eq!(rx.recv(&cx).await, Ok(1));
        let tx = tx.reserve_owned(&cx).await.unwrap().abort().unwrap();
        assert_eq!((tx.strong_count(), tx.capacity()), (1, 1));
        drop(tx.reserve_owned(&cx).await.unwrap());
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
    });
}

#[test]
fn weak_senders_do_not_keep_the_channel_open() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let weak = tx.downgrade();
        weak.upgrade().unwrap().send(&cx, 1).await.unwrap();
        assert!(weak.upgrade().unwrap().same_channel(&tx));
        drop(tx);
        assert!(weak.upgrade().is_none());
        assert_eq!(rx.recv(&cx).await, Ok(1));
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
    });
}

#[test]
fn recv_many_takes_what_is_there_up_to_the_limit() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(8);
        (0..6).for_each(|n| tx.try_send(n).unwrap());
        let mut into = vec![100];
        assert_eq!(rx.recv_many(&cx, &mut into, 4).await, Ok(4));
        assert_eq!(rx.recv_many(&cx, &mut into, 0).await, Ok(0));
        assert_eq!(rx.capacity(), 6);
        assert_eq!(rx.recv_many(&cx, &mut into, 4).await, Ok(2));
        assert_eq!(into, [100, 0, 1, 2, 3, 4, 5]);
        drop(tx);
        assert_eq!(
            rx.recv_many(&cx, &mut into, 4).await,
            Err(RecvError::Closed)
        );
    });
}

#[test]
fn a_send_error_is_a_cancellation_for_the_task_that_returns_it() {
    under_seeds(4, async |cx| {
        let end = cx
            .region(async |scope| {
                let (tx, _rx) = mpsc::channel(1);
                tx.try_send(0).unwrap();
                let child = scope.spawn(async move |cx: Cx| tx.send(&cx, 1).await);
                settle(scope.cx()).await;
                child.cancel();
                let end = child.join(scope.cx()).await;
                assert!(end.is_cancelled());
                Outcome::<(), mpsc::SendError<i32>>::Ok(())
            })
            .await;
        assert!(end.is_ok());
    });
}

#[test]
fn an_unbounded_channel_keeps_order_and_tells_its_end() {
    under_seeds(8, async |cx| {
        within(&cx, async |scope| {
            let cx = scope.cx();
            let (tx, mut rx) = mpsc::unbounded_channel();
            let weak = tx.downgrade();
            scope.spawn(async move |cx: Cx| {
                for n in 0..300_u32 {
                    tx.send(n).unwrap();
                    if n % 7 == 0 {
                        cx.yield_now().await.unwrap();
                    }
                }
                End::Ok(())
            });
            let mut received = vec![rx.recv(cx).await.unwrap()];
            while rx.recv_many(cx, &mut received, 10).await.is_ok() {}
            assert_eq!(received, (0..300).collect::<Vec<_>>());
            assert!(weak.upgrade().is_none());
            assert_eq!((rx.len(), rx.try_recv()), (0, Err(TryRecvError::Closed)));
        })
        .await;
    });
}

#[test]
fn a_closed_unbounded_channel_hands_back_and_drains() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::unbounded_channel();
        tx.send(1).unwrap();
        rx.close();
        let error = tx.send(2).unwrap_err();
        assert_eq!((error.value, error.failure), (2, SendFailure::Closed));
        assert_eq!(rx.recv(&cx).await, Ok(1));
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
    });
}

#[test]
#[should_panic(expected = "a bounded channel holds 1 to")]
fn a_capacity_of_zero_is_refused() {
    let _ = mpsc::channel::<u8>(0);
}
