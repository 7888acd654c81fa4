//! The first of several branches to end.

use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasEntropy;

use crate::branches::{Rule, Uniform, Verdict, lift};

/// What won a [`select`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selected<T> {
    /// The branch's place among the branches, from 0.
    pub index: usize,
    /// Its value.
    pub value: T,
}

/// Runs the branches until one has ended; the others are cancelled with `RaceLost` and drained.
///
/// The first to end wins, however it ends; for the first to succeed there is [`first_ok`](crate::first_ok).
/// Of branches that are ready at the same poll the leftmost wins, and those to its right are not started if they were not before.
/// What a loser still gives while it drains is dropped.
/// # Errors
/// The outcome is the winner's; but a panic of a loser, also while it drains, is not lost: the outcome is then `Panicked`.
/// # Panics
/// If there is no branch.
/// # Cancel safety
/// Drains: a dropped call drops the branches; what they had opened is closed by the region around it.
/// # Examples
/// ```
/// use asupersync_combinator::race;
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let near = async |cx: Cx| cx.sleep(Duration::from_secs(1)).await.map(|()| "near");
///     let far = async |cx: Cx| cx.sleep(Duration::from_secs(9)).await.map(|()| "far");
///     race(&cx, (far, near)).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok("near"));
/// assert_eq!(report.elapsed, Duration::from_secs(1));
/// ```
/// # Source
/// The laws `I59` and `I60`.
pub async fn race<C, B>(cx: &Cx<C>, branches: B) -> Outcome<B::Ok, B::Err>
where
    B: Uniform<C>,
{
    run(cx, branches, 0).await.map(|selected| selected.value)
}

/// Like [`race`], and says who won; which branch is polled first is drawn anew for each call.
///
/// So of branches that are always ready each wins now and then.
/// # Errors
/// As [`race`].
/// # Panics
/// If there is no branch.
/// # Cancel safety
/// Drains: as [`race`].
/// # Examples
/// ```
/// use asupersync_combinator::{Selected, select};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let tick = async |cx: Cx| cx.sleep(Duration::from_secs(1)).await.map(|()| 'a');
///     let work = async |_: Cx| Ok::<_, Cancelled>('b');
///     select(&cx, (tick, work)).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(Selected { index: 1, value: 'b' }));
/// ```
pub async fn select<C, B>(cx: &Cx<C>, branches: B) -> Outcome<Selected<B::Ok>, B::Err>
where
    C: HasEntropy,
    B: Uniform<C>,
{
    let first = cx.random_u64();
    run(cx, branches, first).await
}

/// Like [`race`], and says who won; branches are polled from left to right.
///
/// A branch to the right runs only while those to its left wait, so it can starve.
/// # Errors
/// As [`race`].
/// # Panics
/// If there is no branch.
/// # Cancel safety
/// Drains: as [`race`].
pub async fn select_biased<C, B>(cx: &Cx<C>, branches: B) -> Outcome<Selected<B::Ok>, B::Err>
where
    B: Uniform<C>,
{
    run(cx, branches, 0).await
}

async fn run<C, B>(cx: &Cx<C>, branches: B, first: u64) -> Outcome<Selected<B::Ok>, B::Err>
where
    B: Uniform<C>,
{
    assert!(branches.count() > 0, "a race needs a branch");
    let mut rule = FirstEnd {
        first,
        winner: None,
    };
    match branches.run(cx, &mut rule).await {
        Outcome::Ok(outcomes) => {
            let winner = rule
                .winner
                .expect("a race has a branch, and each has ended");
            winner_of::<C, B>(outcomes, winner)
        }
        bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
    }
}

/// The winner's outcome, unless somebody panicked.
fn winner_of<C, B: Uniform<C>>(
    outcomes: B::Outcomes,
    winner: usize,
) -> Outcome<Selected<B::Ok>, B::Err> {
    let mut won = None;
    let mut panic = None;
    B::for_each(outcomes, |index, outcome| match outcome {
        outcome if index == winner => won = Some(outcome),
        Outcome::Panicked(payload) => {
            panic.get_or_insert(payload);
        }
        Outcome::Ok(_) | Outcome::Err(_) | Outcome::Cancelled(_) => {}
    });
    let won = won.expect("the winner is among the branches");
    match panic {
        Some(payload) if won.severity() < Severity::Panicked => Outcome::Panicked(payload),
        Some(_) | None => won.map(|value| Selected {
            index: winner,
            value,
        }),
    }
}

struct FirstEnd {
    first: u64,
    winner: Option<usize>,
}

impl Rule for FirstEnd {
    fn begin(&mut self, count: usize) -> usize {
        usize::try_from(self.first % count as u64).expect("less than a `usize`")
    }

    fn ended(&mut self, index: usize, _severity: Severity) -> Verdict {
        self.winner = Some(index);
        Verdict::CancelRest(CancelKind::RaceLost)
    }
}
