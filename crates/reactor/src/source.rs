//! A source under a reactor's watch.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use mio::Token;
use mio::event::Source;

use crate::reactor::{ReactorHandle, wake_all};
use crate::readiness::{Direction, IoState, ReadyToken};

/// A socket, pipe or the like that tasks can wait for.
///
/// All operations take `&self`: one task may read while another writes, and several may wait for the same half; an event wakes them all and the first takes what there is.
/// Dropping it ends the watch and wakes whoever still waits.
/// # Examples
/// ```
/// use asupersync_reactor::os::{Interest, UdpSocket};
/// use asupersync_reactor::{Direction, Reactor};
/// use std::task::{Context, Poll, Waker};
///
/// let mut reactor = Reactor::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let address = socket.local_addr()?;
/// let socket = reactor.handle().register(socket, Interest::READABLE | Interest::WRITABLE)?;
///
/// let mut cx = Context::from_waker(Waker::noop());
/// let mut buf = [0; 16];
/// assert!(socket.poll_io(Direction::Read, &mut cx, |socket| socket.recv(&mut buf)).is_pending());
/// socket.get_ref().send_to(b"hello", address)?;
/// reactor.turn(None)?;
/// let Poll::Ready(received) = socket.poll_io(Direction::Read, &mut cx, |socket| socket.recv(&mut buf)) else {
///     panic!("the reactor has seen the datagram");
/// };
/// assert_eq!(received?, 5);
/// # Ok::<_, std::io::Error>(())
/// ```
pub struct IoSource<S: Source> {
    /// `None` only between [`IoSource::into_inner`] and the drop right after it.
    source: Option<S>,
    state: Arc<IoState>,
    reactor: ReactorHandle,
    token: Token,
}

impl<S: Source> IoSource<S> {
    pub(crate) const fn new(
        source: S,
        state: Arc<IoState>,
        reactor: ReactorHandle,
        token: Token,
    ) -> Self {
        Self {
            source: Some(source),
            state,
            reactor,
            token,
        }
    }

    /// The source itself.
    ///
    /// A call on it that would block should be told to [`clear_blocked`](Self::clear_blocked), or go through [`poll_io`](Self::poll_io).
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        self.source
            .as_ref()
            .expect("only into_inner takes the source, and it takes self")
    }

    /// The reactor that watches this source.
    #[must_use]
    pub const fn reactor(&self) -> &ReactorHandle {
        &self.reactor
    }

    /// Makes a call once the source is ready, and waits if it would block.
    ///
    /// The call is tried first: only if it says [`io::ErrorKind::WouldBlock`] is the waker stored.
    /// A call interrupted by a signal is made again.
    /// Cost, if the call succeeds: one atomic load besides the call; otherwise one uncontended lock more.
    /// # Errors
    /// What the call says, or a [`ReactorError`](crate::ReactorError).
    /// # Cancel safety
    /// Safe: while it is pending, no call has succeeded.
    pub fn poll_io<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let token = match self.state.poll_ready(direction, cx) {
                Poll::Ready(token) => token?,
                Poll::Pending => return Poll::Pending,
            };
            match call(self.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.state.clear_blocked(token);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Makes a call if the source counts as ready, and never waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it is not ready, what the call says, or a [`ReactorError`](crate::ReactorError).
    pub fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let Some(token) = self.state.ready(direction)? else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let result = call(self.get_ref());
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.state.clear_blocked(token);
        }
        result
    }

    /// Whether the source counts as ready; never waits.
    ///
    /// For callers that make the call themselves, as with [`poll_ready`](Self::poll_ready).
    /// # Errors
    /// A [`ReactorError`](crate::ReactorError).
    pub fn ready(&self, direction: Direction) -> io::Result<Option<ReadyToken>> {
        Ok(self.state.ready(direction)?)
    }

    /// Waits until the source counts as ready.
    ///
    /// For callers that make the call themselves; they give the token back to [`clear_blocked`](Self::clear_blocked) when it would block.
    /// # Errors
    /// A [`ReactorError`](crate::ReactorError).
    /// # Cancel safety
    /// Safe: it changes nothing but who is woken.
    pub fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyToken>> {
        self.state
            .poll_ready(direction, cx)
            .map_err(io::Error::from)
    }

    /// Says that the call which the token allowed would have blocked.
    ///
    /// An event that came after the token is kept.
    pub fn clear_blocked(&self, token: ReadyToken) {
        self.state.clear_blocked(token);
    }

    /// Says that the call which the token allowed moved fewer bytes than it could have, on a byte stream; so the next call would block.
    ///
    /// This saves that call.
    /// The end of the stream is not forgotten by it.
    /// Where the operating system does not promise an event for the bytes that follow, this does nothing.
    pub fn clear_drained(&self, token: ReadyToken) {
        if cfg!(any(target_os = "linux", target_os = "android")) {
            self.state.clear_drained(token);
        }
    }

    /// Ends the watch and gives the source back; whoever still waits is woken.
    ///
    /// # Errors
    /// If the operating system refuses to let the source go; the source is then dropped.
    pub fn into_inner(mut self) -> io::Result<S> {
        let mut source = self
            .source
            .take()
            .expect("only into_inner takes the source, and it takes self");
        self.release(&mut source)?;
        Ok(source)
    }

    fn release(&self, source: &mut S) -> io::Result<()> {
        let result = self.reactor.deregister(source, self.token);
        let mut wakers = Vec::new();
        self.state.take_waiters(&mut wakers);
        wake_all(&mut wakers);
        result
    }
}

impl<S: Source> Drop for IoSource<S> {
    fn drop(&mut self) {
        if let Some(mut source) = self.source.take() {
            // A refusal changes nothing here: the source is closed next, which ends the watch as well.
            let _refused = self.release(&mut source);
        }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for IoSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoSource")
            .field("source", &self.source)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
