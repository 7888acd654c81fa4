//! Calls no more often than a rate allows, with a line for those who wait.
//!
//! # States of a call
//! taken at once; or in line → taken; or turned away before it waits.
//!
//! # Invariants
//! - Nothing is taken in advance: a call takes its share at the moment at which it goes on, so one that leaves the line leaves nothing behind.
//! - The first in line goes first, also if a later one asks for less.
//! - Who is let into the line goes on within the longest wait, since those ahead can only leave; who would not is told so at once.
//!
//! # Absent
//! A limiter for each key: put limiters in a map.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome, Time};
use asupersync_kernel::caps::HasTime;
use asupersync_kernel::{CancelWait, Cx, Resource, Sleep, wake_contained};

use super::error::PolicyError;
use super::observe::rejected;
use super::rate::{Meter, Rate, RateAlgorithm};
use super::{Call, Strategy};

/// Why nothing was taken of a rate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateLimitError {
    /// The rate is used up, and the line too long.
    #[error("the rate limit is reached, retry after {retry_after:?}")]
    Limited {
        /// When the call would go on, if nobody else came.
        retry_after: Duration,
    },
    /// More was asked for than may ever come at once.
    #[error("a cost of {cost} is above the burst of {burst}")]
    CostAboveBurst {
        /// What was asked for.
        cost: u32,
        /// What may come at once.
        burst: u32,
    },
    /// The context had to stop.
    #[error("cancelled while waiting for a rate limit")]
    Cancelled(#[from] Cancelled),
}

/// How a [`RateLimiter`] is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimitOptions {
    rate: Rate,
    algorithm: RateAlgorithm,
    waiting_max: u32,
    wait_max: Duration,
}

impl RateLimitOptions {
    /// At this rate; what comes too early is turned away at once.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            algorithm: RateAlgorithm::Gcra,
            waiting_max: 0,
            wait_max: Duration::MAX,
        }
    }

    /// How many calls may wait in line, and how long each.
    #[must_use]
    pub const fn line(mut self, waiting_max: u32, wait_max: Duration) -> Self {
        self.waiting_max = waiting_max;
        self.wait_max = wait_max;
        self
    }

    /// How it counts; [`RateAlgorithm::Gcra`] unless set.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: RateAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }
}

/// Lets calls through no more often than a rate allows.
///
/// # Errors
/// [`PolicyError::RateLimited`] as a strategy, with when to come back.
/// # Examples
/// ```
/// use asupersync_combinator::{Policy, Rate, RateLimitOptions, RateLimiter};
/// use asupersync_core::{Cancelled, Outcome, Time};
/// use asupersync_kernel::Cx;
/// use std::sync::Arc;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let rate = Rate::new(2, Duration::from_secs(1)).burst(1);
/// let options = RateLimitOptions::new(rate).line(100, Duration::from_secs(9));
/// let limiter = Arc::new(RateLimiter::new(options));
/// let policy = Policy::builder().with(Arc::clone(&limiter)).build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let mut starts = Vec::new();
///     for _ in 0..3 {
///         let start = policy.run(&cx, async |cx: Cx| Ok::<_, Cancelled>(cx.now())).await;
///         starts.extend(start.ok());
///     }
///     Outcome::<_, Cancelled>::Ok(starts)
/// });
/// assert_eq!(report.outcome, Outcome::Ok([0, 500, 1000].map(Time::from_millis).to_vec()));
/// ```
/// # Source
/// The law `I75`.
#[derive(Debug)]
pub struct RateLimiter {
    options: RateLimitOptions,
    state: Mutex<State>,
    resource: Resource,
}

#[derive(Debug)]
struct State {
    meter: Meter,
    line: VecDeque<Waiter>,
    /// What those in line ask for.
    waiting_cost: u64,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    cost: u32,
    waker: Option<Waker>,
}

impl RateLimiter {
    /// A limiter at rest: a burst may come at once.
    #[must_use]
    pub fn new(options: RateLimitOptions) -> Self {
        Self {
            state: Mutex::new(State {
                meter: Meter::new(options.rate, options.algorithm),
                line: VecDeque::new(),
                waiting_cost: 0,
                next_ticket: 0,
            }),
            options,
            resource: Resource::new(),
        }
    }

    /// Takes `cost` if that is possible now and nobody waits.
    ///
    /// # Errors
    /// [`RateLimitError::Limited`], [`RateLimitError::CostAboveBurst`].
    pub fn try_acquire<C: HasTime>(&self, cx: &Cx<C>, cost: u32) -> Result<(), RateLimitError> {
        self.check(cost)?;
        let now = cx.now();
        let mut state = self.state();
        if state.line.is_empty() && state.meter.take(now, cost) {
            drop(state);
            self.resource.trace("rate_limit.take");
            return Ok(());
        }
        let retry_after = state.free_at(now, cost) - now;
        Err(RateLimitError::Limited { retry_after })
    }

    /// Takes `cost`, waiting in line while it is too early.
    ///
    /// # Errors
    /// [`RateLimitError::Limited`] at once if the line is full or the wait would be too long; [`RateLimitError::CostAboveBurst`]; [`RateLimitError::Cancelled`] if the context must stop.
    /// # Cancel safety
    /// Requeues: nothing was taken, and those behind move up.
    pub fn acquire<'a, C: HasTime>(&'a self, cx: &'a Cx<C>, cost: u32) -> AcquireRate<'a, C> {
        AcquireRate {
            limiter: self,
            cx,
            cost,
            ticket: None,
            sleep: cx.sleep_until(Time::MAX),
            cancel: CancelWait::new(),
        }
    }

    /// How many wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().line.len()
    }

    fn check(&self, cost: u32) -> Result<(), RateLimitError> {
        let burst = self.options.rate.most();
        if cost > burst {
            return Err(RateLimitError::CostAboveBurst { cost, burst });
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When a call that comes now goes on, behind those in line.
    fn free_at(&self, now: Time, cost: u32) -> Time {
        self.meter.free_at(now, self.waiting_cost + u64::from(cost))
    }

    fn is_first(&self, ticket: u64) -> bool {
        self.line
            .front()
            .is_some_and(|first| first.ticket == ticket)
    }

    /// Takes a call out of the line; gives the waker of who is first then, if that is new, and its own.
    fn leave(&mut self, ticket: u64) -> [Option<Waker>; 2] {
        let Some(place) = self.line.iter().position(|waiter| waiter.ticket == ticket) else {
            return [None, None];
        };
        let gone = self.line.remove(place).expect("it was found there");
        self.waiting_cost -= u64::from(gone.cost);
        let next = self.line.front_mut().filter(|_| place == 0);
        [next.and_then(|next| next.waker.take()), gone.waker]
    }
}

/// Waits for its share of a rate; from [`RateLimiter::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct AcquireRate<'a, C: HasTime> {
    limiter: &'a RateLimiter,
    cx: &'a Cx<C>,
    cost: u32,
    /// Its place in line.
    ticket: Option<u64>,
    /// Runs while it is first.
    sleep: Sleep<'a, C>,
    cancel: CancelWait,
}

impl<C: HasTime> AcquireRate<'_, C> {
    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let [next, own] = self.limiter.state().leave(ticket);
            self.limiter.resource.trace("rate_limit.leave");
            drop(own);
            if let Some(next) = next {
                wake_contained(next);
            }
        }
    }

    /// Enters the line, if it is neither too long nor in vain.
    fn enter(&mut self, now: Time) -> Result<(), RateLimitError> {
        let options = &self.limiter.options;
        let mut state = self.limiter.state();
        let retry_after = state.free_at(now, self.cost) - now;
        let room = state.line.len() < options.waiting_max as usize;
        if !room || retry_after > options.wait_max {
            return Err(RateLimitError::Limited { retry_after });
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting_cost += u64::from(self.cost);
        state.line.push_back(Waiter {
            ticket,
            cost: self.cost,
            waker: None,
        });
        drop(state);
        self.ticket = Some(ticket);
        self.limiter.resource.trace("rate_limit.wait");
        Ok(())
    }

    /// Takes its share, if it is first and it is time; otherwise says when that will be, or `None` if others are before it.
    fn advance(&mut self, now: Time, waker: &Waker) -> Result<(), Option<Time>> {
        let mut old = None;
        let mut state = self.limiter.state();
        let is_first = match self.ticket {
            None => state.line.is_empty(),
            Some(ticket) => state.is_first(ticket),
        };
        let end = if is_first && state.meter.take(now, self.cost) {
            Ok(())
        } else {
            Err(is_first.then(|| state.meter.free_at(now, self.cost.into())))
        };
        if let (Err(_), Some(ticket)) = (&end, self.ticket) {
            let own = state.line.iter_mut().find(|waiter| waiter.ticket == ticket);
            if let Some(own) = own
                && !own
                    .waker
                    .as_ref()
                    .is_some_and(|known| known.will_wake(waker))
            {
                old = own.waker.replace(waker.clone());
            }
        }
        drop(state);
        drop(old);
        end
    }
}

impl<C: HasTime> Future for AcquireRate<'_, C> {
    type Output = Result<(), RateLimitError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        this.limiter.check(this.cost)?;
        loop {
            let now = this.cx.now();
            let due = match this.advance(now, task.waker()) {
                Ok(()) => {
                    this.leave();
                    this.limiter.resource.trace("rate_limit.take");
                    return Poll::Ready(Ok(()));
                }
                Err(due) => due,
            };
            if this.ticket.is_none() {
                this.enter(now)?;
                continue;
            }
            let Some(due) = due else {
                return Poll::Pending;
            };
            if this.sleep.deadline() != due {
                Pin::new(&mut this.sleep).reset(due);
            }
            match Pin::new(&mut this.sleep).poll(task) {
                Poll::Pending => return Poll::Pending,
                // The time has come meanwhile; or the next look sees the request.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(cancelled)) => {
                    this.leave();
                    return Poll::Ready(Err(cancelled.into()));
                }
            }
        }
    }
}

impl<C: HasTime> Drop for AcquireRate<'_, C> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<C: HasTime> std::fmt::Debug for AcquireRate<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcquireRate")
            .field("cost", &self.cost)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

impl<C, T, E> Strategy<C, T, E> for RateLimiter
where
    C: HasTime + 'static,
    T: Send,
    E: Send,
{
    /// Each call costs one.
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        match self.acquire(cx, 1).await {
            Ok(()) => next.call(cx).await,
            Err(RateLimitError::Cancelled(cancelled)) => {
                Outcome::Cancelled(cancelled.into_reason())
            }
            Err(RateLimitError::Limited { retry_after }) => {
                let error = PolicyError::RateLimited { retry_after };
                Outcome::Err(rejected(next.observer(), error))
            }
            Err(RateLimitError::CostAboveBurst { .. }) => {
                unreachable!("a burst is at least one")
            }
        }
    }
}
