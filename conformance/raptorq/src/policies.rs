//! What each policy makes of honest rows, and of rows chosen to be dense.

use std::collections::BTreeSet;

use asupersync_raptorq::{Code, Plan, Policy, SolveError, SolveOptions};

use crate::data::{DataError, Random};
use crate::{Context, Tally};

/// Rows beyond `K'`, so that every set is decodable.
const EXTRA: usize = 20;

/// Prints the inactive columns of each; honest rows must need few, and no policy may fail.
pub(crate) fn policies(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    for k in [100, 1000, 10_000] {
        let Ok(code) = Code::new(k) else {
            tally.case(false, || format!("K = {k} has no code"));
            continue;
        };
        for least in [1, 3, 5, 10] {
            let isis = rows(&code, least, context.seed);
            let name = format!("K = {k}, degrees from {least}");
            let solve = |policy| {
                let options = SolveOptions {
                    inactive_max: u32::MAX,
                    policy,
                };
                let plan = Plan::solve(code, isis.iter().copied(), options);
                plan.map(|plan| plan.stats().inactive)
            };
            let chosen = solve(None);
            let baseline = solve(Some(Policy::Baseline));
            let support = solve(Some(Policy::HighSupport));
            let (Ok(chosen), Ok(baseline), Ok(support)) = (chosen, baseline, support) else {
                tally.case(false, || format!("{name}: a policy fails"));
                continue;
            };
            println!("  {name}: inactive {chosen}; baseline {baseline}, high support {support}");
            tally.case(chosen * 10 <= baseline * 11, || {
                format!("{name}: the choice is poor")
            });
            if least == 1 {
                let few =
                    code.intermediate_symbols().isqrt() + code.intermediate_symbols() / 50 + 30;
                tally.case(chosen <= few, || {
                    format!("{name}: honest rows need {chosen}")
                });
            }
            let options = SolveOptions {
                inactive_max: chosen - 1,
                policy: None,
            };
            let refused = Plan::solve(code, isis.iter().copied(), options);
            let is_bounded = matches!(refused, Err(SolveError::TooDense { .. })) || least == 1;
            tally.case(is_bounded, || format!("{name}: the bound does not hold"));
        }
    }
    Ok(tally)
}

/// Distinct random symbols whose LT degree is at least `least`.
fn rows(code: &Code, least: u32, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut symbols = BTreeSet::new();
    while symbols.len() < code.extended_symbols() as usize + EXTRA {
        let isi = code.internal_id(random.below(1 << 24));
        if code.degree(isi) >= least {
            symbols.insert(isi);
        }
    }
    symbols.into_iter().collect()
}
