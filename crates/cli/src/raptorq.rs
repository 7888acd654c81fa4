//! `asupersync raptorq`: files to packets and back.
//!
//! A packet file holds what a network would carry: the transmission information, then packets of
//! equal length. Encoding and decoding hold one source block at a time, not the file.

mod bench;
mod decode;
mod demo;
mod encode;
mod file;

use std::io;
use std::path::{Path, PathBuf};

use asupersync_raptorq::{CodeError, ObjectError, OtiError, StreamError};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encode a file into a packet file.
    Encode(encode::Options),
    /// Recover a file from a packet file, whatever packets it lacks.
    Decode(decode::Options),
    /// Show what a packet file holds.
    Info(file::InfoOptions),
    /// Measure encoding and decoding on this machine.
    Bench(bench::Options),
    /// Encode a file, lose packets on the way, and recover it.
    Demo(demo::Options),
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is empty, and RFC 6330 describes no empty object", path.display())]
    Empty { path: PathBuf },
    #[error("{} is no packet file: {reason}", path.display())]
    NotPackets { path: PathBuf, reason: &'static str },
    #[error("{} holds {actual} octets, and a key has 32", path.display())]
    Key { path: PathBuf, actual: usize },
    #[error("the packets are sealed: give their key with --key")]
    KeyNeeded,
    #[error("the packets are not sealed, so a key says nothing about them")]
    KeyUnneeded,
    #[error("the file cannot be described")]
    Oti(#[from] OtiError),
    #[error("the file cannot be encoded")]
    Code(#[from] CodeError),
    #[error("the file cannot be encoded")]
    Stream(#[from] StreamError),
    #[error("the file cannot be recovered")]
    Object(#[from] ObjectError),
    #[error("{} exists and is no regular file", path.display())]
    NoFile { path: PathBuf },
    #[error(
        "{recovered} of {blocks} blocks recovered; more packets are needed than the {used} used, {dropped} dropped and {rejected} rejected as corrupt or sealed with another key"
    )]
    Incomplete {
        recovered: usize,
        blocks: usize,
        used: u64,
        dropped: u64,
        rejected: u64,
    },
    #[error("what was recovered differs from what was encoded")]
    Differs,
}

/// Runs a command.
pub(crate) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Encode(options) => encode::run(&options),
        Command::Decode(options) => decode::run(&options),
        Command::Info(options) => file::info(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Demo(options) => demo::run(&options),
    }
}

/// Names the file that an I/O error is about.
fn about<T>(outcome: io::Result<T>, action: &'static str, path: &Path) -> Result<T, CommandError> {
    outcome.map_err(|source| CommandError::File {
        action,
        path: path.to_owned(),
        source,
    })
}

/// A bar over octets; invisible where nobody looks.
fn progress(octets: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    );
    let bar = ProgressBar::new(octets).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
