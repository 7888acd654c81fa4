//! Values of small kinds and their numbers, in recordings as in rings.
//!
//! Their places are those of version 2 for ever; what is new is added at the ends.

use asupersync_core::{CancelKind, CancelStage, ObligationKind, Severity};
use asupersync_kernel::Settlement;

pub(crate) const SEVERITIES: [Severity; 4] = [
    Severity::Ok,
    Severity::Err,
    Severity::Cancelled,
    Severity::Panicked,
];
pub(crate) const STAGES: [CancelStage; 3] = [
    CancelStage::Requested,
    CancelStage::Unshielded,
    CancelStage::Dropped,
];
pub(crate) const SETTLEMENTS: [Settlement; 4] = [
    Settlement::Committed,
    Settlement::Aborted,
    Settlement::Dropped,
    Settlement::Leaked,
];
pub(crate) const CANCEL_KINDS: [CancelKind; 11] = [
    CancelKind::User,
    CancelKind::Timeout,
    CancelKind::Deadline,
    CancelKind::PollQuota,
    CancelKind::CostBudget,
    CancelKind::FailFast,
    CancelKind::RaceLost,
    CancelKind::LinkedExit,
    CancelKind::ParentCancelled,
    CancelKind::ResourceUnavailable,
    CancelKind::Shutdown,
];
pub(crate) const OBLIGATION_KINDS: [ObligationKind; 7] = [
    ObligationKind::SendPermit,
    ObligationKind::Ack,
    ObligationKind::Lease,
    ObligationKind::IoOp,
    ObligationKind::SemaphorePermit,
    ObligationKind::Transaction,
    ObligationKind::Reply,
];
