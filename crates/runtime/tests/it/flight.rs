//! The flight recorder holds what happened last, and saves it when something goes wrong.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use asupersync_core::{
    CancelKind, LeakResponse, ObligationId, ObligationKind, Outcome, Severity, TaskId,
};
use asupersync_kernel::{Cx, Event, Obligation, Report, Settlement, SpawnOptions, Subject};
use asupersync_runtime::{FlightConfig, FlightRecorder, MonitorConfig, Runtime};
use asupersync_sync::Mutex;
use asupersync_trace::{LastEvents, Trace};

use crate::support::{AppError, End, FOREVER, Watchdog, block, builder, run_on};

/// A runtime that records, counts obligations as a release build does, and hears what was saved.
fn recording(workers: usize, config: FlightConfig) -> (Runtime, Arc<StdMutex<Vec<Report>>>) {
    let reports = Arc::new(StdMutex::new(Vec::new()));
    let heard = Arc::clone(&reports);
    let runtime = builder(workers)
        .record_obligations(false)
        .obligation_leak_response(LeakResponse::Silent)
        .shutdown_timeout(Duration::from_millis(100))
        .flight_recorder(config)
        .on_report(move |report| heard.lock().unwrap().push(report.clone()))
        .build()
        .unwrap();
    (runtime, reports)
}

fn into(folder: &Path) -> FlightConfig {
    FlightConfig {
        folder: Some(folder.to_owned()),
        ..FlightConfig::default()
    }
}

fn read(runtime: &Runtime) -> LastEvents {
    runtime.flight_recorder().unwrap().read()
}

fn count(trace: &Trace, is_one: impl Fn(&Event) -> bool) -> usize {
    trace.iter().filter(|event| is_one(event)).count()
}

/// The saved record for which there is a report; its cause stands in its name.
#[track_caller]
fn saved(reports: &[Report], cause: &str) -> (PathBuf, Trace) {
    let path = reports.iter().find_map(|report| match report {
        Report::FlightSaved { cause: why, path } if *why == cause => Some(path.clone()),
        _ => None,
    });
    let path = path.unwrap_or_else(|| panic!("no record for {cause}: {reports:?}"));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with(&format!("-{cause}.trace")), "{name}");
    let trace = Trace::decode(&std::fs::read(&path).unwrap()).unwrap();
    (path, trace)
}

#[test]
fn tasks_regions_and_cancellations_stand_in_the_record_and_polls_do_not() {
    let (mut runtime, _) = recording(2, FlightConfig::default());
    run_on(&mut runtime, async |cx: Cx| {
        cx.region(async |scope| {
            let named = SpawnOptions::new().name("sleeper");
            let sleeper = scope.spawn_with(named, async |cx: Cx| {
                cx.sleep(FOREVER).await?;
                End::Ok(())
            });
            scope.cx().yield_now().await?;
            sleeper.cancel();
            let _ = sleeper.join(scope.cx()).await;
            End::Ok(())
        })
        .await
        .into_result()?;
        End::Ok(())
    });
    let LastEvents { trace, overwritten } = read(&runtime);
    assert_eq!(overwritten, 0);
    let named =
        |event: &Event| matches!(event, Event::TaskNamed { name, .. } if &**name == "sleeper");
    assert_eq!(count(&trace, named), 1);
    let here = |event: &Event| matches!(event, Event::TaskSpawned { site, line, .. } if site.ends_with("flight.rs") && *line > 0);
    assert_eq!(count(&trace, here), 1);
    let opened = |event: &Event| matches!(event, Event::RegionOpened { .. });
    let closed = |event: &Event| matches!(event, Event::RegionClosed { .. });
    assert_eq!((count(&trace, opened), count(&trace, closed)), (2, 2));
    let asked = |event: &Event| {
        matches!(
            event,
            Event::CancelRequested {
                kind: CancelKind::User,
                ..
            }
        )
    };
    assert_eq!(count(&trace, asked), 1);
    let ended = |event: &Event| {
        matches!(
            event,
            Event::TaskEnded {
                severity: Severity::Cancelled,
                ..
            }
        )
    };
    assert_eq!(count(&trace, ended), 1);
    let woken = |event: &Event| matches!(event, Event::TaskWoken { .. } | Event::TimerSet { .. });
    assert_eq!(count(&trace, woken), 0);
    assert!(trace.events.is_sorted_by_key(|traced| traced.at));
    assert_eq!(Trace::decode(&trace.encode().unwrap()), Ok(trace));
}

#[test]
fn who_did_it_stands_before_it() {
    let (mut runtime, _) = recording(1, FlightConfig::default());
    run_on(&mut runtime, async |cx: Cx| {
        cx.region(async |scope| {
            scope.spawn(async |_: Cx| End::Ok(()));
            End::Ok(())
        })
        .await
        .into_result()?;
        End::Ok(())
    });
    let trace = read(&runtime).trace;
    let mut polled = None;
    let mut ends = Vec::new();
    for event in trace.iter() {
        match event {
            Event::TaskPolled { task } => polled = Some(*task),
            Event::TaskEnded { task, .. } => ends.push((*task, polled)),
            _ => {}
        }
    }
    assert_eq!(ends.len(), 2);
    for (task, polled) in ends {
        assert_eq!(polled, Some(task), "a task ends in its own poll");
    }
}

#[test]
fn obligations_are_told_under_their_own_names() {
    let (mut runtime, _) = recording(2, FlightConfig::default());
    run_on(&mut runtime, async |cx: Cx| {
        let reserve = || Obligation::reserve(&cx, ObligationKind::Lease);
        reserve().commit().unwrap();
        drop(reserve());
        let elsewhere = reserve();
        cx.blocking(move || elsewhere.abort().unwrap())
            .await
            .unwrap();
        End::Ok(())
    });
    let trace = read(&runtime).trace;
    let mut reserved: Vec<ObligationId> = Vec::new();
    let mut settled = Vec::new();
    for event in trace.iter() {
        match event {
            Event::ObligationReserved {
                obligation,
                holder: Subject::Task(_),
                kind: ObligationKind::Lease,
            } => reserved.push(*obligation),
            Event::ObligationSettled {
                obligation,
                settlement,
            } => settled.push((*obligation, *settlement)),
            _ => {}
        }
    }
    let ends = [
        Settlement::Committed,
        Settlement::Dropped,
        Settlement::Aborted,
    ];
    let expected: Vec<_> = reserved.iter().copied().zip(ends).collect();
    assert_eq!(settled, expected);
}

#[test]
fn the_oldest_events_are_overwritten_and_counted() {
    let config = FlightConfig {
        bytes: 2 * 16 * 64,
        ..FlightConfig::default()
    };
    let (mut runtime, _) = recording(1, config);
    run_on(&mut runtime, async |cx: Cx| {
        for _ in 0..100 {
            Obligation::reserve(&cx, ObligationKind::Ack)
                .commit()
                .unwrap();
        }
        End::Ok(())
    });
    let LastEvents { trace, overwritten } = read(&runtime);
    // 200 of the obligations, and what the program itself takes.
    assert!((185..200).contains(&overwritten), "{overwritten}");
    let first = &trace.events[0].event;
    assert_eq!(*first, Event::EventsOverwritten { count: overwritten });
    let last = trace.iter().last().unwrap();
    assert!(matches!(last, Event::RegionClosed { .. }), "{last:?}");
    assert_eq!(Trace::decode(&trace.encode().unwrap()), Ok(trace));
}

#[test]
fn a_panic_saves_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut runtime, reports) = recording(2, into(&folder.path().join("made")));
    let end: Outcome<(), AppError> = runtime.block_on(async |cx: Cx| {
        cx.region(async |scope| {
            scope.spawn(async |_: Cx| -> End { panic!("on purpose") });
            End::Ok(())
        })
        .await
    });
    assert!(matches!(end, Outcome::Panicked(_)));
    // The pool ends its jobs before it is gone.
    drop(runtime);
    let reports = reports.lock().unwrap();
    let (path, trace) = saved(&reports, "panic");
    let panicked = |event: &Event| {
        matches!(
            event,
            Event::TaskEnded {
                severity: Severity::Panicked,
                ..
            }
        )
    };
    assert!(count(&trace, panicked) > 0);
    let kept = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names = kept.map(|entry| entry.unwrap().file_name());
    let whole = |name: std::ffi::OsString| name.to_str().unwrap().ends_with(".trace");
    assert!(names.all(whole), "nothing is half written");
}

#[test]
fn a_leak_saves_the_record_with_what_is_owed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut runtime, reports) = recording(1, into(folder.path()));
    run_on(&mut runtime, async |cx: Cx| {
        cx.region(async |scope| {
            scope.spawn(async |cx: Cx| {
                std::mem::forget(Obligation::reserve(&cx, ObligationKind::Reply));
                End::Ok(())
            });
            End::Ok(())
        })
        .await
        .into_result()?;
        End::Ok(())
    });
    drop(runtime);
    let (_, trace) = saved(&reports.lock().unwrap(), "leak");
    let owed = |event: &Event| {
        matches!(
            event,
            Event::ObligationReserved {
                kind: ObligationKind::Reply,
                ..
            }
        )
    };
    assert_eq!(count(&trace, owed), 1);
    let settled = |event: &Event| matches!(event, Event::ObligationSettled { .. });
    assert_eq!(count(&trace, settled), 0);
}

#[test]
fn what_a_shutdown_leaves_behind_saves_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut runtime, reports) = recording(2, into(folder.path()));
    let release = Arc::new(AtomicBool::new(false));
    let (held, started) = (Arc::clone(&release), Arc::new(AtomicBool::new(false)));
    let begun = Arc::clone(&started);
    let here = std::thread::current().id();
    let end: Outcome<(), AppError> = runtime.block_on(async |cx: Cx| {
        let mut left = Box::pin(cx.region(async move |scope| {
            // Whichever of them another worker takes does not yield until it is told to.
            for _ in 0..2 {
                let (held, begun) = (Arc::clone(&held), Arc::clone(&begun));
                scope.spawn(async move |_: Cx| {
                    if std::thread::current().id() != here {
                        begun.store(true, Ordering::Release);
                        while !held.load(Ordering::Acquire) {
                            block(Duration::from_millis(1));
                        }
                    }
                    End::Ok(())
                });
            }
            scope.cx().sleep(FOREVER).await?;
            End::Ok(())
        }));
        assert!(futures_util::poll!(left.as_mut()).is_pending());
        while !started.load(Ordering::Acquire) {
            block(Duration::from_millis(1));
        }
        End::Ok(())
    });
    assert!(end.is_ok());
    assert!(!runtime.last_shutdown().unfinished.is_empty());
    let (_, trace) = saved(&reports.lock().unwrap(), "unfinished");
    let asked = |event: &Event| {
        matches!(
            event,
            Event::CancelRequested {
                kind: CancelKind::Shutdown | CancelKind::ParentCancelled,
                ..
            }
        )
    };
    assert!(count(&trace, asked) > 0);
    release.store(true, Ordering::Release);
}

#[test]
fn a_record_that_cannot_be_saved_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let (mut runtime, reports) = recording(1, into(&file));
    let end: Outcome<(), AppError> =
        runtime.block_on(async |_: Cx| -> End { panic!("on purpose") });
    assert!(matches!(end, Outcome::Panicked(_)));
    drop(runtime);
    let reports = reports.lock().unwrap();
    let refused = |report: &Report| matches!(report, Report::FlightNotSaved { cause: "panic", message } if message.contains("a-file"));
    assert!(reports.iter().any(refused), "{reports:?}");
}

#[test]
fn no_more_files_are_saved_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let config = FlightConfig {
        files_max: 2,
        ..into(folder.path())
    };
    let (mut runtime, reports) = recording(1, config);
    let saved = || {
        let reports = reports.lock().unwrap();
        let is_saved = |report: &&Report| matches!(report, Report::FlightSaved { .. });
        reports.iter().filter(is_saved).count()
    };
    let _watchdog = Watchdog::start();
    for panics in 1..=5 {
        let end: Outcome<(), AppError> =
            runtime.block_on(async |_: Cx| -> End { panic!("on purpose") });
        assert!(matches!(end, Outcome::Panicked(_)));
        // What was asked for is saved before the next asks.
        while saved() < panics.min(2) {
            block(Duration::from_millis(1));
        }
    }
    drop(runtime);
    assert_eq!(saved(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// The monitor asks for operations on locks; they would push everything else out.
#[test]
fn the_monitors_events_stay_out_of_the_record() {
    let mut runtime = builder(1)
        .deadline_monitoring(MonitorConfig::default())
        .flight_recorder(FlightConfig::default())
        .build()
        .unwrap();
    let lock = Mutex::new(0);
    run_on(&mut runtime, async |cx: Cx| {
        for _ in 0..50 {
            *lock.lock(&cx).await.unwrap() += 1;
        }
        End::Ok(())
    });
    let LastEvents { trace, overwritten } = read(&runtime);
    assert_eq!(overwritten, 0);
    let operation = |event: &Event| matches!(event, Event::Operation { .. });
    assert_eq!(count(&trace, operation), 0);
    assert!(trace.events.len() < 20, "{}", trace.events.len());
}

#[test]
fn a_task_reads_the_record_of_its_own_program() {
    let (mut runtime, _) = recording(1, FlightConfig::default());
    let events = run_on(&mut runtime, async |cx: Cx| {
        let recorder = cx.port::<FlightRecorder>().unwrap();
        let spawned = |event: &Event| matches!(event, Event::TaskSpawned { task, .. } if *task == TaskId::new(task.region(), 0));
        End::Ok(count(&recorder.read().trace, spawned))
    });
    assert_eq!(events, 1, "the root body");
    let mut plain = builder(1).build().unwrap();
    assert!(plain.flight_recorder().is_none());
    run_on(&mut plain, async |cx: Cx| {
        assert!(cx.port::<FlightRecorder>().is_none());
        End::Ok(())
    });
}
