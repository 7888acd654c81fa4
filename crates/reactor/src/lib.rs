//! OS readiness: tells tasks when a socket or pipe can be read or written.
//!
//! # Problem
//! Many tasks wait for many sockets; one thread at a time asks the operating system which of them can go on.
//!
//! # Shape
//! A host owns the [`Reactor`] and calls [`Reactor::turn`] from whichever worker sleeps next.
//! Everybody else holds a [`ReactorHandle`], which registers sources and interrupts a turn.
//! An [`IoSource`] tries the system call first and waits only when that would block.
//!
//! # Absent
//! No threads, no clock, no buffers and no addresses: `net` has those.
//! Cancellation is not known here; a leaf of the kernel's observes it around the polls of a source.
#![forbid(unsafe_code)]

mod alarm;
mod error;
mod primitive;
mod reactor;
mod readiness;
mod slots;
mod source;

pub use error::ReactorError;
pub use reactor::{Reactor, ReactorHandle, Turn};
pub use readiness::{Direction, ReadyToken};
pub use source::IoSource;

/// The operating system's sources, as the reactor takes them.
pub mod os {
    pub use mio::Interest;
    pub use mio::event::Source;
    pub use mio::net::{TcpListener, TcpStream, UdpSocket};
    #[cfg(unix)]
    pub use mio::net::{UnixDatagram, UnixListener, UnixStream};
    #[cfg(unix)]
    pub use mio::unix::{SourceFd, pipe};
}
