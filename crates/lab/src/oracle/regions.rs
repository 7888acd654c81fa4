//! Regions close from the leaves up, in order, when their finalizers have run and the losers in them have ended.

use asupersync_core::{RegionId, Severity, TaskId};
use asupersync_kernel::{Event, Subject};

use super::law::Law;
use super::ledger::{Due, Ledger, Phase, Region, Task};

pub(super) fn see(ledger: &mut Ledger, event: &Event) {
    match event {
        Event::RegionOpened { region, parent } => opened(ledger, *region, *parent),
        Event::RegionClosing { region, body } => closing(ledger, *region, *body),
        Event::RegionFinalizing { region } => advance(ledger, *region, Phase::Finalizing),
        Event::RegionAbandoned { region, heir } => abandoned(ledger, *region, *heir),
        Event::FinalizerAdded { region } => ledger.region(*region).finalizers_left += 1,
        Event::FinalizerStarted { region } => {
            let region = ledger.region(*region);
            region.finalizers_left -= 1;
            region.finalizers_running += 1;
        }
        Event::FinalizerEnded { region, .. } => {
            let region = ledger.region(*region);
            region.finalizers_running = region.finalizers_running.saturating_sub(1);
        }
        Event::RegionClosed { region } => closed(ledger, *region),
        _ => {}
    }
}

pub(super) fn end(ledger: &mut Ledger) {
    let open = ledger.regions.iter();
    let open = open.filter(|region| region.phase != Phase::Closed);
    let open: Vec<_> = open.map(|region| (region.id, region.phase)).collect();
    for (region, phase) in open {
        ledger.broken(Law::Quiescence, format!("{region} was left {phase:?}"));
    }
}

fn opened(ledger: &mut Ledger, region: RegionId, parent: Option<Subject>) {
    if ledger.regions.get(region).is_some() {
        ledger.broken(Law::RegionTree, format!("{region} was opened twice"));
    }
    let around = match parent {
        Some(Subject::Region(around)) => Some(around),
        Some(Subject::Task(task)) => Some(task.region()),
        None => None,
    };
    if let Some(around) = around {
        let known = ledger.regions.get(around);
        if known.is_none_or(|known| known.phase == Phase::Closed) {
            let message = format!("{region} was opened in {around}, which is not open");
            ledger.broken(Law::RegionTree, message);
        }
    }
    *ledger.region(region) = Region::new(region, parent);
}

fn closing(ledger: &mut Ledger, region: RegionId, body: Severity) {
    advance(ledger, region, Phase::Closing);
    let here = |task: &&Task| task.id.region() == region && task.ended.is_none();
    if body == Severity::Ok {
        let losers = ledger.tasks.iter().filter(here);
        let losers = losers.filter(|task| task.lost_race && !task.is_spawned);
        let losers: Vec<_> = losers.map(|task| task.id).collect();
        for loser in losers {
            let message = format!("{region} ended while the loser {loser} had not");
            ledger.broken(Law::LoserDrained, message);
        }
    } else {
        let alive = ledger.tasks.iter().filter(here);
        let alive = alive.filter(|task| task.is_spawned);
        ledger.due.extend(alive.map(|task| Due::Asked(task.id)));
    }
}

fn advance(ledger: &mut Ledger, region: RegionId, next: Phase) {
    let entry = ledger.region(region);
    let before = std::mem::replace(&mut entry.phase, next);
    let is_root = entry.parent.is_none();
    let is_legal = match (before, next) {
        (Phase::Open, Phase::Closing | Phase::Finalizing)
        | (Phase::Closing, Phase::Finalizing)
        | (Phase::Finalizing, Phase::Closed) => true,
        // The root region closes without a finalizer; an heir takes over from wherever the region was.
        (Phase::Open | Phase::Closing, Phase::Closed) => is_root || entry.is_abandoned,
        (_, Phase::Open) | (Phase::Closing | Phase::Finalizing | Phase::Closed, _) => false,
    };
    if !is_legal {
        let message = format!("{region} went from {before:?} to {next:?}");
        ledger.broken(Law::RegionTree, message);
    }
}

fn abandoned(ledger: &mut Ledger, region: RegionId, heir: TaskId) {
    let region = ledger.region(region);
    // A finalizer under way goes to the heir; the protocol goes on from there.
    region.phase = Phase::Open;
    region.is_abandoned = true;
    region.parent = Some(Subject::Task(heir));
}

fn closed(ledger: &mut Ledger, region: RegionId) {
    advance(ledger, region, Phase::Closed);
    let alive = ledger.tasks.iter();
    let alive = alive.filter(|task| task.is_spawned && task.ended.is_none());
    let alive = alive.filter(|task| task.id.region() == region);
    let mut left: Vec<_> = alive.map(|task| Subject::Task(task.id)).collect();
    let within = |parent: Option<Subject>| match parent {
        Some(Subject::Region(parent)) => parent == region,
        Some(Subject::Task(parent)) => parent.region() == region,
        None => false,
    };
    let open = ledger.regions.iter();
    let open = open.filter(|child| child.phase != Phase::Closed && within(child.parent));
    left.extend(open.map(|child| Subject::Region(child.id)));
    for subject in left {
        let message = format!("{region} closed while {subject:?} was there");
        ledger.broken(Law::Quiescence, message);
    }
    let entry = ledger.region(region);
    let (left, running) = (entry.finalizers_left, entry.finalizers_running);
    if left > 0 || running > 0 {
        let message = format!(
            "{region} closed with {left} finalizers that had not run, and {running} under way"
        );
        ledger.broken(Law::Finalizers, message);
    }
}
