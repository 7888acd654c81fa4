//! Kinds of obligations, and what a host does about a leaked one.

use std::fmt;

/// What a task owes between a reserve and its commit or abort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum ObligationKind {
    /// A slot reserved in a channel, owing a message.
    SendPermit,
    /// A message received, owing an acknowledgement.
    Ack,
    /// A resource held for a limited time, owing its return.
    Lease,
    /// An I/O operation handed to the operating system, owing its completion.
    IoOp,
    /// Permits taken from a semaphore or a lock, owing their return.
    SemaphorePermit,
    /// An open transaction, owing a commit or a rollback.
    Transaction,
    /// A request received, owing a reply.
    Reply,
}

impl fmt::Display for ObligationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendPermit => "send permit",
            Self::Ack => "acknowledgement",
            Self::Lease => "lease",
            Self::IoOp => "I/O operation",
            Self::SemaphorePermit => "semaphore permit",
            Self::Transaction => "transaction",
            Self::Reply => "reply",
        })
    }
}

/// What the runtime does when a task ends while it still owes something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum LeakResponse {
    /// The task's outcome becomes `Panicked`, naming the obligation; while unwinding, [`LeakResponse::Log`].
    Panic,
    /// The leak is reported and counted.
    #[default]
    Log,
    /// The leak is counted only.
    Silent,
    /// The leak is reported and counted, and the resource is released as if the obligation had been aborted.
    Recover,
}
