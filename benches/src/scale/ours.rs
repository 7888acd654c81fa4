//! The rows on asupersync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_core::{CancelKind, Cancelled, IntoOutcome, Outcome};
use asupersync_kernel::{Cx, Scope};
use asupersync_sync::{Notify, mpsc};

use super::{Form, PAIRS, at_once};
use crate::compare::ours::{self as compare, park, parked};
use crate::kernel::ours as kernel;
use crate::meter::{Meter, Sample, Size, batches};
use crate::on_ours::{End, join_all, joined, on_worker, region, workload};
use crate::waiting::{WAKES_AT_ONCE, Waiting};

workload!(pairs, ops, cx, scope, {
    let rounds = ops / PAIRS;
    let pair = |_| {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        scope.spawn(async move |cx: Cx| {
            while let Ok(n) = pinged.recv(&cx).await {
                pong.send(&cx, n + 1).await.expect("the partner waits");
            }
            End::Ok(())
        });
        scope.spawn(async move |cx: Cx| {
            let mut sum = 0;
            for n in 0..rounds {
                ping.send(&cx, n).await.expect("the partner waits");
                sum += ponged.recv(&cx).await.expect("the partner answers") - n;
            }
            End::Ok(sum)
        })
    };
    let tasks = (0..PAIRS).map(pair).collect();
    assert_eq!(join_all(scope, tasks).await, rounds * PAIRS);
    cx.checkpoint()?;
});

/// A workload in a region in which as many tasks wait as are live.
macro_rules! beside {
    ($name:ident, $ops:ident, $cx:ident, $scope:ident, $body:block) => {
        pub(crate) fn $name(size: Size) -> Sample {
            on_worker(async move |cx: Cx| {
                region!(cx, async |scope: Scope<'_, Cancelled>| {
                    let ($scope, $cx) = (&scope, scope.cx());
                    let waiting = parked($scope, size.live, &Arc::default()).await;
                    let sample = batches(size, |$ops| async move { $body }).await;
                    waiting.iter().for_each(|task| task.cancel());
                    for task in waiting {
                        assert!(task.join($cx).await.is_cancelled());
                    }
                    End::Ok(sample)
                })
            })
        }
    };
}

beside!(spawn_one, ops, _cx, scope, {
    let mut sum = 0;
    for n in 0..ops {
        let task = scope.spawn(async move |_: Cx| End::Ok(n));
        sum += joined(scope, task).await;
    }
    assert_eq!(sum, ops * (ops - 1) / 2);
});

beside!(yield_one, ops, cx, _scope, {
    let mut yielded = 0;
    for _ in 0..ops {
        yielded += u64::from(cx.yield_now().await.is_ok());
    }
    assert_eq!(yielded, ops);
});

beside!(wake_one, ops, cx, scope, {
    let pair = Arc::new((Notify::new(), Notify::new()));
    let partner = Arc::clone(&pair);
    let task = scope.spawn(async move |cx: Cx| {
        for _ in 0..ops {
            partner.0.notified(&cx).await?;
            partner.1.notify_one();
        }
        End::Ok(ops)
    });
    for _ in 0..ops {
        pair.0.notify_one();
        pair.1.notified(cx).await.expect("nothing is cancelled");
    }
    assert_eq!(joined(scope, task).await, ops);
});

beside!(cancel_one, ops, cx, scope, {
    let waiting = Arc::new(AtomicU64::new(0));
    for _ in 0..ops {
        let counted = Arc::clone(&waiting);
        let task = scope.spawn(move |_: Cx| park(counted));
        while waiting.load(Ordering::Relaxed) == 0 {
            cx.yield_now().await.expect("nobody cancels this one");
        }
        task.cancel();
        assert!(task.join(cx).await.is_cancelled());
    }
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
});

/// Wakes that are spread over all tasks that wait, so that none is still in a cache.
pub(crate) fn wake_scattered(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        let waiting = Waiting::of(size.live);
        region!(cx, async |scope: Scope<'_, Cancelled>| {
            for place in 0..size.live {
                let wait = Waiting::wait(&waiting, place);
                scope.spawn(async move |_: Cx| {
                    wait.await;
                    End::Ok(())
                });
            }
            let cx = scope.cx();
            polled(cx, &waiting, size.live).await;
            let waiting = &waiting;
            let sample = batches(size, |ops| async move {
                let mut place = 0;
                for _ in 0..ops / WAKES_AT_ONCE {
                    let polls = waiting.wake_some(&mut place);
                    polled(cx, waiting, polls).await;
                }
            });
            let sample = sample.await;
            waiting.end();
            End::Ok(sample)
        })
    })
}

async fn polled(cx: &Cx, waiting: &Waiting, polls: u64) {
    while waiting.polls() < polls {
        cx.yield_now().await.expect("nothing is cancelled");
    }
}

pub(crate) fn spawn_all(size: Size) -> Sample {
    kernel::spawn_join_many(size.all_live())
}

pub(crate) fn cancel_all(size: Size) -> Sample {
    at_once(size)
        .map(compare::cancel_group)
        .fold(Sample::default(), Sample::and)
}

pub(crate) fn timer(size: Size) -> Sample {
    compare::timer_among(size, size.live)
}

pub(crate) fn timers_firing(size: Size) -> Sample {
    compare::timers_firing(size.all_live())
}

/// Regions that open, are all open at once, and close when the innermost end; an operation is a region.
pub(crate) fn regions(size: Size, form: fn(u64) -> Form) -> Sample {
    on_worker(async move |cx: Cx| {
        let form = form(size.live);
        let size = Size {
            live: form.regions(),
            ..size
        };
        batches(size.all_live(), |_| async {
            let ends = Arc::new(Ends::default());
            let closed = region!(cx, async |scope: Scope<'_, Cancelled>| {
                let chain = |_| {
                    let ends = Arc::clone(&ends);
                    scope.spawn(move |cx| link(cx, form, ends))
                };
                let chains: Vec<_> = (0..form.wide).map(chain).collect();
                ends.all.notified(scope.cx()).await?;
                ends.open.notify_waiters();
                End::Ok(join_all(&scope, chains).await)
            });
            assert_eq!(closed, form.regions());
        })
        .await
    })
}

/// Regions that are all open, from the request at the outermost until it has closed.
pub(crate) fn cancelled(size: Size, form: fn(u64) -> Form) -> Sample {
    on_worker(async move |cx: Cx| {
        let form = form(size.live);
        let size = Size {
            live: form.regions(),
            ..size
        };
        let mut sum = Sample::default();
        for size in at_once(size) {
            let ends = Arc::new(Ends::default());
            let mut meter = None;
            let end = cx
                .region(async |scope: Scope<'_, Cancelled>| {
                    for _ in 0..form.wide {
                        let ends = Arc::clone(&ends);
                        scope.spawn(move |cx| link(cx, form, ends));
                    }
                    ends.all.notified(scope.cx()).await?;
                    meter = Some(Meter::start());
                    scope.cancel(CancelKind::User);
                    End::Ok(())
                })
                .await;
            sum = sum.and(meter.expect("the body ran to its end").stop(size.ops));
            assert!(!matches!(end, Outcome::Panicked(_)));
            assert_eq!(ends.left.load(Ordering::Relaxed), form.wide);
        }
        sum
    })
}

/// The innermost ends of the chains.
#[derive(Default)]
struct Ends {
    reached: AtomicU64,
    left: AtomicU64,
    /// Tells that the last one is reached.
    all: Notify,
    open: Notify,
}

impl Ends {
    /// Waits in an end until all may leave; `ends` of them wait at last.
    async fn wait(&self, cx: &Cx, ends: u64) -> End<()> {
        // It is told of whatever comes from here on, so whoever opens need not wait for its first poll.
        let opened = self.open.notified(cx);
        if self.reached.fetch_add(1, Ordering::AcqRel) + 1 == ends {
            self.all.notify_one();
        }
        let opened = opened.await;
        self.left.fetch_add(1, Ordering::Relaxed);
        opened
    }
}

/// Opens a region with the rest of the chain in it; gives the regions that have closed.
#[expect(
    clippy::manual_async_fn,
    reason = "only the written bound tells the compiler that the recursion is `Send`"
)]
fn link(
    cx: Cx,
    form: Form,
    ends: Arc<Ends>,
) -> impl Future<Output = Outcome<u64, Cancelled>> + Send {
    async move {
        let Some(rest) = form.below() else {
            return ends.wait(&cx, form.wide).await.map(|()| 0).into_outcome();
        };
        let closed = cx.region(async |scope: Scope<'_, Cancelled>| {
            let below = scope.spawn(move |cx| link(cx, rest, ends));
            below.join(scope.cx()).await
        });
        closed.await.map(|below| below + 1)
    }
}
