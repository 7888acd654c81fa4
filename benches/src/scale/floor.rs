//! The floor of rows in which every live task takes part: futures on the heap and one queue, on one thread.
//!
//! It knows no cancellation, no handle and no second worker; what it takes longer for many than for few, the machine takes: its caches, its memory, its allocator.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::{Form, at_once};
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

/// Chains of tasks that each wait for the end of the next, and end when the last of all may.
pub(crate) fn regions(size: Size, form: fn(u64) -> Form) -> Sample {
    let (form, size) = of_form(size, form);
    batches_blocking(size.all_live(), |_| {
        let chains = Chains::start(form);
        chains.open.end();
        chains.queue.run();
        assert_eq!(chains.ended.load(Ordering::Relaxed), form.regions());
    })
}

/// Such chains, each task of which is dropped where it stands, the outermost first.
pub(crate) fn cancelled(size: Size, form: fn(u64) -> Form) -> Sample {
    let (form, size) = of_form(size, form);
    let dropped = at_once(size).map(|size| {
        let chains = Chains::start(form);
        let meter = Meter::start();
        let tasks = std::mem::take(&mut *chains.tasks.lock());
        for task in &tasks {
            assert!(task.future.lock().take().is_some(), "it waits");
        }
        drop(tasks);
        meter.stop(size.ops)
    });
    dropped.fold(Sample::default(), Sample::and)
}

fn of_form(size: Size, form: fn(u64) -> Form) -> (Form, Size) {
    let form = form(size.live);
    let live = form.regions();
    (form, Size { live, ..size })
}

/// Chains of tasks, a task for each region.
#[derive(Default)]
struct Chains {
    queue: Queue,
    /// Those that wait, the outermost of a chain first.
    tasks: Mutex<Vec<Arc<Task>>>,
    ended: AtomicU64,
    open: Signal,
}

impl Chains {
    /// All of them, up to the wait of the innermost.
    fn start(form: Form) -> Arc<Self> {
        let chains = Arc::<Self>::default();
        for _ in 0..form.wide {
            chains.spawn(form.deep, Signal::default());
        }
        chains.queue.run();
        chains
    }

    /// A chain of that many tasks, the first of which tells of its end.
    fn spawn(self: &Arc<Self>, deep: u64, end: Signal) {
        let chains = Arc::clone(self);
        let task = self.queue.spawn(async move {
            if deep == 1 {
                chains.open.wait().await;
            } else {
                let below = Signal::default();
                chains.spawn(deep - 1, below.clone());
                below.wait().await;
            }
            chains.ended.fetch_add(1, Ordering::Relaxed);
            end.end();
        });
        self.tasks.lock().push(task);
    }
}

/// Something that ends once, and those who wait for it.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<Waiters>>);

#[derive(Default)]
struct Waiters {
    has_ended: bool,
    wakers: Vec<Waker>,
}

impl Signal {
    fn end(&self) {
        let wakers = {
            let mut waiters = self.0.lock();
            waiters.has_ended = true;
            std::mem::take(&mut waiters.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let signal = Arc::clone(&self.0);
        poll_fn(move |task| {
            let mut waiters = signal.lock();
            if waiters.has_ended {
                return Poll::Ready(());
            }
            waiters.wakers.push(task.waker().clone());
            Poll::Pending
        })
    }
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
