//! What a failing test leaves behind, as files named after it.
//!
//! # Files
//! The crashpack always; and where `ASUPERSYNC_TEST_ARTIFACTS_DIR` names a folder, also the event log, the failed assertion with what led to it, and a manifest in JSON from which a machine can reproduce the failure.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use asupersync_trace::VERSION as TRACE_VERSION;

use crate::crashpack::{Crashpack, VERSION as CRASHPACK_VERSION};
use crate::snapshot::SNAPSHOT_VERSION;

/// The variable that names the folder for what failures leave behind.
const VARIABLE: &str = "ASUPERSYNC_TEST_ARTIFACTS_DIR";

/// Where a failure's files go, and how they are called.
pub(crate) struct Artifacts {
    folder: PathBuf,
    /// The test's name and the seed, as part of a file's name.
    stem: String,
    /// Whether the folder was asked for, and more than the crashpack is wanted.
    is_wanted: bool,
}

impl Artifacts {
    pub(crate) fn of(test: &str, seed: u64) -> Self {
        let wanted = std::env::var_os(VARIABLE);
        let is_wanted = wanted.is_some();
        let folder = wanted.map_or_else(|| std::env::temp_dir().join("asupersync"), PathBuf::from);
        let short = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let test: String = test.chars().map(short).collect();
        Self {
            folder,
            stem: format!("{test}-{seed}"),
            is_wanted,
        }
    }

    pub(crate) fn crashpack(&self) -> PathBuf {
        self.file("crashpack")
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    /// Writes the files; an error says in one line what went wrong.
    pub(crate) fn write(&self, pack: &Crashpack, told: &str) -> Result<(), String> {
        let folder = fs::create_dir_all(&self.folder);
        folder.map_err(|error| refusal(&self.folder, &error))?;
        let path = self.crashpack();
        pack.save(&path).map_err(|error| with_causes(&error))?;
        if !self.is_wanted {
            return Ok(());
        }
        let (events, assertions) = (self.file("events.txt"), self.file("failure.txt"));
        write(&events, &pack.trace.to_text())?;
        write(&assertions, &failure(pack, told))?;
        let files = [
            ("crashpack", &path),
            ("event_log", &events),
            ("failed_assertions", &assertions),
        ];
        write(&self.file("reproduction.json"), &manifest(pack, &files))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| refusal(path, &error))
}

fn refusal(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

/// What was wrong, what led to it, and what there was then.
fn failure(pack: &Crashpack, told: &str) -> String {
    let there = pack.snapshot.as_ref().map(ToString::to_string);
    format!("{told}\n\n{}", there.unwrap_or_default())
}

/// All that reproduces the failure, as one JSON object.
fn manifest(pack: &Crashpack, files: &[(&str, &PathBuf)]) -> String {
    let versions = [
        ("asupersync", quoted(&pack.version)),
        ("crashpack", CRASHPACK_VERSION.to_owned()),
        ("trace", TRACE_VERSION.to_string()),
        ("snapshot", SNAPSHOT_VERSION.to_string()),
    ];
    let files: Vec<(&str, String)> = files
        .iter()
        .map(|(name, path)| (*name, quoted(&path.display().to_string())))
        .collect();
    let snapshot = pack.snapshot.as_ref();
    let hash = snapshot.map_or("null".to_owned(), |snapshot| {
        quoted(&snapshot.hash_in_hex())
    });
    let whole = [
        ("test", quoted(&pack.program)),
        ("finding", quoted(&pack.finding)),
        ("seed", pack.seed.to_string()),
        ("strategy", quoted(&pack.strategy)),
        ("schedule", quoted(&pack.schedule.to_string())),
        ("config", quoted(&pack.config)),
        ("replay", quoted(&pack.replay)),
        ("snapshot_hash", hash),
        ("files", object(&files)),
        ("versions", object(&versions)),
    ];
    format!("{}\n", object(&whole))
}

/// A JSON object of values that are JSON already.
fn object(fields: &[(&str, String)]) -> String {
    let field = |(name, value): &(&str, String)| format!("{}: {value}", quoted(name));
    let fields: Vec<String> = fields.iter().map(field).collect();
    format!("{{{}}}", fields.join(", "))
}

/// A JSON string.
///
/// # Source
/// RFC 8259, section 7.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a `String` does not fail; control characters have at most four digits.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// An error with what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_json_string(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).expect("it is one"), text);
        }
    }
}
