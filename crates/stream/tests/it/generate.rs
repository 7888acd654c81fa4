//! Streams written as async code.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_stream::{StreamExt, TryStreamExt, generate, try_generate};

use crate::support::{AppError, SEEDS, TICK, under_seeds};

#[test]
fn the_body_goes_no_further_than_its_reader_asks() {
    under_seeds(1, async |cx: Cx| {
        let made = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&made);
        let mut stream = pin!(generate(async move |mut out| {
            loop {
                let n = count.fetch_add(1, Ordering::Relaxed);
                out.yield_(n).await;
            }
        }));
        for n in 0..5 {
            assert_eq!(made.load(Ordering::Relaxed), n, "made ahead of the reader");
            assert_eq!(stream.next(&cx).await.unwrap(), Some(n));
        }
    });
}

#[test]
fn what_a_body_yields_comes_in_order_also_across_waits() {
    under_seeds(SEEDS, async |cx: Cx| {
        let stream = generate(async |mut out| {
            for n in 0..20_u32 {
                if n % 3 == 0 {
                    cx.sleep(TICK).await.unwrap();
                }
                out.yield_(n).await;
            }
        });
        let all: Vec<u32> = stream.collect(&cx).await.unwrap();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn an_item_whose_yield_was_dropped_is_given_before_the_end() {
    under_seeds(1, async |cx: Cx| {
        let mut stream = pin!(try_generate(async |mut out| {
            out.yield_(1).await;
            let left = futures_util::poll!(out.yield_(2));
            assert!(left.is_pending());
            Err::<(), _>(AppError::Failed(7))
        }));
        assert_eq!(stream.try_next(&cx).await, Ok(Some(1)));
        assert_eq!(stream.try_next(&cx).await, Ok(Some(2)));
        assert_eq!(stream.try_next(&cx).await, Err(AppError::Failed(7)));
        assert_eq!(stream.try_next(&cx).await, Ok(None));
    });
}

#[test]
fn a_yielder_in_another_task_reaches_the_stream() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end = cx
            .region(async |scope| {
                let (give, take) = std::sync::mpsc::channel();
                let mut stream = Box::pin(generate(async move |out| {
                    give.send(out).unwrap();
                    std::future::pending::<()>().await;
                }));
                assert!(futures_util::poll!(stream.next(scope.cx())).is_pending());
                let mut out = take.recv().unwrap();
                let writer = scope.spawn(async move |cx: Cx| {
                    for n in 0..3_u32 {
                        cx.sleep(TICK).await?;
                        out.yield_(n).await;
                    }
                    Ok::<(), Cancelled>(())
                });
                for n in 0..3 {
                    assert_eq!(stream.next(scope.cx()).await?, Some(n));
                }
                writer.join(scope.cx()).await.into_result().unwrap();
                Ok::<(), Cancelled>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_yielder_that_outlives_its_stream_is_let_go() {
    under_seeds(1, async |cx: Cx| {
        let mut kept = None;
        let mut stream = Box::pin(generate(async |out| {
            kept = Some(out);
        }));
        assert_eq!(stream.next(&cx).await.unwrap(), None::<u32>);
        drop(stream);
        let mut out = kept.take().unwrap();
        assert!(futures_util::poll!(out.yield_(1)).is_ready());
    });
}

#[test]
fn a_yield_below_wakers_of_its_own_is_woken() {
    under_seeds(SEEDS, async |cx: Cx| {
        // The body polls its yields below a combinator that polls only who was woken.
        let stream = generate(async |mut out| {
            let mut inner = futures_util::stream::FuturesUnordered::new();
            inner.push(async {
                for n in 0..10_u32 {
                    out.yield_(n).await;
                }
            });
            while futures_util::StreamExt::next(&mut inner).await.is_some() {}
        });
        let all: Vec<u32> = stream.collect(&cx).await.unwrap();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn a_dropped_stream_lets_its_yielder_go_although_the_body_had_not_ended() {
    under_seeds(SEEDS, async |cx: Cx| {
        let (give, take) = std::sync::mpsc::channel();
        let mut stream = Box::pin(generate(async move |out| {
            give.send(out).unwrap();
            std::future::pending::<()>().await;
        }));
        assert!(futures_util::poll!(stream.next(&cx)).is_pending());
        let mut out = take.recv().unwrap();
        let end = cx
            .region(async |scope| {
                let writer = scope.spawn(async move |_: Cx| {
                    out.yield_(1_u32).await;
                    Ok::<(), Cancelled>(())
                });
                cx.sleep(TICK).await?;
                drop(stream);
                writer.join(scope.cx()).await.into_result().unwrap();
                Ok::<(), Cancelled>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
