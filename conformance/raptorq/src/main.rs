//! Runs the RaptorQ crate against RFC 6330's vectors, a second implementation and the promised failure rates.
//!
//! Each suite prints how many cases held; the last line is the total. The process fails on any
//! shortfall. The whole takes seconds in a release build; `--quick` runs a tenth of the long suites,
//! for debug builds.
//!
//! | suite | default | `--quick` |
//! | --- | --- | --- |
//! | tables, vectors, objects, OTIs, decode sets | all | all |
//! | cross-check with the `raptorq` crate | 10,000 cases | 1,000 |
//! | policies: inactive columns of honest and of dense rows | all | all |
//! | failure rate at `K' + 0` | 20,000 trials for each of three `K'` | 2,000 |
//! | failure rate at `K' + 1` | 200,000 trials | 20,000 |
//! | failure rate at `K' + 2` (`--plus-two TRIALS`) | none | none |

#![forbid(unsafe_code)]

mod cross;
mod data;
mod policies;
mod rates;
mod tables;
mod vectors;

use std::path::PathBuf;
use std::process::ExitCode;

use asupersync_raptorq::Backend;
use clap::Parser;

/// What to run.
#[derive(Debug, Parser)]
struct Options {
    /// Run a tenth of the long suites.
    #[arg(long)]
    quick: bool,
    /// Also run this many trials at `K' + 2`, counting ranks only.
    #[arg(long, default_value_t = 0)]
    plus_two: u32,
    /// The seed of the random suites.
    #[arg(long, default_value_t = 6330)]
    seed: u64,
    /// The vector instructions to use: scalar, SSSE3, AVX2, AVX-512BW, GFNI or NEON; the widest if not
    /// given.
    #[arg(long, value_parser = backend)]
    backend: Option<Backend>,
    /// Run only the suites whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Where the vectors lie.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data"))]
    data: PathBuf,
}

fn backend(name: &str) -> Result<Backend, String> {
    let mut all = Backend::ALL.into_iter();
    let found = all.find(|backend| backend.to_string().eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("there is no backend {name}"))
}

/// How a suite went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cases: u64,
    failures: Vec<String>,
}

impl Tally {
    /// Counts a case; `describe` is called if it failed.
    pub(crate) fn case(&mut self, held: bool, describe: impl FnOnce() -> String) {
        self.cases += 1;
        if !held {
            self.failures.push(describe());
        }
    }
}

type Suite = fn(&Context) -> Result<Tally, data::DataError>;

/// What a suite is given.
#[derive(Debug)]
pub(crate) struct Context {
    data: PathBuf,
    quick: bool,
    plus_two: u32,
    seed: u64,
}

const SUITES: [(&str, Suite); 10] = [
    ("tables", tables::tables),
    ("parameters", tables::parameters),
    ("block vectors", vectors::blocks),
    ("object vectors", vectors::objects),
    ("decode sets", vectors::decode_sets),
    ("cross-check", cross::cross),
    ("policies", policies::policies),
    ("failures at +0", rates::plus_zero),
    ("failures at +1", rates::plus_one),
    ("failures at +2", rates::plus_two),
];

/// Failures that are printed for one suite.
const PRINTED_MAX: usize = 10;

fn main() -> ExitCode {
    let options = Options::parse();
    let context = Context {
        data: options.data,
        quick: options.quick,
        plus_two: options.plus_two,
        seed: options.seed,
    };
    if let Some(Err(error)) = options.backend.map(Backend::select) {
        println!("raptorq conformance: {error}");
        return ExitCode::FAILURE;
    }
    println!("loops: {}", Backend::chosen());
    let (mut cases, mut failed) = (0, 0);
    for (name, suite) in SUITES {
        if options
            .only
            .as_ref()
            .is_some_and(|only| !name.contains(only.as_str()))
        {
            continue;
        }
        let tally = match suite(&context) {
            Ok(tally) => tally,
            Err(error) => Tally {
                cases: 1,
                failures: vec![error.to_string()],
            },
        };
        let count = tally.failures.len() as u64;
        println!(
            "{name}: {} of {} cases hold",
            tally.cases - count,
            tally.cases
        );
        for failure in tally.failures.iter().take(PRINTED_MAX) {
            println!("  FAILED {failure}");
        }
        cases += tally.cases;
        failed += count;
    }
    println!(
        "raptorq conformance: {} of {cases} cases hold",
        cases - failed
    );
    if failed == 0 && cases > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
