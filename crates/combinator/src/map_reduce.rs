//! Many items, a task for each, one result.

use std::collections::VecDeque;

use asupersync_core::{ErrOf, IntoOutcome, OkOf, Outcome};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, JoinHandle, Scope};
use asupersync_sync::mpsc;

/// How [`map_reduce`] runs.
///
/// # Examples
/// ```
/// use asupersync_combinator::MapReduce;
/// let options = MapReduce::new().concurrency(16).ordered();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapReduce {
    concurrency: usize,
    is_ordered: bool,
}

impl MapReduce {
    /// Eight tasks at a time, folded as they end.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            concurrency: 8,
            is_ordered: false,
        }
    }

    /// How many tasks run at a time; at least 1.
    #[must_use]
    pub const fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = if tasks == 0 { 1 } else { tasks };
        self
    }

    /// Folds in the order of the items, so that the result does not depend on the schedule.
    ///
    /// A slow item then holds up those behind it: at most `concurrency` are started and not folded.
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.is_ordered = true;
        self
    }
}

impl Default for MapReduce {
    fn default() -> Self {
        Self::new()
    }
}

/// Maps every item in a task of its own, so many at a time, and folds the values into `identity`.
///
/// The tasks run in parallel; the fold runs inline, so it may borrow.
/// Items are drawn from the iterator as tasks become free, so it may be endless or large.
/// If `fold` is associative and `identity` its neutral element, an unordered fold gives the same as an ordered one as far as it is commutative too.
/// # Shape and units
/// At most as many values as tasks may run wait to be folded.
/// # Errors
/// The first error or panic of a task; the other tasks are then cancelled with `FailFast` and drained.
/// # Cancel safety
/// Drains: a dropped call drops what was folded, and the tasks are cancelled and drained by the region around it.
/// # Examples
/// ```
/// use asupersync_combinator::{MapReduce, map_reduce};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let square = |cx: Cx, n: u64| async move {
///         cx.yield_now().await?;
///         Ok::<_, Cancelled>(n * n)
///     };
///     map_reduce(&cx, MapReduce::new().concurrency(4), 1..=10, square, (0, |sum, n| sum + n)).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(385));
/// ```
/// # Source
/// The law `I66`.
pub async fn map_reduce<C, I, M, Fut, A, F>(
    cx: &Cx<C>,
    options: MapReduce,
    items: I,
    map: M,
    (identity, fold): (A, F),
) -> Outcome<A, ErrOf<Fut>>
where
    C: HasSpawn + 'static,
    I: IntoIterator<Item: Send + 'static>,
    M: Fn(Cx<C>, I::Item) -> Fut + Clone + Send + 'static,
    Fut: Future<Output: IntoOutcome<Ok: Send + 'static, Err: Send + 'static>> + Send + 'static,
    F: FnMut(A, OkOf<Fut>) -> A,
{
    cx.region(async |scope| {
        let spawn = |item| {
            let map = map.clone();
            move |cx: Cx<C>| async move { map(cx, item).await.into_outcome() }
        };
        let run = Run {
            scope: &scope,
            concurrency: options.concurrency,
            items: items.into_iter().map(spawn),
            folded: identity,
            fold,
        };
        if options.is_ordered {
            run.in_order().await
        } else {
            run.whoever_ends().await
        }
    })
    .await
}

struct Run<'r, 's, E, C, I, A, F> {
    scope: &'r Scope<'s, E, C>,
    concurrency: usize,
    items: I,
    folded: A,
    fold: F,
}

impl<E, C, I, A, F> Run<'_, '_, E, C, I, A, F>
where
    C: HasSpawn + 'static,
    E: Send + 'static,
    I: Iterator,
{
    async fn in_order<T, Fut>(mut self) -> Outcome<A, E>
    where
        I::Item: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Outcome<T, E>> + Send + 'static,
        T: Send + 'static,
        F: FnMut(A, T) -> A,
    {
        let mut running: VecDeque<JoinHandle<T, E>> = VecDeque::new();
        loop {
            while running.len() < self.concurrency
                && let Some(task) = self.items.next()
            {
                running.push_back(self.scope.spawn(task));
            }
            let Some(oldest) = running.pop_front() else {
                return Outcome::Ok(self.folded);
            };
            match oldest.join(self.scope.cx()).await {
                Outcome::Ok(value) => self.folded = (self.fold)(self.folded, value),
                bad => return bad.map(|_| unreachable!("a value was taken above")),
            }
        }
    }

    async fn whoever_ends<T, Fut>(mut self) -> Outcome<A, E>
    where
        I::Item: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Outcome<T, E>> + Send + 'static,
        T: Send + 'static,
        F: FnMut(A, T) -> A,
    {
        // One slot for each task that runs, so none ever waits for room.
        let (results, mut ends) = mpsc::channel(self.concurrency);
        let mut running = 0;
        loop {
            while running < self.concurrency
                && let Some(task) = self.items.next()
            {
                running += 1;
                let results = results.clone();
                self.scope.spawn(async move |cx: Cx<C>| {
                    let end = task(cx).await;
                    end.map(|value| {
                        // Only a body that is gone does not want it.
                        let _ = results.try_send(value);
                    })
                });
            }
            if running == 0 {
                return Outcome::Ok(self.folded);
            }
            match ends.recv(self.scope.cx()).await {
                Ok(value) => {
                    running -= 1;
                    self.folded = (self.fold)(self.folded, value);
                }
                Err(mpsc::RecvError::Cancelled(cancelled)) => {
                    return Outcome::Cancelled(cancelled.into_reason());
                }
                Err(_) => unreachable!("the body keeps a sender"),
            }
        }
    }
}
