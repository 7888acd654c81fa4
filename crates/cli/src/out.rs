//! Standard output, which whoever reads it may close before the end, as `head` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::process;

/// As `println!`, but ends the command quietly once nobody reads any more.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::out::write(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Writes to standard output.
///
/// # Panics
/// If that fails, unless nobody reads it.
pub(crate) fn write(text: Arguments<'_>) {
    match stdout().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(CLOSED_PIPE),
        Err(error) => panic!("standard output cannot be written to: {error}"),
    }
}

/// What a shell reports of a command that was ended by the signal for a closed pipe: 128 and the signal's number.
const CLOSED_PIPE: i32 = 141;
