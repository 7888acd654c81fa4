//! Tasks that end leave their region in batches, and nobody waits for a batch.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;

use crate::support::{AppError, End, FOREVER, run_on, runtime};

/// Around the size of a batch, and beside its multiples.
const COUNTS: [u32; 9] = [1, 2, 31, 32, 33, 63, 64, 65, 100];

/// A region of so many tasks that end at once.
async fn of_tasks(cx: &Cx, count: u32) -> End {
    let end = cx.region(async |scope| {
        for _ in 0..count {
            scope.spawn(async |_cx: Cx| End::Ok(()));
        }
        End::Ok(())
    });
    end.await.into_result()?;
    Ok(())
}

#[test]
fn a_region_returns_however_many_ended_together() {
    for workers in [1, 2, 3] {
        run_on(&mut runtime(workers), async |cx| {
            for count in COUNTS.repeat(20) {
                of_tasks(&cx, count).await?;
            }
            Ok(())
        });
    }
}

#[test]
fn the_root_ends_however_many_ended_together() {
    for workers in [1, 2] {
        let mut runtime = runtime(workers);
        for count in COUNTS {
            run_on(&mut runtime, async move |cx| {
                for _ in 0..count {
                    // Its heir is a task of the root.
                    let mut left = Box::pin(of_tasks(&cx, 1));
                    assert!(futures_util::poll!(left.as_mut()).is_pending());
                }
                Ok(())
            });
        }
    }
}

#[test]
fn a_region_does_not_wait_for_tasks_of_another() {
    // The one worker always has something to run: it never sleeps, and never looks for more.
    const ENOUGH: u32 = 10;
    run_on(&mut runtime(1), async |cx| {
        let (is_over, turns) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let end = cx.region(async |scope| {
            let (seen, counted) = (Rc::clone(&is_over), Rc::clone(&turns));
            scope.spawn_local(async move |cx: Cx| {
                while !seen.get() {
                    counted.set(counted.get() + 1);
                    assert!(counted.get() < 100 * ENOUGH, "the other region is waiting");
                    cx.yield_now().await?;
                }
                End::Ok(())
            });
            of_tasks(scope.cx(), 5).await?;
            is_over.set(true);
            End::Ok(())
        });
        end.await.into_result()?;
        assert!(turns.get() < ENOUGH, "{} turns", turns.get());
        Ok(())
    });
}

#[test]
fn one_of_many_that_was_cut_short_shows_in_the_region() {
    for which in [0, 1, 30, 31, 32, 39] {
        let end = run_on(&mut runtime(1), async move |cx| {
            let end = cx.region(async move |outer| {
                let end = outer.cx().region(async |scope| {
                    for n in 0..40 {
                        scope.spawn(async move |cx: Cx| {
                            if n == which {
                                cx.checkpoint()?;
                            }
                            End::Ok(())
                        });
                    }
                    outer.cancel(CancelKind::User);
                    End::Ok(())
                });
                End::Ok(end.await)
            });
            Ok(end.await.into_result()?)
        });
        assert!(matches!(end, Outcome::Cancelled(_)), "{which}: {end:?}");
    }
}

#[test]
fn a_failure_stops_who_is_polled_after_it() {
    // All of them are in one worker's queue: nothing settles between two of them.
    run_on(&mut runtime(1), async |cx| {
        let has_failed = Arc::new(AtomicBool::new(false));
        let ran_on = Arc::new(AtomicU32::new(0));
        let end = cx.region(async |scope| {
            for n in 0..20 {
                let (has_failed, ran_on) = (Arc::clone(&has_failed), Arc::clone(&ran_on));
                scope.spawn(async move |cx: Cx| {
                    if n == 10 {
                        has_failed.store(true, Ordering::Relaxed);
                        panic!("one of many fails");
                    }
                    if has_failed.load(Ordering::Relaxed) && cx.checkpoint().is_ok() {
                        ran_on.fetch_add(1, Ordering::Relaxed);
                    }
                    End::Ok(())
                });
            }
            scope.cx().sleep(FOREVER).await?;
            End::Ok(())
        });
        let end = end.await;
        assert!(matches!(end, Outcome::Panicked(_)), "{end:?}");
        assert_eq!(ran_on.load(Ordering::Relaxed), 0);
        Ok::<_, AppError>(())
    });
}
