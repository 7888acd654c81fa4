//! What a reader sees of a stream whose context must stop: never an end like any other.

use std::pin::pin;

use asupersync_core::{CancelKind, Cancelled, Outcome, Time};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_stream::{
    Rate, Stream, StreamExt, TryStreamExt, Windows, broadcast_stream, interval_stream, iter,
    pending, receiver_stream, repeat, unbounded_stream, watch_stream,
};
use asupersync_sync::{broadcast, mpsc, watch};
use asupersync_time::interval;

use crate::support::{AppError, End, FOREVER, SEEDS, TICK, under_seeds};

type Never = std::convert::Infallible;

/// Runs `body` in a region whose body must stop.
async fn cancelled<F>(cx: &Cx, body: F)
where
    F: AsyncFnOnce(&Cx),
{
    let end = cx
        .region(async |scope: Scope<'_, Never>| {
            scope.cancel(CancelKind::User);
            body(scope.cx()).await;
            Outcome::Ok(())
        })
        .await;
    assert!(end.is_ok(), "{end:?}");
}

/// Everything that a stream gives to a wait that is not ours.
async fn all<S: Stream>(stream: S) -> Vec<S::Item> {
    futures_util::StreamExt::collect(stream).await
}

/// A source that says `Err` once, and then ends.
async fn check_source<T, E>(cx: &Cx, stream: impl Stream<Item = Result<T, E>>)
where
    T: std::fmt::Debug,
    E: std::error::Error + 'static,
{
    cancelled(cx, async |_: &Cx| {
        let given = all(stream).await;
        assert_eq!(given.len(), 1, "{given:?}");
        let error = given[0].as_ref().expect_err("it says so");
        assert!(Cancelled::find_in(error).is_some(), "{error:?}");
    })
    .await;
}

#[test]
fn every_source_says_once_that_it_was_cut_short() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = mpsc::channel(2);
        tx.try_send(1).unwrap();
        check_source(&cx, receiver_stream(&cx, rx)).await;
        let (tx, rx) = mpsc::unbounded_channel();
        tx.send(1).unwrap();
        check_source(&cx, unbounded_stream(&cx, rx)).await;
        let (tx, rx) = broadcast::channel(2);
        tx.send(1).unwrap();
        check_source(&cx, broadcast_stream(&cx, rx)).await;
        let (_tx, rx) = watch::channel(1);
        check_source(&cx, watch_stream(&cx, rx)).await;
        check_source(&cx, interval_stream(interval(&cx, TICK))).await;
    });
}

/// A source that says `Err`, and goes on behind a shield.
async fn check_resumes<T, E>(cx: &Cx, stream: impl Stream<Item = Result<T, E>>)
where
    T: std::fmt::Debug,
    E: std::fmt::Debug,
{
    let mut stream = pin!(stream);
    cancelled(cx, async |cx: &Cx| {
        let told = futures_util::StreamExt::next(&mut stream).await;
        assert!(matches!(told, Some(Err(_))), "{told:?}");
        assert!(futures_util::StreamExt::next(&mut stream).await.is_none());
        let kept = cx.shield(futures_util::StreamExt::next(&mut stream)).await;
        assert!(matches!(kept, Some(Ok(_))), "{kept:?}");
        let told = futures_util::StreamExt::next(&mut stream).await;
        assert!(matches!(told, Some(Err(_))), "{told:?}");
    })
    .await;
    // And for a reader that need not stop.
    let next = stream.next(cx).await.expect("nobody cancels");
    assert!(matches!(next, Some(Ok(_))), "{next:?}");
}

#[test]
fn a_source_goes_on_where_its_reader_need_not_stop() {
    under_seeds(1, async |cx: Cx| {
        let (tx, rx) = mpsc::channel(2);
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        check_resumes(&cx, receiver_stream(&cx, rx)).await;
        let (tx, rx) = mpsc::unbounded_channel();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        check_resumes(&cx, unbounded_stream(&cx, rx)).await;
        let (tx, rx) = broadcast::channel(2);
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        check_resumes(&cx, broadcast_stream(&cx, rx)).await;
        check_resumes(&cx, interval_stream(interval(&cx, TICK))).await;
    });
}

/// An item, and then a source that hears of cancellation.
fn one_and_waiting<'a>(cx: &'a Cx) -> impl Stream<Item = Result<Time, Cancelled>> + 'a {
    let mut ticks = interval(cx, FOREVER);
    ticks.reset();
    iter([Ok(Time::from_nanos(7))]).chain(interval_stream(ticks))
}

/// What an adaptor holds is given, and then what its source says.
async fn check_adaptor<T>(
    cx: &Cx,
    adaptor: impl Stream<Item = T>,
    flatten: impl Fn(T) -> Vec<Result<Time, Cancelled>>,
) {
    let mut adaptor = pin!(adaptor);
    let waits = futures_util::poll!(futures_util::StreamExt::next(&mut adaptor));
    let mut given: Vec<_> = match waits {
        std::task::Poll::Ready(Some(item)) => flatten(item),
        std::task::Poll::Ready(None) => panic!("it ended"),
        std::task::Poll::Pending => Vec::new(),
    };
    let start = cx.now();
    cancelled(cx, async |_: &Cx| {
        given.extend(all(adaptor).await.into_iter().flat_map(&flatten));
    })
    .await;
    assert_eq!(cx.now(), start, "nobody waits for time any more");
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(given[0], Ok(Time::from_nanos(7)));
    assert!(given[1].is_err());
}

#[test]
fn an_adaptor_of_time_lets_go_what_it_holds_and_then_says_what_its_source_says() {
    under_seeds(1, async |cx: Cx| {
        let one = || one_and_waiting(&cx);
        let rate = Rate::new(1, FOREVER);
        check_adaptor(&cx, one().throttle(&cx, FOREVER), |item| vec![item]).await;
        check_adaptor(&cx, one().rate_limited(&cx, rate), |item| vec![item]).await;
        check_adaptor(&cx, one().chunks_timeout(&cx, 9, FOREVER), |items| items).await;
        check_adaptor(
            &cx,
            one().window_timed(&cx, Windows::tumbling(FOREVER)),
            |window| window.items,
        )
        .await;
        check_adaptor(&cx, one().timeout_each(&cx, FOREVER), |item| {
            vec![item.expect("a cancellation is not a late item")]
        })
        .await;
    });
}

#[test]
fn a_debounce_lets_its_item_go_or_the_cancellation_supersede_it() {
    under_seeds(1, async |cx: Cx| {
        let stream = one_and_waiting(&cx).debounce(&cx, FOREVER);
        let mut stream = pin!(stream);
        let waits = futures_util::poll!(futures_util::StreamExt::next(&mut stream));
        assert!(waits.is_pending());
        cancelled(&cx, async |_: &Cx| {
            let given = all(stream.as_mut()).await;
            assert!(given.last().is_some_and(Result::is_err), "{given:?}");
            let count = given.len() as u64 + stream.superseded();
            assert_eq!(count, 2);
        })
        .await;
    });
}

#[test]
fn a_wait_of_ours_fails_on_streams_that_hear_of_nothing() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| {
                    let mut never = pending::<u32>();
                    let first = never.next(&cx).await;
                    assert!(first.is_err(), "woken by the request");
                    assert!(never.next(&cx).await.is_err(), "and again");
                    let mut never = pending::<Result<u32, AppError>>();
                    assert!(never.try_next(&cx).await.is_err());
                    Ok::<_, AppError>(())
                });
                cx.sleep(TICK).await?;
                task.cancel();
                let end = task.join(scope.cx()).await;
                assert_eq!(end, Outcome::Ok(()));
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_stream_that_is_always_ready_does_not_keep_its_reader_from_being_stopped() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        cx.region(async |scope| {
            let reader = scope.spawn(async |cx: Cx| {
                let never = repeat(1).for_each(&cx, async |_| {}).await;
                never.map_err(AppError::from)
            });
            // The root and the reader share one thread.
            for _ in 0..3 {
                cx.yield_now().await?;
            }
            reader.cancel();
            let end = reader.join(scope.cx()).await;
            assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
            Ok::<_, AppError>(())
        })
        .await
    });
    report.assert_clean();
    assert!(report.outcome.is_ok());
}

#[test]
fn a_cancelled_task_that_reads_with_question_marks_ends_as_cancelled() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel::<u32>(1);
                let task = scope.spawn(async move |cx: Cx| {
                    let stream = receiver_stream(&cx, rx).err_into::<AppError>();
                    stream.try_for_each(&cx, async |_| Ok(())).await
                });
                cx.sleep(TICK).await?;
                task.cancel();
                let end = task.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                drop(tx);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_cancellation_is_not_told_as_a_late_item() {
    under_seeds(1, async |cx: Cx| {
        let mut late = pin!(pending::<u32>().timeout_each(&cx, TICK));
        let waits = futures_util::poll!(futures_util::StreamExt::next(&mut late));
        assert!(waits.is_pending());
        cancelled(&cx, async |cx: &Cx| {
            // The source hears of nothing, so it is for the wait to say it.
            let waits = futures_util::poll!(futures_util::StreamExt::next(&mut late));
            assert!(waits.is_pending());
            assert!(late.next(cx).await.is_err());
        })
        .await;
        assert!(matches!(late.next(&cx).await, Ok(Some(Err(_)))));
    });
}

#[test]
fn what_is_held_is_let_go_also_over_a_source_that_hears_of_nothing() {
    under_seeds(1, async |cx: Cx| {
        let source = || iter([1_u32]).chain(pending());
        let mut chunks = pin!(source().chunks_timeout(&cx, 9, FOREVER));
        let mut quiet = pin!(source().debounce(&cx, FOREVER));
        let windows = Windows::tumbling(FOREVER);
        let mut windows = pin!(source().window_timed(&cx, windows).map(|w| w.items));
        macro_rules! polls {
            ($($stream:ident),*) => {
                ($(futures_util::poll!(futures_util::StreamExt::next(&mut $stream))),*)
            };
        }
        use std::task::Poll::{Pending, Ready};
        assert_eq!(polls!(chunks, quiet, windows), (Pending, Pending, Pending));
        cancelled(&cx, async |_: &Cx| {
            let all = (Ready(Some(vec![1])), Ready(Some(1)), Ready(Some(vec![1])));
            assert_eq!(polls!(chunks, quiet, windows), all);
            assert_eq!(polls!(chunks, quiet, windows), (Pending, Pending, Pending));
        })
        .await;
    });
}
