//! Pools that run dry or hand on what is broken, and shared calls whose leader goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_conformance::on_both_hosts;
use asupersync_core::{Cancelled, Collect, ObligationKind, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_sync::{MakeWith, Notify, Pool, PoolError, PoolOptions, SingleFlight};

use super::{cancelled_soon, dropped_soon, moment};
use crate::support::{AppError, End, FOREVER, TICK};

/// In the field: a task is cancelled while it waits for a pooled connection, or while one is made for it, and the place that was set aside is never given back; after enough of them the pool is empty for good.
/// Here a place is a permit that belongs to the wait, whichever stage it is in, and returns with it.
#[test]
fn a_pools_place_is_not_leaked_by_an_acquire_that_is_given_up() {
    const SIZE: u32 = 2;
    on_both_hosts(async |cx| {
        let make = MakeWith(async |cx: Cx| {
            cx.sleep(moment(&cx)).await?;
            Ok::<_, Cancelled>(())
        });
        // No object is used again, so that nearly every acquire makes one.
        let pool = Pool::new(PoolOptions::new(SIZE), make);
        let given_up = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope| {
                for _ in 0..6 {
                    let (pool, given_up) = (pool.clone(), Arc::clone(&given_up));
                    scope.spawn(async move |cx: Cx| {
                        for turn in 0..12 {
                            let acquired = if turn % 2 == 0 {
                                dropped_soon(&cx, pool.acquire(&cx)).await
                            } else {
                                Some(cancelled_soon(&cx, pool.acquire(&cx)).await)
                            };
                            match acquired {
                                Some(Ok(object)) => {
                                    cx.sleep(moment(&cx)).await?;
                                    object.discard();
                                }
                                Some(Err(PoolError::Cancelled(_) | PoolError::Create(_)))
                                | None => {
                                    given_up.fetch_add(1, Ordering::SeqCst);
                                }
                                Some(Err(error)) => panic!("{error}"),
                            }
                        }
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert!(given_up.load(Ordering::SeqCst) > 0);
        assert_eq!(pool.stats().free_places, u64::from(SIZE));
        let mut all = Vec::new();
        for _ in 0..SIZE {
            all.push(pool.acquire(&cx).await.expect("a place is free"));
        }
        assert_eq!(pool.stats().free_places, 0);
    });
}

/// A connection that knows whether somebody left a transaction open on it.
#[derive(Default)]
struct Connection {
    is_in_transaction: bool,
}

/// Uses a connection for one transaction, and is cancelled, panics, or returns early in the middle of some.
async fn transact<M>(cx: &Cx, pool: &Pool<M>, turn: u32) -> End
where
    M: asupersync_sync::Manager<Object = Connection, Error = Cancelled>,
{
    let mut connection = match pool.acquire(cx).await {
        Ok(connection) => connection,
        Err(PoolError::Cancelled(cancelled)) => return Err(cancelled.into()),
        Err(error) => panic!("{error}"),
    };
    assert!(
        !connection.is_in_transaction,
        "the connection of somebody's unfinished transaction"
    );
    let transaction = connection.begin(cx, ObligationKind::Transaction);
    connection.is_in_transaction = true;
    match turn % 4 {
        0 => cx.sleep(FOREVER).await?,
        1 => return Err(AppError::Failed(turn)),
        2 => panic!("in the middle of a transaction"),
        _ => cx.yield_now().await?,
    }
    connection.is_in_transaction = false;
    transaction.commit().expect("the holder still runs");
    Ok(())
}

/// In the field: a task is cancelled between two messages of an exchange, its connection goes back to the pool all the same, and the next user reads the rest of the other's answer.
/// Here what is begun on an object is an obligation of its user: an object on which one is open, or whose user panicked, does not return.
#[test]
fn a_broken_object_does_not_return_to_the_pool() {
    on_both_hosts(async |cx| {
        let make = MakeWith(async |_: Cx| Ok::<_, Cancelled>(Connection::default()));
        let pool = Pool::new(PoolOptions::new(2).check_after(None), make);
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                for turn in 0..16 {
                    let own = pool.clone();
                    let user = scope.spawn(async move |cx: Cx| transact(&cx, &own, turn).await);
                    if turn % 4 == 0 {
                        // Meanwhile it may have the connection, or not even have been polled.
                        for _ in 0..scope.cx().random_u64() % 4 {
                            scope.cx().yield_now().await?;
                        }
                        user.cancel();
                    }
                    drop(user.join(scope.cx()).await);
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        let stats = pool.stats();
        assert!(stats.discarded >= 8, "{stats:?}");
        assert!(stats.reused > 0, "a whole one is used again: {stats:?}");
        assert_eq!(stats.free_places, 2);
    });
}

#[derive(Clone, Debug, thiserror::Error)]
enum NoPage {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// In the field: the first caller for a key runs the work for all, is cancelled, and the others wait for a result that nobody makes any more.
/// Here leadership is a place in a line: when its holder is cancelled or dropped, the next caller leads with its own work.
#[test]
fn followers_do_not_hang_when_the_leader_of_a_shared_call_is_cancelled() {
    const FOLLOWERS: usize = 4;
    on_both_hosts(async |cx| {
        let flights = Arc::new(SingleFlight::<u8, usize, NoPage>::new());
        let runs = Arc::new(AtomicU32::new(0));
        let leads = Arc::new(Notify::new());
        let end = cx
            .region(async |scope| {
                let (own, counted, told) =
                    (Arc::clone(&flights), Arc::clone(&runs), Arc::clone(&leads));
                let leader = scope.spawn(async move |cx: Cx| {
                    let page = own.run(&cx, 1, async || {
                        counted.fetch_add(1, Ordering::SeqCst);
                        told.notify_one();
                        cx.sleep(FOREVER).await?;
                        Ok(0)
                    });
                    let page = page.await;
                    assert!(page.is_err(), "its work never ends");
                    cx.checkpoint()?;
                    End::Ok(())
                });
                leads.notified(scope.cx()).await?;
                let mut followers = Vec::new();
                for number in 1..=FOLLOWERS {
                    let (own, counted) = (Arc::clone(&flights), Arc::clone(&runs));
                    followers.push(scope.spawn(async move |cx: Cx| {
                        let page = own.run(&cx, 1, async || {
                            counted.fetch_add(1, Ordering::SeqCst);
                            cx.sleep(TICK).await?;
                            Ok(number)
                        });
                        End::Ok(page.await.expect("nobody cancels this one"))
                    }));
                }
                for _ in 0..scope.cx().random_u64() % 8 {
                    scope.cx().yield_now().await?;
                }
                leader.cancel();
                let mut pages = Vec::new();
                for follower in followers {
                    let page = follower.join(scope.cx()).await;
                    pages.push(page.ok().expect("each gets a value"));
                }
                assert!(pages.iter().all(|page| (1..=FOLLOWERS).contains(page)));
                drop(leader.join(scope.cx()).await);
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert!(flights.is_empty(), "nothing stays in flight");
        assert!(runs.load(Ordering::SeqCst) >= 2, "somebody led after it");
    });
}
