//! Several branches, and the rule by which one's end decides about the others.
//!
//! # How
//! Every combinator of this crate over a fixed number of branches is a [`Rule`]: it hears of each end and may have the rest cancelled.
//! The branches run until all have ended, whatever the rule says; then the combinator makes one outcome of theirs.
//!
//! # Invariants
//! - Each branch is polled under a fiber of its own, and ends once.
//! - After a verdict the rule is not asked again.

use std::convert::Infallible;

use asupersync_core::{CancelKind, CancelReason, Collect, Origin, Outcome, Severity, Time};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Cx, RegionOptions};

use crate::branch::{Branch, begin};
use crate::fleet::Fleet;

/// What a rule says about the branches that still run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They go on.
    Continue,
    /// They are cancelled, for a reason of this kind, and drained.
    CancelRest(CancelKind),
}

/// Decides, for every end of a branch, whether the others go on.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Rule, Verdict};
/// use asupersync_core::{CancelKind, Severity};
/// /// The first branch is what it is about; the others only help it.
/// struct Main;
/// impl Rule for Main {
///     fn ended(&mut self, index: usize, _: Severity) -> Verdict {
///         if index == 0 { Verdict::CancelRest(CancelKind::RaceLost) } else { Verdict::Continue }
///     }
/// }
/// ```
pub trait Rule {
    /// Called once before the first poll: which of `count` branches is polled first; the others follow in order, round the end.
    fn begin(&mut self, count: usize) -> usize {
        let _ = count;
        0
    }

    /// Called when a branch has ended, until a verdict cancels the rest.
    fn ended(&mut self, index: usize, severity: Severity) -> Verdict;
}

/// Several branches that run together: a tuple of one to twelve, an array, or a `Vec`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a group of branches",
    label = "write a tuple of one to twelve branches, an array, or a `Vec`"
)]
pub trait Branches<C>: Sized {
    /// The outcomes, in the shape of the branches.
    type Outcomes;

    /// How many there are.
    fn count(&self) -> usize;

    /// Runs every branch to its end and gives all outcomes; see [`settle_with`](crate::settle_with).
    ///
    /// # Errors
    /// `Cancelled` only if the caller's own cleanup budget and grace were spent, so that the branches were dropped where they stood.
    /// # Cancel safety
    /// Drains: a dropped call drops the branches; what they had opened is closed by the region around it.
    fn run<R: Rule>(
        self,
        cx: &Cx<C>,
        rule: &mut R,
    ) -> impl Future<Output = Outcome<Self::Outcomes, Infallible>>;
}

/// Branches that fail with one type of error, so that their values can be had together.
pub trait Joinable<C>: Branches<C> {
    /// The values, in the shape of the branches.
    type Values;
    /// The error that every branch fails with.
    type Err;

    /// All values; or the worst outcome, the leftmost of equals.
    ///
    /// A panic is worse than anything; then comes the branch `lead`, whose end had the others cancelled.
    fn combine(outcomes: Self::Outcomes, lead: Option<usize>) -> Outcome<Self::Values, Self::Err>;
}

/// Branches that all end in the same way, so that any of them can stand for all.
pub trait Uniform<C>: Branches<C> {
    /// The value of every branch.
    type Ok;
    /// The error of every branch.
    type Err;

    /// Calls `f` with each branch's number and outcome, in order.
    fn for_each(outcomes: Self::Outcomes, f: impl FnMut(usize, Outcome<Self::Ok, Self::Err>));
}

/// Keeps what is worst among the outcomes seen; see [`Joinable::combine`].
pub(crate) struct Worst<E> {
    lead: Option<usize>,
    found: Option<(Rank, Outcome<Infallible, E>)>,
}

/// How bad an outcome is: a panic first, then the leading branch's, then by severity.
type Rank = (bool, bool, Severity);

impl<E> Worst<E> {
    pub(crate) const fn new(lead: Option<usize>) -> Self {
        Self { lead, found: None }
    }

    /// Takes the value out, or keeps the outcome if it is the worst so far.
    pub(crate) fn take<T>(&mut self, index: usize, outcome: Outcome<T, E>) -> Option<T> {
        let severity = outcome.severity();
        let bad = match outcome {
            Outcome::Ok(value) => return Some(value),
            Outcome::Err(error) => Outcome::Err(error),
            Outcome::Cancelled(reason) => Outcome::Cancelled(reason),
            Outcome::Panicked(payload) => Outcome::Panicked(payload),
        };
        let rank = (
            severity == Severity::Panicked,
            self.lead == Some(index),
            severity,
        );
        if self.found.as_ref().is_none_or(|(found, _)| rank > *found) {
            self.found = Some((rank, bad));
        }
        None
    }

    pub(crate) fn into_outcome<T>(self) -> Option<Outcome<T, E>> {
        self.found.map(|(_, bad)| bad.map(|never| match never {}))
    }
}

/// The options of the regions that branches run in: what an end means is the rule's business.
pub(crate) fn collect() -> RegionOptions {
    // Making a policy allocates; a copy of this one counts a reference.
    thread_local! {
        static COLLECT: RegionOptions = RegionOptions::new().policy(Collect);
    }
    COLLECT.with(RegionOptions::clone)
}

/// The outcome of a region whose body cannot fail, for callers that can.
pub(crate) fn lift<T, E>(end: Outcome<T, Infallible>) -> Outcome<T, E> {
    end.map_err(|never| match never {})
}

impl<C, B> Branches<C> for Vec<B>
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Outcomes = Vec<Outcome<B::Ok, B::Err>>;

    fn count(&self) -> usize {
        self.len()
    }

    async fn run<R: Rule>(self, cx: &Cx<C>, rule: &mut R) -> Outcome<Self::Outcomes, Infallible> {
        cx.region_with(collect(), async |scope| {
            let mut fleet = Fleet::new();
            let mut outcomes: Vec<Option<Outcome<B::Ok, B::Err>>> = Vec::new();
            outcomes.resize_with(self.len(), || None);
            let first = rule.begin(self.len());
            for branch in self {
                fleet.push(scope.fiber(|cx| begin(branch, cx)));
            }
            fleet.begin_with(first);
            let mut decided = false;
            while let Some((index, outcome)) = fleet.next().await {
                let severity = outcome.severity();
                outcomes[index] = Some(outcome);
                if !decided && let Verdict::CancelRest(kind) = rule.ended(index, severity) {
                    decided = true;
                    fleet.cancel_all(kind);
                    if is_on(Mutation::LosersAreLeft) {
                        break;
                    }
                }
            }
            let ended = |end: Option<_>| match end {
                None if is_on(Mutation::LosersAreLeft) => left_behind(),
                end => end.expect("the fleet is empty, so every branch has ended"),
            };
            Outcome::Ok(outcomes.into_iter().map(ended).collect())
        })
        .await
    }
}

impl<C, B> Joinable<C> for Vec<B>
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Values = Vec<B::Ok>;
    type Err = B::Err;

    fn combine(outcomes: Self::Outcomes, lead: Option<usize>) -> Outcome<Self::Values, Self::Err> {
        let mut worst = Worst::new(lead);
        let outcomes = outcomes.into_iter().enumerate();
        // Every outcome is looked at, also behind the first bad one.
        let values = outcomes
            .filter_map(|(index, outcome)| worst.take(index, outcome))
            .collect();
        worst.into_outcome().unwrap_or(Outcome::Ok(values))
    }
}

impl<C, B> Uniform<C> for Vec<B>
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Ok = B::Ok;
    type Err = B::Err;

    fn for_each(outcomes: Self::Outcomes, mut f: impl FnMut(usize, Outcome<Self::Ok, Self::Err>)) {
        for (index, outcome) in outcomes.into_iter().enumerate() {
            f(index, outcome);
        }
    }
}

impl<C, B, const N: usize> Branches<C> for [B; N]
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Outcomes = [Outcome<B::Ok, B::Err>; N];

    fn count(&self) -> usize {
        N
    }

    async fn run<R: Rule>(self, cx: &Cx<C>, rule: &mut R) -> Outcome<Self::Outcomes, Infallible> {
        let outcomes = Vec::from(self).run(cx, rule).await;
        outcomes.map(exactly)
    }
}

impl<C, B, const N: usize> Joinable<C> for [B; N]
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Values = [B::Ok; N];
    type Err = B::Err;

    fn combine(outcomes: Self::Outcomes, lead: Option<usize>) -> Outcome<Self::Values, Self::Err> {
        <Vec<B> as Joinable<C>>::combine(outcomes.into(), lead).map(exactly)
    }
}

impl<C, B, const N: usize> Uniform<C> for [B; N]
where
    C: HasSpawn,
    B: Branch<C>,
{
    type Ok = B::Ok;
    type Err = B::Err;

    fn for_each(outcomes: Self::Outcomes, f: impl FnMut(usize, Outcome<Self::Ok, Self::Err>)) {
        <Vec<B> as Uniform<C>>::for_each(outcomes.into(), f);
    }
}

/// What stands for the outcome of a branch that was not waited for.
fn left_behind<T, E>() -> Outcome<T, E> {
    let origin = Origin::default();
    Outcome::Cancelled(CancelReason::new(CancelKind::RaceLost, origin, Time::ZERO))
}

fn exactly<T, const N: usize>(all: Vec<T>) -> [T; N] {
    let Ok(all) = all.try_into() else {
        unreachable!("an array of branches has as many ends");
    };
    all
}
