//! Running a workload on asupersync: production host, as its users would write it.

use std::sync::OnceLock;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, JoinHandle, Scope};
use asupersync_runtime::RuntimeBuilder;

use crate::meter::Sample;
use crate::shape;

pub(crate) type End<T> = Result<T, Cancelled>;
pub(crate) type Handle<T> = JoinHandle<T, Cancelled>;

/// Runs the workload as a task on a worker of a fresh runtime.
pub(crate) fn on_worker<F, Fut>(workload: F) -> Sample
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = Sample> + Send + 'static,
{
    let builder = BUILDER
        .get()
        .map_or_else(RuntimeBuilder::new, |make| make());
    let builder = builder.worker_threads(shape::get().workers());
    let mut runtime = builder.build().expect("the machine starts as many threads");
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

/// Chooses how the runtimes of this process are built, but for their workers; the first choice stays.
pub(crate) fn set_builder(make: fn() -> RuntimeBuilder) {
    BUILDER.get_or_init(|| make);
}

static BUILDER: OnceLock<fn() -> RuntimeBuilder> = OnceLock::new();

/// Opens a region and gives what its body ends with.
macro_rules! region {
    ($cx:expr, $body:expr) => {
        $cx.region($body).await.ok().expect("nothing is cancelled")
    };
}

pub(crate) use region;

/// A workload whose batches run one after another in a region each.
macro_rules! workload {
    ($name:ident, $ops:ident, $cx:ident, $scope:ident, $body:block) => {
        pub(crate) fn $name(size: $crate::meter::Size) -> $crate::meter::Sample {
            $crate::on_ours::on_worker(async move |cx: Cx| {
                $crate::meter::batches(size, |$ops| {
                    let cx = &cx;
                    async move {
                        $crate::on_ours::region!(cx, async |scope: Scope<'_, asupersync_core::Cancelled>| {
                            let ($scope, $cx) = (&scope, scope.cx());
                            $body
                            End::Ok(())
                        });
                    }
                })
                .await
            })
        }
    };
}

pub(crate) use workload;

/// Joins tasks that end well; the sum of what they gave.
pub(crate) async fn join_all(scope: &Scope<'_, Cancelled>, tasks: Vec<Handle<u64>>) -> u64 {
    let mut sum = 0;
    for task in tasks {
        sum += value_of(task.join(scope.cx()).await);
    }
    sum
}

/// Joins a task that ends well.
pub(crate) async fn joined<T>(scope: &Scope<'_, Cancelled>, task: Handle<T>) -> T {
    value_of(task.join(scope.cx()).await)
}

#[inline]
fn value_of<T>(end: Outcome<T, Cancelled>) -> T {
    let severity = end.severity();
    end.ok()
        .unwrap_or_else(|| panic!("the task neither panics nor is cancelled, and not {severity:?}"))
}
