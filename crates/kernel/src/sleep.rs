//! Waiting for time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asupersync_core::{Cancelled, Time};

use crate::cancel::CancelWait;
use crate::cx::Cx;
use crate::event::Event;
use crate::host::TimerKey;

/// Waits until a moment; from [`Cx::sleep`](crate::Cx::sleep).
///
/// Its output is `Ok` once the moment has come, or [`Cancelled`].
#[must_use = "futures do nothing unless polled"]
pub struct Sleep<'a, C> {
    cx: &'a Cx<C>,
    deadline: Time,
    timer: Option<(TimerKey, Waker)>,
    cancel: CancelWait,
}

impl<'a, C> Sleep<'a, C> {
    pub(crate) const fn new(cx: &'a Cx<C>, deadline: Time) -> Self {
        Self {
            cx,
            deadline,
            timer: None,
            cancel: CancelWait::new(),
        }
    }

    /// The moment waited for.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// Waits for another moment instead, also after the sleep has ended.
    pub fn reset(self: Pin<&mut Self>, deadline: Time) {
        let this = self.get_mut();
        this.deadline = deadline;
        this.disarm();
    }

    fn disarm(&mut self) {
        if let Some((key, _)) = self.timer.take() {
            self.cx.node().host().timer_cancel(key);
        }
    }
}

impl<C> Future for Sleep<'_, C> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        let host = this.cx.node().host();
        if host.now() >= this.deadline {
            this.disarm();
            return Poll::Ready(Ok(()));
        }
        if this
            .timer
            .as_ref()
            .is_some_and(|(_, waker)| waker.will_wake(task.waker()))
        {
            return Poll::Pending;
        }
        this.disarm();
        let host = this.cx.node().host();
        this.cx
            .node()
            .record(|| Event::TimerSet { at: this.deadline });
        let key = host.timer_insert(this.deadline, task.waker().clone());
        this.timer = Some((key, task.waker().clone()));
        Poll::Pending
    }
}

impl<C> Drop for Sleep<'_, C> {
    fn drop(&mut self) {
        self.disarm();
    }
}
