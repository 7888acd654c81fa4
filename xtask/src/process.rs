//! Child processes whose output goes to a file, with a sign of life while they run.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a logged child ended.
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    pub(crate) took: Duration,
    pub(crate) log: PathBuf,
}

/// Runs `command` with both outputs in `log`; every 20 s one line says that it lives.
///
/// A child that exceeds `limit` is killed with everything it started.
pub(crate) fn run_logged(
    name: &str,
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> io::Result<Ended> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut next_sign = SIGN_EVERY;
    let is_success = loop {
        if let Some(status) = child.try_wait()? {
            break status.success();
        }
        let took = start.elapsed();
        if took >= limit {
            kill_below(child.id());
            child.kill()?;
            child.wait()?;
            println!(
                "        {name}: killed after its limit of {} s",
                limit.as_secs()
            );
            break false;
        }
        if took >= next_sign {
            next_sign += SIGN_EVERY;
            println!("        {name}: {} s, {}", took.as_secs(), last_line(log));
        }
        std::thread::sleep(POLL_EVERY);
    };
    Ok(Ended {
        is_success,
        took: start.elapsed(),
        log: log.to_owned(),
    })
}

/// Runs `command` with its outputs inherited.
pub(crate) fn run_shown(command: &mut Command) -> io::Result<ExitStatus> {
    command.status()
}

/// Runs `command` and returns what it printed; an error carries what it complained about.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{command:?} ended with {}: {}",
        output.status,
        complaint.trim()
    )
    .into())
}

/// The last `bytes_max` bytes of a file, from a line's start.
pub(crate) fn tail(path: &Path, bytes_max: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(bytes_max)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    }
}

fn last_line(path: &Path) -> String {
    let text = tail(path, 4096);
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no output yet");
    line.trim().chars().take(90).collect()
}

/// Kills everything that `root` started, deepest first; `root` itself is the caller's.
///
/// A process group would do it in one call, but would also keep an interrupt of the terminal from reaching the child.
fn kill_below(root: u32) {
    let parents = parents();
    let mut doomed = vec![root];
    let mut at = 0;
    while at < doomed.len() {
        let parent = doomed[at];
        doomed.extend(
            parents
                .iter()
                .filter(|(_, above)| *above == parent)
                .map(|(child, _)| *child),
        );
        at += 1;
    }
    for process in doomed.iter().skip(1).rev() {
        let killed = Command::new("kill")
            .args(["-KILL", &process.to_string()])
            .status();
        if let Err(error) = killed {
            println!("        cannot kill process {process}: {error}");
        }
    }
}

/// Every process with its parent, where the system tells.
fn parents() -> Vec<(u32, u32)> {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent_of = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name may hold blanks and brackets; the parent is the second field after its last bracket.
        let (_, fields) = stat.rsplit_once(')')?;
        Some((process, fields.split_whitespace().nth(1)?.parse().ok()?))
    };
    let names = folder
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    names.filter_map(parent_of).collect()
}

const SIGN_EVERY: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-{}-{name}.log", std::process::id()))
    }

    #[test]
    fn output_of_both_streams_is_kept() {
        let path = log("both");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2"]);
        let ended =
            run_logged("both", &mut command, &path, Duration::from_secs(20)).expect("sh runs");
        assert!(ended.is_success);
        assert_eq!(tail(&ended.log, 100), "one\ntwo\n");
        std::fs::remove_file(path).expect("was written");
    }

    #[test]
    fn a_failing_child_and_a_stuck_child_with_children_fail() {
        let path = log("stuck");
        let mut failing = Command::new("false");
        let ended = run_logged("failing", &mut failing, &path, Duration::from_secs(20));
        assert!(!ended.expect("runs").is_success);
        let mut stuck = Command::new("sh");
        stuck.args(["-c", "sleep 600 & echo $!; wait"]);
        let ended = run_logged("stuck", &mut stuck, &path, Duration::from_secs(2));
        let ended = ended.expect("runs");
        assert!(!ended.is_success);
        let grandchild: u32 = tail(&ended.log, 100).trim().parse().expect("sh printed it");
        // It dies when it is next scheduled, and whoever adopts it may not have reaped it yet; a zombie runs no more.
        let stat = format!("/proc/{grandchild}/stat");
        let has_ended = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ")
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !has_ended() && Instant::now() < until {
            std::thread::sleep(POLL_EVERY);
        }
        assert!(has_ended(), "{grandchild} outlived the kill");
        std::fs::remove_file(path).expect("was written");
    }
}
