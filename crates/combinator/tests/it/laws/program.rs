//! Random programs, and how they run with the combinators under the lab.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use asupersync_combinator::{
    AdaptiveLimit, AdaptiveOptions, AllFailed, Backoff, BreakerOptions, Bulkhead, BulkheadOptions,
    Call, Chaos, CircuitBreaker, LimitAlgorithm, LoadShed, Policy, PolicyError, QuorumError, Rate,
    RateLimitOptions, RateLimiter, Retry, TimeoutError, Window, bracket, fallback, first_ok, join,
    quorum, race, timeout, try_join,
};
use asupersync_core::{Outcome, Time};
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabRuntime};
use proptest::prelude::*;

use crate::support::quiet_panic;

/// What a law is checked on.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) a: Program,
    pub(crate) b: Program,
    pub(crate) c: Program,
    pub(crate) x: u16,
    pub(crate) y: u16,
    pub(crate) seed: u64,
}

/// A program; times are in ticks of a millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Value(u8),
    Fail(u8),
    Panic(u8),
    Sleep(u16, Box<Self>),
    Yield(u8, Box<Self>),
    /// In a task of a region, which is joined.
    Spawn(Box<Self>),
    /// If it is cancelled, it cleans up for so long.
    Clean(u16, Box<Self>),
    Join(Vec<Self>),
    TryJoin(Vec<Self>),
    Race(Vec<Self>),
    FirstOk(Vec<Self>),
    Quorum(usize, Vec<Self>),
    Timeout(u16, Box<Self>),
    Fallback(Box<Self>, Box<Self>),
    /// Acquires and releases for so long.
    Bracket(u16, Box<Self>, u16),
    /// Through at most two strategies.
    Policy(Vec<Layer>, Box<Self>),
}

/// A strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// So many attempts, with waits of so long.
    Retry(u8, u16),
    Timeout(u16),
    /// Everything that limits, with nothing at its limit.
    Idle,
}

impl Layer {
    pub(crate) const fn is_retry(self) -> bool {
        matches!(self, Self::Retry(..))
    }
}

/// What never comes to its limit.
fn idle() -> Policy<impl asupersync_combinator::Strategy<asupersync_kernel::caps::All, Value, Fault>>
{
    let many = 1000;
    let breaker = BreakerOptions::new(Window::Calls(many)).calls_min(many);
    let gradient = LimitAlgorithm::Gradient { tolerance: 2.0 };
    Policy::builder()
        .with(LoadShed::in_flight(many))
        .with(CircuitBreaker::new(breaker))
        .with(RateLimiter::new(RateLimitOptions::new(Rate::new(
            many,
            ticks(1),
        ))))
        .with(Bulkhead::new(BulkheadOptions::new(many)))
        .with(AdaptiveLimit::new(AdaptiveOptions::new(gradient)))
        .with(Chaos::<Fault>::new().error(1.0, || Fault::Elapsed))
        .build()
}

impl asupersync_combinator::Strategy<asupersync_kernel::caps::All, Value, Fault> for Layer {
    async fn call<N>(&self, cx: &Cx, next: &N) -> Outcome<Value, PolicyError<Fault>>
    where
        N: Call<asupersync_kernel::caps::All, Ok = Value, Err = Fault>,
    {
        match *self {
            Self::Retry(attempts, delay) => {
                let backoff = Backoff::constant(ticks(delay));
                Retry::new(attempts.into(), backoff).call(cx, next).await
            }
            Self::Timeout(after) => {
                let strategy = asupersync_combinator::Timeout::new(ticks(after));
                strategy.call(cx, next).await
            }
            Self::Idle => idle().call(cx, next).await,
        }
    }
}

/// What a policy's error says to a program.
fn fault_of(error: PolicyError<Fault>) -> Fault {
    match error {
        PolicyError::Failed(fault) => fault,
        PolicyError::RetriesExhausted { last, .. } => fault_of(*last),
        PolicyError::TimedOut { .. } => Fault::Elapsed,
        other => unreachable!("nothing is at its limit: {other:?}"),
    }
}

impl Program {
    pub(crate) fn sleep(ticks: u16, then: Self) -> Self {
        Self::Sleep(ticks, Box::new(then))
    }

    pub(crate) fn timeout(ticks: u16, of: Self) -> Self {
        Self::Timeout(ticks, Box::new(of))
    }

    /// The same program without anything that takes time once it is cancelled.
    pub(crate) fn prompt(&self) -> Self {
        let boxed = |program: &Self| Box::new(program.prompt());
        let all = |programs: &[Self]| programs.iter().map(Self::prompt).collect();
        match self {
            Self::Value(_) | Self::Fail(_) | Self::Panic(_) => self.clone(),
            Self::Clean(_, of) => of.prompt(),
            Self::Sleep(ticks, then) => Self::Sleep(*ticks, boxed(then)),
            Self::Yield(times, then) => Self::Yield(*times, boxed(then)),
            Self::Spawn(of) => Self::Spawn(boxed(of)),
            Self::Join(of) => Self::Join(all(of)),
            Self::TryJoin(of) => Self::TryJoin(all(of)),
            Self::Race(of) => Self::Race(all(of)),
            Self::FirstOk(of) => Self::FirstOk(all(of)),
            Self::Quorum(needed, of) => Self::Quorum(*needed, all(of)),
            Self::Timeout(ticks, of) => Self::Timeout(*ticks, boxed(of)),
            Self::Fallback(first, second) => Self::Fallback(boxed(first), boxed(second)),
            Self::Bracket(acquire, of, _) => Self::Bracket(*acquire, boxed(of), 0),
            Self::Policy(layers, of) => Self::Policy(layers.clone(), boxed(of)),
        }
    }
}

/// None, one or two strategies; at most one of them a retry, since a retry does not retry what another gave up.
fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = prop_oneof![
        3 => (1_u8..4, 1_u16..300).prop_map(|(attempts, delay)| Layer::Retry(attempts, delay)),
        2 => (1_u16..1000).prop_map(Layer::Timeout),
        1 => Just(Layer::Idle),
    ];
    prop::collection::vec(layer, 0..3).prop_map(|mut layers| {
        if layers.iter().all(|layer| layer.is_retry()) {
            layers.truncate(1);
        }
        layers
    })
}

pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let leaf = prop_oneof![
        4 => any::<u8>().prop_map(Program::Value),
        2 => any::<u8>().prop_map(Program::Fail),
        1 => any::<u8>().prop_map(Program::Panic),
    ];
    // Most programs take time, so that few things fall on one moment.
    let slow = (1_u16..1000, leaf.clone()).prop_map(|(ticks, then)| Program::sleep(ticks, then));
    prop_oneof![1 => leaf, 4 => slow].prop_recursive(3, 16, 3, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let some = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            2 => (1_u16..1000, one()).prop_map(|(ticks, then)| Program::Sleep(ticks, then)),
            1 => (0_u8..4, one()).prop_map(|(times, then)| Program::Yield(times, then)),
            1 => one().prop_map(Program::Spawn),
            2 => (1_u16..40, one()).prop_map(|(ticks, of)| Program::Clean(ticks, of)),
            2 => some().prop_map(Program::Join),
            2 => some().prop_map(Program::TryJoin),
            3 => some().prop_map(Program::Race),
            1 => some().prop_map(Program::FirstOk),
            1 => (0_usize..4, some()).prop_map(|(needed, of)| Program::Quorum(needed, of)),
            2 => (1_u16..1000, one()).prop_map(|(ticks, of)| Program::Timeout(ticks, of)),
            1 => (one(), one()).prop_map(|(first, second)| Program::Fallback(first, second)),
            2 => (layers(), one()).prop_map(|(layers, of)| Program::Policy(layers, of)),
            2 => (1_u16..500, one(), 0_u16..40)
                .prop_map(|(acquire, of, release)| Program::Bracket(acquire, of, release)),
        ]
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    One(u8),
    Many(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Code(u8),
    Elapsed,
    AllFailed(Vec<Self>),
    Impossible(Vec<Self>),
}

pub(crate) type End = Outcome<Value, Fault>;

/// What came of a program that ran alone.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) ticks: u64,
}

/// What the programs of one run share.
#[derive(Clone, Default)]
struct World {
    books: Arc<Mutex<Vec<u32>>>,
    /// Programs that were started, and that came to an end by themselves.
    started: Arc<AtomicU32>,
    ended: Arc<AtomicU32>,
}

impl World {
    /// A world of the same books in which nothing was started.
    fn inner(&self) -> Self {
        Self {
            books: Arc::clone(&self.books),
            ..Self::default()
        }
    }

    fn assert_drained(&self, of: &str) {
        let counts = [&self.started, &self.ended].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(
            counts[0], counts[1],
            "{of} left something running or dropped it"
        );
    }

    fn acquire(&self) -> usize {
        let mut books = self.books.lock().expect("no holder panics");
        books.push(0);
        books.len() - 1
    }

    fn release(&self, number: usize) {
        self.books.lock().expect("no holder panics")[number] += 1;
    }

    fn unbalanced(&self) -> Option<String> {
        let books = self.books.lock().expect("no holder panics");
        let wrong = books.iter().position(|released| *released != 1)?;
        Some(format!(
            "resource {wrong} was released {} times",
            books[wrong]
        ))
    }
}

/// Counts a program as ended, also if it unwinds.
struct Ending(World);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Running = Pin<Box<dyn Future<Output = End> + Send>>;

fn ticks(count: u16) -> Duration {
    Duration::from_millis(u64::from(count))
}

/// A program as a branch.
fn branch(program: Program, world: &World) -> impl FnOnce(Cx) -> Running + Send + 'static {
    let world = world.clone();
    move |cx| run(cx, program, world)
}

fn run(cx: Cx, program: Program, world: World) -> Running {
    Box::pin(async move {
        world.started.fetch_add(1, Ordering::Relaxed);
        let ending = Ending(world.clone());
        let inner = world.inner();
        let name = format!("{program:?}");
        let end = step(&cx, program, &world, &inner).await;
        inner.assert_drained(&name);
        world.ended.fetch_add(1, Ordering::Relaxed);
        std::mem::forget(ending);
        end
    })
}

/// Sleeps; true unless it was cancelled.
async fn nap(cx: &Cx, count: u16) -> Result<(), End> {
    let slept = cx.sleep(ticks(count)).await;
    slept.map_err(|cancelled| Outcome::Cancelled(cancelled.into_reason()))
}

async fn step(cx: &Cx, program: Program, world: &World, inner: &World) -> End {
    match program {
        Program::Value(value) => Outcome::Ok(Value::One(value)),
        Program::Fail(code) => Outcome::Err(Fault::Code(code)),
        Program::Panic(code) => quiet_panic(&format!("panic {code}")),
        Program::Sleep(count, then) => match nap(cx, count).await {
            Ok(()) => run(cx.clone(), *then, inner.clone()).await,
            Err(end) => end,
        },
        Program::Yield(times, then) => {
            for _ in 0..times {
                if let Err(cancelled) = cx.yield_now().await {
                    return Outcome::Cancelled(cancelled.into_reason());
                }
            }
            run(cx.clone(), *then, inner.clone()).await
        }
        Program::Spawn(of) => {
            let task = branch(*of, inner);
            cx.region(async |scope| scope.spawn(task).join(scope.cx()).await)
                .await
        }
        Program::Clean(count, of) => {
            let end = run(cx.clone(), *of, inner.clone()).await;
            if end.is_cancelled() {
                let _ = cx.shield(cx.sleep(ticks(count))).await;
            }
            end
        }
        Program::Fallback(first, second) => {
            let second = *second;
            fallback(cx, branch(*first, inner), |cx: Cx, _| {
                run(cx, second, inner.clone())
            })
            .await
        }
        Program::Bracket(acquire, of, release) => {
            let books = world.clone();
            bracket(
                cx,
                async |cx: Cx| match nap(&cx, acquire).await {
                    Ok(()) => Outcome::Ok(world.acquire()),
                    Err(end) => end.map(|_| unreachable!("a nap that failed has no value")),
                },
                async |cx: Cx, _held| run(cx, *of, inner.clone()).await,
                async move |cx: Cx, number: usize| {
                    let end = nap(&cx, release).await;
                    books.release(number);
                    end.map_or_else(|end| end.map(drop), Outcome::Ok)
                },
            )
            .await
        }
        Program::Timeout(count, of) => {
            let end = timeout(cx, ticks(count), branch(*of, inner)).await;
            end.map_err(|error| match error {
                TimeoutError::Failed(fault) => fault,
                _ => Fault::Elapsed,
            })
        }
        Program::Policy(layers, of) => {
            let policy = Policy::builder()
                .with(layers.first().copied().unwrap_or(Layer::Idle))
                .with(layers.get(1).copied().unwrap_or(Layer::Idle))
                .build();
            let call = |cx: Cx| run(cx, Program::clone(&of), inner.clone());
            policy.run(cx, call).await.map_err(fault_of)
        }
        group => gather(cx, group, inner).await,
    }
}

/// The groups of branches; those of two and three run as tuples, the others as vectors.
async fn gather(cx: &Cx, program: Program, inner: &World) -> End {
    macro_rules! with_branches {
        ($of:expr, $branches:ident => $call:expr, $many:expr) => {{
            let mut all: Vec<_> = $of.into_iter().map(|one| branch(one, inner)).collect();
            match all.len() {
                2 => {
                    let (b, a) = (all.pop().expect("two"), all.pop().expect("one"));
                    let $branches = (a, b);
                    $call.map(|(a, b)| $many(vec![a, b]))
                }
                _ => {
                    let $branches = all;
                    $call.map($many)
                }
            }
        }};
    }
    macro_rules! with_uniform {
        ($of:expr, $branches:ident => $call:expr) => {{
            let mut all: Vec<_> = $of.into_iter().map(|one| branch(one, inner)).collect();
            match all.len() {
                3 => {
                    let c = all.pop().expect("three");
                    let (b, a) = (all.pop().expect("two"), all.pop().expect("one"));
                    let $branches = (a, b, c);
                    $call
                }
                _ => {
                    let $branches = all;
                    $call
                }
            }
        }};
    }
    match program {
        Program::Join(of) => with_branches!(of, all => join(cx, all).await, Value::Many),
        Program::TryJoin(of) => with_branches!(of, all => try_join(cx, all).await, Value::Many),
        Program::Race(of) => with_uniform!(of, all => race(cx, all).await),
        Program::FirstOk(of) => with_uniform!(of, all => first_ok(cx, all).await)
            .map_err(|AllFailed { errors }| Fault::AllFailed(errors)),
        Program::Quorum(needed, of) => with_uniform!(of, all => quorum(cx, needed, all).await)
            .map(Value::Many)
            .map_err(|error| match error {
                QuorumError::Impossible { errors, .. } => Fault::Impossible(errors),
                _ => unreachable!("a quorum fails in one way"),
            }),
        other => unreachable!("{other:?} is no group"),
    }
}

/// Runs a program as the only one; an error says which promise was broken.
pub(crate) fn run_alone(program: &Program, seed: u64) -> Result<Run, String> {
    run_in(seed, async |cx: Cx, world: World| {
        let end = run(cx.clone(), program.clone(), world.clone()).await;
        world.assert_drained("the program");
        end
    })
}

/// Runs a program and drops it after so many polls, between which others run.
pub(crate) fn run_dropped(program: &Program, polls: u16, seed: u64) -> Result<Run, String> {
    run_in(seed, async |cx: Cx, world: World| {
        let mut running = run(cx.clone(), program.clone(), world);
        for _ in 0..polls {
            let polled = poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await;
            if let Poll::Ready(end) = polled {
                return end;
            }
            // Time passes between some of the polls.
            let _ = cx.sleep(ticks(polls)).await;
        }
        Outcome::Ok(Value::Many(Vec::new()))
    })
}

fn run_in<F, Fut>(seed: u64, body: F) -> Result<Run, String>
where
    F: FnOnce(Cx, World) -> Fut,
    Fut: Future<Output = End>,
{
    let world = World::default();
    let shared = world.clone();
    let mut ended = Time::ZERO;
    let config = LabConfig::default().seed(seed).max_steps(100_000);
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let end = body(cx.clone(), shared).await;
        ended = cx.now();
        end
    });
    if !report.is_clean() {
        return Err(report.failure());
    }
    if let Some(broken) = world.unbalanced() {
        return Err(broken);
    }
    if let Outcome::Panicked(payload) = &report.outcome
        && !payload.message().starts_with("panic ")
    {
        return Err(payload.message().to_owned());
    }
    let elapsed = match report.outcome {
        Outcome::Panicked(_) => report.elapsed,
        _ => ended.saturating_since(Time::ZERO),
    };
    Ok(Run {
        end: report.outcome,
        ticks: u64::try_from(elapsed.as_millis()).expect("programs are short"),
    })
}
