//! From a program's outcome to its exit code.

use std::process::ExitCode;

use asupersync_core::{CancelKind, ErrOf, IntoOutcome, Outcome};
use asupersync_kernel::Cx;

use crate::builder::RuntimeBuilder;
use crate::runtime::ShutdownReport;

/// Runs a program and gives its exit code; what `#[asupersync::main]` expands to.
///
/// What the program left behind, and a runtime that could not be built, are printed to standard error.
pub fn run_main<F, Fut>(builder: RuntimeBuilder, body: F) -> ExitCode
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome>,
    ErrOf<Fut>: std::fmt::Display,
{
    let mut runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime could not be built: {error}");
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(body);
    print_unfinished(runtime.last_shutdown());
    exit_code(&outcome)
}

fn print_unfinished(report: &ShutdownReport) {
    if report.unfinished.is_empty() {
        return;
    }
    eprintln!(
        "asupersync: after {:?} of shutdown, {} had not ended:",
        report.took,
        report.unfinished.len()
    );
    for left in &report.unfinished {
        let name = left.name.as_deref().unwrap_or("unnamed");
        let running = if left.running {
            ", running without a yield"
        } else {
            ""
        };
        eprintln!("    {:?} ({name}){running}", left.subject);
    }
}

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
