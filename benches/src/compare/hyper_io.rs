//! hyper on a runtime whose connections speak `futures_io`, and whose tasks live in regions.
//!
//! Nothing here belongs to the benches: a program that serves HTTP with hyper takes this file as it is.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Scope};
use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Executor, Read, ReadBufCursor, Write};

/// A connection as hyper wants it.
///
/// hyper's buffers are not initialized, and `futures_io` reads into initialized ones; so each connection has a page of its own, from which what was read is copied.
pub(crate) struct HyperIo<I> {
    inner: I,
    page: Box<[u8]>,
}

impl<I> HyperIo<I> {
    pub(crate) fn new(inner: I) -> Self {
        Self {
            inner,
            page: vec![0; PAGE_BYTES].into_boxed_slice(),
        }
    }
}

impl<I: AsyncRead + Unpin> Read for HyperIo<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let bytes_max = buf.remaining().min(this.page.len());
        let page = &mut this.page[..bytes_max];
        Pin::new(&mut this.inner)
            .poll_read(task, page)
            .map_ok(|bytes| buf.put_slice(&page[..bytes]))
    }
}

impl<I: AsyncWrite + Unpin> Write for HyperIo<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(task, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(task, bufs)
    }

    /// The connections of both runtimes give the system all buffers at once.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(task)
    }
}

/// What hyper starts for a connection by HTTP/2, which is a task for each of its requests.
///
/// hyper wants an executor that lives as long as it likes, and a region's tasks are spawned by its body alone.
/// So the executor keeps what is started during a poll of the connection, and [`serve`](Self::serve) spawns it right after.
/// Cost: a box for each request, since hyper starts futures of several types.
#[derive(Clone, Default)]
pub(crate) struct Started(Arc<Mutex<VecDeque<Request>>>);

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Started {
    /// Drives a connection whose executor is a clone of this, in a region that owns what it starts.
    ///
    /// So no request outlives the region, and whoever cancels it cancels them.
    /// # Cancel safety
    /// Lossy: a dropped call drops the connection with what it has not written yet.
    pub(crate) async fn serve<C: Future>(
        &self,
        scope: &Scope<'_, Cancelled>,
        connection: C,
    ) -> C::Output {
        let mut connection = pin!(connection);
        poll_fn(|task| {
            let end = connection.as_mut().poll(task);
            while let Some(request) = self.next() {
                scope.spawn(async move |_: Cx| {
                    request.await;
                    Ok::<(), Cancelled>(())
                });
            }
            end
        })
        .await
    }

    fn next(&self) -> Option<Request> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.0.lock().expect("nobody panics while it is held")
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Started {
    fn execute(&self, request: F) {
        self.lock().push_back(Box::pin(request));
    }
}

const PAGE_BYTES: usize = 8 * 1024;
