//! The floor of rows in which every live task takes part: futures on the heap and one queue, on one thread.
//!
//! It knows no cancellation, no handle and no second worker; what it takes longer for many than for few, the machine takes: its caches, its memory, its allocator.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

use super::at_once;
use crate::meter::{Meter, Sample, Size, batches_blocking};
use crate::waiting::{WAKES_AT_ONCE, Waiting};

/// Wakes that are spread over all tasks that wait.
pub(crate) fn wake_scattered(size: Size) -> Sample {
    let waiting = Waiting::of(size.live);
    let queue = Queue::default();
    for place in 0..size.live {
        queue.spawn(Waiting::wait(&waiting, place));
    }
    queue.run();
    let sample = batches_blocking(size, |ops| {
        let mut place = 0;
        for _ in 0..ops / WAKES_AT_ONCE {
            let polls = waiting.wake_some(&mut place);
            queue.run();
            assert_eq!(waiting.polls(), polls);
        }
    });
    waiting.end();
    queue.run();
    sample
}

/// Tasks that all exist before the first has its turn.
pub(crate) fn spawn_all(size: Size) -> Sample {
    batches_blocking(size.all_live(), |ops| {
        let (queue, sum) = (Queue::default(), Arc::new(AtomicU64::new(0)));
        for n in 0..ops {
            let sum = Arc::clone(&sum);
            queue.spawn(async move {
                sum.fetch_add(n, Ordering::Relaxed);
            });
        }
        queue.run();
        assert_eq!(sum.load(Ordering::Relaxed), ops * (ops - 1) / 2);
    })
}

/// Tasks that wait, each of which is dropped where it stands.
pub(crate) fn cancel_all(size: Size) -> Sample {
    let dropped = at_once(size).map(|size| {
        let queue = Queue::default();
        let tasks: Vec<_> = (0..size.ops).map(|_| queue.spawn(pending())).collect();
        queue.run();
        let meter = Meter::start();
        for task in tasks {
            assert!(task.future.lock().take().is_some(), "it waits");
        }
        meter.stop(size.ops)
    });
    dropped.fold(Sample::default(), Sample::and)
}

/// Tasks whose turn it is.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<VecDeque<Arc<Task>>>>);

struct Task {
    /// Nothing once it has ended.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queue: Queue,
}

impl Queue {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
        let task = Arc::new(Task {
            future: Mutex::new(Some(Box::pin(future))),
            queue: self.clone(),
        });
        self.push(Arc::clone(&task));
        task
    }

    /// Gives turns until it is empty.
    fn run(&self) {
        while let Some(task) = self.pop() {
            let waker = Waker::from(Arc::clone(&task));
            let mut future = task.future.lock();
            let end = future.as_mut().map(|future| {
                let mut context = Context::from_waker(&waker);
                future.as_mut().poll(&mut context)
            });
            if end.is_some_and(|end| end.is_ready()) {
                *future = None;
            }
        }
    }

    fn push(&self, task: Arc<Task>) {
        self.0.lock().push_back(task);
    }

    fn pop(&self) -> Option<Arc<Task>> {
        self.0.lock().pop_front()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(Arc::clone(self));
    }
}
