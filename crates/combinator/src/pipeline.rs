//! Items that go through several stages at once.
//!
//! The problem: each stage has its own speed and its own limit, a slow one must hold up those before it and not fill the memory, and an error anywhere must stop all of them.
//! The stages are tasks of one region, joined by channels with a capacity; an error cancels the region, which drains before the pipeline returns.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use asupersync_core::{IntoOutcome, Outcome};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::{All, HasSpawn};
use asupersync_sync::mpsc::Receiver;

use crate::stages::{Received, Source, Stage, StageOptions, Stages, take};

/// Stages that items go through; does nothing until it is run.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Pipeline, StageOptions};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     Pipeline::from_iter(1..=6_u64)
///         .stage(StageOptions::new().concurrency(3), |cx: Cx, n: u64| async move {
///             cx.sleep(Duration::from_secs(7 - n)).await?;
///             Ok::<_, Cancelled>(n * 10)
///         })
///         .stage(StageOptions::new(), |_: Cx, n: u64| async move { Ok(n + 1) })
///         .collect(&cx)
///         .await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(vec![11, 21, 31, 41, 51, 61]));
/// ```
#[must_use = "a pipeline does nothing unless it is run"]
pub struct Pipeline<P, C = All> {
    stages: P,
    caps: PhantomData<fn(C)>,
}

impl<C, I, E> Pipeline<Source<I, E>, C>
where
    I: Iterator,
{
    /// Begins with the items of an iterator, which is drawn from as the first stage takes them.
    #[expect(
        clippy::should_implement_trait,
        reason = "`FromIterator` cannot be implemented for one type of source; the name says what it does"
    )]
    pub fn from_iter(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self::new(Source {
            items: items.into_iter(),
            error: PhantomData,
        })
    }
}

impl<C, T, E> Pipeline<Received<T, E>, C> {
    /// Begins with the messages of a channel, until it ends.
    pub const fn from_receiver(receiver: Receiver<T>) -> Self {
        Self::new(Received {
            receiver,
            error: PhantomData,
        })
    }
}

impl<C, P> Pipeline<P, C> {
    const fn new(stages: P) -> Self {
        Self {
            stages,
            caps: PhantomData,
        }
    }
}

impl<C, P> Pipeline<P, C>
where
    C: HasSpawn,
    P: Stages<C>,
{
    /// Adds a stage: `work` is done on every item that comes out of those before.
    pub fn stage<F, Fut>(self, options: StageOptions, work: F) -> Pipeline<Stage<P, F>, C>
    where
        F: Fn(Cx<C>, P::Item) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome<Ok: Send + 'static, Err = P::Err>> + Send + 'static,
    {
        Pipeline::new(Stage {
            previous: self.stages,
            options,
            work,
        })
    }

    /// Runs the stages, and `sink` inline on every item that comes out.
    ///
    /// The sink is the last stage: one item at a time, and it holds up the others.
    /// # Errors
    /// The error or panic of the stage or the sink that failed first; the others are then cancelled and drained.
    /// # Cancel safety
    /// Lossy: a dropped call drops the items that are under way; the stages are cancelled and drained by the region around it.
    pub async fn for_each<S, Fut>(self, cx: &Cx<C>, mut sink: S) -> Outcome<(), P::Err>
    where
        S: FnMut(Cx<C>, P::Item) -> Fut,
        Fut: Future<Output: IntoOutcome<Ok = (), Err = P::Err>>,
    {
        cx.region(async |scope| {
            let mut items = self.stages.launch(&scope);
            loop {
                let item = match take(scope.cx(), &mut items).await {
                    ControlFlow::Continue(item) => item,
                    ControlFlow::Break(end) => return end,
                };
                match sink(scope.cx().clone(), item).await.into_outcome() {
                    Outcome::Ok(()) => {}
                    bad => return bad,
                }
            }
        })
        .await
    }

    /// Runs the stages and folds what comes out.
    ///
    /// # Errors
    /// As [`for_each`](Self::for_each).
    /// # Cancel safety
    /// Lossy: as [`for_each`](Self::for_each); what was folded is dropped too.
    pub async fn fold<A>(
        self,
        cx: &Cx<C>,
        initial: A,
        mut fold: impl FnMut(A, P::Item) -> A,
    ) -> Outcome<A, P::Err> {
        cx.region(async |scope| {
            let mut items = self.stages.launch(&scope);
            let mut folded = initial;
            loop {
                match take(scope.cx(), &mut items).await {
                    ControlFlow::Continue(item) => folded = fold(folded, item),
                    ControlFlow::Break(end) => return end.map(|()| folded),
                }
            }
        })
        .await
    }

    /// Runs the stages and gathers what comes out.
    ///
    /// # Errors
    /// As [`for_each`](Self::for_each).
    /// # Cancel safety
    /// Lossy: as [`for_each`](Self::for_each); what was gathered is dropped too.
    pub async fn collect(self, cx: &Cx<C>) -> Outcome<Vec<P::Item>, P::Err> {
        let push = |mut all: Vec<P::Item>, item| {
            all.push(item);
            all
        };
        self.fold(cx, Vec::new(), push).await
    }
}
