//! What a failing test leaves behind, seen from outside its process.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use asupersync_core::Cancelled;
use asupersync_kernel::Cx;
use asupersync_lab::{Check, Crashpack, RestorableSnapshot, Var};

/// Tells this test binary that it is the child of a test.
const CHILD: &str = "ASUPERSYNC_ARTIFACTS_CHILD";
const NAME: &str = "it::artifacts::\"money\" is lost";

/// Two tasks add to one variable without a lock, which goes wrong in some schedules.
async fn lose_money(cx: Cx) -> Result<(), Cancelled> {
    let sum = Arc::new(Var::new(0));
    let end = cx.region(async |scope| {
        for _ in 0..2 {
            let sum = Arc::clone(&sum);
            scope.spawn(async move |cx: Cx| {
                let before = sum.get(&cx).await?;
                sum.set(&cx, before + 1).await
            });
        }
        Ok::<_, Cancelled>(())
    });
    end.await
        .into_result()
        .map_err(|_| unreachable!("nobody is cancelled"))?;
    assert_eq!(sum.get(&cx).await?, 2, "money was lost");
    Ok(())
}

#[test]
fn the_child() {
    if std::env::var_os(CHILD).is_some() {
        Check::new(NAME).seeds(50).run(lose_money);
    }
}

fn run_child(variables: &[(&str, &Path)]) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "artifacts::the_child", "--nocapture"])
        .env(CHILD, "1")
        .env_remove("ASUPERSYNC_TEST_ARTIFACTS_DIR")
        .envs(variables.iter().copied());
    child.output().unwrap()
}

fn read(folder: &Path, file: &serde_json::Value) -> String {
    let path = Path::new(file.as_str().unwrap());
    assert_eq!(path.parent(), Some(folder));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("it--artifacts---money--is-lost-"),
        "{name}"
    );
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_failing_test_leaves_a_log_its_assertion_and_a_manifest_that_replays() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/for/it");
    let output = run_child(&[("ASUPERSYNC_TEST_ARTIFACTS_DIR", &folder)]);
    assert!(!output.status.success(), "it fails: {output:?}");
    let files = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 4, "{paths:?}");
    let manifest = paths
        .iter()
        .find(|path| path.extension().is_some_and(|e| e == "json"));
    let text = std::fs::read_to_string(manifest.unwrap()).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["test"], NAME);
    assert!(
        manifest["finding"]
            .as_str()
            .unwrap()
            .contains("money was lost"),
        "{text}"
    );
    assert_eq!(manifest["versions"]["crashpack"], 2);

    let pack_path = manifest["files"]["crashpack"].as_str().unwrap();
    let pack = Crashpack::load(Path::new(pack_path)).unwrap();
    assert_eq!(manifest["seed"], pack.seed);
    assert_eq!(manifest["schedule"], pack.schedule.to_string());
    let events = read(&folder, &manifest["files"]["event_log"]);
    assert_eq!(events, pack.trace.to_text());
    assert!(!events.is_empty());
    let assertion = read(&folder, &manifest["files"]["failed_assertions"]);
    for part in ["money was lost", "T1.0", "R0 open"] {
        assert!(assertion.contains(part), "{part}: {assertion}");
    }
    let snapshot: RestorableSnapshot = pack.snapshot.unwrap();
    snapshot.verify_integrity().unwrap();
    snapshot.validate().unwrap();

    let replay = manifest["replay"].as_str().unwrap();
    let (variable, rest) = replay.split_once('=').unwrap();
    let (path, command) = rest.split_once(' ').unwrap();
    assert!(command.starts_with("cargo test"), "{replay}");
    let again = run_child(&[(variable, Path::new(path))]);
    assert!(!again.status.success());
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        told.contains("the trace is the recorded one, event for event"),
        "{told}"
    );
}

#[test]
fn without_the_variable_there_is_a_crashpack_only() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run_child(&[
        ("TMPDIR", temporary.path()),
        ("TEMP", temporary.path()),
        ("TMP", temporary.path()),
    ]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = told.lines().find(|line| line.contains("crashpack: "));
    let path = line
        .unwrap_or_else(|| panic!("{told}"))
        .split_once(": ")
        .unwrap()
        .1;
    Crashpack::load(Path::new(path)).unwrap();
    let files = std::fs::read_dir(Path::new(path).parent().unwrap()).unwrap();
    assert_eq!(files.count(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_beside_the_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let output = run_child(&[("ASUPERSYNC_TEST_ARTIFACTS_DIR", &file)]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("money was lost"), "{told}");
    assert!(
        told.contains("no crashpack: ") && told.contains("a-file"),
        "{told}"
    );
}
