//! SIGINT and SIGTERM: the first asks the program to shut down, the second ends the waiting.
//!
//! # How
//! The handlers are the process's: the first runtime that listens installs them, and they stay.
//! They count the signal and write one byte into a pipe that every listening reactor watches; a turn that sleeps then returns, and the worker that turned it delivers the request.
//! A worker that is busy sees the count between tasks.
//!
//! # Invariants
//! - A reactor watches the pipe before its first turn that sleeps, so a runtime that never waits pays for no watch.
//! - Nobody reads from the pipe but the handler that finds it full: every byte is an edge for every reactor, whatever the others have seen.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use asupersync_core::{CancelKind, Time};
use asupersync_kernel::Program;
use asupersync_reactor::os::{Interest, UnixStream as OsUnixStream};
use asupersync_reactor::{IoSource, ReactorHandle};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// A runtime's ear.
pub(crate) struct Signals {
    listens: bool,
    /// How many signals had come when the last was delivered.
    delivered: AtomicU32,
    is_watched: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keeps the pipe's reading end under the reactor's watch.
    watch: Option<IoSource<OsUnixStream>>,
    program: Option<Program>,
    /// When the program was first asked to end.
    asked_at: Option<Time>,
}

impl Signals {
    /// Signals are left as they are.
    pub(crate) fn ignored() -> Self {
        Self {
            listens: false,
            delivered: AtomicU32::new(0),
            is_watched: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut pipe = lock(&PIPE);
        if pipe.is_none() {
            *pipe = Some(install()?);
        }
        Ok(Self {
            listens: true,
            delivered: AtomicU32::new(COUNT.load(Ordering::Acquire)),
            ..Self::ignored()
        })
    }

    /// Lets signals end this reactor's turns, from the next one on.
    pub(crate) fn watch(&self, reactor: &ReactorHandle) -> io::Result<()> {
        if !self.listens || self.is_watched.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(pipe) = lock(&PIPE).as_ref() {
            let watched = OsUnixStream::from_std(pipe.reader.try_clone()?);
            self.lock().watch = Some(reactor.register(watched, Interest::READABLE)?);
            self.is_watched.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many of the reactor's sources are the runtime's own.
    pub(crate) fn watches(&self) -> usize {
        usize::from(self.is_watched.load(Ordering::Relaxed))
    }

    /// Names the program that signals are for, while it runs.
    pub(crate) fn attach(&self, program: Option<Program>) {
        let mut state = self.lock();
        state.program = program;
        self.delivered.store(self.count(), Ordering::Release);
        state.asked_at = None;
    }

    /// Hands a signal that has come to the program; whether one has come since the last call.
    pub(crate) fn deliver(&self, now: impl FnOnce() -> Time) -> bool {
        if self.count() == self.delivered.load(Ordering::Relaxed) {
            return false;
        }
        let program = {
            let mut state = self.lock();
            let count = self.count();
            if self.delivered.swap(count, Ordering::AcqRel) == count {
                return false;
            }
            state.asked_at.get_or_insert_with(now);
            state.program.clone()
        };
        if let Some(program) = program {
            program.cancel(CancelKind::Shutdown, "a signal asked the program to end");
        }
        true
    }

    /// When a signal first asked the attached program to end.
    pub(crate) fn asked_at(&self) -> Option<Time> {
        self.lock().asked_at
    }

    /// How many signals have come to this process, if this runtime listens.
    pub(crate) fn count(&self) -> u32 {
        if self.listens {
            COUNT.load(Ordering::Acquire)
        } else {
            0
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Signals that have come to this process since somebody first listened.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// What the handlers write into, once they are installed.
static PIPE: Mutex<Option<Arc<Pipe>>> = Mutex::new(None);

/// Two ends of which neither ever blocks.
struct Pipe {
    /// Every listening reactor watches a duplicate.
    reader: UnixStream,
    writer: UnixStream,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    /// Writes a byte, for which a full pipe is emptied first.
    fn tell(&self) {
        let (mut reader, mut writer) = (&self.reader, &self.writer);
        if writer.write(&[1]).is_err() {
            let mut bytes = [0_u8; 64];
            while matches!(reader.read(&mut bytes), Ok(1..)) {}
            // Should it be refused again, others have filled the pipe meanwhile, which tells as well.
            let _ = writer.write(&[1]);
        }
    }
}

/// Installs the handlers; gives the pipe into which they tell.
///
/// Handlers that the program had installed before are called first, and the registry keeps `errno` for whoever was interrupted.
fn install() -> io::Result<Arc<Pipe>> {
    let pipe = Arc::new(Pipe::new()?);
    let mut registered = Vec::new();
    for signal in [SIGINT, SIGTERM] {
        let told = Arc::clone(&pipe);
        let handler = move || {
            COUNT.fetch_add(1, Ordering::AcqRel);
            told.tell();
        };
        // SAFETY: the handler adds to an atomic and calls `write(2)` and `read(2)`; all are async-signal-safe.
        match unsafe { signal_hook_registry::register(signal, handler) } {
            Ok(id) => registered.push(id),
            Err(error) => {
                // Whoever tries again must not count a signal twice.
                registered.into_iter().for_each(|id| {
                    signal_hook_registry::unregister(id);
                });
                return Err(error);
            }
        }
    }
    Ok(pipe)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_still_tells() {
        let pipe = Pipe::new().unwrap();
        while (&pipe.writer).write(&[0; 64]).is_ok() {}
        pipe.tell();
        let mut bytes = Vec::new();
        let end = (&pipe.reader).read_to_end(&mut bytes).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(bytes, [1], "what stood there before is gone");
    }

    #[test]
    fn a_reactor_is_told_of_each_byte_that_nobody_reads() {
        let pipe = Pipe::new().unwrap();
        let mut reactors = [(); 2].map(|()| asupersync_reactor::Reactor::new().unwrap());
        let _watches = reactors.each_ref().map(|reactor| {
            let watched = OsUnixStream::from_std(pipe.reader.try_clone().unwrap());
            reactor
                .handle()
                .register(watched, Interest::READABLE)
                .unwrap()
        });
        for _ in 0..5 {
            pipe.tell();
            for reactor in &mut reactors {
                let turn = reactor
                    .turn(Some(std::time::Duration::from_secs(60)))
                    .unwrap();
                assert_eq!(turn.events, 1);
            }
        }
    }

    /// As a process that was forked finds it: its parent's signals come through the pipe that both have.
    #[test]
    fn a_byte_that_this_process_did_not_count_asks_nobody_to_end() {
        let signals = Signals::listen().unwrap();
        let mut reactor = asupersync_reactor::Reactor::new().unwrap();
        signals.watch(&reactor.handle()).unwrap();
        let pipe = Arc::clone(lock(&PIPE).as_ref().unwrap());
        pipe.tell();
        let turn = reactor
            .turn(Some(std::time::Duration::from_secs(60)))
            .unwrap();
        assert_eq!(turn.events, 1);
        assert!(!signals.deliver(|| panic!("no signal has come")));
        assert_eq!(signals.asked_at(), None);
    }
}
