//! One branch of a combinator: a body with a context of its own, or a future.

use asupersync_core::{ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::All;

/// Work that a combinator can start: `async |cx: Cx| { .. }`, or [`plain`] with a future in it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a branch",
    label = "write `async |cx: Cx| ..`, or wrap a future: `plain(future)`",
    note = "its output is a `Result<T, E>` where `E: std::error::Error`, or an `Outcome<T, E>`"
)]
pub trait Branch<C = All> {
    /// The value's type.
    type Ok;
    /// The error's type.
    type Err;
    /// The branch once it is started.
    type Future: Future<Output: IntoOutcome<Ok = Self::Ok, Err = Self::Err>>;

    /// Starts the branch with the context under which it will be polled.
    fn start(self, cx: Cx<C>) -> Self::Future;
}

impl<C, F, Fut> Branch<C> for F
where
    F: FnOnce(Cx<C>) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    type Ok = OkOf<Fut>;
    type Err = ErrOf<Fut>;
    type Future = Fut;

    fn start(self, cx: Cx<C>) -> Fut {
        self(cx)
    }
}

/// A future as a branch; from [`plain`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a branch does nothing unless a combinator runs it"]
pub struct Plain<Fut>(Fut);

/// Makes a branch of a future.
///
/// It has no context of its own to ask, and hears of its cancellation through what it waits on: sleeps, channels and locks look at the context that they are polled in.
/// A future that waits on nothing of ours is polled until its cleanup budget is spent, and then dropped.
/// `plain(&mut future)` lends a future that is to go on after it lost: it is then told so once, by whatever it waits on.
/// # Examples
/// ```
/// use asupersync_combinator::{plain, race};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
///
/// async fn first(cx: &Cx) -> Outcome<(), Cancelled> {
///     race(cx, (plain(cx.sleep(Duration::from_secs(1))), plain(cx.sleep(Duration::from_secs(2))))).await
/// }
/// ```
pub const fn plain<Fut>(future: Fut) -> Plain<Fut>
where
    Fut: Future<Output: IntoOutcome>,
{
    Plain(future)
}

impl<C, Fut> Branch<C> for Plain<Fut>
where
    Fut: Future<Output: IntoOutcome>,
{
    type Ok = OkOf<Fut>;
    type Err = ErrOf<Fut>;
    type Future = Fut;

    fn start(self, _cx: Cx<C>) -> Fut {
        self.0
    }
}

/// Runs a branch, unless it was cancelled before its first poll.
pub(crate) async fn begin<C, B: Branch<C>>(branch: B, cx: Cx<C>) -> Outcome<B::Ok, B::Err> {
    match cx.checkpoint() {
        Ok(()) => branch.start(cx).await.into_outcome(),
        Err(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
    }
}
