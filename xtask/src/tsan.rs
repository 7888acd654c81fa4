//! The tests of the crates whose unsafe code is shared between threads, under ThreadSanitizer.
//!
//! The standard library is built along, since without that every use of its locks would be reported.
//! It needs the compiler's own flags, which a stable toolchain allows on request, and the component `rust-src`, which is fetched if it is missing.
//! Deliberately absent: the unsafe crates without threads (vector code, an allocator that counts), which the address sanitizer and Miri serve better.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::testing::Tally;
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process};

/// The unsafe crates with threads, and the scenarios that drive them on the production host.
const PACKAGES: [&str; 5] = [
    "asupersync-kernel",
    "asupersync-sched",
    "asupersync-sync",
    "asupersync-runtime",
    "asupersync-conformance",
];

/// A run takes a few minutes; one that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Runs the tests and counts what the sanitizer found.
pub(crate) fn run() -> Verdict {
    let workspace = Workspace::load()?;
    let target = workspace.target.join("tsan");
    let host = host()?;
    fetch_sources()?;
    let mut examples = sanitized(&target, &host);
    // A test runs them as processes of their own.
    examples.args([
        "build",
        "-Zbuild-std",
        "--examples",
        "--package",
        "asupersync-runtime",
    ]);
    examples.args(["--target", &host]);
    let built = process::run_logged(
        "tsan examples",
        &mut examples,
        &target.join("examples.log"),
        LIMIT,
    )?;
    let mut tests = sanitized(&target, &host);
    tests.args([
        "test",
        "-Zbuild-std",
        "--target",
        &host,
        "--no-fail-fast",
        "--lib",
        "--test",
        "it",
    ]);
    for package in PACKAGES {
        tests.args(["--package", package]);
    }
    let ended = process::run_logged("tsan", &mut tests, &target.join("tests.log"), LIMIT)?;
    let output = std::fs::read_to_string(&ended.log)?;
    let findings = output.matches(FINDING).count();
    let is_met = built.is_success && ended.is_success && findings == 0;
    if !is_met {
        print!("{}", process::tail(&ended.log, 8 << 10));
        println!("all of it: {}", ended.log.display());
    }
    println!(
        "tsan: {findings} findings in {} packages, {} in {} s",
        PACKAGES.len(),
        Tally::of(&output).say(),
        ended.took.as_secs()
    );
    Ok(is_met)
}

/// How every report of the sanitizer begins.
const FINDING: &str = "WARNING: ThreadSanitizer";

fn sanitized(target: &Path, host: &str) -> Command {
    let mut command = cargo();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=thread")
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_BUILD_TARGET", host);
    command
}

fn host() -> Result<String, Box<dyn std::error::Error>> {
    let version = process::stdout_of(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` names no host")?.to_owned())
}

fn fetch_sources() -> Result<(), Box<dyn std::error::Error>> {
    let root = process::stdout_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(root.trim()).join("lib/rustlib/src/rust/library");
    if !library.exists() {
        process::stdout_of(Command::new("rustup").args(["component", "add", "rust-src"]))?;
    }
    Ok(())
}
