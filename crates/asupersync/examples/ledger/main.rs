//! A money-transfer service: what it takes to lose nothing.
//!
//! `ledger` alone starts the service on a free port, drives it with real clients, cuts a third of them off, restarts it under way, shuts it down in full flight with a signal, recovers from the journal and audits.
//! `ledger --record FILE` does the same with the flight recorder on, and leaves in FILE what happened last; `asupersync lab show FILE` opens it.
//! `ledger generate` prints the input, `transfers.ndjson`, anew.
//!
//! `ledger serve` runs it for real, until it is told to end by Ctrl-C or `kill`:
//!
//! ```sh
//! cargo run --release --example ledger -- serve --addr 127.0.0.1:7070 --journal ledger.ndjson
//! ```
//!
//! It takes one JSON object a line and answers each with one, in order; from Python:
//!
//! ```python
//! import json, socket
//! lines = socket.create_connection(("127.0.0.1", 7070)).makefile("rw")
//! def ask(**request):
//!     print(json.dumps(request), file=lines, flush=True)
//!     return json.loads(lines.readline())
//! ask(op="open", id="o1", account="ada", balance=100)
//! ask(op="open", id="o2", account="alan", balance=0)
//! ask(op="transfer", id="t1", **{"from": "ada"}, to="alan", amount=30)  # {'id': 't1', 'ok': True, 'seq': 2}
//! ask(op="balance", account="alan")                                     # {'balance': 30, 'ok': True}
//! ask(op="statement", account="ada", limit=5)                           # {'entries': [...], 'ok': True}
//! ```
//!
//! An answer without `"ok": true` says in `error` and `message` what was wrong, and nothing was changed.
//! The `id` of `open` and `transfer` is the client's: asked again with the same id, after a broken connection or an `error` of `storage`, a request is done once.
//!
//! `service.rs` is the part to read first.

mod drive;
mod input;
mod journal;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use asupersync::net::TcpListener;
use asupersync::{Cx, RuntimeBuilder, run_main};

use crate::service::{Acknowledge, LedgerError, ServeOptions, Stats, serve};

const USAGE: &str = "\
usage: ledger [--record FILE]                       drives itself, and audits; FILE is its flight record
       ledger serve --addr ADDRESS --journal FILE   serves until it is told to end
       ledger generate                              prints the input of the first";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => drive::demonstrate(None),
        ["--record", file] => drive::demonstrate(Some(Path::new(file))),
        ["generate"] => {
            print!("{}", input::generate());
            ExitCode::SUCCESS
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["serve", "--addr", address, "--journal", journal]
        | ["serve", "--journal", journal, "--addr", address] => {
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

/// An error for people, with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.told())]
struct Told(#[from] LedgerError);

async fn listen(cx: &Cx, address: &str, journal: PathBuf) -> Result<(), Told> {
    let listener = TcpListener::bind(cx, address)
        .await
        .map_err(LedgerError::from)?;
    let address = listener.local_addr().map_err(LedgerError::from)?;
    // Whoever starts the service reads the port from here.
    eprintln!("ledger: listening on {address}");
    let stats = Arc::new(Stats::default());
    let options = ServeOptions {
        journal: &journal,
        stats: &stats,
        acknowledge: Acknowledge::AfterSync,
    };
    serve(cx, &listener, options).await.flatten()?;
    Ok(())
}
