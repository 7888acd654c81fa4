//! All tests: one runner for the README's command, for continuous integration and for a single filter.

use std::process::Command;

use crate::workspace::cargo;
use crate::{Verdict, process};

/// Runs the tests with output inherited; `arguments` go to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let mut is_success = true;
    for command in &mut commands(arguments, has_nextest()) {
        is_success &= process::run_shown(command)?.success();
    }
    Ok(is_success)
}

/// The commands that run all tests, or those that `arguments` choose: `cargo test`, or nextest followed by the doc tests.
pub(crate) fn commands(arguments: &[String], with_nextest: bool) -> Vec<Command> {
    let is_own = |argument: &str| {
        matches!(argument, "--doc" | "--test" | "--lib" | "--") || argument.starts_with("--test=")
    };
    let plain = !with_nextest || arguments.iter().any(|argument| is_own(argument));
    if plain {
        let mut test = cargo();
        test.arg("test").args(selection(arguments)).args(arguments);
        return vec![test];
    }
    let mut nextest = cargo();
    nextest
        .args(["nextest", "run", "--no-tests=pass"])
        .args(selection(arguments))
        .args(arguments);
    let mut doc = cargo();
    doc.args(["test", "--doc"])
        .args(selection(arguments))
        .args(arguments);
    vec![nextest, doc]
}

/// `--workspace`, unless the arguments choose packages themselves.
fn selection(arguments: &[String]) -> Option<&'static str> {
    let chooses = |argument: &String| {
        argument == "-p" || argument == "--package" || argument.starts_with("--package=")
    };
    (!arguments.iter().any(chooses)).then_some("--workspace")
}

fn has_nextest() -> bool {
    let answer = cargo().args(["nextest", "--version"]).output();
    answer.is_ok_and(|output| output.status.success())
}

/// Passed, failed and ignored tests, summed over the `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }

    /// `3 passed, 0 failed`, and ignored tests if there are any.
    pub(crate) fn say(self) -> String {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        match ignored {
            0 => format!("{passed} passed, {failed} failed"),
            _ => format!("{passed} passed, {failed} failed, {ignored} skipped"),
        }
    }

    pub(crate) fn of(output: &str) -> Self {
        let mut tally = Self::default();
        for line in output
            .lines()
            .filter_map(|line| line.trim().strip_prefix("test result:"))
        {
            let words: Vec<&str> = line
                .split([' ', ';', '.'])
                .filter(|word| !word.is_empty())
                .collect();
            for pair in words.windows(2) {
                let Ok(count) = pair[0].parse::<u64>() else {
                    continue;
                };
                match pair[1] {
                    "passed" => tally.passed += count,
                    "failed" => tally.failed += count,
                    "ignored" => tally.ignored += count,
                    _ => {}
                }
            }
        }
        tally
    }
}

/// What each failed test printed, one block a test, cut to `lines_max` lines each.
///
/// The test harness prints such a block between the line `---- name stdout ----` and the next one, or the list of failures.
pub(crate) fn failures(output: &str, lines_max: usize) -> Vec<String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut is_inside = false;
    for line in output.lines() {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            is_inside = true;
            blocks.push(vec![line]);
        } else if line == "failures:" || line.starts_with("test result:") {
            is_inside = false;
        } else if is_inside
            && !line.is_empty()
            && let Some(block) = blocks.last_mut()
            && block.len() < lines_max
        {
            block.push(line);
        }
    }
    blocks.into_iter().map(|block| block.join("\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str], with_nextest: bool) -> Vec<String> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let words = |command: Command| {
            let words: Vec<_> = command
                .get_args()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            words.join(" ")
        };
        commands(&arguments, with_nextest)
            .into_iter()
            .map(words)
            .collect()
    }

    #[test]
    fn arguments_are_passed_through() {
        assert_eq!(line(&[], false), ["test --workspace"]);
        assert_eq!(
            line(&["-p", "x", "--", "--nocapture"], false),
            ["test -p x -- --nocapture"]
        );
        assert_eq!(line(&["name"], false), ["test --workspace name"]);
    }

    #[test]
    fn nextest_is_followed_by_the_doc_tests_and_gives_way_to_its_absence_of_flags() {
        let both = [
            "nextest run --no-tests=pass --workspace",
            "test --doc --workspace",
        ];
        assert_eq!(line(&[], true), both);
        assert_eq!(line(&["--doc"], true), ["test --workspace --doc"]);
        assert_eq!(
            line(&["--", "--exact"], true),
            ["test --workspace -- --exact"]
        );
    }

    #[test]
    fn results_are_summed() {
        let output = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\ntest result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(
            Tally::of(output),
            Tally {
                passed: 7,
                failed: 2,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_failed_test_is_told_by_name_with_what_it_printed() {
        let output = "running 2 tests\ntest one ... FAILED\ntest two ... FAILED\n\nfailures:\n\n---- one stdout ----\n\nthread 'one' panicked at a.rs:1:2:\nleft != right\nnote: run again\n\n---- two stdout ----\nError: gone\n\nfailures:\n    one\n    two\n\ntest result: FAILED. 0 passed; 2 failed\ntest three ... ok\n";
        let one = "---- one stdout ----\nthread 'one' panicked at a.rs:1:2:\nleft != right";
        let two = "---- two stdout ----\nError: gone";
        assert_eq!(failures(output, 3), [one, two]);
        assert!(failures("test three ... ok\n", 3).is_empty());
    }
}
