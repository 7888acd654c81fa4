//! The `asupersync` command.
#![forbid(unsafe_code)]

#[macro_use]
mod out;

mod lab;
mod raptorq;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools of the asupersync runtime.
#[derive(Debug, Parser)]
#[command(name = "asupersync", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forward error correction of files (RaptorQ, RFC 6330).
    #[command(subcommand)]
    Raptorq(raptorq::Command),
    /// Schedules of concurrent programs: searched, replayed, shown.
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> ExitCode {
    let outcome: Result<(), Box<dyn Error>> = match Options::parse().command {
        Command::Raptorq(command) => raptorq::run(command).map_err(Into::into),
        Command::Lab(command) => lab::run(command).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
