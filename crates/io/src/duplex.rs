//! A connection within the process.
//!
//! # States
//! Each direction is a bounded queue of bytes with a reader and a writer, either of which may be gone.
//! A reader whose writer is gone gets what is left, then the end.
//! A writer whose reader is gone gets [`io::ErrorKind::BrokenPipe`].
//!
//! # Invariants
//! A direction never holds more than the capacity.
//! Wakers are called after the lock has been released.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// Two ends of a connection: what is written to one can be read from the other.
///
/// # Shape and units
/// `capacity` is the number of bytes that each direction holds before its writer waits.
/// # Panics
/// If `capacity` is zero.
/// # Examples
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output { let mut f = std::pin::pin!(future); loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) { return out; } } }
/// # block_on(async {
/// use asupersync_io::{ReadExt, WriteExt, duplex};
///
/// let (mut client, mut server) = duplex(64);
/// client.write_all(b"ping").await.unwrap();
/// let mut buf = [0; 4];
/// server.read_exact(&mut buf).await.unwrap();
/// assert_eq!(&buf, b"ping");
/// # });
/// ```
#[must_use]
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    assert!(
        capacity > 0,
        "a connection without capacity would never move a byte"
    );
    let forth = Pipe::new(capacity);
    let back = Pipe::new(capacity);
    let a = DuplexStream {
        incoming: Arc::clone(&back),
        outgoing: Arc::clone(&forth),
    };
    (
        a,
        DuplexStream {
            incoming: forth,
            outgoing: back,
        },
    )
}

/// One end of a [`duplex`] connection; dropping it ends both directions.
#[derive(Debug)]
pub struct DuplexStream {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl AsyncRead for DuplexStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let waker = cx.waker().clone();
        let mut state = self.incoming.lock();
        if state.bytes.is_empty() && !buf.is_empty() {
            if state.writer_gone {
                return Poll::Ready(Ok(0));
            }
            let replaced = state.reader.replace(waker);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let n = io::Read::read(&mut state.bytes, buf)?;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let waker = cx.waker().clone();
        let capacity = self.outgoing.capacity;
        let mut state = self.outgoing.lock();
        if state.reader_gone || state.writer_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = bytes.len().min(capacity - state.bytes.len());
        if n == 0 && !bytes.is_empty() {
            let replaced = state.writer.replace(waker);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        state.bytes.extend(&bytes[..n]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end(|state| state.writer_gone = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.outgoing.end(|state| state.writer_gone = true);
        self.incoming.end(|state| state.reader_gone = true);
    }
}

#[derive(Debug)]
struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reader_gone: bool,
    writer_gone: bool,
}

impl Pipe {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can happen under this lock that leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks one side as gone and wakes both.
    fn end(&self, mark: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        mark(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
