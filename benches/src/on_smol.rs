//! Running a workload on smol: one executor that its threads share, as smol's own `spawn` has it.

use smol::{Executor, Task};

use crate::meter::Sample;
use crate::shape;

static EXECUTOR: Executor<'static> = Executor::new();

/// Spawns onto the executor of all threads.
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
    EXECUTOR.spawn(task)
}

/// Runs the workload as a task on a thread of the executor.
pub(crate) fn on_worker<Fut>(workload: Fut) -> Sample
where
    Fut: Future<Output = Sample> + Send + 'static,
{
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let worker = || {
        let stopped = stopped.clone();
        std::thread::spawn(move || smol::block_on(EXECUTOR.run(stopped.recv())))
    };
    let workers: Vec<_> = (0..shape::get().workers()).map(|_| worker()).collect();
    let sample = smol::block_on(spawn(workload));
    drop(stop);
    for worker in workers {
        let end = worker.join().expect("the executor does not panic");
        assert!(end.is_err(), "nothing is sent, the channel closes");
    }
    sample
}

/// Awaits tasks that end well; the sum of what they gave.
pub(crate) async fn join_all(tasks: impl Iterator<Item = Task<u64>>) -> u64 {
    let tasks: Vec<Task<u64>> = tasks.collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await;
    }
    sum
}
