//! The laws: an id, a statement, and a check on random programs.

use asupersync_core::{Budget, Outcome, Severity, Time, join_outcomes};

use super::program::{Case, End, Fault, Layer, Program, Run, Value, run_alone, run_dropped};
use super::reference::{Meaning, agrees, meaning};

/// A law, and how it is checked.
pub(crate) struct Law {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) statement: &'static str,
    pub(crate) check: fn(&Case) -> Result<Found, String>,
}

/// What a case said about a law that it did not break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    Holds,
    /// The order of things of one moment decides, or the case is not of the law's kind.
    Silent,
}

pub(crate) const LAWS: &[Law] = &[
    Law {
        id: "L1",
        name: "severity lattice",
        statement: "Joining outcomes takes the worse one: associative, commutative and idempotent in severity, with a value as its neutral element.",
        check: severity_lattice,
    },
    Law {
        id: "L2",
        name: "budget semilattice",
        statement: "The meet of budgets is associative, commutative and idempotent, and the unlimited budget is its neutral element.",
        check: budget_semilattice,
    },
    Law {
        id: "L3",
        name: "reference",
        statement: "A program ends as a pure interpreter in virtual time says, at the same time, under every schedule.",
        check: reference,
    },
    Law {
        id: "L4",
        name: "join associativity",
        statement: "`join(a, join(b, c))` is `join(join(a, b), c)`, up to the nesting of the values; if somebody panics, in severity.",
        check: join_associativity,
    },
    Law {
        id: "L5",
        name: "join commutativity",
        statement: "`join(a, b)` is `join(b, a)`, up to the order of the values and to which of equally bad ends is told.",
        check: join_commutativity,
    },
    Law {
        id: "L6",
        name: "race commutativity",
        statement: "`race(a, b)` is `race(b, a)`, up to who is first of those that end in one moment.",
        check: race_commutativity,
    },
    Law {
        id: "L7",
        name: "race associativity",
        statement: "`race(a, race(b, c))` is `race(race(a, b), c)` where losers drain at once.",
        check: race_associativity,
    },
    Law {
        id: "L8",
        name: "timeout-min",
        statement: "`timeout(x, timeout(y, f))` is `timeout(min(x, y), f)`.",
        check: timeout_min,
    },
    Law {
        id: "L9",
        name: "bracket safety",
        statement: "What a bracket acquired is released exactly once: after a value, an error, a panic, a cancellation at any moment, and a drop at any await.",
        check: bracket_safety,
    },
    Law {
        id: "L10",
        name: "loser drained",
        statement: "When a combinator returns, every branch has come to its own end: none still runs, and none was dropped on the way.",
        check: loser_drained,
    },
    Law {
        id: "L11",
        name: "first_ok and quorum",
        statement: "`first_ok` is `quorum` of 1.",
        check: first_ok_is_quorum,
    },
    Law {
        id: "L12",
        name: "quorum and join",
        statement: "`quorum` of all n succeeds if and only if `join` does, then with the same values at the same time.",
        check: quorum_is_join,
    },
    Law {
        id: "L13",
        name: "try_join and join",
        statement: "`try_join` succeeds if and only if `join` does, then with the same values at the same time.",
        check: try_join_is_join,
    },
    Law {
        id: "L14",
        name: "fallback",
        statement: "`fallback(a, b)` is `a` unless that ends with an error; then it is `b`, later by the time of `a`.",
        check: fallback_law,
    },
    Law {
        id: "L15",
        name: "groups of one",
        statement: "`race`, `join`, `try_join` and `first_ok` of one branch end as it does.",
        check: groups_of_one,
    },
    Law {
        id: "L16",
        name: "task and inline",
        statement: "A body that runs as a task of a region and is joined ends as it would inline.",
        check: task_is_inline,
    },
    Law {
        id: "L17",
        name: "retry of one",
        statement: "A retry of one attempt is the attempt.",
        check: retry_of_one,
    },
    Law {
        id: "L18",
        name: "retry",
        statement: "`retry(n, d, a)` is `a` unless that ends with an error; then it is that error, after `n` times the time of `a` and `n - 1` times `d`.",
        check: retry_law,
    },
    Law {
        id: "L19",
        name: "idle strategies",
        statement: "A breaker, bulkhead, rate limit, shedder, adaptive limit and chaos that have nothing to do are the identity.",
        check: idle_is_identity,
    },
    Law {
        id: "L20",
        name: "policies compose",
        statement: "The policy of `x` and `y` is the policy of `x` around that of `y`.",
        check: policies_compose,
    },
    Law {
        id: "L21",
        name: "timeout strategy",
        statement: "The policy of one timeout is `timeout`.",
        check: timeout_strategy,
    },
];

const SEVERITIES: [Severity; 4] = [
    Severity::Ok,
    Severity::Err,
    Severity::Cancelled,
    Severity::Panicked,
];

fn holds(holds: bool, what: impl FnOnce() -> String) -> Result<Found, String> {
    if holds { Ok(Found::Holds) } else { Err(what()) }
}

/// Runs a program, and compares it with the reference on the way.
fn run(program: &Program, seed: u64) -> Result<Run, String> {
    let run = run_alone(program, seed)?;
    agrees(program, &run)?;
    Ok(run)
}

/// Runs two programs of which both have one meaning, and compares what `view` sees of them.
fn alike<V: PartialEq + std::fmt::Debug>(
    case: &Case,
    (left, right): (&Program, &Program),
    view: impl Fn(&Run) -> V,
) -> Result<Found, String> {
    let (first, second) = (run(left, case.seed)?, run(right, case.seed)?);
    if meaning(left).is_none() || meaning(right).is_none() {
        return Ok(Found::Silent);
    }
    let (first, second) = (view(&first), view(&second));
    holds(first == second, || {
        format!("{left:?} gave {first:?}, {right:?} gave {second:?}")
    })
}

fn everything(run: &Run) -> (u64, Meaning) {
    (run.ticks, Meaning::of(&run.end))
}

fn join(of: [&Program; 2]) -> Program {
    Program::Join(of.map(Program::clone).to_vec())
}

fn race(of: [&Program; 2]) -> Program {
    Program::Race(of.map(Program::clone).to_vec())
}

fn severity_lattice(case: &Case) -> Result<Found, String> {
    let ends =
        [&case.a, &case.b, &case.c].map(|program| run(program, case.seed).map(|run| run.end));
    let [a, b, c] = ends;
    let (a, b, c) = (a?, b?, c?);
    let both = |x: &End, y: &End| {
        join_outcomes(x.clone(), y.clone()).map(|(x, y)| Value::Many(vec![x, y]))
    };
    let nothing = Outcome::Ok(Value::Many(Vec::new()));
    let severity = |end: End| end.severity();
    let associative = severity(both(&a, &both(&b, &c))) == severity(both(&both(&a, &b), &c));
    let commutative = severity(both(&a, &b)) == severity(both(&b, &a));
    let idempotent = severity(both(&a, &a)) == a.severity();
    let neutral = severity(both(&a, &nothing)) == a.severity();
    let worse = severity(both(&a, &b)) == a.severity().max(b.severity());
    // The order itself is total.
    let total = SEVERITIES.windows(2).all(|pair| pair[0] < pair[1]);
    holds(
        associative && commutative && idempotent && neutral && worse && total,
        || format!("{a:?}, {b:?}, {c:?}"),
    )
}

fn budget_semilattice(case: &Case) -> Result<Found, String> {
    let bits = case.seed;
    let budget = |shift: u32| {
        let part = |at: u32| u64::from((bits.rotate_right(shift + at) & 7) as u8);
        Budget {
            deadline: (part(0) > 1).then(|| Time::from_nanos(part(3) + u64::from(case.x))),
            poll_quota: u32::try_from(part(6)).expect("three bits"),
            cost_quota: (part(9) > 1).then(|| part(12)),
            priority: u8::try_from(part(15)).expect("three bits"),
        }
    };
    let (a, b, c) = (budget(0), budget(20), budget(40));
    holds(
        a.meet(b).meet(c) == a.meet(b.meet(c))
            && a.meet(b) == b.meet(a)
            && a.meet(a) == a
            && a.meet(Budget::UNLIMITED) == a,
        || format!("{a:?}, {b:?}, {c:?}"),
    )
}

fn reference(case: &Case) -> Result<Found, String> {
    let mut found = Found::Silent;
    for seed in [case.seed, case.seed ^ 1, case.seed ^ 2] {
        if agrees(&case.a, &run_alone(&case.a, seed)?)? {
            found = Found::Holds;
        }
    }
    Ok(found)
}

fn join_associativity(case: &Case) -> Result<Found, String> {
    let left = join([&case.a, &join([&case.b, &case.c])]);
    let right = join([&join([&case.a, &case.b]), &case.c]);
    let flat = |value: Value, is_right: bool| match value {
        Value::Many(mut pair) if pair.len() == 2 => {
            let (second, first) = (pair.pop(), pair.pop());
            let (nested, single) = if is_right {
                (first, second)
            } else {
                (second, first)
            };
            let Some(Value::Many(mut inner)) = nested else {
                return pair;
            };
            let at = if is_right { inner.len() } else { 0 };
            inner.splice(at..at, single);
            inner
        }
        other => vec![other],
    };
    let severity = |run: &Run| run.end.severity();
    if run(&left, case.seed)?.end.severity() == Severity::Panicked {
        return alike(case, (&left, &right), severity);
    }
    let (first, second) = (run(&left, case.seed)?, run(&right, case.seed)?);
    if meaning(&left).is_none() || meaning(&right).is_none() {
        return Ok(Found::Silent);
    }
    let view = |run: Run, is_right| {
        let end = match Meaning::of(&run.end) {
            Meaning::Ok(value) => Ok(flat(value, is_right)),
            bad => Err(bad),
        };
        (run.ticks, end)
    };
    let (first, second) = (view(first, false), view(second, true));
    holds(first == second, || format!("{first:?} and {second:?}"))
}

fn join_commutativity(case: &Case) -> Result<Found, String> {
    let sides = (&join([&case.a, &case.b]), &join([&case.b, &case.a]));
    let (first, second) = (run(sides.0, case.seed)?, run(sides.1, case.seed)?);
    if let (Outcome::Ok(Value::Many(values)), Outcome::Ok(Value::Many(swapped))) =
        (&first.end, &second.end)
    {
        let back: Vec<_> = swapped.iter().rev().cloned().collect();
        return holds(*values == back && first.ticks == second.ticks, || {
            format!("{values:?} and {swapped:?}")
        });
    }
    alike(case, sides, |run| (run.ticks, run.end.severity()))
}

fn race_commutativity(case: &Case) -> Result<Found, String> {
    let sides = (&race([&case.a, &case.b]), &race([&case.b, &case.a]));
    alike(case, sides, everything)
}

fn race_associativity(case: &Case) -> Result<Found, String> {
    let (a, b, c) = (&case.a.prompt(), &case.b.prompt(), &case.c.prompt());
    let sides = (&race([a, &race([b, c])]), &race([&race([a, b]), c]));
    alike(case, sides, everything)
}

fn timeout_min(case: &Case) -> Result<Found, String> {
    // Long enough for both to matter now and then.
    let (x, y) = (case.x * 17, case.y * 17);
    if x == y {
        return Ok(Found::Silent);
    }
    let nested = Program::timeout(x, Program::timeout(y, case.a.clone()));
    alike(
        case,
        (&nested, &Program::timeout(x.min(y), case.a.clone())),
        everything,
    )
}

fn bracket_safety(case: &Case) -> Result<Found, String> {
    let bracket = Program::Bracket(1 + case.x % 3, Box::new(case.a.clone()), case.y % 9);
    // Every run keeps books of what was acquired and released.
    run(&bracket, case.seed)?;
    run(&Program::timeout(case.x * 7, bracket.clone()), case.seed)?;
    run(&race([&bracket, &case.b]), case.seed)?;
    for polls in [1, 2, 3, 5, 8] {
        run_dropped(&bracket, polls, case.seed)?;
        run_dropped(&race([&case.c, &bracket]), polls + case.x % 4, case.seed)?;
    }
    Ok(Found::Holds)
}

fn loser_drained(case: &Case) -> Result<Found, String> {
    let clean = |ticks: u16, of: &Program| Program::Clean(ticks, Box::new(of.clone()));
    let (a, b) = (clean(case.x, &case.a), clean(case.y, &case.b));
    let all = vec![a, Program::Spawn(Box::new(b)), case.c.clone()];
    // Every run counts, at the end of each combinator, who was started and who came to an end.
    for program in [
        Program::Race(all.clone()),
        Program::TryJoin(all.clone()),
        Program::FirstOk(all.clone()),
        Program::Quorum(2, all.clone()),
        Program::timeout(case.x * 9, Program::Join(all)),
    ] {
        run(&program, case.seed)?;
    }
    Ok(Found::Holds)
}

fn first_ok_is_quorum(case: &Case) -> Result<Found, String> {
    let all = vec![case.a.clone(), case.b.clone(), case.c.clone()];
    let sides = (&Program::FirstOk(all.clone()), &Program::Quorum(1, all));
    alike(case, sides, |run| {
        let end = match Meaning::of(&run.end) {
            Meaning::Err(Fault::Impossible(errors)) => Meaning::Err(Fault::AllFailed(errors)),
            end => end,
        };
        (run.ticks, unwrapped(end))
    })
}

/// A value without the lists of one around it.
fn unwrapped(end: Meaning) -> Meaning {
    match end {
        Meaning::Ok(Value::Many(mut one)) if one.len() == 1 => {
            unwrapped(Meaning::Ok(one.remove(0)))
        }
        end => end,
    }
}

/// A fault without the lists of one around it.
fn only_fault(fault: Fault) -> Fault {
    match fault {
        Fault::AllFailed(mut one) if one.len() == 1 => only_fault(one.remove(0)),
        fault => fault,
    }
}

/// Two programs of which both succeed or neither does, and that give the same then.
fn same_success(case: &Case, left: &Program, right: &Program) -> Result<Found, String> {
    alike(case, (left, right), |run| {
        run.end.is_ok().then(|| everything(run))
    })
}

fn quorum_is_join(case: &Case) -> Result<Found, String> {
    let all = vec![case.a.clone(), case.b.clone(), case.c.clone()];
    same_success(case, &Program::Quorum(3, all.clone()), &Program::Join(all))
}

fn try_join_is_join(case: &Case) -> Result<Found, String> {
    let all = vec![case.a.clone(), case.b.clone(), case.c.clone()];
    same_success(case, &Program::TryJoin(all.clone()), &Program::Join(all))
}

fn fallback_law(case: &Case) -> Result<Found, String> {
    let (first, second) = (run(&case.a, case.seed)?, run(&case.b, case.seed)?);
    let both = Program::Fallback(Box::new(case.a.clone()), Box::new(case.b.clone()));
    let whole = run(&both, case.seed)?;
    if [&case.a, &case.b, &both]
        .iter()
        .any(|side| meaning(side).is_none())
    {
        return Ok(Found::Silent);
    }
    let expected = match Meaning::of(&first.end) {
        Meaning::Err(_) => (first.ticks + second.ticks, Meaning::of(&second.end)),
        end => (first.ticks, end),
    };
    let found = everything(&whole);
    holds(found == expected, || {
        format!("{found:?} instead of {expected:?}")
    })
}

fn groups_of_one(case: &Case) -> Result<Found, String> {
    let one = || vec![case.a.clone()];
    let mut found = Found::Silent;
    for group in [
        Program::Race(one()),
        Program::Join(one()),
        Program::TryJoin(one()),
        Program::FirstOk(one()),
    ] {
        // A list of one, of values or errors, counts as what is in it.
        let view = |run: &Run| match Meaning::of(&run.end) {
            Meaning::Err(fault) => (run.ticks, Meaning::Err(only_fault(fault))),
            end => (run.ticks, unwrapped(end)),
        };
        if alike(case, (&group, &case.a), view)? == Found::Holds {
            found = Found::Holds;
        }
    }
    Ok(found)
}

fn task_is_inline(case: &Case) -> Result<Found, String> {
    let task = Program::Spawn(Box::new(case.a.clone()));
    alike(case, (&task, &case.a), everything)
}

fn policy(layers: &[Layer], of: &Program) -> Program {
    Program::Policy(layers.to_vec(), Box::new(of.clone()))
}

fn retry_of_one(case: &Case) -> Result<Found, String> {
    let once = policy(&[Layer::Retry(1, case.x)], &case.a);
    alike(case, (&once, &case.a), everything)
}

fn retry_law(case: &Case) -> Result<Found, String> {
    let attempts = 2 + u8::try_from(case.y % 3).expect("it is below 3");
    let retry = policy(&[Layer::Retry(attempts, case.x)], &case.a);
    let (one, all) = (run(&case.a, case.seed)?, run(&retry, case.seed)?);
    if meaning(&case.a).is_none() || meaning(&retry).is_none() {
        return Ok(Found::Silent);
    }
    let mut expected = everything(&one);
    if matches!(expected.1, Meaning::Err(_)) {
        let (attempts, delay) = (u64::from(attempts), u64::from(case.x));
        expected.0 = attempts * one.ticks + (attempts - 1) * delay;
    }
    let found = everything(&all);
    holds(found == expected, || {
        format!("{found:?} instead of {expected:?}")
    })
}

fn idle_is_identity(case: &Case) -> Result<Found, String> {
    let idle = policy(&[Layer::Idle, Layer::Idle], &case.a);
    alike(case, (&idle, &case.a), everything)
}

fn policies_compose(case: &Case) -> Result<Found, String> {
    let retry = Layer::Retry(3, case.x);
    let timeout = Layer::Timeout(case.y * 17);
    let mut found = Found::Silent;
    for (outer, inner) in [(retry, timeout), (timeout, retry), (Layer::Idle, retry)] {
        let both = policy(&[outer, inner], &case.a);
        let nested = policy(&[outer], &policy(&[inner], &case.a));
        if alike(case, (&both, &nested), everything)? == Found::Holds {
            found = Found::Holds;
        }
    }
    Ok(found)
}

fn timeout_strategy(case: &Case) -> Result<Found, String> {
    let ticks = case.x * 17;
    let sides = (
        &policy(&[Layer::Timeout(ticks)], &case.a),
        &Program::timeout(ticks, case.a.clone()),
    );
    alike(case, sides, everything)
}
