//! Obligations that are only counted, as in a release build: without records, nothing keeps their holder but the count.

use std::sync::{Arc, Mutex as StdMutex};

use asupersync_core::{Cancelled, LeakResponse, ObligationKind};
use asupersync_kernel::{Cx, Leaked, Obligation, Report};
use asupersync_runtime::{FlightConfig, Runtime};

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
