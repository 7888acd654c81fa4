//! A value that is made once, by whoever comes first and succeeds.
//!
//! The problem: many ask at once for a value that takes a while to make; one makes it, and may fail, be cancelled, dropped or panic on the way.
//!
//! # States
//! empty → making, by one leader → empty again, if the leader did not succeed; or set, for good.
//!
//! # Invariants
//! - One leader at a time: it holds the only permit of a semaphore. Once the value is set the semaphore is closed, and nobody waits again.
//! - A leader that ends without a value, in whatever way, returns the permit; so the first in line becomes the leader and runs its *own* closure.
//! - The value is set before the semaphore is closed, so whoever finds it closed finds the value.

mod lazy;

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use crate::semaphore::counter::{Counter, Operations, Refusal, Take};

pub use lazy::Lazy;

/// Why there is no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError<E> {
    /// The closure failed; the next in line tries with its own.
    #[error(transparent)]
    Failed(E),
    /// The context had to stop while another made the value.
    #[error("cancelled while another makes the value")]
    Cancelled(#[from] Cancelled),
}

/// Why the value was not set; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError<T> {
    /// There is a value already.
    #[error("there is a value already")]
    AlreadySet(T),
    /// Somebody is making one.
    #[error("somebody is making a value")]
    Initializing(T),
}

/// A value that is set once, and made by the first who needs it.
///
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::OnceCell;
/// static ADDRESS: OnceCell<String> = OnceCell::new();
/// async fn look_up(cx: &Cx) -> Result<String, Cancelled> {
///     cx.checkpoint()?;
///     Ok("192.0.2.1".to_owned())
/// }
/// async fn address(cx: &Cx) -> Result<&'static str, Box<dyn std::error::Error>> {
///     Ok(ADDRESS.get_or_try_init(cx, || look_up(cx)).await?)
/// }
/// ```
pub struct OnceCell<T> {
    value: OnceLock<T>,
    leadership: Counter,
}

impl<T> OnceCell<T> {
    crate::primitive::const_unless_loom! {
        /// Without a value.
        #[must_use]
        pub fn new() -> Self {
            Self {
                value: OnceLock::new(),
                leadership: Counter::new(1, &OPERATIONS),
            }
        }
    }

    /// The value, if there is one.
    ///
    /// Cost: one load.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if there is one; exclusive access needs no care.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// The value, if there is one.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, and leaves an empty cell.
    #[must_use]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.get().is_some()
    }

    /// Sets the value, if there is none and nobody is making one.
    ///
    /// # Errors
    /// [`SetError`] with the value, and what stands in the way.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        match self.leadership.try_take(1, None) {
            Ok(()) => {
                self.leader().succeed(value);
                Ok(())
            }
            Err(Refusal::Short) => Err(SetError::Initializing(value)),
            Err(Refusal::Closed) => Err(SetError::AlreadySet(value)),
        }
    }

    /// The value, made by `init` if there is none; see [`get_or_try_init`](Self::get_or_try_init).
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop while another makes the value.
    /// # Cancel safety
    /// Requeues: a call that was making the value drops what `init` returned, and the next in line makes it.
    pub async fn get_or_init<C, F, Fut>(&self, cx: &Cx<C>, init: F) -> Result<&T, Cancelled>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let _ = cx;
        if let Some(value) = self.get() {
            return Ok(value);
        }
        if let Some(leader) = self.lead().await? {
            leader.succeed(init().await);
        }
        Ok(self.present())
    }

    /// The value, made by `init` if there is none.
    ///
    /// One call at a time runs its closure, in its own task; the others wait in line.
    /// If the closure fails or panics, or its call is cancelled or dropped, the first in line runs its own.
    /// A closure that asks the same cell for its value waits for itself; the lab names that as a futurelock.
    /// Cost: one load once the value is set.
    /// # Errors
    /// [`InitError::Failed`] with what `init` gave, [`InitError::Cancelled`] if the context being polled must stop while another makes the value.
    /// # Cancel safety
    /// Requeues: a call that was making the value drops what `init` returned, and the next in line makes it.
    pub async fn get_or_try_init<C, F, Fut, E>(
        &self,
        cx: &Cx<C>,
        init: F,
    ) -> Result<&T, InitError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let _ = cx;
        if let Some(value) = self.get() {
            return Ok(value);
        }
        if let Some(leader) = self.lead().await? {
            leader.succeed(init().await.map_err(InitError::Failed)?);
        }
        Ok(self.present())
    }

    fn present(&self) -> &T {
        self.get()
            .expect("the value was set before the leadership was closed")
    }

    const fn lead(&self) -> Lead<'_, T> {
        Lead {
            cell: self,
            take: Take::new(1),
            cancel: CancelWait::new(),
        }
    }

    /// For who has taken the permit only: the leader stands for it.
    fn leader(&self) -> Leader<'_, T> {
        self.leadership.resource.trace("once_cell.acquire");
        Leader { cell: self }
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        // Nobody else has seen the cell, so nothing stands in the way.
        let _ = cell.set(value);
        cell
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.get())
            .finish_non_exhaustive()
    }
}

/// The right to make the value; without a value it goes to the first in line.
struct Leader<'a, T> {
    cell: &'a OnceCell<T>,
}

impl<T> Leader<'_, T> {
    fn succeed(self, value: T) {
        // The leader alone sets, so the cell is empty.
        let _ = self.cell.value.set(value);
    }
}

impl<T> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        self.cell.leadership.resource.trace("once_cell.release");
        if self.cell.is_set() {
            self.cell.leadership.close();
        } else {
            // One permit is out and returns, so there is room for it.
            let _ = self.cell.leadership.add(1, None);
        }
    }
}

static OPERATIONS: Operations = Operations {
    wait: "once_cell.wait",
    grant: "once_cell.grant",
    give_back: "once_cell.give_back",
    leave: "once_cell.leave",
};

/// Waits to become the leader; `None` once there is a value.
struct Lead<'a, T> {
    cell: &'a OnceCell<T>,
    take: Take,
    cancel: CancelWait,
}

impl<T> Lead<'_, T> {
    fn leave(&mut self) {
        if self.take.is_in_line() {
            self.take.leave(&self.cell.leadership);
        }
    }
}

impl<'a, T> Future for Lead<'a, T> {
    type Output = Result<Option<Leader<'a, T>>, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled));
        }
        match this.take.poll(&this.cell.leadership, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Some(this.cell.leader()))),
            Poll::Ready(Err(_)) => {
                this.cell.leadership.resource.trace("once_cell.leave");
                Poll::Ready(Ok(None))
            }
        }
    }
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}
