//! What can go wrong before bytes flow.

use std::io;
use std::net::SocketAddr;

use asupersync_core::{Cancelled, PanicPayload};
use asupersync_kernel::BlockingError;

/// Why there is no connection, listener or address.
///
/// Reading and writing fail with a plain [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// No connection could be made.
    #[error("could not connect to {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the network said of it.
        #[source]
        source: io::Error,
    },
    /// No listener could be set up.
    #[error("could not listen on {address}")]
    Bind {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the network said of it.
        #[source]
        source: io::Error,
    },
    /// A connection could not be accepted; see [`is_transient`](Self::is_transient).
    #[error("could not accept a connection on {address}")]
    Accept {
        /// The listener's address.
        address: SocketAddr,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// A socket could not say which address it has.
    #[error("could not read the address of a socket")]
    LocalAddress(#[source] io::Error),
    /// The lookup of a name failed.
    #[error("could not find the address of `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the lookup said.
        #[source]
        source: io::Error,
    },
    /// There is nothing to connect to or listen on: the list, or what the lookup found, is empty.
    #[error("`{address}` stands for no address at all")]
    NoAddress {
        /// What was given.
        address: String,
    },
    /// The text is no address.
    #[error("`{text}` is no address; write `host:port`, `1.2.3.4:port` or `[v6]:port`")]
    InvalidAddress {
        /// The text.
        text: String,
    },
    /// The caller had to stop; nothing was begun, or it was taken back.
    #[error("the network operation was cancelled")]
    Cancelled(#[from] Cancelled),
    /// The host's lookup panicked.
    #[error("the lookup of a name failed")]
    Panicked(#[from] PanicPayload),
    /// The host has no network.
    #[error("this host has no network; give it one with its `port` function")]
    NoNetwork,
}

impl NetError {
    /// Whether an accept failed only because the machine is short of something, such as file descriptors.
    ///
    /// The connection then still waits.
    /// An accept loop should sleep for a moment, so that connections can end and the loop does not spin, and go on; any other failure of an accept ends the listener.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Accept { source, .. } => is_shortage(source),
            _ => false,
        }
    }

    /// The error for callers that speak [`io::Error`]; its kind is that of the cause.
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Connect { source, .. }
            | Self::Bind { source, .. }
            | Self::Accept { source, .. }
            | Self::Resolve { source, .. }
            | Self::LocalAddress(source) => source.kind(),
            Self::NoAddress { .. } | Self::InvalidAddress { .. } => io::ErrorKind::InvalidInput,
            Self::NoNetwork => io::ErrorKind::Unsupported,
            Self::Cancelled(_) | Self::Panicked(_) => io::ErrorKind::Other,
        }
    }
}

/// Keeps the error whole, with the kind of its cause.
impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Cancelled(cancelled) => cancelled.into(),
            error => Self::new(error.kind(), error),
        }
    }
}

impl From<BlockingError> for NetError {
    fn from(error: BlockingError) -> Self {
        match error {
            BlockingError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            BlockingError::Panicked(payload) => Self::Panicked(payload),
            other => Self::Panicked(PanicPayload::new(Box::new(other.to_string()))),
        }
    }
}

#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let code = error.raw_os_error();
    shortages
        .iter()
        .any(|shortage| code == Some(shortage.raw_os_error()))
        || error.kind() == io::ErrorKind::QuotaExceeded
}

#[cfg(not(unix))]
fn is_shortage(error: &io::Error) -> bool {
    const WSAEMFILE: i32 = 10024;
    const WSAENOBUFS: i32 = 10055;
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
        || error.kind() == io::ErrorKind::QuotaExceeded
}

#[cfg(test)]
mod tests {
    use super::*;
    use asupersync_core::{CancelKind, CancelReason, IntoOutcome, Origin, Time};

    fn accept_failed(source: io::Error) -> NetError {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        NetError::Accept { address, source }
    }

    #[cfg(unix)]
    #[test]
    fn only_a_shortage_is_transient() {
        use rustix::io::Errno;
        for shortage in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let source = io::Error::from_raw_os_error(shortage.raw_os_error());
            assert!(accept_failed(source).is_transient(), "{shortage}");
        }
        let broken = io::Error::from_raw_os_error(Errno::BADF.raw_os_error());
        assert!(!accept_failed(broken).is_transient());
        assert!(!NetError::NoNetwork.is_transient());
    }

    #[test]
    fn an_io_error_keeps_kind_message_and_cause() {
        let error = io::Error::from(accept_failed(io::ErrorKind::NotFound.into()));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("127.0.0.1:80"));
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_cancellation_stays_one_on_its_way_through_io_errors() {
        let reason = CancelReason::new(CancelKind::User, Origin::default(), Time::ZERO);
        let error = NetError::Cancelled(Cancelled::new(reason));
        assert!(
            Err::<(), _>(io::Error::from(error))
                .into_outcome()
                .is_cancelled()
        );
    }
}
