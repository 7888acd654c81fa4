//! Nodes: what a crash takes, what it leaves, and that it is decided, told and replayed like any other fault.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_fs::{self as fs, FsError, FsPort, OpenOptions};
use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Event, Scope};
use asupersync_lab::{
    DiskFaults, Faults, LabConfig, LabNode, LabReport, LabRuntime, Search, Strategy, Trace,
};
use asupersync_net::{NetError, TcpListener, TcpStream};

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Blocking(#[from] asupersync_kernel::BlockingError),
    #[error(transparent)]
    Panicked(#[from] asupersync_core::PanicPayload),
}

type End = Result<(), TestError>;

const IP: [u8; 4] = [10, 0, 0, 1];

#[track_caller]
fn run<F>(program: impl FnOnce(Cx) -> F) -> LabReport<(), TestError>
where
    F: Future<Output = Outcome<(), TestError>>,
{
    let report = LabRuntime::new(LabConfig::default().seed(3)).run(program);
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    report
}

/// Drops are counted, so that a test sees that nothing of a node is left.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_crash_stops_everything_that_came_of_the_nodes_tasks_and_nothing_else() {
    let dropped = Arc::new(AtomicU32::new(0));
    let finalized = Arc::new(AtomicU32::new(0));
    let (seen, ran) = (Arc::clone(&dropped), Arc::clone(&finalized));
    let report = run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let _listener = TcpListener::bind(cx, "10.9.9.9:9").await?;
            let other = scope.spawn(async |cx: Cx| cx.sleep(Duration::from_secs(9)).await);
            let task = node.start(&scope, async move |cx: Cx| {
                let inner = cx.region(async |scope: Scope<'_, TestError>| -> End {
                    let file = fs::File::create(scope.cx(), "f").await?;
                    scope.defer(async move |cx: Cx| {
                        // A finalizer of a node that has crashed runs, and reaches nothing.
                        let written = file.write_all(&cx, "from the grave").await;
                        let made = fs::write(&cx, "g", "from the grave").await;
                        let connected = TcpStream::connect(&cx, "10.9.9.9:9").await;
                        let bound = TcpListener::bind(&cx, "10.0.0.1:9").await;
                        let failed = [written.is_err(), made.is_err()];
                        assert_eq!(failed, [true; 2]);
                        assert_eq!([connected.is_err(), bound.is_err()], [true; 2]);
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                    for _ in 0..3 {
                        let counted = Counted(Arc::clone(&seen));
                        scope.spawn(async move |cx: Cx| {
                            let _counted = counted;
                            cx.shield(cx.sleep(Duration::from_secs(60))).await
                        });
                    }
                    scope.cx().sleep(Duration::from_secs(60)).await?;
                    Ok(())
                });
                inner.await.flatten()
            });
            cx.sleep(Duration::from_secs(1)).await?;
            assert!(node.is_up());
            node.crash();
            assert!(!node.is_up());
            node.wait_down(cx).await?;
            assert_eq!(cx.now().as_nanos(), 1_000_000_000, "nothing is waited for");
            assert!(task.is_finished() && !other.is_finished());
            assert!(task.join(cx).await.is_cancelled());
            assert!(node.disk().read("f").is_none_or(|left| left.is_empty()));
            assert!(other.join(cx).await.is_ok());
            Ok(())
        })
        .await
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    assert_eq!(finalized.load(Ordering::Relaxed), 1);
    assert!(!report.is_disturbed, "a program is to survive a crash");
}

#[test]
fn connections_of_a_node_break_and_its_address_is_free_again() {
    let _report = run(async |cx: Cx| {
        let node = LabNode::new(&cx, "server", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            for _ in 0..3 {
                let server = node.start(&scope, async |cx: Cx| -> End {
                    // On the node this is the node.
                    let listener = TcpListener::bind(&cx, "0.0.0.0:80").await?;
                    let (mut stream, peer) = listener.accept(&cx).await?;
                    assert!(peer.ip().is_loopback());
                    stream.write_all(b"hello").await?;
                    cx.sleep(Duration::from_secs(9)).await?;
                    Ok(())
                });
                cx.sleep(Duration::from_millis(1)).await?;
                let mut client = TcpStream::connect(cx, "10.0.0.1:80").await?;
                let mut hello = [0; 5];
                client.read_exact(&mut hello).await?;
                node.crash();
                let end = client.read(&mut hello).await.expect_err("it broke");
                assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
                let refused = TcpStream::connect(cx, "10.0.0.1:80").await;
                refused.expect_err("nobody listens");
                assert!(server.join(cx).await.is_cancelled());
                node.restart();
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn nodes_reach_each_other_by_their_addresses() {
    let _report = run(async |cx: Cx| {
        let (one, two) = (
            LabNode::new(&cx, "one", IP),
            LabNode::new(&cx, "two", [10, 0, 0, 2]),
        );
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let server = one.start(&scope, async |cx: Cx| -> End {
                let listener = TcpListener::bind(&cx, "10.0.0.1:80").await?;
                let (_stream, peer) = listener.accept(&cx).await?;
                assert_eq!(peer.ip(), std::net::IpAddr::from([10, 0, 0, 2]));
                Ok(())
            });
            let client = two.start(&scope, async |cx: Cx| -> End {
                TcpListener::bind(&cx, "10.0.0.1:81")
                    .await
                    .expect_err("it is not its own");
                TcpStream::connect(&cx, "127.0.0.1:80")
                    .await
                    .expect_err("that is itself");
                cx.sleep(Duration::from_millis(1)).await?;
                TcpStream::connect(&cx, "10.0.0.1:80").await?;
                Ok(())
            });
            server.join(cx).await.flatten()?;
            client.join(cx).await.flatten()
        })
        .await
    });
}

#[test]
fn what_is_started_on_a_node_that_is_down_never_runs() {
    let _report = run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            node.crash();
            node.crash();
            node.wait_down(cx).await?;
            let task = node.start(&scope, async |_: Cx| -> End { panic!("it ran") });
            assert!(task.join(cx).await.is_cancelled());
            node.crash();
            node.restart();
            let task = node.start(&scope, async |_: Cx| -> End { Ok(()) });
            task.join(cx).await.flatten()
        })
        .await
    });
}

#[test]
fn a_handle_from_before_a_crash_does_nothing_after_it() {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let _report = run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let task = node.start(&scope, async move |cx: Cx| -> End {
                let file = fs::File::create(&cx, "f").await?;
                fs::sync_dir(&cx, ".").await?;
                *keep.lock().unwrap() = Some(file);
                Ok(())
            });
            task.join(cx).await.flatten()?;
            node.crash();
            node.wait_down(cx).await?;
            node.restart();
            let file = kept.lock().unwrap().take().unwrap();
            let error = file.write_all(cx, "late").await.unwrap_err();
            assert!(
                format!("{error:?}").contains("the node has crashed"),
                "{error:?}"
            );
            assert_eq!(node.disk().read("f").unwrap(), b"");
            Ok(())
        })
        .await
    });
}

/// A counter on a node, raised by one job a time; each raise that was told must survive.
async fn counter(cx: Cx, sync: bool) -> Outcome<(), TestError> {
    let node = LabNode::new(&cx, "counter", IP);
    let told = Arc::new(AtomicU32::new(0));
    cx.region(async |scope: Scope<'_, TestError>| -> End {
        let cx = scope.cx();
        loop {
            let tell = Arc::clone(&told);
            let raising = node.start(&scope, async move |cx: Cx| raise(&cx, sync, &tell).await);
            match raising.join(cx).await {
                Outcome::Ok(()) => break,
                Outcome::Cancelled(_) => {}
                other => return other.flatten(),
            }
            node.wait_down(cx).await?;
            let left = node
                .disk()
                .read("count")
                .map_or(0, |bytes| bytes.len() as u32);
            assert!(left >= told.load(Ordering::Relaxed), "a raise was lost");
            node.restart();
        }
        Ok(())
    })
    .await
}

async fn raise(cx: &Cx, sync: bool, told: &AtomicU32) -> End {
    for _ in 0..4 {
        let fs = FsPort::of(cx)?.clone();
        let raised = cx.blocking(move || {
            let options = OpenOptions::new().append(true).create(true);
            let mut file = fs.open(Path::new("count"), &options)?;
            file.write_all(b"1")?;
            if sync {
                file.sync_data()?;
                fs.driver().sync_dir(Path::new("."))?;
            }
            file.metadata().map(|known| known.len)
        });
        let count = u32::try_from(raised.await??).expect("it is small");
        told.store(count, Ordering::Relaxed);
        cx.yield_now().await?;
    }
    Ok(())
}

fn crash_count(trace: &Trace) -> usize {
    let is_crash = |event: &&Event| match event {
        Event::FaultInjected { fault, .. } => **fault == *"node.crash",
        _ => false,
    };
    trace.iter().filter(is_crash).count()
}

#[test]
fn there_are_no_more_crashes_than_allowed() {
    let faults = Faults::none().crash(1.0).at_most(2);
    let config = LabConfig::default().faults(faults).max_steps(10_000);
    let report = LabRuntime::new(config).run(async |cx: Cx| counter(cx, true).await);
    report.assert_clean();
    assert_eq!(crash_count(&report.trace), 2);
}

#[test]
fn a_task_may_be_the_last_thing_before_a_crash() {
    let config = LabConfig::default().faults(Faults::none().crash(1.0).at_most(1));
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            // It uses no disk and no job.
            let task = node.start(&scope, async |cx: Cx| cx.yield_now().await);
            assert!(task.join(scope.cx()).await.is_cancelled());
            node.wait_down(scope.cx()).await?;
            Ok(())
        })
        .await
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn what_closes_the_regions_of_a_node_outlives_the_next_crash() {
    let closed = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&closed);
    let report = run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let task = node.start(&scope, async move |cx: Cx| {
                let inner = cx.region(async |scope: Scope<'_, TestError>| -> End {
                    scope.defer(async move |cx: Cx| {
                        if cx.sleep(Duration::from_secs(1)).await.is_ok() {
                            seen.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    scope.cx().sleep(Duration::from_secs(60)).await?;
                    Ok(())
                });
                inner.await.flatten()
            });
            cx.yield_now().await?;
            cx.sleep(Duration::from_millis(1)).await?;
            for _ in 0..2 {
                node.crash();
                node.wait_down(cx).await?;
                node.restart();
                cx.sleep(Duration::from_millis(1)).await?;
            }
            assert!(task.join(cx).await.is_cancelled());
            Ok(())
        })
        .await
    });
    assert_eq!(closed.load(Ordering::Relaxed), 1);
    assert!(report.elapsed >= Duration::from_secs(1));
    let handed_over = |event: &&Event| matches!(event, Event::RegionAbandoned { .. });
    assert_eq!(report.trace.iter().filter(handed_over).count(), 1);
}

fn crashes() -> LabConfig {
    LabConfig::default().faults(Faults::none().crash(0.05).at_most(3))
}

#[test]
fn an_unsynced_counter_is_found_by_one_crash_and_a_synced_one_is_not() {
    let found = Search::new(crashes()).run(async |cx: Cx| counter(cx, false).await);
    let failure = found.failure.expect("it is found");
    assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    assert_eq!(crash_count(&failure.run.trace), 1);
    let clean = Search::new(crashes()).run(async |cx: Cx| counter(cx, true).await);
    clean.assert_clean();
}

#[test]
fn a_run_with_crashes_is_replayed_event_for_event() {
    let mut crashed = 0;
    for seed in 0..40 {
        let config = crashes().seed(seed);
        let first = LabRuntime::new(config.clone()).run(async |cx: Cx| counter(cx, true).await);
        first.assert_clean();
        let schedule = first.schedule.clone();
        assert!(crash_count(&first.trace) <= 3);
        crashed += usize::from(schedule.faults().contains(&1));
        let again =
            LabRuntime::new(config.replay(schedule)).run(async |cx: Cx| counter(cx, true).await);
        assert_eq!(first.trace.divergence(&again.trace), None, "seed {seed}");
    }
    assert!(crashed > 10, "only {crashed} runs had a crash");
}

/// Whether a fault of this name happens, and what an operation then says.
fn check_disk_fault(disk: DiskFaults, name: &str, kind: std::io::ErrorKind) {
    let (mut seen, mut failed) = (0, 0);
    for seed in 0..60 {
        let faults = Faults::none().disk(disk).at_most(2);
        let config = LabConfig::default().seed(seed).faults(faults);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            fs::write(&cx, "f", "some bytes").await?;
            let file = OpenOptions::new().append(true).open(&cx, "f").await?;
            file.write_all(&cx, "and more").await?;
            file.sync_data(&cx).await
        });
        assert!(report.is_clean(), "{}", report.failure());
        seen += usize::from(report.trace.iter().any(|event| match event {
            Event::FaultInjected { fault, .. } => **fault == *name,
            _ => false,
        }));
        if let Outcome::Err(error) = &report.outcome {
            assert_eq!(error.kind(), kind, "{error:?}");
            failed += 1;
        }
    }
    assert!(
        seen > 0 && seen == failed,
        "{name}: {seen} seen, {failed} failed"
    );
}

#[test]
fn each_fault_of_a_disk_happens_is_named_and_reaches_the_program() {
    use std::io::ErrorKind::{Other, StorageFull};
    let none = DiskFaults::none();
    check_disk_fault(none.full(0.1), "disk.full", StorageFull);
    check_disk_fault(none.io_error(0.1), "disk.io_error", Other);
    check_disk_fault(none.sync_failure(0.2), "disk.sync_failure", Other);
}

#[test]
fn a_write_may_be_short_and_that_is_no_fault() {
    let short = |seed| {
        let faults = Faults::none().disk(DiskFaults::none().short_writes(0.5));
        let config = LabConfig::default().seed(seed).faults(faults);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            let file = fs::File::create(&cx, "f").await?;
            let mut io = file.blocking();
            let taken = cx.blocking(move || io.write(b"0123456789")).await?;
            Ok::<_, TestError>(taken?)
        });
        report.assert_clean();
        let told = report
            .trace
            .iter()
            .any(|event| matches!(event, Event::FaultInjected { .. }));
        assert!(!told);
        report.outcome.ok().unwrap()
    };
    let taken: Vec<usize> = (0..20).map(short).collect();
    assert!(
        taken.iter().all(|taken| (1..=10).contains(taken)),
        "{taken:?}"
    );
    assert!(
        taken.contains(&10) && taken.iter().any(|taken| *taken < 10),
        "{taken:?}"
    );
}

#[test]
fn a_forgotten_folder_is_found() {
    let program = async |cx: Cx, sync_folder: bool| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let task = node.start(&scope, async move |cx: Cx| -> End {
                let file = fs::File::create(&cx, "f").await?;
                file.write_all(&cx, "x").await?;
                file.sync_all(&cx).await?;
                if sync_folder {
                    fs::sync_dir(&cx, ".").await?;
                }
                Ok(())
            });
            let is_told = task.join(cx).await.is_ok();
            node.crash();
            node.wait_down(cx).await?;
            assert!(
                !is_told || node.disk().read("f").is_some(),
                "the file is gone"
            );
            Ok(())
        })
        .await
    };
    let search = Search::new(crashes())
        .strategies([Strategy::Random])
        .schedules(100);
    let found = search.run(async |cx: Cx| program(cx, false).await);
    assert!(found.failure.is_some());
    search
        .run(async |cx: Cx| program(cx, true).await)
        .assert_clean();
}

/// The names of what runs on a node are those that a search gives it by the trace, crash or no crash.
#[test]
fn a_systematic_search_goes_through_a_program_on_a_node() {
    for chance in [0.0, 0.2] {
        let config = LabConfig::default().faults(Faults::none().crash(chance));
        let search = Search::new(config).strategies([Strategy::Dpor]);
        let report = search.run(async |cx: Cx| {
            let node = LabNode::new(&cx, "node", IP);
            cx.region(async |scope: Scope<'_, TestError>| -> End {
                let writing = |name: &'static str| {
                    node.start(&scope, async move |cx: Cx| fs::write(&cx, "f", name).await)
                };
                let (one, other) = (writing("one"), writing("other"));
                drop((one.join(scope.cx()).await, other.join(scope.cx()).await));
                Ok(())
            })
            .await
        });
        assert!(report.diverged.is_none(), "{report}");
        assert!(report.classes > 1 && report.executions < 1_000, "{report}");
        // With faults it has seen every order, and not every fault.
        assert_eq!(report.is_exhausted, chance == 0.0, "{report}");
    }
}

/// A job of several operations is one step, and still a crash may come between them.
#[test]
fn a_crash_cuts_a_job_between_its_operations() {
    let (mut left, mut untold) = (std::collections::BTreeSet::new(), 0);
    for seed in 0..200 {
        let disk = DiskFaults::none().survival(0.0);
        let faults = Faults::none().crash(0.1).disk(disk).at_most(1);
        let config = LabConfig::default().seed(seed).faults(faults);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            let node = LabNode::new(&cx, "node", IP);
            let region = cx.region(async |scope: Scope<'_, TestError>| {
                let writing = node.start(&scope, async |cx: Cx| -> End {
                    let fs = FsPort::of(&cx)?.clone();
                    let job = cx.blocking(move || -> std::io::Result<()> {
                        let options = OpenOptions::new().append(true).create(true);
                        let mut file = fs.open(Path::new("f"), &options)?;
                        fs.driver().sync_dir(Path::new("."))?;
                        for _ in 0..3 {
                            file.write_all(b"x")?;
                            file.sync_data()?;
                        }
                        Ok(())
                    });
                    Ok(job.await??)
                });
                let end = writing.join(scope.cx()).await;
                assert!(end.is_ok() || end.is_cancelled(), "{end:?}");
                Ok::<_, TestError>(end)
            });
            let end = region.await.flatten()?;
            let bytes = node.disk().read("f").map(|bytes| bytes.len());
            Ok::<_, TestError>((bytes, end.is_ok()))
        });
        report.assert_clean();
        let (bytes, is_told) = report.outcome.ok().unwrap();
        left.insert(bytes);
        untold += u32::from(bytes == Some(3) && !is_told);
    }
    assert!(
        untold > 0,
        "no crash came between the job and who waits for it"
    );
    let all = [None, Some(0), Some(1), Some(2), Some(3)];
    assert!(left.iter().eq(&all), "{left:?}");
}

#[test]
fn a_crash_by_call_proves_nothing_but_is_searched_through() {
    let search = Search::new(LabConfig::default()).strategies([Strategy::Dpor]);
    let report = search.run(async |cx: Cx| {
        let node = LabNode::new(&cx, "node", IP);
        cx.region(async |scope: Scope<'_, TestError>| -> End {
            let cx = scope.cx();
            let writing = |name: &'static str| {
                node.start(&scope, async move |cx: Cx| fs::write(&cx, "f", name).await)
            };
            let (one, other) = (writing("one"), writing("other"));
            cx.yield_now().await?;
            node.crash();
            drop((one.join(cx).await, other.join(cx).await));
            node.wait_down(cx).await?;
            node.restart();
            let last = node.start(&scope, async |cx: Cx| fs::write(&cx, "f", "last").await);
            last.join(cx).await.flatten()?;
            Ok(())
        })
        .await
    });
    assert!(
        report.failure.is_none() && report.diverged.is_none(),
        "{report}"
    );
    assert!(!report.is_exhausted, "{report}");
    // The runs go on after the crash, and end before they are used up.
    assert!(
        report.executions < 1_000 && report.redundant < report.executions / 2,
        "{report}"
    );
    assert!(report.classes >= 4, "{report}");
}
