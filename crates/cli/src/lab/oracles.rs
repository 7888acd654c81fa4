//! `asupersync lab oracles`.

use asupersync_lab::Law;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) {
    if options.json {
        let law = |law: &Law| serde_json::json!({ "law": law.name(), "says": law.sentence() });
        println!(
            "{}",
            Law::ALL.iter().map(law).collect::<serde_json::Value>()
        );
        return;
    }
    for law in Law::ALL {
        println!("{:22} {}", law.name(), law.sentence());
    }
    println!("oracles: {} laws", Law::ALL.len());
}
