//! Gates on instructions: what one operation of the kernel executes, counted by callgrind, beside what is written down.
//!
//! Time varies by a third on a busy machine, and a count does not.
//! Only instructions of the measured binary count; those of the C library differ with its version and with the features of the processor.
//! The counts belong to the toolchain, which is pinned, and to the architecture; `--write` writes them down anew.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::callgrind::{self, Run};
use crate::workspace::Workspace;
use crate::{Verdict, report};

/// What is counted: its name, and the row of a suite that does it.
struct Gate {
    name: &'static str,
    suite: &'static str,
    row: &'static str,
}

const GATES: [Gate; 13] = [
    gate("spawn and join", "compare", "spawn+join one after another"),
    gate("spawn many and join", "compare", "spawn+join batch of 100k"),
    gate(
        "wake another task, and be woken",
        "sync",
        "notify ping-pong",
    ),
    gate("poll", "compare", "poll that wakes itself"),
    gate("yield", "compare", "yield 2 tasks"),
    gate("mpsc send and recv", "compare", "mpsc(128) 1->1"),
    gate(
        "oneshot create, send, recv",
        "sync",
        "oneshot create, send, receive",
    ),
    gate("lock and unlock", "sync", "mutex alone"),
    gate("acquire and release a permit", "sync", "semaphore alone"),
    gate(
        "timer insert and cancel",
        "compare",
        "timer register + drop",
    ),
    gate("checkpoint", "compare", "checkpoint"),
    gate(
        "open and close a region",
        "compare",
        "region without children",
    ),
    gate(
        "reserve and commit an obligation",
        "compare",
        "obligation reserve + commit",
    ),
];

const fn gate(name: &'static str, suite: &'static str, row: &'static str) -> Gate {
    Gate { name, suite, row }
}

/// Operations in a batch.
const OPS: u64 = 20_000;
/// More than this share above what is written down is a regression.
const TOLERANCE: f64 = 0.03;
/// From the workspace's root.
const FILE: &str = "benches/gates.json";

/// Builds the binary, counts, and compares with what is written down; `--write` writes it down.
pub(super) fn run(arguments: &[String]) -> Verdict {
    let is_written = match arguments {
        [] => false,
        [option] if option == "--write" => true,
        other => return Err(format!("unknown arguments {other:?}").into()),
    };
    if let Some(reason) = callgrind::missing() {
        return Err(reason.into());
    }
    let workspace = Workspace::load()?;
    super::build(super::PACKAGE, super::BINARY)?;
    let counts = count_all(&workspace.target)?;
    let file = workspace.root.join(FILE);
    let known = known(&std::fs::read_to_string(&file).unwrap_or_default())?;
    let known_here = known.get(ARCH).cloned().unwrap_or_default();
    let rows: Vec<Judged> = judged(&counts, &known_here);
    print!("{}", table(&rows));
    if is_written {
        let mut known = known;
        known.insert(ARCH.to_owned(), counts);
        std::fs::write(&file, format!("{:#}\n", json!(known)))?;
        println!("bench gates: {} counts written to {FILE}", rows.len());
        return Ok(true);
    }
    let (is_met, line) = verdict(&rows);
    println!("bench gates: {line}");
    Ok(is_met)
}

/// Instructions by operation, by the gate's name.
type Counts = BTreeMap<String, f64>;

fn count_all(target: &Path) -> Result<Counts, Box<dyn std::error::Error>> {
    let binary = target.join("release").join(super::BINARY);
    let mut counts = Counts::new();
    for (index, gate) in GATES.iter().enumerate() {
        eprintln!("bench gates: {}/{} {}", index + 1, GATES.len(), gate.name);
        let run = Run {
            suite: gate.suite,
            row: gate.row,
            runtime: "ours-1",
            ops: OPS,
            batches_more: 2,
        };
        let counted = callgrind::count(&binary, &run)?;
        let counted = counted.ok_or_else(|| format!("`{}` is always of one size", gate.row))?;
        let own = (counted.own * 10.0).round() / 10.0;
        counts.insert(gate.name.to_owned(), own);
    }
    Ok(counts)
}

/// The counts that are written down, by architecture.
fn known(text: &str) -> Result<BTreeMap<String, Counts>, Box<dyn std::error::Error>> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value: Value = serde_json::from_str(text)?;
    let by_architecture = value.as_object().ok_or("the counts are no object")?;
    let counts = |value: &Value| -> Result<Counts, Box<dyn std::error::Error>> {
        let counts = value.as_object().ok_or("an architecture has no counts")?;
        let number = |(name, count): (&String, &Value)| Some((name.clone(), count.as_f64()?));
        let numbers = counts.iter().map(number).collect::<Option<_>>();
        Ok(numbers.ok_or("a count is no number")?)
    };
    let architectures = by_architecture.iter();
    architectures
        .map(|(name, value)| Ok((name.clone(), counts(value)?)))
        .collect()
}

/// A count beside what is written down.
struct Judged {
    name: String,
    count: f64,
    known: Option<f64>,
}

impl Judged {
    fn change(&self) -> Option<f64> {
        self.known.map(|known| self.count / known - 1.0)
    }

    fn is_regression(&self) -> bool {
        self.change().is_none_or(|change| change > TOLERANCE)
    }
}

fn judged(counts: &Counts, known: &Counts) -> Vec<Judged> {
    let judge = |(name, count): (&String, &f64)| Judged {
        name: name.clone(),
        count: *count,
        known: known.get(name).copied(),
    };
    counts.iter().map(judge).collect()
}

fn table(rows: &[Judged]) -> String {
    let cells = |row: &Judged| {
        let known = row
            .known
            .map_or("-".to_owned(), |known| format!("{known:.1}"));
        let change = row
            .change()
            .map_or("-".to_owned(), |change| format!("{:+.2} %", change * 100.0));
        let note = match row.change() {
            Some(change) if change > TOLERANCE => "REGRESSION",
            Some(change) if change < -TOLERANCE => "better; `--write` keeps it",
            Some(_) => "",
            None => "not written down",
        };
        vec![
            row.name.clone(),
            format!("{:.1}", row.count),
            known,
            change,
            note.to_owned(),
        ]
    };
    let head = ["operation", "instructions", "written", "change", ""];
    report::table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Whether no count has grown beyond the tolerance, and the line that says so.
fn verdict(rows: &[Judged]) -> (bool, String) {
    let worse: Vec<&str> = rows
        .iter()
        .filter(|row| row.is_regression())
        .map(|row| row.name.as_str())
        .collect();
    let limit = format!("limit {:+.0} %", TOLERANCE * 100.0);
    match worse.as_slice() {
        [] => (
            !rows.is_empty(),
            format!(
                "{} counts are within what is written in {FILE}, {limit}",
                rows.len()
            ),
        ),
        worse => (
            false,
            format!(
                "{} of {} counts are above what is written in {FILE}, or not written ({}), {limit}; where that is meant, `cargo xtask bench gates --write`",
                worse.len(),
                rows.len(),
                worse.join(", ")
            ),
        ),
    }
}

const ARCH: &str = std::env::consts::ARCH;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(count: f64, known: Option<f64>) -> Judged {
        Judged {
            name: "yield".to_owned(),
            count,
            known,
        }
    }

    #[test]
    fn three_hundredths_more_pass_and_four_do_not() {
        assert!(verdict(&[row(102.9, Some(100.0))]).0);
        assert!(verdict(&[row(50.0, Some(100.0))]).0);
        let (is_met, line) = verdict(&[row(1.0, Some(1.0)), row(104.0, Some(100.0))]);
        assert!(!is_met);
        assert!(
            line.starts_with("1 of 2 counts are above") && line.contains("yield"),
            "{line}"
        );
        assert!(table(&[row(104.0, Some(100.0))]).contains("REGRESSION"));
        assert!(table(&[row(90.0, Some(100.0))]).contains("better"));
    }

    #[test]
    fn a_count_that_is_not_written_down_falls_short() {
        assert!(!verdict(&[row(1.0, None)]).0);
        assert!(!verdict(&[]).0);
    }

    #[test]
    fn the_file_holds_counts_by_architecture() {
        let text = json!({"x86_64": {"yield": 700.5}}).to_string();
        assert_eq!(known(&text).expect("whole")["x86_64"]["yield"], 700.5);
        assert!(known("").expect("empty").is_empty());
        assert!(known("{\"x86_64\": {\"yield\": \"many\"}}").is_err());
        assert!(known("[]").is_err());
    }

    #[test]
    fn gates_have_names_of_their_own() {
        let names: std::collections::BTreeSet<&str> = GATES.iter().map(|gate| gate.name).collect();
        assert_eq!(names.len(), GATES.len());
    }
}
