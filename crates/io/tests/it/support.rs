//! A tiny executor that notices lost wake-ups, and streams that are as awkward as allowed.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_io::{AsyncRead, AsyncWrite};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs two futures until both are done; if neither has been woken, a wake-up was lost.
pub(crate) fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let flags = [
        Arc::new(Flag(AtomicBool::new(true))),
        Arc::new(Flag(AtomicBool::new(true))),
    ];
    let wakers = [
        Waker::from(Arc::clone(&flags[0])),
        Waker::from(Arc::clone(&flags[1])),
    ];
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    for _ in 0..POLLS_MAX {
        let woken = [0, 1].map(|n: usize| flags[n].0.swap(false, Ordering::SeqCst));
        if woken[0] && done_a.is_none() {
            done_a = ready(a.as_mut().poll(&mut Context::from_waker(&wakers[0])));
        }
        if woken[1] && done_b.is_none() {
            done_b = ready(b.as_mut().poll(&mut Context::from_waker(&wakers[1])));
        }
        match (done_a, done_b) {
            (Some(a), Some(b)) => return (a, b),
            undone => (done_a, done_b) = undone,
        }
        let next = flags.iter().any(|flag| flag.0.load(Ordering::SeqCst));
        assert!(next, "both tasks sleep and nobody will wake them");
    }
    panic!("the tasks wake themselves for ever");
}

/// More polls than any test needs.
const POLLS_MAX: usize = 100_000;

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    join(future, async {}).0
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    ready(future.poll(&mut Context::from_waker(Waker::noop())))
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Gives its bytes in the pieces asked for; between them it makes wait, or is interrupted.
pub(crate) struct Pieces {
    bytes: VecDeque<u8>,
    sizes: Vec<usize>,
    turn: usize,
    waited: bool,
}

pub(crate) fn pieces(bytes: &[u8], sizes: &[usize]) -> Pieces {
    let sizes = if sizes.is_empty() {
        vec![1]
    } else {
        sizes.to_vec()
    };
    Pieces {
        bytes: bytes.iter().copied().collect(),
        sizes,
        turn: 0,
        waited: false,
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let size = self.sizes[self.turn % self.sizes.len()];
        self.turn += 1;
        match size {
            // Zero stands for an interruption.
            0 if !self.waited => {
                self.waited = true;
                return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
            }
            _ if !self.waited => {
                self.waited = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => self.waited = false,
        }
        let n = size.max(1).min(buf.len());
        Poll::Ready(io::Read::read(&mut self.bytes, &mut buf[..n]))
    }
}

/// Takes a few bytes at a time, and makes wait before each.
#[derive(Default)]
pub(crate) struct Trickle {
    pub(crate) taken: Vec<u8>,
    pub(crate) step: usize,
    pub(crate) flushed: usize,
    pub(crate) closed: bool,
    /// Takes nothing at all while set.
    pub(crate) blocked: bool,
    pub(crate) waited: bool,
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.blocked {
            return Poll::Pending;
        }
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let n = bytes.len().min(self.step);
        self.taken.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.poll_write(cx, &all)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.taken.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        self.poll_flush(cx)
    }
}
