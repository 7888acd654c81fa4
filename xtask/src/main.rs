//! One command for every bar: checks, runs and measures the workspace.
//!
//! Every subcommand prints its figure last and exits non-zero when it falls short.
//! The checks are pure functions over a [`tree::Tree`] of files and a [`workspace::Workspace`] read from cargo, so that each has tests with an input it must catch.
//! Deliberately absent: anything a library could need, and any dependency beyond a JSON reader, because this binary is compiled before everything else.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a tool outside the runtime reads the clock and waits for child processes itself"
)]

mod awaits;
mod bench;
mod ci;
mod deps;
mod determinism;
mod fuzz;
mod laws;
mod layers;
mod loom;
mod migration;
mod process;
mod report;
mod source;
mod spec;
mod testing;
mod tidy;
mod tree;
mod tsan;
mod workspace;

use std::process::ExitCode;

/// What a subcommand returns: `Ok(true)` when its bar is met, `Ok(false)` when the printed report says what fell short.
type Verdict = Result<bool, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let verdict = match command {
        "ci" => ci::run(rest),
        "test" => testing::run(rest),
        "layers" => layers::run(),
        "laws" => laws::run(rest),
        "tidy" => tidy::run(rest),
        "spec" => spec::run(),
        "awaits" => awaits::run(),
        "deps" => deps::run(),
        "determinism" => determinism::run(rest),
        "loom" => loom::run(rest),
        "tsan" => tsan::run(),
        "fuzz" => fuzz::run(rest),
        "bench" => bench::run(rest),
        "conformance" => bench::conformance(rest),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(true)
        }
        other => Err(format!("unknown command `{other}`; `cargo xtask help` lists them").into()),
    };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::from(2)
        }
    }
}

const HELP: &str = "\
cargo xtask <command>

  ci [--only a,b] [--skip a,b]   every bar, step by step; what a change must pass
  test [cargo test arguments]    all tests; arguments are passed through
  layers                         crates depend strictly downwards and say what they are
  laws [--write]                 the combinators' law sheet on random programs; --write regenerates its page
  tidy [--write]                 house style; --write regenerates the crate table
  spec                           every law names its check and its attack, and both exist
  awaits                         every public function that waits is cut short at every await by a test
  deps                           no foreign runtime in the facade's tree; licences are allowed
  determinism [--seeds N]        the scenarios' traces are the same in every process, folder and environment
  loom [--full | --fraction]     models of the lock-free code
  tsan                           the unsafe crates' tests under ThreadSanitizer; takes a few minutes
  fuzz [TARGET] [--seconds N]    fuzz targets with the address sanitizer; TARGET is a crate, a target, or crate/target
  bench <suite> [--rounds N] [--only ROW] [--json FILE] [--smoke]
                                 suites: compare [--svg FILE], gates [--write], kernel, lab, scale [--page FOLDER], sync, recorder, raptorq (arguments after it are passed through)
  conformance <suite> [args]     suites: raptorq (arguments are passed through)
";
