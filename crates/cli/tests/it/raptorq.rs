use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_asupersync"))
        .current_dir(folder)
        .arg("raptorq")
        .args(arguments.split(' '))
        .output()
        .unwrap()
}

/// Runs a command that must succeed; gives what it prints.
fn good(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail; gives what it says about that.
fn bad(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn folder_with_file(len: usize) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..len).map(|i| (i ^ i >> 7 ^ i >> 13) as u8).collect();
    fs::write(folder.path().join("file"), &file).unwrap();
    (folder, file)
}

#[test]
fn a_file_survives_lost_packets() {
    let (folder, file) = folder_with_file(300_001);
    let folder = folder.path();
    good(
        folder,
        "encode file -o packets --symbol-size 200 --repair-percent 40",
    );
    let said = good(folder, "decode packets -o copy --drop-percent 25");
    assert!(said.starts_with("recovered from"), "{said}");
    assert_eq!(fs::read(folder.join("copy")).unwrap(), file);
    assert!(!folder.join("copy.partial").exists());
}

#[test]
fn too_few_packets_are_told_and_leave_no_file() {
    let (folder, _) = folder_with_file(10_000);
    let folder = folder.path();
    good(folder, "encode file -o packets --repair-percent 0");
    let said = bad(folder, "decode packets -o copy --drop-percent 50");
    assert!(said.contains("0 of 1 blocks recovered"), "{said}");
    assert!(!folder.join("copy").exists());
    assert!(!folder.join("copy.partial").exists());
}

#[test]
fn sealed_packets_need_their_key_and_reject_forgeries() {
    let (folder, file) = folder_with_file(20_000);
    let folder = folder.path();
    fs::write(folder.join("key"), [7; 32]).unwrap();
    fs::write(folder.join("other"), [8; 32]).unwrap();
    fs::write(folder.join("short"), [8; 31]).unwrap();
    good(
        folder,
        "encode file -o packets --key key --repair-percent 20",
    );
    let mut packets = fs::read(folder.join("packets")).unwrap();
    packets[100] ^= 1;
    fs::write(folder.join("packets"), packets).unwrap();
    let said = good(folder, "decode packets -o copy --key key");
    assert!(said.contains("1 rejected"), "{said}");
    assert_eq!(fs::read(folder.join("copy")).unwrap(), file);
    let said = bad(folder, "decode packets -o no --key other");
    assert!(said.contains("0 of 1 blocks"), "{said}");
    assert!(said.contains("0 used, 0 dropped and 20 rejected"), "{said}");
    assert!(bad(folder, "decode packets -o no").contains("give their key"));
    assert!(bad(folder, "decode packets -o no --key short").contains("31 octets"));
}

#[test]
fn outputs_appear_whole_or_not_at_all() {
    let (folder, file) = folder_with_file(20_000);
    let folder = folder.path();
    // A symbol of 8 octets needs one block of 2,500; a file in its own place is replaced at the end.
    good(folder, "encode file -o file --symbol-size 8");
    good(folder, "decode file -o copy");
    assert_eq!(fs::read(folder.join("copy")).unwrap(), file);
    fs::create_dir(folder.join("place")).unwrap();
    for command in [
        "encode copy -o place",
        "encode place -o new",
        "decode file -o place",
    ] {
        let said = bad(folder, command);
        assert!(
            said.contains("place exists and is no regular file"),
            "{said}"
        );
    }
    assert!(!folder.join("new").exists());
    let left = fs::read_dir(folder).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = left.collect();
    left.sort();
    assert_eq!(left, ["copy", "file", "place"]);
}

#[test]
fn info_shows_blocks_and_packets() {
    let (folder, _) = folder_with_file(12_800);
    let folder = folder.path();
    good(folder, "encode file -o packets --repair-percent 50");
    let said = good(folder, "info packets");
    assert!(said.contains("12800 octets"), "{said}");
    assert!(said.contains("15 packets for 10 symbols"), "{said}");
}

#[test]
fn files_that_are_no_packets_are_refused() {
    let (folder, _) = folder_with_file(1000);
    let folder = folder.path();
    fs::write(folder.join("empty"), []).unwrap();
    assert!(bad(folder, "decode file -o copy").contains("no packet file"));
    assert!(bad(folder, "info empty").contains("too short"));
    assert!(bad(folder, "encode empty -o packets").contains("is empty"));
    assert!(bad(folder, "encode missing -o packets").contains("cannot open missing"));
}

#[test]
fn the_demonstration_recovers_what_it_loses() {
    let folder = tempfile::tempdir().unwrap();
    let said = good(folder.path(), "demo --drop-percent 30");
    assert!(said.contains("came through whole"), "{said}");
}

#[test]
fn the_bench_measures_every_size_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let said = good(folder.path(), "bench --k 10,20 --symbol-size 64 --runs 1");
    assert_eq!(said.lines().count(), 4, "{said}");
}
