//! The first phase of a hand-over: a bound receiver, and the obligation to give it a value or let it go.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_core::ObligationKind;
use asupersync_kernel::{CancelWait, Cx, Leaked, Obligation};

use super::ends::Sender;
use super::error::{ReserveError, SendError, SendFailure};
use super::meeting::{Meeting, Met, Ticket};

/// A receiver and the obligation to it.
struct Promise {
    receiver: Ticket,
    obligation: Obligation,
}

/// A bound receiver; dropping the permit lets it go on waiting.
#[must_use = "dropping the permit lets the receiver go on waiting"]
pub struct SendPermit<'a, T> {
    meeting: &'a Meeting<T>,
    promise: Option<Promise>,
}

impl<T> SendPermit<'_, T> {
    /// Gives the receiver its value; never waits.
    ///
    /// The effect is *committed*: if the receiver leaves before its next poll, the next one gets the value.
    /// # Errors
    /// [`SendError`] hands the value back: the receiver has left before, or the task that reserved has ended, which leaked the permit.
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        let promise = self.promise.take();
        let Promise {
            receiver,
            obligation,
        } = promise.expect("only `send`, `abort` and `drop` take the promise");
        match obligation.commit() {
            Ok(()) => self
                .meeting
                .give(receiver, value)
                .map_err(|(value, is_closed)| {
                    let failure = if is_closed {
                        SendFailure::Closed
                    } else {
                        SendFailure::ReceiverLeft
                    };
                    SendError::new(value, failure)
                }),
            leaked => {
                self.settle(receiver, leaked);
                Err(SendError::new(value, SendFailure::Leaked))
            }
        }
    }

    /// Lets the receiver go on waiting, on purpose: strict mode does not report it.
    pub fn abort(mut self) {
        if let Some(promise) = self.promise.take() {
            self.settle(promise.receiver, promise.obligation.abort());
        }
    }

    /// Lets the receiver go, unless the kernel has done so.
    fn settle(&self, receiver: Ticket, settled: Result<(), Leaked>) {
        if !settled.is_err_and(|leaked| leaked.is_recovered()) {
            self.meeting.unbind(receiver);
        }
    }
}

impl<T> Drop for SendPermit<'_, T> {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            self.settle(promise.receiver, promise.obligation.discard());
        }
    }
}

impl<T> fmt::Debug for SendPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}

/// Waits for a receiver; from [`Sender::reserve`].
///
/// # Cancel safety
/// Requeues: a receiver that it had bound goes on waiting in its old place.
#[must_use = "futures do nothing unless polled"]
pub struct Reserve<'a, T, C> {
    sender: &'a Sender<T>,
    cx: &'a Cx<C>,
    place: Option<Ticket>,
    cancel: CancelWait,
    site: &'static Location<'static>,
}

impl<'a, T, C> Reserve<'a, T, C> {
    #[track_caller]
    pub(super) const fn new(sender: &'a Sender<T>, cx: &'a Cx<C>) -> Self {
        Self {
            sender,
            cx,
            place: None,
            cancel: CancelWait::new(),
            site: Location::caller(),
        }
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.place.take() {
            // A reservation has no value.
            let _none = self.sender.meeting().leave_sender(ticket);
        }
    }
}

impl<'a, T: Send + 'static, C> Future for Reserve<'a, T, C> {
    type Output = Result<SendPermit<'a, T>, ReserveError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.leave();
            return Poll::Ready(Err(cancelled.into()));
        }
        let meeting = this.sender.meeting();
        let ticket = match this.place {
            Some(ticket) => ticket,
            None => match meeting.enter(None, task.waker().clone()) {
                Ok(ticket) => *this.place.insert(ticket),
                Err(_) => return Poll::Ready(Err(ReserveError::Closed)),
            },
        };
        match meeting.poll_sender(ticket, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Met::Bound(receiver)) => {
                this.place = None;
                let obligation = Obligation::reserve_recoverable_at(
                    this.cx,
                    ObligationKind::SendPermit,
                    meeting,
                    receiver.0,
                    this.site,
                );
                meeting.resource.trace("rendezvous.reserve");
                Poll::Ready(Ok(SendPermit {
                    meeting,
                    promise: Some(Promise {
                        receiver,
                        obligation,
                    }),
                }))
            }
            Poll::Ready(Met::Closed | Met::Taken) => {
                this.leave();
                Poll::Ready(Err(ReserveError::Closed))
            }
        }
    }
}

impl<T, C> Drop for Reserve<'_, T, C> {
    fn drop(&mut self) {
        self.leave();
    }
}
