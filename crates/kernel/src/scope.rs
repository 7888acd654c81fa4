//! What a region's body does with its region.

use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;

use asupersync_core::{Budget, CancelKind, ErrOf, IntoOutcome, OkOf, Outcome, RegionId};

use crate::cancel;
use crate::caps::{All, HasSpawn};
use crate::cx::Cx;
use crate::event::{Event, Name};
use crate::fiber::Fiber;
use crate::inline::Inline;
use crate::join::JoinHandle;
use crate::region::{OpenRegion, RegionOptions};
use crate::task::{self, SpawnInit};

/// How a task is spawned.
///
/// # Examples
/// ```
/// use asupersync_kernel::SpawnOptions;
/// use asupersync_core::Budget;
/// let options = SpawnOptions::new().name("indexer").budget(Budget::new().with_priority(3));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SpawnOptions {
    name: Option<Name>,
    budget: Option<Budget>,
}

impl SpawnOptions {
    /// No name, and the region's budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the task in reports and traces.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(Name::shared(&name.into()));
        self
    }

    /// Narrows the task's budget.
    #[must_use]
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// A region, in the hands of its body.
///
/// Only the body has it: it borrows from the context that opened the region, so no task and no thread can keep it.
pub struct Scope<'s, E, C = All> {
    cx: Cx<C>,
    opener: PhantomData<&'s ()>,
    error: PhantomData<fn(E)>,
}

impl<C: HasSpawn> Cx<C> {
    /// Opens a region, runs `body` in it, and returns when nothing of it is left.
    ///
    /// The body runs inline and may borrow; what it spawns on the [`Scope`] are tasks.
    /// When the body ends well, the region waits for its tasks; otherwise it cancels them first.
    /// Finalizers run last.
    /// # Errors
    /// The outcome is the body's, or that of a task that failed and that nobody joined, whichever is worse (`Ok < Err < Cancelled < Panicked`).
    /// A body that was cancelled only because a task failed gives way to that task's end.
    /// # Cancel safety
    /// Drains: a dropped call cancels the region; the enclosing region finishes its closing, within the cleanup budgets, before it closes itself.
    /// # Examples
    /// ```
    /// # use asupersync_kernel::Cx;
    /// # use asupersync_core::{Cancelled, Outcome};
    /// async fn sum(cx: &Cx) -> Outcome<u32, Cancelled> {
    ///     let base = 40;
    ///     cx.region(async |scope| {
    ///         let two = scope.spawn(async |cx: Cx| {
    ///             cx.checkpoint()?;
    ///             Ok::<u32, Cancelled>(2)
    ///         });
    ///         two.join(scope.cx()).await.map(|two| base + two).into_result()
    ///     })
    ///     .await
    /// }
    /// ```
    #[inline]
    pub fn region<'s, F, Fut>(
        &'s self,
        body: F,
    ) -> impl Future<Output = Outcome<OkOf<Fut>, ErrOf<Fut>>> + use<'s, C, F, Fut>
    where
        F: FnOnce(Scope<'s, ErrOf<Fut>, C>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        in_region(self, || OpenRegion::open(self.node(), None), body)
    }

    /// Like [`region`](Self::region), with a policy or a budget.
    ///
    /// # Cancel safety
    /// Drains: as [`region`](Self::region).
    pub fn region_with<'s, F, Fut>(
        &'s self,
        options: RegionOptions,
        body: F,
    ) -> impl Future<Output = Outcome<OkOf<Fut>, ErrOf<Fut>>> + use<'s, C, F, Fut>
    where
        F: FnOnce(Scope<'s, ErrOf<Fut>, C>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let open = move || OpenRegion::open(self.node(), Some(&options));
        in_region(self, open, body)
    }
}

/// Opens a region, runs `body` in it, and closes it.
///
/// Few and small things are kept from one step to the next, since each costs a move.
async fn in_region<'s, C, F, Fut>(
    _opener: &'s Cx<C>,
    open: impl FnOnce() -> OpenRegion,
    body: F,
) -> Outcome<OkOf<Fut>, ErrOf<Fut>>
where
    F: FnOnce(Scope<'s, ErrOf<Fut>, C>) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let mut region = open();
    let scope = Scope {
        cx: Cx::from_node(region.node().clone()),
        opener: PhantomData,
        error: PhantomData,
    };
    // The closure itself may panic; that is the body's panic, within the protocol.
    let body = async move { body(scope).await };
    let end = Inline::new(region.node(), body).await;
    if region.try_close_empty(end.severity()) {
        return end;
    }
    region.close(end).await
}

impl<'s, E, C> Scope<'s, E, C> {
    /// The body's context: the region's budget and cancellation.
    #[must_use]
    pub const fn cx(&self) -> &Cx<C> {
        &self.cx
    }

    /// The region's name.
    #[must_use]
    pub fn id(&self) -> RegionId {
        self.cx.region_id()
    }

    /// Spawns a task that any worker may run.
    ///
    /// The task starts soon, and the region does not close before it has ended.
    /// Cost: one allocation.
    /// # Errors
    /// If the region no longer admits work, the handle's outcome is `Cancelled` with `ResourceUnavailable` and the body is dropped unpolled.
    #[track_caller]
    pub fn spawn<F, Fut>(&self, task: F) -> JoinHandle<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
        ErrOf<Fut>: Into<E>,
    {
        self.spawn_with(SpawnOptions::new(), task)
    }

    /// Like [`spawn`](Self::spawn), with a name or a budget.
    #[track_caller]
    pub fn spawn_with<F, Fut>(
        &self,
        options: SpawnOptions,
        task: F,
    ) -> JoinHandle<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
        ErrOf<Fut>: Into<E>,
    {
        let init = SpawnInit {
            budget: options.budget,
            name: options.name,
            home: None,
            cleanup: false,
            site: Location::caller().file(),
            line: Location::caller().line(),
        };
        let node = task::spawn::<Fut, E>(self.cx.node(), init, |node| task(Cx::from_node(node)));
        // SAFETY: the task's future is `Fut`, and the types are its.
        unsafe { JoinHandle::new(node) }
    }

    /// Spawns a task that stays on this worker, so that it need not be `Send`.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    /// # Panics
    /// If it is called outside a worker of the runtime: a region body that is polled by a foreign executor has no worker to pin to.
    #[track_caller]
    pub fn spawn_local<F, Fut>(&self, task: F) -> JoinHandle<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx<C>) -> Fut + 'static,
        Fut: Future<Output: IntoOutcome> + 'static,
        ErrOf<Fut>: Into<E> + Send,
    {
        let home = self.cx.node().host().current_worker();
        let home = home.expect("`spawn_local` is called on a worker of the runtime");
        let init = SpawnInit {
            budget: None,
            name: None,
            home: Some(home),
            cleanup: false,
            site: Location::caller().file(),
            line: Location::caller().line(),
        };
        let node = task::spawn::<Fut, E>(self.cx.node(), init, |node| task(Cx::from_node(node)));
        // SAFETY: the task's future is `Fut`, and the types are its.
        unsafe { JoinHandle::new(node) }
    }

    /// Makes a child that may borrow from the body and is polled within it.
    ///
    /// It has its own context: it can be cancelled by itself, its panic is contained, its end goes to the region's policy.
    /// The body must await it, alone or together with others.
    /// # Cancel safety
    /// Drains: a dropped fiber drops its future; regions that it had opened are closed by the region around it.
    pub fn fiber<'f, F, Fut>(&'f self, fiber: F) -> Fiber<'f, Fut>
    where
        F: FnOnce(Cx<C>) -> Fut,
        Fut: Future<Output: IntoOutcome> + 'f,
    {
        Fiber::new(self.cx.node(), |node| fiber(Cx::from_node(node)))
    }

    /// Registers a finalizer: it runs when the region has become quiescent, the last registered first.
    ///
    /// It runs however the region ends, also after panics and if the region's future is dropped; masked, within a cleanup budget of its own.
    /// A panic in it makes the region's outcome `Panicked`; the other finalizers still run.
    pub fn defer<F, Fut>(&self, finalizer: F)
    where
        F: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let boxed: crate::extra::Finalizer = Box::new(move |node| {
            let future: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(async move { finalizer(Cx::from_node(node)).await });
            future
        });
        self.cx
            .node()
            .lock()
            .more
            .extra_or_new()
            .finalizers
            .push(boxed);
        let node = self.cx.node();
        node.record(|| Event::FinalizerAdded {
            region: node.region().id,
        });
    }

    /// Cancels the region: its body and everything in it.
    pub fn cancel(&self, kind: CancelKind) {
        let node = self.cx.node();
        cancel::request_now(node, kind);
    }
}

impl<E, C: HasSpawn> Scope<'_, E, C> {
    /// Opens a region within this one; see [`Cx::region`].
    ///
    /// # Cancel safety
    /// Drains: as [`Cx::region`].
    #[inline]
    pub fn region<'t, F, Fut>(
        &'t self,
        body: F,
    ) -> impl Future<Output = Outcome<OkOf<Fut>, ErrOf<Fut>>> + use<'t, E, C, F, Fut>
    where
        F: FnOnce(Scope<'t, ErrOf<Fut>, C>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        self.cx.region(body)
    }
}
