//! Each wake leads to a poll, each poll comes from a wake, and nobody waits for its turn for ever.

use asupersync_core::TaskId;
use asupersync_kernel::{Event, Subject};

use super::law::Law;
use super::ledger::Ledger;
use crate::node::PAUSE;

pub(super) fn see(ledger: &mut Ledger, step: u64, event: &Event) {
    match event {
        Event::TaskSpawned { task, .. } | Event::WakeMerged { task } => {
            let index = ledger.index;
            ledger.task(*task).runnable.get_or_insert((index, step));
        }
        Event::TaskWoken { task } => woken(ledger, step, *task),
        Event::TaskPolled { task } => polled(ledger, step, *task),
        Event::TaskAwaited { task, ended } => {
            let joiner = ledger.current.filter(|_| !ended);
            ledger.task(*task).joiner = joiner;
        }
        // Those of the network keep nobody from running who can; a node that stands still does.
        Event::FaultInjected { fault, .. } if fault.starts_with("chaos.") || **fault == *PAUSE => {
            ledger.is_delayed = true;
        }
        _ => {}
    }
}

fn woken(ledger: &mut Ledger, step: u64, task: TaskId) {
    let (index, cancelled_at) = (ledger.index, ledger.cancelled_at);
    let entry = ledger.task(task);
    let before = entry.runnable.replace((index, step));
    let Some((since, since_step)) = before else {
        return;
    };
    entry.runnable = Some((since, since_step));
    // A cancelled task enters the lane that goes first, also if it stands in another.
    let is_lane_change = cancelled_at.is_some_and(|cancelled| cancelled > since);
    if !is_lane_change {
        let message = format!("{task} was queued while it stood in a queue");
        ledger.broken(Law::DuplicateWake, message);
    }
}

fn polled(ledger: &mut Ledger, step: u64, task: TaskId) {
    ledger.current = Some(task);
    let (index, peers) = (ledger.index, ledger.live_max);
    let is_fair = ledger.is_fair && !ledger.is_delayed;
    let entry = ledger.task(task);
    entry.polled_at = Some(index);
    let Some((_, since)) = entry.runnable.take() else {
        let message = format!("{task} was polled without a wake");
        return ledger.broken(Law::DuplicateWake, message);
    };
    let waited = step.saturating_sub(since);
    if is_fair && waited > STARVED_STEPS.max(peers.saturating_mul(STEPS_PER_PEER)) {
        let message = format!("{task} was runnable for {waited} steps before it was polled");
        ledger.broken(Law::Starvation, message);
    }
}

/// Who was to be polled for something that has come, in a run that stalled.
pub(super) fn stalled(ledger: &mut Ledger, granted: impl Iterator<Item = (TaskId, usize)>) {
    let mut lost = Vec::new();
    for task in ledger.tasks.iter() {
        if let (Some((ended, _)), Some(joiner)) = (task.ended, task.joiner) {
            lost.push((joiner, ended, format!("the end of {}", task.id)));
        }
        if let (Some(asked), true) = (task.common.asked_at, task.is_spawned) {
            lost.push((task.id, asked, "a request to stop".to_owned()));
        }
    }
    lost.extend(granted.map(|(task, since)| (task, since, "what it was given".to_owned())));
    for (task, since, what) in lost {
        let Some(entry) = ledger.tasks.get(task) else {
            continue;
        };
        let has_seen = entry.polled_at.is_some_and(|polled| polled > since);
        if entry.ended.is_none() && !has_seen && ledger.current != Some(task) {
            ledger.broken(Law::LostWake, format!("{task} was not polled after {what}"));
        }
    }
}

/// The task in whose poll a subject's operation is done.
pub(super) fn poller(ledger: &Ledger, subject: Subject) -> Option<TaskId> {
    match subject {
        Subject::Task(task) if ledger.tasks.get(task).is_some_and(|task| task.is_spawned) => {
            Some(task)
        }
        Subject::Task(_) | Subject::Region(_) => ledger.current,
    }
}

/// Whoever is runnable for longer is starved; by chance that happens never.
const STARVED_STEPS: u64 = 10_000;
/// With many tasks, so many turns for each of them.
const STEPS_PER_PEER: u64 = 64;
