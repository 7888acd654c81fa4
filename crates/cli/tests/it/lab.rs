//! `asupersync lab`, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, SpawnOptions};
use asupersync_runtime::{FlightConfig, RuntimeBuilder};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_asupersync"))
        .arg("lab")
        .args(arguments)
        .output()
        .expect("the command can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

#[test]
fn the_zoo_finds_a_bug_and_reports_nothing_on_its_twin() {
    let output = lab(&["zoo", "--only", "account", "--seeds", "1"]);
    assert!(output.status.success(), "{output:?}");
    let last = text(&output).lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("zoo: 1 of 1 bugs found"), "{last}");
    let json = text(&lab(&[
        "zoo", "--only", "account", "--seeds", "1", "--json",
    ]));
    assert!(json.contains("\"reported\":null"), "{json}");
}

#[test]
fn a_failure_is_packed_replayed_compared_made_smaller_and_shown() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let pack = file("found");
    let output = lab(&["explore", "account", "--out", &pack]);
    assert!(!output.status.success(), "a failure is a failure");
    assert!(text(&output).contains("found by run"), "{output:?}");
    let replayed = lab(&["replay", &pack]);
    assert!(replayed.status.success(), "{replayed:?}");
    assert!(text(&replayed).contains("event for event"), "{replayed:?}");
    let smaller = file("smaller");
    assert!(
        lab(&["minimize", &pack, "--out", &smaller])
            .status
            .success()
    );
    let same = text(&lab(&["diff", &pack, &pack]));
    assert!(same.starts_with("diff: the traces are equal"), "{same}");
    let (svg, html) = (file("found.svg"), file("found.html"));
    let shown = lab(&["show", &pack, "--svg", &svg, "--html", &html]);
    assert!(
        text(&shown).contains("replay: asupersync lab replay"),
        "{shown:?}"
    );
    assert!(text(&shown).contains("at the end:\nR0 "), "{shown:?}");
    for (path, start) in [(svg, "<svg"), (html, "<!DOCTYPE html>")] {
        let written = std::fs::read_to_string(Path::new(&path)).expect("it was written");
        assert!(written.starts_with(start), "{path}");
    }
}

/// Runs a program in production, and saves what its flight recorder holds.
fn save_flight(path: &Path, name: &str) {
    let config = FlightConfig::default();
    let mut runtime = RuntimeBuilder::new()
        .worker_threads(1)
        .handle_signals(false)
        .flight_recorder(config)
        .build()
        .expect("a runtime can be built");
    let end = runtime.block_on(async |cx: Cx| {
        cx.region(async |scope| {
            let named = SpawnOptions::new().name(name);
            scope.spawn_with(named, async |_: Cx| Ok::<_, Cancelled>(()));
            Ok::<_, Cancelled>(())
        })
        .await
    });
    assert!(end.is_ok());
    let recorder = runtime.flight_recorder().expect("it is on");
    recorder.save(path).expect("it can be written");
}

#[test]
fn what_a_flight_recorder_saved_is_shown_and_compared() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (one, other) = (file("one.trace"), file("other.trace"));
    save_flight(Path::new(&one), "indexer");
    save_flight(Path::new(&other), "cleaner");
    let (svg, html, json) = (file("one.svg"), file("one.html"), file("one.json"));
    let shown = lab(&[
        "show", &one, "--svg", &svg, "--html", &html, "--json", &json,
    ]);
    assert!(shown.status.success(), "{shown:?}");
    let shown = text(&shown);
    assert!(shown.contains("T1.0 indexer"), "{shown}");
    assert!(shown.contains("T1.0 ends: Ok"), "{shown}");
    assert!(shown.contains("one.trace: a recording of"), "{shown}");
    let read = |path: &str| std::fs::read_to_string(path).expect("it was written");
    assert!(read(&svg).starts_with("<svg") && read(&svg).contains("indexer"));
    assert!(read(&html).starts_with("<!DOCTYPE html>"));
    let value: serde_json::Value = serde_json::from_str(&read(&json)).expect("it is JSON");
    let steps = value["steps"].as_array().expect("it has steps");
    let lines = shown.lines().position(|line| line == "at the end:");
    assert_eq!(lines, Some(steps.len()), "a line a step");
    assert!(steps.iter().any(|step| step["who"] == "T1.0 indexer"));
    assert_eq!(value["replay"], serde_json::Value::Null);
    let last = text(&lab(&["show", &one, "--last", "1"]));
    assert_eq!(last.lines().nth(1), Some("at the end:"), "{last}");
    let same = text(&lab(&["diff", &one, &one]));
    assert!(same.starts_with("diff: the traces are equal"), "{same}");
    let differ = text(&lab(&["diff", &one, &other]));
    assert!(
        differ.contains("diff: the traces part at event"),
        "{differ}"
    );
    let mut damaged = std::fs::read(&one).expect("it was written");
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&one, damaged).expect("it can be written");
    let refused = lab(&["show", &one]);
    assert!(!refused.status.success());
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("cannot be opened"), "{complaint}");
}

#[test]
fn a_fixed_twin_is_explored_to_a_proof() {
    let arguments = [
        "explore",
        "paired-counters",
        "--twin",
        "fixed",
        "--strategies",
        "dpor",
    ];
    let output = lab(&arguments);
    assert!(output.status.success(), "{output:?}");
    let proof = "explored 16 of 16 classes: no violation\n";
    assert_eq!(text(&output), proof);
}

#[test]
fn every_oracle_fires_on_its_mutation() {
    let output = lab(&["oracles", "--mutate", "--seeds", "3"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text(&output).contains("all fire, 0 false alarms"),
        "{output:?}"
    );
    let listed = text(&lab(&["oracles"]));
    assert!(listed.contains("task-leak"), "{listed}");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let foreign = folder.path().join("foreign");
    std::fs::write(&foreign, b"\x7fELF").expect("it can be written");
    let foreign = foreign.display().to_string();
    for (arguments, message) in [
        (vec!["run", "no-such-program"], "the zoo has no program"),
        (
            vec!["run", "account", "--strategy", "luck"],
            "is no strategy",
        ),
        (vec!["replay", "/no/such/file"], "cannot be opened"),
        (vec!["show", &foreign], "is no crashpack"),
    ] {
        let output = lab(&arguments);
        assert!(!output.status.success());
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn a_reader_that_goes_ends_the_command_quietly() {
    for arguments in [&["oracles"][..], &["run", "account"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_asupersync"))
            .arg("lab")
            .args(arguments)
            .stdout(writer)
            .output()
            .expect("the command can be started");
        assert_eq!(output.status.code(), Some(141), "{output:?}");
        assert_eq!(output.stderr, b"", "{output:?}");
    }
}
