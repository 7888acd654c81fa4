//! The stages of a pipeline, each a task that reads one channel and writes the next.
//!
//! # How
//! A stage with one item at a time is one task.
//! A stage with more has a region in its task, and a task for each item in it.
//! Unordered, each of these sends its value itself, and a channel of tokens bounds them.
//! Ordered, their handles go through a channel to a task that joins them in turn, and the room in it bounds them.
//!
//! # Invariants
//! - Items that a stage has taken and not passed on <= its concurrency.
//! - A stage ends when the channel that it reads has ended, or nobody reads the one it writes.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use asupersync_core::{IntoOutcome, OkOf, Outcome};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, JoinHandle, Scope};
use asupersync_sync::mpsc::{self, Receiver, RecvError, SendFailure, Sender};

/// How one stage runs.
///
/// # Examples
/// ```
/// use asupersync_combinator::StageOptions;
/// let options = StageOptions::new().concurrency(8).unordered().capacity(32);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageOptions {
    concurrency: usize,
    is_ordered: bool,
    capacity: usize,
}

impl StageOptions {
    /// One item at a time, in order, and one that waits for the next stage.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            concurrency: 1,
            is_ordered: true,
            capacity: 1,
        }
    }

    /// How many items it works on at a time; at least 1.
    #[must_use]
    pub const fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = if items == 0 { 1 } else { items };
        self
    }

    /// Passes items on as they are done.
    #[must_use]
    pub const fn unordered(mut self) -> Self {
        self.is_ordered = false;
        self
    }

    /// How many items may wait for the next stage; at least 1.
    #[must_use]
    pub const fn capacity(mut self, items: usize) -> Self {
        self.capacity = if items == 0 { 1 } else { items };
        self
    }
}

impl Default for StageOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Stages joined by channels; what a [`Pipeline`](crate::Pipeline) is made of.
pub trait Stages<C>: Sized {
    /// What comes out.
    type Item: Send + 'static;
    /// What every stage fails with.
    type Err: Send + 'static;

    /// Spawns the stages, and gives the channel out of which the items come.
    fn launch(self, scope: &Scope<'_, Self::Err, C>) -> Receiver<Self::Item>;
}

/// The items of an iterator; from [`Pipeline::from_iter`](crate::Pipeline::from_iter).
#[derive(Debug)]
pub struct Source<I, E> {
    pub(crate) items: I,
    pub(crate) error: PhantomData<fn() -> E>,
}

impl<C, I, E> Stages<C> for Source<I, E>
where
    C: HasSpawn + 'static,
    I: Iterator<Item: Send + 'static> + Send + 'static,
    E: Send + 'static,
{
    type Item = I::Item;
    type Err = E;

    fn launch(self, scope: &Scope<'_, E, C>) -> Receiver<I::Item> {
        let (tx, rx) = mpsc::channel(1);
        scope.spawn(async move |cx: Cx<C>| {
            for item in self.items {
                if let ControlFlow::Break(end) = pass_on(&cx, &tx, item).await {
                    return end;
                }
            }
            Outcome::<(), E>::Ok(())
        });
        rx
    }
}

/// The messages of a channel; from [`Pipeline::from_receiver`](crate::Pipeline::from_receiver).
pub struct Received<T, E> {
    pub(crate) receiver: Receiver<T>,
    pub(crate) error: PhantomData<fn() -> E>,
}

impl<C, T, E> Stages<C> for Received<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = T;
    type Err = E;

    fn launch(self, _scope: &Scope<'_, E, C>) -> Receiver<T> {
        self.receiver
    }
}

/// A stage behind others; from [`Pipeline::stage`](crate::Pipeline::stage).
pub struct Stage<P, F> {
    pub(crate) previous: P,
    pub(crate) options: StageOptions,
    pub(crate) work: F,
}

impl<C, P, F, Fut> Stages<C> for Stage<P, F>
where
    C: HasSpawn + 'static,
    P: Stages<C>,
    F: Fn(Cx<C>, P::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome<Ok: Send + 'static, Err = P::Err>> + Send + 'static,
{
    type Item = OkOf<Fut>;
    type Err = P::Err;

    fn launch(self, scope: &Scope<'_, P::Err, C>) -> Receiver<OkOf<Fut>> {
        let input = self.previous.launch(scope);
        let (output, next) = mpsc::channel(self.options.capacity);
        let line = Line {
            input,
            output,
            work: Arc::new(self.work),
        };
        let many = self.options.concurrency;
        match (many, self.options.is_ordered) {
            (1, _) => drop(scope.spawn(move |cx| line.one_by_one(cx))),
            (_, true) => drop(scope.spawn(move |cx| line.in_order(cx, many))),
            (_, false) => drop(scope.spawn(move |cx| line.whoever_ends(cx, many))),
        }
        next
    }
}

/// A stage at work.
struct Line<I, O, F> {
    input: Receiver<I>,
    output: Sender<O>,
    work: Arc<F>,
}

impl<I, O, F> Line<I, O, F>
where
    I: Send + 'static,
    O: Send + 'static,
{
    async fn one_by_one<C, E, Fut>(mut self, cx: Cx<C>) -> Outcome<(), E>
    where
        F: Fn(Cx<C>, I) -> Fut,
        Fut: Future<Output: IntoOutcome<Ok = O, Err = E>>,
    {
        loop {
            let item = match take(&cx, &mut self.input).await {
                ControlFlow::Continue(item) => item,
                ControlFlow::Break(end) => return end,
            };
            let made = match (self.work)(cx.clone(), item).await.into_outcome() {
                Outcome::Ok(made) => made,
                bad => return bad.map(drop),
            };
            if let ControlFlow::Break(end) = pass_on(&cx, &self.output, made).await {
                return end;
            }
        }
    }

    async fn in_order<C, E, Fut>(mut self, cx: Cx<C>, many: usize) -> Outcome<(), E>
    where
        C: HasSpawn + 'static,
        E: Send + 'static,
        F: Fn(Cx<C>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome<Ok = O, Err = E>> + Send + 'static,
    {
        cx.region(async |scope| {
            // With the one being joined, so many are under way.
            let (line, queue) = mpsc::channel(many - 1);
            let output = self.output;
            scope.spawn(move |cx| join_in_turn(cx, queue, output));
            loop {
                let Ok(permit) = line.reserve(scope.cx()).await else {
                    // Cancelled, or nobody reads the output any more.
                    return stopped(scope.cx());
                };
                let item = match take(scope.cx(), &mut self.input).await {
                    ControlFlow::Continue(item) => item,
                    ControlFlow::Break(end) => {
                        permit.abort();
                        return end;
                    }
                };
                let work = Arc::clone(&self.work);
                let task = scope.spawn(async move |cx: Cx<C>| work(cx, item).await.into_outcome());
                if permit.send(task).is_err() {
                    return stopped(scope.cx());
                }
            }
        })
        .await
    }

    async fn whoever_ends<C, E, Fut>(mut self, cx: Cx<C>, many: usize) -> Outcome<(), E>
    where
        C: HasSpawn + 'static,
        E: Send + 'static,
        F: Fn(Cx<C>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome<Ok = O, Err = E>> + Send + 'static,
    {
        cx.region(async |scope| {
            let (token, mut tokens) = mpsc::channel(many);
            for _ in 0..many {
                token.try_send(()).expect("there is room for every token");
            }
            loop {
                // The body keeps a sender, so only its cancellation ends this.
                if tokens.recv(scope.cx()).await.is_err() || self.output.is_closed() {
                    return stopped(scope.cx());
                }
                let item = match take(scope.cx(), &mut self.input).await {
                    ControlFlow::Continue(item) => item,
                    ControlFlow::Break(end) => return end,
                };
                let work = Arc::clone(&self.work);
                let (output, token) = (self.output.clone(), token.clone());
                scope.spawn(async move |cx: Cx<C>| {
                    let made = match work(cx.clone(), item).await.into_outcome() {
                        Outcome::Ok(made) => made,
                        bad => return bad.map(drop),
                    };
                    match pass_on(&cx, &output, made).await {
                        ControlFlow::Continue(()) => {
                            // A stage that has stopped wants no token.
                            let _ = token.try_send(());
                            Outcome::Ok(())
                        }
                        ControlFlow::Break(end) => {
                            let _ = token.try_send(());
                            end
                        }
                    }
                });
            }
        })
        .await
    }
}

async fn join_in_turn<C, O, E>(
    cx: Cx<C>,
    mut queue: Receiver<JoinHandle<O, E>>,
    output: Sender<O>,
) -> Outcome<(), E> {
    loop {
        let task = match take(&cx, &mut queue).await {
            ControlFlow::Continue(task) => task,
            ControlFlow::Break(end) => return end,
        };
        let made = match task.join(&cx).await {
            Outcome::Ok(made) => made,
            bad => return bad.map(drop),
        };
        if let ControlFlow::Break(end) = pass_on(&cx, &output, made).await {
            return end;
        }
    }
}

/// The end of a stage that can go no further: cancelled, or no longer wanted.
fn stopped<C, E>(cx: &Cx<C>) -> Outcome<(), E> {
    match cx.checkpoint() {
        Ok(()) => Outcome::Ok(()),
        Err(cancelled) => Outcome::Cancelled(cancelled.into_reason()),
    }
}

/// The next item; or the stage's end, because there is none or it must stop.
pub(crate) async fn take<C, T, E>(
    cx: &Cx<C>,
    input: &mut Receiver<T>,
) -> ControlFlow<Outcome<(), E>, T> {
    match input.recv(cx).await {
        Ok(item) => ControlFlow::Continue(item),
        Err(RecvError::Cancelled(cancelled)) => {
            ControlFlow::Break(Outcome::Cancelled(cancelled.into_reason()))
        }
        Err(_) => ControlFlow::Break(Outcome::Ok(())),
    }
}

/// Passes an item on; or the stage's end, because nobody wants it or it must stop.
async fn pass_on<C, T, E>(cx: &Cx<C>, output: &Sender<T>, item: T) -> ControlFlow<Outcome<(), E>> {
    match output.send(cx, item).await {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => match error.failure {
            SendFailure::Cancelled(cancelled) => {
                ControlFlow::Break(Outcome::Cancelled(cancelled.into_reason()))
            }
            _ => ControlFlow::Break(Outcome::Ok(())),
        },
    }
}
