//! The contract of the channel for one value.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_sync::oneshot::{self, RecvError, TryRecvError};
use futures_util::future::FutureExt;

use crate::support::{End, drop_after, settle, under_seeds, within};

#[test]
fn the_value_arrives_whoever_is_first() {
    under_seeds(32, async |cx| {
        within(&cx, async |scope| {
            let (tx, mut rx) = oneshot::channel();
            scope.spawn(async move |cx: Cx| {
                for _ in 0..cx.random_u64() % 4 {
                    cx.yield_now().await.unwrap();
                }
                tx.send(7).unwrap();
                End::Ok(())
            });
            assert_eq!(rx.recv(scope.cx()).await, Ok(7));
            assert_eq!(rx.recv(scope.cx()).await, Err(RecvError::Closed));
        })
        .await;
    });
}

#[test]
fn a_receive_that_is_dropped_or_cancelled_leaves_the_value() {
    under_seeds(32, async |cx| {
        within(&cx, async |scope| {
            let (tx, rx) = oneshot::channel();
            let receiver = scope.spawn(async move |cx: Cx| {
                let mut rx = rx;
                let polls = cx.random_u64() % 5;
                let early = drop_after(&cx, rx.recv(&cx), polls).await;
                End::Ok((early.and_then(Result::ok), rx))
            });
            for _ in 0..scope.cx().random_u64() % 6 {
                scope.cx().yield_now().await.unwrap();
            }
            if scope.cx().random_u64() % 2 == 0 {
                receiver.cancel();
            }
            tx.send(7).unwrap();
            let (early, mut rx) = receiver.join(scope.cx()).await.ok().unwrap();
            let value = match early {
                Some(value) => value,
                None => rx.recv(scope.cx()).await.unwrap(),
            };
            assert_eq!(value, 7);
        })
        .await;
    });
}

#[test]
fn either_side_learns_that_the_other_has_gone() {
    under_seeds(16, async |cx| {
        within(&cx, async |scope| {
            let (mut tx, rx) = oneshot::channel::<u32>();
            let sender = scope.spawn(async move |cx: Cx| {
                tx.closed(&cx).await.unwrap();
                assert!(tx.is_closed());
                End::Ok(tx.send(1))
            });
            let (tx2, mut rx2) = oneshot::channel::<u32>();
            let receiver = scope.spawn(async move |cx: Cx| End::Ok(rx2.recv(&cx).await));
            settle(scope.cx()).await;
            drop(rx);
            drop(tx2);
            assert_eq!(sender.join(scope.cx()).await.ok(), Some(Err(1)));
            assert_eq!(
                receiver.join(scope.cx()).await.ok(),
                Some(Err(RecvError::Closed))
            );
        })
        .await;
    });
}

#[test]
fn a_closed_receiver_still_takes_what_came_before() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = oneshot::channel();
        tx.send(3).unwrap();
        rx.close();
        assert_eq!(rx.try_recv(), Ok(3));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        let (tx, mut rx) = oneshot::channel();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert!(rx.recv(&cx).now_or_never().is_none());
        rx.close();
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
        assert_eq!(tx.send(4), Err(4));
    });
}

#[test]
fn a_value_that_nobody_takes_is_dropped_once_with_the_receiver() {
    let value = Arc::new(());
    let (tx, rx) = oneshot::channel();
    tx.send(Arc::clone(&value)).unwrap();
    drop(rx);
    assert_eq!(Arc::strong_count(&value), 1);
}
