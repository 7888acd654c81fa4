//! Several streams into one, and one into several.

use std::pin::pin;

use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;
use asupersync_stream::{
    PartitionError, PartitionOptions, StreamExt, TryStreamExt, WhenFull, iter, merge,
    receiver_stream,
};
use asupersync_sync::mpsc;

use crate::support::{AppError, End, SEEDS, TICK, ms, paced, under_seeds};

#[test]
fn a_merge_passes_over_no_stream_for_longer_than_each_other_gives_one_item() {
    under_seeds(1, async |cx: Cx| {
        let streams = (0..5_usize).map(|who| iter(std::iter::repeat_n(who, 20)));
        let all: Vec<usize> = merge(streams).collect(&cx).await.unwrap();
        assert_eq!(all.len(), 100);
        for who in 0..5 {
            let at: Vec<usize> = (0..100).filter(|at| all[*at] == who).collect();
            assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{all:?}");
        }
        let two = iter([1; 50]).merge(iter([2; 50]));
        let two: Vec<u32> = two.collect(&cx).await.unwrap();
        let ones = two[..20].iter().filter(|n| **n == 1).count();
        assert_eq!((two.len(), ones), (100, 10));
    });
}

#[test]
fn a_merge_gives_items_as_they_come_and_ends_with_the_last() {
    under_seeds(SEEDS, async |cx: Cx| {
        let start = cx.now();
        let streams = [
            paced(&cx, vec![(1, 'a'), (10, 'b')]),
            paced(&cx, vec![(4, 'c'), (4, 'd'), (20, 'e')]),
        ];
        let all = merge(streams).map(|item| (ms(&cx, start), item));
        let all: Vec<_> = all.collect(&cx).await.unwrap();
        assert_eq!(all, [(1, 'a'), (4, 'c'), (8, 'd'), (11, 'b'), (28, 'e')]);
    });
}

#[test]
fn a_zip_of_the_latest_gives_a_pair_for_each_item_once_both_have_one() {
    under_seeds(SEEDS, async |cx: Cx| {
        let start = cx.now();
        let letters = paced(&cx, [(1, 'a'), (4, 'b'), (10, 'c')]);
        let numbers = paced(&cx, [(7, 1), (1, 2)]);
        let all = letters.zip_latest(numbers);
        let all = all.map(|pair| (ms(&cx, start), pair));
        let all: Vec<_> = all.collect(&cx).await.unwrap();
        assert_eq!(all, [(7, ('b', 1)), (8, ('b', 2)), (15, ('c', 2))]);
    });
}

#[test]
fn a_zip_of_the_latest_takes_from_both_in_turn() {
    under_seeds(1, async |cx: Cx| {
        let all = iter(0..3).zip_latest(iter(0..3));
        let all: Vec<(u32, u32)> = all.collect(&cx).await.unwrap();
        assert_eq!(all, [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)]);
    });
}

#[test]
fn a_zip_of_the_latest_ends_when_one_ends_without_an_item() {
    under_seeds(1, async |cx: Cx| {
        let never = asupersync_stream::pending::<u32>();
        let none = iter([0_u32; 0]).zip_latest(never);
        assert_eq!(none.count(&cx).await, Ok(0));
        let never = asupersync_stream::pending::<u32>();
        let none = never.zip_latest(iter([0_u32; 0]));
        assert_eq!(none.count(&cx).await, Ok(0));
    });
}

#[test]
fn a_side_that_is_not_read_lags_by_an_exact_count_and_holds_up_nobody() {
    under_seeds(1, async |cx: Cx| {
        let options = PartitionOptions::new(3);
        let (even, odd) = iter(0..20_u32).partition(&cx, options, |n| n % 2 == 0);
        let even: Vec<u32> = even.try_collect(&cx).await.unwrap();
        assert_eq!(even, (0..20).step_by(2).collect::<Vec<_>>());
        let odd: Vec<_> = odd.collect(&cx).await.unwrap();
        let lag = PartitionError::Lagged { missed: 7 };
        assert_eq!(odd, [Err(lag), Ok(15), Ok(17), Ok(19)]);
    });
}

#[test]
fn sides_that_wait_for_each_other_lose_nothing_between_two_tasks() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let options = PartitionOptions::new(1).when_full(WhenFull::Wait);
                let (tx, rx) = mpsc::channel(1);
                scope.spawn(async move |cx: Cx| {
                    for n in 0..30_u32 {
                        tx.send(&cx, n).await.expect("both sides are here");
                    }
                    Ok::<_, AppError>(())
                });
                let source = receiver_stream(&cx, rx).map(|n| n.expect("nobody cancels"));
                let (few, many) = source.partition(&cx, options, |n| n % 5 == 0);
                let slow = scope.spawn(async move |cx: Cx| {
                    let mut few = pin!(few);
                    let mut seen = Vec::new();
                    while let Some(n) = few.try_next(&cx).await? {
                        seen.push(n);
                        cx.sleep(TICK).await?;
                    }
                    Ok::<_, AppError>(seen)
                });
                let many: Vec<u32> = many.try_collect(scope.cx()).await?;
                let few = slow.join(scope.cx()).await.into_result().unwrap();
                assert_eq!(few, (0..30).step_by(5).collect::<Vec<_>>());
                assert_eq!(many, (0..30).filter(|n| n % 5 != 0).collect::<Vec<_>>());
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_side_that_has_gone_holds_up_nobody() {
    under_seeds(SEEDS, async |cx: Cx| {
        let options = PartitionOptions::new(1).when_full(WhenFull::Wait);
        let (even, odd) = iter(0..20_u32).partition(&cx, options, |n| n % 2 == 0);
        let mut even = pin!(even);
        assert_eq!(even.try_next(&cx).await, Ok(Some(0)));
        // The other side holds one and has no room for the next.
        let mut next = pin!(even.try_next(&cx));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(odd);
        assert_eq!(next.await, Ok(Some(2)));
        let rest: Vec<u32> = even.try_collect(&cx).await.unwrap();
        assert_eq!(rest, (4..20).step_by(2).collect::<Vec<_>>());
    });
}

#[test]
fn a_cancelled_side_ends_nothing_for_the_other() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(1);
                let source = receiver_stream(&cx, rx).map(|n| n.expect("the source hears nothing"));
                let options = PartitionOptions::new(8);
                let (even, odd) = source.partition(&cx, options, |n: &u32| n.is_multiple_of(2));
                let stopped = scope.spawn(async move |cx: Cx| {
                    let end: Result<Vec<u32>, PartitionError> = odd.try_collect(&cx).await;
                    end
                });
                cx.sleep(TICK).await?;
                stopped.cancel_with(CancelKind::User);
                let end = stopped.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                scope.spawn(async move |cx: Cx| {
                    for n in 0..10 {
                        tx.send(&cx, n).await.expect("a side is here");
                    }
                    Ok::<_, AppError>(())
                });
                let even: Vec<u32> = even.try_collect(scope.cx()).await?;
                assert_eq!(even, [0, 2, 4, 6, 8]);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_source_that_panics_ends_both_sides() {
    under_seeds(1, async |cx: Cx| {
        let source = iter(0..4_u32).map(|n| {
            if n == 2 {
                std::panic::resume_unwind(Box::new("two"));
            }
            n
        });
        let (even, odd) = source.partition(&cx, PartitionOptions::new(4), |n| n % 2 == 0);
        let even = std::panic::AssertUnwindSafe(even).catch_unwind();
        let even: Vec<_> = even.collect(&cx).await.unwrap();
        assert_eq!(even.len(), 2);
        assert!(even[0].is_ok() && even[1].is_err());
        let odd: Vec<u32> = odd.try_collect(&cx).await.unwrap();
        assert_eq!(odd, [1]);
    });
}

/// A side that waits in a task of its own for its next item, and what wakes it.
async fn is_woken_by<T, S>(cx: &Cx, waiting: S, event: impl FnOnce()) -> End<Option<T>>
where
    T: Send + 'static,
    S: asupersync_stream::Stream<Item = Result<T, PartitionError>> + Send + 'static,
{
    cx.region(async |scope| {
        let task = scope.spawn(async move |_: Cx| {
            let mut waiting = Box::pin(waiting);
            let next = futures_util::StreamExt::next(&mut waiting).await;
            Ok::<_, AppError>(next.transpose()?)
        });
        cx.sleep(TICK).await.expect("nobody cancels");
        assert!(!task.is_finished(), "it waits");
        event();
        // Without a wake the lab finds that nothing can happen any more.
        task.join(scope.cx()).await
    })
    .await
}

#[test]
fn a_side_that_waits_for_room_is_woken_when_there_is_some() {
    under_seeds(SEEDS, async |cx: Cx| {
        let options = PartitionOptions::new(2).when_full(WhenFull::Wait);
        let parts = || iter([1_u32, 3, 0, 2]).partition(&cx, options, |n| n % 2 == 0);
        let (even, odd) = parts();
        let mut odd = Box::pin(odd);
        let taken = is_woken_by(&cx, even, || {
            let mut task = std::task::Context::from_waker(std::task::Waker::noop());
            let one = asupersync_stream::Stream::poll_next(odd.as_mut(), &mut task);
            assert_eq!(one, std::task::Poll::Ready(Some(Ok(1))));
        });
        assert_eq!(taken.await, Outcome::Ok(Some(0)));
        let (even, odd) = parts();
        let gone = is_woken_by(&cx, even, || drop(odd));
        assert_eq!(gone.await, Outcome::Ok(Some(0)));
    });
}

#[test]
fn a_side_is_woken_for_an_item_that_the_other_found() {
    under_seeds(SEEDS, async |cx: Cx| {
        // A source that tells nobody that it has something.
        let ready = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_ready = std::sync::Arc::clone(&ready);
        let source = asupersync_stream::poll_fn(move |_| {
            match is_ready.swap(false, std::sync::atomic::Ordering::Relaxed) {
                true => std::task::Poll::Ready(Some(8_u32)),
                false => std::task::Poll::Pending,
            }
        });
        let options = PartitionOptions::new(2);
        let (even, odd) = source.partition(&cx, options, |n| n % 2 == 0);
        let mut odd = Box::pin(odd);
        let found = is_woken_by(&cx, even, || {
            ready.store(true, std::sync::atomic::Ordering::Relaxed);
            let mut task = std::task::Context::from_waker(std::task::Waker::noop());
            let none = asupersync_stream::Stream::poll_next(odd.as_mut(), &mut task);
            assert!(none.is_pending());
        });
        assert_eq!(found.await, Outcome::Ok(Some(8)));
    });
}
