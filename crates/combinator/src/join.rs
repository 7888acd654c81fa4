//! All of several branches.

use std::convert::Infallible;

use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::Cx;

use crate::branches::{Branches, Joinable, Rule, Verdict, lift};

/// Runs every branch to its end and gives all values.
///
/// An error of one branch does not disturb the others; for that there is [`try_join`].
/// Cost: a region, and one allocation for each branch of a tuple; three for each of an array or `Vec`, of which only those that were woken are polled.
/// # Errors
/// The worst of the outcomes, the leftmost of equals.
/// After a panic the other branches are cancelled with `FailFast` and drained.
/// # Cancel safety
/// Drains: a dropped call drops the branches; what they had opened is closed by the region around it.
/// # Examples
/// ```
/// use asupersync_combinator::join;
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
///
/// async fn both(cx: &Cx) -> Outcome<(u32, &'static str), Cancelled> {
///     let base = 40;
///     let number = async |cx: Cx| {
///         cx.sleep(Duration::from_secs(1)).await?;
///         Ok(base + 2)
///     };
///     let word = async |_: Cx| Ok("two");
///     join(cx, (number, word)).await
/// }
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| both(&cx).await);
/// assert_eq!(report.outcome, Outcome::Ok((42, "two")));
/// ```
/// # Source
/// The law `I62`.
pub async fn join<C, B>(cx: &Cx<C>, branches: B) -> Outcome<B::Values, B::Err>
where
    B: Joinable<C>,
{
    let mut rule = UntilPanic;
    match branches.run(cx, &mut rule).await {
        Outcome::Ok(outcomes) => B::combine(outcomes, None),
        bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
    }
}

/// Runs every branch to its end, unless one ends badly: then the others are cancelled with `FailFast` and drained.
///
/// # Errors
/// The end of the branch that failed first; or a panic, if the others panic while they drain.
/// # Cancel safety
/// Drains: as [`join`].
/// # Examples
/// ```
/// use asupersync_combinator::try_join;
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// enum AppError {
///     #[error("no such user")]
///     NoUser,
///     #[error(transparent)]
///     Cancelled(#[from] asupersync_core::Cancelled),
/// }
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let user = async |_: Cx| Err::<(), _>(AppError::NoUser);
///     let slow = async |cx: Cx| Ok(cx.sleep(Duration::from_secs(60)).await?);
///     try_join(&cx, (user, slow)).await
/// });
/// assert_eq!(report.outcome, Outcome::Err(AppError::NoUser));
/// assert_eq!(report.elapsed, Duration::ZERO);
/// ```
pub async fn try_join<C, B>(cx: &Cx<C>, branches: B) -> Outcome<B::Values, B::Err>
where
    B: Joinable<C>,
{
    let mut rule = UntilFailure { lead: None };
    match branches.run(cx, &mut rule).await {
        Outcome::Ok(outcomes) => B::combine(outcomes, rule.lead),
        bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
    }
}

/// Runs every branch to its end and gives each outcome, whatever the others did.
///
/// Also a panic disturbs nobody; it stands in its place.
/// # Errors
/// `Cancelled` only if the caller's own cleanup budget and grace were spent, so that the branches were dropped where they stood.
/// # Cancel safety
/// Drains: as [`join`].
/// # Examples
/// ```
/// use asupersync_combinator::settle;
/// use asupersync_core::{Cancelled, Outcome, PanicPayload};
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let fine = async |_: Cx| Ok::<_, Cancelled>(1);
///     let broken = async |_: Cx| -> Outcome<(), Cancelled> {
///         Outcome::Panicked(PanicPayload::from_message("broken"))
///     };
///     settle(&cx, (fine, broken)).await
/// });
/// let (fine, broken) = report.outcome.ok().unwrap();
/// assert_eq!(fine, Outcome::Ok(1));
/// assert!(matches!(broken, Outcome::Panicked(_)));
/// ```
pub async fn settle<C, B>(cx: &Cx<C>, branches: B) -> Outcome<B::Outcomes, Infallible>
where
    B: Branches<C>,
{
    branches.run(cx, &mut ToTheEnd).await
}

/// Runs every branch to its end, under a rule of the caller's, and gives each outcome.
///
/// All combinators over a fixed number of branches are made of this one.
/// # Errors
/// As [`settle`].
/// # Cancel safety
/// Drains: as [`join`].
/// # Examples
/// ```
/// use asupersync_combinator::{Rule, Verdict, settle_with};
/// use asupersync_core::{CancelKind, Cancelled, Severity};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
///
/// /// The second branch goes on as long as the first.
/// struct WhileFirst;
/// impl Rule for WhileFirst {
///     fn ended(&mut self, index: usize, _: Severity) -> Verdict {
///         if index == 0 { Verdict::CancelRest(CancelKind::RaceLost) } else { Verdict::Continue }
///     }
/// }
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let work = async |cx: Cx| cx.sleep(Duration::from_secs(3)).await;
///     let ticks = async |cx: Cx| -> Result<(), Cancelled> {
///         loop {
///             cx.sleep(Duration::from_secs(1)).await?;
///         }
///     };
///     settle_with(&cx, (work, ticks), &mut WhileFirst).await
/// });
/// let (work, ticks) = report.outcome.ok().unwrap();
/// assert!(work.is_ok() && ticks.is_cancelled());
/// ```
pub async fn settle_with<C, B, R>(
    cx: &Cx<C>,
    branches: B,
    rule: &mut R,
) -> Outcome<B::Outcomes, Infallible>
where
    B: Branches<C>,
    R: Rule,
{
    branches.run(cx, rule).await
}

struct ToTheEnd;

impl Rule for ToTheEnd {
    fn ended(&mut self, _index: usize, _severity: Severity) -> Verdict {
        Verdict::Continue
    }
}

struct UntilPanic;

impl Rule for UntilPanic {
    fn ended(&mut self, _index: usize, severity: Severity) -> Verdict {
        match severity {
            Severity::Panicked => Verdict::CancelRest(CancelKind::FailFast),
            Severity::Ok | Severity::Err | Severity::Cancelled => Verdict::Continue,
        }
    }
}

struct UntilFailure {
    lead: Option<usize>,
}

impl Rule for UntilFailure {
    fn ended(&mut self, index: usize, severity: Severity) -> Verdict {
        if severity == Severity::Ok {
            return Verdict::Continue;
        }
        self.lead = Some(index);
        Verdict::CancelRest(CancelKind::FailFast)
    }
}
