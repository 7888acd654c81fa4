//! The contract of the pool: no place is lost, no object is lent twice, and what is not fit does not return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::{Cancelled, Collect, LeakResponse, ObligationKind, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::{MakeWith, Manager, Pool, PoolError, PoolOptions, TryPoolError};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, drop_after, settle, under_seeds, within};

/// How many objects exist, and how many ever did.
#[derive(Debug, Default)]
struct Census {
    alive: AtomicU64,
    made: AtomicU64,
}

/// An object that knows whether it is in use.
#[derive(Debug)]
pub(crate) struct Object {
    number: u64,
    is_used: AtomicBool,
    census: Arc<Census>,
}

impl Object {
    fn begin_use(&self) {
        assert!(!self.is_used.swap(true, Ordering::SeqCst), "lent to one");
    }

    fn end_use(&self) {
        assert!(self.is_used.swap(false, Ordering::SeqCst));
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.census.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Makes objects in a few polls; fails and panics as often as it is told.
#[derive(Default)]
pub(crate) struct Maker {
    census: Arc<Census>,
    /// One in so many fails; none if 0.
    fails: u64,
    /// One in so many panics; none if 0.
    panics: u64,
    /// One check in so many finds the object unfit; none if 0.
    unfit: u64,
    polls: u64,
}

fn one_in(cx: &Cx, many: u64) -> bool {
    many > 0 && cx.random_u64() % many == 0
}

impl Manager for Maker {
    type Object = Object;
    type Error = MakeError;

    async fn create(&self, cx: &Cx) -> Result<Object, MakeError> {
        for _ in 0..self.polls {
            cx.yield_now().await?;
        }
        if one_in(cx, self.fails) {
            return Err(MakeError::Refused);
        }
        assert!(!one_in(cx, self.panics), "the maker panics");
        self.census.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Object {
            number: self.census.made.fetch_add(1, Ordering::SeqCst),
            is_used: AtomicBool::new(false),
            census: Arc::clone(&self.census),
        })
    }

    async fn check(&self, cx: &Cx, object: &mut Object) -> bool {
        object.begin_use();
        for _ in 0..self.polls {
            if cx.yield_now().await.is_err() {
                return false;
            }
        }
        object.end_use();
        !one_in(cx, self.unfit)
    }
}

impl Maker {
    /// Makes and checks in so many polls, and never fails.
    pub(crate) fn steady(polls: u64) -> Self {
        Self {
            polls,
            ..Self::default()
        }
    }

    fn alive(&self) -> u64 {
        self.census.alive.load(Ordering::SeqCst)
    }
}

/// Nothing is lent: every place is free, and every object that exists is idle.
#[track_caller]
pub(crate) fn check_at_rest(pool: &Pool<Maker>) {
    let stats = pool.stats();
    assert_eq!(stats.free_places, stats.max_size as u64, "{stats:?}");
    assert_eq!(stats.size, stats.idle, "{stats:?}");
    assert_eq!(pool.manager().alive(), stats.idle as u64, "{stats:?}");
}

const MAX: u32 = 3;

#[test]
fn places_in_are_places_out_whatever_happens_on_the_way() {
    under_seeds(150, async |cx| {
        let maker = Maker {
            fails: 5,
            panics: 9,
            unfit: 4,
            polls: 2,
            ..Maker::default()
        };
        let pool = Pool::new(PoolOptions::new(MAX).min_idle(1), maker);
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let tasks: Vec<_> = (0..6)
                    .map(|_| {
                        let pool = pool.clone();
                        scope.spawn(async move |cx: Cx| {
                            use_some(cx, &pool).await;
                            End::Ok(())
                        })
                    })
                    .collect();
                for _ in 0..scope.cx().random_u64() % 20 {
                    let _ = scope.cx().yield_now().await;
                }
                tasks[0].cancel();
                // A task whose maker panicked, or which panicked with an object, ends there.
                for task in tasks {
                    let _ = task.join(scope.cx()).await;
                }
                End::Ok(())
            })
            .await;
        assert!(end.is_ok());
        check_at_rest(&pool);
        assert!(pool.stats().size <= MAX as usize);
        pool.close();
        check_at_rest(&pool);
        assert_eq!(pool.manager().alive(), 0);
    });
}

async fn use_some(cx: Cx, pool: &Pool<Maker>) {
    for _ in 0..8 {
        let polls = cx.random_u64() % 8;
        if cx.random_u64() % 5 == 0 {
            let _ = drop_after(&cx, pool.reap(&cx), polls).await;
            continue;
        }
        let Some(Ok(mut object)) = drop_after(&cx, pool.acquire(&cx), polls).await else {
            continue;
        };
        object.begin_use();
        let _ = cx.yield_now().await;
        assert!(pool.stats().size <= MAX as usize);
        object.end_use();
        match cx.random_u64() % 12 {
            0 => object.discard(),
            1 => drop(object.detach()),
            2 => drop(object.begin(&cx, ObligationKind::Transaction)),
            3 => panic!("with an object"),
            _ => {}
        }
    }
}

#[test]
fn places_are_given_first_come_first_served() {
    under_seeds(1, async |cx| {
        let pool = Pool::new(PoolOptions::new(1), Maker::default());
        let first = pool.acquire(&cx).await.unwrap();
        let mut line: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire(&cx))).collect();
        for waiter in &mut line {
            assert!(poll!(waiter).is_pending());
        }
        drop(first);
        assert_eq!(
            pool.try_acquire(&cx).err(),
            Some(TryPoolError::Exhausted),
            "nobody overtakes"
        );
        assert!(poll!(&mut line[1]).is_pending());
        // The first was given the place and leaves.
        drop(line.remove(0));
        let second = line.remove(0).now_or_never().unwrap().unwrap();
        assert_eq!(second.number, 0, "the object is used again");
        drop(second);
        assert!(line.remove(0).now_or_never().is_some());
        check_at_rest(&pool);
        assert_eq!(pool.stats().created, 1);
    });
}

#[test]
fn what_is_not_fit_never_returns() {
    under_seeds(1, async |cx| {
        let pool = Pool::new(PoolOptions::new(2), Maker::default());
        let acquire = async || pool.acquire(&cx).await.unwrap();
        acquire().await.discard();
        let mut object = acquire().await;
        assert_eq!(object.number, 1);
        // Open when the guard ends.
        let open = object.begin(&cx, ObligationKind::Transaction);
        drop(object);
        assert_eq!(open.commit(), Ok(()), "too late for the object");
        let mut object = acquire().await;
        assert_eq!(object.number, 2);
        object.begin(&cx, ObligationKind::Transaction).abort();
        drop(object);
        let mut object = acquire().await;
        assert_eq!(object.number, 3);
        drop(object.begin(&cx, ObligationKind::Transaction));
        drop(object);
        let mut object = acquire().await;
        assert_eq!(object.number, 4);
        let (one, two) = (
            object.begin(&cx, ObligationKind::Transaction),
            object.begin(&cx, ObligationKind::Reply),
        );
        one.commit().unwrap();
        two.commit().unwrap();
        drop(object);
        assert_eq!(acquire().await.number, 4, "all was committed");
        assert_eq!(pool.stats().discarded, 4);
        check_at_rest(&pool);
    });
}

#[test]
fn an_object_that_a_panic_unwound_through_never_returns() {
    under_seeds(2, async |cx| {
        let pool = Pool::new(PoolOptions::new(1), Maker::default());
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let user = {
                    let pool = pool.clone();
                    scope.spawn(async move |cx: Cx| {
                        let object = pool.acquire(&cx).await.unwrap();
                        if object.number == 0 {
                            panic!("with an object");
                        }
                        End::Ok(())
                    })
                };
                assert!(matches!(user.join(scope.cx()).await, Outcome::Panicked(_)));
                End::Ok(pool.acquire(scope.cx()).await.unwrap().number)
            })
            .await;
        assert_eq!(end.ok(), Some(1));
        check_at_rest(&pool);
    });
}

#[test]
fn an_object_that_fails_its_check_is_replaced() {
    under_seeds(1, async |cx| {
        let maker = Maker {
            unfit: 1,
            ..Maker::default()
        };
        let pool = Pool::new(PoolOptions::new(1), maker);
        for number in 0..3 {
            assert_eq!(pool.acquire(&cx).await.unwrap().number, number);
        }
        assert_eq!((pool.stats().check_failed, pool.stats().created), (2, 3));
        let trusting = PoolOptions::new(1).check_after(Some(Duration::from_secs(1)));
        let maker = Maker {
            unfit: 1,
            ..Maker::default()
        };
        let pool = Pool::new(trusting, maker);
        drop(pool.acquire(&cx).await);
        assert_eq!(pool.acquire(&cx).await.unwrap().number, 0);
        cx.sleep(Duration::from_secs(1)).await.unwrap();
        assert_eq!(pool.acquire(&cx).await.unwrap().number, 1);
    });
}

#[test]
fn maintenance_ends_old_objects_and_keeps_some_ready() {
    const LIFETIME: Duration = Duration::from_secs(1000);
    const IDLE: Duration = Duration::from_secs(100);
    under_seeds(8, async |cx| {
        let options = PoolOptions::new(5)
            .min_idle(2)
            .max_lifetime(LIFETIME)
            .idle_timeout(IDLE)
            .maintain_every(Duration::from_secs(1));
        let pool = Pool::new(options, Maker::default());
        within(&cx, async |scope| {
            let cx = scope.cx();
            let keeper = {
                let pool = pool.clone();
                scope.spawn(async move |cx: Cx| End::Ok(pool.maintain(&cx).await))
            };
            cx.sleep(Duration::from_secs(1)).await.unwrap();
            assert_eq!(pool.stats().idle, 2, "made before anybody asked");
            let mut lent = Vec::new();
            for _ in 0..5 {
                lent.push(pool.acquire(cx).await.unwrap());
            }
            assert_eq!(pool.try_acquire(cx).err(), Some(TryPoolError::Exhausted));
            drop(lent);
            cx.sleep(IDLE * 7 / 8 - Duration::from_secs(2))
                .await
                .unwrap();
            assert_eq!(pool.stats().idle, 5, "none is due so soon");
            cx.sleep(IDLE / 4).await.unwrap();
            assert_eq!(pool.stats().idle, 2, "those that are kept ready stay");
            assert_eq!(pool.stats().expired, 3);
            cx.sleep(LIFETIME).await.unwrap();
            let stats = pool.stats();
            assert_eq!((stats.idle, stats.expired, stats.created), (2, 5, 7));
            pool.close();
            assert_eq!(
                keeper.join(cx).await.ok(),
                Some(Ok(())),
                "it ends with the pool"
            );
        })
        .await;
        check_at_rest(&pool);
    });
}

#[test]
fn an_object_whose_time_is_up_is_not_lent() {
    under_seeds(4, async |cx| {
        let options = PoolOptions::new(2).max_lifetime(Duration::from_secs(10));
        let pool = Pool::new(options, Maker::default());
        drop(pool.acquire(&cx).await.unwrap());
        assert_eq!(pool.try_acquire(&cx).unwrap().number, 0);
        cx.sleep(Duration::from_secs(10)).await.unwrap();
        assert_eq!(pool.try_acquire(&cx).err(), Some(TryPoolError::NoneIdle));
        assert_eq!(pool.acquire(&cx).await.unwrap().number, 1);
        assert_eq!(pool.stats().expired, 1);
        check_at_rest(&pool);
    });
}

#[test]
fn closing_fails_the_line_and_drains_what_is_lent() {
    under_seeds(20, async |cx| {
        let pool = Pool::new(PoolOptions::new(1), Maker::default());
        within(&cx, async |scope| {
            let lent = pool.acquire(scope.cx()).await.unwrap();
            let waiter = {
                let pool = pool.clone();
                scope.spawn(async move |cx: Cx| End::Ok(pool.acquire(&cx).await.err()))
            };
            let closer = {
                let pool = pool.clone();
                scope.spawn(async move |cx: Cx| End::Ok(pool.close_and_drain(&cx).await))
            };
            settle(scope.cx()).await;
            let end = waiter.join(scope.cx()).await.ok().unwrap();
            assert!(matches!(end, Some(PoolError::Closed)));
            assert!(!closer.is_finished());
            assert_eq!(lent.number, 0, "what is lent stays good");
            drop(lent);
            assert_eq!(closer.join(scope.cx()).await.ok(), Some(Ok(())));
        })
        .await;
        assert_eq!(pool.manager().alive(), 0);
        assert_eq!(pool.try_acquire(&cx).err(), Some(TryPoolError::Closed));
        assert!(matches!(pool.acquire(&cx).await, Err(PoolError::Closed)));
    });
}

#[test]
fn a_lent_object_that_is_forgotten_or_outlives_its_task_gives_its_place_back_once() {
    for is_forgotten in [true, false] {
        let config = LabConfig::default().obligation_leak_response(LeakResponse::Recover);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            let pool = Pool::new(PoolOptions::new(1), Maker::default());
            let stash = Arc::new(std::sync::Mutex::new(Vec::new()));
            within(&cx, async |scope| {
                let (pool, stash) = (pool.clone(), Arc::clone(&stash));
                scope.spawn(async move |cx: Cx| {
                    let object = pool.acquire(&cx).await.unwrap();
                    if is_forgotten {
                        std::mem::forget(object);
                    } else {
                        stash.lock().unwrap().push(object);
                    }
                    End::Ok(())
                });
            })
            .await;
            assert_eq!((pool.stats().free_places, pool.stats().size), (1, 0));
            assert_eq!(pool.acquire(&cx).await.unwrap().number, 1);
            stash.lock().unwrap().clear();
            let stats = pool.stats();
            assert_eq!((stats.free_places, stats.size, stats.idle), (1, 1, 1));
            End::Ok(())
        });
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    }
}

#[test]
fn a_closure_is_a_manager() {
    under_seeds(1, async |cx| {
        let make = MakeWith(async |cx: Cx| {
            cx.checkpoint()?;
            Ok::<_, Cancelled>(String::from("fresh"))
        });
        let pool = Pool::new(PoolOptions::new(1), make);
        pool.acquire(&cx).await.unwrap().push_str(", used");
        let object = pool.acquire(&cx).await.unwrap().detach();
        assert_eq!(object, "fresh, used");
        assert_eq!(*pool.acquire(&cx).await.unwrap(), "fresh");
        assert_eq!((pool.stats().detached, pool.stats().created), (1, 2));
    });
}
