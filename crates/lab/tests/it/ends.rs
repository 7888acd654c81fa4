//! Runs that do not end by themselves.

use std::time::Duration;

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabEnd, LabReport, LabRuntime};

/// A program that waits, in nested regions with tasks, for something that `wait` never gets.
async fn nested<F, Fut>(cx: Cx, wait: F) -> Outcome<(), Cancelled>
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    cx.region(async |outer| {
        for _ in 0..3 {
            let wait = wait.clone();
            outer.spawn(async move |cx: Cx| {
                cx.region(async |inner| {
                    inner.defer(async |cx: Cx| {
                        let _ = cx.sleep(Duration::from_secs(1)).await;
                    });
                    for _ in 0..3 {
                        let wait = wait.clone();
                        inner.spawn(async move |_: Cx| {
                            wait().await;
                            Ok::<(), Cancelled>(())
                        });
                    }
                    Ok::<(), Cancelled>(())
                })
                .await
            });
        }
        Ok::<(), Cancelled>(())
    })
    .await
}

fn left(report: &LabReport<(), Cancelled>) -> usize {
    match &report.end {
        LabEnd::Finished | LabEnd::Abandoned => 0,
        LabEnd::Stalled(left) | LabEnd::StepLimit(left) => left.len(),
    }
}

#[test]
fn a_program_that_can_never_go_on_is_reported_and_torn_down() {
    for seed in 0..50 {
        let lab = LabRuntime::new(LabConfig::default().seed(seed));
        let report = lab.run(async |cx| nested(cx, std::future::pending).await);
        assert!(matches!(report.end, LabEnd::Stalled(_)), "{:?}", report.end);
        // main, its region, three tasks with their regions, nine tasks below.
        assert_eq!(left(&report), 1 + 1 + 3 + 3 + 9);
        assert!(report.failure().contains("ASUPERSYNC_SEED"));
    }
}

#[test]
fn a_program_that_never_rests_is_given_up_at_the_limit() {
    async fn busy() {
        std::future::poll_fn(|task| -> std::task::Poll<()> {
            task.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
    for seed in 0..20 {
        let lab = LabRuntime::new(LabConfig::default().seed(seed).max_steps(2_000));
        let report = lab.run(async |cx| nested(cx, busy).await);
        assert!(
            matches!(report.end, LabEnd::StepLimit(_)),
            "{:?}",
            report.end
        );
        assert_eq!(report.steps, 2_000);
        assert!(left(&report) >= 10);
    }
}

#[test]
fn a_run_that_is_given_up_anywhere_is_torn_down_whoever_is_cancelled_and_queued() {
    for steps in 1..60 {
        let config = LabConfig::default().seed(steps).max_steps(steps);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            cx.region(async |scope: Scope<'_, Cancelled>| {
                for _ in 0..4 {
                    scope.spawn(async |cx: Cx| {
                        for _ in 0..8 {
                            cx.yield_now().await?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                scope.cx().yield_now().await?;
                scope.cancel(CancelKind::User);
                scope.cx().yield_now().await?;
                Ok::<_, Cancelled>(())
            })
            .await
        });
        let given_up = matches!(report.end, LabEnd::StepLimit(_));
        assert!(given_up || report.is_clean(), "{}", report.failure());
    }
}

/// Leaves a region behind whose finalizer panics.
async fn leaves_a_panic_behind(cx: Cx) -> Result<(), Cancelled> {
    let region = cx.region(async |scope: Scope<'_, Cancelled>| {
        scope.defer(async |_: Cx| panic!("the cleanup of what was left"));
        scope.cx().sleep(Duration::from_secs(1)).await
    });
    let mut region = std::pin::pin!(Some(region));
    let polled = std::future::poll_fn(|task| {
        let region = region.as_mut().as_pin_mut().expect("it is there");
        std::task::Poll::Ready(region.poll(task).is_pending())
    });
    assert!(polled.await, "it sleeps");
    region.set(None);
    Ok(())
}

#[test]
fn a_panic_in_a_region_that_the_program_left_is_the_programs_end() {
    for seed in 0..20 {
        let lab = LabRuntime::new(LabConfig::default().seed(seed));
        let report = lab.run(leaves_a_panic_behind);
        assert!(report.is_clean(), "{}", report.failure());
        let Outcome::Panicked(payload) = &report.outcome else {
            panic!("the panic is lost: {:?}", report.outcome);
        };
        assert_eq!(payload.message(), "the cleanup of what was left");
    }
}
