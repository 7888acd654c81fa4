//! Tasks end, once, and are not polled afterwards.

use asupersync_kernel::Event;

use super::law::Law;
use super::ledger::Ledger;

pub(super) fn see(ledger: &mut Ledger, event: &Event) {
    match event {
        Event::TaskSpawned { task, .. } => {
            ledger.task(*task).is_spawned = true;
            ledger.live += 1;
            ledger.live_max = ledger.live_max.max(ledger.live);
        }
        Event::TaskEnded { task, severity } => {
            let index = ledger.index;
            let entry = ledger.task(*task);
            let before = entry.ended.replace((index, *severity));
            let was_live = entry.is_spawned && before.is_none();
            ledger.live = ledger.live.saturating_sub(u64::from(was_live));
            if before.is_some() {
                ledger.broken(Law::TaskEnd, format!("{task} ended twice"));
            }
        }
        Event::TaskPolled { task } if ledger.task(*task).ended.is_some() => {
            ledger.broken(Law::TaskEnd, format!("{task} was polled after its end"));
        }
        _ => {}
    }
}

pub(super) fn end(ledger: &mut Ledger) {
    let leaks = ledger.tasks.iter();
    let leaks = leaks.filter(|task| task.is_spawned && task.ended.is_none());
    let leaks: Vec<_> = leaks.map(|task| task.id).collect();
    for task in leaks {
        ledger.broken(Law::TaskLeak, format!("{task} never ended"));
    }
}
