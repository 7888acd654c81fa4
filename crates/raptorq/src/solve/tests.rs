use super::*;
use crate::code::Code;
use crate::kernel::{Backend, Kernel};

fn stream(len: usize) -> Vec<u8> {
    let mut state = 25_392_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

/// Encodes a block, then checks that the code is systematic: every source symbol comes back.
fn check(k: u32, symbol: usize) {
    let code = Code::new(k).unwrap();
    let data = stream(k as usize * symbol);
    let plan = Plan::encoding(code);
    let source = Source {
        bytes: &data,
        symbol,
        slots: None,
    };
    let kernel = Kernel::chosen();
    let intermediate = plan.execute(kernel, &source);
    let mut out = vec![0; symbol];
    for esi in 0..code.extended_symbols() {
        intermediate.encode(kernel, &code, esi, &mut out);
        let expected = data
            .chunks(symbol)
            .nth(esi as usize)
            .map_or(vec![0; symbol], <[u8]>::to_vec);
        assert_eq!(out, expected, "K {k} symbol {esi}");
    }
}

#[test]
fn source_symbols_are_encoding_symbols() {
    for (k, symbol) in [
        (1, 8),
        (10, 64),
        (11, 13),
        (26, 1),
        (100, 1280),
        (257, 300),
        (1000, 24),
    ] {
        check(k, symbol);
    }
}

#[test]
fn a_block_larger_than_the_cache_passes_in_strips() {
    check(1000, 1279);
}

#[test]
fn every_backend_computes_the_same_intermediate_symbols() {
    let code = Code::new(50).unwrap();
    let data = stream(50 * 700);
    let plan = Plan::encoding(code);
    let source = Source {
        bytes: &data,
        symbol: 700,
        slots: None,
    };
    let digest = |backend| {
        let kernel = Kernel::of(backend)?;
        let intermediate = plan.execute(&kernel, &source);
        let mut out = vec![0; 700];
        intermediate.encode(&kernel, &code, 77, &mut out);
        Some(out)
    };
    let scalar = digest(Backend::Scalar).unwrap();
    for backend in Backend::ALL {
        assert!(digest(backend).is_none_or(|out| out == scalar), "{backend}");
    }
}

#[test]
fn too_few_rows_are_reported_with_their_number() {
    let code = Code::new(10).unwrap();
    let error = Plan::solve(code, 0..7, SolveOptions::default()).unwrap_err();
    assert_eq!(error, SolveError::RankDeficient { missing: 3 });
}

#[test]
fn every_policy_finds_a_plan_for_the_same_rows() {
    let code = Code::new(300).unwrap();
    for policy in [Policy::Baseline, Policy::HighSupport] {
        let options = SolveOptions {
            policy: Some(policy),
            ..SolveOptions::default()
        };
        let plan = Plan::solve(code, 1000..1000 + code.extended + 3, options).unwrap();
        assert!(plan.stats().inactive < code.extended);
    }
}

#[test]
fn rows_without_low_degrees_change_the_policy_and_meet_the_bound() {
    let code = Code::new(400).unwrap();
    let mut terms = Vec::new();
    let dense: Vec<u32> = (0..1 << 20)
        .filter(|&isi| {
            terms.clear();
            code.terms(isi, &mut terms) >= 8
        })
        .take(code.extended as usize + 20)
        .collect();
    let plan = Plan::solve(code, dense.iter().copied(), SolveOptions::default()).unwrap();
    let first = plan.stats().events[0];
    assert_eq!(
        (first.to, first.reason),
        (Policy::HighSupport, PolicyReason::LowDegreeRowsScarce)
    );
    let limit = plan.stats().inactive - 1;
    let options = SolveOptions {
        inactive_max: limit,
        policy: None,
    };
    let error = Plan::solve(code, dense.iter().copied(), options).unwrap_err();
    assert_eq!(error, SolveError::TooDense { limit });
}

#[test]
fn many_extra_rows_leave_the_hdpc_rows_unused() {
    let code = Code::new(100).unwrap();
    let plan = Plan::solve(code, 500..650, SolveOptions::default()).unwrap();
    assert_eq!(plan.stats().by_hdpc, 0);
    assert!(
        plan.stats()
            .events
            .iter()
            .any(|e| e.reason == PolicyReason::BinaryRowsSuffice)
    );
}
