//! The traces of all scenarios are the same in every process.
//!
//! The conformance suite's lab half runs three times, each in a process of its own: twice alike, and once in another folder, with another environment and one test at a time.
//! Each run writes the digest of every trace; the three sets of digests must be equal, file for file.
//! Within one process, the suite itself runs each seed twice and compares.
//! What leaks in shows here: a clock, a thread's timing, a randomly seeded map, an address, a variable of the environment.
//! Continuous integration runs a quarter of the suite's seeds; `--seeds 16` is the whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process};

/// What each test wrote, by the scenario's name.
type Digests = BTreeMap<String, String>;

/// Runs the suite three times and compares.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let seeds = seeds(arguments)?;
    let workspace = Workspace::load()?;
    let place = workspace.target.join("determinism");
    let binary = binary(&workspace.root)?;
    let mut runs = Vec::new();
    for (name, elsewhere) in [("first", false), ("second", false), ("elsewhere", true)] {
        let folder = place.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let digests = folder.join("digests");
        std::fs::create_dir_all(&digests)?;
        let mut suite = Command::new(&binary);
        // These start a compiler, and run no scenario.
        suite.args(["--skip", "does_not_compile"]);
        suite.env("ASUPERSYNC_TRACE_DIGESTS", &digests);
        suite.env("ASUPERSYNC_SEEDS", seeds.to_string());
        suite.env_remove("ASUPERSYNC_SEED");
        suite.current_dir(workspace.root.join("conformance"));
        if elsewhere {
            suite.args(["--test-threads", "1"]).current_dir(&folder);
            suite
                .env("TZ", "Pacific/Chatham")
                .env("LC_ALL", "tr_TR.UTF-8");
            suite.env("HOME", &folder).env("TMPDIR", &folder);
        }
        let log = folder.join("log");
        let ended = process::run_logged(name, &mut suite, &log, LIMIT)?;
        if !ended.is_success {
            println!("{}", process::tail(&log, LOG_BYTES_SHOWN));
            return Err(format!("the suite fails in the run `{name}`").into());
        }
        runs.push((name, read(&digests)?));
    }
    Ok(conclude(&runs, seeds))
}

fn seeds(arguments: &[String]) -> Result<u64, Box<dyn std::error::Error>> {
    match arguments {
        [] => Ok(SEEDS),
        [flag, count] if flag == "--seeds" => match count.parse()? {
            0 => Err("--seeds needs at least 1".into()),
            count => Ok(count),
        },
        _ => Err("the only argument is `--seeds N`".into()),
    }
}

/// Builds the suite; where its binary is.
fn binary(root: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut build = cargo();
    build.args(["test", "-p", "asupersync-conformance", "--test", "it"]);
    build
        .args(["--no-run", "--message-format=json"])
        .current_dir(root);
    let messages = process::stdout_of(&mut build)?;
    let found = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_suite = message["target"]["name"] == "it";
        let path = message["executable"].as_str().filter(|_| is_suite)?;
        Some(PathBuf::from(path))
    });
    Ok(found.ok_or("cargo names no binary of the suite")?)
}

fn read(folder: &Path) -> std::io::Result<Digests> {
    let mut digests = Digests::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        digests.insert(name, std::fs::read_to_string(entry.path())?);
    }
    Ok(digests)
}

/// Every scenario whose digests are not those of the first run, with the first seed that shows it.
fn differences(runs: &[(&str, Digests)]) -> Vec<String> {
    let Some(((first, expected), others)) = runs.split_first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (run, actual) in others {
        let names = expected.keys().chain(actual.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        for name in names {
            match (expected.get(name), actual.get(name)) {
                (Some(before), Some(after)) if before == after => {}
                (Some(before), Some(after)) => {
                    let mut lines = before.lines().zip(after.lines());
                    let line = lines.find(|(before, after)| before != after);
                    let seed = line.and_then(|(before, _)| before.split(' ').next());
                    let seed = seed.unwrap_or("of a run that the other lacks");
                    found.push(format!(
                        "{name}: seed {seed} differs between `{first}` and `{run}`"
                    ));
                }
                (None, _) => found.push(format!("{name}: not in `{first}`")),
                (_, None) => found.push(format!("{name}: not in `{run}`")),
            }
        }
    }
    found
}

fn conclude(runs: &[(&str, Digests)], seeds: u64) -> bool {
    let differences = differences(runs);
    for difference in &differences {
        println!("{difference}");
    }
    let expected = runs.first().map_or(0, |(_, digests)| digests.len());
    let lines = |digests: &Digests| {
        digests
            .values()
            .map(|text| text.lines().count() as u64)
            .sum()
    };
    let is_whole = |(_, digests): &(&str, Digests)| {
        let written: u64 = lines(digests);
        written == seeds * digests.len() as u64
    };
    let is_met = differences.is_empty() && expected > 0 && runs.iter().all(is_whole);
    let word = match (is_met, differences.len()) {
        (true, _) => "identical".to_owned(),
        (false, 0) => "NOT ALL RAN".to_owned(),
        (false, count) => format!("{count} DIFFER"),
    };
    println!(
        "determinism: {expected} scenarios x {seeds} seeds, {word} in {} processes",
        runs.len()
    );
    is_met
}

/// A quarter of what the suite itself runs.
const SEEDS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(20 * 60);
const LOG_BYTES_SHOWN: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(files: &[(&str, &str)]) -> Digests {
        let files = files.iter();
        files
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    fn check(second: &[(&str, &str)], is_met: bool) {
        let first = digests(&[("a", "0 7 x\n1 7 y\n"), ("b", "0 3 z\n1 3 z\n")]);
        let runs = [("first", first), ("second", digests(second))];
        assert_eq!(conclude(&runs, 2), is_met, "{:?}", differences(&runs));
    }

    #[test]
    fn equal_digests_are_identical() {
        check(&[("a", "0 7 x\n1 7 y\n"), ("b", "0 3 z\n1 3 z\n")], true);
    }

    #[test]
    fn one_trace_that_differs_is_named_with_its_seed() {
        check(&[("a", "0 7 x\n1 7 w\n"), ("b", "0 3 z\n1 3 z\n")], false);
        let runs = [
            ("first", digests(&[("a", "0 7 x\n1 7 y\n")])),
            ("second", digests(&[("a", "0 7 x\n1 7 w\n")])),
        ];
        assert_eq!(
            differences(&runs),
            ["a: seed 1 differs between `first` and `second`"]
        );
    }

    #[test]
    fn a_scenario_that_did_not_run_falls_short() {
        check(&[("a", "0 7 x\n1 7 y\n")], false);
        let half = digests(&[("a", "0 7 x\n")]);
        assert!(!conclude(&[("first", half.clone()), ("second", half)], 2));
        assert!(!conclude(
            &[("first", Digests::new()), ("second", Digests::new())],
            2
        ));
    }

    #[test]
    fn wrong_arguments_are_errors() {
        let parse = |words: &[&str]| {
            let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            seeds(&owned).ok()
        };
        assert_eq!(parse(&[]), Some(SEEDS));
        assert_eq!(parse(&["--seeds", "9"]), Some(9));
        for wrong in [
            &["--seeds"][..],
            &["--seeds", "0"],
            &["--seeds", "x"],
            &["9"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
