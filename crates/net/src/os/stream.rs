//! A connection of the operating system, and how many calls its bytes take.
//!
//! # Problem
//! A read that fills its buffer does not say whether more has come, so the next is made in vain before it waits; and a call with a list of buffers costs more than one with a single buffer.
//! Either is about a twentieth of what a message of some hundred bytes costs; `docs/design/speed.md` has the figures.
//!
//! # How
//! A small read asks for one byte more than its caller: what then comes short says that nothing is left.
//! The byte, if it came, is kept for the next read, which has it first.
//! A small write from several buffers gathers them.
//!
//! # Invariants (law I206)
//! * Bytes come in the order in which they were sent, and before an error that came after them.
//! * A connection dropped with a byte that nobody read is reset, as the system does with bytes that it still holds.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use asupersync_reactor::os::{Interest, TcpStream};
use asupersync_reactor::{Direction, IoSource, ReactorHandle, ReadyToken};
use socket2::SockRef;

use super::{apply, options_of};
use crate::options::TcpOptions;
use crate::port::StreamIo;

pub(super) struct OsStream {
    source: IoSource<TcpStream>,
    ahead: Ahead,
}

/// What a call did.
struct Moved {
    bytes: usize,
    /// Whether it could have moved more, so that the next would block.
    short: bool,
}

impl OsStream {
    pub(super) fn watched(stream: TcpStream, reactor: &ReactorHandle) -> io::Result<Self> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(Self {
            source: reactor.register(stream, both)?,
            ahead: Ahead::default(),
        })
    }

    /// Makes a call once it need not wait, and again if it would have blocked after all.
    fn poll_move(
        &self,
        direction: Direction,
        task: &mut Context<'_>,
        mut call: impl FnMut(&TcpStream) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let token = ready!(self.source.poll_ready(direction, task))?;
            match self.attempt(token, &mut call) {
                Err(error) if is_worth_repeating(&error) => {}
                end => return Poll::Ready(end),
            }
        }
    }

    /// Makes a call once, and notes if the next would block.
    fn attempt(
        &self,
        token: ReadyToken,
        call: impl FnOnce(&TcpStream) -> io::Result<Moved>,
    ) -> io::Result<usize> {
        let end = call(self.source.get_ref());
        match &end {
            Ok(moved) if moved.short => self.source.clear_drained(token),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.source.clear_blocked(token);
            }
            _ => {}
        }
        Ok(end?.bytes)
    }

    /// Reads once, a small read one byte further than `buf`.
    fn receive(&self, mut stream: &TcpStream, buf: &mut [u8]) -> io::Result<Moved> {
        if !LOOKS_AHEAD || buf.is_empty() || SMALL_BYTES <= buf.len() {
            return Ok(Moved::of(stream.read(buf)?, buf.len()));
        }
        let mut room = [0; SMALL_BYTES];
        let room = &mut room[..=buf.len()];
        let count = stream.read(room)?;
        let (asked, ahead) = room[..count].split_at(count.min(buf.len()));
        buf[..asked.len()].copy_from_slice(asked);
        if let [byte] = *ahead {
            self.ahead.keep_byte(byte);
        }
        Ok(Moved {
            bytes: asked.len(),
            ..Moved::of(count, room.len())
        })
    }

    /// Gives out the byte that was kept, and behind it what there is without waiting.
    fn receive_behind(&self, byte: u8, buf: &mut [u8]) -> io::Result<usize> {
        buf[0] = byte;
        let rest = &mut buf[1..];
        if rest.is_empty() {
            return Ok(1);
        }
        let Ok(Some(token)) = self.source.ready(Direction::Read) else {
            return Ok(1);
        };
        match self.attempt(token, |stream| self.receive(stream, rest)) {
            Ok(count) => Ok(1 + count),
            Err(error) => {
                if !is_worth_repeating(&error) {
                    self.ahead.keep_error(&error);
                }
                Ok(1)
            }
        }
    }
}

impl StreamIo for OsStream {
    fn poll_connected(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_io(Direction::Write, task, |stream| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        })
    }

    fn poll_read(&self, task: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() && self.ahead.is_kept() {
            return Poll::Ready(Ok(0));
        }
        if let Some(kept) = self.ahead.take() {
            return Poll::Ready(kept.and_then(|byte| self.receive_behind(byte, buf)));
        }
        self.poll_move(Direction::Read, task, |stream| self.receive(stream, buf))
    }

    fn poll_read_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = bufs.len().min(BUFS_MAX);
        let bufs = &mut bufs[..count];
        let mut filled = bufs.iter_mut().filter(|buf| !buf.is_empty());
        let first: &mut [u8] = filled.next().map_or(&mut [], |first| first);
        if filled.next().is_none() || self.ahead.is_kept() {
            return self.poll_read(task, first);
        }
        let room = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_move(Direction::Read, task, |mut stream| {
            Ok(Moved::of(stream.read_vectored(bufs)?, room))
        })
    }

    fn poll_write(&self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_move(Direction::Write, task, |mut stream| {
            Ok(Moved::of(stream.write(bytes)?, bytes.len()))
        })
    }

    fn poll_write_vectored(
        &self,
        task: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A call takes at most so many buffers, and then moves fewer bytes though it would not block.
        let bufs = &bufs[..bufs.len().min(BUFS_MAX)];
        if let [only] = bufs {
            return self.poll_write(task, only);
        }
        let room = bufs.iter().map(|buf| buf.len()).sum();
        if room <= SMALL_BYTES {
            return self.poll_write(task, gather(bufs, &mut [0; SMALL_BYTES]));
        }
        self.poll_move(Direction::Write, task, |mut stream| {
            Ok(Moved::of(stream.write_vectored(bufs)?, room))
        })
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.source.get_ref().shutdown(how) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            end => end,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    fn options(&self) -> io::Result<TcpOptions> {
        options_of(SockRef::from(self.source.get_ref()))
    }

    fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        apply(SockRef::from(self.source.get_ref()), options)
    }
}

impl Drop for OsStream {
    fn drop(&mut self) {
        if let Some(Ok(_)) = self.ahead.take() {
            // A connection that is gone refuses, and needs no reset.
            let _gone = SockRef::from(self.source.get_ref()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Moved {
    const fn of(bytes: usize, room: usize) -> Self {
        let most = if room < CALL_BYTES_MAX {
            room
        } else {
            CALL_BYTES_MAX
        };
        Self {
            bytes,
            short: 0 < bytes && bytes < most,
        }
    }
}

/// What a read found beyond what was asked for, until the next read takes it.
///
/// One task at a time polls the read direction, so whoever keeps and whoever takes follow one another.
#[derive(Default)]
struct Ahead(AtomicU32);

impl Ahead {
    fn keep_byte(&self, byte: u8) {
        self.0.store(A_BYTE | u32::from(byte), Ordering::Relaxed);
    }

    /// An error of the system's; one of the reactor's comes again by itself.
    fn keep_error(&self, error: &io::Error) {
        if let Some(code) = error.raw_os_error() {
            self.0.store(code.unsigned_abs(), Ordering::Relaxed);
        }
    }

    fn is_kept(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NOTHING
    }

    fn take(&self) -> Option<io::Result<u8>> {
        let kept = self.0.load(Ordering::Relaxed);
        if kept == NOTHING {
            return None;
        }
        self.0.store(NOTHING, Ordering::Relaxed);
        Some(if kept & A_BYTE != 0 {
            Ok((kept & 0xff) as u8)
        } else {
            Err(io::Error::from_raw_os_error(kept.cast_signed()))
        })
    }
}

fn is_worth_repeating(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The bytes of the buffers, which together have room.
fn gather<'a>(bufs: &[IoSlice<'_>], room: &'a mut [u8; SMALL_BYTES]) -> &'a [u8] {
    let mut end = 0;
    for buf in bufs {
        room[end..][..buf.len()].copy_from_slice(buf);
        end += buf.len();
    }
    &room[..end]
}

/// Whether a short read spares the next; see [`IoSource::clear_drained`].
const LOOKS_AHEAD: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Up to here copying costs less than what it saves.
const SMALL_BYTES: usize = 1024;

/// As many buffers as every system takes in one call.
const BUFS_MAX: usize = 1024;

/// A call may move no more than about two gigabytes, also when it would not block.
const CALL_BYTES_MAX: usize = 1 << 30;

const NOTHING: u32 = 0;
/// The byte stands below; codes of errors are smaller.
const A_BYTE: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener as StdListener, TcpStream as StdStream};
    use std::task::Waker;

    use asupersync_reactor::Reactor;

    use super::*;

    /// A stream that has sent `sent`, and one that has it to read.
    fn pair(reactor: &Reactor, sent: &[u8]) -> (StdStream, OsStream) {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        client.write_all(sent).unwrap();
        let server = OsStream::watched(TcpStream::from_std(server), &reactor.handle()).unwrap();
        (client, server)
    }

    fn check(sent: &[u8], reads: &[usize], waits_for_more: bool) {
        let reactor = Reactor::new().unwrap();
        let (_client, server) = pair(&reactor, sent);
        let mut task = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        for &room in reads {
            let mut buf = vec![0; room];
            let Poll::Ready(count) = server.poll_read(&mut task, &mut buf) else {
                panic!("there was more to read");
            };
            heard.extend_from_slice(&buf[..count.unwrap()]);
        }
        assert_eq!(heard, sent[..heard.len()]);
        let ready = server.source.ready(Direction::Read).unwrap().is_some();
        assert_eq!(ready, !(waits_for_more && LOOKS_AHEAD));
    }

    #[test]
    fn a_message_that_fills_the_buffer_is_known_to_be_the_last() {
        check(b"12345678", &[8], true);
        check(b"12345678", &[4, 4], true);
        check(b"12345678", &[9], true);
        check(b"12345678", &[1, 1, 6], true);
        check(&[7; SMALL_BYTES - 1], &[SMALL_BYTES - 1], true);
    }

    #[test]
    fn a_message_that_is_longer_than_the_buffer_is_not() {
        check(b"12345678", &[6], false);
        check(b"12345678", &[1, 6], false);
        check(&[7; SMALL_BYTES], &[SMALL_BYTES], false);
    }

    #[test]
    fn a_byte_and_an_error_are_kept_until_they_are_taken() {
        let ahead = Ahead::default();
        assert!(ahead.take().is_none());
        for byte in 0..=u8::MAX {
            ahead.keep_byte(byte);
            assert!(matches!(ahead.take(), Some(Ok(kept)) if kept == byte));
            assert!(!ahead.is_kept());
        }
        let error = io::Error::from_raw_os_error(104);
        ahead.keep_error(&error);
        assert!(matches!(ahead.take(), Some(Err(kept)) if kept.raw_os_error() == Some(104)));
        ahead.keep_error(&io::Error::other("not the system's"));
        assert!(ahead.take().is_none());
    }
}
