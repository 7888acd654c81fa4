//! Measures the RaptorQ crate beside the `raptorq` crate in one run.
//!
//! The question: is every row ahead in time (ratio of medians below 1.0), with peak memory not above?
//! Each measurement is a process of its own; the two sides take turns, and the result of a side is
//! the median of its processes. Peak memory is what the operation and its inputs hold at most, by
//! a counting allocator.

mod memory;
mod work;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use asupersync_raptorq::Backend;
use clap::{Args, Parser, ValueEnum};
use serde_json::json;
use work::{Sample, Side, Workload};

/// What to measure.
#[derive(Debug, Parser)]
struct Options {
    /// Block sizes, in symbols.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000, 10_000, 50_000])]
    k: Vec<u32>,
    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Processes for each side and row.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds that a process repeats its operation for.
    #[arg(long, default_value_t = 300)]
    budget_ms: u64,
    /// One short round, to see that everything runs; ratios are not judged.
    #[arg(long)]
    smoke: bool,
    /// The vector instructions of our side: scalar, SSSE3, AVX2, AVX-512BW, GFNI or NEON.
    #[arg(long, value_parser = backend)]
    backend: Option<Backend>,
    /// Write the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    child: Child,
}

fn backend(name: &str) -> Result<Backend, String> {
    let mut all = Backend::ALL.into_iter();
    let found = all.find(|backend| backend.to_string().eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("there is no backend {name}"))
}

/// How a process is told to measure one side of one row.
#[derive(Debug, Args)]
struct Child {
    #[arg(long, hide = true, value_enum, requires = "workload")]
    side: Option<Side>,
    #[arg(long, hide = true, value_enum, requires = "side")]
    workload: Option<Workload>,
}

fn main() -> io::Result<ExitCode> {
    let mut options = Options::parse();
    if let Some(backend) = options.backend {
        backend.select().map_err(io::Error::other)?;
    }
    if let (Some(side), Some(workload)) = (options.child.side, options.child.workload) {
        let budget = Duration::from_millis(options.budget_ms);
        let sample = work::run(side, workload, options.k[0], budget);
        println!("{} {}", sample.nanoseconds, sample.peak_bytes);
        return Ok(ExitCode::SUCCESS);
    }
    if options.smoke {
        options.rounds = 1;
        options.budget_ms = 1;
    }
    let mut rows = Vec::new();
    let mut behind = 0;
    println!(
        "{:<28} {:>14} {:>14} {:>7} {:>7}",
        "row", "ours", "raptorq", "ratio", "spread"
    );
    for &k in &options.k {
        for &workload in Workload::value_variants() {
            if !options.only.is_empty() && !options.only.contains(&workload) {
                continue;
            }
            let (ours, peer) = measure(&options, workload, k)?;
            let name = word(&workload).replace('-', "_");
            let time = |sample: &Sample| sample.nanoseconds;
            let peak = |sample: &Sample| sample.peak_bytes;
            let row = Row::new(format!("{name}/K={k}"), "ns", &ours, &peer, time);
            behind += u32::from(row.ratio >= 1.0);
            rows.push(row.print());
            let row = Row::new(format!("{name}/K={k}/peak"), "bytes", &ours, &peer, peak);
            behind += u32::from(row.ratio > 1.0);
            rows.push(row.print());
        }
    }
    let count = rows.len();
    if let Some(path) = options.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    println!(
        "raptorq bench: {} of {count} rows ahead",
        count - behind as usize
    );
    let is_good = behind == 0 || options.smoke;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the processes of one row, the sides in turn.
fn measure(
    options: &Options,
    workload: Workload,
    k: u32,
) -> io::Result<(Vec<Sample>, Vec<Sample>)> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..options.rounds.max(1) {
        let mut sides = [(Side::Ours, &mut ours), (Side::Peer, &mut peer)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (side, samples) in sides {
            samples.push(process(options, side, workload, k)?);
        }
    }
    Ok((ours, peer))
}

fn process(options: &Options, side: Side, workload: Workload, k: u32) -> io::Result<Sample> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--side", &word(&side), "--workload", &word(&workload)])
        .args([
            "--k",
            &k.to_string(),
            "--budget-ms",
            &options.budget_ms.to_string(),
        ])
        .args(
            options
                .backend
                .iter()
                .flat_map(|backend| ["--backend".to_owned(), backend.to_string()]),
        )
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(nanoseconds)), Some(Ok(peak_bytes))) => Ok(Sample {
            nanoseconds,
            peak_bytes,
        }),
        _ => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
    }
}

/// The word that the command line uses for a choice.
fn word(choice: &impl ValueEnum) -> String {
    let value = choice.to_possible_value().expect("no choice is hidden");
    value.get_name().to_owned()
}

/// One line of the result.
struct Row {
    name: String,
    unit: &'static str,
    ours: u64,
    peer: u64,
    ratio: f64,
    /// Range of the sides' processes over their median, the larger of the two.
    spread: f64,
}

impl Row {
    fn new(
        name: String,
        unit: &'static str,
        ours: &[Sample],
        peer: &[Sample],
        field: impl Fn(&Sample) -> u64,
    ) -> Self {
        let (ours, our_spread) = median(ours.iter().map(&field).collect());
        let (peer, peer_spread) = median(peer.iter().map(&field).collect());
        let ratio = ours as f64 / peer.max(1) as f64;
        Self {
            name,
            unit,
            ours,
            peer,
            ratio,
            spread: our_spread.max(peer_spread),
        }
    }

    fn print(self) -> serde_json::Value {
        let Self {
            name,
            unit,
            ours,
            peer,
            ratio,
            spread,
        } = self;
        println!("{name:<28} {ours:>11} {unit:<5} {peer:>8} {ratio:>7.3} {spread:>7.3}");
        json!({
            "row": name,
            "unit": unit,
            "ours": ours,
            "peers": { "raptorq": peer },
            "ratio": ratio,
            "spread": spread,
        })
    }
}

fn median(mut values: Vec<u64>) -> (u64, f64) {
    values.sort_unstable();
    let median = values[values.len() / 2];
    let range = values[values.len() - 1] - values[0];
    (median, range as f64 / median.max(1) as f64)
}
