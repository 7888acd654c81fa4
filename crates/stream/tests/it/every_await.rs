//! Every wait is cut short at every await: cancelled, dropped and unwound; and nothing is lost but what it says.

use std::cell::Cell;

use asupersync_core::{Cancelled, Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_lab::{Probe, every_await};
use asupersync_stream::{
    Sink, SinkError, SinkExt, Stream, StreamExt, TryStreamExt, generate, iter, receiver_stream,
    sender_sink,
};
use asupersync_sync::mpsc;

use crate::support::{AppError, End, Live, TICK};

const COUNT: u32 = 5;

/// Sends so many messages, waiting now and then.
async fn feed(cx: Cx, tx: mpsc::Sender<u32>) -> Result<(), AppError> {
    for n in 0..COUNT {
        if n % 2 == 1 {
            cx.sleep(TICK).await?;
        }
        if tx.send(&cx, n).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Probes an operation on a stream: what has passed and what is left are all the messages, in order.
macro_rules! reads {
    ($cx:ident, $probe:ident, |$inner:ident, $items:ident| $operation:expr) => {{
        let end: End = $cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(2);
                scope.spawn(async move |cx: Cx| feed(cx, tx).await);
                let mut source = receiver_stream(&$cx, rx);
                let passed = Cell::new(0);
                let count = |n: &u32| {
                    assert_eq!(*n, passed.replace(n + 1), "in order, and none left out");
                };
                let $items = (&mut source).inspect_ok(count);
                let end = $probe
                    .run_with(scope.cx(), |$inner: Cx| async move { $operation })
                    .await;
                let is_good = end.as_ref().is_some_and(Result::is_ok);
                assert!(is_good || $probe.was_interrupted(), "{end:?}");
                while let Some(n) = source.try_next(scope.cx()).await? {
                    assert_eq!(n, passed.replace(n + 1), "in order, and none left out");
                }
                assert_eq!(passed.get(), COUNT);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    }};
}

#[test]
fn next_is_cut_short() {
    every_await("StreamExt::next", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            let mut items = items;
            let mut count = 0;
            while let Some(item) = items.next(&cx).await? {
                count += u32::from(item.is_ok());
            }
            Ok::<_, Cancelled>(count)
        });
    });
}

#[test]
fn collect_is_cut_short() {
    every_await("StreamExt::collect", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| items.collect::<Vec<_>>(&cx).await);
    });
}

#[test]
fn fold_is_cut_short() {
    every_await("StreamExt::fold", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            let one_more = async |sum, _| {
                let _ = cx.yield_now().await;
                sum + 1
            };
            items.fold(&cx, 0, one_more).await
        });
    });
}

#[test]
fn for_each_is_cut_short() {
    every_await("StreamExt::for_each", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            let rest = async |_| {
                let _ = cx.sleep(TICK).await;
            };
            items.for_each(&cx, rest).await
        });
    });
}

#[test]
fn count_is_cut_short() {
    every_await("StreamExt::count", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| items.count(&cx).await);
    });
}

#[test]
fn any_is_cut_short() {
    every_await("StreamExt::any", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            items.any(&cx, async |n| n == Ok(COUNT - 1)).await
        });
    });
}

#[test]
fn all_is_cut_short() {
    every_await("StreamExt::all", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            items.all(&cx, async |n| n != Ok(COUNT - 1)).await
        });
    });
}

#[test]
fn try_next_is_cut_short() {
    every_await("TryStreamExt::try_next", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            let mut items = items;
            while items.try_next(&cx).await?.is_some() {}
            Ok::<_, Cancelled>(())
        });
    });
}

#[test]
fn try_collect_is_cut_short() {
    every_await("TryStreamExt::try_collect", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| items
            .try_collect::<Vec<_>>(&cx)
            .await);
    });
}

#[test]
fn try_fold_is_cut_short() {
    every_await("TryStreamExt::try_fold", async |cx: Cx, probe: Probe| {
        reads!(cx, probe, |cx, items| {
            let one_more = async |sum, _| {
                cx.yield_now().await?;
                Ok(sum + 1)
            };
            items.try_fold(&cx, 0, one_more).await
        });
    });
}

#[test]
fn try_for_each_is_cut_short() {
    every_await(
        "TryStreamExt::try_for_each",
        async |cx: Cx, probe: Probe| {
            reads!(cx, probe, |cx, items| {
                items
                    .try_for_each(&cx, async |_| cx.sleep(TICK).await)
                    .await
            });
        },
    );
}

/// Probes an operation into a channel: what was received, what is left in the source, and at most one item are all.
async fn writes<F>(cx: &Cx, probe: &Probe, lossy: u32, operation: F)
where
    F: AsyncFnOnce(Cx, &Cell<u32>, mpsc::Sender<u32>) -> Result<(), AppError>,
{
    let end: End = cx
        .region(async |scope| {
            let (tx, mut rx) = mpsc::channel(1);
            let reader = scope.spawn(async move |cx: Cx| {
                let mut seen = Vec::new();
                while let Ok(n) = rx.recv(&cx).await {
                    seen.push(n);
                    cx.sleep(TICK).await?;
                }
                Ok::<_, AppError>(seen)
            });
            let taken = Cell::new(0);
            let end = probe
                .run_with(scope.cx(), |cx: Cx| operation(cx, &taken, tx))
                .await;
            let is_whole = end == Some(Ok(()));
            assert!(is_whole || probe.was_interrupted(), "{end:?}");
            let seen = reader.join(scope.cx()).await.into_result();
            let seen = seen.expect("the reader reads to the end");
            let count = u32::try_from(seen.len()).expect("few items");
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "in order, each once");
            assert!(count <= taken.get() && taken.get() <= count + lossy);
            if is_whole {
                assert_eq!(count, COUNT);
            }
            Ok::<_, AppError>(())
        })
        .await;
    assert_eq!(end, Outcome::Ok(()));
}

/// The numbers, each counted when it is taken.
fn numbers(taken: &Cell<u32>) -> impl Stream<Item = u32> + Unpin {
    iter(0..COUNT).inspect(|_| taken.set(taken.get() + 1))
}

#[test]
fn forward_is_cut_short() {
    every_await("StreamExt::forward", async |cx: Cx, probe: Probe| {
        writes(&cx, &probe, 1, async |cx, taken, tx| {
            numbers(taken).forward(&cx, sender_sink(&cx, tx)).await?;
            Ok(())
        })
        .await;
    });
}

#[test]
fn try_forward_is_cut_short() {
    every_await("TryStreamExt::try_forward", async |cx: Cx, probe: Probe| {
        writes(&cx, &probe, 1, async |cx, taken, tx| {
            let sink = sender_sink(&cx, tx).sink_err_into::<AppError>();
            numbers(taken).map(Ok).try_forward(&cx, sink).await
        })
        .await;
    });
}

#[test]
fn ready_is_cut_short() {
    every_await("SinkExt::ready", async |cx: Cx, probe: Probe| {
        writes(&cx, &probe, 0, async |cx, taken, tx| {
            let mut sink = sender_sink(&cx, tx);
            while taken.get() < COUNT {
                let slot = sink.ready(&cx).await?;
                slot.send(taken.get())?;
                taken.set(taken.get() + 1);
            }
            Ok(())
        })
        .await;
    });
}

#[test]
fn send_is_cut_short() {
    every_await("SinkExt::send", async |cx: Cx, probe: Probe| {
        writes(&cx, &probe, 1, async |cx, taken, tx| {
            let mut sink = sender_sink(&cx, tx);
            for n in 0..COUNT {
                taken.set(n + 1);
                sink.send(&cx, n).await?;
            }
            Ok(())
        })
        .await;
    });
}

#[test]
fn send_all_is_cut_short() {
    every_await("SinkExt::send_all", async |cx: Cx, probe: Probe| {
        let end: End = cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(1);
                let taken = Cell::new(0);
                let reader = scope.spawn(async move |cx: Cx| {
                    let slowly = receiver_stream(&cx, rx).throttle(&cx, TICK);
                    let all: Result<Vec<u32>, Cancelled> = slowly.try_collect(&cx).await;
                    all
                });
                let mut items = numbers(&taken).peekable();
                {
                    let mut sink = sender_sink(&cx, tx);
                    let (sink, items) = (&mut sink, &mut items);
                    probe
                        .run_with(scope.cx(), |cx: Cx| async move {
                            sink.send_all(&cx, items).await
                        })
                        .await;
                }
                let seen = reader.join(scope.cx()).await.into_result().unwrap();
                let rest: Vec<u32> = items.collect(scope.cx()).await?;
                // Not even one is lost.
                assert_eq!([seen, rest].concat(), (0..COUNT).collect::<Vec<_>>());
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

/// A sink with items that wait to be passed on.
async fn filled(cx: &Cx, tx: mpsc::Sender<u32>) -> impl Sink<u32, Error = AppError> + Unpin {
    let sink = sender_sink(cx, tx).sink_err_into::<AppError>();
    let mut sink = SinkExt::<u32>::buffer(sink, 4);
    for n in 0..3 {
        let slot = sink.ready(cx).await.expect("there is room");
        slot.send(n).expect("the receiver is here");
    }
    sink
}

/// Probes an operation that passes on what is in a sink: it stays there, and can be passed on again.
macro_rules! passes_on {
    ($cx:ident, $probe:ident, |$inner:ident, $sink:ident| $operation:expr) => {{
        let end: End = $cx
            .region(async |scope| {
                let (tx, rx) = mpsc::channel(1);
                let reader = scope.spawn(async move |cx: Cx| {
                    let slowly = receiver_stream(&cx, rx).throttle(&cx, TICK);
                    let all: Result<Vec<u32>, Cancelled> = slowly.try_collect(&cx).await;
                    all
                });
                let mut sink = filled(&$cx, tx).await;
                {
                    let $sink = &mut sink;
                    $probe
                        .run_with(scope.cx(), |$inner: Cx| async move { $operation })
                        .await;
                }
                match sink.close(scope.cx()).await {
                    // It may be closed already.
                    Ok(()) | Err(AppError::Sink(SinkError::Closed)) => {}
                    Err(error) => return Err(error),
                }
                let seen = reader.join(scope.cx()).await.into_result().unwrap();
                assert_eq!(seen, [0, 1, 2]);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    }};
}

#[test]
fn flush_is_cut_short() {
    every_await("SinkExt::flush", async |cx: Cx, probe: Probe| {
        passes_on!(cx, probe, |cx, sink| SinkExt::<u32>::flush(sink, &cx).await);
    });
}

#[test]
fn close_is_cut_short() {
    every_await("SinkExt::close", async |cx: Cx, probe: Probe| {
        passes_on!(cx, probe, |cx, sink| SinkExt::<u32>::close(sink, &cx).await);
    });
}

#[test]
fn yield_is_cut_short() {
    every_await("Yielder::yield_", async |cx: Cx, probe: Probe| {
        // The yields are the operation, within the polls of the stream around them.
        let stream = generate(async |mut out| {
            let (cx, probe) = (&cx, &probe);
            let out = &mut out;
            let yields = async move {
                for n in 0..COUNT {
                    out.yield_(n).await;
                }
            };
            probe.run(cx, yields).await;
        });
        let all: Vec<u32> = stream.collect(&cx).await.unwrap();
        let count = u32::try_from(all.len()).unwrap();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
        assert!(count == COUNT || probe.was_interrupted());
    });
}

async fn work(cx: Cx, live: Live, n: u32) -> Result<u32, AppError> {
    let _guard = live.enter();
    let end = cx.sleep(TICK * (n % 3)).await;
    if end.is_err() {
        let _ = cx.shield(cx.sleep(TICK)).await;
    }
    end?;
    Ok(n)
}

/// Probes an operation that opens a region: nothing of it is left, and a whole one gives what is expected.
async fn tasks<T, F, Fut>(cx: &Cx, probe: &Probe, expected: End<T>, program: F)
where
    T: PartialEq + std::fmt::Debug,
    F: FnOnce(Cx, Live) -> Fut,
    Fut: Future<Output = End<T>>,
{
    let live = Live::default();
    let end = probe.run_with(cx, |cx| program(cx, live.clone())).await;
    assert_eq!(live.count(), 0, "a task outlived its region");
    match end {
        Some(end) if !probe.was_interrupted() => assert_eq!(end, expected),
        Some(end) => assert!(
            end == expected || end.severity() == Severity::Cancelled,
            "{end:?} after an interruption"
        ),
        None => assert!(probe.was_interrupted()),
    }
}

#[test]
fn for_each_concurrent_is_cut_short() {
    every_await(
        "StreamExt::for_each_concurrent",
        async |cx: Cx, probe: Probe| {
            tasks(&cx, &probe, Outcome::Ok(()), async |cx: Cx, live: Live| {
                let each = iter(0..COUNT).for_each_concurrent(&cx, 2, move |cx, n| {
                    let live = live.clone();
                    async move { work(cx, live, n).await.map(drop) }
                });
                each.await
            })
            .await;
        },
    );
}

#[test]
fn map_concurrent_is_cut_short() {
    every_await("StreamExt::map_concurrent", async |cx: Cx, probe: Probe| {
        let expected = Outcome::Ok((0..COUNT).collect::<Vec<_>>());
        tasks(&cx, &probe, expected, async |cx: Cx, live: Live| {
            let all = iter(0..COUNT);
            all.map_concurrent(&cx, 2, move |cx, n| work(cx, live.clone(), n))
                .await
        })
        .await;
    });
}

#[test]
fn try_for_each_concurrent_is_cut_short() {
    every_await(
        "TryStreamExt::try_for_each_concurrent",
        async |cx: Cx, probe: Probe| {
            let expected = Outcome::Err(AppError::Failed(7));
            tasks(&cx, &probe, expected, async |cx: Cx, live: Live| {
                let source = iter([Ok(1), Ok(2), Ok(50), Err(AppError::Failed(7)), Ok(3)]);
                let each = source.try_for_each_concurrent(&cx, 2, move |cx, n| {
                    let live = live.clone();
                    async move { work(cx, live, n).await.map(drop) }
                });
                each.await
            })
            .await;
        },
    );
}

#[test]
fn a_buffered_stream_is_cut_short() {
    // Its reader waits by `next`; what is cut short here are the tasks behind it.
    every_await("TryStreamExt::try_next", async |cx: Cx, probe: Probe| {
        for ordered in [true, false] {
            let expected = Outcome::Ok(10);
            tasks(&cx, &probe, expected, async |cx: Cx, live: Live| {
                cx.region(async |scope| {
                    let work = move |cx, n| work(cx, live.clone(), n);
                    let numbers = iter(0..COUNT);
                    let mut results = if ordered {
                        numbers.buffered(&scope, 2, work)
                    } else {
                        numbers.buffer_unordered(&scope, 2, work)
                    };
                    let mut sum = 0;
                    while let Some(n) = results.try_next(scope.cx()).await? {
                        sum += n;
                    }
                    Ok::<_, AppError>(sum)
                })
                .await
            })
            .await;
            if probe.was_interrupted() {
                break;
            }
        }
    });
}
