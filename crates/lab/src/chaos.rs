//! A step, with the faults that were decided for it.

use asupersync_core::CancelKind;
use asupersync_kernel::{Ended, Meddler, Runnable, Subject};

use crate::config::LabConfig;
use crate::faults::{Faults, PARTS, part_of};
use crate::host::{Choice, LabHost};
use crate::interrupt::{UNWOUND_TASK, Way};
use crate::lab::wake_all;

/// Polls a task; before and after, what was decided happens to it.
pub(crate) fn run(host: &LabHost, config: &LabConfig, task: Runnable, place: usize) {
    let cut = config.cut.filter(|cut| cut.step == host.steps());
    let faults = &config.chaos;
    if cut.is_none() && !faults.are_at_polls() {
        return task.run(&mut Ended::new());
    }
    let meddler = task.meddler();
    let chaos = Chaos {
        host,
        faults,
        task: &meddler,
    };
    if let Some(task) = chaos.before(task, place) {
        task.run(&mut Ended::new());
        chaos.after();
        let subject = Subject::Task(meddler.task_id());
        host.may_strike(faults, host.place(), Some(subject));
        let can_be_cut = !meddler.is_finished() && !host.is_heir(meddler.task_id());
        if let Some(cut) = cut.filter(|_| can_be_cut) {
            host.disturb();
            cut_short(&meddler, cut.way);
        }
    }
}

fn cut_short(task: &Meddler, way: Way) {
    match way {
        Way::Cancel => task.cancel(CancelKind::User),
        Way::Drop => {
            task.stop();
        }
        Way::Unwind => {
            task.unwind(UNWOUND_TASK);
        }
    }
}

/// A fault that ends its task: its chance, its name, and what it does.
type Ending = (f64, &'static str, fn(&Meddler));

struct Chaos<'a> {
    host: &'a LabHost,
    faults: &'a Faults,
    task: &'a Meddler,
}

impl Chaos<'_> {
    /// What happens before the poll; gives the task back unless it is held up.
    fn before(&self, task: Runnable, place: usize) -> Option<Runnable> {
        let faults = self.faults;
        if faults.wake_storm > 0.0 {
            self.host.remember(place, self.task.clone());
        }
        let jump = self.host.fault(faults.clock_jump, PARTS);
        if jump > 0 {
            self.host.injected(None, "chaos.clock_jump");
            wake_all(self.host.jump(part_of(faults.clock_jump_max, jump)));
            self.host.close_step();
        }
        let delay = self.host.fault(faults.delay, PARTS);
        if delay == 0 {
            return Some(task);
        }
        self.injected("chaos.delay");
        let time = part_of(faults.delay_max, delay);
        self.host.hold(Choice::Task(task), place, time);
        None
    }

    /// What happens once the task goes on waiting.
    fn after(&self) {
        let faults = self.faults;
        if self.host.fault(faults.wake_storm, 1) > 0 {
            self.host.injected(None, "chaos.wake_storm");
            for task in self.host.remembered() {
                task.wake();
            }
        }
        let ways: [Ending; 3] = [
            (faults.cancel, "chaos.cancel", |task| {
                task.cancel(CancelKind::User)
            }),
            (faults.exhaust, "chaos.exhaust", |task| {
                task.cancel(CancelKind::PollQuota);
            }),
            (faults.panic, "chaos.panic", |task| {
                task.unwind(UNWOUND_TASK);
            }),
        ];
        if self.host.is_heir(self.task.task_id()) {
            return;
        }
        for (chance, name, happens) in ways {
            if !self.task.is_finished() && self.host.fault(chance, 1) > 0 {
                self.injected(name);
                self.host.disturb();
                happens(self.task);
            }
        }
    }

    fn injected(&self, fault: &'static str) {
        let subject = Subject::Task(self.task.task_id());
        self.host.injected(Some(subject), fault);
    }
}
