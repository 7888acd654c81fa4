//! Every bar in one command, a line a step, and a summary that says what fell short.
//!
//! Steps go on after a failure, so that one run shows all of them.
//! Cheap checks come first; what a step printed is in `<target>/ci/<step>.log` and is shown when the step fails.

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::loom::{self, Bound};
use crate::process::{self, Ended};
use crate::report;
use crate::testing::{self, Tally};
use crate::tree::Tree;
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, bench};

/// Runs the steps; `--only a,b` and `--skip a,b` choose among them.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let chosen = choose(arguments)?;
    let workspace = Workspace::load()?;
    let ci = Ci {
        logs: workspace.target.join("ci"),
        tree: Tree::load(&workspace.root)?,
        workspace,
        release: OnceCell::new(),
        tally: OnceCell::new(),
        failures: RefCell::default(),
    };
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut is_green = true;
    for (name, step) in &chosen {
        println!("ci {name} ...");
        let begin = Instant::now();
        let end = step(&ci).unwrap_or_else(|error| End::failed(error.to_string()));
        let took = format!("{:.1}", begin.elapsed().as_secs_f64());
        is_green &= end.word != FAILED;
        println!(
            "ci {name}: {} in {took} s{}",
            end.word,
            after_comma(&end.detail)
        );
        rows.push(vec![
            (*name).to_owned(),
            end.word.to_owned(),
            took,
            end.detail,
        ]);
    }
    println!(
        "\n{}",
        report::table(&["step", "end", "s", "detail"], &rows)
    );
    let word = if is_green { "green" } else { "RED" };
    println!(
        "ci: {word} after {} s, {} of {} steps",
        start.elapsed().as_secs(),
        chosen.len(),
        STEPS.len()
    );
    for failure in ci.failures.take() {
        println!("{failure}");
    }
    println!("{}", last_line(&rows, ci.tally.get()));
    Ok(is_green)
}

/// What a reader of the log looks for: tests, or steps where none of them ran tests.
fn last_line(rows: &[Vec<String>], tally: Option<&Tally>) -> String {
    if let Some(tally) = tally {
        return tally.say();
    }
    let failed = rows.iter().filter(|row| row[1] == FAILED).count();
    format!("steps: {} passed, {failed} failed", rows.len() - failed)
}

type Step = fn(&Ci) -> Result<End, Box<dyn std::error::Error>>;

const STEPS: [(&str, Step); 16] = [
    ("fmt", |ci| ci.cargo("fmt", &["fmt", "--all", "--check"])),
    ("layers", |ci| ci.own(&["layers"])),
    ("tidy", |ci| ci.own(&["tidy"])),
    ("spec", |ci| ci.own(&["spec"])),
    ("awaits", |ci| ci.own(&["awaits"])),
    ("deps", |ci| ci.own(&["deps"])),
    ("clippy", |ci| {
        ci.cargo(
            "clippy",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ],
        )
    }),
    ("test", Ci::test),
    ("doc", Ci::doc),
    ("examples", Ci::examples),
    ("conformance", Ci::conformance),
    ("determinism", |ci| ci.own(&["determinism"])),
    ("bench", Ci::bench),
    ("gates", Ci::gates),
    ("loom", Ci::loom),
    ("fuzz", |ci| ci.own(&["fuzz"])),
];

fn choose(arguments: &[String]) -> Result<Vec<(&'static str, Step)>, Box<dyn std::error::Error>> {
    let mut steps = STEPS.to_vec();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let names: Vec<&str> = arguments
            .next()
            .map_or(Vec::new(), |names| names.split(',').collect());
        if let Some(unknown) = names
            .iter()
            .find(|name| !STEPS.iter().any(|(step, _)| step == *name))
        {
            return Err(format!("there is no step `{unknown}`").into());
        }
        match argument.as_str() {
            "--only" if !names.is_empty() => steps.retain(|(step, _)| names.contains(step)),
            "--skip" if !names.is_empty() => steps.retain(|(step, _)| !names.contains(step)),
            other => return Err(format!("unknown or incomplete argument `{other}`").into()),
        }
    }
    Ok(steps)
}

/// How a step ended.
struct End {
    word: &'static str,
    detail: String,
}

impl End {
    fn passed(detail: String) -> Self {
        Self {
            word: "passed",
            detail,
        }
    }

    fn failed(detail: String) -> Self {
        Self {
            word: FAILED,
            detail,
        }
    }

    fn skipped(reason: &str) -> Self {
        Self {
            word: "SKIPPED",
            detail: reason.to_owned(),
        }
    }
}

/// What the steps share.
struct Ci {
    workspace: Workspace,
    tree: Tree,
    logs: PathBuf,
    /// Whether the release build came out well, once a step has asked for it.
    release: OnceCell<bool>,
    /// What the tests said, once they have run.
    tally: OnceCell<Tally>,
    /// What the failed tests printed, to be said again at the end, where a long log is looked at first.
    failures: RefCell<Vec<String>>,
}

impl Ci {
    /// Runs a command logged; on failure the end of its log is printed.
    fn logged(&self, name: &str, command: &mut Command, limit: Duration) -> std::io::Result<Ended> {
        let log = self
            .logs
            .join(format!("{}.log", name.replace(['/', ' '], "-")));
        let ended =
            process::run_logged(name, command.current_dir(&self.workspace.root), &log, limit)?;
        if !ended.is_success {
            let end = process::tail(&ended.log, LOG_BYTES_SHOWN);
            for line in end.lines().filter(|line| !line.ends_with("... ok")) {
                println!("{line}");
            }
            println!("^^^ {name}: end of {}", ended.log.display());
        }
        Ok(ended)
    }

    fn cargo(&self, name: &str, arguments: &[&str]) -> Result<End, Box<dyn std::error::Error>> {
        let ended = self.logged(name, cargo().args(arguments), STEP_LIMIT)?;
        Ok(if ended.is_success {
            End::passed(String::new())
        } else {
            End::failed(String::new())
        })
    }

    /// A check of this binary, as a child, so that its output is logged like every other's.
    fn own(&self, arguments: &[&str]) -> Result<End, Box<dyn std::error::Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        self.told(arguments[0], command.args(arguments))
    }

    /// Runs a command whose exit status is its verdict and whose last line is its figure.
    fn told(&self, name: &str, command: &mut Command) -> Result<End, Box<dyn std::error::Error>> {
        let ended = self.logged(name, command, STEP_LIMIT)?;
        let log = process::tail(&ended.log, LOG_BYTES_SHOWN);
        let last = log
            .trim_end()
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .to_owned();
        Ok(if ended.is_success {
            End::passed(last)
        } else {
            End::failed(last)
        })
    }

    /// Every binary and example in one release build, so that no dependency is built twice.
    fn release(&self) -> Result<bool, Box<dyn std::error::Error>> {
        if let Some(is_built) = self.release.get() {
            return Ok(*is_built);
        }
        let mut build = cargo();
        build.args(["build", "--release", "--workspace", "--bins", "--examples"]);
        let is_built = self
            .logged("release-build", &mut build, STEP_LIMIT)?
            .is_success;
        Ok(*self.release.get_or_init(|| is_built))
    }

    /// A binary of the release build.
    fn binary(&self, name: &str) -> Command {
        Command::new(self.workspace.target.join("release").join(name))
    }

    /// The whole RaptorQ suite, the zoo and the mutations of the oracles: in a release build each takes seconds.
    fn conformance(&self) -> Result<End, Box<dyn std::error::Error>> {
        if !self.release()? {
            return Ok(End::failed(UNBUILT.to_owned()));
        }
        let mut raptorq = self.binary("asupersync-conformance-raptorq");
        let raptorq = self.told("conformance-raptorq", &mut raptorq)?;
        let mut ends = vec![raptorq];
        for (name, arguments) in [
            ("zoo", ["lab", "zoo"].as_slice()),
            ("oracles", &["lab", "oracles", "--mutate"]),
        ] {
            let mut command = self.binary("asupersync");
            ends.push(self.told(name, command.args(arguments))?);
        }
        let has_failed = ends.iter().any(|end| end.word == FAILED);
        let details: Vec<String> = ends.into_iter().map(|end| end.detail).collect();
        let detail = details.join("; ");
        Ok(if has_failed {
            End::failed(detail)
        } else {
            End::passed(detail)
        })
    }

    fn test(&self) -> Result<End, Box<dyn std::error::Error>> {
        let mut is_success = true;
        let mut tally = Tally::default();
        for command in &mut testing::commands(&["--no-fail-fast".to_owned()], false) {
            let ended = self.logged("test", command, STEP_LIMIT)?;
            is_success &= ended.is_success;
            let log = process::tail(&ended.log, u64::MAX);
            tally = tally.and(Tally::of(&log));
            let failures = testing::failures(&log, FAILURE_LINES_SHOWN);
            self.failures.borrow_mut().extend(failures);
        }
        let tally = *self.tally.get_or_init(|| tally);
        let is_whole = is_success && tally.failed == 0 && tally.ignored == 0 && tally.passed > 0;
        Ok(if is_whole {
            End::passed(tally.say())
        } else {
            End::failed(tally.say())
        })
    }

    fn doc(&self) -> Result<End, Box<dyn std::error::Error>> {
        let mut command = cargo();
        command.args(["doc", "--workspace", "--no-deps", "--all-features"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        let ended = self.logged("doc", &mut command, STEP_LIMIT)?;
        Ok(if ended.is_success {
            End::passed(String::new())
        } else {
            End::failed(String::new())
        })
    }

    /// Runs each example; it must end by itself, and well.
    fn examples(&self) -> Result<End, Box<dyn std::error::Error>> {
        let pairs = |member: &crate::workspace::Member| {
            let name = member.name.clone();
            member
                .examples
                .clone()
                .into_iter()
                .map(move |example| (name.clone(), example))
        };
        let examples: Vec<(String, String)> =
            self.workspace.members.iter().flat_map(pairs).collect();
        if examples.is_empty() {
            return Ok(End::skipped("no crate has an example yet"));
        }
        if !self.release()? {
            return Ok(End::failed(UNBUILT.to_owned()));
        }
        let folder = self.workspace.target.join("release/examples");
        let mut failed = Vec::new();
        for (package, example) in &examples {
            let mut command = Command::new(folder.join(example));
            let name = format!("example-{example}");
            match self.logged(&name, &mut command, EXAMPLE_LIMIT) {
                Ok(ended) => {
                    println!(
                        "        {package}/{example}: {:.1} s",
                        ended.took.as_secs_f64()
                    );
                    failed.extend((!ended.is_success).then_some(example.as_str()));
                }
                Err(error) => {
                    println!("        {package}/{example} cannot be started: {error}");
                    failed.push(example);
                }
            }
        }
        let count = examples.len();
        Ok(match failed.as_slice() {
            [] => End::passed(format!("{count} ran")),
            failed => End::failed(format!("of {count}: {}", failed.join(" "))),
        })
    }

    fn loom(&self) -> Result<End, Box<dyn std::error::Error>> {
        let plans = loom::plans(&self.workspace, &self.tree);
        if plans.is_empty() {
            return Ok(End::skipped("no crate has models yet"));
        }
        let mut failed = Vec::new();
        let mut models = 0;
        for plan in &plans {
            let mut command = plan.command(&self.workspace.target, Bound::Fraction);
            let ended = self.logged(&format!("loom-{}", plan.package), &mut command, STEP_LIMIT)?;
            let passed = Tally::of(&process::tail(&ended.log, u64::MAX)).passed;
            models += passed;
            if !ended.is_success || passed == 0 {
                failed.push(plan.package.as_str());
            }
        }
        Ok(match failed.as_slice() {
            [] => End::passed(format!("{models} models, {}", Bound::Fraction.say())),
            failed => End::failed(failed.join(" ")),
        })
    }

    /// Instructions by operation, in a build of their own: one with the whole workspace has other features.
    fn gates(&self) -> Result<End, Box<dyn std::error::Error>> {
        match bench::callgrind::missing() {
            Some(reason) => Ok(End::skipped(reason)),
            None => self.own(&["bench", "gates"]),
        }
    }

    /// Every row of every suite once, and every bench target in its own test mode.
    fn bench(&self) -> Result<End, Box<dyn std::error::Error>> {
        if !self.release()? {
            return Ok(End::failed(UNBUILT.to_owned()));
        }
        let smoke = bench::Options::smoke();
        let mut is_success = true;
        for suite in [&bench::KERNEL, &bench::LAB, &bench::SYNC] {
            is_success &= bench::run_built(suite, &smoke, &self.workspace.target)?;
        }
        is_success &= bench::compare::smoke(&self.workspace.target)?;
        is_success &= bench::scale::smoke(&self.workspace.target)?;
        is_success &= bench::recorder::smoke(&self.workspace.target)?;
        let mut raptorq = self.binary("asupersync-bench-raptorq");
        is_success &= self
            .logged("bench-raptorq", raptorq.arg("--smoke"), STEP_LIMIT)?
            .is_success;
        let mut targets = 0;
        for member in &self.workspace.members {
            for target in &member.benches {
                targets += 1;
                let mut command = cargo();
                command.args([
                    "bench",
                    "--package",
                    &member.name,
                    "--bench",
                    target,
                    "--",
                    "--test",
                ]);
                is_success &= self
                    .logged(&format!("bench-{target}"), &mut command, STEP_LIMIT)?
                    .is_success;
            }
        }
        let detail = format!(
            "compare, kernel, lab, scale, sync, recorder, raptorq and {targets} bench targets, briefly"
        );
        Ok(if is_success {
            End::passed(detail)
        } else {
            End::failed(detail)
        })
    }
}

fn after_comma(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(", {detail}")
    }
}

const FAILED: &str = "FAILED";
const UNBUILT: &str = "the release build fails";
const STEP_LIMIT: Duration = Duration::from_secs(25 * 60);
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);
/// As many lines of a failed test are said again at the end.
const FAILURE_LINES_SHOWN: usize = 12;
const LOG_BYTES_SHOWN: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<&'static str>, Box<dyn std::error::Error>> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        Ok(choose(&arguments)?
            .into_iter()
            .map(|(name, _)| name)
            .collect())
    }

    #[test]
    fn steps_can_be_chosen_and_left_out() {
        assert_eq!(names(&[]).expect("all").len(), STEPS.len());
        assert_eq!(
            names(&["--only", "fmt,test"]).expect("two"),
            ["fmt", "test"]
        );
        assert_eq!(
            names(&["--skip", "loom"]).expect("rest").len(),
            STEPS.len() - 1
        );
    }

    #[test]
    fn the_last_line_counts_tests_or_else_steps() {
        let row = |word: &str| vec!["x".to_owned(), word.to_owned()];
        let rows = [row("passed"), row(FAILED), row("SKIPPED")];
        assert_eq!(last_line(&rows, None), "steps: 2 passed, 1 failed");
        let tally = Tally::of("test result: ok. 3 passed; 1 failed; 0 ignored");
        assert_eq!(last_line(&rows, Some(&tally)), "3 passed, 1 failed");
    }

    #[test]
    fn a_misspelt_step_is_an_error_and_not_an_empty_run() {
        assert!(names(&["--only", "tset"]).is_err());
        assert!(names(&["--only"]).is_err());
        assert!(names(&["--fast", "fmt"]).is_err());
    }
}
