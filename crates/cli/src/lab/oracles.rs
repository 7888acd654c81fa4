//! `asupersync lab oracles`.

use std::collections::BTreeSet;

use asupersync_lab::{Law, MutantRow, run_mutants};
use clap::Args;

use super::CommandError;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Break each law by a defect in the code that runs in production, and see whether its oracle fires.
    #[arg(long)]
    mutate: bool,
    /// Under how many seeds each defect, and each program without it, is run at most.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), CommandError> {
    if options.mutate {
        return mutate(options);
    }
    if options.json {
        let law = |law: &Law| serde_json::json!({ "law": law.name(), "says": law.sentence() });
        say!(
            "{}",
            Law::ALL.iter().map(law).collect::<serde_json::Value>()
        );
        return Ok(());
    }
    for law in Law::ALL {
        say!("{:22} {}", law.name(), law.sentence());
    }
    say!("oracles: {} laws", Law::ALL.len());
    Ok(())
}

fn mutate(options: &Options) -> Result<(), CommandError> {
    let rows = run_mutants(options.seeds);
    if options.json {
        say!("{}", rows.iter().map(json).collect::<serde_json::Value>());
    } else {
        say!("{:22} {:24} {:>6}  also fires", "law", "defect", "seeds");
        for row in &rows {
            say!("{}", line(row));
        }
    }
    let silent = rows.iter().filter(|row| !row.is_paid()).count();
    let alarms = rows.iter().map(|row| row.false_alarms).sum();
    let laws: BTreeSet<Law> = rows.iter().map(|row| row.law).collect();
    if !options.json {
        let word = if silent == 0 {
            "all fire"
        } else {
            "NOT all fire"
        };
        say!(
            "oracles: {} mutations of {} of {} laws, {word}, {alarms} false alarms",
            rows.len(),
            laws.len(),
            Law::ALL.len(),
        );
    }
    if silent > 0 || alarms > 0 {
        return Err(CommandError::Oracles { silent, alarms });
    }
    Ok(())
}

fn line(row: &MutantRow) -> String {
    let seeds = row.seeds_until_fired;
    let seeds = seeds.map_or_else(|| "NEVER".to_owned(), |seeds| seeds.to_string());
    let others = row.fired.iter().filter(|law| **law != row.law);
    let others: Vec<&str> = others.map(|law| law.name()).collect();
    let defect = format!("{:?}", row.mutation);
    format!(
        "{:22} {defect:24} {seeds:>6}  {}",
        row.law.name(),
        others.join(", ")
    )
    .trim_end()
    .to_owned()
}

fn json(row: &MutantRow) -> serde_json::Value {
    serde_json::json!({
        "law": row.law.name(),
        "mutation": format!("{:?}", row.mutation),
        "seeds": row.seeds_until_fired,
        "fired": row.fired.iter().map(|law| law.name()).collect::<Vec<_>>(),
        "false_alarms": row.false_alarms,
        "is_paid": row.is_paid(),
    })
}
