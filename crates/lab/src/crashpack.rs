//! A failing run in one file.
//!
//! # Layout
//! Lines of text, each a name and a value; `evidence` may stand several times, and all others once.
//! The last lines of text, `snapshot` and `trace`, say how many bytes of each follow; the first, after the file's name and version, is the BLAKE3 hash of all that follows it.
//! Version 1, which is read too, has no snapshot.
//!
//! # Invariants
//! - What is read is what was written, or an error says what is wrong with the file.
//! - A pack holds all that a replay needs but the program itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use asupersync_trace::{DecodeError, EncodeError, Trace};

use crate::schedule::{Schedule, ScheduleError};
use crate::snapshot::{RestorableSnapshot, SnapshotError};

/// All that is needed to replay a failure.
///
/// # Examples
/// ```
/// use asupersync_lab::{Crashpack, Schedule, Trace};
/// let pack = Crashpack {
///     program: "tests::transfer".to_owned(),
///     version: "0.1.0".to_owned(),
///     config: String::new(),
///     seed: 7,
///     strategy: "pct2".to_owned(),
///     schedule: "picks=0,1".parse()?,
///     finding: "panicked: 3 != 4".to_owned(),
///     evidence: vec!["#4 T1.0 mutex.lock".to_owned()],
///     replay: "ASUPERSYNC_REPLAY=f cargo test transfer".to_owned(),
///     snapshot: None,
///     trace: Trace::default(),
/// };
/// assert_eq!(Crashpack::decode(&pack.encode()?)?, pack);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crashpack {
    /// The program's name: a test's path, or a zoo program's name.
    pub program: String,
    /// The version of this crate that wrote it.
    pub version: String,
    /// The lab's configuration, as its `Debug` form says it.
    pub config: String,
    /// The seed.
    pub seed: u64,
    /// The strategy that found it.
    pub strategy: String,
    /// What was decided.
    pub schedule: Schedule,
    /// What was wrong.
    pub finding: String,
    /// The steps that led to it, a line each.
    pub evidence: Vec<String>,
    /// The command that replays it.
    pub replay: String,
    /// What there was at the finding.
    pub snapshot: Option<RestorableSnapshot>,
    /// What happened, up to the finding.
    pub trace: Trace,
}

/// Why a file is not a crashpack that can be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrashpackError {
    /// The file cannot be read or written.
    #[error("the crashpack {} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("the file is no crashpack: its first line is not `{MAGIC}`")]
    NotACrashpack,
    /// The file is of another version.
    #[error("the crashpack has version {version}, and versions 1 to {VERSION} can be read")]
    UnknownVersion {
        /// Its version.
        version: String,
    },
    /// The file was cut or changed.
    #[error("the crashpack was cut or changed: its hash is not that of its content")]
    Damaged,
    /// A line is missing or says something that it cannot.
    #[error("the crashpack's line `{line}` is missing or malformed")]
    Malformed {
        /// The line's name.
        line: &'static str,
    },
    /// The schedule is none.
    #[error("the crashpack's schedule is malformed")]
    Schedule(#[from] ScheduleError),
    /// The snapshot in it is none, or was changed.
    #[error("the crashpack's snapshot cannot be used")]
    Snapshot(#[from] SnapshotError),
    /// The recording in it is none.
    #[error("the crashpack's recording cannot be read")]
    Trace(#[from] DecodeError),
    /// The recording cannot be written.
    #[error("the recording cannot be written")]
    Encode(#[from] EncodeError),
}

impl Crashpack {
    /// The pack as a file's content.
    ///
    /// # Errors
    /// If the trace is too large.
    pub fn encode(&self) -> Result<Vec<u8>, CrashpackError> {
        let recording = self.trace.encode()?;
        let mut text = String::new();
        let lines = [
            ("program", &self.program),
            ("version", &self.version),
            ("config", &self.config),
            ("seed", &self.seed.to_string()),
            ("strategy", &self.strategy),
            ("schedule", &self.schedule.to_string()),
            ("finding", &self.finding),
            ("replay", &self.replay),
        ];
        // Writing to a `String` does not fail.
        for (name, value) in lines {
            let _ = writeln!(text, "{name}: {}", escaped(value));
        }
        for line in &self.evidence {
            let _ = writeln!(text, "evidence: {}", escaped(line));
        }
        let snapshot = self.snapshot.as_ref().map(RestorableSnapshot::encode);
        let snapshot = snapshot.unwrap_or_default();
        let _ = writeln!(text, "snapshot: {} bytes", snapshot.len());
        let _ = writeln!(text, "trace: {} bytes", recording.len());
        let mut content = text.into_bytes();
        content.extend_from_slice(snapshot.as_bytes());
        content.extend_from_slice(&recording);
        let head = format!("{MAGIC} {VERSION}\nhash: {}\n", blake3::hash(&content));
        Ok([head.into_bytes(), content].concat())
    }

    /// The pack in a file's content, once its hash is right.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CrashpackError> {
        let (first, rest) = line(bytes).ok_or(CrashpackError::NotACrashpack)?;
        let version = first.strip_prefix(MAGIC).map(str::trim);
        let version = version.ok_or(CrashpackError::NotACrashpack)?;
        if ![VERSION_WITHOUT_SNAPSHOT, VERSION].contains(&version) {
            let version = version.to_owned();
            return Err(CrashpackError::UnknownVersion { version });
        }
        let (hash, content) = line(rest).ok_or(CrashpackError::Damaged)?;
        if hash.strip_prefix("hash: ") != Some(blake3::hash(content).to_hex().as_str()) {
            return Err(CrashpackError::Damaged);
        }
        decode_content(content, version == VERSION)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no crashpack.
    pub fn load(path: &Path) -> Result<Self, CrashpackError> {
        let bytes = std::fs::read(path).map_err(|source| CrashpackError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::decode(&bytes)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written, or the trace is too large.
    pub fn save(&self, path: &Path) -> Result<(), CrashpackError> {
        std::fs::write(path, self.encode()?).map_err(|source| CrashpackError::File {
            path: path.to_owned(),
            source,
        })
    }
}

fn decode_content(content: &[u8], has_snapshot: bool) -> Result<Crashpack, CrashpackError> {
    let mut rest = content;
    let mut take = |name: &'static str| {
        let malformed = CrashpackError::Malformed { line: name };
        let Some((text, after)) = line(rest) else {
            return Err(malformed);
        };
        let value = text
            .strip_prefix(name)
            .and_then(|text| text.strip_prefix(": "));
        let Some(value) = value else {
            return Err(malformed);
        };
        rest = after;
        Ok(unescaped(value))
    };
    let mut pack = Crashpack {
        program: take("program")?,
        version: take("version")?,
        config: take("config")?,
        seed: {
            let seed = take("seed")?;
            seed.parse()
                .map_err(|_| CrashpackError::Malformed { line: "seed" })?
        },
        strategy: take("strategy")?,
        schedule: take("schedule")?.parse()?,
        finding: take("finding")?,
        replay: take("replay")?,
        evidence: Vec::new(),
        snapshot: None,
        trace: Trace::default(),
    };
    while let Ok(evidence) = take("evidence") {
        pack.evidence.push(evidence);
    }
    let snapshot = has_snapshot.then(|| take("snapshot")).transpose()?;
    let length = take("trace")?;
    let snapshot_bytes = match &snapshot {
        Some(written) => bytes_of(written, "snapshot")?,
        None => 0,
    };
    let malformed = CrashpackError::Malformed { line: "snapshot" };
    let (snapshot, rest) = rest.split_at_checked(snapshot_bytes).ok_or(malformed)?;
    if bytes_of(&length, "trace")? != rest.len() {
        return Err(CrashpackError::Malformed { line: "trace" });
    }
    pack.snapshot = read_snapshot(snapshot)?;
    pack.trace = Trace::decode(rest)?;
    Ok(pack)
}

/// How many bytes a line says that follow.
fn bytes_of(value: &str, line: &'static str) -> Result<usize, CrashpackError> {
    let number = value.strip_suffix(" bytes").and_then(|n| n.parse().ok());
    number.ok_or(CrashpackError::Malformed { line })
}

fn read_snapshot(bytes: &[u8]) -> Result<Option<RestorableSnapshot>, CrashpackError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| CrashpackError::Malformed { line: "snapshot" })?;
    let snapshot = RestorableSnapshot::decode(text)?;
    snapshot.verify_integrity()?;
    Ok(Some(snapshot))
}

/// The first line, and what follows it.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((text, &bytes[end + 1..]))
}

/// A text in one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => {}
            },
            _ => plain.push(c),
        }
    }
    plain
}

const MAGIC: &str = "asupersync crashpack";
pub(crate) const VERSION: &str = "2";
const VERSION_WITHOUT_SNAPSHOT: &str = "1";

#[cfg(test)]
mod tests {
    use asupersync_trace::Structure;

    use super::*;

    fn pack() -> Crashpack {
        Crashpack {
            program: "it::money".to_owned(),
            version: "0.1.0".to_owned(),
            config: "LabConfig { max_steps: 3 }".to_owned(),
            seed: u64::MAX,
            strategy: "urw".to_owned(),
            schedule: "picks=0,2;faults=1;cut=drop@3".parse().expect("it is one"),
            finding: "panicked: left\nright \\n \r".to_owned(),
            evidence: vec!["one".to_owned(), String::new(), "evidence: two".to_owned()],
            replay: "ASUPERSYNC_REPLAY=f cargo test money".to_owned(),
            snapshot: Some(snapshot()),
            trace: Trace::default(),
        }
    }

    fn snapshot() -> RestorableSnapshot {
        let schedule = "picks=0,2".parse().expect("it is one");
        RestorableSnapshot::new(7, schedule, Structure::after(&[]))
    }

    /// The pack as version 1 wrote it.
    fn encoded_as_version_1(pack: &Crashpack) -> Vec<u8> {
        const LINE: &[u8] = b"snapshot: 0 bytes\n";
        let bytes = pack.encode().expect("it is small");
        let (_, rest) = line(&bytes).expect("the version");
        let (_, content) = line(rest).expect("the hash");
        let mut windows = content.windows(LINE.len());
        let place = windows.position(|window| window == LINE);
        let (before, after) = content.split_at(place.expect("it has none"));
        let content = [before, &after[LINE.len()..]].concat();
        let head = format!("{MAGIC} 1\nhash: {}\n", blake3::hash(&content));
        [head.into_bytes(), content].concat()
    }

    #[test]
    fn a_pack_of_version_1_is_read_without_a_snapshot() {
        let plain = Crashpack {
            snapshot: None,
            ..pack()
        };
        let read = Crashpack::decode(&encoded_as_version_1(&plain));
        assert_eq!(read.expect("it is whole"), plain);
        let bytes = plain.encode().expect("it is small");
        assert_eq!(Crashpack::decode(&bytes).expect("it is whole"), plain);
    }

    #[test]
    fn a_snapshot_that_was_changed_spoils_the_pack() {
        let mut changed = pack();
        let snapshot = changed.snapshot.as_mut().expect("it has one");
        snapshot.structure.step += 1;
        let bytes = changed.encode().expect("it is small");
        let refused = Crashpack::decode(&bytes).expect_err("it does not verify");
        assert!(matches!(
            refused,
            CrashpackError::Snapshot(SnapshotError::HashMismatch { .. })
        ));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let bytes = pack().encode().expect("it is small");
        assert_eq!(Crashpack::decode(&bytes).expect("it is whole"), pack());
    }

    #[test]
    fn a_changed_byte_anywhere_is_an_error() {
        let bytes = pack().encode().expect("it is small");
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(Crashpack::decode(&damaged).is_err(), "byte {index}");
            assert!(Crashpack::decode(&bytes[..index]).is_err(), "{index} bytes");
        }
    }

    #[test]
    fn foreign_files_and_versions_are_named() {
        let foreign = Crashpack::decode(b"\x7fELF").expect_err("it is none");
        assert!(matches!(foreign, CrashpackError::NotACrashpack));
        let newer = Crashpack::decode(b"asupersync crashpack 3\n").expect_err("it is newer");
        assert_eq!(
            newer.to_string(),
            "the crashpack has version 3, and versions 1 to 2 can be read"
        );
    }
}
