//! Running a workload on tokio: multi-thread runtime, or that of the current thread, as its users would write it.

use tokio::task::JoinHandle;

use crate::meter::Sample;
use crate::shape::{self, Shape};

/// Runs the workload as a task of a fresh runtime.
pub(crate) fn on_worker<Fut>(workload: Fut) -> Sample
where
    Fut: Future<Output = Sample> + Send + 'static,
{
    let mut builder = match shape::get() {
        Shape::Workers(_) => ::tokio::runtime::Builder::new_multi_thread(),
        Shape::Single => ::tokio::runtime::Builder::new_current_thread(),
    };
    builder.worker_threads(shape::get().workers()).enable_all();
    let runtime = builder.build().expect("the machine starts as many threads");
    let task = runtime.spawn(workload);
    runtime
        .block_on(task)
        .expect("the workload neither panics nor is aborted")
}

/// Joins tasks that end well; the sum of what they gave.
pub(crate) async fn join_all(tasks: impl Iterator<Item = JoinHandle<u64>>) -> u64 {
    let tasks: Vec<JoinHandle<u64>> = tasks.collect();
    let mut sum = 0;
    for task in tasks {
        sum += joined(task).await;
    }
    sum
}

/// Joins a task that ends well.
pub(crate) async fn joined<T>(task: JoinHandle<T>) -> T {
    task.await.expect("the task neither panics nor is aborted")
}
