//! Jobs that block, on a real pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use asupersync_kernel::{BlockingError, Cx};

use crate::support::{End, block, run_on, runtime};

#[test]
fn two_hundred_jobs_run_at_once() {
    const JOBS: usize = 200;
    let mut runtime = runtime(2);
    run_on(&mut runtime, async |cx| {
        cx.region(async |scope| {
            let all = Arc::new(Barrier::new(JOBS));
            let tasks: Vec<_> = (0..JOBS)
                .map(|number| {
                    let all = Arc::clone(&all);
                    scope.spawn(async move |cx: Cx| {
                        let done = cx.blocking(move || {
                            all.wait();
                            number
                        });
                        End::Ok(done.await.unwrap())
                    })
                })
                .collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.join(scope.cx()).await.flatten()?, number);
            }
            End::Ok(())
        })
        .await
        .flatten()
    });
    assert_eq!(runtime.metrics().blocking_threads_started, JOBS as u64);
}

#[test]
fn a_region_waits_for_a_job_whose_caller_is_gone() {
    let ended = Arc::new(AtomicBool::new(false));
    run_on(&mut runtime(2), async |cx| {
        let job = Arc::clone(&ended);
        let end = cx
            .region(async |scope| {
                let mut call = Box::pin(scope.cx().blocking(move || {
                    block(Duration::from_millis(100));
                    job.store(true, Ordering::SeqCst);
                }));
                assert!(futures_util::poll!(call.as_mut()).is_pending());
                drop(call);
                End::Ok(())
            })
            .await;
        assert!(ended.load(Ordering::SeqCst), "the region has returned");
        end.flatten()
    });
}

#[test]
fn a_jobs_panic_is_its_callers_error_and_the_pool_goes_on() {
    run_on(&mut runtime(1), async |cx| {
        for _ in 0..3 {
            let end = cx.blocking(|| panic!("a job's panic")).await;
            let end: Result<(), BlockingError> = end;
            assert!(
                matches!(&end, Err(BlockingError::Panicked(payload)) if payload.message() == "a job's panic"),
                "{end:?}"
            );
            assert_eq!(cx.blocking(|| 7).await, Ok(7));
        }
        End::Ok(())
    });
}
