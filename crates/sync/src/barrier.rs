//! A meeting point: nobody goes on before all have come.
//!
//! The problem: a fixed number of tasks meet, again and again, and one of them may vanish while it waits for the others.
//!
//! # States
//! One word: the number of the round, how many have come in it, and `WAITERS`, somebody is in line.
//! The last arrival leads: it adds one to the number and takes back the rest, in one step.
//! Another comes back once, behind the others of its worker, before it gets in line; if the round is over by then, neither has touched the line.
//!
//! # Invariants
//! - Arrivals of a round = waits that have come in it and not ended; who is cancelled or dropped while it waits counts out, so the barrier forms again and waits for somebody else.
//! - `WAITERS` is set and taken back under the lock of the line, and a round that has waiters ends under it: all in line are of one round, and who finds the round over is in no line.
//! - Each round has exactly one leader, and the leader never waits.
//! - Who has arrived in a round goes on with that round, however many rounds have passed when it is polled.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{CancelWait, Cx, Resource};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::spot::Spot;
use crate::thread;
use crate::waiters::{WaitList, Wakers};

/// Lets tasks go on when as many have come as it was made for.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::Barrier;
/// async fn phases(cx: &Cx, barrier: &Barrier) -> Result<(), Cancelled> {
///     for phase in 0..3 {
///         // ... this task's part of the phase ...
///         if barrier.wait(cx).await?.is_leader() {
///             cx.trace(format!("phase {phase} is over"));
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct Barrier {
    size: u64,
    /// Where the number of the round begins in the word.
    shift: u32,
    state: AtomicU64,
    line: Mutex<WaitList>,
    resource: Resource,
}

const WAITERS: u64 = 1;
/// One arrival in the word.
const ARRIVAL: u64 = 2;
/// More arrivals than fit in so many bits do not fit in memory.
const ARRIVED_BITS_MAX: u32 = 48;

impl Barrier {
    crate::primitive::const_unless_loom! {
        /// A barrier for so many; 0 counts as 1.
        #[must_use]
        pub fn new(size: usize) -> Self {
            let size = if size == 0 { 1 } else { size as u64 };
            // The last arrival is not counted. What is left for the number lasts for more than 2^60 arrivals.
            let bits = u64::BITS - (size - 1).leading_zeros();
            Self {
                size,
                shift: 1 + if bits < ARRIVED_BITS_MAX { bits } else { ARRIVED_BITS_MAX },
                state: AtomicU64::new(0),
                line: Mutex::new(WaitList::new()),
                resource: Resource::new(),
            }
        }
    }

    /// Arrives, and waits until all have.
    ///
    /// It arrives when it is first polled.
    /// Cost: two polls and one compare-and-swap if the others come soon, and one lock besides if they do not; the last arrival wakes who is in line.
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: it counts out, unless the round was complete by then, which stands for the others.
    pub const fn wait<'a, C>(&'a self, cx: &'a Cx<C>) -> BarrierWait<'a> {
        let _ = cx;
        BarrierWait {
            barrier: self,
            arrival: Arrival::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Arrives, and blocks the thread until all have; for threads outside the runtime.
    pub fn blocking_wait(&self) -> BarrierWaitResult {
        let mut arrival = Arrival::new();
        thread::wait(|task| arrival.poll(self, task.waker()))
    }

    /// How many meet.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size as usize
    }

    /// How many have come in this round and wait.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.arrived_in(self.state.load(Ordering::Acquire)) as usize
    }

    const fn arrived_in(&self, state: u64) -> u64 {
        (state & ((1 << self.shift) - 1)) / ARRIVAL
    }

    const fn round_of(&self, state: u64) -> u64 {
        state >> self.shift
    }

    /// Whether a round that somebody has come in is over.
    fn is_over(&self, round: u64) -> bool {
        self.round_of(self.state.load(Ordering::Acquire)) != round
    }

    /// Counts in: in which round, and whether that completed it.
    fn arrive(&self) -> (u64, bool) {
        if let Some(came) = self.count_in(0) {
            return came;
        }
        let (came, mut wakers) = {
            let mut line = lock(&self.line);
            let came = self.count_in(WAITERS).expect("no flag is in the way");
            let is_over = came.1;
            let released = if is_over {
                line.release_all()
            } else {
                // Somebody has left in between.
                Wakers::default()
            };
            (came, released)
        };
        if !is_on(Mutation::BarrierIsSilent) {
            wakers.wake();
        }
        came
    }

    /// Counts in, unless that ends a round with a flag that the caller may not take back.
    fn count_in(&self, taken_back: u64) -> Option<(u64, bool)> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let round = self.round_of(state);
            let is_last = self.arrived_in(state) + 1 == self.size;
            if is_last && state & WAITERS & !taken_back != 0 {
                return None;
            }
            let next = if is_last {
                (round + 1) << self.shift
            } else {
                state + ARRIVAL
            };
            match self.exchange(state, next) {
                Ok(()) => return Some((round, is_last)),
                Err(seen) => state = seen,
            }
        }
    }

    /// Counts out, if the round is not over.
    fn count_out(&self, round: u64) {
        let mut state = self.state.load(Ordering::Relaxed);
        while self.round_of(state) == round {
            match self.exchange(state, state - ARRIVAL) {
                Ok(()) => return,
                Err(seen) => state = seen,
            }
        }
    }

    /// Says that somebody is in line, under its lock; false if the round is over.
    fn announce(&self, round: u64) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        while self.round_of(state) == round {
            match self.exchange(state, state | WAITERS) {
                Ok(()) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }

    fn exchange(&self, state: u64, next: u64) -> Result<(), u64> {
        self.state
            .compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .field("arrived", &self.arrived())
            .finish_non_exhaustive()
    }
}

/// How a round ended for one of those who met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
    round: u64,
}

impl BarrierWaitResult {
    /// Whether this one came last; one of each round did.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Which round it was, counted from 0.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.round
    }
}

/// One arrival, without its context.
#[derive(Debug)]
struct Arrival {
    round: u64,
    stage: Stage,
    place: Spot,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It has not come, or has left.
    Away,
    /// It has come, and comes back to look once more.
    Arrived,
    /// It is in line, or was until the round was over.
    Waiting,
    /// The round is over; whether it led.
    Over(bool),
}

impl Arrival {
    const fn new() -> Self {
        Self {
            round: 0,
            stage: Stage::Away,
            place: Spot::new(),
        }
    }

    const fn waits(&self) -> bool {
        matches!(self.stage, Stage::Arrived | Stage::Waiting)
    }

    fn poll(&mut self, barrier: &Barrier, waker: &Waker) -> Poll<BarrierWaitResult> {
        self.stage = match self.stage {
            Stage::Away => {
                let (round, is_last) = barrier.arrive();
                self.round = round;
                if is_last {
                    Stage::Over(true)
                } else {
                    waker.wake_by_ref();
                    Stage::Arrived
                }
            }
            Stage::Arrived => self.enter(barrier, waker),
            Stage::Waiting => self.look(barrier, waker),
            Stage::Over(is_leader) => Stage::Over(is_leader),
        };
        match self.stage {
            Stage::Over(is_leader) => Poll::Ready(BarrierWaitResult {
                is_leader,
                round: self.round,
            }),
            Stage::Away | Stage::Arrived | Stage::Waiting => Poll::Pending,
        }
    }

    /// Gets in line, if the round is not over.
    fn enter(&mut self, barrier: &Barrier, waker: &Waker) -> Stage {
        if barrier.is_over(self.round) {
            return Stage::Over(false);
        }
        let waker = waker.clone();
        let mut line = lock(&barrier.line);
        if !barrier.announce(self.round) {
            drop(line);
            return Stage::Over(false);
        }
        self.place.enter(&mut line, waker, ());
        Stage::Waiting
    }

    fn look(&mut self, barrier: &Barrier, waker: &Waker) -> Stage {
        if barrier.is_over(self.round) {
            // Everybody of this round was released before it was over.
            self.place.forget_released();
            return Stage::Over(false);
        }
        match self.place.look(&barrier.line, |line| line, waker) {
            Poll::Ready(_) => Stage::Over(false),
            Poll::Pending => Stage::Waiting,
        }
    }

    /// Counts out, if the round is not over.
    fn leave(&mut self, barrier: &Barrier) {
        match self.stage {
            Stage::Away | Stage::Over(_) => return,
            Stage::Arrived => barrier.count_out(self.round),
            Stage::Waiting => {
                let old = {
                    let mut line = lock(&barrier.line);
                    let (grant, old) = self.place.leave(&mut line);
                    if grant.is_none() {
                        barrier.count_out(self.round);
                        if line.is_empty() {
                            barrier.state.fetch_and(!WAITERS, Ordering::AcqRel);
                        }
                    }
                    old
                };
                drop(old);
            }
        }
        self.stage = Stage::Away;
    }
}

/// Waits until all have come; from [`Barrier::wait`].
///
/// # Cancel safety
/// Requeues: it counts out, unless the round was complete by then, which stands for the others.
#[must_use = "futures do nothing unless polled"]
pub struct BarrierWait<'a> {
    barrier: &'a Barrier,
    arrival: Arrival,
    cancel: CancelWait,
}

impl BarrierWait<'_> {
    fn leave(&mut self) {
        if self.arrival.waits() {
            self.barrier.resource.trace("barrier.leave");
            self.arrival.leave(self.barrier);
        }
    }
}

impl Future for BarrierWait<'_> {
    type Output = Result<BarrierWaitResult, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled));
        }
        let met = this.arrival.poll(this.barrier, task.waker());
        this.barrier.resource.trace(match &met {
            Poll::Ready(met) if met.is_leader() => "barrier.lead",
            Poll::Ready(_) => "barrier.pass",
            Poll::Pending => "barrier.wait",
        });
        met.map(Ok)
    }
}

impl Drop for BarrierWait<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_leaves_the_line_takes_the_flag_back() {
        let barrier = Barrier::new(3);
        let mut arrivals = [(); 2].map(|()| Arrival::new());
        for arrival in &mut arrivals {
            for _ in 0..3 {
                assert!(arrival.poll(&barrier, Waker::noop()).is_pending());
            }
        }
        let word = || barrier.state.load(Ordering::Acquire);
        assert_eq!(word(), (2 * ARRIVAL) | WAITERS);
        arrivals[0].leave(&barrier);
        assert_eq!(word(), ARRIVAL | WAITERS);
        arrivals[1].leave(&barrier);
        assert_eq!(word(), 0);
    }

    #[test]
    fn the_word_has_room_for_every_size() {
        for size in [1, 2, 3, 4, 5, 8, 9, 1 << 31, usize::MAX] {
            let barrier = Barrier::new(size);
            assert_eq!(barrier.size(), size);
            assert!(barrier.shift <= 1 + ARRIVED_BITS_MAX);
            let most = (barrier.size - 1).min((1 << ARRIVED_BITS_MAX) - 1);
            let state = (7 << barrier.shift) | (most * ARRIVAL) | WAITERS;
            assert_eq!(barrier.arrived_in(state), most);
            assert_eq!(barrier.round_of(state), 7);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A barrier, and what is written before one side of it and read behind the other.
    struct Model {
        barrier: Barrier,
        values: [UnsafeCell<u32>; 2],
    }

    // SAFETY: each value is written by one thread before it arrives and read by the others after their pass; that is what the model checks.
    unsafe impl Sync for Model {}
    // SAFETY: as above.
    unsafe impl Send for Model {}

    impl Model {
        fn new(size: usize) -> Arc<Self> {
            Arc::new(Self {
                barrier: Barrier::new(size),
                values: [UnsafeCell::new(0), UnsafeCell::new(0)],
            })
        }

        /// Writes, meets, and reads what the other wrote.
        fn exchange(&self, own: usize) -> BarrierWaitResult {
            // SAFETY: the value is this thread's until it arrives; loom reports a violation as a race.
            self.values[own].with_mut(|value| unsafe { *value += 1 });
            let end = self.barrier.blocking_wait();
            // SAFETY: its writer has arrived, and writes no more.
            self.values[1 - own].with(|value| assert_eq!(unsafe { *value }, 1));
            end
        }

        fn check(&self, rounds: u64) {
            let state = self.barrier.state.load(Ordering::Acquire);
            assert_eq!(state, rounds << self.barrier.shift, "nobody is left behind");
            assert!(lock(&self.barrier.line).is_empty());
        }
    }

    #[test]
    fn loom_who_passes_sees_what_the_others_did_and_one_of_them_led() {
        loom::model(|| {
            let model = Model::new(2);
            let other = Arc::clone(&model);
            let thread = thread::spawn(move || other.exchange(1));
            let ends = [model.exchange(0), thread.join().unwrap()];
            assert_eq!(ends.iter().filter(|end| end.is_leader()).count(), 1);
            assert!(ends.iter().all(|end| end.round() == 0));
            model.check(1);
        });
    }

    #[test]
    fn loom_nobody_is_left_waiting_when_rounds_follow_each_other() {
        loom::model(|| {
            let model = Model::new(2);
            let other = Arc::clone(&model);
            let meet = |barrier: &Barrier| {
                let ends = [0, 1].map(|round| {
                    let end = barrier.blocking_wait();
                    assert_eq!(end.round(), round);
                    u32::from(end.is_leader())
                });
                ends.iter().sum::<u32>()
            };
            let thread = thread::spawn(move || meet(&other.barrier));
            assert_eq!(meet(&model.barrier) + thread.join().unwrap(), 2);
            model.check(2);
        });
    }

    #[test]
    fn loom_the_last_of_three_releases_all_who_are_in_line() {
        loom::model(|| {
            let model = Model::new(3);
            let threads = [(); 2].map(|()| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.barrier.blocking_wait().is_leader())
            });
            let mut led = usize::from(model.barrier.blocking_wait().is_leader());
            for thread in threads {
                led += usize::from(thread.join().unwrap());
            }
            assert_eq!(led, 1);
            model.check(1);
        });
    }

    #[test]
    fn loom_who_leaves_counts_out_or_stands_for_the_others() {
        // It leaves before it has come back, and from the line.
        [1, 2].into_iter().for_each(leaves_after);
    }

    fn leaves_after(polls: u32) {
        loom::model(move || {
            let model = Model::new(2);
            let other = Arc::clone(&model);
            let waiter = thread::spawn(move || other.barrier.blocking_wait().round());
            let mut leaver = Arrival::new();
            for _ in 0..polls {
                let _ = leaver.poll(&model.barrier, Waker::noop());
            }
            leaver.leave(&model.barrier);
            if !model.barrier.is_over(0) {
                assert_eq!(model.barrier.blocking_wait().round(), 0);
            }
            assert_eq!(waiter.join().unwrap(), 0);
            model.check(1);
        });
    }
}
