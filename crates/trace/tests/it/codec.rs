//! The binary form: what goes in comes out, and nothing else gets in.

use std::path::Path;

use asupersync_core::{
    Budget, CancelKind, CancelStage, ObligationId, ObligationKind, RegionId, Severity, TaskId, Time,
};
use asupersync_kernel::{Event, Name, Settlement, Subject};
use asupersync_trace::{DecodeError, Trace, TraceEvent, VERSION, fuzz_decode};
use proptest::prelude::*;

/// One event of every kind, from numbers.
fn event(kind: u8, a: u64, b: u32, choice: u8, text: &str) -> Event {
    let region = RegionId::new(a);
    let task = TaskId::new(RegionId::new(a / 2), b);
    let obligation = ObligationId::new(a);
    let at = Time::from_nanos(a);
    let subject = if choice.is_multiple_of(2) {
        Subject::Region(region)
    } else {
        Subject::Task(task)
    };
    let maybe = (!choice.is_multiple_of(3)).then_some(subject);
    let one_of = |count: u8| usize::from(choice % count);
    let severity = [
        Severity::Ok,
        Severity::Err,
        Severity::Cancelled,
        Severity::Panicked,
    ][one_of(4)];
    let reason = [
        CancelKind::User,
        CancelKind::Timeout,
        CancelKind::Deadline,
        CancelKind::PollQuota,
        CancelKind::CostBudget,
        CancelKind::FailFast,
        CancelKind::RaceLost,
        CancelKind::LinkedExit,
        CancelKind::ParentCancelled,
        CancelKind::ResourceUnavailable,
        CancelKind::Shutdown,
    ][one_of(11)];
    let stage = [
        CancelStage::Requested,
        CancelStage::Unshielded,
        CancelStage::Dropped,
    ][one_of(3)];
    let owed = [
        ObligationKind::SendPermit,
        ObligationKind::Ack,
        ObligationKind::Lease,
        ObligationKind::IoOp,
        ObligationKind::SemaphorePermit,
        ObligationKind::Transaction,
        ObligationKind::Reply,
    ][one_of(7)];
    let settlement = [
        Settlement::Committed,
        Settlement::Aborted,
        Settlement::Dropped,
        Settlement::Leaked,
    ][one_of(4)];
    match kind % KINDS {
        0 => Event::RegionOpened {
            region,
            parent: maybe,
        },
        1 => Event::RegionClosing {
            region,
            body: severity,
        },
        2 => Event::RegionFinalizing { region },
        3 => Event::RegionClosed { region },
        4 => Event::RegionAbandoned { region, heir: task },
        5 => Event::TaskSpawned {
            task,
            pinned: choice > 9,
            site: Name::shared(text),
            line: b,
        },
        6 => Event::TaskPolled { task },
        7 => Event::TaskWoken { task },
        8 => Event::TaskEnded { task, severity },
        9 => Event::EndSuppressed { task, severity },
        10 => Event::CancelRequested {
            subject,
            kind: reason,
        },
        11 => Event::CancelEscalated { subject, stage },
        12 => Event::Masked { subject },
        13 => Event::Unmasked { subject },
        14 => Event::FinalizerStarted { region },
        15 => Event::FinalizerEnded { region, severity },
        16 => Event::ObligationReserved {
            obligation,
            holder: subject,
            kind: owed,
        },
        17 => Event::ObligationSettled {
            obligation,
            settlement,
        },
        18 => Event::TimerSet { at },
        19 => Event::TimerFired { at },
        20 => Event::TimerCancelled { at },
        21 => Event::EntropyDrawn { value: a },
        22 => Event::Mark {
            subject,
            text: text.to_owned(),
        },
        23 => Event::WakeMerged { task },
        24 => Event::TaskAwaited {
            task,
            ended: choice > 9,
        },
        25 => Event::TaskNamed {
            task,
            name: Name::shared(text),
        },
        26 => Event::ClockAdvanced { to: at },
        27 => Event::JobQueued { job: a },
        28 => Event::JobStarted { job: a },
        29 => Event::FaultInjected {
            subject: maybe,
            fault: Name::shared(text),
        },
        30 => Event::BudgetNarrowed {
            subject,
            budget: Budget {
                deadline: choice.is_multiple_of(2).then_some(at),
                poll_quota: b,
                cost_quota: choice.is_multiple_of(3).then_some(a),
                priority: choice,
            },
        },
        31 => Event::CostSpent { subject, cost: a },
        32 => Event::FinalizerAdded { region },
        33 => Event::FailureTaken { task },
        34 => Event::PermitsMoved {
            resource: a,
            change: a.cast_signed(),
            free: u64::from(b),
        },
        35 => Event::CancelUnchanged { subject },
        36 => Event::Operation {
            subject: maybe,
            resource: a,
            name: Name::shared(text),
        },
        37 => Event::EventsOverwritten { count: a },
        38 => Event::MessagesMoved {
            resource: a,
            change: a.cast_signed(),
            held: u64::from(b),
        },
        _ => Event::HostJobQueued { job: a },
    }
}

const KINDS: u8 = 40;
/// Those that version 2 began with; what came later has a pin of its own.
const PINNED_KINDS: u8 = 37;

fn traces() -> impl Strategy<Value = Trace> {
    let number = prop_oneof![0..40_u64, any::<u64>()];
    let events = (
        number.clone(),
        number.clone(),
        any::<u8>(),
        number,
        any::<u32>(),
        any::<u8>(),
        ".{0,12}",
    );
    let events = events.prop_map(|(at, step, kind, a, b, choice, text)| TraceEvent {
        at: Time::from_nanos(at),
        step,
        event: event(kind, a, b, choice, &text),
    });
    prop::collection::vec(events, 0..60).prop_map(|events| Trace { events })
}

/// Every kind of event that version 2 began with, and every value of every table.
fn golden() -> Trace {
    let events = (0..PINNED_KINDS).flat_map(|kind| {
        (0..12_u8).map(move |choice| {
            let number = u64::from(kind) * 3 + u64::from(choice);
            let text = ["mutex.lock", "src/main.rs:7:9", "grüße"][usize::from(choice % 3)];
            TraceEvent {
                at: Time::from_millis(number / 5),
                step: number,
                event: event(kind, number, u32::from(choice), choice, text),
            }
        })
    });
    Trace {
        events: events.collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| {
        let digits: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        digits + "\n"
    });
    lines.collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A file of an older build is read for ever, and the same trace gives the same bytes.
#[test]
fn version_2_is_what_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/v2.hex");
    let trace = golden();
    let bytes = trace.encode().unwrap();
    if std::env::var("ASUPERSYNC_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, hex(&bytes)).unwrap();
    }
    let pinned = unhex(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(Trace::decode(&pinned), Ok(trace));
    assert!(
        pinned == bytes,
        "version 2 is written differently; a change needs a new version"
    );
}

/// What was added to version 2 since: a count of overwritten events, a job of no region, and messages that moved.
#[test]
fn later_events_of_version_2_are_what_they_were() {
    let moved = Event::MessagesMoved {
        resource: 300,
        change: -2,
        held: 300,
    };
    // No names, one event: the time and the step zigzagged, the tag, the figures as varints.
    let pins: [(Event, &[u8]); 3] = [
        (Event::EventsOverwritten { count: 300 }, &[37, 0xac, 0x02]),
        (Event::HostJobQueued { job: 300 }, &[38, 0xac, 0x02]),
        // The resource and the change are signed.
        (moved, &[39, 0xd8, 0x04, 3, 0xac, 0x02]),
    ];
    for (event, fields) in pins {
        let at = Time::from_nanos(5);
        let trace = Trace {
            events: vec![TraceEvent { at, step: 0, event }],
        };
        let bytes = trace.encode().unwrap();
        let body = [&[0, 1, 10, 0], fields].concat();
        assert_eq!(bytes[bytes.len() - body.len()..], body);
        assert_eq!(Trace::decode(&bytes), Ok(trace));
    }
}

#[test]
fn a_trace_takes_a_few_bytes_an_event() {
    let events = (0..1000_u64).map(|step| {
        let task = TaskId::new(RegionId::new(1), (step % 7) as u32);
        let (at, subject) = (Time::from_millis(step / 10), Some(Subject::Task(task)));
        let event = match step % 2 {
            0 => Event::TaskPolled { task },
            _ => Event::Operation {
                subject,
                resource: step % 5,
                name: "mutex.lock".into(),
            },
        };
        TraceEvent { at, step, event }
    });
    let bytes = Trace {
        events: events.collect(),
    }
    .encode()
    .unwrap();
    assert!(bytes.len() < 8000, "{} bytes", bytes.len());
}

#[test]
fn every_beginning_of_a_file_says_that_it_is_cut() {
    let bytes = golden().encode().unwrap();
    assert_eq!(Trace::decode(b""), Err(DecodeError::NotATrace));
    for end in 1..bytes.len() {
        let error = Trace::decode(&bytes[..end]);
        assert!(
            matches!(error, Err(DecodeError::Truncated { .. })),
            "{end}: {error:?}"
        );
    }
    let longer = [&bytes[..], &[0, 0]].concat();
    assert_eq!(
        Trace::decode(&longer),
        Err(DecodeError::TrailingBytes { count: 2 })
    );
}

#[test]
fn a_flipped_bit_anywhere_is_an_error() {
    let bytes = golden().encode().unwrap();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << bit;
            assert!(
                Trace::decode(&damaged).is_err(),
                "bit {bit} of byte {index}"
            );
        }
    }
}

#[test]
fn foreign_files_say_what_they_are() {
    for foreign in [
        &b"GIF89a"[..],
        b"\x7fELF",
        b"0.000000000s #0 RegionOpened",
        &[0; 64],
    ] {
        assert_eq!(Trace::decode(foreign), Err(DecodeError::NotATrace));
    }
    let mut newer = golden().encode().unwrap();
    newer[4] = VERSION + 1;
    let unknown = DecodeError::UnknownVersion {
        version: VERSION + 1,
        supported: VERSION,
    };
    assert_eq!(
        unknown.to_string(),
        "the trace has version 3, and version 2 can be read"
    );
    assert_eq!(Trace::decode(&newer), Err(unknown));
    newer[4] = VERSION;
    newer[5] = 0x82;
    assert_eq!(
        Trace::decode(&newer),
        Err(DecodeError::UnknownFlags { flags: 0x82 })
    );
}

#[cfg(not(feature = "trace-compression"))]
#[test]
fn a_compressed_file_says_which_feature_it_needs() {
    let mut bytes = golden().encode().unwrap();
    bytes[5] = 1;
    assert_eq!(Trace::decode(&bytes), Err(DecodeError::CompressionNotBuilt));
}

#[cfg(feature = "trace-compression")]
#[test]
fn a_compressed_trace_is_the_same_and_smaller() {
    let trace = golden();
    let bytes = trace.encode_compressed().unwrap();
    assert!(bytes.len() < trace.encode().unwrap().len());
    assert_eq!(Trace::decode(&bytes), Ok(trace));
    // Bytes that are no LZ4 block, whatever size they claim.
    for body in [
        &[0xff, 0xff, 0xff, 0xff, 0x0f, 0xff][..],
        &[4, 0xff, 1],
        &[],
        &[0],
    ] {
        fuzz_decode(body);
    }
}

proptest! {
    #[test]
    fn what_is_decoded_is_what_was_encoded(trace in traces()) {
        let bytes = trace.encode().unwrap();
        prop_assert_eq!(Trace::decode(&bytes), Ok(trace.clone()));
        #[cfg(feature = "trace-compression")]
        prop_assert_eq!(Trace::decode(&trace.encode_compressed().unwrap()), Ok(trace));
    }

    #[test]
    fn any_bytes_are_a_trace_or_an_error(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_decode(&data);
    }

    /// The body of a real file, damaged behind a checksum that fits.
    #[test]
    fn a_damaged_body_is_a_trace_or_an_error(trace in traces(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let file = trace.encode().unwrap();
        // Behind magic, version, flags, a length of one to three bytes, and the checksum.
        let length = (6..).position(|index| file[index] < 0x80).unwrap() + 1;
        let mut body = file[6 + length + 4..].to_vec();
        let at = at.index(body.len());
        body[at] = to;
        fuzz_decode(&body);
    }
}
