//! The handles of a session.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{CancelWait, Cx};

use super::error::{AcceptError, CallError, CallFailure, ReserveError, TryAcceptError};
use super::exchange::{Answer, Exchange};
use super::reply::Reply;
use crate::mpsc::{self, SendFailure};
use crate::thread;

/// A session in which at most `capacity` requests wait to be accepted.
///
/// # Shape and units
/// `capacity` counts requests and reservations, 1..=16,777,215.
/// # Panics
/// If `capacity` is out of range.
#[must_use]
pub fn channel<Req, Resp>(capacity: usize) -> (Client<Req, Resp>, Server<Req, Resp>) {
    let (tx, rx) = mpsc::channel(capacity);
    (Client { tx }, Server { rx })
}

/// A request in the queue; dropping it there hands the request back to the caller.
struct Envelope<Req, Resp>(Arc<Exchange<Req, Resp>>);

impl<Req, Resp> Drop for Envelope<Req, Resp> {
    fn drop(&mut self) {
        self.0.refuse();
    }
}

/// Asks; cloned for each task that does.
pub struct Client<Req, Resp> {
    tx: mpsc::Sender<Envelope<Req, Resp>>,
}

impl<Req, Resp> Client<Req, Resp> {
    /// Sends `request` and waits for the answer.
    ///
    /// A call whose answer is there gives it, also if its context had to stop meanwhile.
    /// # Errors
    /// [`CallError`] says why there is no answer; the request is in it if the server has not taken it, and [`CallError::effect`] says the same in words.
    /// # Cancel safety
    /// Lossy: a dropped call drops a request that was not taken, and otherwise the answer, of which the server is told; a cancelled call hands the request back if it was not taken.
    pub fn call<'a, C>(&'a self, cx: &'a Cx<C>, request: Req) -> Call<'a, Req, Resp> {
        let exchange = Arc::new(Exchange::new(request));
        let envelope = Envelope(Arc::clone(&exchange));
        Call {
            sending: Some(self.tx.send(cx, envelope)),
            exchange,
            cancel: CancelWait::new(),
            refusal: CallFailure::Closed,
        }
    }

    /// Blocks the thread until there is an answer; for threads outside the runtime.
    ///
    /// # Errors
    /// As [`call`](Self::call), without a cancellation.
    pub fn blocking_call(&self, request: Req) -> Result<Resp, CallError<Req>> {
        let exchange = Arc::new(Exchange::new(request));
        let envelope = Envelope(Arc::clone(&exchange));
        // An envelope that is not sent is dropped, which the exchange then knows.
        drop(self.tx.blocking_send(envelope));
        let answer = thread::wait(|task| exchange.poll_answer(task.waker()));
        answered(answer, CallFailure::Closed)
    }

    /// Waits until the server has gone or was closed.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn closed<'a, C>(&'a self, cx: &'a Cx<C>) -> Closed<'a, Req, Resp> {
        Closed(self.tx.closed(cx))
    }

    /// Whether the server has gone or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tx.is_closed()
    }

    /// How many requests fit into the queue now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.tx.capacity()
    }

    /// How many requests fit into the queue at all.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.tx.max_capacity()
    }

    /// How many requests wait, those that were withdrawn included until the server comes to them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tx.len()
    }

    /// Whether no request waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tx.is_empty()
    }

    /// How many clients there are.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.tx.strong_count()
    }

    /// Whether both ask the same server.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.tx.same_channel(&other.tx)
    }

    /// A client that does not keep the session open.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient<Req, Resp> {
        WeakClient {
            tx: self.tx.downgrade(),
        }
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Client<Req, Resp> {
    /// Waits for a place in the queue and reserves it.
    ///
    /// The permit is an obligation of `cx`'s task: it is used, aborted by dropping it, or reported as leaked when the task ends.
    /// # Errors
    /// [`ReserveError::Closed`] if the server has gone or was closed, [`ReserveError::Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Requeues: a place that it had got goes to the next in line.
    #[track_caller]
    pub fn reserve<'a, C>(&'a self, cx: &'a Cx<C>) -> Reserve<'a, Req, Resp, C> {
        Reserve(self.tx.reserve(cx))
    }
}

impl<Req, Resp> Clone for Client<Req, Resp> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
        }
    }
}

/// A client that does not keep the session open.
pub struct WeakClient<Req, Resp> {
    tx: mpsc::WeakSender<Envelope<Req, Resp>>,
}

impl<Req, Resp> WeakClient<Req, Resp> {
    /// A client, unless the last one has gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Client<Req, Resp>> {
        self.tx.upgrade().map(|tx| Client { tx })
    }
}

impl<Req, Resp> Clone for WeakClient<Req, Resp> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
        }
    }
}

/// A place in the queue; dropping it gives the place back.
#[must_use = "dropping the permit gives the place back"]
pub struct CallPermit<'a, Req, Resp> {
    permit: mpsc::SendPermit<'a, Envelope<Req, Resp>>,
}

impl<'a, Req, Resp> CallPermit<'a, Req, Resp> {
    /// Sends `request` at once and waits for the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    /// # Cancel safety
    /// Lossy: as [`Client::call`].
    pub fn call<C>(self, cx: &'a Cx<C>, request: Req) -> Call<'a, Req, Resp> {
        let _ = cx;
        let exchange = Arc::new(Exchange::new(request));
        let envelope = Envelope(Arc::clone(&exchange));
        let refusal = match self.permit.send(envelope) {
            Err(error) if error.failure == SendFailure::Leaked => CallFailure::Leaked,
            // Whatever else kept it from being sent, the exchange knows that it was not.
            Ok(()) | Err(_) => CallFailure::Closed,
        };
        Call {
            sending: None,
            exchange,
            cancel: CancelWait::new(),
            refusal,
        }
    }

    /// Gives the place back, on purpose: strict mode does not report it.
    pub fn abort(self) {
        self.permit.abort();
    }
}

/// Accepts requests; dropping it hands those that wait back to their callers.
pub struct Server<Req, Resp> {
    rx: mpsc::Receiver<Envelope<Req, Resp>>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Server<Req, Resp> {
    /// Accepts a request, waiting while there is none; those whose callers have gone are passed over.
    ///
    /// The [`Reply`] is an obligation of `cx`'s task.
    /// # Errors
    /// [`AcceptError::Closed`] once no request is left, and every client has gone or the session was closed.
    /// [`AcceptError::Cancelled`] if the context being polled must stop; requests stay in the queue.
    /// # Cancel safety
    /// Safe: the call has taken no request.
    #[track_caller]
    pub const fn accept<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Accept<'a, Req, Resp, C> {
        Accept {
            recv: self.rx.recv(cx),
            cx,
            site: Location::caller(),
        }
    }

    /// Accepts a request if there is one.
    ///
    /// # Errors
    /// [`TryAcceptError`] says whether one may still come.
    #[track_caller]
    pub fn try_accept<C>(&mut self, cx: &Cx<C>) -> Result<(Req, Reply<Req, Resp>), TryAcceptError> {
        let site = Location::caller();
        loop {
            match self.rx.try_recv() {
                Ok(envelope) => {
                    if let Some(taken) = take(cx, &envelope, site) {
                        return Ok(taken);
                    }
                }
                Err(mpsc::TryRecvError::Empty) => return Err(TryAcceptError::Empty),
                Err(mpsc::TryRecvError::Closed) => return Err(TryAcceptError::Closed),
            }
        }
    }
}

impl<Req, Resp> Server<Req, Resp> {
    /// Lets nobody call any more; requests that wait can still be accepted.
    pub fn close(&mut self) {
        self.rx.close();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.rx.is_closed()
    }

    /// How many requests fit into the queue now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.rx.capacity()
    }

    /// How many requests wait, those that were withdrawn included until the server comes to them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rx.len()
    }

    /// Whether no request waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rx.is_empty()
    }
}

/// What an envelope holds, unless its caller has gone.
fn take<Req: Send + 'static, Resp: Send + 'static, C>(
    cx: &Cx<C>,
    envelope: &Envelope<Req, Resp>,
    site: &'static Location<'static>,
) -> Option<(Req, Reply<Req, Resp>)> {
    let request = envelope.0.take()?;
    let reply = Reply::new(cx, Arc::clone(&envelope.0), site);
    Some((request, reply))
}

fn answered<Req, Resp>(
    answer: Answer<Req, Resp>,
    refusal: CallFailure,
) -> Result<Resp, CallError<Req>> {
    match answer {
        Answer::Response(response) => Ok(response),
        Answer::None(None) => Err(CallError::new(None, CallFailure::NotAnswered)),
        Answer::None(request) => Err(CallError::new(request, refusal)),
    }
}

impl<Req, Resp> fmt::Debug for Client<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("len", &self.len())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for WeakClient<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakClient").finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for CallPermit<'_, Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPermit").finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for Server<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("len", &self.len())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Sends a request and waits for its answer; from [`Client::call`].
///
/// # Cancel safety
/// Lossy: as [`Client::call`].
#[must_use = "futures do nothing unless polled"]
pub struct Call<'a, Req, Resp> {
    sending: Option<mpsc::Send<'a, Envelope<Req, Resp>>>,
    exchange: Arc<Exchange<Req, Resp>>,
    cancel: CancelWait,
    /// Why nobody took the request, if that is how it ends.
    refusal: CallFailure,
}

/// Request and answer are moved, never pinned.
impl<Req, Resp> Unpin for Call<'_, Req, Resp> {}

impl<Req, Resp> Future for Call<'_, Req, Resp> {
    type Output = Result<Resp, CallError<Req>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            this.sending = None;
            return Poll::Ready(match this.exchange.leave() {
                Answer::Response(response) => Ok(response),
                Answer::None(request) => Err(CallError::new(request, cancelled.into())),
            });
        }
        if let Some(sending) = &mut this.sending {
            match Pin::new(sending).poll(task) {
                Poll::Pending => return Poll::Pending,
                // An envelope that is handed back is dropped, which the exchange then knows.
                Poll::Ready(sent) => drop(sent),
            }
            this.sending = None;
        }
        let answer = this.exchange.poll_answer(task.waker());
        answer.map(|answer| answered(answer, this.refusal.clone()))
    }
}

impl<Req, Resp> Drop for Call<'_, Req, Resp> {
    fn drop(&mut self) {
        self.sending = None;
        drop(self.exchange.leave());
    }
}

/// Waits for a place in the queue; from [`Client::reserve`].
///
/// # Cancel safety
/// Requeues: a place that it had got goes to the next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Reserve<'a, Req, Resp, C>(mpsc::Reserve<'a, Envelope<Req, Resp>, C>);

impl<'a, Req: Send + 'static, Resp: Send + 'static, C> Future for Reserve<'a, Req, Resp, C> {
    type Output = Result<CallPermit<'a, Req, Resp>, ReserveError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let reserved = Pin::new(&mut self.get_mut().0).poll(task);
        reserved.map(|permit| match permit {
            Ok(permit) => Ok(CallPermit { permit }),
            Err(mpsc::ReserveError::Cancelled(cancelled)) => Err(cancelled.into()),
            // One place is never too many.
            Err(mpsc::ReserveError::Closed | mpsc::ReserveError::TooMany { .. }) => {
                Err(ReserveError::Closed)
            }
        })
    }
}

/// Accepts one request; from [`Server::accept`].
///
/// # Cancel safety
/// Safe: the call has taken no request.
#[must_use = "futures do nothing unless polled"]
pub struct Accept<'a, Req, Resp, C> {
    recv: mpsc::Recv<'a, Envelope<Req, Resp>>,
    cx: &'a Cx<C>,
    site: &'static Location<'static>,
}

impl<Req: Send + 'static, Resp: Send + 'static, C> Future for Accept<'_, Req, Resp, C> {
    type Output = Result<(Req, Reply<Req, Resp>), AcceptError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let envelope = match Pin::new(&mut this.recv).poll(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(envelope)) => envelope,
                Poll::Ready(Err(mpsc::RecvError::Cancelled(cancelled))) => {
                    return Poll::Ready(Err(cancelled.into()));
                }
                Poll::Ready(Err(mpsc::RecvError::Closed)) => {
                    return Poll::Ready(Err(AcceptError::Closed));
                }
            };
            if let Some(taken) = take(this.cx, &envelope, this.site) {
                return Poll::Ready(Ok(taken));
            }
        }
    }
}

/// Waits for the end of the server; from [`Client::closed`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, Req, Resp>(mpsc::Closed<'a, Envelope<Req, Resp>>);

impl<Req, Resp> Future for Closed<'_, Req, Resp> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(task)
    }
}
