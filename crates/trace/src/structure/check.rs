//! What must hold of a structure.

use std::collections::BTreeSet;

use asupersync_core::{ObligationId, RegionId, TaskId, Time};
use asupersync_kernel::Subject;

use super::{RegionPhase, Structure, WaitsFor};

/// What no program's structure can be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No region is the root.
    #[error("no region is the root")]
    NoRoot,
    /// Two regions have no parent.
    #[error("{first} and {second} both have no parent")]
    TwoRoots {
        /// One.
        first: RegionId,
        /// The other.
        second: RegionId,
    },
    /// A region's parent is not there.
    #[error("the parent of {region}, {}, is not there", name(*parent))]
    NoParent {
        /// The region.
        region: RegionId,
        /// What it names.
        parent: Subject,
    },
    /// The way up from a region never ends.
    #[error("the way up from {region} comes back to it")]
    Cycle {
        /// The region.
        region: RegionId,
    },
    /// A region lives, and what should close it has ended.
    #[error("{region} lives, and {}, which should close it, has ended", name(*parent))]
    ParentEnded {
        /// The region.
        region: RegionId,
        /// Who opened it, or its heir.
        parent: Subject,
    },
    /// A task's region is not there.
    #[error("the region of {task} is not there")]
    NoRegion {
        /// The task.
        task: TaskId,
    },
    /// A task lives in a closed region.
    #[error("{task} lives, and its region is closed")]
    TaskInClosedRegion {
        /// The task.
        task: TaskId,
    },
    /// The holder of an obligation is not there.
    #[error("{}, which owes {obligation}, is not there", name(*holder))]
    NoHolder {
        /// The obligation.
        obligation: ObligationId,
        /// What it names.
        holder: Subject,
    },
    /// The holder of an obligation has ended.
    #[error("{} has ended and still owes {obligation}", name(*holder))]
    HolderEnded {
        /// The obligation.
        obligation: ObligationId,
        /// Who owes it.
        holder: Subject,
    },
    /// A timer should have fired.
    #[error("a timer of {task} stands for {at}, and it is {now}")]
    TimerInThePast {
        /// Whose.
        task: TaskId,
        /// For when it stands.
        at: Time,
        /// The time.
        now: Time,
    },
    /// Who sleeps is not there, or has ended.
    #[error("{task} has a timer for {at} and does not live")]
    SleeperGone {
        /// Whose.
        task: TaskId,
        /// For when it stands.
        at: Time,
    },
    /// Who waits is not there, or has ended.
    #[error("{} waits and does not live", name(*waiter))]
    WaiterGone {
        /// Who.
        waiter: Subject,
    },
    /// What is waited for is not there, or has ended.
    #[error("{} waits for {}, which does not live", name(*waiter), name(*awaited))]
    AwaitedGone {
        /// Who waits.
        waiter: Subject,
        /// For what.
        awaited: Subject,
    },
    /// Timers or waits are not in their order, or stand twice.
    #[error("{what} are out of order")]
    OutOfOrder {
        /// Which.
        what: &'static str,
    },
}

impl Structure {
    /// What of it cannot be; nothing for what a program really was.
    ///
    /// Cost: linear, and a logarithm for each look-up.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_roots(&mut faults);
        self.check_regions(&mut faults);
        self.check_tasks(&mut faults);
        self.check_obligations(&mut faults);
        self.check_timers(&mut faults);
        self.check_waits(&mut faults);
        faults
    }

    fn check_roots(&self, faults: &mut Vec<Fault>) {
        let roots = self.regions.iter();
        let mut roots = roots.filter(|(_, state)| state.parent.is_none());
        let Some((first, _)) = roots.next() else {
            return faults.push(Fault::NoRoot);
        };
        let (first, second) = (*first, roots.next().map(|(region, _)| *region));
        faults.extend(second.map(|second| Fault::TwoRoots { first, second }));
    }

    fn check_regions(&self, faults: &mut Vec<Fault>) {
        let mut safe = BTreeSet::new();
        for (&region, state) in &self.regions {
            if self.comes_back(region, &mut safe) {
                faults.push(Fault::Cycle { region });
            }
            let Some(parent) = state.parent else { continue };
            if !self.is_there(parent) {
                faults.push(Fault::NoParent { region, parent });
            } else if state.phase != RegionPhase::Closed && !self.lives(parent) {
                faults.push(Fault::ParentEnded { region, parent });
            }
        }
    }

    /// Whether the way up from a region never ends; regions from which it does are `safe`.
    fn comes_back(&self, region: RegionId, safe: &mut BTreeSet<RegionId>) -> bool {
        let mut way = BTreeSet::new();
        let mut place = Some(region);
        while let Some(region) = place.filter(|region| !safe.contains(region)) {
            if !way.insert(region) {
                return true;
            }
            let parent = self.regions.get(&region).and_then(|state| state.parent);
            place = parent.map(|parent| match parent {
                Subject::Region(region) => region,
                Subject::Task(task) => task.region(),
            });
        }
        safe.append(&mut way);
        false
    }

    fn check_tasks(&self, faults: &mut Vec<Fault>) {
        for (&task, state) in &self.tasks {
            if state.run.is_ended() {
                continue;
            }
            match self.regions.get(&task.region()) {
                None => faults.push(Fault::NoRegion { task }),
                Some(region) if region.phase == RegionPhase::Closed => {
                    faults.push(Fault::TaskInClosedRegion { task });
                }
                Some(_) => {}
            }
        }
    }

    fn check_obligations(&self, faults: &mut Vec<Fault>) {
        for (&obligation, owing) in &self.obligations {
            let holder = owing.holder;
            if !self.is_there(holder) {
                faults.push(Fault::NoHolder { obligation, holder });
            } else if !self.lives(holder) {
                faults.push(Fault::HolderEnded { obligation, holder });
            }
        }
    }

    fn check_timers(&self, faults: &mut Vec<Fault>) {
        let now = self.now;
        for timer in &self.timers {
            let (task, at) = (timer.task, timer.at);
            if at < now {
                faults.push(Fault::TimerInThePast { task, at, now });
            }
            if !self.lives(Subject::Task(task)) {
                faults.push(Fault::SleeperGone { task, at });
            }
        }
        if !self.timers.is_sorted() {
            faults.push(Fault::OutOfOrder { what: "timers" });
        }
    }

    fn check_waits(&self, faults: &mut Vec<Fault>) {
        for waiting in &self.waits {
            let waiter = waiting.waiter;
            if !self.lives(waiter) {
                faults.push(Fault::WaiterGone { waiter });
            }
            let awaited = match &waiting.on {
                WaitsFor::Task(task) => Some(Subject::Task(*task)),
                WaitsFor::Region(region) => Some(Subject::Region(*region)),
                WaitsFor::Resource { holder, .. } => *holder,
            };
            if let Some(awaited) = awaited.filter(|awaited| !self.lives(*awaited)) {
                faults.push(Fault::AwaitedGone { waiter, awaited });
            }
        }
        if !self.waits.is_sorted_by(|one, next| one < next) {
            faults.push(Fault::OutOfOrder { what: "waits" });
        }
    }

    fn is_there(&self, subject: Subject) -> bool {
        match subject {
            Subject::Task(task) => self.tasks.contains_key(&task),
            Subject::Region(region) => self.regions.contains_key(&region),
        }
    }
}

fn name(subject: Subject) -> String {
    match subject {
        Subject::Region(region) => region.to_string(),
        Subject::Task(task) => task.to_string(),
    }
}
