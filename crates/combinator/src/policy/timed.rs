//! A bound on the time of a call.

use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_time::{TimeoutError, timeout};

use super::error::PolicyError;
use super::observe::PolicyEvent;
use super::{Call, Strategy};

/// Cancels what stands within it when its time is up, drains it, and fails with [`PolicyError::TimedOut`].
///
/// A call that ends with a value all the same keeps it.
/// # Examples
/// ```
/// use asupersync_combinator::{Policy, PolicyError, Timeout};
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let after = Duration::from_secs(1);
/// let policy = Policy::builder().with(Timeout::new(after)).build();
/// let report = LabRuntime::new(LabConfig::default())
///     .run(async |cx: Cx| policy.run(&cx, async |cx: Cx| cx.sleep(after * 9).await).await);
/// assert_eq!(report.outcome, Outcome::Err(PolicyError::TimedOut { after }));
/// assert_eq!(report.elapsed, after);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout(Duration);

impl Timeout {
    /// So long for each call.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self(after)
    }
}

impl<C, T, E> Strategy<C, T, E> for Timeout
where
    C: HasSpawn + HasTime + 'static,
    T: Send,
    E: Send,
{
    fn call<N>(
        &self,
        cx: &Cx<C>,
        next: &N,
    ) -> impl Future<Output = Outcome<T, PolicyError<E>>> + Send
    where
        N: Call<C, Ok = T, Err = E>,
    {
        within(cx, next, self.0)
    }
}

/// Makes a call that may take so long.
pub(super) async fn within<C, N>(
    cx: &Cx<C>,
    next: &N,
    after: Duration,
) -> Outcome<N::Ok, PolicyError<N::Err>>
where
    C: HasSpawn + HasTime + 'static,
    N: Call<C>,
{
    let end = timeout(cx, after, |cx: Cx<C>| async move { next.call(&cx).await }).await;
    end.map_err(|error| match error {
        TimeoutError::Failed(error) => error,
        // The enum may grow; whatever it says then is that the time was up.
        _ => {
            next.observer().event(&PolicyEvent::TimedOut { after });
            PolicyError::TimedOut { after }
        }
    })
}
