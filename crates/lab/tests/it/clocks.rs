//! Clocks of nodes that are wrong, and nodes that stand still.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use asupersync_core::{Cancelled, Outcome, Time};
use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Event, Scope};
use asupersync_lab::{Faults, LabConfig, LabNode, LabReport, LabRuntime, Search, Strategy, Trace};
use asupersync_net::{NetError, TcpListener, TcpStream};

type End = Result<(), Cancelled>;

const ONE: [u8; 4] = [10, 0, 0, 1];
const OTHER: [u8; 4] = [10, 0, 0, 2];
const SECOND: Duration = Duration::from_secs(1);

fn count(trace: &Trace, name: &str) -> usize {
    let is_it = |event: &&Event| match event {
        Event::FaultInjected { fault, .. } => **fault == *name,
        _ => false,
    };
    trace.iter().filter(is_it).count()
}

#[track_caller]
fn is_ok<T: Debug, E: Debug>(report: &LabReport<T, E>) {
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn the_time_of_day_begins_where_it_is_told_and_goes_on_with_the_lab() {
    let start = SystemTime::UNIX_EPOCH + SECOND * 5;
    for (config, start) in [
        (LabConfig::default().wall_start(start), start),
        (
            LabConfig::default(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800),
        ),
    ] {
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            assert_eq!(cx.wall_now(), start);
            cx.sleep(SECOND * 3).await?;
            assert_eq!(cx.wall_now(), start + SECOND * 3);
            Ok::<_, Cancelled>(())
        });
        is_ok(&report);
    }
}

/// Two nodes write a value under the time of day, and the later one is to stand.
async fn last_writer(cx: Cx) -> Outcome<(), Cancelled> {
    let value = Arc::new(Mutex::new((SystemTime::UNIX_EPOCH, 0)));
    let nodes = [ONE, OTHER].map(|ip| LabNode::new(&cx, "writer", ip));
    cx.region(async |scope: Scope<'_, Cancelled>| -> End {
        for (number, node) in (1..).zip(&nodes) {
            let value = Arc::clone(&value);
            let writing = node.start(&scope, async move |cx: Cx| -> End {
                cx.sleep(SECOND).await?;
                let (stamp, mut value) = (cx.wall_now(), value.lock().unwrap());
                if stamp > value.0 {
                    *value = (stamp, number);
                }
                Ok(())
            });
            // The next begins when this one has written.
            drop(writing.join(scope.cx()).await);
        }
        assert_eq!(value.lock().unwrap().1, 2, "the later write was dropped");
        Ok(())
    })
    .await
}

#[test]
fn a_store_that_trusts_the_time_of_day_is_found_by_skew_and_by_steps_and_not_without() {
    Search::new(LabConfig::default())
        .run(last_writer)
        .assert_clean();
    let hour = Duration::from_secs(3600);
    let skewed = LabConfig::default().clock_skew(hour);
    let stepped = LabConfig::default().faults(Faults::none().clock_step(0.1, hour));
    for config in [skewed, stepped] {
        let report = Search::new(config).run(last_writer);
        assert!(!report.is_exhausted, "{report}");
        let failure = report.failure.expect("it is found");
        assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    }
    // A second apart, no skew below half a second puts them in the wrong order.
    let small = LabConfig::default().clock_skew(Duration::from_millis(499));
    Search::new(small).run(last_writer).assert_clean();
}

/// A lease of ten seconds that its holder looks at before it writes; what the next holder writes is not to be overwritten.
///
/// With `fenced` the store refuses who holds an older lease.
async fn lease(cx: Cx, fenced: bool) -> Outcome<(), Cancelled> {
    let store = Arc::new(Mutex::new((0_u32, "nothing")));
    let write = move |store: &Mutex<(u32, &'static str)>, token: u32, what| {
        let mut store = store.lock().unwrap();
        if !fenced || token >= store.0 {
            *store = (token, what);
        }
    };
    let nodes = [ONE, OTHER].map(|ip| LabNode::new(&cx, "holder", ip));
    cx.region(async |scope: Scope<'_, Cancelled>| -> End {
        let first = {
            let store = Arc::clone(&store);
            nodes[0].start(&scope, async move |cx: Cx| -> End {
                let until = cx.now() + SECOND * 10;
                for _ in 0..3 {
                    cx.sleep(SECOND).await?;
                    if cx.now() >= until {
                        return Ok(());
                    }
                    // What it has looked at it believes for a moment.
                    cx.yield_now().await?;
                    write(&store, 1, "of the first");
                }
                Ok(())
            })
        };
        let second = {
            let store = Arc::clone(&store);
            nodes[1].start(&scope, async move |cx: Cx| -> End {
                cx.sleep(SECOND * 11).await?;
                write(&store, 2, "of the second");
                Ok(())
            })
        };
        drop((first.join(scope.cx()).await, second.join(scope.cx()).await));
        assert_eq!(store.lock().unwrap().1, "of the second");
        Ok(())
    })
    .await
}

fn pauses() -> LabConfig {
    LabConfig::default().faults(Faults::none().pause(0.1, SECOND * 20).at_most(2))
}

#[test]
fn a_lease_that_outlives_a_pause_is_found_and_a_fenced_one_is_not() {
    let report = Search::new(pauses()).run(async |cx: Cx| lease(cx, false).await);
    let failure = report.failure.expect("it is found");
    assert_eq!(count(&failure.run.trace, "node.pause"), 1, "{failure}");
    Search::new(pauses())
        .run(async |cx: Cx| lease(cx, true).await)
        .assert_clean();
    Search::new(LabConfig::default())
        .run(async |cx: Cx| lease(cx, false).await)
        .assert_clean();
}

#[test]
fn a_run_with_pauses_and_wrong_clocks_is_replayed_event_for_event() {
    let faults = Faults::none().pause(0.1, SECOND).clock_step(0.1, SECOND);
    let mut struck = 0;
    for seed in 0..40 {
        let config = LabConfig::default()
            .faults(faults.at_most(3))
            .clock_skew(SECOND)
            .seed(seed);
        let stamps = |config: LabConfig| {
            let stamps = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&stamps);
            let report = LabRuntime::new(config).run(async |cx: Cx| stamping(cx, kept).await);
            is_ok(&report);
            let stamps = stamps.lock().unwrap().clone();
            (report, stamps)
        };
        let (first, stamped) = stamps(config.clone());
        let faults = count(&first.trace, "node.pause") + count(&first.trace, "node.clock_step");
        assert!(faults <= 3);
        struck += usize::from(faults > 0);
        let (again, stamped_again) = stamps(config.replay(first.schedule.clone()));
        assert_eq!(first.trace.divergence(&again.trace), None, "seed {seed}");
        assert_eq!(stamped, stamped_again, "seed {seed}");
    }
    assert!(struck > 20, "only {struck} runs had a fault");
}

/// Two nodes that note what time they believe it is.
async fn stamping(cx: Cx, stamps: Arc<Mutex<Vec<(u8, SystemTime)>>>) -> Outcome<(), Cancelled> {
    cx.region(async |scope: Scope<'_, Cancelled>| -> End {
        for ip in [ONE, OTHER] {
            let node = LabNode::new(scope.cx(), "node", ip);
            let stamps = Arc::clone(&stamps);
            node.start(&scope, async move |cx: Cx| -> End {
                for _ in 0..4 {
                    cx.sleep(SECOND / 4).await?;
                    stamps.lock().unwrap().push((ip[3], cx.wall_now()));
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

#[test]
fn whether_a_clock_is_read_before_or_after_it_is_set_is_searched_through() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let search = Search::new(LabConfig::default()).strategies([Strategy::Dpor]);
    let report = search.run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            let seen = Arc::clone(&seen);
            node.start(&scope, async move |cx: Cx| {
                let year = cx.wall_now().duration_since(SystemTime::UNIX_EPOCH);
                seen.lock().unwrap().insert(year.unwrap());
                Ok::<_, Cancelled>(())
            });
            scope.spawn(async move |_: Cx| {
                node.clock_forward(SECOND);
                Ok::<_, Cancelled>(())
            });
            Ok(())
        })
        .await
    });
    report.assert_clean();
    assert!(report.is_exhausted, "{report}");
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn a_node_that_stands_still_does_nothing_and_then_all_that_waited() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            let cx = scope.cx();
            for after in [1, 4] {
                let order = Arc::clone(&order);
                node.start(&scope, async move |cx: Cx| -> End {
                    cx.sleep(SECOND * after).await?;
                    order.lock().unwrap().push((after, cx.now()));
                    let order = Arc::clone(&order);
                    let job = cx.blocking(move || order.lock().unwrap().push((0, Time::ZERO)));
                    drop(job.await);
                    Ok(())
                });
            }
            cx.yield_now().await?;
            cx.yield_now().await?;
            node.pause(SECOND * 3);
            // A shorter one changes nothing, and others go on.
            node.pause(SECOND);
            cx.sleep(SECOND * 2).await?;
            assert!(order.lock().unwrap().is_empty());
            Ok(())
        })
        .await
    });
    is_ok(&report);
    assert_eq!(count(&report.trace, "node.pause"), 1);
    let expected = [
        (1, Time::from_secs(3)),
        (0, Time::ZERO),
        (4, Time::from_secs(4)),
        (0, Time::ZERO),
    ];
    assert_eq!(*order.lock().unwrap(), expected);
}

/// What waited on a node that stood still is lost with it, and its next life does not wait.
#[test]
fn a_crash_ends_a_pause() {
    let ran = Arc::new(AtomicU32::new(0));
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            let cx = scope.cx();
            let own = Arc::clone(&ran);
            let pausing = node.clone();
            node.start(&scope, async move |cx: Cx| -> End {
                let job = Arc::clone(&own);
                let job = cx.blocking(move || job.fetch_add(1, Ordering::Relaxed));
                // Its job is queued by now, and waits for the end of the pause.
                let mut job = std::pin::pin!(job);
                let first = std::future::poll_fn(|task| {
                    std::task::Poll::Ready(job.as_mut().poll(task).is_ready())
                });
                assert!(!first.await);
                pausing.pause(SECOND * 60);
                drop(job.await);
                own.fetch_add(10, Ordering::Relaxed);
                Ok(())
            });
            node.start(&scope, async |cx: Cx| -> End {
                loop {
                    cx.yield_now().await?;
                }
            });
            cx.sleep(SECOND).await?;
            node.crash();
            node.wait_down(cx).await?;
            node.restart();
            let next = node.start(&scope, async |cx: Cx| Ok::<_, Cancelled>(cx.now()));
            assert_eq!(next.join(cx).await.ok(), Some(Time::from_secs(1)));
            cx.sleep(SECOND * 60).await
        })
        .await
    });
    is_ok(&report);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    // What was held back for a task that is gone is no step.
    let polls = report.trace.iter();
    let polls = polls.filter(|event| matches!(event, Event::TaskPolled { .. }));
    assert_eq!(report.steps, polls.count() as u64);
}

#[test]
fn what_is_sent_to_a_node_that_stands_still_is_there_when_it_goes_on() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "server", ONE);
        cx.region(async |scope: Scope<'_, NetError>| -> Result<(), NetError> {
            let cx = scope.cx();
            let server = node.start(&scope, async |cx: Cx| -> Result<Time, NetError> {
                let listener = TcpListener::bind(&cx, "0.0.0.0:80").await?;
                let (mut stream, _) = listener.accept(&cx).await?;
                let mut bytes = [0; 5];
                assert!(stream.read_exact(&mut bytes).await.is_ok());
                assert_eq!(&bytes, b"hello");
                Ok(cx.now())
            });
            cx.sleep(SECOND).await?;
            let mut stream = TcpStream::connect(cx, "10.0.0.1:80").await?;
            node.pause(SECOND * 7);
            assert!(stream.write_all(b"hello").await.is_ok());
            assert_eq!(server.join(cx).await.ok(), Some(Time::from_secs(8)));
            Ok(())
        })
        .await
    });
    is_ok(&report);
}

#[test]
fn a_pause_by_call_proves_nothing() {
    let search = Search::new(LabConfig::default()).strategies([Strategy::Dpor]);
    let report = search.run(async |cx: Cx| {
        LabNode::new(&cx, "node", ONE).pause(SECOND);
        cx.yield_now().await
    });
    report.assert_clean();
    assert!(!report.is_exhausted, "{report}");
}

#[test]
fn a_node_that_is_down_does_not_stand_still_later() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            let cx = scope.cx();
            node.crash();
            node.wait_down(cx).await?;
            node.pause(SECOND);
            node.restart();
            let next = node.start(&scope, async |cx: Cx| Ok::<_, Cancelled>(cx.now()));
            assert_eq!(next.join(cx).await.ok(), Some(Time::ZERO));
            Ok(())
        })
        .await
    });
    is_ok(&report);
}

/// What still runs of a node after its crash is the kernel's, and its next life has nothing to do with it.
#[test]
fn the_rest_of_a_life_that_has_ended_stops_no_node() {
    let faults = Faults::none().pause(1.0, SECOND).clock_step(1.0, SECOND);
    let config = LabConfig::default().faults(faults.at_most(1_000));
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            node.start(&scope, async |cx: Cx| {
                cx.region(async |scope: Scope<'_, Cancelled>| -> End {
                    scope.defer(async |cx: Cx| {
                        let _ = cx.yield_now().await;
                    });
                    scope.cx().sleep(SECOND * 60).await
                })
                .await
            });
            scope.cx().sleep(SECOND).await?;
            node.crash();
            node.wait_down(scope.cx()).await
        })
        .await
    });
    is_ok(&report);
    let faults = report.trace.iter().filter_map(|event| match event {
        Event::FaultInjected { fault, .. } => Some(fault.to_string()),
        _ => None,
    });
    let faults: Vec<_> = faults.collect();
    assert!(faults.len() > 1);
    assert_eq!(faults.last().map(String::as_str), Some("node.crash"));
}

/// Others may take any number of steps meanwhile.
#[test]
fn who_waits_on_a_node_that_stands_still_is_not_starved() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", ONE);
        cx.region(async |scope: Scope<'_, Cancelled>| -> End {
            node.start(&scope, async |_: Cx| Ok::<_, Cancelled>(()));
            node.pause(SECOND);
            for _ in 0..11_000 {
                scope.cx().yield_now().await?;
            }
            Ok(())
        })
        .await
    });
    is_ok(&report);
}

#[test]
fn a_reason_is_of_its_own_run_whatever_an_earlier_one_on_the_thread_has_asked() {
    let asked_at = |pause: Duration| {
        let lab = LabRuntime::new(LabConfig::default().seed(1));
        let report = lab.run(async move |cx: Cx| {
            cx.region(async |scope: Scope<'_, Cancelled>| {
                let task = scope.spawn(async |cx: Cx| cx.sleep(SECOND).await);
                scope.cx().sleep(pause).await?;
                task.cancel();
                let now = scope.cx().now();
                let end = task.join(scope.cx()).await;
                let asked = end.cancel_reason().map(|reason| reason.at());
                Ok::<_, Cancelled>((asked, now))
            })
            .await
        });
        is_ok(&report);
        report.outcome.ok().expect("it ends well")
    };
    // The first moment is close before the second.
    for micros in [10, 30] {
        let (asked, now) = asked_at(Duration::from_micros(micros));
        assert_eq!(asked, Some(now));
    }
}
