//! What can go wrong with files.

use std::fmt;
use std::io;
use std::path::PathBuf;

use asupersync_core::{Cancelled, Effect, PanicPayload};
use asupersync_kernel::BlockingError;

/// Why an operation on a file or a name failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// The disk refused, or failed.
    #[error("could not {operation} `{}`", path.display())]
    Failed {
        /// What was to be done.
        operation: FsOperation,
        /// To what; of two paths the first.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The caller had to stop; nothing was begun.
    #[error("the file operation was cancelled before it began")]
    Cancelled(#[from] Cancelled),
    /// The host's disk panicked.
    #[error("the file operation did not come to its end")]
    Panicked(#[from] PanicPayload),
    /// The host has no files.
    #[error("this host has no files; give it an `FsPort` with its `port` function")]
    NoFiles,
}

/// What was to be done with a file or a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FsOperation {
    /// Opening or making it.
    Open,
    /// Reading from it.
    Read,
    /// Writing to it.
    Write,
    /// Moving the place at which it is read and written.
    Seek,
    /// Making it shorter or longer.
    SetLength,
    /// Making what is in it durable.
    Sync,
    /// Locking it.
    Lock,
    /// Asking what it is.
    Inspect,
    /// Making a folder.
    CreateFolder,
    /// Giving it another name.
    Rename,
    /// Removing its name.
    Remove,
    /// Listing a folder.
    List,
    /// Making a folder's names durable.
    SyncFolder,
}

impl FsOperation {
    /// Whether it leaves everything as it was, whatever becomes of it.
    const fn only_looks(self) -> bool {
        match self {
            Self::Read | Self::Seek | Self::Inspect | Self::List | Self::Lock => true,
            Self::Open
            | Self::Write
            | Self::SetLength
            | Self::Sync
            | Self::CreateFolder
            | Self::Rename
            | Self::Remove
            | Self::SyncFolder => false,
        }
    }
}

impl fmt::Display for FsOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Seek => "seek in",
            Self::SetLength => "set the length of",
            Self::Sync => "sync",
            Self::Lock => "lock",
            Self::Inspect => "inspect",
            Self::CreateFolder => "make the folder",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::SyncFolder => "sync the names in",
        })
    }
}

impl FsError {
    /// Whether the operation's effect took place.
    ///
    /// A write that failed may have written a part, and a sync that failed may have made a part durable: both are unknown.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Cancelled(_) | Self::NoFiles => Effect::NotStarted,
            Self::Failed { operation, .. } if operation.only_looks() => Effect::NotStarted,
            Self::Failed { .. } | Self::Panicked(_) => Effect::Unknown,
        }
    }

    /// The kind of the cause, for callers that speak [`io::Error`].
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Failed { source, .. } => source.kind(),
            Self::NoFiles => io::ErrorKind::Unsupported,
            Self::Cancelled(_) | Self::Panicked(_) => io::ErrorKind::Other,
        }
    }
}

/// Keeps the error whole, with the kind of its cause.
impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Cancelled(cancelled) => cancelled.into(),
            error => Self::new(error.kind(), error),
        }
    }
}

impl From<BlockingError> for FsError {
    fn from(error: BlockingError) -> Self {
        match error {
            BlockingError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            BlockingError::Panicked(payload) => Self::Panicked(payload),
            other => Self::Panicked(PanicPayload::new(Box::new(other.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(operation: FsOperation) -> FsError {
        FsError::Failed {
            operation,
            path: PathBuf::from("notes"),
            source: io::ErrorKind::NotFound.into(),
        }
    }

    #[test]
    fn what_changes_something_is_unknown_after_an_error() {
        assert_eq!(failed(FsOperation::Write).effect(), Effect::Unknown);
        assert_eq!(failed(FsOperation::Sync).effect(), Effect::Unknown);
        assert_eq!(failed(FsOperation::Read).effect(), Effect::NotStarted);
        assert_eq!(FsError::NoFiles.effect(), Effect::NotStarted);
    }

    #[test]
    fn an_io_error_keeps_kind_message_and_cause() {
        let error = io::Error::from(failed(FsOperation::Open));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "could not open `notes`");
        assert!(std::error::Error::source(&error).is_some());
    }
}
