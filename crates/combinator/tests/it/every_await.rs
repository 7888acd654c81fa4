//! Every combinator is cut short at every await, and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use asupersync_combinator::{
    Attempt, Branches, Hedge, HedgeDelay, HedgeOptions, MapReduce, Pipeline, Rule, StageOptions,
    Verdict, bracket, fallback, first_ok, join, map_reduce, quorum, race, select, select_biased,
    settle, settle_with, try_join,
};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_lab::{Probe, every_await};
use asupersync_sync::Semaphore;

use crate::support::{AppError, End, Live, TICK, stubborn};

/// What the branches of a case work with, and what must be as before when it is over.
#[derive(Clone)]
pub(crate) struct Bench {
    /// Tasks of branches that are alive.
    live: Live,
    /// A permit that branches hold while they wait.
    permit: Arc<Semaphore>,
}

impl Bench {
    /// Waits for a lock and for time, in a task too; gives `value`.
    pub(crate) async fn work(&self, cx: &Cx, ticks: u32, value: u32) -> Result<u32, AppError> {
        cx.yield_now().await?;
        let Ok(permit) = self.permit.acquire(cx).await else {
            cx.checkpoint()?;
            return Err(AppError::Failed(99));
        };
        cx.sleep(TICK).await?;
        drop(permit);
        let spawned = stubborn(cx.clone(), self.live.clone(), TICK * ticks, TICK * 2).await;
        match spawned {
            Outcome::Ok(()) => Ok(value),
            Outcome::Err(error) => Err(error),
            Outcome::Cancelled(reason) => Err(asupersync_core::Cancelled::new(reason).into()),
            Outcome::Panicked(payload) => panic!("{payload}"),
        }
    }

    async fn work_owned(&self, cx: Cx, n: u32) -> Result<u32, AppError> {
        self.work(&cx, n, n).await
    }

    pub(crate) async fn fail(&self, cx: &Cx, ticks: u32) -> Result<u32, AppError> {
        let value = self.work(cx, ticks, ticks).await?;
        Err(AppError::Failed(value))
    }
}

/// Runs a case: what `program` gives, if it was left alone, is `expected`; nothing is left in any case.
///
/// The program runs in a region, which must close with everything that it had opened.
pub(crate) async fn case<T, E, F, Fut>(cx: &Cx, probe: &Probe, expected: Outcome<T, E>, program: F)
where
    T: PartialEq + std::fmt::Debug,
    E: PartialEq + std::fmt::Debug,
    F: FnOnce(Cx, Bench) -> Fut,
    Fut: Future<Output = Outcome<T, E>>,
{
    let bench = Bench {
        live: Live::default(),
        permit: Arc::new(Semaphore::new(1)),
    };
    let end = probe.run_with(cx, |cx| program(cx, bench.clone())).await;
    assert_eq!(
        bench.live.count(),
        0,
        "a task outlived the region around it"
    );
    let permits = bench.permit.available_permits();
    assert_eq!(permits, 1, "a branch took the permit along");
    match end {
        Some(end) if !probe.was_interrupted() => assert_eq!(end, expected),
        // Cut short at its last moment it may still have come to its end.
        Some(end) => assert!(
            end == expected || end.severity() == Severity::Cancelled,
            "{end:?} after an interruption"
        ),
        None => assert!(probe.was_interrupted()),
    }
    // The caller goes on as if nothing had been.
    assert!(bench.work(cx, 1, 5).await.is_ok());
}

/// A branch that works on a bench.
macro_rules! work {
    ($bench:ident, $ticks:expr, $value:expr) => {
        async |cx: Cx| $bench.work(&cx, $ticks, $value).await
    };
}

macro_rules! fail {
    ($bench:ident, $ticks:expr) => {
        async |cx: Cx| $bench.fail(&cx, $ticks).await
    };
}

#[test]
fn join_is_cut_short() {
    every_await("join", async |cx: Cx, probe: Probe| {
        case(
            &cx,
            &probe,
            Outcome::Ok((1, 2)),
            async |cx: Cx, bench: Bench| join(&cx, (work!(bench, 3, 1), work!(bench, 2, 2))).await,
        )
        .await;
    });
}

#[test]
fn join_of_many_is_cut_short() {
    every_await("join", async |cx: Cx, probe: Probe| {
        case(
            &cx,
            &probe,
            Outcome::Ok([4, 5, 6]),
            async |cx: Cx, bench: Bench| {
                join(
                    &cx,
                    [4, 5, 6].map(|n| {
                        let bench = &bench;
                        move |cx: Cx| bench.work_owned(cx, n)
                    }),
                )
                .await
            },
        )
        .await;
    });
}

#[test]
fn try_join_is_cut_short() {
    every_await("try_join", async |cx: Cx, probe: Probe| {
        let expected: End<(u32, u32)> = Outcome::Err(AppError::Failed(2));
        case(&cx, &probe, expected, async |cx: Cx, bench: Bench| {
            try_join(&cx, (work!(bench, 60, 1), fail!(bench, 2))).await
        })
        .await;
    });
}

#[test]
fn settle_is_cut_short() {
    every_await("settle", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(3), async |cx: Cx, bench: Bench| {
            let branches = (work!(bench, 3, 1), fail!(bench, 2));
            match settle(&cx, branches).await {
                Outcome::Ok((Outcome::Ok(1), Outcome::Err(AppError::Failed(2)))) => End::Ok(3),
                Outcome::Ok((first, second)) => {
                    assert!(first.is_cancelled() || second.is_cancelled());
                    if first.is_cancelled() { first } else { second }
                }
                bad => bad.map(|_| unreachable!()).map_err(|never| match never {}),
            }
        })
        .await;
    });
}

/// The first branch has the others cancelled.
struct WhileFirst;

impl Rule for WhileFirst {
    fn ended(&mut self, index: usize, _: Severity) -> Verdict {
        if index == 0 {
            Verdict::CancelRest(asupersync_core::CancelKind::RaceLost)
        } else {
            Verdict::Continue
        }
    }
}

async fn first_alone<O>(
    running: impl Future<Output = Outcome<(Outcome<u32, AppError>, O), std::convert::Infallible>>,
) -> End<u32> {
    match running.await {
        Outcome::Ok((first, _)) => first,
        bad => bad.map(|_| unreachable!()).map_err(|never| match never {}),
    }
}

#[test]
fn settle_with_is_cut_short() {
    every_await("settle_with", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(1), async |cx: Cx, bench: Bench| {
            let branches = (work!(bench, 3, 1), work!(bench, 60, 2));
            first_alone(settle_with(&cx, branches, &mut WhileFirst)).await
        })
        .await;
    });
}

#[test]
fn branches_are_cut_short() {
    every_await("Branches::run", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(1), async |cx: Cx, bench: Bench| {
            let branches = (work!(bench, 3, 1), work!(bench, 60, 2));
            first_alone(branches.run(&cx, &mut WhileFirst)).await
        })
        .await;
    });
}

#[test]
fn race_is_cut_short() {
    every_await("race", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(2), async |cx: Cx, bench: Bench| {
            race(&cx, (work!(bench, 60, 1), work!(bench, 2, 2))).await
        })
        .await;
    });
}

#[test]
fn select_is_cut_short() {
    every_await("select", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(1), async |cx: Cx, bench: Bench| {
            let branches = [60, 2, 50].map(|n| {
                let bench = &bench;
                move |cx: Cx| bench.work_owned(cx, n)
            });
            select(&cx, branches).await.map(|won| won.index)
        })
        .await;
    });
}

#[test]
fn select_biased_is_cut_short() {
    every_await("select_biased", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(1), async |cx: Cx, bench: Bench| {
            let branches = (work!(bench, 60, 1), work!(bench, 2, 2));
            select_biased(&cx, branches).await.map(|won| won.index)
        })
        .await;
    });
}

#[test]
fn first_ok_is_cut_short() {
    every_await("first_ok", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, Outcome::Ok(5), async |cx: Cx, bench: Bench| {
            first_ok(
                &cx,
                (fail!(bench, 2), work!(bench, 5, 5), work!(bench, 70, 7)),
            )
            .await
        })
        .await;
    });
}

#[test]
fn quorum_is_cut_short() {
    every_await("quorum", async |cx: Cx, probe: Probe| {
        case(
            &cx,
            &probe,
            Outcome::Ok(vec![2, 8]),
            async |cx: Cx, bench: Bench| {
                quorum(
                    &cx,
                    2,
                    [2, 60, 8].map(|n| {
                        let bench = &bench;
                        move |cx: Cx| bench.work_owned(cx, n)
                    }),
                )
                .await
            },
        )
        .await;
    });
}

#[test]
fn fallback_is_cut_short() {
    every_await("fallback", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(7), async |cx: Cx, bench: Bench| {
            fallback(&cx, fail!(bench, 2), async |cx: Cx, _| {
                bench.work(&cx, 3, 7).await
            })
            .await
        })
        .await;
    });
}

#[test]
fn hedge_is_cut_short() {
    every_await("Hedge::run", async |cx: Cx, probe: Probe| {
        let hedge = Hedge::new(HedgeOptions::new(HedgeDelay::Fixed(TICK * 2)).attempts_max(3));
        case(&cx, &probe, Outcome::Ok(1), async |cx: Cx, bench: Bench| {
            hedge
                .run(&cx, async |cx: Cx, attempt: Attempt| {
                    let ticks = if attempt.number() == 1 { 3 } else { 60 };
                    bench.work(&cx, ticks, attempt.number()).await
                })
                .await
        })
        .await;
    });
}

#[test]
fn bracket_releases_wherever_it_is_cut_short() {
    every_await("bracket", async |cx: Cx, probe: Probe| {
        let open = Arc::new(AtomicU32::new(0));
        let ever = AtomicU32::new(0);
        let released = Arc::new(AtomicU32::new(0));
        case(&cx, &probe, End::Ok(4), async |cx: Cx, bench: Bench| {
            let (count, done) = (open.clone(), released.clone());
            bracket(
                &cx,
                async |cx: Cx| {
                    bench.work(&cx, 1, 0).await?;
                    open.fetch_add(1, Ordering::Relaxed);
                    ever.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, AppError>(count.clone())
                },
                async |cx: Cx, held| {
                    let _held = held;
                    bench.work(&cx, 2, 4).await
                },
                async move |cx: Cx, count: Arc<AtomicU32>| {
                    cx.yield_now().await?;
                    cx.sleep(Duration::from_millis(2)).await?;
                    count.fetch_sub(1, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, AppError>(())
                },
            )
            .await
        })
        .await;
        assert_eq!(open.load(Ordering::Relaxed), 0, "acquired and not released");
        let (ever, released) = (
            ever.load(Ordering::Relaxed),
            released.load(Ordering::Relaxed),
        );
        assert_eq!(ever, released, "released as often as acquired");
    });
}

/// A stage's work, as a task must own it.
fn staged(bench: &Bench) -> impl Fn(Cx, u32) -> Staged + Clone + Send + Sync + 'static + use<> {
    let bench = bench.clone();
    move |cx, n| {
        let bench = bench.clone();
        Box::pin(async move { bench.work(&cx, n % 3 + 1, n).await })
    }
}

type Staged = std::pin::Pin<Box<dyn Future<Output = Result<u32, AppError>> + Send>>;

#[test]
fn map_reduce_is_cut_short() {
    for options in [MapReduce::new(), MapReduce::new().ordered()] {
        every_await("map_reduce", async |cx: Cx, probe: Probe| {
            case(&cx, &probe, End::Ok(10), async |cx: Cx, bench: Bench| {
                let sum = (0, |sum, n| sum + n);
                map_reduce(&cx, options.concurrency(2), 1..5, staged(&bench), sum).await
            })
            .await;
        });
    }
}

#[test]
fn a_pipeline_that_is_gathered_is_cut_short() {
    every_await("Pipeline::collect", async |cx: Cx, probe: Probe| {
        case(
            &cx,
            &probe,
            End::Ok(vec![1, 2, 3]),
            async |cx: Cx, bench: Bench| {
                Pipeline::from_iter(1..4)
                    .stage(StageOptions::new().concurrency(2), staged(&bench))
                    .collect(&cx)
                    .await
            },
        )
        .await;
    });
}

#[test]
fn a_pipeline_that_is_folded_is_cut_short() {
    every_await("Pipeline::fold", async |cx: Cx, probe: Probe| {
        case(&cx, &probe, End::Ok(6), async |cx: Cx, bench: Bench| {
            let options = StageOptions::new().concurrency(2).unordered();
            Pipeline::from_iter(1..4)
                .stage(options, staged(&bench))
                .fold(&cx, 0, |sum, n| sum + n)
                .await
        })
        .await;
    });
}

#[test]
fn a_pipeline_with_a_sink_is_cut_short() {
    every_await("Pipeline::for_each", async |cx: Cx, probe: Probe| {
        let mut seen = Vec::new();
        case(&cx, &probe, End::Ok(()), async |cx: Cx, bench: Bench| {
            Pipeline::from_iter(1..4)
                .stage(StageOptions::new(), staged(&bench))
                .for_each(&cx, |cx: Cx, n| {
                    seen.push(n);
                    async move {
                        cx.sleep(TICK).await?;
                        Ok::<_, AppError>(())
                    }
                })
                .await
        })
        .await;
        let whole: Vec<u32> = (1..4).collect();
        assert!(whole.starts_with(&seen), "in order, none twice: {seen:?}");
    });
}
