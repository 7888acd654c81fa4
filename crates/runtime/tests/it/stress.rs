//! Everything at once: spawns, joins, cancels, regions, panics and sleeps on four workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::{Collect, Outcome};
use asupersync_kernel::{Cx, RegionOptions};

use crate::support::{AppError, End, run_on, runtime};

/// Counts births and ends.
#[derive(Default)]
struct Census {
    born: AtomicU64,
    ended: AtomicU64,
}

struct Citizen(Arc<Census>);

impl Citizen {
    fn new(census: &Arc<Census>) -> Self {
        census.born.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(census))
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A cheap sequence of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn live(cx: &Cx, census: &Arc<Census>, mut dice: Dice) -> End {
    for _ in 0..dice.roll(4) {
        match dice.roll(8) {
            0 => cx.sleep(Duration::from_micros(dice.roll(500))).await?,
            1 => cx.shield(cx.sleep(Duration::from_micros(50))).await?,
            2 => {
                let citizen = Citizen::new(census);
                let end = cx
                    .region(async |scope| {
                        let child = scope.spawn(async move |cx: Cx| {
                            let _citizen = citizen;
                            cx.yield_now().await?;
                            End::Ok(())
                        });
                        if dice.roll(2) == 0 {
                            child.cancel();
                        }
                        End::Ok(())
                    })
                    .await;
                end.flatten()?;
            }
            _ => cx.yield_now().await?,
        }
    }
    assert!(dice.roll(50) != 0, "a random panic");
    Ok(())
}

/// A region of `count` tasks, of which some are cancelled, some joined and some forgotten.
async fn village(cx: &Cx, census: &Arc<Census>, count: u64, seed: u64) -> Outcome<(), AppError> {
    let options = RegionOptions::new().policy(Collect);
    cx.region_with(options, async |scope| {
        let mut dice = Dice(seed);
        let mut handles = Vec::new();
        for number in 0..count {
            let (census, seed) = (Arc::clone(census), seed * 1000 + number);
            let citizen = Citizen::new(&census);
            let handle = scope.spawn(async move |cx: Cx| {
                let _citizen = citizen;
                live(&cx, &census, Dice(seed)).await
            });
            match dice.roll(4) {
                0 => handle.cancel(),
                1 => drop(handle),
                _ => handles.push(handle),
            }
        }
        for handle in handles {
            if dice.roll(8) == 0 {
                handle.cancel();
            }
            let _ = handle.join(scope.cx()).await;
        }
        End::Ok(())
    })
    .await
}

#[test]
fn two_hundred_thousand_tasks_come_and_go_and_nothing_is_left() {
    const VILLAGES: u64 = 250;
    const TASKS: u64 = 1000;
    let census = Arc::new(Census::default());
    let mut runtime = runtime(4);
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("a random panic") {
            eprintln!("{text}");
        }
    }));
    run_on(&mut runtime, async |cx| {
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                for seed in 0..VILLAGES {
                    let census = Arc::clone(&census);
                    let handle = scope.spawn(async move |cx: Cx| {
                        // A village is left early now and then; its region is closed by an heir.
                        let mut region = Box::pin(village(&cx, &census, TASKS, seed));
                        if seed % 10 == 0 {
                            let _ = futures_util::poll!(region.as_mut());
                        } else {
                            let _ = region.await;
                        }
                        End::Ok(())
                    });
                    if seed % 17 == 0 {
                        scope.cx().yield_now().await?;
                        handle.cancel();
                    }
                }
                End::Ok(())
            })
            .await;
        // Villages panic, as their tasks do; their heirs tell.
        assert!(!matches!(end, Outcome::Err(_)), "{end:?}");
        assert_eq!(
            census.born.load(Ordering::SeqCst),
            census.ended.load(Ordering::SeqCst),
            "the region has returned while tasks of it live"
        );
        End::Ok(())
    });
    let _ = std::panic::take_hook();
    assert!(census.born.load(Ordering::SeqCst) >= 200_000);
    assert!(runtime.last_shutdown().unfinished.is_empty());
}
