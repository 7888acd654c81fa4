//! The reactor and its handle.
//!
//! # States
//! The signal is *idle* while nobody polls, *polling* while a turn may sleep in the operating system, and *notified* from a wake to the end of the turn that reports it.
//! Only a wake that finds the signal polling needs a system call.
//!
//! # Invariants
//! * A wake is reported by the turn it falls into, or, between turns, by the next one, which then does not sleep.
//! * Wakers are called after every lock has been released, and a waker that panics does not keep the others from being called.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry};

use crate::alarm::Alarm;
use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::{Mutex, lock};
use crate::slots::{ALARM, Slots, WAKE};
use crate::source::IoSource;

/// Asks the operating system which sources are ready, and wakes who waits for them.
///
/// It belongs to whoever turns it; dropping it fails all waiting, now and later, with [`ReactorError::Closed`](crate::ReactorError::Closed).
/// # Examples
/// ```
/// use asupersync_reactor::Reactor;
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// handle.wake()?;
/// let turn = reactor.turn(None)?; // does not sleep: the wake came first
/// assert!(turn.woken);
/// # Ok::<_, std::io::Error>(())
/// ```
pub struct Reactor {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    /// Wakers of the current turn; kept for its capacity.
    wakers: Vec<Waker>,
    shared: Arc<Shared>,
}

/// What one [`Reactor::turn`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Events that belonged to a live source.
    pub events: usize,
    /// Whether [`ReactorHandle::wake`] was called since the last turn that said so.
    pub woken: bool,
    /// Wakers that panicked; the others were called all the same.
    pub panicked_wakers: usize,
}

impl Reactor {
    /// A reactor without sources.
    ///
    /// What wakes it and what times it is made by the first turns that need it, so that a program which never waits does without.
    ///
    /// # Errors
    /// If the operating system refuses a poll handle, usually for want of file descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let shared = Arc::new(Shared {
            registry: poll.registry().try_clone()?,
            waker: OnceLock::new(),
            signal: AtomicU8::new(IDLE),
            slots: Mutex::new(Slots::default()),
        });
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            alarm: Alarm::new(),
            wakers: Vec::new(),
            shared,
        })
    }

    /// A handle for those who register sources or interrupt turns.
    #[must_use]
    pub fn handle(&self) -> ReactorHandle {
        ReactorHandle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until a source is ready, [`ReactorHandle::wake`] is called or the timeout is over, and wakes all tasks concerned.
    ///
    /// Blocks the thread; `None` means without limit, zero means not at all.
    /// It may return early with nothing: after a signal, or up to one millisecond before a timeout of 16 ms or more is over.
    /// On Linux a timeout is otherwise met to a few microseconds, elsewhere it is rounded up to milliseconds.
    /// Cost: one poll call, one more call if a short timeout is no whole number of milliseconds; one lock for all events together; no allocation in the steady state.
    /// # Errors
    /// What the operating system says, except interruption by a signal; tasks are then not woken and the next turn finds the same events.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        self.events.clear();
        let sleeps = timeout != Some(Duration::ZERO);
        if sleeps && self.shared.waker.get().is_none() {
            // Nobody else sets it: a turn borrows the reactor mutably.
            let waker = mio::Waker::new(self.poll.registry(), WAKE)?;
            let _ = self.shared.waker.set(waker);
        }
        let mut woken = sleeps && self.shared.signal.swap(POLLING, Ordering::AcqRel) == NOTIFIED;
        let polled = self.poll_events(if woken { Some(Duration::ZERO) } else { timeout });
        woken |= self.shared.signal.swap(IDLE, Ordering::AcqRel) == NOTIFIED;
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => {
                // The wake stays for the turn that can report it.
                if woken {
                    self.shared.signal.store(NOTIFIED, Ordering::Release);
                }
                return Err(error);
            }
        }
        let events = self.deliver();
        let panicked_wakers = wake_all(&mut self.wakers);
        Ok(Turn {
            events,
            woken,
            panicked_wakers,
        })
    }

    fn poll_events(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            _ => self.alarm.arm(self.poll.registry(), timeout)?,
        };
        self.poll.poll(&mut self.events, timeout)
    }

    /// Hands the events to their sources and collects the wakers.
    fn deliver(&mut self) -> usize {
        if self.events.is_empty() {
            return 0;
        }
        let mut delivered = 0;
        let slots = lock(&self.shared.slots);
        for event in &self.events {
            match event.token() {
                WAKE => {}
                ALARM => self.alarm.rung(),
                token => {
                    if let Some(state) = slots.get(token) {
                        state.deliver(event, &mut self.wakers);
                        delivered += 1;
                    }
                }
            }
        }
        delivered
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let mut slots = lock(&self.shared.slots);
        for state in slots.close() {
            state.shut(&mut self.wakers);
        }
        drop(slots);
        wake_all(&mut self.wakers);
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor")
            .field("sources", &self.handle().source_count())
            .finish_non_exhaustive()
    }
}

/// Registers sources with a [`Reactor`] and interrupts its turns, from any thread.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Arc<Shared>,
}

impl ReactorHandle {
    /// Makes the current turn return, or else the next one not sleep.
    ///
    /// Cost: one atomic exchange; a system call only if a turn may be sleeping and nobody has woken it yet.
    /// # Errors
    /// If the operating system refuses; the wake is then still noted for the next turn.
    pub fn wake(&self) -> io::Result<()> {
        if self.shared.signal.swap(NOTIFIED, Ordering::AcqRel) == POLLING {
            // A turn that may sleep has a waker before it says so.
            self.shared.waker.get().map_or(Ok(()), mio::Waker::wake)?;
        }
        Ok(())
    }

    /// Puts a source under the reactor's watch.
    ///
    /// Until a call says that it would block, the source counts as ready in the directions of its interest.
    /// So a connecting stream is not connected when it is first *ready*: check it with a call that reports [`io::ErrorKind::WouldBlock`] as long as it is not.
    /// Cost: one allocation and one system call.
    /// # Errors
    /// [`ReactorError::Closed`](crate::ReactorError::Closed), [`ReactorError::TooManySources`](crate::ReactorError::TooManySources), or what the operating system says; the source is then dropped.
    pub fn register<S: Source>(
        &self,
        mut source: S,
        interest: Interest,
    ) -> io::Result<IoSource<S>> {
        let (token, state) = lock(&self.shared.slots).insert(interest)?;
        if let Err(error) = self.shared.registry.register(&mut source, token, interest) {
            lock(&self.shared.slots).remove(token);
            return Err(error);
        }
        Ok(IoSource::new(source, state, self.clone(), token))
    }

    /// How many sources are registered.
    #[must_use]
    pub fn source_count(&self) -> usize {
        lock(&self.shared.slots).len()
    }

    /// Whether the reactor has been dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared.slots).is_closed()
    }

    /// Ends the watch over a source; its waiters are woken in any case.
    pub(crate) fn deregister<S: Source>(
        &self,
        source: &mut S,
        token: mio::Token,
    ) -> io::Result<()> {
        let result = self.shared.registry.deregister(source);
        lock(&self.shared.slots).remove(token);
        result
    }
}

impl std::fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReactorHandle")
            .field("sources", &self.source_count())
            .finish_non_exhaustive()
    }
}

struct Shared {
    registry: Registry,
    /// Made by the first turn that may sleep.
    waker: OnceLock<mio::Waker>,
    signal: AtomicU8,
    slots: Mutex<Slots>,
}

/// Calls all wakers, whatever one of them does, and counts those that panicked.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) -> usize {
    wakers
        .drain(..)
        .filter_map(|waker| catch_unwind(AssertUnwindSafe(|| waker.wake())).err())
        .count()
}

const IDLE: u8 = 0;
const POLLING: u8 = 1;
const NOTIFIED: u8 = 2;

/// Events that one turn takes at most; more stay for the next.
const EVENTS_MAX: usize = 1024;
