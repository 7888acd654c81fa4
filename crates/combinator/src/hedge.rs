//! A further attempt when the first is slow: the first success wins.
//!
//! The problem: a few calls take far longer than most, for reasons of the one server that they went to.
//! A second attempt after the delay that most calls stay below cuts that tail, for a few percent more load.
//!
//! # What limits it
//! - the delay: fixed, or a percentile of the latencies seen;
//! - how many attempts a call makes, and how many of them run at a time;
//! - a token bucket over all calls: each call pays in a share of a token, each further attempt takes a whole one, so that a server in trouble is not asked twice as often;
//! - pushback: an attempt that was told so by its server stops the hedging of its call, or puts it off.
//!
//! # Invariants
//! - A call returns when every attempt of it has ended.
//! - Attempts of a call <= `attempts_max`; further attempts of all calls <= burst + calls * hedges per hundred / 100.
//!
//! # Deliberately absent
//! Which server an attempt goes to is the attempt's business; its number tells it which it is.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_core::{
    CancelKind, CancelReason, ErrOf, IntoOutcome, OkOf, Outcome, PanicPayload, Time,
};
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_kernel::{Cx, Scope, Sleep};

use crate::branches::{collect, lift};
use crate::fleet::Fleet;
use crate::latency::Latencies;
use crate::quorum::AllFailed;

/// How long an attempt may take before another is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HedgeDelay {
    /// Always so long.
    Fixed(Duration),
    /// As long as so many percent of the attempts took lately.
    Percentile {
        /// 1..=100; 95 starts a further attempt for about one call in twenty.
        percent: u8,
        /// The delay until enough attempts were seen.
        initial: Duration,
    },
}

/// How a [`Hedge`] is made.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Hedge, HedgeDelay, HedgeOptions};
/// use std::time::Duration;
/// let delay = HedgeDelay::Percentile { percent: 95, initial: Duration::from_millis(50) };
/// let hedge = Hedge::new(HedgeOptions::new(delay).attempts_max(3).extra_load(5, 10));
/// assert_eq!(hedge.delay(), Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
pub struct HedgeOptions {
    delay: HedgeDelay,
    attempts_max: u32,
    concurrent_max: u32,
    per_hundred: u32,
    burst: u32,
}

impl HedgeOptions {
    /// Two attempts, and ten further attempts for each hundred calls, with a burst of ten.
    #[must_use]
    pub const fn new(delay: HedgeDelay) -> Self {
        Self {
            delay,
            attempts_max: 2,
            concurrent_max: u32::MAX,
            per_hundred: 10,
            burst: 10,
        }
    }

    /// How many attempts a call makes, the first included.
    #[must_use]
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts;
        self
    }

    /// How many attempts of a call run at a time; as many as it makes unless set.
    #[must_use]
    pub const fn concurrent_max(mut self, attempts: u32) -> Self {
        self.concurrent_max = attempts;
        self
    }

    /// How many further attempts a hundred calls pay for, and how many may be saved up.
    #[must_use]
    pub const fn extra_load(mut self, hedges_per_hundred: u32, burst: u32) -> Self {
        self.per_hundred = hedges_per_hundred;
        self.burst = burst;
        self
    }
}

/// Hedges calls of one kind; shared by all who make them.
pub struct Hedge {
    options: HedgeOptions,
    state: Mutex<State>,
}

struct State {
    /// In hundredths of a token.
    tokens: u64,
    latencies: Latencies,
}

impl Hedge {
    /// A hedge with a full bucket that has seen no call.
    ///
    /// # Panics
    /// If the options say no attempt, or a percentile that is not 1..=100.
    #[must_use]
    pub fn new(options: HedgeOptions) -> Self {
        assert!(
            options.attempts_max > 0 && options.concurrent_max > 0,
            "a call makes an attempt"
        );
        let percent = match options.delay {
            HedgeDelay::Fixed(_) => 100,
            HedgeDelay::Percentile { percent, .. } => percent,
        };
        let state = State {
            tokens: u64::from(options.burst) * TOKEN,
            latencies: Latencies::new(percent),
        };
        Self {
            options,
            state: Mutex::new(state),
        }
    }

    /// How long an attempt may take now before another is started.
    #[must_use]
    pub fn delay(&self) -> Duration {
        match self.options.delay {
            HedgeDelay::Fixed(delay) => delay,
            HedgeDelay::Percentile { initial, .. } => {
                self.state().latencies.percentile().unwrap_or(initial)
            }
        }
    }

    /// Makes a call: one attempt, and further ones while none has ended well.
    ///
    /// A further attempt starts when the delay has passed since the last, or as soon as one fails.
    /// The first to succeed wins; the others are cancelled with `RaceLost` and drained.
    /// The attempts run inline and may borrow.
    /// # Errors
    /// [`AllFailed`] with every error, in the order in which they came, once no attempt runs and none may follow; `Cancelled` if one was cancelled.
    /// A panic of an attempt ends the call, and is not lost, also if a loser panics while it drains.
    /// # Cancel safety
    /// Drains: a dropped call drops the attempts; what they had opened is closed by the region around it.
    /// # Examples
    /// ```
    /// use asupersync_combinator::{Attempt, Hedge, HedgeDelay, HedgeOptions};
    /// use asupersync_core::{Cancelled, Outcome};
    /// use asupersync_kernel::Cx;
    /// use std::time::Duration;
    /// # use asupersync_lab::{LabConfig, LabRuntime};
    /// let hedge = Hedge::new(HedgeOptions::new(HedgeDelay::Fixed(Duration::from_secs(1))));
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
    ///     hedge
    ///         .run(&cx, async |cx: Cx, attempt: Attempt| {
    ///             let secs = if attempt.number() == 0 { 60 } else { 2 };
    ///             cx.sleep(Duration::from_secs(secs)).await?;
    ///             Ok::<_, Cancelled>(attempt.number())
    ///         })
    ///         .await
    /// });
    /// assert_eq!(report.outcome, Outcome::Ok(1));
    /// assert_eq!(report.elapsed, Duration::from_secs(3));
    /// ```
    /// # Source
    /// The law `I65`. Dean and Barroso, *The Tail at Scale* (2013), for the percentile; gRPC's proposal A6 for tokens and pushback.
    pub async fn run<C, F, Fut>(
        &self,
        cx: &Cx<C>,
        attempt: F,
    ) -> Outcome<OkOf<Fut>, AllFailed<ErrOf<Fut>>>
    where
        C: HasSpawn + HasTime,
        F: Fn(Cx<C>, Attempt) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        self.pay_in();
        let attempt = &attempt;
        let end = cx
            .region_with(collect(), async |scope: Scope<'_, Infallible, C>| {
                let start = |body: Attempt, cx: Cx<C>| async move {
                    match cx.checkpoint() {
                        Ok(()) => attempt(cx, body).await.into_outcome(),
                        Err(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
                    }
                };
                let launch = |body: Attempt| scope.fiber(|cx| start(body, cx));
                let call = Call {
                    hedge: self,
                    cx: scope.cx(),
                    fleet: Fleet::new(),
                    launch,
                    started: Vec::new(),
                    pushback: Arc::default(),
                    next: None,
                    ends: Ends::default(),
                };
                Outcome::Ok(call.run().await)
            })
            .await;
        match end {
            Outcome::Ok(end) => end,
            bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
        }
    }

    fn pay_in(&self) {
        let full = u64::from(self.options.burst) * TOKEN;
        let mut state = self.state();
        let tokens = state.tokens + u64::from(self.options.per_hundred);
        state.tokens = tokens.min(full);
    }

    fn take_token(&self) -> bool {
        let mut state = self.state();
        let left = state.tokens.checked_sub(TOKEN);
        state.tokens = left.unwrap_or(state.tokens);
        left.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A token, in the unit that calls pay in.
const TOKEN: u64 = 100;

/// An attempt, in its own hands: which it is, and what its server says of further ones.
#[derive(Clone, Debug)]
pub struct Attempt {
    number: u32,
    pushback: Arc<Mutex<Pushback>>,
}

/// What a server has said.
#[derive(Clone, Copy, Debug, Default)]
enum Pushback {
    #[default]
    Nothing,
    After(Duration),
    Never,
}

impl Attempt {
    /// Which attempt of its call it is, from 0.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The server asks not to be called again: no further attempt of this call is started.
    pub fn stop_hedging(&self) {
        self.push_back(Pushback::Never);
    }

    /// The server asks for a pause: the next attempt of this call starts after `delay`, whatever fails before.
    pub fn hedge_after(&self, delay: Duration) {
        self.push_back(Pushback::After(delay));
    }

    fn push_back(&self, said: Pushback) {
        let mut pushback = self.pushback.lock().unwrap_or_else(PoisonError::into_inner);
        // What was said once stands: another attempt's pause does not lift it.
        if !matches!(*pushback, Pushback::Never) {
            *pushback = said;
        }
    }
}

/// When the next attempt starts.
#[derive(Clone, Copy)]
struct Next {
    at: Time,
    /// A server has named the time, so a failure does not bring it forward.
    is_asked_for: bool,
}

/// How the attempts have ended so far.
struct Ends<T, E> {
    value: Option<T>,
    errors: Vec<E>,
    cancelled: Option<CancelReason>,
    panic: Option<PanicPayload>,
}

impl<T, E> Default for Ends<T, E> {
    fn default() -> Self {
        Self {
            value: None,
            errors: Vec::new(),
            cancelled: None,
            panic: None,
        }
    }
}

impl<T, E> Ends<T, E> {
    fn into_outcome(self) -> Outcome<T, AllFailed<E>> {
        match (self.panic, self.value, self.cancelled) {
            (Some(payload), _, _) => Outcome::Panicked(payload),
            (None, Some(value), _) => Outcome::Ok(value),
            (None, None, Some(reason)) => Outcome::Cancelled(reason),
            (None, None, None) => Outcome::Err(AllFailed {
                errors: self.errors,
            }),
        }
    }
}

/// A call under way.
struct Call<'c, 'f, C, L, Fut: Future<Output: IntoOutcome>> {
    hedge: &'c Hedge,
    cx: &'c Cx<C>,
    fleet: Fleet<'f, Fut>,
    launch: L,
    started: Vec<Time>,
    pushback: Arc<Mutex<Pushback>>,
    next: Option<Next>,
    ends: Ends<OkOf<Fut>, ErrOf<Fut>>,
}

/// What a call waits for.
enum Event<Fut: Future<Output: IntoOutcome>> {
    Ended(usize, Outcome<OkOf<Fut>, ErrOf<Fut>>),
    Due,
    /// Every attempt has ended and none will follow.
    Over,
}

impl<'f, C, L, Fut> Call<'_, 'f, C, L, Fut>
where
    C: HasTime,
    L: Fn(Attempt) -> asupersync_kernel::Fiber<'f, Fut>,
    Fut: Future<Output: IntoOutcome>,
{
    async fn run(mut self) -> Outcome<OkOf<Fut>, AllFailed<ErrOf<Fut>>> {
        self.start();
        let mut sleep = pin!(self.cx.sleep_until(Time::MAX));
        loop {
            match poll_fn(|task| self.poll(sleep.as_mut(), task)).await {
                Event::Due => self.start_if_allowed(),
                Event::Ended(index, outcome) => {
                    if self.ended(index, outcome) {
                        break;
                    }
                }
                Event::Over => break,
            }
        }
        while let Some((index, outcome)) = self.fleet.next().await {
            self.drained(index, outcome);
        }
        self.ends.into_outcome()
    }

    /// Starts an attempt, and sets the time of the next.
    fn start(&mut self) {
        let number = u32::try_from(self.started.len()).expect("at most `attempts_max` are started");
        let now = self.cx.now();
        self.started.push(now);
        let attempt = Attempt {
            number,
            pushback: Arc::clone(&self.pushback),
        };
        self.fleet.push((self.launch)(attempt));
        self.next = self.may_start().then(|| Next {
            at: now + self.hedge.delay(),
            is_asked_for: false,
        });
    }

    /// Whether the call's own limits leave room for an attempt.
    fn may_start(&self) -> bool {
        let options = &self.hedge.options;
        let is_below = |count: usize, max: u32| u32::try_from(count).is_ok_and(|count| count < max);
        is_below(self.started.len(), options.attempts_max)
            && is_below(self.fleet.live(), options.concurrent_max)
    }

    fn start_if_allowed(&mut self) {
        self.next = None;
        if self.may_start() && self.cx.checkpoint().is_ok() && self.hedge.take_token() {
            self.start();
        }
    }

    fn poll(
        &mut self,
        mut sleep: Pin<&mut Sleep<'_, C>>,
        task: &mut Context<'_>,
    ) -> Poll<Event<Fut>> {
        let ended = self.fleet.poll_next(task);
        self.hear_pushback();
        if let Poll::Ready(Some((index, outcome))) = ended {
            return Poll::Ready(Event::Ended(index, outcome));
        }
        let Some(next) = self.next else {
            return if ended.is_ready() {
                Poll::Ready(Event::Over)
            } else {
                Poll::Pending
            };
        };
        if sleep.deadline() != next.at {
            sleep.as_mut().reset(next.at);
        }
        match sleep.as_mut().poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(Event::Due),
            Poll::Ready(Err(cancelled)) => {
                // The attempts hear of it themselves; what matters here is that none follows.
                self.next = None;
                if ended.is_ready() {
                    self.ends.cancelled.get_or_insert(cancelled.into_reason());
                    return Poll::Ready(Event::Over);
                }
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn hear_pushback(&mut self) {
        let mut pushback = self.pushback.lock().unwrap_or_else(PoisonError::into_inner);
        match *pushback {
            Pushback::Nothing => {}
            Pushback::Never => self.next = None,
            Pushback::After(delay) => {
                *pushback = Pushback::Nothing;
                drop(pushback);
                let has_room = self.started.len() < self.hedge.options.attempts_max as usize;
                self.next = has_room.then(|| Next {
                    at: self.cx.now() + delay,
                    is_asked_for: true,
                });
            }
        }
    }

    /// Takes an end; whether it decides the call.
    fn ended(&mut self, index: usize, outcome: Outcome<OkOf<Fut>, ErrOf<Fut>>) -> bool {
        match outcome {
            Outcome::Ok(value) => {
                self.record_latency(index);
                self.ends.value = Some(value);
                self.fleet.cancel_all(CancelKind::RaceLost);
                return true;
            }
            Outcome::Panicked(payload) => {
                self.ends.panic = Some(payload);
                self.fleet.cancel_all(CancelKind::FailFast);
                return true;
            }
            Outcome::Err(error) => self.ends.errors.push(error),
            Outcome::Cancelled(reason) => {
                self.ends.cancelled.get_or_insert(reason);
            }
        }
        let is_asked_for = self.next.is_some_and(|next| next.is_asked_for);
        if !is_asked_for && !self.is_stopped() {
            self.start_if_allowed();
        }
        false
    }

    fn is_stopped(&self) -> bool {
        let pushback = self.pushback.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*pushback, Pushback::Never)
    }

    /// Takes the end of an attempt that was cancelled since the call was decided.
    fn drained(&mut self, index: usize, outcome: Outcome<OkOf<Fut>, ErrOf<Fut>>) {
        // It would have taken at least so long; without it the percentile would only see the fast ones.
        self.record_latency(index);
        if let Outcome::Panicked(payload) = outcome {
            self.ends.panic.get_or_insert(payload);
        }
    }

    fn record_latency(&self, index: usize) {
        let took = self.cx.now().saturating_since(self.started[index]);
        self.hedge.state().latencies.record(took);
    }
}
