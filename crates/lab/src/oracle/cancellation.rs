//! Requests come before stages, parents before children, and masks end with the cleanup budget.

use asupersync_core::{CancelKind, CancelStage, Time};
use asupersync_kernel::{Event, Subject};

use super::law::Law;
use super::ledger::Ledger;

pub(super) fn see(ledger: &mut Ledger, event: &Event) {
    match event {
        Event::CancelRequested { subject, kind } => requested(ledger, *subject, *kind),
        Event::CancelEscalated { subject, stage } => escalated(ledger, *subject, *stage),
        Event::TaskPolled { task } => {
            let entry = ledger.task(*task);
            if entry.common.stage.is_none() {
                return;
            }
            let stage = entry.common.stage;
            entry.cleanup_left = entry.cleanup_left.saturating_sub(1);
            if entry.cleanup_left == 0 && entry.ended.is_none() {
                entry.cleanup_left = u32::MAX;
                let message =
                    format!("{task} is polled beyond its cleanup, and is still {stage:?}");
                ledger.broken(Law::MaskBounds, message);
            }
        }
        _ => {}
    }
}

fn requested(ledger: &mut Ledger, subject: Subject, kind: CancelKind) {
    if kind == CancelKind::ParentCancelled
        && let Some(parent) = ledger.parent(subject)
        && !ledger.is_asked(parent)
    {
        let message =
            format!("{subject:?} was cancelled with {parent:?}, which had not been asked");
        ledger.broken(Law::CancelPropagation, message);
    }
    let index = ledger.index;
    ledger.cancelled_at = Some(index);
    let common = ledger.common(subject);
    common.asked_at = Some(index);
    let is_first = common.stage.is_none();
    if is_first {
        common.stage = Some(CancelStage::Requested);
    }
    if let Subject::Task(task) = subject {
        let task = ledger.task(task);
        task.lost_race |= kind == CancelKind::RaceLost;
        let cleanup = kind.cleanup_budget(Time::ZERO).poll_quota;
        let cleanup = cleanup.saturating_add(SLACK);
        task.cleanup_left = if is_first {
            cleanup
        } else {
            task.cleanup_left.min(cleanup)
        };
    }
}

fn escalated(ledger: &mut Ledger, subject: Subject, stage: CancelStage) {
    ledger.cancelled_at = Some(ledger.index);
    let before = ledger.common(subject).stage.replace(stage);
    let is_next = matches!(
        (before, stage),
        (Some(CancelStage::Requested), CancelStage::Unshielded)
            | (Some(CancelStage::Unshielded), CancelStage::Dropped)
    );
    if !is_next {
        let message = format!("{subject:?} went from {before:?} to {stage:?}");
        ledger.broken(Law::CancelOrder, message);
    }
    if let Subject::Task(task) = subject {
        ledger.task(task).cleanup_left = GRACE_POLLS + SLACK;
    }
}

/// As many polls of a task follow the end of its cleanup before its future is dropped.
const GRACE_POLLS: u32 = 16;
/// The poll that finds the budget spent, one that a request came into, and the one that ends the task.
const SLACK: u32 = 3;
