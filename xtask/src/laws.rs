//! The law sheet: checks every law of the combinators on random programs, and keeps `docs/laws.md` as the sheet says.
//!
//! The laws are values in the tests of `asupersync-combinator`, so this runs those tests; `--write` tells them to write the page first.

use crate::workspace::cargo;
use crate::{Verdict, process};

/// Runs the law sheet; `--write` regenerates its page.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let mut test = cargo();
    test.args([
        "test",
        "-p",
        "asupersync-combinator",
        "--test",
        "it",
        "laws",
    ]);
    match arguments {
        [] => {}
        [only] if only == "--write" => {
            test.env("ASUPERSYNC_LAWS", "write");
        }
        _ => return Err("the only argument is `--write`".into()),
    }
    Ok(process::run_shown(&mut test)?.success())
}
