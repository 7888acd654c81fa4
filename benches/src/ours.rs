//! The rows on asupersync: production host, two workers, as its users would write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, JoinHandle, Scope};
use asupersync_runtime::RuntimeBuilder;

use crate::WORKERS;
use crate::meter::{Meter, Sample, Size, batches};
use crate::rows::sleep_ms;

type End<T> = Result<T, Cancelled>;
type Handle<T> = JoinHandle<T, Cancelled>;

/// Runs the workload as a task on a worker of a fresh runtime.
fn on_worker<F, Fut>(workload: F) -> Sample
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = Sample> + Send + 'static,
{
    let builder = RuntimeBuilder::new().worker_threads(WORKERS);
    let mut runtime = builder.build().expect("the machine starts two threads");
    let end = runtime.block_on(async |cx| {
        cx.region(async |scope| {
            let task = scope.spawn(async move |cx: Cx| End::Ok(workload(cx).await));
            task.join(scope.cx()).await.into_result()
        })
        .await
    });
    end.ok()
        .expect("the workload neither panics nor is cancelled")
}

/// Opens a region and gives what its body ends with.
macro_rules! region {
    ($cx:expr, $body:expr) => {
        $cx.region($body).await.ok().expect("nothing is cancelled")
    };
}

pub(crate) fn spawn_join_many(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum: u64 = region!(cx, async |scope| {
                    let tasks: Vec<Handle<u64>> = (0..ops)
                        .map(|n| scope.spawn(async move |_: Cx| End::Ok(n)))
                        .collect();
                    let mut sum = 0;
                    for task in tasks {
                        sum += joined(&scope, task).await;
                    }
                    End::Ok(sum)
                });
                assert_eq!(sum, ops * (ops - 1) / 2);
            }
        })
        .await
    })
}

pub(crate) fn spawn_join_one_by_one(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum: u64 = region!(cx, async |scope| {
                    let mut sum = 0;
                    for n in 0..ops {
                        let task = scope.spawn(async move |_: Cx| End::Ok(n));
                        sum += joined(&scope, task).await;
                    }
                    End::Ok(sum)
                });
                assert_eq!(sum, ops * (ops - 1) / 2);
            }
        })
        .await
    })
}

/// A binary tree of tasks, each joining its two children in a region of its own.
pub(crate) fn nested_spawn(size: Size) -> Sample {
    #[expect(
        clippy::manual_async_fn,
        reason = "only the written bound tells the compiler that the recursion is `Send`"
    )]
    fn node(cx: Cx, depth: u32) -> impl Future<Output = End<u64>> + Send {
        async move {
            if depth == 0 {
                return Ok(1);
            }
            let sum = region!(cx, async |scope| {
                let left = scope.spawn(move |cx: Cx| node(cx, depth - 1));
                let right = scope.spawn(move |cx: Cx| node(cx, depth - 1));
                End::Ok(1 + joined(&scope, left).await + joined(&scope, right).await)
            });
            Ok(sum)
        }
    }
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let depth = (ops + 1).ilog2() - 1;
                assert_eq!(node(cx.clone(), depth).await, Ok(ops));
            }
        })
        .await
    })
}

pub(crate) fn yield_2(size: Size) -> Sample {
    yielding(size, 2)
}

pub(crate) fn yield_1000(size: Size) -> Sample {
    yielding(size, 1000)
}

fn yielding(size: Size, tasks: u64) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let one = async move |cx: Cx| {
                    for _ in 0..ops / tasks {
                        cx.yield_now().await?;
                    }
                    End::Ok(ops / tasks)
                };
                let sum = region!(cx, async |scope| {
                    let tasks = (0..tasks).map(|_| scope.spawn(one)).collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
                assert_eq!(sum, ops);
            }
        })
        .await
    })
}

pub(crate) fn sleep_many(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum = region!(cx, async |scope| {
                    let tasks = (0..ops)
                        .map(|n| {
                            scope.spawn(async move |cx: Cx| {
                                cx.sleep(Duration::from_millis(sleep_ms(n))).await?;
                                End::Ok(1)
                            })
                        })
                        .collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
                assert_eq!(sum, ops);
            }
        })
        .await
    })
}

async fn join_all(scope: &Scope<'_, Cancelled>, tasks: Vec<Handle<u64>>) -> u64 {
    let mut sum = 0;
    for task in tasks {
        sum += joined(scope, task).await;
    }
    sum
}

async fn joined<T>(scope: &Scope<'_, Cancelled>, task: Handle<T>) -> T {
    match task.join(scope.cx()).await {
        Outcome::Ok(value) => value,
        other => panic!(
            "the task neither panics nor is cancelled, and not {:?}",
            other.severity()
        ),
    }
}
