//! A money-transfer service: what it takes to lose nothing.
//!
//! `ledger` alone starts the service on a free port, drives it with real clients, cuts a third of them off, restarts it under way, shuts it down in full flight with a signal, recovers from the journal and audits.
//! `ledger serve --addr 127.0.0.1:7070 --journal ledger.ndjson` runs it for real: one JSON object a line, see `service.rs`.
//! `ledger generate` prints the input, `transfers.ndjson`, anew.
//!
//! `service.rs` is the part to read first.

mod drive;
mod input;
mod journal;
mod service;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use asupersync::net::TcpListener;
use asupersync::{Cx, RuntimeBuilder, run_main};

use crate::service::{LedgerError, Stats, serve};

const USAGE: &str = "usage: ledger | ledger serve --addr ADDRESS --journal FILE | ledger generate";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => drive::demonstrate(),
        ["generate"] => {
            print!("{}", input::generate());
            ExitCode::SUCCESS
        }
        ["serve", "--addr", address, "--journal", journal] => {
            let (address, journal) = ((*address).to_owned(), PathBuf::from(journal));
            run_main(RuntimeBuilder::new(), async |cx| {
                listen(&cx, &address, journal).await
            })
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

async fn listen(cx: &Cx, address: &str, journal: PathBuf) -> Result<(), LedgerError> {
    let listener = TcpListener::bind(cx, address).await?;
    // Whoever starts the service reads the port from here.
    eprintln!("ledger: listening on {}", listener.local_addr()?);
    let stats = Arc::new(Stats::default());
    serve(cx, &listener, &journal, &stats).await.flatten()
}
