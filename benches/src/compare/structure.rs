//! Rows of what the peers mostly do without: regions, obligations, masks, charges, the flight recorder.
//!
//! A region stands beside the nearest thing that a peer's user would write: on tokio a `JoinSet`, on smol tasks that are awaited.

use asupersync_core::{Cancelled, ObligationKind};
use asupersync_kernel::{Cx, Obligation, Scope};
use asupersync_runtime::{FlightConfig, RuntimeBuilder};
use tokio::task::JoinSet;

use crate::kernel::ours as kernel_ours;
use crate::meter::{Sample, Size, batches};
use crate::on_ours::{self, End, join_all, on_worker, region};
use crate::{on_smol, on_tokio};

pub(crate) fn region_of_none(size: Size) -> Sample {
    regions(size, 0)
}

pub(crate) fn region_of_1(size: Size) -> Sample {
    regions(size, 1)
}

pub(crate) fn region_of_100(size: Size) -> Sample {
    regions(size, 100)
}

/// Regions that open, have their tasks, and close; an operation is a region.
fn regions(size: Size, children: u64) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let mut sum = 0;
            for _ in 0..ops {
                sum += region!(cx, async |scope: Scope<'_, Cancelled>| {
                    let child = async |_: Cx| End::Ok(1);
                    let tasks = (0..children).map(|_| scope.spawn(child)).collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
            }
            assert_eq!(sum, ops * children);
        })
        .await
    })
}

pub(crate) fn set_of_1(size: Size) -> Sample {
    sets(size, 1)
}

pub(crate) fn set_of_100(size: Size) -> Sample {
    sets(size, 100)
}

fn sets(size: Size, children: u64) -> Sample {
    on_tokio::on_worker(batches(size, move |ops| async move {
        let mut sum = 0;
        for _ in 0..ops {
            let mut set = JoinSet::new();
            for _ in 0..children {
                set.spawn(async { 1 });
            }
            sum += set.join_all().await.iter().sum::<u64>();
        }
        assert_eq!(sum, ops * children);
    }))
}

pub(crate) fn tasks_of_1(size: Size) -> Sample {
    tasks(size, 1)
}

pub(crate) fn tasks_of_100(size: Size) -> Sample {
    tasks(size, 100)
}

fn tasks(size: Size, children: u64) -> Sample {
    on_smol::on_worker(batches(size, move |ops| async move {
        let mut sum = 0;
        for _ in 0..ops {
            let tasks = (0..children).map(|_| on_smol::spawn(async { 1 }));
            sum += on_smol::join_all(tasks).await;
        }
        assert_eq!(sum, ops * children);
    }))
}

/// Reserves an obligation and commits it.
pub(crate) fn obligation(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let mut kept = 0;
            for _ in 0..ops {
                let owed = Obligation::reserve(&cx, ObligationKind::Reply);
                kept += u64::from(owed.commit().is_ok());
            }
            assert_eq!(kept, ops);
        })
        .await
    })
}

/// Holds cancellation back and lets it through again.
pub(crate) fn mask(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let mut free = 0;
            for _ in 0..ops {
                let masked = cx.mask();
                free += u64::from(cx.checkpoint().is_ok());
                drop(masked);
            }
            assert_eq!(free, ops);
        })
        .await
    })
}

/// Charges a unit of cost to the budget.
pub(crate) fn charge(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let charged = (0..ops).filter(|_| cx.spend(1).is_ok());
            assert_eq!(charged.count() as u64, ops);
        })
        .await
    })
}

pub(crate) fn recorded_spawn_join(size: Size) -> Sample {
    recorded(size, kernel_ours::spawn_join_many)
}

pub(crate) fn recorded_yield(size: Size) -> Sample {
    recorded(size, kernel_ours::yield_2)
}

/// The same with the flight recorder on.
fn recorded(size: Size, workload: fn(Size) -> Sample) -> Sample {
    on_ours::set_builder(|| RuntimeBuilder::new().flight_recorder(FlightConfig::default()));
    workload(size)
}
