//! From a program's outcome to its exit code.

use std::process::ExitCode;

use asupersync_core::{CancelKind, Outcome};

/// The exit code of a program: 0 for a value, 1 for an error or a cancellation, 130 if a signal or the host ended it, 101 after a panic.
///
/// Errors, cancellations and panics are printed to standard error.
pub fn exit_code<T, E: std::fmt::Display>(outcome: &Outcome<T, E>) -> ExitCode {
    match outcome {
        Outcome::Ok(_) => ExitCode::SUCCESS,
        Outcome::Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
        Outcome::Cancelled(reason) => {
            eprintln!("cancelled: {reason}");
            let interrupted = reason.root_cause().kind() == CancelKind::Shutdown
                || reason.kind() == CancelKind::Shutdown;
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
        Outcome::Panicked(payload) => {
            eprintln!("{payload}");
            ExitCode::from(101)
        }
    }
}
