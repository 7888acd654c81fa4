//! Sinks: backpressure, and what becomes of items that did not go in.

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_stream::{
    SinkError, SinkExt, StreamExt, TryStreamExt, iter, pending, receiver_stream, sender_sink,
    unbounded_sink,
};
use asupersync_sync::mpsc;

use crate::support::{AppError, End, SEEDS, TICK, ms, under_seeds};

#[test]
fn a_sink_waits_while_its_channel_is_full() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let start = cx.now();
                let (tx, mut rx) = mpsc::channel(2);
                scope.spawn(async move |cx: Cx| {
                    for n in 0..6_u32 {
                        cx.sleep(TICK * 10).await?;
                        assert_eq!(rx.recv(&cx).await.ok(), Some(n));
                    }
                    assert!(rx.recv(&cx).await.is_err(), "the sink closed the channel");
                    Ok::<_, AppError>(())
                });
                iter(0..6_u32).forward(&cx, sender_sink(&cx, tx)).await?;
                // Four must have been taken for six to fit.
                assert_eq!(ms(&cx, start), 40);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_sink_that_is_ready_has_a_slot_which_is_given_back() {
    under_seeds(1, async |cx: Cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let mut sink = sender_sink(&cx, tx.clone());
        let slot = sink.ready(&cx).await.unwrap();
        assert!(tx.try_send(9).is_err(), "the slot is reserved");
        slot.send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
        drop(sink.ready(&cx).await.unwrap());
        assert!(tx.try_send(9).is_err(), "a sink stays ready");
        drop(sink);
        assert_eq!(tx.try_send(2), Ok(()));
        let mut sink = sender_sink(&cx, tx.clone());
        assert_eq!(rx.try_recv(), Ok(2));
        drop(sink.ready(&cx).await.unwrap());
        sink.close(&cx).await.unwrap();
        assert_eq!(tx.try_send(3), Ok(()));
        assert!(matches!(sink.send(&cx, 4).await, Err(SinkError::Closed)));
    });
}

#[test]
fn an_item_that_did_not_go_in_is_handed_back() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = mpsc::channel(1);
        let mut sink = sender_sink(&cx, tx);
        let slot = sink.ready(&cx).await.unwrap();
        drop(rx);
        match slot.send(5) {
            Err(SinkError::NotSent { item, .. }) => assert_eq!(item, 5),
            other => panic!("{other:?}"),
        }
        assert!(matches!(sink.send(&cx, 6).await, Err(SinkError::Closed)));
        let (tx, rx) = mpsc::unbounded_channel();
        let mut sink = unbounded_sink(tx);
        sink.send(&cx, 1).await.unwrap();
        drop(rx);
        assert!(matches!(sink.send(&cx, 2).await, Err(SinkError::Closed)));
    });
}

#[test]
fn what_send_all_has_not_sent_stays_in_the_stream() {
    under_seeds(1, async |cx: Cx| {
        let (tx, mut rx) = mpsc::channel(3);
        let mut sink = sender_sink(&cx, tx);
        let mut items = iter(0..10_u32).peekable();
        let waits = futures_util::poll!(std::pin::pin!(sink.send_all(&cx, &mut items)));
        assert!(waits.is_pending());
        assert_eq!(rx.len(), 3);
        let end = cx
            .region(async |scope| {
                scope.cancel(CancelKind::User);
                let end = sink.send_all(scope.cx(), &mut items).await;
                assert!(matches!(end, Err(SinkError::Cancelled(_))), "{end:?}");
                Outcome::<(), Cancelled>::Ok(())
            })
            .await;
        assert!(end.is_ok());
        let mut seen = Vec::new();
        while let Ok(n) = rx.try_recv() {
            seen.push(n);
        }
        let rest: Vec<u32> = items.collect(&cx).await.unwrap();
        assert_eq!([seen, rest].concat(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn an_idle_forward_keeps_no_slot_from_the_others() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(1);
                let idle = tx.clone();
                let sleeper = scope.spawn(async move |cx: Cx| {
                    pending::<u32>().forward(&cx, sender_sink(&cx, idle)).await
                });
                cx.sleep(TICK).await?;
                scope.spawn(async move |cx: Cx| {
                    iter(0..5_u32).forward(&cx, sender_sink(&cx, tx)).await?;
                    Ok::<_, AppError>(())
                });
                let five: Vec<u32> = receiver_stream(&cx, rx)
                    .take(5)
                    .try_collect(scope.cx())
                    .await?;
                assert_eq!(five, [0, 1, 2, 3, 4]);
                sleeper.cancel();
                let Outcome::Cancelled(reason) = sleeper.join(scope.cx()).await else {
                    panic!("it was to stop");
                };
                assert!(!reason.escalated(), "it heard by itself");
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_try_forward_stops_at_the_first_error() {
    under_seeds(1, async |cx: Cx| {
        let (tx, mut rx) = mpsc::channel(4);
        let source = iter([Ok(1), Err(AppError::Failed(2)), Ok(3)]);
        let sink = sender_sink(&cx, tx).sink_err_into::<AppError>();
        let end = source.try_forward(&cx, sink).await;
        assert_eq!(end, Err(AppError::Failed(2)));
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Closed));
    });
}

#[test]
fn a_forward_closes_its_sink_at_the_end() {
    under_seeds(1, async |cx: Cx| {
        let (tx, mut rx) = mpsc::channel(4);
        let mut sink = sender_sink(&cx, tx);
        iter([1, 2]).forward(&cx, &mut sink).await.unwrap();
        assert!(matches!(sink.send(&cx, 3).await, Err(SinkError::Closed)));
        assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Closed));
    });
}
