//! Readers of one lock come and go in any order: the search takes their orders for one, and misses nothing of what a writer or the line makes of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use asupersync_core::Outcome;
use asupersync_kernel::{Cx, Event, Scope};
use asupersync_lab::{LabConfig, LabRuntime, Search, SearchReport, Strategy, Trace};
use asupersync_sync::{LockError, RwLock};
use asupersync_trace::{Fingerprint, fingerprint, steps};

/// What the tasks of one run saw, in the order of their names.
type Seen = Arc<Mutex<Vec<u32>>>;

/// So many readers and writers; each holds the lock over a yield, and says which value it found.
async fn program(cx: Cx, readers: usize, writers: usize, seen: Seen) -> Outcome<(), LockError> {
    let lock = Arc::new(RwLock::new(0_u32));
    cx.region(async |scope: Scope<'_, LockError>| {
        for place in 0..readers + writers {
            let (lock, seen) = (Arc::clone(&lock), Arc::clone(&seen));
            scope.spawn(async move |cx: Cx| {
                let found = if place < readers {
                    let held = lock.read(&cx).await?;
                    cx.yield_now().await?;
                    *held
                } else {
                    let mut held = lock.write(&cx).await?;
                    *held += 1;
                    cx.yield_now().await?;
                    *held
                };
                seen.lock().unwrap_or_else(PoisonError::into_inner)[place] = found;
                Ok::<_, LockError>(())
            });
        }
        Ok::<_, LockError>(())
    })
    .await
}

/// The search's report, and all that any run of it saw.
fn searched(
    (readers, writers): (usize, usize),
    strategy: Strategy,
) -> (SearchReport, BTreeSet<Vec<u32>>) {
    let all = Arc::new(Mutex::new(BTreeSet::new()));
    let report = Search::new(LabConfig::default())
        .strategies([strategy])
        .schedules(200_000)
        .run(async |cx: Cx| {
            let seen: Seen = Arc::new(Mutex::new(vec![0; readers + writers]));
            let end = program(cx, readers, writers, Arc::clone(&seen)).await;
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(seen);
            end
        });
    report.assert_clean();
    assert!(report.is_exhausted, "{report}");
    let all = all.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (report, all)
}

#[track_caller]
fn check(who: (usize, usize), classes: u64) {
    let (every, seen_by_every) = searched(who, Strategy::All);
    let (report, seen) = searched(who, Strategy::Dpor);
    assert_eq!(report.classes, every.classes, "of {who:?}: {report}");
    assert_eq!(seen, seen_by_every, "of {who:?}");
    assert_eq!(report.classes, classes, "of {who:?}");
}

#[test]
fn readers_alone_are_of_one_class() {
    check((2, 0), 1);
    check((3, 0), 1);
}

#[test]
fn what_a_writer_makes_of_readers_is_found_as_by_all_interleavings() {
    check((1, 1), 4);
    check((2, 1), 36);
    check((1, 2), 48);
}

#[test]
fn more_classes_are_told_apart_where_a_read_counts_as_a_write() {
    let unknown = |trace: &Trace| {
        let mut trace = trace.clone();
        for traced in &mut trace.events {
            if let Event::Operation { name, .. } = &mut traced.event
                && matches!(name.as_str(), "rwlock.read" | "rwlock.release")
            {
                *name = "unknown.write".into();
            }
        }
        trace
    };
    let (mut classes, mut told_apart) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..3_000 {
        let seen: Seen = Arc::new(Mutex::new(vec![0; 3]));
        let lab = LabRuntime::new(LabConfig::default().seed(seed));
        let report = lab.run(async |cx: Cx| program(cx, 2, 1, seen).await);
        report.assert_clean();
        let of = |trace: &Trace| -> Fingerprint { fingerprint(&steps(trace)) };
        classes.insert(of(&report.trace));
        told_apart.insert(of(&unknown(&report.trace)));
    }
    assert_eq!((classes.len(), told_apart.len()), (36, 62));
}
