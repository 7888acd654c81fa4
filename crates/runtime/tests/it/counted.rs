//! Obligations that are only counted, as in a release build: without records, nothing keeps their holder but the count.

use std::panic::Location;
use std::sync::{Arc, Mutex as StdMutex};

use asupersync_core::{CancelKind, Cancelled, LeakResponse, ObligationKind};
use asupersync_kernel::{Cx, LeakEscalation, Leaked, Obligation, Recover, Report};
use asupersync_runtime::{FlightConfig, MonitorConfig, Runtime, RuntimeBuilder};

use crate::support::{End, builder, run_on};

/// Runtimes that count obligations and do not record them, one of them with a flight recorder, and what they report.
fn counting(workers: usize) -> [(Runtime, Arc<StdMutex<Vec<u32>>>); 2] {
    [false, true].map(|is_told| {
        let leaks = Arc::new(StdMutex::new(Vec::new()));
        let heard = Arc::clone(&leaks);
        let mut builder = builder(workers)
            .record_obligations(false)
            .obligation_leak_response(LeakResponse::Log)
            .on_report(move |report| {
                if let Report::ObligationLeaked { count, owed, .. } = report {
                    assert!(owed.is_empty(), "nothing is recorded");
                    heard.lock().unwrap().push(*count);
                }
            });
        if is_told {
            builder = builder.flight_recorder(FlightConfig::default());
        }
        (builder.build().unwrap(), leaks)
    })
}

/// Makes a task owe `count` obligations that outlive it.
async fn left_by_a_task(cx: &Cx, count: usize) -> Vec<Obligation> {
    let end = cx
        .region(async |scope| {
            let task = scope.spawn(async move |cx: Cx| {
                let reserve = |_| Obligation::reserve(&cx, ObligationKind::Lease);
                End::Ok((0..count).map(reserve).collect::<Vec<_>>())
            });
            task.join(scope.cx()).await.into_result()
        })
        .await;
    end.ok().unwrap()
}

fn is_late(settled: Result<(), Leaked>) -> bool {
    settled.is_err_and(|leaked| !leaked.is_recovered())
}

#[test]
fn who_settles_after_the_holders_end_is_told_so_wherever_that_is() {
    for (mut runtime, leaks) in counting(2) {
        run_on(&mut runtime, async |cx: Cx| {
            for _ in 0..200 {
                let mut left = left_by_a_task(&cx, 4).await;
                assert!(left.iter().all(Obligation::is_leaked));
                let elsewhere = left.split_off(2);
                let told =
                    cx.blocking(move || elsewhere.into_iter().all(|one| is_late(one.commit())));
                assert!(told.await.unwrap());
                assert!(left.into_iter().all(|one| is_late(one.abort())));
            }
            End::Ok(())
        });
        assert_eq!(*leaks.lock().unwrap(), vec![4; 200]);
    }
}

#[test]
fn a_holder_ends_while_others_settle_what_it_owes() {
    for (mut runtime, leaks) in counting(2) {
        let mut late = 0;
        run_on(&mut runtime, async |cx: Cx| {
            for _ in 0..500 {
                let given = Arc::new(StdMutex::new(Vec::new()));
                let (give, take) = (Arc::clone(&given), given);
                let counted = cx
                    .region(async |scope| {
                        scope.spawn(async move |cx: Cx| {
                            for _ in 0..4 {
                                let one = Obligation::reserve(&cx, ObligationKind::Ack);
                                give.lock().unwrap().push(one);
                            }
                            End::Ok(())
                        });
                        let settled = scope.spawn(async move |cx: Cx| {
                            let mut settled = (0, 0);
                            while settled.0 < 4 {
                                let one = take.lock().unwrap().pop();
                                match one {
                                    Some(one) => {
                                        settled = (
                                            settled.0 + 1,
                                            settled.1 + u32::from(one.commit().is_err()),
                                        )
                                    }
                                    None => cx.yield_now().await?,
                                }
                            }
                            End::Ok(settled.1)
                        });
                        settled.join(scope.cx()).await.into_result()
                    })
                    .await;
                late += counted.ok().unwrap();
            }
            End::Ok(())
        });
        let reported: u32 = leaks.lock().unwrap().iter().sum();
        assert_eq!(late, reported, "who came late is who was reported as owed");
    }
}

#[test]
fn what_is_reserved_on_the_context_of_a_task_that_has_ended_is_late_from_the_start() {
    for (mut runtime, leaks) in counting(1) {
        run_on(&mut runtime, async |cx: Cx| {
            let end = cx
                .region(async |scope| {
                    let task = scope.spawn(async |cx: Cx| Ok::<_, Cancelled>(cx));
                    task.join(scope.cx()).await.into_result()
                })
                .await;
            let ended = end.ok().unwrap();
            let one = Obligation::reserve(&ended, ObligationKind::Lease);
            drop(ended);
            assert!(one.is_leaked());
            assert!(is_late(one.commit()));
            End::Ok(())
        });
        assert!(leaks.lock().unwrap().is_empty(), "it was never owed");
    }
}

#[test]
fn what_is_reserved_on_the_context_of_a_closed_region_can_be_settled() {
    for (is_told, (mut runtime, _leaks)) in [false, true].into_iter().zip(counting(1)) {
        run_on(&mut runtime, async |cx: Cx| {
            let mut kept = None;
            let end = cx
                .region(async |scope| {
                    kept = Some(scope.cx().clone());
                    End::Ok(())
                })
                .await;
            assert!(end.is_ok());
            let context = kept.unwrap();
            let [one, other, forgotten] =
                [0; 3].map(|_| Obligation::reserve(&context, ObligationKind::Lease));
            assert_eq!(one.commit(), Ok(()));
            drop(context);
            // With its last reference the region ends for good; obligations that are told of hold one.
            assert_eq!(is_late(other.commit()), !is_told);
            std::mem::forget(forgotten);
            End::Ok(())
        });
    }
}

/// Whether an operation under `cx` may go its shortest way here; if not, it does nothing on it.
fn is_quiet<C>(cx: &Cx<C>) -> bool {
    let mut asked = false;
    let owed = Obligation::reserve_quietly(cx, || {
        asked = true;
        true
    });
    assert_eq!(
        owed.is_some(),
        asked,
        "what was taken is owed, and nothing else"
    );
    let is_quiet = owed.is_some();
    if let Some(Err(owed)) = owed.map(Obligation::commit_quietly) {
        panic!("it is settled as it was reserved: {:?}", owed.commit());
    }
    is_quiet
}

type Change = fn(RuntimeBuilder) -> RuntimeBuilder;

/// A host on which nobody is told anything, but for what `change` switches on.
fn silent(change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Runtime {
    let counted = builder(2).record_obligations(false).on_report(|_| {});
    change(counted).build().unwrap()
}

#[test]
fn the_shortest_way_is_closed_wherever_somebody_listens() {
    let hosts: [(Change, bool); 8] = [
        (|host| host, true),
        (
            |host| host.obligation_leak_response(LeakResponse::Panic),
            true,
        ),
        (
            |host| host.obligation_leak_response(LeakResponse::Recover),
            false,
        ),
        (|host| host.leak_escalation(recovering()), false),
        (|host| host.record_obligations(true), false),
        (|host| host.flight_recorder(FlightConfig::default()), false),
        (
            |host| host.deadline_monitoring(MonitorConfig::default()),
            false,
        ),
        (|host| host.governor_interval(32), false),
    ];
    for (number, (change, expected)) in hosts.into_iter().enumerate() {
        run_on(&mut silent(change), async |cx: Cx| {
            let end = cx
                .region(async |scope| {
                    let task = scope.spawn(async move |cx: Cx| End::Ok(is_quiet(&cx)));
                    let body = is_quiet(scope.cx());
                    End::Ok((body, task.join(scope.cx()).await.ok().unwrap()))
                })
                .await;
            assert_eq!(end.ok().unwrap(), (expected, expected), "{number}");
            End::Ok(())
        });
    }
}

fn recovering() -> LeakEscalation {
    LeakEscalation {
        threshold: 1_000,
        response: LeakResponse::Recover,
    }
}

#[test]
fn the_shortest_way_is_for_the_context_that_is_polled_right_here() {
    run_on(&mut silent(|host| host), async |cx: Cx| {
        assert!(is_quiet(&cx));
        let outer = cx.clone();
        assert!(!cx.blocking(move || is_quiet(&outer)).await.unwrap());
        let ended = cx
            .region(async |scope| {
                assert!(!is_quiet(&cx), "its region is polled");
                assert!(is_quiet(scope.cx()));
                let task = scope.spawn(async |cx: Cx| Ok::<_, Cancelled>(cx));
                let ended = task.join(scope.cx()).await.into_result();
                let fiber = scope.fiber(async |inner: Cx| {
                    assert!(!is_quiet(scope.cx()), "its fiber is polled");
                    Ok::<_, Cancelled>(is_quiet(&inner))
                });
                assert!(fiber.await.ok().unwrap());
                ended
            })
            .await;
        assert!(!is_quiet(&ended.ok().unwrap()));
        assert!(is_quiet(&cx));
        End::Ok(())
    });
}

#[test]
fn the_shortest_way_is_closed_to_who_must_stop() {
    run_on(&mut silent(|host| host), async |cx: Cx| {
        let end = cx
            .region(async |scope| {
                scope.cancel(CancelKind::User);
                assert!(!is_quiet(scope.cx()));
                let masked = scope.cx().mask();
                assert!(!is_quiet(scope.cx()));
                drop(masked);
                End::Ok(())
            })
            .await;
        assert!(end.is_ok() || end.is_cancelled());
        End::Ok(())
    });
}

/// Whom nobody owes anything.
struct Nobody;

impl Recover for Nobody {
    fn recover(&self, _: u64) {
        panic!("nothing was leaked");
    }
}

#[test]
fn what_was_reserved_on_the_shortest_way_is_settled_elsewhere_on_the_usual() {
    run_on(&mut silent(|host| host), async |cx: Cx| {
        let owed = Obligation::reserve_quietly(&cx, || true).unwrap();
        let told = cx.blocking(move || match owed.commit_quietly() {
            Ok(()) => false,
            Err(owed) => owed.commit().is_ok(),
        });
        assert!(told.await.unwrap());
        assert!(Obligation::reserve_quietly(&cx, || false).is_none());
        // A record of it is kept, which somebody must take out.
        let waiting = Arc::new(Nobody);
        let site = Location::caller();
        let kind = ObligationKind::Reply;
        let awaited = Obligation::reserve_awaited_at(&cx, kind, &waiting, 1, site);
        let awaited = awaited.commit_quietly().unwrap_err();
        assert!(awaited.commit().is_ok());
        End::Ok(())
    });
    for (mut runtime, leaks) in counting(1) {
        run_on(&mut runtime, async |cx: Cx| {
            for _ in 0..3 {
                let left = left_by_a_task(&cx, 1).await;
                assert!(left.into_iter().all(|one| one.commit_quietly().is_err()));
            }
            End::Ok(())
        });
        assert_eq!(*leaks.lock().unwrap(), vec![1; 3]);
    }
}
