//! Combinators end alike on both hosts, and leave nothing behind.

use asupersync_combinator::{MapReduce, Pipeline, StageOptions, map_reduce, race};
use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;

use crate::support::{AppError, FOREVER, Live, TICK};

#[test]
fn a_race_drains_its_losers_on_both_hosts() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let slow = |cx: Cx| {
            let guard = live.enter();
            async move {
                cx.region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        let _guard = guard;
                        let end = cx.sleep(FOREVER).await;
                        cx.shield(cx.sleep(TICK)).await?;
                        end?;
                        Ok::<_, AppError>(())
                    });
                    Ok::<_, AppError>(0)
                })
                .await
            }
        };
        let quick = |cx: Cx| async move {
            cx.sleep(TICK).await?;
            Ok::<_, AppError>(1)
        };
        assert_eq!(race(&cx, (slow, quick)).await, Outcome::Ok(1));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn parallel_work_is_folded_and_passed_on_once() {
    const ITEMS: u64 = 500;
    on_both_hosts(async |cx| {
        let step = |cx: Cx, n: u64| async move {
            cx.yield_now().await?;
            Ok::<_, AppError>(n)
        };
        let sum = (0, |sum, n| sum + n);
        let options = MapReduce::new().concurrency(7);
        let end = map_reduce(&cx, options, 0..ITEMS, step, sum).await;
        assert_eq!(end, Outcome::Ok(ITEMS * (ITEMS - 1) / 2));
        let ordered = StageOptions::new().concurrency(3).capacity(2);
        let end = Pipeline::from_iter(0..ITEMS)
            .stage(ordered.unordered(), step)
            .stage(ordered, step)
            .collect(&cx)
            .await;
        let mut items = end.ok().expect("no stage fails");
        items.sort_unstable();
        assert_eq!(items, (0..ITEMS).collect::<Vec<_>>());
    });
}
