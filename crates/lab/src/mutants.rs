//! For each law a seeded defect, and a small program under which exactly its oracle fires.
//!
//! The defects stand in the code that runs in production: kernel, primitives, combinators, and the lab's host.
//! A program runs with its defect until the law fires, and without it under many seeds, where nothing may fire.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use asupersync_combinator::race;
use asupersync_core::{Budget, CancelKind, Cancelled, Collect, ObligationKind, Outcome, Time};
use asupersync_kernel::mutation::{Mutation, with};
use asupersync_kernel::{Cx, JoinHandle, Obligation, RegionOptions, Scope, SpawnOptions};
use asupersync_sync::{Mutex, Semaphore, mpsc};
use asupersync_trace::Trace;

use crate::{LabConfig, LabReport, LabRuntime, Law, Violation, check_determinism};

mod channels;
mod locks;
mod waits;

/// What came of one defect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MutantRow {
    /// The defect.
    pub mutation: Mutation,
    /// The law that it breaks.
    pub law: Law,
    /// Laws that cannot but break with it.
    pub also: &'static [Law],
    /// What fired, over all seeds that were run with the defect.
    pub fired: BTreeSet<Law>,
    /// How many seeds were run until the law fired; `None` if it never did.
    pub seeds_until_fired: Option<u64>,
    /// How many of the clean runs broke any law.
    pub false_alarms: u64,
}

impl MutantRow {
    /// Whether the law fired, nothing else did that was not foreseen, and clean runs were clean.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        let foreseen = |law: &Law| *law == self.law || self.also.contains(law);
        self.seeds_until_fired.is_some()
            && self.fired.iter().all(foreseen)
            && self.false_alarms == 0
    }
}

/// Runs every defect under up to `seeds` seeds until its law fires, and each program without it under as many.
///
/// # Shape and units
/// `seeds` counts runs of each program, from 1.
#[must_use]
pub fn run_mutants(seeds: u64) -> Vec<MutantRow> {
    MUTANTS.iter().map(|mutant| mutant.run(seeds)).collect()
}

struct Mutant {
    mutation: Mutation,
    law: Law,
    also: &'static [Law],
    program: fn(u64) -> Vec<Violation>,
}

impl Mutant {
    const fn new(mutation: Mutation, law: Law, program: fn(u64) -> Vec<Violation>) -> Self {
        Self {
            mutation,
            law,
            also: &[],
            program,
        }
    }

    fn run(&self, seeds: u64) -> MutantRow {
        let mut fired = BTreeSet::new();
        let mut seeds_until_fired = None;
        for seed in 0..seeds {
            let found = with(Some(self.mutation), || (self.program)(seed));
            fired.extend(found.iter().map(|violation| violation.law));
            if fired.contains(&self.law) {
                seeds_until_fired = Some(seed + 1);
                break;
            }
        }
        let clean = |seed: &u64| with(None, || (self.program)(*seed)).is_empty();
        let false_alarms = (0..seeds).filter(|seed| !clean(seed)).count() as u64;
        MutantRow {
            mutation: self.mutation,
            law: self.law,
            also: self.also,
            fired,
            seeds_until_fired,
            false_alarms,
        }
    }
}

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    Mutant {
        // A task that is left behind is alive when its region closes.
        also: &[Law::Quiescence],
        ..Mutant::new(Mutation::RegionLeavesTasks, Law::TaskLeak, task_left_behind)
    },
    Mutant::new(Mutation::RegionClosesEarly, Law::Quiescence, slow_child),
    Mutant::new(Mutation::RegionSkipsFinalizing, Law::RegionTree, slow_child),
    Mutant::new(Mutation::EndToldTwice, Law::TaskEnd, slow_child),
    Mutant::new(Mutation::GuardSettlesNothing, Law::ObligationLeak, dropped_guard),
    Mutant::new(Mutation::SettledIsKept, Law::ObligationLinearity, committed),
    Mutant::new(Mutation::GraceIsSkipped, Law::CancelOrder, stubborn),
    Mutant::new(Mutation::ChildIsNotAsked, Law::CancelPropagation, failing_body),
    Mutant::new(Mutation::MaskHoldsForEver, Law::MaskBounds, busy_behind_a_mask),
    Mutant::new(Mutation::DeadlineIsReplaced, Law::DeadlineMonotone, late_child),
    Mutant::new(Mutation::PollsAreFree, Law::BudgetConservation, many_polls),
    Mutant::new(Mutation::CostIsFree, Law::BudgetConservation, spender),
    Mutant::new(Mutation::FinalizerIsDropped, Law::Finalizers, finalizers),
    Mutant::new(Mutation::LosersAreLeft, Law::LoserDrained, racers),
    Mutant::new(Mutation::JoinerIsNotWoken, Law::LostWake, joiner),
    Mutant::new(Mutation::RequestDoesNotWake, Law::LostWake, asked_while_waiting),
    Mutant::new(Mutation::NotifyIsSilent, Law::LostWake, waits::notified),
    Mutant::new(Mutation::WatchIsSilent, Law::LostWake, waits::watched),
    Mutant::new(Mutation::BroadcastIsSilent, Law::LostWake, waits::broadcast),
    Mutant::new(Mutation::OfferIsSilent, Law::LostWake, waits::offered),
    Mutant::new(Mutation::TakingIsSilent, Law::LostWake, waits::taken),
    Mutant::new(Mutation::BarrierIsSilent, Law::LostWake, waits::met),
    Mutant::new(Mutation::CondvarIsSilent, Law::LostWake, waits::signalled),
    Mutant::new(Mutation::LatchIsSilent, Law::LostWake, waits::opened),
    Mutant::new(Mutation::SemaphoreIsSilent, Law::LostWake, waits::admitted),
    Mutant::new(Mutation::RwLockIsSilent, Law::LostWake, waits::let_in),
    Mutant::new(Mutation::AnswerIsSilent, Law::LostWake, waits::answered),
    Mutant::new(Mutation::PolledUnwoken, Law::DuplicateWake, slow_child),
    Mutant::new(Mutation::MessageIsDropped, Law::ChannelConservation, messages),
    Mutant::new(Mutation::ValueIsLost, Law::ChannelConservation, channels::one_value),
    Mutant::new(Mutation::MessageIsSkipped, Law::ChannelConservation, channels::news),
    Mutant::new(Mutation::LagIsUnderstated, Law::ChannelConservation, channels::news),
    Mutant::new(Mutation::HandOverIsDropped, Law::ChannelConservation, channels::given_and_left),
    Mutant::new(Mutation::AnswerIsLost, Law::ChannelConservation, channels::questions),
    Mutant::new(Mutation::VersionIsRepeated, Law::ChannelConservation, channels::changes),
    Mutant::new(Mutation::VersionIsForgotten, Law::ChannelConservation, channels::changes),
    Mutant::new(Mutation::PermitIsForgotten, Law::PermitConservation, permits),
    Mutant::new(Mutation::LastInLineIsFirst, Law::LockFairness, line),
    Mutant::new(Mutation::PermitsGoToTheQuick, Law::LockFairness, locks::two_at_once),
    Mutant::new(Mutation::WriterIsOvertaken, Law::LockFairness, locks::writer_between_readers),
    Mutant::new(Mutation::ReadersGoOneByOne, Law::LockFairness, locks::readers_behind_a_writer),
    Mutant::new(Mutation::LockIsKept, Law::Futurelock, line),
    Mutant::new(Mutation::NewestGoesFirst, Law::Starvation, patient),
    Mutant::new(Mutation::JobOnAThread, Law::ForeignThread, job),
    Mutant::new(Mutation::EntropyIsAmbient, Law::Determinism, dice),
    Mutant::new(Mutation::ErrorIsLost, Law::ErrorOnce, unjoined_error),
    Mutant::new(Mutation::JoinedErrorHidesOthers, Law::ErrorOnce, joined_and_unjoined_error),
    Mutant::new(Mutation::SleepIsShort, Law::Invariant, alarm_clock),
];

type Unit = Result<(), Cancelled>;

fn lab(seed: u64) -> LabRuntime {
    LabRuntime::new(LabConfig::default().seed(seed))
}

/// What a run broke whose root opens one region and does this there.
fn in_region(seed: u64, body: impl AsyncFnOnce(Scope<'_, Cancelled>) -> Unit) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let _ = cx.region(async |scope| body(scope).await).await;
        Unit::Ok(())
    }))
}

/// What a run broke.
fn found<T, E>(report: LabReport<T, E>) -> Vec<Violation> {
    report.violations
}

/// A task, and a body that does its part a moment later and waits for the task.
fn beside<F, Fut>(seed: u64, task: F, body: impl AsyncFnOnce(Cx)) -> Vec<Violation>
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = Unit> + Send + 'static,
{
    found(lab(seed).run(async move |cx: Cx| {
        let _ = cx
            .region(async move |scope| {
                drop(scope.spawn(task));
                scope.cx().sleep(MOMENT).await?;
                body(scope.cx().clone()).await;
                Unit::Ok(())
            })
            .await;
        Unit::Ok(())
    }))
}

const MOMENT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

fn task_left_behind(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        drop(scope.spawn(async |cx: Cx| cx.sleep(LONG).await));
        Unit::Ok(())
    })
}

fn slow_child(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let _ = cx
            .region(async |scope| {
                drop(scope.spawn(async |cx: Cx| cx.sleep(MOMENT).await));
                Unit::Ok(())
            })
            .await;
        cx.sleep(LONG).await
    }))
}

fn dropped_guard(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        drop(Obligation::reserve(&cx, ObligationKind::Ack));
        Unit::Ok(())
    }))
}

fn committed(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let owed = Obligation::reserve(&cx, ObligationKind::Ack);
        owed.commit().expect("the holder has not ended");
        Unit::Ok(())
    }))
}

/// A task whose cleanup waits for longer than it may.
fn stubborn(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let task = scope.spawn(async |cx: Cx| cx.shield(cx.sleep(LONG)).await);
        scope.cx().sleep(MOMENT).await?;
        task.cancel();
        let _ = task.join(scope.cx()).await;
        Unit::Ok(())
    })
}

fn failing_body(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let body = async |scope: Scope<'_, fmt::Error>| {
            for _ in 0..2 {
                drop(scope.spawn(async |cx: Cx| cx.sleep(LONG).await.map_err(|_| fmt::Error)));
            }
            let _ = scope.cx().sleep(MOMENT).await;
            Err::<(), _>(fmt::Error)
        };
        let _ = cx.region(body).await;
        Unit::Ok(())
    }))
}

/// A task that goes on behind a mask for more polls than any cleanup has.
fn busy_behind_a_mask(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let task = scope.spawn(async |cx: Cx| {
            let _mask = cx.mask();
            for _ in 0..2000 {
                cx.yield_now().await?;
            }
            Unit::Ok(())
        });
        scope.cx().yield_now().await?;
        task.cancel_with(CancelKind::Shutdown);
        Unit::Ok(())
    })
}

fn late_child(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let soon = RegionOptions::new().budget(Budget::new().with_deadline(Time::from_secs(10)));
        let _ = cx
            .region_with(soon, async |scope| {
                let late = Budget::new().with_deadline(Time::from_secs(20));
                let late = SpawnOptions::new().budget(late);
                drop(scope.spawn_with(late, async |cx: Cx| cx.sleep(MOMENT).await));
                Unit::Ok(())
            })
            .await;
        Unit::Ok(())
    }))
}

fn many_polls(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let few = SpawnOptions::new().budget(Budget::new().with_poll_quota(5));
        let task = scope.spawn_with(few, async |cx: Cx| {
            for _ in 0..20 {
                cx.yield_now().await?;
            }
            Unit::Ok(())
        });
        let _ = task.join(scope.cx()).await;
        Unit::Ok(())
    })
}

fn spender(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let little = RegionOptions::new().budget(Budget::new().with_cost_quota(5));
        let _ = cx
            .region_with(little, async |scope| {
                for _ in 0..10 {
                    scope.cx().spend(1)?;
                    scope.cx().yield_now().await?;
                }
                Unit::Ok(())
            })
            .await;
        Unit::Ok(())
    }))
}

fn finalizers(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        scope.defer(async |cx: Cx| drop(cx.sleep(MOMENT).await));
        Unit::Ok(())
    })
}

fn racers(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let run = |time: Duration| {
            move |cx: Cx| async move {
                let slept = cx.sleep(time).await;
                cx.shield(cx.sleep(MOMENT)).await?;
                slept
            }
        };
        let end = race(&cx, vec![run(MOMENT), run(LONG)]).await;
        drop(end);
        Unit::Ok(())
    }))
}

fn joiner(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let task = scope.spawn(async |cx: Cx| cx.sleep(MOMENT).await);
        let _ = task.join(scope.cx()).await;
        Unit::Ok(())
    })
}

fn asked_while_waiting(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let (sender, mut receiver) = mpsc::channel::<u32>(1);
        let _ = cx
            .region(async |scope| {
                let task: JoinHandle<(), Cancelled> = scope.spawn(async move |cx: Cx| {
                    let _ = receiver.recv(&cx).await;
                    Unit::Ok(())
                });
                scope.cx().sleep(MOMENT).await?;
                task.cancel();
                Unit::Ok(())
            })
            .await;
        drop(sender);
        Unit::Ok(())
    }))
}

fn messages(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let (sender, mut receiver) = mpsc::channel::<u32>(4);
        drop(scope.spawn(async move |cx: Cx| {
            while receiver.recv(&cx).await.is_ok() {}
            Unit::Ok(())
        }));
        for message in 0..4 {
            let _ = sender.send(scope.cx(), message).await;
        }
        drop(sender);
        Unit::Ok(())
    })
}

fn permits(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let semaphore = Semaphore::new(2);
        for _ in 0..2 {
            drop(semaphore.acquire(&cx).await);
        }
        Unit::Ok(())
    }))
}

fn line(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let lock = Arc::new(Mutex::new(0_u32));
        for _ in 0..4 {
            let lock = Arc::clone(&lock);
            drop(scope.spawn(async move |cx: Cx| {
                if let Ok(mut held) = lock.lock(&cx).await {
                    *held += 1;
                    cx.yield_now().await?;
                }
                Unit::Ok(())
            }));
        }
        Unit::Ok(())
    })
}

/// One task yields all the time, another waits for its turn.
fn patient(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        for _ in 0..2 {
            drop(scope.spawn(async |cx: Cx| {
                for _ in 0..12_000 {
                    cx.yield_now().await?;
                }
                Unit::Ok(())
            }));
        }
        Unit::Ok(())
    })
}

fn job(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let _ = cx.blocking(|| 7).await;
        Unit::Ok(())
    }))
}

/// Runs twice, and compares.
fn dice(seed: u64) -> Vec<Violation> {
    let run = || -> (Trace, Vec<Violation>) {
        let report = lab(seed).run(async |cx: Cx| {
            let eyes = cx.random_u64() % 6 + 1;
            cx.trace(format!("{eyes} eyes"));
            Unit::Ok(())
        });
        (report.trace, report.violations)
    };
    let ((first, mut violations), (second, _)) = (run(), run());
    violations.extend(check_determinism(&first, &second));
    violations
}

fn unjoined_error(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let end: Outcome<(), fmt::Error> = cx
            .region(async |scope| {
                drop(scope.spawn(async |_: Cx| Err::<(), _>(fmt::Error)));
                Ok::<(), fmt::Error>(())
            })
            .await;
        drop(end);
        Unit::Ok(())
    }))
}

fn joined_and_unjoined_error(seed: u64) -> Vec<Violation> {
    found(lab(seed).run(async |cx: Cx| {
        let options = RegionOptions::new().policy(Collect);
        let end: Outcome<(), fmt::Error> = cx
            .region_with(options, async |scope| {
                let joined = scope.spawn(async |_: Cx| Err::<(), _>(fmt::Error));
                let _ = joined.join(scope.cx()).await;
                drop(scope.spawn(async |_: Cx| Err::<(), _>(fmt::Error)));
                Ok::<(), fmt::Error>(())
            })
            .await;
        drop(end);
        Unit::Ok(())
    }))
}

/// Says of itself that it does not wake before its time.
fn alarm_clock(seed: u64) -> Vec<Violation> {
    let woken = Arc::new(std::sync::Mutex::new(None::<Time>));
    let seen = Arc::clone(&woken);
    let lab = lab(seed).invariant("no alarm before its time", move |_| {
        let woken = *woken.lock().map_err(|error| error.to_string())?;
        match woken {
            Some(at) if at < Time::ZERO + MOMENT => Err(format!("woken at {at}")),
            Some(_) | None => Ok(()),
        }
    });
    found(lab.run(async move |cx: Cx| {
        cx.sleep(MOMENT).await?;
        if let Ok(mut seen) = seen.lock() {
            *seen = Some(cx.now());
        }
        cx.sleep(MOMENT).await
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_fires_under_its_mutation_and_no_other_does() {
        let rows = run_mutants(3);
        let unpaid: Vec<_> = rows.iter().filter(|row| !row.is_paid()).collect();
        assert!(unpaid.is_empty(), "{unpaid:#?}");
    }

    #[test]
    fn every_law_and_every_mutation_is_in_the_table() {
        let laws: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.law).collect();
        assert_eq!(laws, Law::ALL.iter().copied().collect());
        let mutations: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.mutation).collect();
        assert_eq!(mutations, Mutation::ALL.iter().copied().collect());
    }
}
