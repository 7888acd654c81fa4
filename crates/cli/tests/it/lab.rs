//! `asupersync lab`, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

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
    for (path, start) in [(svg, "<svg"), (html, "<!DOCTYPE html>")] {
        let written = std::fs::read_to_string(Path::new(&path)).expect("it was written");
        assert!(written.starts_with(start), "{path}");
    }
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
