//! A worker's loop: run tasks, look for more, fire timers, sleep.
//!
//! # Who sleeps where
//! The first idle worker sleeps in the reactor, until its events, the next deadline of any wheel, or a wake.
//! The others sleep on their parkers, bounded by their own wheels.
//! Whoever slept in the reactor fires what is due in every wheel, for the workers that are stuck in a poll.

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, TryLockError};
use std::task::Waker;
use std::time::Duration;

use asupersync_core::Time;
use asupersync_kernel::{Ended, FreeLists, Runnable};
use asupersync_sched::Parker;

use crate::host::RuntimeHost;
use crate::local::Local;
use crate::queued::Queued;
use crate::spin::{Answer, Answers, WATCH, looks_again};

/// After so many dispatches a worker looks at its timers and at the reactor.
const MAINTENANCE_INTERVAL: u32 = 61;

/// How often a searcher looks again before it sleeps; a sleep and a wake cost more than all of them.
const SPINS: u32 = 24;

/// How often the last worker awake looks again for what another thread may answer meanwhile, before it does anything else.
const LONG_SPINS: u32 = 512;

/// After the operating system refused to poll the reactor.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// One thread's side of a worker.
pub(crate) struct Loop {
    host: Arc<RuntimeHost>,
    local: Rc<Local>,
    parker: Parker,
    dispatches: u32,
    until_governed: u32,
    /// Whether there is a flight recorder or a monitor, which are told of each poll.
    is_watched: bool,
    due: Vec<Waker>,
    /// Tasks that have ended and are still counted in their region.
    ended: Ended,
    /// The memory of nodes that were freed on this thread.
    memory: FreeLists,
    answers: Answers,
}

impl Loop {
    pub(crate) fn new(host: Arc<RuntimeHost>, local: Rc<Local>, parker: Parker) -> Self {
        let is_watched = host.flight.is_some() || host.monitor.is_some();
        Self {
            is_watched,
            host,
            local,
            parker,
            dispatches: 0,
            until_governed: 0,
            due: Vec::new(),
            ended: Ended::with_room(),
            memory: FreeLists::hold(),
            answers: Answers::UNKNOWN,
        }
    }

    /// Gives back what the loop was made from.
    pub(crate) fn into_parts(self) -> (Rc<Local>, Parker) {
        if let Some(sleeper) = self.local.worker.end_search() {
            self.host.wake(sleeper);
        }
        (self.local, self.parker)
    }

    /// Runs until `stop` is set, for the threads that the runtime owns.
    pub(crate) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            if !self.run_some(|| false) {
                self.idle(|| stop.load(Ordering::Acquire), None);
            }
        }
        self.publish_counters();
    }

    /// Runs tasks until there are none, or `done`; whether any ran.
    pub(crate) fn run_some(&mut self, done: impl Fn() -> bool) -> bool {
        let mut ran = false;
        while let Some(task) = self.next_task() {
            self.poll(task);
            ran = true;
            self.dispatches += 1;
            if self.dispatches >= MAINTENANCE_INTERVAL {
                self.dispatches = 0;
                self.maintain();
            }
            if self.host.governor_interval > 0 {
                self.govern();
            }
            if done() {
                self.ended.settle();
                break;
            }
        }
        ran
    }

    #[inline]
    fn poll(&mut self, task: Runnable) {
        match self.is_watched {
            true => self.poll_watched(task),
            false => task.run(&mut self.ended),
        }
    }

    /// Tells the flight recorder and the monitor what is polled.
    #[inline]
    fn poll_watched(&mut self, task: Runnable) {
        let id = task.task_id();
        self.local.poll_begins(id);
        match &self.host.monitor {
            None => task.run(&mut self.ended),
            Some(monitor) => {
                let worker = self.local.worker.index();
                monitor.poll_begins(worker, id);
                task.run(&mut self.ended);
                monitor.poll_ended(worker);
            }
        }
        self.local.poll_ended();
    }

    fn next_task(&mut self) -> Option<Runnable> {
        let worker = &self.local.worker;
        let Queued(task) = loop {
            match worker.next() {
                Some((_, queued)) => break queued,
                // It may wake the body of a region.
                None if self.ended.settle() => {}
                None => break worker.search()?,
            }
        };
        if let Some(sleeper) = worker.take_wake() {
            self.host.wake(sleeper);
        }
        Some(task)
    }

    /// Asks the governor when its interval is over.
    fn govern(&mut self) {
        if self.until_governed > 0 {
            self.until_governed -= 1;
            return;
        }
        self.until_governed = self.host.governor_interval;
        let now = self.host.clock.now();
        self.local.worker.govern(now, self.host.obligation_age(now));
    }

    /// Fires timers and events that came while the worker was busy.
    fn maintain(&mut self) {
        self.local.worker.begin_events();
        self.fire_timers();
        self.poll_reactor(Duration::ZERO);
        self.deliver_signals();
        self.local.worker.end_events();
        self.memory.give_unused_back();
    }

    /// Looks again for a little while, if that may be worth it, and then sleeps; not if `stop` holds once the sleep is announced.
    pub(crate) fn idle(&mut self, stop: impl Fn() -> bool, wake_by: Option<Time>) {
        self.local.worker.begin_events();
        self.wait(stop, wake_by);
        self.local.worker.end_events();
    }

    fn wait(&mut self, stop: impl Fn() -> bool, wake_by: Option<Time>) {
        self.publish_counters();
        if self.fire_timers() > 0 || self.spin(&stop) || !self.give_memory_back() {
            return;
        }
        if !self.local.worker.announce_sleep() {
            return;
        }
        let turned = !stop() && self.sleep(wake_by);
        self.local.worker.wake_up();
        if turned {
            // A worker that is stuck in a poll cannot see to its own wheel, and this sleep was bounded by it.
            self.fire(0..self.host.unparkers.len());
        } else {
            self.fire_timers();
        }
    }

    /// Gives back what a burst has left in memory; false if work came meanwhile.
    fn give_memory_back(&self) -> bool {
        while self.memory.give_some_back() {
            if self.local.worker.sees_work() {
                return false;
            }
        }
        true
    }

    /// Looks again for a while; whether work came meanwhile.
    fn spin(&mut self, stop: &impl Fn() -> bool) -> bool {
        let worker = &self.local.worker;
        if !worker.is_last_awake() || !self.answers.are_worth_a_spin() {
            return worker.is_searching() && looks_again(SPINS, || worker.sees_work() || stop());
        }
        let answer = self.watch(stop);
        self.answers.note(answer);
        worker.has_own_work() || worker.sees_work_from_outside() || stop()
    }

    /// Watches for what comes from outside; the others sleep and push nothing, so the looks need not go round them.
    fn watch(&self, stop: &impl Fn() -> bool) -> Answer {
        let worker = &self.local.worker;
        let ends = || stop() || self.parker.has_permit();
        let looks = || looks_again(LONG_SPINS, || worker.sees_work_from_outside() || ends());
        let came = |answer| match worker.sees_work_from_outside() {
            true => answer,
            false => Answer::None,
        };
        if looks() || !self.answers.may_be_late() {
            return came(Answer::InTime);
        }
        let clock = self.host.clock;
        let watched = clock.now() + WATCH;
        let deadline = self.host.timers.next_deadline(worker.index());
        let until = deadline.map_or(watched, |deadline| deadline.min(watched));
        while clock.now() < until {
            // Nobody else may be listening.
            self.poll_reactor(Duration::ZERO);
            if worker.has_own_work() || looks() {
                break;
            }
        }
        came(Answer::Late)
    }

    /// Sleeps; whether that was in the reactor, on behalf of all workers.
    fn sleep(&mut self, wake_by: Option<Time>) -> bool {
        let index = self.local.worker.index();
        match self.host.reactor.try_lock() {
            Ok(mut reactor) => {
                let timeout = self.sleep_for(self.next_of_all(), wake_by);
                let turned = self.parker.park_elsewhere(|| {
                    self.host.signals.watch(&self.host.reactor_handle)?;
                    reactor.turn(timeout)
                });
                drop(reactor);
                let is_refused = matches!(turned, Some(Err(_)));
                self.after_turn(turned);
                if is_refused {
                    // It may be for want of what others give back, and would be refused again at once.
                    let pause = timeout.map_or(REFUSED_PAUSE, |until| until.min(REFUSED_PAUSE));
                    self.parker.park(Some(pause));
                }
                true
            }
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {
                let timeout = self.sleep_for(self.host.timers.next_deadline(index), wake_by);
                self.parker.park(timeout);
                false
            }
        }
    }

    fn next_of_all(&self) -> Option<Time> {
        (0..self.host.unparkers.len())
            .filter_map(|shard| self.host.timers.next_deadline(shard))
            .min()
    }

    /// How long to sleep at most.
    fn sleep_for(&self, deadline: Option<Time>, wake_by: Option<Time>) -> Option<Duration> {
        let first = deadline.into_iter().chain(wake_by).min();
        let until = first.map(|first| first.saturating_since(self.host.clock.now()));
        until
            .into_iter()
            .chain(self.local.worker.sleep_limit())
            .min()
    }

    fn poll_reactor(&self, timeout: Duration) {
        if !self.host.has_sources() {
            return;
        }
        if let Ok(mut reactor) = self.host.reactor.try_lock() {
            let turned = reactor.turn(Some(timeout));
            drop(reactor);
            self.after_turn(Some(turned));
        }
    }

    fn after_turn(&self, turned: Option<std::io::Result<asupersync_reactor::Turn>>) {
        if let Some(Err(error)) = turned {
            // The events stay with the operating system; what cannot be hidden is that it refuses to tell them.
            eprintln!("asupersync: the reactor could not be polled: {error}");
        }
        self.deliver_signals();
    }

    fn deliver_signals(&self) {
        if self.host.signals.deliver(|| self.host.clock.now()) {
            // Its loop counts the signals, also those that change nothing in the program any more.
            self.host.wake(0);
        }
    }

    /// Wakes what is due in this worker's wheel; how many.
    fn fire_timers(&mut self) -> usize {
        let own = self.local.worker.index();
        self.fire(own..own + 1)
    }

    /// Wakes what is due in some wheels; how many.
    fn fire(&mut self, shards: Range<usize>) -> usize {
        let timers = &self.host.timers;
        if shards
            .clone()
            .all(|shard| timers.next_deadline(shard).is_none())
        {
            return 0;
        }
        let now = self.host.clock.now();
        for shard in shards {
            timers.advance(shard, now, &mut self.due);
        }
        let count = self.due.len();
        for waker in self.due.drain(..) {
            self.host.wake_contained(waker);
        }
        count
    }

    /// Makes the counters visible to other threads.
    pub(crate) fn publish_counters(&self) {
        let mut metrics = self
            .host
            .metrics
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        metrics[self.local.worker.index()] = self.local.worker.counters();
    }
}
