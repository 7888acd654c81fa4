//! Channels as streams.

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_stream::{
    StreamExt, TryStreamExt, broadcast_stream, merge, receiver_stream, unbounded_stream,
    watch_changes, watch_stream,
};
use asupersync_sync::{broadcast, mpsc, watch};

use crate::support::{AppError, End, SEEDS, TICK, under_seeds};

#[test]
fn a_receiver_as_a_stream_gives_every_message_and_ends_with_its_channel() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(2);
                let (utx, urx) = mpsc::unbounded_channel();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..20_u32 {
                        tx.send(&cx, n).await.expect("the stream is here");
                        utx.send(n).expect("the stream is here");
                    }
                    Ok::<_, AppError>(())
                });
                let all = receiver_stream(&cx, rx).zip(unbounded_stream(&cx, urx));
                let all: Vec<_> = all.collect(scope.cx()).await?;
                let expected: Vec<_> = (0..20).map(|n| (Ok(n), Ok(n))).collect();
                assert_eq!(all, expected);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_stream_gives_its_receiver_back_with_what_is_in_it() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = mpsc::channel(4);
        for n in 0..4 {
            tx.try_send(n).unwrap();
        }
        let mut stream = receiver_stream(&cx, rx);
        assert_eq!(stream.try_next(&cx).await, Ok(Some(0)));
        stream.close();
        assert!(tx.try_send(9).is_err());
        let mut rx = stream.into_inner();
        assert_eq!(rx.len(), 3);
        assert_eq!(rx.recv(&cx).await, Ok(1));
    });
}

#[test]
fn a_broadcast_stream_tells_a_lag_as_an_item_and_goes_on() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = broadcast::channel(2);
        let mut stream = broadcast_stream(&cx, rx);
        for n in 0..5 {
            tx.send(n).unwrap();
        }
        let lag = broadcast::RecvError::Lagged { missed: 3 };
        assert_eq!(stream.next(&cx).await, Ok(Some(Err(lag))));
        assert_eq!(stream.try_next(&cx).await, Ok(Some(3)));
        drop(tx);
        assert_eq!(stream.try_next(&cx).await, Ok(Some(4)));
        assert_eq!(stream.try_next(&cx).await, Ok(None));
        assert_eq!(stream.try_next(&cx).await, Ok(None));
    });
}

#[test]
fn a_watch_stream_begins_with_the_value_and_ends_with_the_last() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = watch::channel(0);
                let changes = watch_changes(&cx, rx.clone());
                let mut values = watch_stream(&cx, rx);
                assert_eq!(values.try_next(scope.cx()).await?, Some(0));
                scope.spawn(async move |cx: Cx| {
                    for n in 1..=5 {
                        tx.send_replace(n);
                        cx.yield_now().await?;
                    }
                    Ok::<_, AppError>(())
                });
                let rest: Vec<u32> = values.try_collect(scope.cx()).await?;
                assert_eq!(rest.last(), Some(&5), "{rest:?}");
                assert!(rest.is_sorted_by(|a, b| a < b), "{rest:?}");
                let changes: Vec<u32> = changes.try_collect(scope.cx()).await?;
                assert_eq!(changes, [5]);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_request_reaches_sources_below_a_merge() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel::<u32>(1);
                let (other, second) = mpsc::unbounded_channel::<u32>();
                let task = scope.spawn(async move |cx: Cx| {
                    let streams = [
                        receiver_stream(&cx, rx).boxed(),
                        unbounded_stream(&cx, second).boxed(),
                    ];
                    // Not our own wait: the sources themselves must hear of it.
                    let mut all = merge(streams);
                    let mut ends = 0;
                    while let Some(next) = futures_util::StreamExt::next(&mut all).await {
                        assert!(next.is_err());
                        ends += 1;
                    }
                    assert_eq!(ends, 2, "each source says it, once");
                    cx.checkpoint()
                });
                cx.sleep(TICK).await?;
                task.cancel();
                let end = task.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                drop((tx, other));
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn messages_outlive_a_reader_that_had_to_stop() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = mpsc::channel(4);
        tx.try_send(1).unwrap();
        let mut stream = receiver_stream(&cx, rx);
        let inner = cx
            .region(async |scope| {
                scope.cancel(CancelKind::User);
                let told = futures_util::StreamExt::next(&mut stream).await;
                assert!(matches!(told, Some(Err(_))), "{told:?}");
                assert_eq!(futures_util::StreamExt::next(&mut stream).await, None);
                // Behind a shield nothing is over.
                let kept = scope
                    .cx()
                    .shield(futures_util::StreamExt::next(&mut stream));
                assert_eq!(kept.await, Some(Ok(1)));
                let told = futures_util::StreamExt::next(&mut stream).await;
                assert!(matches!(told, Some(Err(_))), "told anew: {told:?}");
                Outcome::<(), Cancelled>::Ok(())
            })
            .await;
        assert!(inner.is_ok(), "{inner:?}");
        tx.try_send(2).unwrap();
        assert_eq!(stream.try_next(&cx).await, Ok(Some(2)));
    });
}
