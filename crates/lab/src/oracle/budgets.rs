//! A budget is no wider than that of its surroundings, and who has spent it is cancelled.

use asupersync_core::{Budget, TaskId, Time};
use asupersync_kernel::{Event, Subject};

use super::law::Law;
use super::ledger::{Due, Ledger};

pub(super) fn see(ledger: &mut Ledger, event: &Event) {
    match event {
        Event::BudgetNarrowed { subject, budget } => narrowed(ledger, *subject, *budget),
        Event::TaskPolled { task } if ledger.has_budgets => polled(ledger, *task),
        Event::CostSpent { subject, cost } => {
            let quota = ledger.budget(*subject).cost_quota.unwrap_or(u64::MAX);
            let common = ledger.common(*subject);
            common.spent = common.spent.saturating_add(*cost);
            if common.spent > quota && common.stage.is_none() {
                ledger.due.push(Due::OutOfCost(*subject));
            }
        }
        _ => {}
    }
}

fn narrowed(ledger: &mut Ledger, subject: Subject, budget: Budget) {
    ledger.has_budgets = true;
    let around = ledger
        .parent(subject)
        .map_or(Budget::UNLIMITED, |parent| ledger.budget(parent));
    let deadline = |budget: Budget| budget.deadline.unwrap_or(Time::MAX);
    if deadline(budget) > deadline(around) {
        let (own, outer) = (deadline(budget), deadline(around));
        let message = format!("{subject:?} may go on until {own}, its surroundings until {outer}");
        ledger.broken(Law::DeadlineMonotone, message);
    }
    let cost = |budget: Budget| budget.cost_quota.unwrap_or(u64::MAX);
    if budget.poll_quota > around.poll_quota || cost(budget) > cost(around) {
        let message =
            format!("{subject:?} has more than its surroundings: {budget:?} in {around:?}");
        ledger.broken(Law::BudgetConservation, message);
    }
    ledger.common(subject).budget = Some(budget);
}

fn polled(ledger: &mut Ledger, task: TaskId) {
    let quota = ledger.budget(Subject::Task(task)).poll_quota;
    let entry = ledger.task(task);
    if entry.common.stage.is_some() || quota == u32::MAX {
        return;
    }
    entry.polls += 1;
    // The poll that finds nothing left is the one that cancels.
    if u64::from(entry.polls) == u64::from(quota) + 2 {
        let message =
            format!("{task} may be polled {quota} times, is polled more often, and goes on");
        ledger.broken(Law::BudgetConservation, message);
    }
}
