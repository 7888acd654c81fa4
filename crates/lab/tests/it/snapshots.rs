//! Snapshots: of everything that a program can consist of, reached again, and no change of one goes unseen.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use asupersync_combinator::race;
use asupersync_core::{CancelKind, CancelStage, Cancelled, ObligationKind, Outcome};
use asupersync_kernel::{Cx, Obligation, SpawnOptions};
use asupersync_lab::{
    LabConfig, LabEnd, LabRuntime, RestorableSnapshot, SNAPSHOT_VERSION, SnapshotError,
};
use asupersync_sync::{Mutex, mpsc};
use asupersync_trace::{Asking, RunState, WaitsFor};
use proptest::prelude::*;

type End = Result<(), Cancelled>;

const SECOND: Duration = Duration::from_secs(1);

/// Regions in regions, fibers, races, a region whose future is dropped, finalizers, jobs, locks, channels and obligations.
async fn everything(cx: Cx) -> Outcome<(), Cancelled> {
    let lock = Arc::new(Mutex::new(0));
    let (sender, mut receiver) = mpsc::channel(1);
    cx.region(async |scope| {
        scope.defer(async |cx: Cx| drop(cx.sleep(SECOND).await));
        for index in 0..3 {
            let (lock, sender) = (Arc::clone(&lock), sender.clone());
            let named = SpawnOptions::new().name(format!("worker {index}"));
            scope.spawn_with(named, async move |cx: Cx| {
                let owed = Obligation::reserve(&cx, ObligationKind::Ack);
                let mut guard = lock.lock(&cx).await.expect("nobody is cancelled");
                *guard += 1;
                cx.sleep(SECOND).await?;
                drop(guard);
                owed.commit().expect("it is not leaked");
                sender.send(&cx, index).await.expect("it is received");
                End::Ok(())
            });
        }
        for _ in 0..3 {
            receiver.recv(scope.cx()).await.expect("three are sent");
        }
        leave_a_region(scope.cx()).await;
        let sleepy = async |cx: Cx| cx.sleep(60 * SECOND).await;
        let _ = race(scope.cx(), (sleepy, async |cx: Cx| cx.sleep(SECOND).await)).await;
        let fiber = scope.fiber(async |cx: Cx| {
            let nested = cx.region(async |inner| {
                inner.spawn(async |cx: Cx| {
                    cx.blocking(|| ()).await.expect("nobody is cancelled");
                    End::Ok(())
                });
                End::Ok(())
            });
            nested.await
        });
        let _ = fiber.await;
        End::Ok(())
    })
    .await
}

/// Drops a region's future while a task sleeps in it.
async fn leave_a_region(cx: &Cx) {
    let mut left = pin!(cx.region(async |scope| {
        scope.spawn(async |cx: Cx| cx.shield(cx.sleep(SECOND)).await);
        std::future::pending::<()>().await;
        End::Ok(())
    }));
    std::future::poll_fn(|task| {
        let _ = left.as_mut().poll(task);
        Poll::Ready(())
    })
    .await;
}

fn config(seed: u64) -> LabConfig {
    LabConfig::default().seed(seed)
}

/// Snapshots after every step of a whole run.
fn every_step(seed: u64) -> Vec<RestorableSnapshot> {
    let config = (0..300).fold(config(seed), LabConfig::snapshot_at);
    let report = LabRuntime::new(config).run(everything);
    report.assert_clean();
    assert_eq!(report.snapshots.len() as u64, report.steps + 1);
    report.snapshots
}

/// In a debug build each is compared with the kernel's own tree when it is taken.
#[test]
fn every_step_is_valid_and_reached_again() {
    for seed in 0..10 {
        for (step, snapshot) in (0..).zip(every_step(seed)) {
            assert_eq!(snapshot.step(), step);
            snapshot.verify_integrity().unwrap();
            snapshot.validate().unwrap();
            let again = LabRuntime::new(snapshot.restore(config(999))).run(everything);
            assert_eq!(again.snapshots, [snapshot]);
        }
    }
}

#[test]
fn another_schedule_has_another_hash() {
    let (one, other) = (every_step(1), every_step(2));
    let common = one.iter().zip(&other);
    let equal = common.filter(|(one, other)| one.content_hash() == other.content_hash());
    assert_eq!(equal.count(), 0, "the seed is part of it");
}

#[test]
fn what_a_program_is_and_waits_for_stands_in_it() {
    let snapshots = every_step(3);
    let some = |is_so: &dyn Fn(&RestorableSnapshot) -> bool| snapshots.iter().any(is_so);
    let shown = |text: &'static str| some(&|snapshot| snapshot.to_string().contains(text));
    for text in [
        "worker 2",
        "runnable",
        "sleeps until",
        "owes O",
        "waits for mutex",
        "waits at mpsc",
        "abandoned",
        "fiber",
        "finalizing",
        "asked to stop: User (Requested)",
    ] {
        assert!(shown(text), "{text}");
    }
    let held = |snapshot: &RestorableSnapshot| {
        let mut waits = snapshot.structure.waits.iter();
        waits.any(|waiting| {
            matches!(
                waiting.on,
                WaitsFor::Resource {
                    holder: Some(_),
                    ..
                }
            )
        })
    };
    assert!(some(&held));
}

#[test]
fn a_stalled_program_shows_its_circle_of_waits() {
    let config = LabConfig::default().snapshot_at(0).snapshot_at(1_000);
    let stalled = |config| {
        LabRuntime::new(config).run(async |cx: Cx| {
            let (left, right) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let end = cx.region(async |scope| {
                for (first, second) in [(&left, &right), (&right, &left)] {
                    let (first, second) = (Arc::clone(first), Arc::clone(second));
                    scope.spawn(async move |cx: Cx| {
                        let _first = first.lock(&cx).await.expect("nobody is cancelled");
                        cx.sleep(SECOND).await?;
                        let _second = second.lock(&cx).await;
                        End::Ok(())
                    });
                }
                End::Ok(())
            });
            end.await
        })
    };
    let report = stalled(config);
    assert!(matches!(report.end, LabEnd::Stalled(_)));
    assert_eq!(report.snapshots.len(), 1, "it never came to step 1000");
    let last = LabConfig::default().snapshot_at(report.steps);
    let snapshots = stalled(last).snapshots;
    let snapshot = &snapshots[0];
    snapshot.validate().unwrap();
    let text = snapshot.to_string();
    for (waiter, holder) in [("T1.0", "T1.1"), ("T1.1", "T1.0")] {
        let mut lines = text.lines();
        let line = lines.find(|line| line.trim_start().starts_with(waiter));
        let line = line.unwrap_or_default();
        assert!(line.contains("waits for mutex r"), "{text}");
        assert!(line.ends_with(&format!(" of {holder}")), "{text}");
    }
}

#[test]
fn a_run_that_keeps_no_events_has_no_snapshots() {
    let config = config(0).capture_trace(false).snapshot_at(0);
    assert_eq!(LabRuntime::new(config).run(everything).snapshots, []);
}

/// A snapshot with all that one can have.
fn rich() -> RestorableSnapshot {
    let rich = every_step(3).into_iter().find(|snapshot| {
        let structure = &snapshot.structure;
        !structure.obligations.is_empty()
            && !structure.timers.is_empty()
            && !structure.waits.is_empty()
            && !snapshot.schedule.picks().is_empty()
    });
    rich.expect("some step has all of it")
}

#[test]
fn a_change_of_any_field_does_not_verify() {
    let changes: [fn(&mut RestorableSnapshot); 17] = [
        |s| s.version += 1,
        |s| s.seed += 1,
        |s| s.schedule = "picks=7".parse().unwrap(),
        |s| s.structure.step += 1,
        |s| s.structure.now += SECOND,
        |s| assert!(s.structure.regions.pop_last().is_some()),
        |s| {
            s.structure
                .regions
                .values_mut()
                .for_each(|r| r.parent = None)
        },
        |s| {
            s.structure
                .regions
                .values_mut()
                .for_each(|r| r.is_abandoned ^= true)
        },
        |s| {
            s.structure
                .tasks
                .values_mut()
                .for_each(|t| t.name = Some("other".to_owned()))
        },
        |s| s.structure.tasks.values_mut().for_each(|t| t.line += 1),
        |s| {
            s.structure
                .tasks
                .values_mut()
                .for_each(|t| t.is_fiber ^= true)
        },
        |s| {
            let tasks = s.structure.tasks.values_mut();
            tasks.for_each(|t| t.deadline = Some(asupersync_core::Time::MAX));
        },
        |s| {
            let asked = Asking {
                kind: CancelKind::Deadline,
                stage: CancelStage::Dropped,
            };
            s.structure
                .tasks
                .values_mut()
                .for_each(|t| t.asked = Some(asked));
        },
        |s| {
            let tasks = s.structure.tasks.values_mut();
            tasks.for_each(|t| t.run = RunState::Ended(asupersync_core::Severity::Ok));
        },
        |s| assert!(s.structure.obligations.pop_first().is_some()),
        |s| assert!(s.structure.timers.pop().is_some()),
        |s| assert!(s.structure.waits.pop().is_some()),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut snapshot = rich();
        change(&mut snapshot);
        let error = snapshot.verify_integrity().unwrap_err();
        let is_version = matches!(error, SnapshotError::UnknownVersion { version: 2 });
        let is_hash = matches!(error, SnapshotError::HashMismatch { .. });
        assert_eq!(
            (is_version, is_hash),
            (index == 0, index != 0),
            "change {index}"
        );
    }
}

#[test]
fn a_structure_that_cannot_be_is_named() {
    let mut snapshot = rich();
    snapshot.structure.regions.pop_first();
    let invalid = snapshot.validate().unwrap_err();
    assert_eq!(invalid.step, snapshot.step());
    assert!(
        invalid
            .to_string()
            .contains("the region of T0.0 is not there"),
        "{invalid}"
    );
}

#[test]
fn what_is_no_snapshot_says_so() {
    let text = rich().encode();
    let refused = |text: &str| RestorableSnapshot::decode(text).unwrap_err();
    assert!(matches!(refused("\x7fELF"), SnapshotError::NotASnapshot));
    assert!(matches!(
        refused("asupersync snapshot one\n"),
        SnapshotError::NotASnapshot
    ));
    let newer = text.replacen("snapshot 1", "snapshot 2", 1);
    assert!(matches!(
        refused(&newer),
        SnapshotError::UnknownVersion { version: 2 }
    ));
    let (head, _) = text.split_once("seed").unwrap();
    assert!(matches!(
        refused(head),
        SnapshotError::Malformed { line: "seed" }
    ));
    assert_eq!(SNAPSHOT_VERSION, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A flipped bit is no snapshot any more, or one that does not verify.
    #[test]
    fn a_flipped_bit_never_verifies(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        thread_local! {
            static TEXT: String = rich().encode();
        }
        let mut bytes = TEXT.with(|text| text.clone().into_bytes());
        let index = place.index(bytes.len());
        bytes[index] ^= 1 << bit;
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(snapshot) = RestorableSnapshot::decode(text)
        {
            prop_assert!(snapshot.verify_integrity().is_err(), "byte {}", index);
        }
    }

    #[test]
    fn any_text_is_a_snapshot_or_none(text in ".*") {
        let headed = format!("asupersync snapshot 1\nhash: {text}");
        for text in [text.as_str(), headed.as_str()] {
            prop_assert!(RestorableSnapshot::decode(text).is_err());
        }
    }
}
