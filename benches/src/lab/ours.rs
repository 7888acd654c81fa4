//! The rows under our lab.

use std::sync::Arc;

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, Search, Strategy};
use asupersync_sync::{LockError, Mutex, mpsc};

use super::{MESSAGES, ROUNDS, TASKS};
use crate::meter::{Meter, Sample, Size};

fn search(size: Size, run: impl FnOnce(&Search) -> u64) -> Sample {
    let schedules = size.ops * size.batches;
    let search = Search::new(LabConfig::default())
        .strategies([Strategy::Random])
        .schedules(schedules)
        .coverage(false);
    let meter = Meter::start();
    let executions = run(&search);
    assert_eq!(executions, schedules);
    meter.stop(schedules)
}

pub(crate) fn locks(size: Size) -> Sample {
    search(size, |search| {
        let report = search.run(async |cx: Cx| {
            let sum = Arc::new(Mutex::new(0));
            let end = cx.region(async |scope: Scope<'_, LockError>| {
                for _ in 0..TASKS {
                    let sum = Arc::clone(&sum);
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..ROUNDS {
                            *sum.lock(&cx).await? += 1;
                            cx.yield_now().await?;
                        }
                        Ok::<_, LockError>(())
                    });
                }
                Ok::<_, LockError>(())
            });
            end.await
        });
        report.assert_clean();
        report.executions
    })
}

pub(crate) fn channel(size: Size) -> Sample {
    search(size, |search| {
        let report = search.run(async |cx: Cx| {
            let end = cx.region(async |scope: Scope<'_, Cancelled>| {
                let (sender, mut receiver) = mpsc::channel(1);
                scope.spawn(async move |cx: Cx| {
                    for n in 0..MESSAGES {
                        sender.send(&cx, n).await.expect("the receiver waits");
                    }
                    Ok::<_, Cancelled>(())
                });
                let mut sum = 0;
                while let Ok(n) = receiver.recv(scope.cx()).await {
                    sum += n;
                }
                assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
                Ok::<_, Cancelled>(())
            });
            end.await
        });
        report.assert_clean();
        report.executions
    })
}
