//! The recovery figures of Section 5.8, for random symbols and `K = K'`.
//!
//! A trial draws distinct identifiers and asks whether the rows have full rank; the octets follow
//! from the rank, as the vectors show. `K' + 0` may fail once in a hundred, `K' + 1` once in ten
//! thousand, `K' + 2` once in a million.

use std::collections::BTreeSet;

use asupersync_raptorq::{Code, Plan, SolveError, SolveOptions};

use crate::data::{DataError, Random};
use crate::{Context, Tally};

/// The share that runs with `--quick`.
const SHORT: u32 = 10;

pub(crate) fn plus_zero(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    for k in [10, 26, 101] {
        rate(
            context,
            &mut tally,
            k,
            0,
            share(context, 20_000),
            share(context, 200),
        );
    }
    Ok(tally)
}

pub(crate) fn plus_one(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    rate(
        context,
        &mut tally,
        10,
        1,
        share(context, 200_000),
        share(context, 20),
    );
    Ok(tally)
}

/// Runs only if trials are asked for.
pub(crate) fn plus_two(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    if context.plus_two > 0 {
        // Twice the promised rate, and at least one: a million trials may fail twice.
        let most = (context.plus_two / 500_000).max(1);
        rate(context, &mut tally, 10, 2, context.plus_two, most);
    }
    Ok(tally)
}

fn share(context: &Context, whole: u32) -> u32 {
    if context.quick { whole / SHORT } else { whole }
}

fn rate(context: &Context, tally: &mut Tally, k: u32, extra: u32, trials: u32, most: u32) {
    let Ok(code) = Code::new(k) else {
        tally.case(false, || format!("K = {k} has no code"));
        return;
    };
    let mut random = Random(context.seed ^ u64::from(k) << 32 ^ u64::from(extra) << 16);
    let mut failures = 0;
    for _ in 0..trials {
        let mut symbols = BTreeSet::new();
        while symbols.len() < (k + extra) as usize {
            symbols.insert(random.below(1 << 24));
        }
        let isis: Vec<u32> = symbols
            .into_iter()
            .map(|esi| code.internal_id(esi))
            .collect();
        match Plan::solve(code, isis.into_iter(), SolveOptions::default()) {
            Ok(_) => {}
            Err(SolveError::RankDeficient { .. }) => failures += 1,
            Err(error) => tally.case(false, || format!("K' = {k} + {extra}: {error}")),
        }
    }
    println!(
        "  K' = {k} + {extra}: {failures} failures in {trials} trials, at most {most} allowed"
    );
    tally.case(failures <= most, || {
        format!("K' = {k} + {extra}: {failures} of {trials} fail")
    });
}
