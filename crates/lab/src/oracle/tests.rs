//! Every oracle against a trace in which its law is broken: it fires, and no other does.

use std::time::Duration;

use asupersync_core::{CancelKind, Cancelled, ObligationKind, Outcome};
use asupersync_kernel::{Cx, Obligation};

use std::collections::BTreeSet;

use asupersync_core::RegionId;
use asupersync_kernel::Subject;

use super::*;
use crate::{LabConfig, LabRuntime};

/// A program that uses everything that the oracles watch; its trace is clean.
fn clean() -> Trace {
    let report = LabRuntime::new(LabConfig::default().seed(7)).run(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.defer(async |cx: Cx| {
                    let _ = cx.sleep(Duration::from_millis(1)).await;
                });
                let stubborn = scope.spawn(async |cx: Cx| {
                    let owed = Obligation::reserve(&cx, ObligationKind::Ack);
                    cx.shield(cx.sleep(Duration::from_secs(3600))).await?;
                    drop(owed);
                    Ok::<(), Cancelled>(())
                });
                scope.cx().sleep(Duration::from_millis(1)).await?;
                stubborn.cancel_with(CancelKind::Timeout);
                let _ = stubborn.join(scope.cx()).await;
                Ok::<(), Cancelled>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        Ok::<(), Cancelled>(())
    });
    report.assert_clean();
    report.trace
}

/// The laws broken in the clean trace after `mutate`.
fn broken(mutate: impl FnOnce(&mut Vec<TraceEvent>)) -> BTreeSet<Law> {
    let mut trace = clean();
    mutate(&mut trace.events);
    check_laws(&trace)
        .into_iter()
        .map(|violation| violation.law)
        .collect()
}

fn position(events: &[TraceEvent], wanted: impl Fn(&Event) -> bool) -> usize {
    let found = events.iter().position(|traced| wanted(&traced.event));
    found.expect("the program does this")
}

fn child_ends(event: &Event) -> bool {
    matches!(event, Event::TaskEnded { task, .. } if task.region() == RegionId::new(1))
}

fn check(expected: &[Law], mutate: impl FnOnce(&mut Vec<TraceEvent>)) {
    assert_eq!(broken(mutate), expected.iter().copied().collect());
}

#[test]
fn a_clean_trace_breaks_no_law() {
    check(&[], |_| {});
}

#[test]
fn a_task_that_never_ends_is_a_leak_and_its_region_was_not_quiescent() {
    check(&[Law::TaskLeak, Law::Quiescence], |events| {
        let end = position(events, child_ends);
        events.remove(end);
    });
}

#[test]
fn a_region_that_closes_before_its_task_was_not_quiescent() {
    check(&[Law::Quiescence], |events| {
        let end = position(events, child_ends);
        let end = events.remove(end);
        let region = RegionId::new(1);
        let closed = position(events, |event| *event == Event::RegionClosed { region });
        events.insert(closed + 1, end);
    });
}

#[test]
fn a_region_that_is_never_closed_was_not_quiescent() {
    check(&[Law::Quiescence], |events| {
        let region = RegionId::new(1);
        let closed = position(events, |event| *event == Event::RegionClosed { region });
        events.remove(closed);
    });
}

#[test]
fn a_region_that_goes_back_is_out_of_order() {
    check(&[Law::RegionTree], |events| {
        let finalizing = position(events, |event| {
            matches!(event, Event::RegionFinalizing { .. })
        });
        let again = events[finalizing].clone();
        events.insert(finalizing, again);
    });
}

#[test]
fn a_poll_after_the_end_is_seen() {
    check(&[Law::TaskEnd, Law::DuplicateWake], |events| {
        let end = position(events, child_ends);
        let Event::TaskEnded { task, .. } = events[end].event else {
            unreachable!()
        };
        let mut late = events[end].clone();
        late.event = Event::TaskPolled { task };
        events.insert(end + 1, late);
    });
}

#[test]
fn a_second_end_is_seen() {
    check(&[Law::TaskEnd], |events| {
        let end = position(events, child_ends);
        let again = events[end].clone();
        events.insert(end, again);
    });
}

#[test]
fn an_obligation_that_is_never_settled_is_seen() {
    check(&[Law::ObligationLeak], |events| {
        let settled = position(events, |event| {
            matches!(event, Event::ObligationSettled { .. })
        });
        events.remove(settled);
    });
}

#[test]
fn an_obligation_that_is_settled_twice_is_seen() {
    check(&[Law::ObligationLinearity], |events| {
        let settled = position(events, |event| {
            matches!(event, Event::ObligationSettled { .. })
        });
        let again = events[settled].clone();
        events.insert(settled, again);
    });
}

#[test]
fn an_escalation_without_a_request_is_out_of_order() {
    check(&[Law::CancelOrder], |events| {
        let requested = position(events, |event| {
            matches!(
                event,
                Event::CancelRequested {
                    subject: Subject::Task(_),
                    ..
                }
            )
        });
        events.remove(requested);
    });
}

#[test]
fn a_finalizer_that_outlives_its_region_is_seen() {
    check(&[Law::Finalizers], |events| {
        let ended = position(events, |event| {
            matches!(event, Event::FinalizerEnded { .. })
        });
        events.remove(ended);
    });
}

/// The laws broken in a clean trace in which somebody does this to one resource, before the program ends.
fn operated(operations: &[&'static str]) -> BTreeSet<Law> {
    broken(|events| {
        let end = position(events, child_ends);
        let like = events[end].clone();
        for operation in operations.iter().rev() {
            let mut traced = like.clone();
            traced.event = Event::Operation {
                subject: Some(Subject::Region(RegionId::new(0))),
                resource: 1 << 40,
                name: (*operation).into(),
            };
            events.insert(end, traced);
        }
    })
}

#[test]
fn a_call_is_taken_once_and_answered_or_given_up_once() {
    let legal: [&[&'static str]; 6] = [
        &[
            "session.call",
            "session.take",
            "session.answer",
            "session.end",
        ],
        &[
            "session.call",
            "session.take",
            "session.give_up",
            "session.end",
        ],
        &["session.call", "session.take", "session.leave"],
        &["session.call", "session.refuse", "session.end"],
        &["session.call", "session.leave"],
        &["session.call"],
    ];
    for operations in legal {
        assert_eq!(operated(operations), BTreeSet::new(), "{operations:?}");
    }
    let illegal: [&[&'static str]; 6] = [
        &[
            "session.call",
            "session.take",
            "session.take",
            "session.answer",
        ],
        &[
            "session.call",
            "session.take",
            "session.answer",
            "session.answer",
        ],
        &[
            "session.call",
            "session.take",
            "session.answer",
            "session.give_up",
        ],
        &[
            "session.call",
            "session.take",
            "session.give_up",
            "session.answer",
        ],
        &["session.call", "session.answer", "session.end"],
        &["session.call", "session.take"],
    ];
    for operations in illegal {
        let expected = BTreeSet::from([Law::ChannelConservation]);
        assert_eq!(operated(operations), expected, "{operations:?}");
    }
}

/// Another thread's message was received before its sender came to say so.
#[test]
fn a_resource_that_was_used_outside_every_task_is_not_judged_at_all() {
    let conservation = BTreeSet::from([Law::ChannelConservation]);
    assert_eq!(operated(&["mpsc.recv"]), conservation);
    assert_eq!(operated(&["mpsc.recv", UNTRACED]), BTreeSet::new());
    // It is fair as it was before, when it is read again.
    let mut trace = clean();
    let place = position(&trace.events, child_ends);
    let like = trace.events[place].clone();
    for name in ["mpsc.recv", UNTRACED] {
        let event = Event::Operation {
            subject: Some(Subject::Region(RegionId::new(0))),
            resource: 1 << 40,
            name: name.into(),
        };
        trace.events.insert(
            place,
            TraceEvent {
                event,
                ..like.clone()
            },
        );
    }
    let is_poll = |traced: &TraceEvent| matches!(traced.event, Event::TaskPolled { .. });
    let last = trace.events.iter().rposition(is_poll);
    for traced in &mut trace.events[last.expect("it is polled")..] {
        traced.step += 1_000_000;
    }
    let laws = |is_fair| -> BTreeSet<Law> {
        let found = check_finished(&trace, is_fair).into_iter();
        found.map(|violation| violation.law).collect()
    };
    assert_eq!(laws(false), BTreeSet::new());
    assert_eq!(laws(true), BTreeSet::from([Law::Starvation]));
}
