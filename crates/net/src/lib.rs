//! TCP: listeners, streams and their halves, over whatever network the host drives.
//!
//! # Problem
//! A program names addresses and moves bytes; in production the operating system carries them, under the lab a simulated network does.
//! Both stand behind [`NetPort`], which the host brings; nothing here differs between them.
//!
//! # Cancellation
//! Operations that begin something take a context.
//! Reading and writing go through the `futures_io` traits and take none: they observe the cancellation of the context that is being polled.
//! From a cancel request on, they fail at once and again with an [`io::Error`](std::io::Error) that stands for [`Cancelled`](asupersync_core::Cancelled): a task that returns it with `?` ends as cancelled, and [`Cancelled::find_in`](asupersync_core::Cancelled::find_in) tells it from other errors.
//! Such an operation was *not started*: a cancelled read has taken no bytes, a cancelled write has given none.
//! Closing a half does not wait, so it works under cancellation too.
//!
//! # Absent
//! No buffering and no framing: `asupersync-io` has them.
//! No UDP, Unix sockets or DNS resolver yet; names go through the host's lookup.
//!
//! # Examples
//! ```
//! use asupersync_io::{ReadExt, WriteExt};
//! use asupersync_lab::{LabConfig, LabRuntime};
//! use asupersync_net::{NetError, TcpListener, TcpStream};
//!
//! #[derive(Debug, thiserror::Error)]
//! enum AppError {
//!     #[error(transparent)]
//!     Net(#[from] NetError),
//!     #[error(transparent)]
//!     Io(#[from] std::io::Error),
//! }
//!
//! let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
//!     let listener = TcpListener::bind(&cx, "127.0.0.1:0").await?;
//!     let mut client = TcpStream::connect(&cx, listener.local_addr()?).await?;
//!     let (mut server, _peer) = listener.accept(&cx).await?;
//!     client.write_all(b"hello").await?;
//!     client.close().await?;
//!     let mut heard = Vec::new();
//!     server.read_to_end(&mut heard, 1024).await?;
//!     Ok::<_, AppError>(heard)
//! });
//! report.assert_clean();
//! assert_eq!(report.outcome.ok().unwrap(), b"hello");
//! ```
#![forbid(unsafe_code)]

mod address;
mod error;
mod halves;
mod listener;
mod options;
mod os;
mod port;
mod stream;

pub use address::{Address, resolve};
pub use error::NetError;
pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use listener::TcpListener;
pub use options::{Keepalive, TcpConnectOptions, TcpListenOptions, TcpOptions};
pub use port::{Accepted, ListenIo, NetDriver, NetPort, StreamIo};
pub use stream::TcpStream;
