//! What programs mean: a pure interpreter in virtual time, without a runtime.
//!
//! It says nothing of programs in which the order of things of one moment decides.

use asupersync_core::{Outcome, Severity};

use super::program::{Fault, Layer, Program, Run, Value};

/// How a program ends; cancellations are not told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Ok(Value),
    Err(Fault),
    Cancelled,
    Panicked(String),
}

impl Meaning {
    pub(crate) fn of(end: &super::program::End) -> Self {
        match end {
            Outcome::Ok(value) => Self::Ok(value.clone()),
            Outcome::Err(fault) => Self::Err(fault.clone()),
            Outcome::Cancelled(_) => Self::Cancelled,
            Outcome::Panicked(payload) => Self::Panicked(payload.message().to_owned()),
        }
    }

    pub(crate) const fn severity(&self) -> Severity {
        match self {
            Self::Ok(_) => Severity::Ok,
            Self::Err(_) => Severity::Err,
            Self::Cancelled => Severity::Cancelled,
            Self::Panicked(_) => Severity::Panicked,
        }
    }
}

type At = (u64, Meaning);

/// Compares a run with what the program means; `Ok(false)` where the reference is silent.
pub(crate) fn agrees(program: &Program, run: &Run) -> Result<bool, String> {
    let Some((at, meaning)) = meaning(program) else {
        return Ok(false);
    };
    let found = (run.ticks, Meaning::of(&run.end));
    if found == (at, meaning.clone()) {
        Ok(true)
    } else {
        Err(format!(
            "{program:?} gave {found:?}, but means {:?}",
            (at, meaning)
        ))
    }
}

/// When and how a program ends that starts at 0 and is not disturbed.
pub(crate) fn meaning(program: &Program) -> Option<At> {
    eval(program, 0, u64::MAX)
}

/// A program that starts at `start` and is asked to stop at `stop`.
fn eval(program: &Program, start: u64, stop: u64) -> Option<At> {
    match program {
        Program::Value(value) => Some((start, Meaning::Ok(Value::One(*value)))),
        Program::Fail(code) => Some((start, Meaning::Err(Fault::Code(*code)))),
        Program::Panic(code) => Some((start, Meaning::Panicked(format!("panic {code}")))),
        Program::Sleep(ticks, then) => match slept(*ticks, start, stop)? {
            (end, true) => eval(then, end, stop),
            (end, false) => Some((end, Meaning::Cancelled)),
        },
        Program::Yield(0, then) => eval(then, start, stop),
        Program::Yield(_, then) => match stop {
            stop if stop < start => Some((start, Meaning::Cancelled)),
            stop if stop == start => None,
            _ => eval(then, start, stop),
        },
        Program::Spawn(of) => spawned(of, start, stop),
        Program::Clean(ticks, of) => {
            let (end, meaning) = eval(of, start, stop)?;
            let cleanup = if meaning == Meaning::Cancelled {
                u64::from(*ticks)
            } else {
                0
            };
            Some((end + cleanup, meaning))
        }
        Program::Timeout(ticks, of) => timed(*ticks, of, start, stop),
        Program::Fallback(first, second) => match branch(first, start, stop)? {
            (end, Meaning::Err(_)) => branch(second, end, stop),
            ended => Some(ended),
        },
        Program::Bracket(acquire, of, release) => match slept(*acquire, start, stop)? {
            (end, true) => {
                let (end, meaning) = eval(of, end, stop)?;
                Some((end + u64::from(*release), meaning))
            }
            (end, false) => Some((end, Meaning::Cancelled)),
        },
        Program::Policy(layers, of) => policy(layers, of, start, stop),
        Program::Join(of) => group(of, start, stop, Rule::Join),
        Program::TryJoin(of) => group(of, start, stop, Rule::TryJoin),
        Program::Race(of) => group(of, start, stop, Rule::Race),
        Program::FirstOk(of) => group(of, start, stop, Rule::FirstOk),
        Program::Quorum(needed, of) => group(of, start, stop, Rule::Quorum(*needed)),
    }
}

/// When a sleep ends, and whether by itself.
fn slept(ticks: u16, start: u64, stop: u64) -> Option<(u64, bool)> {
    let end = start + u64::from(ticks);
    match stop {
        stop if stop <= start => Some((start, false)),
        stop if stop < end => Some((stop, false)),
        stop if stop == end => None,
        _ => Some((end, true)),
    }
}

/// A branch is not started once it was asked to stop.
fn branch(program: &Program, start: u64, stop: u64) -> Option<At> {
    match stop {
        stop if stop < start => Some((start, Meaning::Cancelled)),
        // It may have been started in the moment in which it was stopped, or not.
        stop if stop == start => match program {
            Program::Sleep(..) | Program::Bracket(..) => eval(program, start, stop),
            _ => None,
        },
        _ => eval(program, start, stop),
    }
}

/// The joiner hears of the request at once; the region then waits for the task.
fn spawned(of: &Program, start: u64, stop: u64) -> Option<At> {
    if stop <= start {
        return None;
    }
    let (end, meaning) = eval(of, start, stop)?;
    if end < stop {
        return Some((end, meaning));
    }
    match meaning {
        Meaning::Panicked(_) | Meaning::Cancelled => Some((end, meaning)),
        Meaning::Ok(_) | Meaning::Err(_) if end == stop => None,
        Meaning::Ok(_) | Meaning::Err(_) => Some((end, Meaning::Cancelled)),
    }
}

fn timed(ticks: u16, of: &Program, start: u64, stop: u64) -> Option<At> {
    let due = start + u64::from(ticks);
    let (end, meaning) = eval(of, start, stop)?;
    if end < due || stop < due {
        return Some((end, meaning));
    }
    if end == due || stop == due {
        return None;
    }
    let (end, meaning) = eval(of, start, due)?;
    match meaning {
        Meaning::Cancelled if stop <= end => None,
        Meaning::Cancelled => Some((end, Meaning::Err(Fault::Elapsed))),
        kept => Some((end, kept)),
    }
}

/// A policy is its outermost strategy around the policy of the others.
fn policy(layers: &[Layer], of: &Program, start: u64, stop: u64) -> Option<At> {
    if stop < start {
        return Some((start, Meaning::Cancelled));
    }
    if stop == start {
        return None;
    }
    let Some((outer, rest)) = layers.split_first() else {
        return eval(of, start, stop);
    };
    let inner = Program::Policy(rest.to_vec(), Box::new(of.clone()));
    match *outer {
        Layer::Idle => eval(&inner, start, stop),
        Layer::Timeout(ticks) => timed(ticks, &inner, start, stop),
        Layer::Retry(attempts, delay) => {
            let mut start = start;
            for _ in 1..attempts {
                let (end, meaning) = eval(&inner, start, stop)?;
                if !matches!(meaning, Meaning::Err(_)) {
                    return Some((end, meaning));
                }
                match slept(delay, end, stop)? {
                    (end, true) => start = end,
                    (end, false) => return Some((end, Meaning::Cancelled)),
                }
            }
            eval(&inner, start, stop)
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Join,
    TryJoin,
    Race,
    FirstOk,
    Quorum(usize),
}

impl Rule {
    /// Whether it is decided, when these have ended, the last one just now.
    fn decides(self, ended: &[Severity], count: usize) -> bool {
        let last = *ended.last().expect("one has just ended");
        let succeeded = ended.iter().filter(|end| **end == Severity::Ok).count();
        let failed = ended.len() - succeeded;
        match self {
            _ if last == Severity::Panicked => true,
            Self::Join => false,
            Self::TryJoin => last != Severity::Ok,
            Self::Race => true,
            Self::FirstOk => succeeded == 1,
            Self::Quorum(needed) => succeeded == needed || count - failed < needed,
        }
    }
}

fn group(of: &[Program], start: u64, stop: u64, rule: Rule) -> Option<At> {
    match rule {
        Rule::Quorum(0) => return Some((start, Meaning::Ok(Value::Many(Vec::new())))),
        Rule::Quorum(needed) if needed > of.len() => {
            return Some((start, Meaning::Err(Fault::Impossible(Vec::new()))));
        }
        _ => {}
    }
    let undisturbed: Option<Vec<At>> = of.iter().map(|one| branch(one, start, stop)).collect();
    let undisturbed = undisturbed?;
    let mut order: Vec<usize> = (0..of.len()).collect();
    order.sort_by_key(|index| undisturbed[*index].0);
    let mut ended = Vec::new();
    let mut decided = None;
    for (place, &index) in order.iter().enumerate() {
        ended.push(undisturbed[index].1.severity());
        if rule.decides(&ended, of.len()) {
            decided = Some((place, index));
            break;
        }
    }
    let Some((place, lead)) = decided else {
        let end = undisturbed
            .iter()
            .map(|(end, _)| *end)
            .max()
            .unwrap_or(start);
        return combine(rule, &undisturbed, &order, None).map(|meaning| (end, meaning));
    };
    let at = undisturbed[lead].0;
    // Of those that end in this very moment, any might have been first.
    let is_tied =
        |other: &usize| undisturbed[*other].0 == at && undisturbed[*other].1 != undisturbed[lead].1;
    if order.iter().any(is_tied) {
        return None;
    }
    let mut ends = Vec::new();
    for (index, one) in of.iter().enumerate() {
        let was_before = undisturbed[index].0 <= at;
        ends.push(if was_before {
            undisturbed[index].clone()
        } else {
            branch(one, start, at.min(stop))?
        });
    }
    let end = ends.iter().map(|(end, _)| *end).max().unwrap_or(start);
    combine(rule, &ends, &order[..=place], Some(lead)).map(|meaning| (end, meaning))
}

/// One end of all; `counted` are those that ended before it was decided.
fn combine(rule: Rule, ends: &[At], counted: &[usize], lead: Option<usize>) -> Option<Meaning> {
    let panics: Vec<_> = ends
        .iter()
        .filter(|(_, end)| end.severity() == Severity::Panicked)
        .collect();
    match panics[..] {
        [] => {}
        [(_, panic)] => return Some(panic.clone()),
        // Which of several is told depends on which came first.
        _ => return None,
    }
    let lead = lead.map(|lead| ends[lead].1.clone());
    let mut counted = counted.to_vec();
    counted.sort_unstable();
    let seen = || counted.iter().map(|index| &ends[*index].1);
    let values: Vec<Value> = seen().filter_map(value_of).collect();
    let faults: Vec<Fault> = seen().filter_map(fault_of).collect();
    let was_cancelled = seen().any(|end| *end == Meaning::Cancelled);
    Some(match (rule, lead) {
        (Rule::TryJoin | Rule::Race, Some(lead)) => lead,
        (Rule::Join | Rule::TryJoin | Rule::Race, _) => worst(ends),
        (Rule::FirstOk, _) if !values.is_empty() => Meaning::Ok(values[0].clone()),
        (Rule::Quorum(needed), _) if values.len() >= needed => Meaning::Ok(Value::Many(values)),
        (Rule::FirstOk | Rule::Quorum(_), _) if was_cancelled => Meaning::Cancelled,
        (Rule::FirstOk, _) => Meaning::Err(Fault::AllFailed(faults)),
        (Rule::Quorum(_), _) => Meaning::Err(Fault::Impossible(faults)),
    })
}

fn worst(ends: &[At]) -> Meaning {
    let mut worst: Option<&Meaning> = None;
    for (_, end) in ends {
        if worst.is_none_or(|worst| end.severity() > worst.severity()) {
            worst = Some(end);
        }
    }
    match worst {
        Some(bad) if bad.severity() > Severity::Ok => bad.clone(),
        _ => Meaning::Ok(Value::Many(
            ends.iter().filter_map(|(_, end)| value_of(end)).collect(),
        )),
    }
}

fn value_of(end: &Meaning) -> Option<Value> {
    match end {
        Meaning::Ok(value) => Some(value.clone()),
        Meaning::Err(_) | Meaning::Cancelled | Meaning::Panicked(_) => None,
    }
}

fn fault_of(end: &Meaning) -> Option<Fault> {
    match end {
        Meaning::Err(fault) => Some(fault.clone()),
        Meaning::Ok(_) | Meaning::Cancelled | Meaning::Panicked(_) => None,
    }
}
