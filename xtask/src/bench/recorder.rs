//! What the flight recorder costs the ledger: the example with it and without it, in turn, by the processor time of a request.
//!
//! The time of the wall would say how fast the disk syncs; the time of the processors, which the example prints of its own process, is what recording adds to.
//! A pair of runs, one after the other, meets the same minute of the machine, so the ratio is taken of each pair, and the median of those counts.
//! On a busy machine a ratio varies by a tenth, and the limit is three hundredths: pairs are run until the median is clear of the limit by twice its error, or until there are as many as allowed.

use std::path::Path;
use std::process::Command;

use super::summary::{median, spread};
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process, report};

/// The processor time with the recorder over that without it.
const LIMIT: f64 = 1.03;
/// As many pairs at least, or as many as allowed.
const ROUNDS_MIN: usize = 15;
const ROUNDS_MAX_USUAL: usize = 101;

/// Builds the example, runs it in pairs, prints the table and the verdict.
pub(super) fn run(arguments: &[String]) -> Verdict {
    let (rounds, is_smoke) = match arguments {
        [] => (ROUNDS_MAX_USUAL, false),
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
    measure(&workspace.target, rounds, is_smoke)
}

/// Runs the example that stands in `target` already, once with the recorder and once without, without a limit.
pub(crate) fn smoke(target: &Path) -> Verdict {
    measure(target, 1, true)
}

fn measure(target: &Path, rounds: usize, is_smoke: bool) -> Verdict {
    let target = target.join("release");
    let ledger = target.join("examples/ledger");
    let record = target.join("ledger-flight.trace");
    let mut pairs = Vec::new();
    let mut figures = Figures::of(&pairs);
    while pairs.len() < rounds && !(pairs.len() >= ROUNDS_MIN && figures.is_clear()) {
        pairs.push(pair(&ledger, &record, pairs.len() % 2 == 0)?);
        figures = Figures::of(&pairs);
        eprintln!("bench recorder: {} pairs, {}", pairs.len(), figures.line());
    }
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
    /// Of the ratio.
    error: f64,
}

impl Figures {
    fn of(pairs: &[Pair]) -> Self {
        let figures = |figure: fn(&Pair) -> f64| pairs.iter().map(figure).collect::<Vec<f64>>();
        let median_of = |mut figures: Vec<f64>| match figures.as_slice() {
            [] => 1.0,
            _ => median(&mut figures),
        };
        let mut ratios = figures(|pair| pair.on / pair.off);
        let ratio = median_of(ratios.clone());
        ratios.sort_by(f64::total_cmp);
        Self {
            off: median_of(figures(|pair| pair.off)),
            on: median_of(figures(|pair| pair.on)),
            ratio,
            spread: spread(&ratios, ratio),
            error: error_of_median(&ratios),
        }
    }

    /// Whether more pairs would hardly change on which side of the limit the ratio is.
    fn is_clear(&self) -> bool {
        (self.ratio - LIMIT).abs() > 2.0 * self.error
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
            "recording costs {:+.1} % of processor time, give or take {:.1}, limit {:+.1} %",
            percent(self.ratio),
            self.error * 100.0,
            percent(LIMIT)
        )
    }
}

/// The standard error of a median, if the figures are spread like a bell; infinite for fewer than two.
fn error_of_median(figures: &[f64]) -> f64 {
    let count = figures.len() as f64;
    if count < 2.0 {
        return f64::INFINITY;
    }
    let mean = figures.iter().sum::<f64>() / count;
    let square = |figure: &f64| (figure - mean).powi(2);
    let variance = figures.iter().map(square).sum::<f64>() / (count - 1.0);
    (std::f64::consts::FRAC_PI_2 * variance / count).sqrt()
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

    fn figures(ratios: &[f64]) -> Figures {
        let pair = |ratio: &f64| Pair {
            off: 10.0,
            on: 10.0 * ratio,
        };
        Figures::of(&ratios.iter().map(pair).collect::<Vec<_>>())
    }

    #[test]
    fn the_median_of_the_pairs_counts() {
        let figures = figures(&[1.1, 1.01, 0.8]);
        assert!((figures.ratio - 1.01).abs() < 1e-9);
        let line = figures.line();
        assert!(
            line.starts_with("recording costs +1.0 % of processor time, give or take 11.1,"),
            "{line}"
        );
        assert!(line.ends_with("limit +3.0 %"), "{line}");
    }

    #[test]
    fn pairs_are_run_until_the_ratio_is_clear_of_the_limit() {
        assert!(!figures(&[]).is_clear());
        assert!(!figures(&[1.0]).is_clear());
        assert!(!figures(&[0.9, 1.0, 1.1]).is_clear(), "it may be above");
        let near = [1.0, 1.001, 0.999, 1.002, 1.0];
        assert!(figures(&near).is_clear());
        assert!(
            figures(&near.map(|ratio| ratio + 0.06)).is_clear(),
            "clearly above"
        );
    }
}
