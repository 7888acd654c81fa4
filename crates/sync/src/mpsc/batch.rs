//! Many messages by one call.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_kernel::CancelWait;

use super::chan::{Chan, Enter};
use super::error::SendFailure;
use super::ring::Refusal;

/// Sends several messages; from [`Sender::send_all`](super::Sender::send_all).
///
/// # Cancel safety
/// Safe: what was not sent stays with the caller.
#[must_use = "futures do nothing unless polled"]
pub struct SendAll<'a, T> {
    chan: &'a Chan<T>,
    values: &'a mut VecDeque<T>,
    enter: Enter,
    cancel: CancelWait,
}

impl<'a, T> SendAll<'a, T> {
    pub(super) const fn new(chan: &'a Chan<T>, values: &'a mut VecDeque<T>) -> Self {
        Self {
            chan,
            values,
            enter: Enter::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Sends what there is room for.
    fn send_some(&mut self) -> Result<(), SendFailure> {
        while let Some(value) = self.values.pop_front() {
            if let Err((value, refusal)) = self.chan.try_send(value) {
                self.values.push_front(value);
                return match refusal {
                    Refusal::Full => Ok(()),
                    Refusal::Closed => Err(SendFailure::Closed),
                };
            }
        }
        Ok(())
    }

    /// Waits for one slot and fills it.
    fn poll_one(&mut self, task: &Context<'_>) -> Poll<Result<(), SendFailure>> {
        let reserved = match self.enter.poll(self.chan, task.waker()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(SendFailure::Closed)),
            Poll::Ready(Ok(reserved)) => reserved,
        };
        let Some(value) = self.values.pop_front() else {
            self.chan.give_back(reserved);
            return Poll::Ready(Ok(()));
        };
        let sent = self.chan.send_reserved(reserved, value);
        Poll::Ready(sent.map_err(|(value, _)| {
            self.values.push_front(value);
            SendFailure::Closed
        }))
    }
}

impl<T> Future for SendAll<'_, T> {
    type Output = Result<(), SendFailure>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.enter.leave(this.chan);
            return Poll::Ready(Err(cancelled.into()));
        }
        loop {
            if !this.enter.is_in_line()
                && let Err(failure) = this.send_some()
            {
                return Poll::Ready(Err(failure));
            }
            if this.values.is_empty() && !this.enter.is_in_line() {
                return Poll::Ready(Ok(()));
            }
            match this.poll_one(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Ready(Ok(())) => {}
            }
        }
    }
}

impl<T> Drop for SendAll<'_, T> {
    fn drop(&mut self) {
        self.enter.leave(self.chan);
    }
}
