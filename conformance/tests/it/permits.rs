//! Permits: they are conserved, first come first served, and owed by whoever took them, also where nobody is told of them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex as StdMutex};
use std::task::Poll;

use asupersync_conformance::{Hosts, on_both_hosts};
use asupersync_core::{LeakResponse, ObligationKind, Outcome, Severity};
use asupersync_kernel::{Cx, Obligation, Report};
use asupersync_runtime::{Runtime, RuntimeBuilder};
use asupersync_sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::support::End;

/// One poll of a future that may have to wait.
async fn look<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let polled = poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await;
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn a_free_permit_is_not_taken_past_who_waits_for_more() {
    on_both_hosts(async |cx| {
        let semaphore = Semaphore::new(3);
        let two = semaphore.acquire_many(&cx, 2).await.unwrap();
        let mut three = pin!(semaphore.acquire_many(&cx, 3));
        assert!(look(three.as_mut()).await.is_none());
        assert_eq!(semaphore.available_permits(), 1);
        let refused = semaphore.try_acquire(&cx);
        assert_eq!(refused.unwrap_err(), TryAcquireError::NoPermits);
        let mut one = pin!(semaphore.acquire(&cx));
        assert!(look(one.as_mut()).await.is_none());
        drop(two);
        assert!(look(one.as_mut()).await.is_none(), "three come first");
        let three = three.await.unwrap();
        assert_eq!((three.count(), semaphore.available_permits()), (3, 0));
        drop(three);
        assert_eq!(one.await.unwrap().count(), 1);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn a_waiter_that_leaves_lets_the_next_have_what_is_free() {
    on_both_hosts(async |cx| {
        let semaphore = Semaphore::new(2);
        let held = semaphore.acquire(&cx).await.unwrap();
        let mut one = pin!(semaphore.acquire(&cx));
        {
            let mut two = pin!(semaphore.acquire_many(&cx, 2));
            assert!(look(two.as_mut()).await.is_none());
            assert!(look(one.as_mut()).await.is_none());
        }
        let one = one.await.unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        drop((one, held));
        assert!(semaphore.try_acquire_many(&cx, 2).is_ok());
    });
}

#[test]
fn permits_that_are_out_when_the_semaphore_closes_stay_good_and_come_back() {
    on_both_hosts(async |cx| {
        let semaphore = Semaphore::new(3);
        let [kept, forgotten] = [1, 2].map(|count| semaphore.try_acquire_many(&cx, count).unwrap());
        let mut waiting = pin!(semaphore.acquire(&cx));
        assert!(look(waiting.as_mut()).await.is_none());
        semaphore.close();
        assert_eq!(waiting.await.unwrap_err(), AcquireError::Closed);
        drop(kept);
        assert_eq!(semaphore.available_permits(), 1);
        let refused = semaphore.try_acquire(&cx);
        assert_eq!(refused.unwrap_err(), TryAcquireError::Closed);
        let refused = semaphore.acquire(&cx).await;
        assert_eq!(refused.unwrap_err(), AcquireError::Closed);
        forgotten.forget();
        assert_eq!(semaphore.available_permits(), 1);
        assert!(semaphore.is_closed());
    });
}

#[test]
fn permits_that_come_back_when_as_many_were_added_are_capped() {
    on_both_hosts(async |cx| {
        let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
        for added in [3, 5] {
            let permit = semaphore.acquire_many(&cx, 5).await.unwrap();
            semaphore.add_permits(added);
            drop(permit);
            assert_eq!(semaphore.available_permits(), Semaphore::MAX_PERMITS);
        }
        let permit = semaphore.acquire_many(&cx, 5).await.unwrap();
        drop(permit);
        assert_eq!(semaphore.available_permits(), Semaphore::MAX_PERMITS);
        assert!(!semaphore.is_closed());
    });
}

#[test]
fn a_cancelled_task_gets_no_permit_that_is_free() {
    on_both_hosts(async |cx| {
        let semaphore = Arc::new(Semaphore::new(1));
        let shared = Arc::clone(&semaphore);
        let end = cx
            .region(async |scope| {
                scope.cancel(asupersync_core::CancelKind::User);
                let inside = shared.acquire(scope.cx()).await;
                assert!(matches!(inside, Err(AcquireError::Cancelled(_))));
                let masked = scope.cx().mask();
                let inside = shared.acquire(scope.cx()).await;
                assert_eq!(inside.expect("it is masked").count(), 1);
                drop(masked);
                End::Ok(())
            })
            .await;
        assert!(end.is_ok() || end.is_cancelled(), "{end:?}");
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn permits_are_conserved_while_some_are_added_and_taken_out() {
    const PERMITS: u64 = 3;
    on_both_hosts(async |cx| {
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let end = cx
            .region(async |scope| {
                for number in 0..4_u32 {
                    let semaphore = Arc::clone(&semaphore);
                    scope.spawn(async move |cx: Cx| {
                        for n in 0..20 {
                            if (n + number) % 4 == 3 {
                                let out = semaphore.forget_permits(2);
                                cx.yield_now().await?;
                                semaphore.add_permits(out);
                                continue;
                            }
                            let count = 1 + n % 3;
                            let permit = semaphore.acquire_many(&cx, count).await.unwrap();
                            if n % 2 == 0 {
                                cx.yield_now().await?;
                            }
                            assert_eq!(permit.count(), count);
                        }
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(semaphore.available_permits(), PERMITS);
    });
}

#[test]
fn a_task_that_forgets_a_permit_ends_as_leaks_do() {
    Hosts::new().leaks(LeakResponse::Panic).run(async |cx| {
        let semaphore = Arc::new(Semaphore::new(3));
        let shared = Arc::clone(&semaphore);
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async move |cx: Cx| {
                    drop(shared.acquire_owned(&cx).await.unwrap());
                    std::mem::forget(shared.acquire_many_owned(&cx, 2).await.unwrap());
                    End::Ok(())
                });
                End::Ok(task.join(scope.cx()).await.severity())
            })
            .await;
        assert_eq!(end.ok(), Some(Severity::Panicked));
        assert_eq!(semaphore.available_permits(), 1, "nobody gives them back");
    });
}

#[test]
fn a_region_that_forgets_a_permit_ends_as_leaks_do() {
    Hosts::new().leaks(LeakResponse::Panic).run(async |cx| {
        let semaphore = Semaphore::new(1);
        let end = cx
            .region(async |scope| {
                std::mem::forget(semaphore.acquire(scope.cx()).await.unwrap());
                End::Ok(())
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
    });
}

#[test]
fn a_permit_that_outlives_its_task_is_a_leak_and_comes_back_once() {
    Hosts::new().leaks(LeakResponse::Silent).run(async |cx| {
        let semaphore = Arc::new(Semaphore::new(3));
        let shared = Arc::clone(&semaphore);
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async move |cx: Cx| {
                    let permit = shared.acquire_many_owned(&cx, 2).await.unwrap();
                    End::Ok(permit)
                });
                task.join(scope.cx()).await.flatten()
            })
            .await;
        let permit: OwnedSemaphorePermit = end.ok().expect("the task gives it");
        assert_eq!((permit.count(), semaphore.available_permits()), (2, 1));
        drop(permit);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn a_permit_that_another_task_gives_back_is_no_leak() {
    on_both_hosts(async |cx| {
        let semaphore = Arc::new(Semaphore::new(1));
        let shared = Arc::clone(&semaphore);
        let end = cx
            .region(async |scope| {
                let scope = &scope;
                let (give, mut take) = asupersync_sync::oneshot::channel();
                scope.spawn(async move |cx: Cx| {
                    let permit = shared.acquire_owned(&cx).await.unwrap();
                    give.send(permit).ok();
                    // It owes the permit until somebody has given it back.
                    let again = shared.acquire(&cx).await.unwrap();
                    assert_eq!(again.count(), 1);
                    End::Ok(())
                });
                let taker = scope.spawn(async move |cx: Cx| {
                    drop(take.recv(&cx).await);
                    End::Ok(())
                });
                taker.join(scope.cx()).await.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// A production host on which obligations are only counted, and how many it reports as leaked.
fn counting(workers: usize) -> (Runtime, Arc<StdMutex<Vec<u32>>>) {
    let leaks = Arc::new(StdMutex::new(Vec::new()));
    let heard = Arc::clone(&leaks);
    let runtime = RuntimeBuilder::new()
        .worker_threads(workers)
        .handle_signals(false)
        .record_obligations(false)
        .obligation_leak_response(LeakResponse::Log)
        .on_report(move |report| {
            if let Report::ObligationLeaked { count, .. } = report {
                heard.lock().expect("no holder panics").push(*count);
            }
        })
        .build()
        .expect("the machine has the resources for a runtime");
    (runtime, leaks)
}

#[test]
fn permits_that_are_only_counted_are_reported_when_they_leak() {
    for workers in [1, 2, 4] {
        let (mut runtime, leaks) = counting(workers);
        let end = runtime.block_on(async |cx: Cx| {
            cx.region(async |scope| {
                for number in 0..50_u32 {
                    scope.spawn(async move |cx: Cx| {
                        let is_counted = Obligation::reserve_quietly(&cx, || true);
                        is_counted
                            .expect("the shortest way is open")
                            .commit()
                            .unwrap();
                        let semaphore = Semaphore::new(200);
                        for n in 0..100 {
                            let permit = semaphore.acquire(&cx).await.unwrap();
                            if n < number {
                                std::mem::forget(permit);
                            }
                        }
                        assert_eq!(semaphore.available_permits(), 200 - u64::from(number));
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await
        });
        assert!(end.is_ok(), "{end:?}");
        let mut leaks = leaks.lock().unwrap().clone();
        leaks.sort_unstable();
        assert_eq!(leaks, Vec::from_iter(1..50));
    }
}

#[test]
fn permits_that_threads_and_tasks_give_back_are_settled_wherever_that_is() {
    let (mut runtime, leaks) = counting(2);
    let end = runtime.block_on(async |cx: Cx| {
        let semaphore = Arc::new(Semaphore::new(8));
        for _ in 0..200 {
            let permits: Vec<_> = (0..4)
                .map(|_| semaphore.try_acquire_many_owned(&cx, 2).unwrap())
                .collect();
            let mut waiting = pin!(semaphore.acquire_many(&cx, 8));
            assert!(look(waiting.as_mut()).await.is_none());
            let [first, second, third, fourth] = permits.try_into().ok().unwrap();
            drop(first);
            let elsewhere = cx.blocking(move || drop((second, third))).await;
            assert!(elsewhere.is_ok());
            assert!(look(waiting.as_mut()).await.is_none());
            drop(fourth);
            assert_eq!(waiting.await.unwrap().count(), 8);
        }
        assert_eq!(semaphore.available_permits(), 8);
        assert!(
            Obligation::reserve(&cx, ObligationKind::Ack)
                .commit()
                .is_ok()
        );
        End::Ok(())
    });
    assert!(end.is_ok(), "{end:?}");
    assert!(leaks.lock().unwrap().is_empty());
}
