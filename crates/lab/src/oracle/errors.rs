//! The failure of a task reaches exactly one who hears of it.

use asupersync_core::Severity;
use asupersync_kernel::Event;

use super::law::Law;
use super::ledger::Ledger;

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
