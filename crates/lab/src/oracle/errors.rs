//! The failure of a task reaches exactly one who hears of it.

use asupersync_core::{Severity, TaskId};
use asupersync_kernel::Event;

use super::law::Law;
use super::ledger::{Ledger, Phase, Task};

pub(super) fn see(ledger: &mut Ledger, event: &Event) {
    if let Event::FailureTaken { task } | Event::EndSuppressed { task, .. } = event {
        let entry = ledger.task(*task);
        entry.taken += 1;
        if entry.taken == 2 {
            ledger.broken(
                Law::ErrorOnce,
                format!("the failure of {task} was taken twice"),
            );
        }
    }
    if let Event::EndSuppressed { task, severity } = event {
        suppressed(ledger, *task, *severity);
    }
}

/// An open region lets an end go only for one that it still keeps, and that is at least as bad.
fn suppressed(ledger: &mut Ledger, task: TaskId, severity: Severity) {
    let region = ledger.region(task.region());
    if region.phase == Phase::Closed || region.is_abandoned {
        return;
    }
    let is_worse = |other: &Task| {
        let is_sibling = other.id != task && other.id.region() == task.region();
        let is_kept = other.taken == 0 && other.ended.is_some_and(|(_, end)| end >= severity);
        other.is_spawned && is_sibling && is_kept
    };
    if !ledger.tasks.iter().any(is_worse) {
        ledger.broken(
            Law::ErrorOnce,
            format!("the failure of {task} was suppressed, and by no worse one"),
        );
    }
}

pub(super) fn end(ledger: &mut Ledger) {
    let failed = ledger.tasks.iter();
    let failed = failed.filter(|task| task.is_spawned && task.taken == 0);
    let failed = failed.filter(|task| {
        let severity = task.ended.map(|(_, severity)| severity);
        matches!(severity, Some(Severity::Err | Severity::Panicked))
    });
    let failed: Vec<_> = failed.map(|task| task.id).collect();
    for task in failed {
        ledger.broken(
            Law::ErrorOnce,
            format!("nobody heard of the failure of {task}"),
        );
    }
}
