//! What the flight recorder costs the ledger: the example with it and without it, in turn, by the processor time of a request.
//!
//! The time of the wall would say how fast the disk syncs; the time of the processors, which the example prints of its own process, is what recording adds to.
//! A pair of runs, one after the other, meets the same minute of the machine, so the ratio is taken of each pair, and the median of those counts.

use std::path::Path;
use std::process::Command;

use super::summary::{median, spread};
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process, report};

/// The processor time with the recorder over that without it.
const LIMIT: f64 = 1.03;
const ROUNDS_USUAL: usize = 21;

/// Builds the example, runs it in pairs, prints the table and the verdict.
pub(super) fn run(arguments: &[String]) -> Verdict {
    let (rounds, is_smoke) = match arguments {
        [] => (ROUNDS_USUAL, false),
        [option] if option == "--smoke" => (1, true),
        [option, rounds] if option == "--rounds" => (rounds.parse()?, false),
        other => return Err(format!("unknown arguments {other:?}").into()),
    };
    if rounds == 0 {
        return Err("--rounds needs at least 1".into());
    }
    let workspace = Workspace::load()?;
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--package",
        "asupersync",
        "--example",
        "ledger",
    ]);
    if !process::run_shown(&mut build)?.success() {
        return Err("the ledger does not build".into());
    }
    let target = workspace.target.join("release");
    let ledger = target.join("examples/ledger");
    let record = target.join("ledger-flight.trace");
    let mut pairs = Vec::new();
    for round in 0..rounds {
        eprintln!("bench recorder: {}/{rounds}", round + 1);
        pairs.push(pair(&ledger, &record, round % 2 == 0)?);
    }
    let figures = Figures::of(&pairs);
    print!("{}", figures.table());
    if is_smoke {
        println!(
            "bench recorder: the ledger ran with it and without it, briefly and without a limit"
        );
        return Ok(true);
    }
    println!("bench recorder: {}", figures.line());
    Ok(figures.ratio <= LIMIT)
}

/// Microseconds of processor time a request.
#[derive(Clone, Copy, Debug)]
struct Pair {
    off: f64,
    on: f64,
}

/// One run without and one with the recorder; which goes first changes from pair to pair.
fn pair(ledger: &Path, record: &Path, off_first: bool) -> Result<Pair, Box<dyn std::error::Error>> {
    let off = || cost(&process::stdout_of(&mut Command::new(ledger))?);
    let on = || {
        cost(&process::stdout_of(
            Command::new(ledger).arg("--record").arg(record),
        )?)
    };
    if off_first {
        let off = off()?;
        return Ok(Pair { off, on: on()? });
    }
    let on = on()?;
    Ok(Pair { off: off()?, on })
}

/// Processor time by requests, out of what the ledger printed.
fn cost(printed: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let seconds = number_behind(printed, "processor time")?;
    let requests = number_behind(printed, "requests answered")?;
    Ok(seconds * MICROS_A_SECOND / requests)
}

fn number_behind(printed: &str, label: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let mut lines = printed.lines();
    let value = lines.find_map(|line| line.strip_prefix(label));
    let number = value.and_then(|value| value.split_whitespace().next());
    let number = number.ok_or_else(|| format!("the ledger printed no `{label}`"))?;
    Ok(number.parse()?)
}

/// Medians.
struct Figures {
    off: f64,
    on: f64,
    /// Of the pairs.
    ratio: f64,
    spread: f64,
}

impl Figures {
    fn of(pairs: &[Pair]) -> Self {
        let median_of = |figure: fn(&Pair) -> f64| {
            let mut figures: Vec<f64> = pairs.iter().map(figure).collect();
            let median = median(&mut figures);
            (median, spread(&figures, median))
        };
        let (ratio, spread) = median_of(|pair| pair.on / pair.off);
        Self {
            off: median_of(|pair| pair.off).0,
            on: median_of(|pair| pair.on).0,
            ratio,
            spread,
        }
    }

    fn table(&self) -> String {
        let head = ["row", "unit", "off", "on", "ratio", "spread"];
        let row = vec![
            "ledger with the flight recorder".to_owned(),
            "cpu us/request".to_owned(),
            format!("{:.2}", self.off),
            format!("{:.2}", self.on),
            format!("{:.3}", self.ratio),
            format!("{:.0} %", self.spread * 100.0),
        ];
        report::table(&head, &[row])
    }

    fn line(&self) -> String {
        format!(
            "recording costs {:+.1} % of processor time, limit {:+.1} %",
            percent(self.ratio),
            percent(LIMIT)
        )
    }
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

const MICROS_A_SECOND: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_read_out_of_what_the_ledger_prints() {
        let printed =
            "\nrequests answered       200 (3 refused)\nprocessor time          0.004 s\n";
        assert_eq!(cost(printed).expect("both stand there"), 20.0);
        assert!(cost("requests answered 3\n").is_err());
        assert!(cost("requests answered 3\nprocessor time x s\n").is_err());
    }

    #[test]
    fn the_median_of_the_pairs_counts() {
        let pair = |off: f64, on: f64| Pair { off, on };
        let figures = Figures::of(&[pair(10.0, 11.0), pair(20.0, 20.2), pair(5.0, 4.0)]);
        assert_eq!(figures.ratio, 20.2 / 20.0);
        assert_eq!(
            figures.line(),
            "recording costs +1.0 % of processor time, limit +3.0 %"
        );
    }
}
