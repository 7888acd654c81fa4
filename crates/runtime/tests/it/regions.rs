//! Regions and tasks on worker threads.

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_runtime::RuntimeBuilder;

type End<T> = Result<T, Cancelled>;

#[test]
fn a_region_waits_for_every_task() {
    for workers in [1, 2, 4] {
        let mut runtime = RuntimeBuilder::new()
            .worker_threads(workers)
            .build()
            .unwrap();
        let end = runtime.block_on(async |cx| {
            let mut total = 0_u64;
            let sum = cx
                .region(async |scope| {
                    let handles: Vec<_> = (0..1000_u64)
                        .map(|n| {
                            scope.spawn(async move |cx: Cx| {
                                cx.yield_now().await?;
                                End::Ok(n)
                            })
                        })
                        .collect();
                    for handle in handles {
                        total += handle.join(scope.cx()).await.into_result()?;
                    }
                    Ok::<_, asupersync_core::OutcomeError<Cancelled>>(total)
                })
                .await;
            sum.into_result()
        });
        assert_eq!(end, Outcome::Ok(499_500));
    }
}
