//! When a circuit breaker lets calls through: a state machine with time in.
//!
//! # States
//! `Closed → Open → HalfOpen → Closed | Open`, and three that are set by hand: `ForcedOpen`, `ForcedClosed`, `Disabled`.
//!
//! # Invariants
//! - While half open at most `probes` calls are under way or have ended since it became so.
//! - A call counts only for the state in which it was let through.

use std::time::Duration;

use asupersync_core::Time;

use super::window::{Sliding, Tally, Window};

/// What a circuit breaker does with calls now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BreakerState {
    /// It lets all through, and watches.
    Closed,
    /// It lets none through until its time has passed.
    Open,
    /// It lets a few through, to see whether they succeed.
    HalfOpen,
    /// It lets none through, until told otherwise.
    ForcedOpen,
    /// It lets all through and watches, but never opens.
    ForcedClosed,
    /// It lets all through and does not watch.
    Disabled,
}

/// What a circuit breaker saw, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BreakerMetrics {
    /// Its state.
    pub state: BreakerState,
    /// Calls in the window; of the probes, while it is half open.
    pub calls: u32,
    /// Of them, those that failed.
    pub failures: u32,
    /// Of them, those that were slow.
    pub slow_calls: u32,
    /// Probes under way.
    pub probes: u32,
    /// Calls that it kept away, since it was made.
    pub rejected: u64,
}

/// How a circuit breaker is made.
///
/// # Examples
/// ```
/// use asupersync_combinator::{BreakerOptions, Window};
/// use std::time::Duration;
/// let options = BreakerOptions::new(Window::Span(Duration::from_secs(60)))
///     .failure_percent(40)
///     .slow_calls(Duration::from_secs(2), 80)
///     .calls_min(20)
///     .open_for(Duration::from_secs(5))
///     .open_growth(2, Duration::from_secs(60))
///     .probes(3);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct BreakerOptions {
    window: Window,
    failure_percent: Option<u8>,
    slow: Option<(Duration, u8)>,
    calls_min: u32,
    open_for: Duration,
    open_factor: u32,
    open_max: Duration,
    probes: u32,
}

impl BreakerOptions {
    /// Opens for 30 seconds when half of at least 10 calls in the window failed, and then lets 3 probes through.
    #[must_use]
    pub const fn new(window: Window) -> Self {
        Self {
            window,
            failure_percent: Some(50),
            slow: None,
            calls_min: 10,
            open_for: Duration::from_secs(30),
            open_factor: 1,
            open_max: Duration::MAX,
            probes: 3,
        }
    }

    /// Opens when at least so many percent failed, 1..=100.
    #[must_use]
    pub const fn failure_percent(mut self, percent: u8) -> Self {
        self.failure_percent = Some(percent);
        self
    }

    /// Does not open because of failures.
    #[must_use]
    pub const fn ignore_failures(mut self) -> Self {
        self.failure_percent = None;
        self
    }

    /// Opens when at least so many percent, 1..=100, took `limit` or longer, however they ended.
    #[must_use]
    pub const fn slow_calls(mut self, limit: Duration, percent: u8) -> Self {
        self.slow = Some((limit, percent));
        self
    }

    /// Does not open before the window holds so many calls.
    #[must_use]
    pub const fn calls_min(mut self, calls: u32) -> Self {
        self.calls_min = calls;
        self
    }

    /// How long it is open before it lets probes through.
    #[must_use]
    pub const fn open_for(mut self, duration: Duration) -> Self {
        self.open_for = duration;
        self
    }

    /// Stays open `factor` times as long each time that probes fail, up to `max`.
    #[must_use]
    pub const fn open_growth(mut self, factor: u32, max: Duration) -> Self {
        self.open_factor = factor;
        self.open_max = max;
        self
    }

    /// How many probes decide whether it closes.
    #[must_use]
    pub const fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    fn check(&self) {
        let percents = [self.failure_percent, self.slow.map(|(_, percent)| percent)];
        let is_percent = |percent: u8| (1..=100).contains(&percent);
        assert!(
            percents.into_iter().flatten().all(is_percent),
            "a threshold is 1..=100 percent"
        );
        assert!(self.probes > 0, "a breaker that opens needs probes");
        if let Window::Calls(calls) = self.window {
            assert!(
                self.calls_min <= calls,
                "a window of {calls} calls never holds {}",
                self.calls_min
            );
        }
    }

    fn is_slow(&self, took: Duration) -> bool {
        self.slow.is_some_and(|(limit, _)| took >= limit)
    }

    /// Whether a rate is at its threshold, with so many calls as the whole.
    fn is_bad(&self, tally: Tally, whole: u32) -> bool {
        let reaches = |count: u32, percent: u8| {
            u64::from(count) * 100 >= u64::from(percent) * u64::from(whole) && count > 0
        };
        let slow = self.slow.map(|(_, percent)| percent);
        self.failure_percent
            .is_some_and(|percent| reaches(tally.failures, percent))
            || slow.is_some_and(|percent| reaches(tally.slow, percent))
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Time },
    HalfOpen { running: u32, ended: Tally },
    ForcedOpen,
    ForcedClosed,
    Disabled,
}

impl Phase {
    const fn state(self) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
            Self::ForcedOpen => BreakerState::ForcedOpen,
            Self::ForcedClosed => BreakerState::ForcedClosed,
            Self::Disabled => BreakerState::Disabled,
        }
    }
}

/// A call that was let through, and in which period of the breaker's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    period: u64,
}

/// How a call that was let through has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallEnd {
    Success,
    Failure,
    /// It says nothing: it was cancelled, dropped, or kept away by another strategy.
    Nothing,
}

/// A change of state: from, to.
pub(super) type Change = Option<(BreakerState, BreakerState)>;

/// The state machine.
#[derive(Debug)]
pub(super) struct Breaker {
    options: BreakerOptions,
    phase: Phase,
    /// Counts the changes of state.
    period: u64,
    /// How often in a row it opened without having closed.
    opened: u32,
    window: Sliding,
    rejected: u64,
}

impl Breaker {
    pub(super) fn new(options: BreakerOptions) -> Self {
        options.check();
        Self {
            window: Sliding::new(options.window),
            options,
            phase: Phase::Closed,
            period: 0,
            opened: 0,
            rejected: 0,
        }
    }

    /// Lets a call through, or says when to ask again.
    pub(super) fn enter(&mut self, now: Time) -> (Result<Ticket, Option<Duration>>, Change) {
        let mut change = None;
        if let Phase::Open { until } = self.phase
            && now >= until
        {
            change = self.transition(Phase::HalfOpen {
                running: 0,
                ended: Tally::default(),
            });
        }
        let probes = self.options.probes;
        let admitted = match &mut self.phase {
            Phase::Closed | Phase::ForcedClosed | Phase::Disabled => Ok(()),
            Phase::Open { until } => Err(Some(*until - now)),
            Phase::ForcedOpen => Err(None),
            Phase::HalfOpen { running, ended } if *running + ended.calls < probes => {
                *running += 1;
                Ok(())
            }
            Phase::HalfOpen { .. } => Err(None),
        };
        self.rejected += u64::from(admitted.is_err());
        let period = self.period;
        (admitted.map(|()| Ticket { period }), change)
    }

    /// Takes back what a call was let through with.
    pub(super) fn leave(
        &mut self,
        now: Time,
        ticket: Ticket,
        end: CallEnd,
        took: Duration,
    ) -> Change {
        if ticket.period != self.period {
            return None;
        }
        let one = match end {
            CallEnd::Success => Some(false),
            CallEnd::Failure => Some(true),
            CallEnd::Nothing => None,
        }
        .map(|is_failure| Tally::one(is_failure, self.options.is_slow(took)));
        match &mut self.phase {
            Phase::Closed | Phase::ForcedClosed => {
                self.window.record(now, one?);
                let tally = self.window.tally(now);
                let opens = matches!(self.phase, Phase::Closed)
                    && tally.calls >= self.options.calls_min
                    && self.options.is_bad(tally, tally.calls);
                if opens { self.open(now) } else { None }
            }
            Phase::HalfOpen { running, ended } => {
                *running -= 1;
                ended.add(one?);
                let ended = *ended;
                if self.options.is_bad(ended, self.options.probes) {
                    self.open(now)
                } else if ended.calls >= self.options.probes {
                    self.transition(Phase::Closed)
                } else {
                    None
                }
            }
            // Nobody is let through while it is open, so such a ticket is of another period.
            Phase::Open { .. } | Phase::ForcedOpen | Phase::Disabled => None,
        }
    }

    /// Sets the state by hand; `Open` for its usual time, from now.
    pub(super) fn set(&mut self, now: Time, state: BreakerState) -> Change {
        match state {
            BreakerState::Open => self.open(now),
            BreakerState::Closed => self.transition(Phase::Closed),
            BreakerState::HalfOpen => self.transition(Phase::HalfOpen {
                running: 0,
                ended: Tally::default(),
            }),
            BreakerState::ForcedOpen => self.transition(Phase::ForcedOpen),
            BreakerState::ForcedClosed => self.transition(Phase::ForcedClosed),
            BreakerState::Disabled => self.transition(Phase::Disabled),
        }
    }

    pub(super) fn metrics(&mut self, now: Time) -> BreakerMetrics {
        let (tally, probes) = match self.phase {
            Phase::HalfOpen { running, ended } => (ended, running),
            _ => (self.window.tally(now), 0),
        };
        BreakerMetrics {
            state: self.phase.state(),
            calls: tally.calls,
            failures: tally.failures,
            slow_calls: tally.slow,
            probes,
            rejected: self.rejected,
        }
    }

    fn open(&mut self, now: Time) -> Change {
        let options = &self.options;
        let grown = options.open_factor.saturating_pow(self.opened);
        let open_for = options.open_for.saturating_mul(grown);
        let until = now + open_for.min(options.open_max.max(options.open_for));
        self.opened = self.opened.saturating_add(1);
        self.transition(Phase::Open { until })
    }

    fn transition(&mut self, to: Phase) -> Change {
        let (from, to_state) = (self.phase.state(), to.state());
        match to {
            Phase::Closed | Phase::ForcedClosed | Phase::Disabled => {
                self.opened = 0;
                self.window.clear();
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::ForcedOpen => {}
        }
        self.phase = to;
        self.period += 1;
        (from != to_state).then_some((from, to_state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn options() -> BreakerOptions {
        BreakerOptions::new(Window::Calls(4))
            .calls_min(4)
            .open_for(SECOND * 10)
            .open_growth(2, SECOND * 30)
            .probes(2)
    }

    fn fail(breaker: &mut Breaker, now: Time) -> Change {
        let ticket = breaker.enter(now).0.expect("it is let through");
        breaker.leave(now, ticket, CallEnd::Failure, Duration::ZERO)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(options());
        for _ in 0..3 {
            assert_eq!(fail(&mut breaker, at(0)), None);
        }
        let change = fail(&mut breaker, at(0));
        assert_eq!(change, Some((BreakerState::Closed, BreakerState::Open)));
        breaker
    }

    #[test]
    fn it_opens_at_the_rate_and_not_before_the_minimum() {
        let mut breaker = opened();
        let (entered, change) = breaker.enter(at(4));
        assert_eq!((entered, change), (Err(Some(SECOND * 6)), None));
        assert_eq!(breaker.metrics(at(4)).rejected, 1);
    }

    #[test]
    fn probes_that_succeed_close_it_and_one_that_fails_opens_it_for_longer() {
        let mut breaker = opened();
        let (first, change) = breaker.enter(at(10));
        assert_eq!(change, Some((BreakerState::Open, BreakerState::HalfOpen)));
        let (second, _) = breaker.enter(at(10));
        assert_eq!(breaker.enter(at(10)).0, Err(None), "two probes, no more");
        let change = breaker.leave(at(11), first.unwrap(), CallEnd::Failure, SECOND);
        assert_eq!(change, Some((BreakerState::HalfOpen, BreakerState::Open)));
        assert_eq!(
            breaker.enter(at(11)).0,
            Err(Some(SECOND * 20)),
            "twice as long"
        );
        let change = breaker.leave(at(12), second.unwrap(), CallEnd::Success, SECOND);
        assert_eq!(change, None, "of another period");
        let mut last = None;
        for _ in 0..2 {
            let ticket = breaker.enter(at(31)).0.unwrap();
            last = breaker.leave(at(31), ticket, CallEnd::Success, SECOND);
        }
        assert_eq!(last, Some((BreakerState::HalfOpen, BreakerState::Closed)));
        assert_eq!(breaker.metrics(at(31)).calls, 0, "what was is forgotten");
    }

    #[test]
    fn a_probe_that_says_nothing_gives_its_place_back() {
        let mut breaker = opened();
        for _ in 0..10 {
            let tickets = [0, 1].map(|_| breaker.enter(at(10)).0.unwrap());
            assert!(breaker.enter(at(10)).0.is_err());
            for ticket in tickets {
                breaker.leave(at(10), ticket, CallEnd::Nothing, SECOND);
            }
        }
        assert_eq!(breaker.metrics(at(10)).probes, 0);
    }

    #[test]
    fn slow_calls_open_it_though_they_succeed() {
        let options = options().ignore_failures().slow_calls(SECOND, 75);
        let mut breaker = Breaker::new(options);
        let mut last = None;
        for took in [2, 0, 2, 2] {
            let ticket = breaker.enter(at(0)).0.unwrap();
            last = breaker.leave(at(0), ticket, CallEnd::Success, SECOND * took);
        }
        assert_eq!(last, Some((BreakerState::Closed, BreakerState::Open)));
    }

    #[test]
    fn forced_states_hold_whatever_the_calls_do() {
        let mut breaker = Breaker::new(options());
        for state in [BreakerState::ForcedClosed, BreakerState::Disabled] {
            breaker.set(at(0), state);
            for _ in 0..9 {
                assert_eq!(fail(&mut breaker, at(0)), None);
            }
            let seen = if state == BreakerState::Disabled {
                0
            } else {
                4
            };
            assert_eq!(breaker.metrics(at(0)).failures, seen);
        }
        breaker.set(at(0), BreakerState::ForcedOpen);
        assert_eq!(breaker.enter(at(1_000_000)).0, Err(None));
        breaker.set(at(0), BreakerState::Closed);
        assert!(breaker.enter(at(0)).0.is_ok());
    }

    /// What a caller may do to a breaker.
    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Enter,
        Leave(usize, u8),
        Set(BreakerState),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let states = prop::sample::select(vec![
            BreakerState::Closed,
            BreakerState::Open,
            BreakerState::HalfOpen,
            BreakerState::ForcedOpen,
            BreakerState::ForcedClosed,
            BreakerState::Disabled,
        ]);
        let step = prop_oneof![
            4 => (0_u64..15).prop_map(Step::Wait),
            10 => Just(Step::Enter),
            10 => (any::<usize>(), 0_u8..3).prop_map(|(which, end)| Step::Leave(which, end)),
            1 => states.prop_map(Step::Set),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// Which changes may happen by themselves.
    fn is_legal(change: Change) -> bool {
        use BreakerState::{Closed, HalfOpen, Open};
        matches!(
            change,
            None | Some((Closed, Open) | (Open, HalfOpen) | (HalfOpen, Open | Closed))
        )
    }

    proptest! {
        #[test]
        fn the_state_machine_takes_legal_steps_and_bounds_its_probes(steps in steps()) {
            let mut breaker = Breaker::new(options());
            let (mut now, mut out) = (0_u64, Vec::new());
            for step in steps {
                match step {
                    Step::Wait(secs) => now += secs,
                    Step::Enter => {
                        let before = breaker.metrics(at(now)).state;
                        let (entered, change) = breaker.enter(at(now));
                        prop_assert!(is_legal(change));
                        if before == BreakerState::ForcedOpen {
                            prop_assert!(entered.is_err());
                        }
                        if let Err(Some(after)) = entered {
                            prop_assert!(after > Duration::ZERO && after <= SECOND * 30);
                        }
                        out.extend(entered.ok());
                    }
                    Step::Leave(which, end) if !out.is_empty() => {
                        let ticket = out.swap_remove(which % out.len());
                        let end = [CallEnd::Success, CallEnd::Failure, CallEnd::Nothing]
                            [usize::from(end)];
                        prop_assert!(is_legal(breaker.leave(at(now), ticket, end, SECOND)));
                    }
                    Step::Leave(..) => {}
                    Step::Set(state) => {
                        breaker.set(at(now), state);
                        prop_assert_eq!(breaker.metrics(at(now)).state, state);
                    }
                }
                let period = breaker.period;
                let own = out.iter().filter(|ticket| ticket.period == period).count();
                let metrics = breaker.metrics(at(now));
                if metrics.state == BreakerState::HalfOpen {
                    prop_assert_eq!(metrics.probes as usize, own, "places in = places out");
                    prop_assert!(metrics.probes + metrics.calls <= 2);
                }
            }
        }
    }
}
