//! The law sheet: every law is a value with a check, run over random programs on the lab.
//!
//! `docs/laws.md` is written from it by `cargo xtask laws --write`.

mod program;
mod reference;
mod sheet;

use std::cell::Cell;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use program::{Case, Program, programs};
use sheet::{Found, LAWS};

/// How many random cases each law is checked on.
fn cases() -> u32 {
    let asked = std::env::var("ASUPERSYNC_SEEDS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(200)
}

fn case() -> impl Strategy<Value = Case> {
    let ticks = || 1_u16..60;
    let programs = (programs(), programs(), programs());
    (programs, ticks(), ticks(), any::<u64>()).prop_map(|((a, b, c), x, y, seed)| Case {
        a,
        b,
        c,
        x,
        y,
        seed,
    })
}

/// Checks one law on random cases; enough of them must say something.
fn check(id: &str) {
    let law = LAWS
        .iter()
        .find(|law| law.id == id)
        .expect("a law of the sheet");
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let (all, told) = (Cell::new(0_u32), Cell::new(0_u32));
    let end = runner.run(&case(), |case| {
        all.set(all.get() + 1);
        match (law.check)(&case) {
            Ok(Found::Holds) => told.set(told.get() + 1),
            Ok(Found::Silent) => {}
            Err(broken) => prop_assert!(false, "{id} `{}`: {broken}", law.name),
        }
        Ok(())
    });
    if let Err(error) = end {
        panic!("{error}");
    }
    assert!(
        told.get() * 5 >= all.get(),
        "{id} said something on {} of {} cases only",
        told.get(),
        all.get()
    );
}

macro_rules! laws {
    ($($id:ident $test:ident)+) => {
        $(#[test]
        fn $test() {
            check(stringify!($id));
        })+

        #[test]
        fn every_law_of_the_sheet_is_checked() {
            let checked = [$(stringify!($id)),+];
            let sheet: Vec<_> = LAWS.iter().map(|law| law.id).collect();
            assert_eq!(sheet, checked);
        }
    };
}

laws! {
    L1 severity_is_a_lattice
    L2 budgets_are_a_semilattice
    L3 the_lab_agrees_with_the_reference
    L4 join_is_associative
    L5 join_is_commutative_up_to_order
    L6 race_is_commutative_up_to_scheduling
    L7 race_is_associative_where_losers_drain_at_once
    L8 nested_timeouts_are_the_shorter_one
    L9 a_bracket_releases_once_however_it_ends
    L10 losers_are_drained
    L11 first_ok_is_a_quorum_of_one
    L12 a_quorum_of_all_is_a_join
    L13 try_join_is_join_on_success
    L14 fallback_goes_on_after_an_error_only
    L15 a_group_of_one_is_its_branch
    L16 a_task_ends_as_its_body_would_inline
    L17 a_retry_of_one_is_its_attempt
    L18 a_retry_repeats_errors_and_takes_as_long
    L19 idle_strategies_are_the_identity
    L20 a_policy_is_its_outer_strategy_around_the_rest
    L21 the_policy_of_a_timeout_is_the_timeout
}

fn sheet_text() -> String {
    let mut text = String::from(
        "# The law sheet\n\n\
         Written by `cargo xtask laws --write` from `crates/combinator/tests/it/laws/sheet.rs`; edit that.\n\
         Each law is a value with a check, and a test runs it over random programs under the lab: \
         values, errors, panics, sleeps, yields, tasks, cleanup, and every combinator in any other.\n\
         Where the order of things of one moment decides, a law says nothing; everywhere else two sides must end alike, at the same virtual time.\n\n\
         | id | law | statement |\n| --- | --- | --- |\n",
    );
    for law in LAWS {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            law.id, law.name, law.statement
        ));
    }
    text
}

#[test]
fn the_sheet_in_the_docs_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/laws.md");
    let text = sheet_text();
    if std::env::var("ASUPERSYNC_LAWS").is_ok_and(|wish| wish == "write") {
        std::fs::write(&path, &text).expect("the docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/laws.md is stale: run `cargo xtask laws --write`"
    );
}

#[test]
fn the_reference_catches_a_wrong_program() {
    let right = Program::sleep(3, Program::Value(1));
    let run = program::run_alone(&right, 1).expect("it is clean");
    assert!(reference::agrees(&right, &run).is_ok());
    for wrong in [
        Program::sleep(4, Program::Value(1)),
        Program::sleep(3, Program::Value(2)),
        Program::sleep(3, Program::Fail(1)),
    ] {
        assert!(reference::agrees(&wrong, &run).is_err(), "{wrong:?}");
    }
}
