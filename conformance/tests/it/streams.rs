//! Streams do alike on both hosts; on the runtime their tasks and readers are on several threads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_stream::{
    PartitionError, PartitionOptions, StreamExt, TryStreamExt, WhenFull, generate, iter,
    receiver_stream, sender_sink,
};
use asupersync_sync::mpsc;

use crate::support::{AppError, FOREVER, Live, TICK};

#[test]
fn tasks_of_a_stream_go_on_by_themselves_on_both_hosts() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let ended = Arc::new(AtomicU64::new(0));
                let count = Arc::clone(&ended);
                let (tx, mut all_ended) = mpsc::channel(8);
                let work = move |cx: Cx, n: u64| {
                    let (count, tx) = (Arc::clone(&count), tx.clone());
                    async move {
                        cx.sleep(TICK).await?;
                        if count.fetch_add(1, Ordering::Relaxed) == 7 {
                            let _ = tx.try_send(());
                        }
                        Ok::<_, AppError>(n)
                    }
                };
                let mut results = pin!(iter(0..8_u64).buffered(&scope, 8, work));
                let first = results.as_mut().try_next(scope.cx()).await?;
                assert_eq!(first, Some(0));
                // The stream is not polled until the last of its tasks has said that it is done.
                assert!(all_ended.recv(scope.cx()).await.is_ok());
                let rest: Vec<u64> = results.try_collect(scope.cx()).await?;
                assert_eq!(rest, [1, 2, 3, 4, 5, 6, 7]);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn many_items_are_worked_once_in_order_or_not() {
    const ITEMS: u64 = 2_000;
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let work = |cx: Cx, n: u64| async move {
                    if n.is_multiple_of(3) {
                        cx.yield_now().await?;
                    }
                    Ok::<_, AppError>(n)
                };
                let ordered = iter(0..ITEMS).buffered(&scope, 16, work);
                let ordered: Vec<u64> = ordered.try_collect(scope.cx()).await?;
                assert_eq!(ordered, (0..ITEMS).collect::<Vec<_>>());
                let ends = iter(0..ITEMS).buffer_unordered(&scope, 16, work);
                let mut ends: Vec<u64> = ends.try_collect(scope.cx()).await?;
                ends.sort_unstable();
                assert_eq!(ends, ordered);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        let squares = iter(0..ITEMS).map_concurrent(&cx, 16, |cx: Cx, n| async move {
            cx.yield_now().await?;
            Ok::<_, AppError>(n * n)
        });
        let expected: Vec<u64> = (0..ITEMS).map(|n| n * n).collect();
        assert_eq!(squares.await, Outcome::Ok(expected));
    });
}

#[test]
fn the_first_error_cancels_and_drains_the_rest() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let inner = live.clone();
        let each = iter(0..8_u64).for_each_concurrent(&cx, 4, move |cx: Cx, n| {
            let guard = inner.enter();
            async move {
                let _guard = guard;
                if n == 2 {
                    cx.sleep(TICK).await?;
                    return Err(AppError::Failed(2));
                }
                cx.sleep(FOREVER).await?;
                Ok(())
            }
        });
        assert_eq!(each.await, Outcome::Err(AppError::Failed(2)));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn two_readers_of_a_partition_lose_nothing_between_them() {
    const ITEMS: u64 = 3_000;
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(4);
                scope.spawn(async move |cx: Cx| {
                    let numbers = generate(async |mut out| {
                        for n in 0..ITEMS {
                            out.yield_(n).await;
                        }
                    });
                    let sent = numbers.forward(&cx, sender_sink(&cx, tx)).await;
                    assert!(sent.is_ok(), "both readers stay to the end");
                    Ok::<_, AppError>(())
                });
                let options = PartitionOptions::new(4).when_full(WhenFull::Wait);
                let source = receiver_stream(&cx, rx).map(|n| n.expect("nobody cancels"));
                let (third, rest) = source.partition(&cx, options, |n| n.is_multiple_of(3));
                let reader = scope.spawn(async move |cx: Cx| {
                    let third: Result<Vec<u64>, PartitionError> = third.try_collect(&cx).await;
                    Ok::<_, AppError>(third.expect("who waits misses nothing"))
                });
                let rest: Result<Vec<u64>, PartitionError> = rest.try_collect(scope.cx()).await;
                let rest = rest.expect("who waits misses nothing");
                let third = reader
                    .join(scope.cx())
                    .await
                    .ok()
                    .expect("it reads to the end");
                assert_eq!(third, (0..ITEMS).step_by(3).collect::<Vec<_>>());
                let expected = (0..ITEMS).filter(|n| !n.is_multiple_of(3));
                assert_eq!(rest, expected.collect::<Vec<_>>());
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
