//! The handles of a rendezvous.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use super::error::{RecvError, SendError, SendFailure, TryRecvError, TrySendError};
use super::meeting::{Meeting, Met, Ticket};
use super::permit::Reserve;
use crate::line::InLine;
use crate::thread;

/// A channel without a buffer.
///
/// # Examples
/// ```
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::rendezvous::{self, RecvError};
/// async fn meet(cx: &Cx) -> Outcome<u32, RecvError> {
///     let (tx, rx) = rendezvous::channel();
///     cx.region(async |scope| {
///         scope.spawn(async move |cx: Cx| {
///             // Returns when the value is on the other side.
///             tx.send(&cx, 7).await.map_err(|_| RecvError::Closed)
///         });
///         rx.recv(scope.cx()).await
///     })
///     .await
/// }
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let meeting = Arc::new(Meeting::new());
    let sender = Sender {
        meeting: Arc::clone(&meeting),
    };
    (sender, Receiver { meeting })
}

/// Hands values over; cloned for each task that does.
pub struct Sender<T> {
    meeting: Arc<Meeting<T>>,
}

impl<T> Sender<T> {
    /// Hands `value` over, waiting until a receiver has taken it.
    ///
    /// A call whose value was taken says so, also if its context had to stop meanwhile.
    /// # Errors
    /// [`SendError`] hands the value back, which nobody took: the channel is closed, or the context being polled must stop.
    /// # Cancel safety
    /// Lossy: a dropped call drops the value if it was not taken; a cancelled one hands it back. To keep it in any case, [`reserve`](Self::reserve) first.
    pub fn send<'a, C>(&'a self, cx: &'a Cx<C>, value: T) -> Send<'a, T> {
        let _ = cx;
        Send {
            meeting: &self.meeting,
            bid: Bidding::New(Some(value)),
            cancel: CancelWait::new(),
        }
    }

    /// Hands `value` over if a receiver waits and no sender stands before.
    ///
    /// If that receiver leaves before its next poll, the next one gets the value.
    /// # Errors
    /// [`TrySendError`] hands the value back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.meeting
            .try_send(value)
            .map_err(|(value, is_closed)| match is_closed {
                true => TrySendError::Closed(value),
                false => TrySendError::NoReceiver(value),
            })
    }

    /// Blocks the thread until a receiver has taken `value`; for threads outside the runtime.
    ///
    /// # Errors
    /// [`SendError`] hands the value back if the channel is closed.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let mut bid = Bidding::New(Some(value));
        let sent = thread::wait(|task| bid.poll(&self.meeting, task));
        sent.map_err(|value| SendError::new(value, SendFailure::Closed))
    }

    /// Waits until there is no receiver, or the channel was closed.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> Closed<'a, T> {
        let _ = cx;
        Closed {
            meeting: &self.meeting,
            wait: InLine::new(),
            cancel: CancelWait::new(),
        }
    }

    /// Whether there is no receiver, or the channel was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.meeting.is_closed()
    }

    /// How many values wait to be taken, each with its sender.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meeting.len()
    }

    /// Whether no value waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the channel holds: none.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        0
    }

    /// How many senders there are.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.meeting.sender_count()
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.meeting.receiver_count()
    }

    /// Whether both hand over to the same receivers.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.meeting, &other.meeting)
    }

    /// A sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            meeting: Arc::clone(&self.meeting),
        }
    }

    pub(super) const fn meeting(&self) -> &Arc<Meeting<T>> {
        &self.meeting
    }
}

impl<T: std::marker::Send + 'static> Sender<T> {
    /// Waits until a receiver waits, and binds it.
    ///
    /// The permit is an obligation of `cx`'s task: it is used, aborted by dropping it, or reported as leaked when the task ends.
    /// # Errors
    /// [`ReserveError::Closed`](super::ReserveError::Closed) if the channel is closed, [`ReserveError::Cancelled`](super::ReserveError::Cancelled) if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a receiver that it had bound goes on waiting in its old place.
    #[track_caller]
    pub const fn reserve<'a, C>(&'a self, cx: &'a Cx<C>) -> Reserve<'a, T, C> {
        Reserve::new(self, cx)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.meeting.add_sender();
        Self {
            meeting: Arc::clone(&self.meeting),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.meeting.remove_sender();
    }
}

/// A sender that does not keep the channel open.
pub struct WeakSender<T> {
    meeting: Arc<Meeting<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, unless the last one has gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.meeting.revive_sender().then(|| Sender {
            meeting: Arc::clone(&self.meeting),
        })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self {
            meeting: Arc::clone(&self.meeting),
        }
    }
}

/// Takes values; cloned for each task that does.
pub struct Receiver<T> {
    meeting: Arc<Meeting<T>>,
}

impl<T> Receiver<T> {
    /// Takes a value, waiting until there is one.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if every sender has gone, or the channel was closed.
    /// [`RecvError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a value that it was given goes to the next receiver.
    pub fn recv<'a, C>(&'a self, cx: &'a Cx<C>) -> Recv<'a, T> {
        let _ = cx;
        Recv {
            meeting: &self.meeting,
            place: None,
            cancel: CancelWait::new(),
        }
    }

    /// Takes a value if a sender waits with one and no receiver stands before.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether one may still come.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.meeting.try_recv() {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(TryRecvError::Closed),
            None => Err(TryRecvError::NoSender),
        }
    }

    /// Blocks the thread until there is a value; for threads outside the runtime.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none will come.
    pub fn blocking_recv(&self) -> Result<T, RecvError> {
        let mut place = None;
        let value = thread::wait(|task| self.meeting.poll_recv(&mut place, task.waker()));
        value.ok_or(RecvError::Closed)
    }

    /// Closes the channel for everybody: who waits to send gets its value back; receivers that permits have bound still get theirs.
    pub fn close(&self) {
        self.meeting.close();
    }

    /// Whether nothing more will come, but to receivers that permits have bound.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.meeting.is_over()
    }

    /// How many values wait to be taken, each with its sender.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meeting.len()
    }

    /// Whether no value waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many senders there are.
    #[must_use]
    pub fn sender_strong_count(&self) -> usize {
        self.meeting.sender_count()
    }

    /// Whether both take from the same senders.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.meeting, &other.meeting)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.meeting.add_receiver();
        Self {
            meeting: Arc::clone(&self.meeting),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.meeting.remove_receiver();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("Sender", &self.meeting, f)
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("WeakSender", &self.meeting, f)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe("Receiver", &self.meeting, f)
    }
}

fn describe<T>(name: &str, meeting: &Meeting<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("len", &meeting.len())
        .field("is_closed", &meeting.is_closed())
        .finish_non_exhaustive()
}

/// One value on its way, without its context.
enum Bidding<T> {
    New(Option<T>),
    InLine(Ticket),
    Done,
}

impl<T> Bidding<T> {
    fn poll(&mut self, meeting: &Meeting<T>, task: &Context<'_>) -> Poll<Result<(), T>> {
        if let Self::New(value) = self {
            match meeting.enter(value.take(), task.waker().clone()) {
                Ok(ticket) => *self = Self::InLine(ticket),
                Err(value) => {
                    *self = Self::Done;
                    return Poll::Ready(Err(
                        value.expect("the value was put there when it was made")
                    ));
                }
            }
        }
        let Self::InLine(ticket) = *self else {
            unreachable!("a future is not polled after its end");
        };
        match meeting.poll_sender(ticket, task.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Met::Taken) => {
                *self = Self::Done;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Met::Closed | Met::Bound(_)) => Poll::Ready(self.leave(meeting)),
        }
    }

    /// Takes the value back, unless it was taken.
    fn leave(&mut self, meeting: &Meeting<T>) -> Result<(), T> {
        let value = match std::mem::replace(self, Self::Done) {
            Self::New(value) => value,
            Self::InLine(ticket) => match meeting.leave_sender(ticket) {
                Ok(()) => return Ok(()),
                Err(value) => value,
            },
            Self::Done => None,
        };
        match value {
            Some(value) => Err(value),
            None => unreachable!("a bid that was not taken has its value"),
        }
    }
}

/// Hands one value over; from [`Sender::send`].
///
/// # Cancel safety
/// Lossy: a dropped call drops the value if it was not taken; a cancelled one hands it back.
#[must_use = "futures do nothing unless polled"]
pub struct Send<'a, T> {
    meeting: &'a Meeting<T>,
    bid: Bidding<T>,
    cancel: CancelWait,
}

/// The value is moved, never pinned.
impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            let left = this.bid.leave(this.meeting);
            return Poll::Ready(left.map_err(|value| SendError::new(value, cancelled.into())));
        }
        let sent = this.bid.poll(this.meeting, task);
        sent.map_err(|value| SendError::new(value, SendFailure::Closed))
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        if matches!(self.bid, Bidding::InLine(_)) {
            drop(self.bid.leave(self.meeting));
        }
    }
}

/// Takes one value; from [`Receiver::recv`].
///
/// # Cancel safety
/// Requeues: a value that it was given goes to the next receiver.
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a, T> {
    meeting: &'a Meeting<T>,
    place: Option<Ticket>,
    cancel: CancelWait,
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.meeting.leave_receiver(&mut this.place);
            return Poll::Ready(Err(cancelled.into()));
        }
        let value = this.meeting.poll_recv(&mut this.place, task.waker());
        value.map(|value| value.ok_or(RecvError::Closed))
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        self.meeting.leave_receiver(&mut self.place);
    }
}

/// Waits for the end of the receivers; from [`Sender::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    meeting: &'a Meeting<T>,
    wait: InLine,
    cancel: CancelWait,
}

impl<T> Future for Closed<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.wait
            .poll(
                &this.meeting.state,
                |state| &mut state.gone,
                task.waker(),
                |state| state.is_closed().then_some(()),
            )
            .map(Ok)
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.wait
            .leave(&self.meeting.state, |state| &mut state.gone);
    }
}
