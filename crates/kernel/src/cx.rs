//! The explicit context: authority, budget and cancellation of one task or region body.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use asupersync_core::{Budget, CancelKind, CancelReason, Cancelled, RegionId, TaskId, Time};

use crate::cancel;
use crate::caps::{All, HasEntropy, HasIo, HasTime, Includes};
use crate::current;
use crate::event::{Event, Subject};
use crate::host::WorkerId;
use crate::mask::{MaskGuard, Shield};
use crate::mutation::{Mutation, is_on};
use crate::node::NodeRef;
use crate::sleep::Sleep;

/// A context: what the holder may do, how much of it, and whether it must stop.
///
/// Every task body gets one, every region body has one ([`Scope::cx`](crate::Scope::cx)), and every operation that waits asks for one.
/// Cloning is cheap: one reference count.
/// The type parameter is a capability set (see [`caps`](crate::caps)); `Cx` alone holds everything.
/// A framework can keep one in its own request context.
pub struct Cx<C = All> {
    node: NodeRef,
    caps: PhantomData<fn() -> C>,
}

impl<C> Cx<C> {
    pub(crate) const fn from_node(node: NodeRef) -> Self {
        Self {
            node,
            caps: PhantomData,
        }
    }

    pub(crate) const fn node(&self) -> &NodeRef {
        &self.node
    }

    /// A context with fewer capabilities, for the same task.
    ///
    /// # Examples
    /// ```
    /// use asupersync_kernel::{Cx, caps};
    /// fn parse(cx: &Cx<caps::Nothing>) -> bool {
    ///     cx.checkpoint().is_ok()
    /// }
    /// fn handle(cx: &Cx) -> bool {
    ///     parse(&cx.restrict())
    /// }
    /// ```
    #[must_use]
    pub fn restrict<D>(&self) -> Cx<D>
    where
        C: Includes<D>,
    {
        Cx::from_node(self.node.clone())
    }

    /// Fails if the holder must stop now.
    ///
    /// Level-triggered: once it has failed it fails again until the body ends, except under a mask or shield.
    /// Code that computes for long calls it now and then.
    /// Cost: two loads while nothing is cancelled.
    /// # Errors
    /// [`Cancelled`] with the reason.
    #[inline]
    pub fn checkpoint(&self) -> Result<(), Cancelled> {
        let is_asked = current::with(|node, _| node.marks.is_cancelled()) == Some(true);
        if !is_asked && !self.node.marks.is_cancelled() {
            return Ok(());
        }
        self.checkpoint_cancelled()
    }

    #[cold]
    fn checkpoint_cancelled(&self) -> Result<(), Cancelled> {
        let shield = current::shield();
        let inner = current::with(cancel::observe).flatten();
        match inner.or_else(|| cancel::observe(&self.node, shield)) {
            None => Ok(()),
            Some(reason) => Err(Cancelled::new(reason)),
        }
    }

    /// Whether cancellation was requested, masked or not.
    #[must_use]
    pub fn is_cancel_requested(&self) -> bool {
        self.node.marks.is_cancelled()
    }

    /// The standing reason, masked or not.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        cancel::reason(&self.node)
    }

    /// Holds cancellation back until the guard is dropped or the cleanup budget is spent.
    ///
    /// Everything that runs under this context is masked, regions opened meanwhile included.
    ///
    /// # Panics
    /// If 8,192 masks of this context hold already.
    #[must_use = "the mask ends when the guard is dropped"]
    pub fn mask(&self) -> MaskGuard {
        MaskGuard::new(self.node.clone())
    }

    /// Runs `future` with cancellation held back; see [`mask`](Self::mask).
    ///
    /// Only what is polled within `future` is shielded.
    /// # Cancel safety
    /// Safe: the shield itself holds nothing; a dropped call drops `future`, whose own word then counts.
    pub const fn shield<F: Future>(&self, future: F) -> Shield<F> {
        Shield::new(future)
    }

    /// The budget in force: the meet of all budgets from the root to here.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.node.budget()
    }

    /// Charges `cost` units to the budget's cost quota.
    ///
    /// # Errors
    /// [`Cancelled`] if the quota is spent, which cancels the holder with `CostBudget`, or if it was cancelled before.
    pub fn spend(&self, cost: u64) -> Result<(), Cancelled> {
        let Some(quota) = self.budget().cost_quota else {
            return self.checkpoint();
        };
        let spent = {
            let mut inner = self.node.lock();
            let extra = inner.more.extra_or_new();
            extra.cost_spent = extra.cost_spent.saturating_add(cost);
            extra.cost_spent
        };
        self.node.record(|| Event::CostSpent {
            subject: self.node.subject(),
            cost,
        });
        if spent > quota && !self.node.marks.is_cancelled() && !is_on(Mutation::CostIsFree) {
            let now = self.node.host().now();
            let reason = CancelReason::new(CancelKind::CostBudget, self.node.origin(), now);
            cancel::request(&self.node, reason);
        }
        self.checkpoint()
    }

    /// The region that the holder belongs to, or is the body of.
    #[must_use]
    pub fn region_id(&self) -> RegionId {
        self.node.region().id
    }

    /// The holder's name, if it is a task or a fiber and not a region's body.
    #[must_use]
    pub fn task_id(&self) -> Option<TaskId> {
        match self.node.subject() {
            Subject::Task(task) => Some(task),
            Subject::Region(_) => None,
        }
    }

    /// The name given at spawn, if one was.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.node
            .lock()
            .more
            .extra()
            .and_then(|extra| extra.name.as_ref().map(ToString::to_string))
    }

    /// The worker on whose thread the call is made, if it is one of the host's.
    ///
    /// For caches of which each worker has its own part.
    #[must_use]
    pub fn current_worker(&self) -> Option<WorkerId> {
        self.node.host().current_worker()
    }

    /// Leaves a mark in the host's trace, if it records.
    pub fn trace(&self, text: impl Into<String>) {
        self.node.record(|| Event::Mark {
            subject: self.node.subject(),
            text: text.into(),
        });
    }

    /// A driver of a higher layer, by its type, if the host has one.
    #[must_use]
    pub fn port<P: Send + Sync + 'static>(&self) -> Option<&P> {
        self.node.host().port(TypeId::of::<P>())?.downcast_ref()
    }

    /// Gives other tasks their turn.
    ///
    /// # Errors
    /// [`Cancelled`] if the holder must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub async fn yield_now(&self) -> Result<(), Cancelled> {
        self.checkpoint()?;
        YieldNow { yielded: false }.await;
        self.checkpoint()
    }
}

impl<C: HasTime> Cx<C> {
    /// The current time of the host's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.node.host().now()
    }

    /// The time of day, by the clock of the machine.
    ///
    /// It may be wrong, jump, and go back, and two machines do not agree on it: it is for people, certificates and what other machines have stamped.
    /// How long something takes is measured by [`now`](Self::now).
    /// Under the lab it begins at a fixed moment, and may be made wrong on purpose.
    ///
    /// # Examples
    /// ```
    /// use asupersync_kernel::Cx;
    /// use std::time::SystemTime;
    ///
    /// fn is_valid(cx: &Cx, not_after: SystemTime) -> bool {
    ///     cx.wall_now() <= not_after
    /// }
    /// # let _ = is_valid;
    /// ```
    #[must_use]
    pub fn wall_now(&self) -> SystemTime {
        self.node.host().wall_now()
    }

    /// Waits for `duration`, counted from the call.
    ///
    /// A sleep that is polled for the first time after its end waits until its worker looks at its timers.
    /// # Errors
    /// [`Cancelled`] if the holder must stop.
    /// # Cancel safety
    /// Safe: nothing happened; a new sleep starts anew.
    pub fn sleep(&self, duration: Duration) -> Sleep<'_, C> {
        let duration = if is_on(Mutation::SleepIsShort) {
            duration / 2
        } else {
            duration
        };
        let now = self.now();
        let deadline = now + duration;
        match deadline > now {
            true => Sleep::ahead(self, deadline),
            false => Sleep::new(self, deadline),
        }
    }

    /// Waits until `deadline`; a deadline that has passed does not wait.
    ///
    /// # Errors
    /// [`Cancelled`] if the holder must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub const fn sleep_until(&self, deadline: Time) -> Sleep<'_, C> {
        Sleep::new(self, deadline)
    }
}

impl<C: HasEntropy> Cx<C> {
    /// A random number; under the lab a function of the seed.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let value = self.node.host().random_u64();
        self.node.record(|| Event::EntropyDrawn { value });
        value
    }
}

impl<C: HasIo> Cx<C> {
    /// Runs `job` on the blocking pool and waits for its result, also under cancellation: a running job cannot be stopped.
    ///
    /// The region counts the job as its own until it has ended, so it cannot outlive the region even if this future is dropped.
    /// # Errors
    /// [`BlockingError::Cancelled`](crate::BlockingError) if the holder had to stop before the job was handed over; nothing was started.
    /// [`BlockingError::Panicked`](crate::BlockingError) if the job panicked.
    /// # Cancel safety
    /// Lossy: a dropped call loses the result; the job runs to its end and the region waits for it.
    pub async fn blocking<T, F>(&self, job: F) -> Result<T, crate::BlockingError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        crate::blocking::run(self, job).await
    }
}

impl<C> Clone for Cx<C> {
    fn clone(&self) -> Self {
        Self::from_node(self.node.clone())
    }
}

impl<C> fmt::Debug for Cx<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("subject", &self.node.subject())
            .field("stage", &self.node.stage())
            .field("mask", &self.node.state.masks())
            .finish()
    }
}

struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        if self.yielded {
            return std::task::Poll::Ready(());
        }
        self.yielded = true;
        task.waker().wake_by_ref();
        std::task::Poll::Pending
    }
}
