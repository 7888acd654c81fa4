//! Histories of a register, a queue and a map, some of which no order explains.

use std::collections::BTreeMap;
use std::time::Duration;

use asupersync_core::Cancelled;
use proptest::prelude::*;

use super::*;
use crate::{LabConfig, LabRuntime};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Do {
    Write(u32),
    Read,
}

struct Register;

impl Model for Register {
    type State = u32;
    type Op = Do;
    type Ret = u32;

    fn start(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Do) -> (u32, u32) {
        match op {
            Do::Write(value) => (*value, 0),
            Do::Read => (*state, *state),
        }
    }
}

struct Queue;

impl Model for Queue {
    type State = Vec<u32>;
    type Op = Option<u32>;
    type Ret = Option<u32>;

    fn start(&self) -> Vec<u32> {
        Vec::new()
    }

    /// `Some` is put in, `None` takes out.
    fn step(&self, state: &Vec<u32>, op: &Option<u32>) -> (Vec<u32>, Option<u32>) {
        let mut next = state.clone();
        match op {
            Some(value) => {
                next.push(*value);
                (next, None)
            }
            None if next.is_empty() => (next, None),
            None => {
                let first = next.remove(0);
                (next, Some(first))
            }
        }
    }
}

struct Map;

impl Model for Map {
    type State = BTreeMap<u8, u32>;
    /// The key, and the value to put there, if any.
    type Op = (u8, Option<u32>);
    type Ret = Option<u32>;

    fn start(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> (Self::State, Option<u32>) {
        let mut next = state.clone();
        let before = match op.1 {
            Some(value) => next.insert(op.0, value),
            None => next.get(&op.0).copied(),
        };
        (next, before)
    }
}

/// Operations as called, returned, op, result; without a return the outcome is not known.
/// When it began, when it ended with what, and what it was.
type Told<O, R> = (u64, Option<(u64, R)>, O);

fn history<O: Clone, R: Clone>(rows: &[Told<O, R>]) -> Vec<Operation<O, R>> {
    let row = |(called, returned, op): &(u64, Option<(u64, R)>, O)| Operation {
        task: None,
        op: op.clone(),
        called: *called,
        returned: returned.clone(),
    };
    rows.iter().map(row).collect()
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    for seen in [0, 7] {
        let rows = [
            (0, Some((3, 0)), Do::Write(7)),
            (1, Some((2, seen)), Do::Read),
        ];
        assert_eq!(check_linear(&Register, &history(&rows)), Ok(()));
    }
}

#[test]
fn a_stale_read_is_found_with_the_shortest_beginning() {
    let rows = [
        (0, Some((1, 0)), Do::Write(7)),
        (2, Some((3, 0)), Do::Read),
        (4, Some((5, 7)), Do::Read),
    ];
    let error = check_linear(&Register, &history(&rows)).unwrap_err();
    assert_eq!(error.prefix, history(&rows[..2]));
}

#[test]
fn a_value_that_was_seen_does_not_go_again() {
    let rows = [
        (0, Some((9, 0)), Do::Write(7)),
        (1, Some((2, 7)), Do::Read),
        (3, Some((4, 0)), Do::Read),
    ];
    let error = check_linear(&Register, &history(&rows)).unwrap_err();
    assert_eq!(error.prefix.len(), 3);
    assert_eq!(error.prefix[0].returned, None, "the write had not returned");
}

#[test]
fn an_operation_without_an_outcome_may_have_happened_or_not() {
    for seen in [0, 7] {
        let rows = [(0, None, Do::Write(7)), (1, Some((2, seen)), Do::Read)];
        assert_eq!(check_linear(&Register, &history(&rows)), Ok(()));
    }
    let rows = [(3, None, Do::Write(7)), (1, Some((2, 7)), Do::Read)];
    assert!(
        check_linear(&Register, &history(&rows)).is_err(),
        "it came after"
    );
}

#[test]
fn a_queue_that_gives_the_second_first_is_found() {
    let right = [
        (0, Some((1, None)), Some(1)),
        (2, Some((3, None)), Some(2)),
        (4, Some((5, Some(1))), None),
    ];
    assert_eq!(check_linear(&Queue, &history(&right)), Ok(()));
    let mut wrong = right;
    wrong[2].1 = Some((5, Some(2)));
    assert!(check_linear(&Queue, &history(&wrong)).is_err());
    let beside = [
        (0, Some((3, None)), Some(1)),
        (1, Some((2, None)), Some(2)),
        wrong[2],
    ];
    assert_eq!(check_linear(&Queue, &history(&beside)), Ok(()));
}

#[test]
fn a_lost_update_of_a_map_is_found() {
    let rows = [
        (0, Some((2, None)), (1, Some(5))),
        (1, Some((3, None)), (1, Some(6))),
    ];
    let error = check_linear(&Map, &history(&rows)).unwrap_err();
    assert_eq!(error.prefix.len(), 2, "neither saw the other");
    let other_key = [rows[0], (1, Some((3, None)), (2, Some(6)))];
    assert_eq!(check_linear(&Map, &history(&other_key)), Ok(()));
}

#[test]
fn a_dropped_call_is_one_whose_outcome_is_not_known() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
        let log = History::<Do, u32>::new();
        {
            let call = log.record(&cx, Do::Write(1), std::future::pending::<u32>(), |_| {
                Some(0)
            });
            let mut call = std::pin::pin!(call);
            std::future::poll_fn(|task| {
                assert!(call.as_mut().poll(task).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        cx.sleep(Duration::from_secs(1)).await?;
        log.record(&cx, Do::Read, async { 1 }, |seen| Some(*seen))
            .await;
        Ok::<_, Cancelled>(log.take())
    });
    let asupersync_core::Outcome::Ok(log) = report.outcome else {
        panic!("the program gives its history")
    };
    assert_eq!((log.len(), &log[0].returned), (2, &None));
    assert_eq!(check_linear(&Register, &log), Ok(()));
}

/// Every order, without memory and without halving.
fn brute_force(left: &[Operation<Do, u32>], state: u32) -> bool {
    let first_return = left
        .iter()
        .filter_map(|op| op.returned.map(|(at, _)| at))
        .min();
    let Some(first_return) = first_return else {
        return true;
    };
    (0..left.len()).any(|index| {
        let operation = &left[index];
        let (next, gives) = Register.step(&state, &operation.op);
        let fits = operation.returned.is_none_or(|(_, seen)| seen == gives);
        let mut rest = left.to_vec();
        rest.remove(index);
        operation.called < first_return && fits && brute_force(&rest, next)
    })
}

proptest! {
    #[test]
    fn the_checker_agrees_with_every_order(
        rows in prop::collection::vec((0..20_u64, 0..8_u64, 0..3_u32, 0..3_u32, any::<bool>()), 0..6)
    ) {
        let operations: Vec<_> = rows
            .iter()
            .map(|(called, length, value, seen, is_known)| {
                let op = if *value == 0 { Do::Read } else { Do::Write(*value) };
                let seen = if *value == 0 { *seen } else { 0 };
                Operation {
                    task: None,
                    op,
                    called: called * 2,
                    returned: is_known.then_some(((called + length) * 2 + 1, seen)),
                }
            })
            .collect();
        prop_assert_eq!(is_linear(&Register, &operations), brute_force(&operations, 0));
    }
}
