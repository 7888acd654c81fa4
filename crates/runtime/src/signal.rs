//! SIGINT and SIGTERM: the first asks the program to shut down, the second ends the waiting.
//!
//! The handler counts the signal and writes one byte into a pipe; the reactor's turn then returns, and the worker that turned it delivers the request.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use asupersync_core::{CancelKind, Time};
use asupersync_kernel::Program;
use asupersync_reactor::os::{Interest, UnixStream as OsUnixStream};
use asupersync_reactor::{IoSource, ReactorHandle};
use signal_hook_registry::SigId;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

pub(crate) struct Signals {
    state: Mutex<State>,
    count: Arc<AtomicU32>,
}

struct State {
    registrations: Vec<SigId>,
    /// Keeps the pipe's reading end under the reactor's watch.
    pipe: Option<(IoSource<OsUnixStream>, UnixStream)>,
    program: Option<Program>,
    delivered: u32,
    /// When the program was first asked to end.
    asked_at: Option<Time>,
}

impl Signals {
    /// Signals are left as they are.
    pub(crate) fn ignored() -> Self {
        Self {
            state: Mutex::new(State {
                registrations: Vec::new(),
                pipe: None,
                program: None,
                delivered: 0,
                asked_at: None,
            }),
            count: Arc::new(AtomicU32::new(0)),
        }
    }

    /// Begins to listen.
    pub(crate) fn listen(reactor: &ReactorHandle) -> io::Result<Self> {
        let signals = Self::ignored();
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let watched = OsUnixStream::from_std(reader.try_clone()?);
        let source = reactor.register(watched, Interest::READABLE)?;
        {
            let mut state = signals.lock();
            state.pipe = Some((source, reader));
            for signal in [SIGINT, SIGTERM] {
                let (count, writer) = (Arc::clone(&signals.count), writer.try_clone()?);
                let handler = move || {
                    count.fetch_add(1, Ordering::AcqRel);
                    // A full pipe means that a wake is under way already.
                    let _ = (&writer).write(&[1]);
                };
                // SAFETY: the handler adds to an atomic and calls `write(2)`; both are async-signal-safe.
                let id = unsafe { signal_hook_registry::register(signal, handler) }?;
                state.registrations.push(id);
            }
        }
        Ok(signals)
    }

    /// Names the program that signals are for, while it runs.
    pub(crate) fn attach(&self, program: Option<Program>) {
        let mut state = self.lock();
        state.program = program;
        state.delivered = self.count.load(Ordering::Acquire);
        state.asked_at = None;
    }

    /// Hands a signal that has come to the program; whether one has come since the last call.
    pub(crate) fn deliver(&self, now: Time) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let program = {
            let mut state = self.lock();
            let count = self.count.load(Ordering::Acquire);
            if count == state.delivered {
                return false;
            }
            state.delivered = count;
            state.asked_at.get_or_insert(now);
            if let Some((_, reader)) = &mut state.pipe {
                let mut bytes = [0_u8; 64];
                while matches!(reader.read(&mut bytes), Ok(1..)) {}
            }
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

    /// How many signals have come.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let registrations = std::mem::take(&mut self.lock().registrations);
        for id in registrations {
            signal_hook_registry::unregister(id);
        }
    }
}
