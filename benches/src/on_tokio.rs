//! Running a workload on tokio: multi-thread runtime, two workers, as its users would write it.

use tokio::task::JoinHandle;

use crate::WORKERS;
use crate::meter::Sample;

/// Runs the workload as a task on a worker of a fresh runtime.
pub(crate) fn on_worker<Fut>(workload: Fut) -> Sample
where
    Fut: Future<Output = Sample> + Send + 'static,
{
    let mut builder = ::tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_time().build();
    let runtime = runtime.expect("the machine starts two threads");
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
