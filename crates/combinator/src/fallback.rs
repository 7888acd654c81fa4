//! A second way for when the first fails.

use std::convert::Infallible;
use std::pin::pin;

use asupersync_core::{ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasSpawn;

use crate::branch::{Branch, begin};
use crate::branches::{collect, lift};

/// Runs `primary`, and `secondary` with its error if it fails.
///
/// The second starts when the first has ended and what it had opened is closed.
/// A cancellation and a panic are no errors: they are the outcome, and nothing else is tried.
/// # Errors
/// Those of `secondary`.
/// # Cancel safety
/// Drains: a dropped call drops the branch that runs; what it had opened is closed by the region around it.
/// # Examples
/// ```
/// use asupersync_combinator::fallback;
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let primary = async |_: Cx| Outcome::<u32, &'static str>::Err("no replica");
///     fallback(&cx, primary, async |_: Cx, error: &str| {
///         Outcome::<u32, &'static str>::Ok(error.len() as u32)
///     })
///     .await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(10));
/// ```
pub async fn fallback<C, P, S, Fut>(
    cx: &Cx<C>,
    primary: P,
    secondary: S,
) -> Outcome<OkOf<Fut>, ErrOf<Fut>>
where
    C: HasSpawn,
    P: Branch<C, Ok = OkOf<Fut>>,
    S: FnOnce(Cx<C>, P::Err) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let end = cx
        .region_with(collect(), async |scope| {
            let first = {
                let fiber = pin!(scope.fiber(|cx| begin(primary, cx)));
                fiber.await
            };
            let error = match first {
                Outcome::Err(error) => error,
                other => return Outcome::Ok(other.map_err(|_| unreachable!("it was no error"))),
            };
            let second = |cx: Cx<C>| secondary(cx, error);
            let fiber = pin!(scope.fiber(|cx| begin(second, cx)));
            Outcome::<_, Infallible>::Ok(fiber.await)
        })
        .await;
    match end {
        Outcome::Ok(end) => end,
        bad => lift(bad.map(|_| unreachable!("a value was taken above"))),
    }
}
