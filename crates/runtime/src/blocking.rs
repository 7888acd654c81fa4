//! The pool of threads on which jobs may block.
//!
//! # Invariants
//! - A thread is started only if a job waits and every thread is busy.
//! - An idle thread sleeps, or one of them watches the queue for a moment; a job that it will see wakes nobody.
//! - A thread that has been idle for the keep-alive time ends, down to the minimum.
//! - A job that panics does not take its thread with it, and a thread that cannot be started leaves the job in the queue for the others; with no thread at all the job runs where it was submitted.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asupersync_core::Time;

use crate::clock::Clock;
use crate::spin::{Answer, Answers, WATCH, looks_again};

/// So many looks between two at the clock.
const LOOKS: u32 = 32;

type Job = Box<dyn FnOnce() + Send>;

/// The pool's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockingConfig {
    /// How many idle threads stay.
    pub threads_min: usize,
    /// How many threads there are at most.
    pub threads_max: usize,
    /// How long a thread above the minimum waits for a job before it ends.
    pub keep_alive: Duration,
}

impl Default for BlockingConfig {
    fn default() -> Self {
        Self {
            threads_min: 0,
            threads_max: 512,
            keep_alive: Duration::from_secs(10),
        }
    }
}

pub(crate) struct BlockingPool {
    shared: Arc<Shared>,
}

struct Shared {
    config: BlockingConfig,
    state: Mutex<State>,
    /// Whether there are jobs, as far as it can be told without the lock.
    has_jobs: AtomicBool,
    job_or_end: Condvar,
    thread_ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Whether one of those that are idle watches the queue.
    is_watched: bool,
    closed: bool,
    started: u64,
    failed_starts: u64,
}

impl BlockingPool {
    pub(crate) fn new(config: BlockingConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                state: Mutex::new(State::default()),
                has_jobs: AtomicBool::new(false),
                job_or_end: Condvar::new(),
                thread_ended: Condvar::new(),
            }),
        }
    }

    pub(crate) fn run(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        self.shared.has_jobs.store(true, Ordering::Relaxed);
        let waiting = state.jobs.len();
        if state.idle >= waiting {
            let is_seen = state.is_watched && waiting == 1;
            drop(state);
            if !is_seen {
                self.shared.job_or_end.notify_one();
            }
            return;
        }
        if state.threads >= self.shared.config.threads_max {
            return;
        }
        state.threads += 1;
        state.started += 1;
        drop(state);
        if !start_thread(&self.shared) {
            self.thread_not_started();
        }
    }

    /// Threads alive now, and how many were ever started.
    pub(crate) fn threads(&self) -> (usize, u64) {
        let state = self.shared.lock();
        (state.threads, state.started - state.failed_starts)
    }

    /// Tells the threads to end when the queue is empty, and waits for them.
    pub(crate) fn close(&self, timeout: Duration) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.job_or_end.notify_all();
        while state.threads > 0 {
            let (next, waited) = self
                .shared
                .thread_ended
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() {
                return;
            }
        }
    }

    fn thread_not_started(&self) {
        let mut state = self.shared.lock();
        state.threads -= 1;
        state.failed_starts += 1;
        if state.threads == 0 {
            // Nobody else will ever take it.
            let job = state.jobs.pop_front();
            drop(state);
            if let Some(job) = job {
                run_contained(job);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut answers = Answers::UNKNOWN;
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.has_jobs
                    .store(!state.jobs.is_empty(), Ordering::Relaxed);
                drop(state);
                run_contained(job);
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            if !state.is_watched && answers.are_worth_a_spin() {
                state.is_watched = true;
                drop(state);
                self.watch();
                state = self.lock();
                state.is_watched = false;
                state.idle -= 1;
                answers.note(match state.jobs.is_empty() {
                    true => Answer::None,
                    false => Answer::InTime,
                });
                // Whatever came meanwhile has woken nobody, also the end.
                continue;
            }
            let (next, waited) = self
                .job_or_end
                .wait_timeout(state, self.config.keep_alive)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            let surplus = state.threads > self.config.threads_min;
            if waited.timed_out() && surplus && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        drop(state);
        self.thread_ended.notify_all();
    }

    /// Returns when there are jobs, or have been none for a while.
    fn watch(&self) {
        let clock = Clock::new();
        let has_jobs = || self.has_jobs.load(Ordering::Relaxed);
        while !looks_again(LOOKS, has_jobs) && clock.now() < Time::ZERO + WATCH {}
    }
}

fn start_thread(shared: &Arc<Shared>) -> bool {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("asupersync-blocking".to_owned())
        .spawn(move || shared.work())
        .is_ok()
}

/// The kernel's jobs catch their own panics; this keeps the thread even if one's destructors panic.
fn run_contained(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(threads_max: usize, keep_alive_ms: u64) -> BlockingPool {
        let keep_alive = Duration::from_millis(keep_alive_ms);
        BlockingPool::new(BlockingConfig {
            threads_min: 0,
            threads_max,
            keep_alive,
        })
    }

    #[test]
    fn an_idle_thread_is_reused_before_another_is_started() {
        let pool = pool(8, 60_000);
        for _ in 0..5 {
            let (done, wait) = mpsc::channel();
            pool.run(Box::new(move || done.send(()).unwrap()));
            wait.recv().unwrap();
            while pool.shared.lock().idle == 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!(pool.threads(), (1, 1));
        pool.close(Duration::from_secs(5));
        assert_eq!(pool.threads().0, 0);
    }

    #[test]
    fn a_job_that_comes_as_a_watch_ends_is_run() {
        let pool = pool(1, 60_000);
        for round in 0..2_000_u32 {
            let (done, wait) = mpsc::channel();
            pool.run(Box::new(move || done.send(()).unwrap()));
            let answer = wait.recv_timeout(Duration::from_secs(20));
            assert_eq!(answer, Ok(()), "round {round}");
            if round > 64 {
                // By now it is watched; the next comes at any time from at once to after the end of the watch.
                let clock = Clock::new();
                let pause = WATCH * (round % 120) / 100;
                looks_again(u32::MAX, || clock.now() >= Time::ZERO + pause);
            }
        }
        assert_eq!(pool.threads(), (1, 1));
    }

    #[test]
    fn a_thread_that_watches_as_the_pool_is_closed_ends() {
        for _ in 0..100 {
            let pool = pool(1, 60_000);
            for _ in 0..12 {
                let (done, wait) = mpsc::channel();
                pool.run(Box::new(move || done.send(()).unwrap()));
                wait.recv().unwrap();
            }
            pool.close(Duration::from_secs(20));
            assert_eq!(pool.threads().0, 0);
        }
    }

    #[test]
    fn a_watched_queue_needs_no_further_thread() {
        let pool = pool(8, 60_000);
        let mut state = pool.shared.lock();
        state.threads = 1;
        state.idle = 1;
        state.is_watched = true;
        drop(state);
        pool.run(Box::new(|| {}));
        assert!(pool.shared.has_jobs.load(Ordering::Relaxed));
        assert_eq!(pool.shared.lock().jobs.len(), 1);
        assert_eq!(pool.threads(), (1, 0), "none was started");
        // The second is not for whoever watches.
        pool.run(Box::new(|| {}));
        assert_eq!(pool.threads().0, 2);
        pool.shared.lock().threads -= 1;
        pool.close(Duration::from_secs(5));
        assert_eq!(pool.threads().0, 0);
    }

    #[test]
    fn the_pool_grows_to_its_maximum_and_no_further() {
        let pool = pool(3, 60_000);
        let (done, wait) = mpsc::channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..10 {
            let (done, gate) = (done.clone(), Arc::clone(&gate));
            pool.run(Box::new(move || {
                let open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(open, |open| !*open).unwrap());
                done.send(()).unwrap();
            }));
        }
        assert_eq!(pool.threads(), (3, 3));
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for _ in 0..10 {
            wait.recv().unwrap();
        }
        pool.close(Duration::from_secs(5));
    }

    #[test]
    fn a_panicking_job_leaves_its_thread_to_the_next() {
        let pool = pool(1, 60_000);
        pool.run(Box::new(|| panic!("a job's panic")));
        let (done, wait) = mpsc::channel();
        pool.run(Box::new(move || done.send(7).unwrap()));
        assert_eq!(wait.recv(), Ok(7));
        assert_eq!(pool.threads(), (1, 1));
    }

    #[test]
    fn surplus_threads_retire() {
        let pool = pool(4, 1);
        let (done, wait) = mpsc::channel();
        pool.run(Box::new(move || done.send(()).unwrap()));
        wait.recv().unwrap();
        let mut state = pool.shared.lock();
        while state.threads > 0 {
            state = pool.shared.thread_ended.wait(state).unwrap();
        }
    }
}
