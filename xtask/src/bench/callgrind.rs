//! Instructions of a row, counted by callgrind.
//!
//! A row runs with one batch and with some more, and the difference is that of the operations: starting, warming up and stopping are in both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process;

/// Why nothing can be counted here.
pub(crate) fn missing() -> Option<&'static str> {
    let found = Command::new("valgrind").arg("--version").output();
    match found {
        Ok(output) if output.status.success() => None,
        _ => Some(
            "valgrind is not installed (Debian: apt-get install valgrind), so instructions cannot be counted",
        ),
    }
}

/// What is counted.
pub(super) struct Run<'r> {
    pub(super) suite: &'r str,
    pub(super) row: &'r str,
    pub(super) runtime: &'r str,
    /// Operations in a batch.
    pub(super) ops: u64,
    /// Batches that the longer run has more.
    pub(super) batches_more: u64,
}

/// Instructions by operation.
pub(super) struct Counted {
    /// Of the measured binary itself.
    pub(super) own: f64,
    /// Of the libraries as well.
    pub(super) all: f64,
}

/// Counts a row; nothing if it is of one size, whatever it is asked for.
pub(super) fn count(
    binary: &Path,
    run: &Run<'_>,
) -> Result<Option<Counted>, Box<dyn std::error::Error>> {
    let short = once(binary, run, 1)?;
    let long = once(binary, run, 1 + run.batches_more)?;
    if long.ops <= short.ops {
        return Ok(None);
    }
    let ops = (long.ops - short.ops) as f64;
    Ok(Some(Counted {
        own: long.own.saturating_sub(short.own) as f64 / ops,
        all: long.all.saturating_sub(short.all) as f64 / ops,
    }))
}

/// Operations and instructions of one process.
struct Once {
    ops: u64,
    own: u64,
    all: u64,
}

fn once(binary: &Path, run: &Run<'_>, batches: u64) -> Result<Once, Box<dyn std::error::Error>> {
    let out = binary.with_extension("callgrind");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind");
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(binary);
    command.args([
        "count",
        run.suite,
        "--row",
        run.row,
        "--runtime",
        run.runtime,
    ]);
    command.args(["--ops", &run.ops.to_string()]);
    command.args(["--batches", &batches.to_string()]);
    let printed: Value = serde_json::from_str(&process::stdout_of(&mut command)?)?;
    let profile = std::fs::read_to_string(&out)?;
    let object = binary.file_name().and_then(|name| name.to_str());
    let own = instructions_of(&profile, |path| path.rsplit('/').next() == object);
    let ops = printed["ops"].as_u64();
    match own {
        0 => Err(format!("callgrind counted nothing in `{}`", run.row).into()),
        own => Ok(Once {
            ops: ops.ok_or("a count has no `ops`")?,
            own,
            all: instructions_of(&profile, |_| true),
        }),
    }
}

/// Sums what callgrind charged to the functions of some objects, called functions aside.
fn instructions_of(profile: &str, is_wanted: impl Fn(&str) -> bool) -> u64 {
    let mut objects: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut is_counted, mut is_call, mut sum) = (false, false, 0);
    for line in profile.lines() {
        if let Some(name) = line
            .strip_prefix("ob=")
            .or_else(|| line.strip_prefix("cob="))
        {
            // The path stands behind its number the first time, and the number stands alone afterwards.
            let (number, path) = name.split_once(' ').unwrap_or((name, ""));
            let is_object = objects.entry(number).or_insert_with(|| is_wanted(path));
            if line.starts_with("ob=") {
                is_counted = *is_object;
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|sign: char| sign.is_ascii_digit() || "+-*".contains(sign)) {
            let cost = line.split(' ').nth(1);
            let cost = cost.and_then(|cost| cost.parse::<u64>().ok());
            if is_counted && !is_call {
                sum += cost.unwrap_or_default();
            }
            is_call = false;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
events: Ir
summary: 99

ob=(1) /usr/lib/libc.so.6
fl=(1) malloc.c
fn=(1) malloc
10 7
+2 3

ob=(2) /some/release/bench-run
fl=(2) worker.rs
fn=(2) next
16 400
* 4
-1 2
cob=(1)
cfn=(1)
calls=1 10
+3 10
+1 5

fn=(3) wake
cob=(3) /lib/ld.so
cfn=(4) start
calls=2 8
20 1000
21 6

ob=(1)
fn=(1)
10 50
ob=(2)
fn=(2)
17 3
";

    #[test]
    fn only_the_object_itself_counts_and_not_what_it_calls() {
        let of = |object: &str| instructions_of(PROFILE, |path| path.ends_with(object));
        let (own, libc) = (400 + 4 + 2 + 5 + 6 + 3, 7 + 3 + 50);
        assert_eq!(of("/bench-run"), own);
        assert_eq!(of("/libc.so.6"), libc);
        assert_eq!(of("/nothing"), 0);
        assert_eq!(instructions_of(PROFILE, |_| true), own + libc);
        assert_eq!(instructions_of("", |_| true), 0);
    }
}
