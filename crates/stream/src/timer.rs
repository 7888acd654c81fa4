//! One moment that an adaptor waits for, besides its source.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asupersync_core::Time;
use asupersync_kernel::caps::HasTime;
use asupersync_kernel::{Cx, Sleep};

/// Why a timer rang.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ring {
    /// The moment has come.
    Due,
    /// The context being polled must stop, so nothing is to be held back any longer.
    Stop,
}

pub(crate) struct Timer<'a, C> {
    cx: &'a Cx<C>,
    sleep: Sleep<'a, C>,
    is_set: bool,
}

impl<'a, C: HasTime> Timer<'a, C> {
    pub(crate) const fn new(cx: &'a Cx<C>) -> Self {
        Self {
            cx,
            sleep: cx.sleep_until(Time::MAX),
            is_set: false,
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.cx.now()
    }

    pub(crate) const fn is_set(&self) -> bool {
        self.is_set
    }

    pub(crate) fn set(&mut self, after: Duration) {
        self.set_at(self.now() + after);
    }

    pub(crate) fn set_at(&mut self, at: Time) {
        Pin::new(&mut self.sleep).reset(at);
        self.is_set = true;
    }

    pub(crate) fn clear(&mut self) {
        Pin::new(&mut self.sleep).reset(Time::MAX);
        self.is_set = false;
    }

    /// Ready once, if a moment is set and has come; the timer is then not set any more.
    pub(crate) fn poll(&mut self, task: &mut Context<'_>) -> Poll<Ring> {
        if !self.is_set {
            return Poll::Pending;
        }
        let rung = Pin::new(&mut self.sleep).poll(task);
        rung.map(|end| {
            self.is_set = false;
            match end {
                Ok(()) => Ring::Due,
                Err(_) => Ring::Stop,
            }
        })
    }
}
