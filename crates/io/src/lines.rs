//! The lines of a buffered reader.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::AsyncBufRead;

use crate::LineError;
use crate::buf_ext::poll_bytes;
use crate::codec::{checked_line, is_too_long};
use crate::find::find_byte;

/// Lines without their endings; see [`BufReadExt::lines`](crate::BufReadExt::lines).
///
/// A line ends with a line feed, before which one carriage return is taken off; the last line may lack its ending.
/// After a [`LineError::TooLong`] or [`LineError::NotUtf8`] the next line follows.
/// Memory: at most one line of the length allowed.
/// # Examples
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output { let mut f = std::pin::pin!(future); loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) { return out; } } }
/// # block_on(async {
/// use asupersync_io::{BufReadExt, LineError};
///
/// let mut lines = (&b"one\r\nfar too long\ntwo"[..]).lines(4);
/// assert_eq!(lines.next_line().await.unwrap().unwrap(), "one");
/// assert!(matches!(lines.next_line().await, Some(Err(LineError::TooLong { limit: 4 }))));
/// assert_eq!(lines.next_line().await.unwrap().unwrap(), "two");
/// assert!(lines.next_line().await.is_none());
/// # });
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    /// The line so far: at most one byte more than allowed, and that one a carriage return.
    line: Vec<u8>,
    max_line_bytes: usize,
    /// Whether the rest of a line that was too long is being passed.
    skipping: bool,
}

impl<R> Lines<R> {
    pub(crate) const fn new(reader: R, max_line_bytes: usize) -> Self {
        Self {
            reader,
            line: Vec::new(),
            max_line_bytes,
            skipping: false,
        }
    }

    /// The reader below.
    #[must_use]
    pub const fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The reader below; reading from it directly takes bytes out of the lines.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Gives the reader below back; the part of a line read so far is lost.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next line; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`LineError::TooLong`] and [`LineError::NotUtf8`] for one line each, and [`LineError::Io`].
    /// # Cancel safety
    /// Safe: the part of the line read so far is kept for the next call.
    pub async fn next_line(&mut self) -> Option<Result<String, LineError>> {
        poll_fn(|cx| self.poll_next_line(cx)).await
    }

    /// Polls for the next line.
    pub fn poll_next_line(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<String, LineError>>> {
        let max = self.max_line_bytes;
        loop {
            let bytes = match ready!(poll_bytes(&mut self.reader, cx)) {
                Ok(bytes) => bytes,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            if bytes.is_empty() {
                self.skipping = false;
                let line = std::mem::take(&mut self.line);
                return Poll::Ready((!line.is_empty()).then(|| text(line, max)));
            }
            if self.skipping {
                let found = find_byte(b'\n', bytes);
                let n = found.map_or(bytes.len(), |at| at + 1);
                self.skipping = found.is_none();
                Pin::new(&mut self.reader).consume(n);
                continue;
            }
            let room = max.saturating_add(2) - self.line.len();
            let window = &bytes[..bytes.len().min(room)];
            let found = find_byte(b'\n', window);
            let n = found.unwrap_or(window.len());
            self.line.extend_from_slice(&window[..n]);
            Pin::new(&mut self.reader).consume(n + usize::from(found.is_some()));
            if found.is_some() {
                self.line.pop_if(|last| *last == b'\r');
                return Poll::Ready(Some(text(std::mem::take(&mut self.line), max)));
            }
            if is_too_long(&self.line, max) {
                self.line.clear();
                self.skipping = true;
                return Poll::Ready(Some(Err(LineError::TooLong { limit: max })));
            }
        }
    }
}

impl<R: AsyncBufRead + Unpin> Stream for Lines<R> {
    type Item = Result<String, LineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_line(cx)
    }
}

fn text(line: Vec<u8>, max: usize) -> Result<String, LineError> {
    checked_line(&line, max)?;
    Ok(String::from_utf8(line).expect("checked_line has found valid UTF-8"))
}
