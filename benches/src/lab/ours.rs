//! The rows under our lab.

use std::sync::Arc;
use std::time::Duration;

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabRuntime, Search, Strategy};
use asupersync_sync::{LockError, Mutex, mpsc};

use super::{MESSAGES, NAP_SHORTEST, NAP_STEP, ROUNDS, SLEEPERS, TASKS};
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

/// Sleepers over simulated seconds: the first naps for seconds, the last for hours.
pub(crate) fn sleepers(size: Size) -> Sample {
    let mut whole = Sample::default();
    let span = Duration::from_secs(size.ops);
    for seed in 0..size.batches {
        let config = LabConfig::default().seed(seed).max_steps(u64::MAX);
        let meter = Meter::start();
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            let end = cx.region(async |scope: Scope<'_, Cancelled>| {
                for index in 0..SLEEPERS {
                    let nap = NAP_SHORTEST + NAP_STEP * index * index;
                    scope.spawn(async move |cx: Cx| {
                        while cx.now().as_nanos() < span.as_nanos() as u64 {
                            cx.sleep(nap).await?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            });
            end.await
        });
        let sample = meter.stop(report.elapsed.as_secs());
        report.assert_clean();
        assert!(report.elapsed >= span);
        whole = whole.and(sample);
    }
    whole
}
