//! A second way for when everything within failed.

use std::fmt;

use asupersync_core::{IntoOutcome, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasSpawn;

use super::error::PolicyError;
use super::observe::PolicyEvent;
use super::{Call, Strategy};

/// Runs a second function with the error, when what stands within it has failed.
///
/// It starts when the first way has ended with all that it had opened; a cancellation and a panic are passed on.
/// # Errors
/// [`PolicyError::Failed`] with the second function's error.
/// # Examples
/// ```
/// use asupersync_combinator::{Fallback, Policy, PolicyError};
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let policy = Policy::builder()
///     .with(Fallback::new(|_: Cx, _: PolicyError<String>| async {
///         Outcome::<_, String>::Ok("a cached page")
///     }))
///     .build();
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     policy.run(&cx, async |_: Cx| Outcome::Err("no route".to_owned())).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok("a cached page"));
/// ```
#[derive(Clone, Copy)]
pub struct Fallback<F>(F);

impl<F> Fallback<F> {
    /// With the function that takes over.
    pub const fn new<C, E, Fut>(second: F) -> Self
    where
        F: Fn(Cx<C>, PolicyError<E>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        Self(second)
    }
}

impl<F> fmt::Debug for Fallback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}

impl<C, T, E, F, Fut> Strategy<C, T, E> for Fallback<F>
where
    C: HasSpawn + 'static,
    T: Send,
    E: Send,
    F: Fn(Cx<C>, PolicyError<E>) -> Fut + Send + Sync,
    Fut: Future<Output: IntoOutcome<Ok = T, Err = E>> + Send,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let error = match next.call(cx).await {
            Outcome::Err(error) => error,
            end => return end,
        };
        if let Err(cancelled) = cx.checkpoint() {
            return Outcome::Cancelled(cancelled.into_reason());
        }
        next.observer().event(&PolicyEvent::FellBack);
        cx.region(|scope| (self.0)(scope.cx().clone(), error))
            .await
            .map_err(PolicyError::Failed)
    }
}
