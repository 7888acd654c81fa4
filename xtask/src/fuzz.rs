//! Fuzz targets, built with coverage and the address sanitizer by the pinned toolchain.
//!
//! A fuzz crate is a workspace of its own in a member's folder `fuzz`: its binaries are the targets, and `[package.metadata.fuzz] seconds` says how long each runs.
//! `RUSTC_BOOTSTRAP` lets the pinned stable compiler take the sanitizer's flag, so that a run needs this toolchain and a C++ compiler for libFuzzer, and no other tool.
//! Inputs that reach new code stay in `<target>/fuzz/corpus`, and the next run starts from them.
//! Inputs that failed stay in `<target>/fuzz/artifacts`; they run first, so that a finding fails every run until it is fixed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process, report};

/// Runs the chosen targets, as many at a time as there are processors.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let choice = Choice::parse(arguments)?;
    let workspace = Workspace::load()?;
    let place = Place {
        root: workspace.root.clone(),
        folder: workspace.target.join("fuzz"),
        host: host()?,
    };
    let targets = choice.of(targets(&workspace)?)?;
    let mut folders: Vec<&str> = targets
        .iter()
        .map(|target| target.folder.as_str())
        .collect();
    folders.dedup();
    for folder in folders {
        build(&place, folder)?;
    }
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(targets.iter().collect::<VecDeque<_>>());
    let ends = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..parallel.min(targets.len()) {
            scope.spawn(|| {
                let next = || queue.lock().expect("no holder panics").pop_front();
                while let Some(target) = next() {
                    let command = Command::new(place.binary(target));
                    let end = fuzz(&place.folder, target, command)
                        .unwrap_or_else(|error| End::broken(target, &error.to_string()));
                    ends.lock().expect("no holder panics").push(end);
                }
            });
        }
    });
    let mut ends = ends.into_inner().expect("no holder panics");
    ends.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(conclude(&ends))
}

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    /// `crate/target`, or one of the two.
    name: Option<String>,
    seconds: Option<u64>,
}

impl Choice {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut choice = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seconds" => {
                    let value = arguments.next().ok_or("--seconds needs a value")?;
                    choice.seconds = Some(value.parse()?);
                }
                other if other.starts_with('-') => {
                    return Err(format!("unknown argument `{other}`").into());
                }
                name if choice.name.is_none() => choice.name = Some(name.to_owned()),
                other => return Err(format!("one target, not `{other}` too").into()),
            }
        }
        if choice.seconds == Some(0) {
            return Err("--seconds needs at least 1; libFuzzer reads 0 as for ever".into());
        }
        Ok(choice)
    }

    fn of(&self, mut targets: Vec<Target>) -> Result<Vec<Target>, String> {
        let known: Vec<String> = targets.iter().map(Target::full_name).collect();
        if let Some(name) = &self.name {
            targets
                .retain(|target| [&target.noun, &target.name, &target.full_name()].contains(&name));
        }
        if targets.is_empty() {
            return Err(format!(
                "no such fuzz target; there are {}",
                known.join(" ")
            ));
        }
        for target in &mut targets {
            target.seconds = self.seconds.unwrap_or(target.seconds);
        }
        Ok(targets)
    }
}

/// One binary of a fuzz crate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// The fuzz crate's folder from the workspace root.
    folder: String,
    /// What the crate under test is called, without the prefix.
    noun: String,
    name: String,
    seconds: u64,
}

impl Target {
    fn full_name(&self) -> String {
        format!("{}/{}", self.noun, self.name)
    }
}

/// The targets of every fuzz crate, in the order of their names.
fn targets(workspace: &Workspace) -> Result<Vec<Target>, Box<dyn std::error::Error>> {
    let mut targets = Vec::new();
    for member in &workspace.members {
        let folder = format!("{}/fuzz", member.folder);
        let manifest = workspace.root.join(&folder).join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let printed = process::stdout_of(
            cargo()
                .args(["metadata", "--format-version=1", "--no-deps"])
                .arg("--manifest-path")
                .arg(manifest),
        )?;
        let noun = crate::layers::short(&member.name);
        targets.extend(parse(&serde_json::from_str(&printed)?, &folder, &noun)?);
    }
    Ok(targets)
}

fn parse(metadata: &Value, folder: &str, noun: &str) -> Result<Vec<Target>, String> {
    let package = &metadata["packages"][0];
    let seconds = package["metadata"]["fuzz"]["seconds"].as_u64();
    let seconds = seconds.filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or_else(|| {
        format!("{folder}/Cargo.toml: [package.metadata.fuzz] seconds is missing or zero")
    })?;
    let binaries = package["targets"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = binaries
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str())
        .collect();
    if names.is_empty() {
        return Err(format!("{folder} has no fuzz target"));
    }
    names.sort_unstable();
    let target = |name: &str| Target {
        folder: folder.to_owned(),
        noun: noun.to_owned(),
        name: name.to_owned(),
        seconds,
    };
    Ok(names.into_iter().map(target).collect())
}

/// Where things lie.
struct Place {
    root: PathBuf,
    folder: PathBuf,
    /// The triple; naming it keeps the sanitizer out of build scripts and macros.
    host: String,
}

impl Place {
    fn binary(&self, target: &Target) -> PathBuf {
        let release = self.folder.join(&self.host).join("release");
        release.join(&target.name)
    }
}

fn host() -> Result<String, Box<dyn std::error::Error>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = process::stdout_of(Command::new(rustc).arg("-vV"))?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not name its host")?.to_owned())
}

/// Builds one fuzz crate; an error carries the end of the compiler's output.
fn build(place: &Place, folder: &str) -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("build-{}", folder.replace('/', "-"));
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--target", &place.host])
        .current_dir(place.root.join(folder))
        .env("CARGO_TARGET_DIR", &place.folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let log = place.folder.join(format!("{name}.log"));
    let ended = process::run_logged(&name, &mut command, &log, BUILD_LIMIT)?;
    if ended.is_success {
        return Ok(());
    }
    let end = process::tail(&log, LOG_BYTES_SHOWN);
    Err(format!("{folder} does not build:\n{end}").into())
}

/// How a target ended.
#[derive(Debug)]
struct End {
    name: String,
    is_success: bool,
    seconds: f64,
    inputs: u64,
}

impl End {
    fn broken(target: &Target, error: &str) -> Self {
        println!("        {}: {error}", target.full_name());
        Self {
            name: target.full_name(),
            is_success: false,
            seconds: 0.0,
            inputs: 0,
        }
    }
}

/// Runs one target for its seconds; prints the input that failed, if one did.
fn fuzz(folder: &Path, target: &Target, mut command: Command) -> std::io::Result<End> {
    let name = target.full_name();
    let corpus = folder.join("corpus").join(&name);
    let artifacts = folder.join("artifacts").join(&name);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    command
        .arg(&corpus)
        .arg(&artifacts)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={}", target.seconds))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-print_final_stats=1", "-detect_leaks=0"])
        // Finding leaks needs ptrace, which containers refuse.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    let log = folder.join(format!("{}.log", name.replace('/', "-")));
    let limit = Duration::from_secs(target.seconds) + OVERTIME;
    let ended = process::run_logged(&name, &mut command, &log, limit)?;
    let text = process::tail(&log, u64::MAX);
    let inputs = inputs_run(&text);
    let is_success = ended.is_success && inputs > 0;
    if !is_success {
        println!(
            "{}",
            failure(&name, &text, Path::new(command.get_program()))
        );
    }
    Ok(End {
        name,
        is_success,
        seconds: ended.took.as_secs_f64(),
        inputs,
    })
}

fn inputs_run(log: &str) -> u64 {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// What a person needs: what it said, the input, and how to run it again.
fn failure(name: &str, log: &str, binary: &Path) -> String {
    let told: Vec<&str> = log
        .lines()
        .filter(|line| !line.starts_with(['#', '"']) && !line.starts_with("stat::"))
        .collect();
    // A finding begins with what the code or the sanitizer said; without one the end tells most.
    let begins = |line: &&str| line.contains("panicked at") || line.contains("ERROR: ");
    let start = told.iter().position(begins);
    let start = start.unwrap_or(told.len().saturating_sub(LINES_SHOWN));
    let told = &told[start..told.len().min(start + LINES_SHOWN)];
    let mut text = told.join("\n");
    let written = log
        .lines()
        .find_map(|line| line.split_once("Test unit written to "));
    let Some((_, path)) = written else {
        write!(text, "\n^^^ {name}: failed without writing an input").expect(TO_STRING);
        return text;
    };
    match std::fs::read(path.trim()) {
        Err(error) => write!(text, "\n^^^ {name}: {path} cannot be read: {error}"),
        Ok(input) => {
            let shown = &input[..input.len().min(INPUT_BYTES_SHOWN)];
            let mut hex = String::new();
            for byte in shown {
                write!(hex, "{byte:02x}").expect(TO_STRING);
            }
            let more = if shown.len() < input.len() { "..." } else { "" };
            write!(
                text,
                "\n^^^ {name}: fails on {} octets: {hex}{more}\n    again: {} {path}",
                input.len(),
                binary.display()
            )
        }
    }
    .expect(TO_STRING);
    text
}

fn conclude(ends: &[End]) -> bool {
    let row = |end: &End| {
        let word = if end.is_success { "held" } else { "FAILED" };
        let seconds = format!("{:.1}", end.seconds);
        vec![
            end.name.clone(),
            word.to_owned(),
            seconds,
            end.inputs.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = ends.iter().map(row).collect();
    print!(
        "{}",
        report::table(&["target", "end", "s", "inputs"], &rows)
    );
    let failed = ends.iter().filter(|end| !end.is_success).count();
    let inputs: u64 = ends.iter().map(|end| end.inputs).sum();
    println!(
        "fuzz: {} of {} targets hold, {inputs} inputs",
        ends.len() - failed,
        ends.len()
    );
    failed == 0 && !ends.is_empty()
}

/// What libFuzzer needs of the compiler: counters, their places, comparisons; and the address sanitizer.
const RUSTFLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    // The standard library is not built with it.
    "-Cunsafe-allow-abi-mismatch=sanitizer",
];
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Beyond its seconds, a target may finish its last input and its report.
const OVERTIME: Duration = Duration::from_secs(120);
const INPUT_SECONDS_MAX: u64 = 30;
const MEMORY_MIB_MAX: u64 = 2048;
const LOG_BYTES_SHOWN: u64 = 8 * 1024;
const LINES_SHOWN: usize = 30;
const INPUT_BYTES_SHOWN: usize = 512;
const TO_STRING: &str = "writing to a string does not fail";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choice(arguments: &[&str]) -> Result<Choice, Box<dyn std::error::Error>> {
        let owned = arguments.iter().map(|&argument| argument.to_owned());
        Choice::parse(&owned.collect::<Vec<_>>())
    }

    fn target(noun: &str, name: &str) -> Target {
        Target {
            folder: format!("crates/{noun}/fuzz"),
            noun: noun.to_owned(),
            name: name.to_owned(),
            seconds: 60,
        }
    }

    /// A stand-in for a fuzz binary: `$3` is the flag with the folder for findings.
    fn run_script(case: &str, script: &str) -> (End, PathBuf) {
        let folder = std::env::temp_dir().join(format!("xtask-fuzz-{}-{case}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary");
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        let end = fuzz(&folder, &target("io", "lines"), command).expect("the script runs");
        (end, folder)
    }

    #[test]
    fn targets_are_chosen_by_crate_by_name_or_by_both() {
        let all = || vec![target("io", "lines"), target("raptorq", "oti")];
        let names = |arguments: &[&str]| {
            let chosen = choice(arguments).expect("fine").of(all());
            chosen.map(|targets| targets.iter().map(Target::full_name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("all").len(), 2);
        for way in ["oti", "raptorq", "raptorq/oti"] {
            assert_eq!(names(&[way]).expect("one"), ["raptorq/oti"]);
        }
        assert!(names(&["otti"]).expect_err("none").contains("io/lines"));
        let short = choice(&["lines", "--seconds", "3"])
            .expect("fine")
            .of(all());
        assert_eq!(short.expect("one")[0].seconds, 3);
    }

    #[test]
    fn wrong_arguments_are_errors() {
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["--fast"],
            &["a", "b"],
        ] {
            assert!(choice(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_crate_names_its_targets_and_must_say_how_long() {
        let metadata = |fuzz: Value, targets: Value| json!({"packages": [{"metadata": fuzz, "targets": targets}]});
        let bins = json!([{"kind": ["bin"], "name": "b"}, {"kind": ["lib"], "name": "x"}, {"kind": ["bin"], "name": "a"}]);
        let seconds = json!({"fuzz": {"seconds": 7}});
        let found = parse(&metadata(seconds.clone(), bins.clone()), "f", "n").expect("whole");
        let found: Vec<_> = found.iter().map(|t| (t.full_name(), t.seconds)).collect();
        assert_eq!(found, [("n/a".to_owned(), 7), ("n/b".to_owned(), 7)]);
        assert!(parse(&metadata(Value::Null, bins), "f", "n").is_err());
        assert!(parse(&metadata(seconds, json!([])), "f", "n").is_err());
    }

    #[test]
    fn an_input_that_fails_fails_the_run_and_is_shown() {
        let crash = "path=${3#-artifact_prefix=}crash-1; printf 'a\\001' > $path\necho 'panicked at x'; for i in $(seq 100); do echo frame; done; echo \"artifact_prefix='y'; Test unit written to $path\"; exit 77";
        let (end, folder) = run_script("crash", crash);
        assert!(!end.is_success);
        let log = process::tail(&folder.join("io-lines.log"), u64::MAX);
        let said = failure(&end.name, &log, Path::new("sh"));
        assert!(said.contains("panicked at x"), "{said}");
        assert!(said.contains("io/lines: fails on 2 octets: 6101"), "{said}");
        assert!(said.contains("artifacts/io/lines/crash-1"), "{said}");
        assert!(!conclude(&[end]));
        std::fs::remove_dir_all(folder).expect("was made");
    }

    #[test]
    fn a_run_that_tried_nothing_fails_and_one_that_held_says_how_much() {
        let (end, folder) = run_script("idle", "exit 0");
        assert!(!end.is_success);
        std::fs::remove_dir_all(folder).expect("was made");
        let script = "echo 'stat::number_of_executed_units: 12'";
        let (end, folder) = run_script("held", script);
        assert_eq!((end.is_success, end.inputs), (true, 12));
        assert!(conclude(&[end]));
        assert!(!conclude(&[]));
        std::fs::remove_dir_all(folder).expect("was made");
    }
}
