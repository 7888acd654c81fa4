//! Waiting for time.

use std::pin::Pin;
use std::ptr;
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
    timer: Option<Armed>,
    /// The deadline lay ahead when the sleep was made, and nobody has looked since.
    is_ahead: bool,
    cancel: CancelWait,
}

/// A timer that stands, or has fired.
struct Armed {
    key: TimerKey,
    wakes: Identity,
}

/// Whom a waker wakes, without a reference of its own: the timer holds the waker.
///
/// Another waker may look the same once the timer has fired, and then the deadline has passed.
#[derive(PartialEq, Eq)]
struct Identity {
    data: usize,
    vtable: usize,
}

impl Identity {
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: ptr::from_ref(waker.vtable()).addr(),
        }
    }
}

impl<'a, C> Sleep<'a, C> {
    pub(crate) const fn new(cx: &'a Cx<C>, deadline: Time) -> Self {
        Self {
            cx,
            deadline,
            timer: None,
            is_ahead: false,
            cancel: CancelWait::new(),
        }
    }

    /// A sleep whose deadline is later than the caller's reading of the clock, so that its first poll needs none.
    pub(crate) const fn ahead(cx: &'a Cx<C>, deadline: Time) -> Self {
        let mut sleep = Self::new(cx, deadline);
        sleep.is_ahead = true;
        sleep
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
        this.is_ahead = false;
        this.disarm();
    }

    fn disarm(&mut self) {
        if let Some(Armed { key, .. }) = self.timer.take() {
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
        if !std::mem::take(&mut this.is_ahead) && host.now() >= this.deadline {
            this.disarm();
            return Poll::Ready(Ok(()));
        }
        let wakes = Identity::of(task.waker());
        if this
            .timer
            .as_ref()
            .is_some_and(|armed| armed.wakes == wakes)
        {
            return Poll::Pending;
        }
        this.disarm();
        let (cx, at) = (this.cx, this.deadline);
        cx.node().record(|| Event::TimerSet { at });
        let key = cx.node().host().timer_insert(at, task.waker().clone());
        this.timer = Some(Armed { key, wakes });
        Poll::Pending
    }
}

impl<C> Drop for Sleep<'_, C> {
    fn drop(&mut self) {
        self.disarm();
    }
}
