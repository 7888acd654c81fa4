//! Rules about the house as a whole: which files exist, how they are called, and what is generated.

use std::fmt::Write as _;

use crate::layers::short;
use crate::report::Finding;
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Files at the root, names, test binaries, and the crate table.
pub(super) fn check(workspace: &Workspace, tree: &Tree, findings: &mut Vec<Finding>) {
    check_files(tree, findings);
    check_names(tree, findings);
    check_test_binaries(workspace, findings);
    check_table(workspace, tree, findings);
}

fn check_files(tree: &Tree, findings: &mut Vec<Finding>) {
    for path in REQUIRED_FILES {
        if tree.get(path).is_none_or(|text| text.trim().is_empty()) {
            findings.push(Finding::new("files", path, 0, "this file must exist"));
        }
    }
    for (path, _) in tree.files() {
        let is_root = !path.contains('/');
        if is_root && !ROOT_FILES.contains(&path) && !REQUIRED_FILES.contains(&path) {
            let what = "no reports and no strays at the root; it belongs in a folder or nowhere";
            findings.push(Finding::new("files", path, 0, what));
        }
    }
}

fn check_names(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, _) in tree.with_extension("rs") {
        let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
        for part in parts {
            if EMPTY_NAMES.contains(&part) || part.starts_with("new_") || part.ends_with("_v2") {
                let what = format!("`{part}` does not say what is inside");
                findings.push(Finding::new("names", path, 0, what));
            }
        }
    }
}

fn check_test_binaries(workspace: &Workspace, findings: &mut Vec<Finding>) {
    for member in &workspace.members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        for test in &member.tests {
            let reason = member.test_binaries.get(test).map_or("", String::as_str);
            let is_usual = matches!(test.as_str(), "it" | "loom");
            if !is_usual && reason.split_whitespace().count() < 4 {
                let what = format!(
                    "test binary `{test}`: one binary per crate, `tests/it/main.rs`; a further one states its reason in [package.metadata.tidy.test-binaries]"
                );
                findings.push(Finding::new("test-binary", &manifest, 0, what));
            }
        }
        for name in member
            .test_binaries
            .keys()
            .filter(|name| !member.tests.contains(name))
        {
            let what = format!("there is no test binary `{name}`; remove its reason");
            findings.push(Finding::new("test-binary", &manifest, 0, what));
        }
    }
}

fn check_table(workspace: &Workspace, tree: &Tree, findings: &mut Vec<Finding>) {
    let text = tree.get(ARCHITECTURE).unwrap_or_default();
    match with_table(text, &crate_table(workspace)) {
        None => {
            let what = format!("the markers `{TABLE_OPEN}` and `{TABLE_CLOSE}` are missing");
            findings.push(Finding::new("crate-table", ARCHITECTURE, 0, what));
        }
        Some(wanted) if wanted != text => {
            let what = "the crate table is out of date; run `cargo xtask tidy --write`";
            findings.push(Finding::new("crate-table", ARCHITECTURE, 0, what));
        }
        Some(_) => {}
    }
}

/// Regenerates the crate table in place.
pub(super) fn write_crate_table(workspace: &Workspace, tree: &Tree) -> std::io::Result<()> {
    let text = tree.get(ARCHITECTURE).unwrap_or_default();
    match with_table(text, &crate_table(workspace)) {
        Some(wanted) if wanted != text => std::fs::write(workspace.root.join(ARCHITECTURE), wanted),
        _ => Ok(()),
    }
}

fn crate_table(workspace: &Workspace) -> String {
    let mut table = String::from("| layer | crate | what it is for |\n| --- | --- | --- |\n");
    for (member, line) in workspace.by_layer() {
        let mark = if line.is_unsafe { " (unsafe)" } else { "" };
        let (layer, noun, folder) = (line.layer, short(&member.name), &member.folder);
        let charter = line.charter.replace('|', "\\|");
        writeln!(
            table,
            "| {layer} | [`{noun}`](../{folder}){mark} | {charter} |"
        )
        .expect("writing to a string does not fail");
    }
    table
}

/// The document with the table between the markers; `None` without markers.
fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(TABLE_OPEN)?;
    let (_, after) = rest.split_once(TABLE_CLOSE)?;
    Some(format!("{before}{TABLE_OPEN}\n{table}{TABLE_CLOSE}{after}"))
}

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
const TABLE_OPEN: &str = "<!-- crates: written by `cargo xtask tidy --write` -->";
const TABLE_CLOSE: &str = "<!-- end of crates -->";

const REQUIRED_FILES: [&str; 16] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "rust-toolchain.toml",
    "clippy.toml",
    "deny.toml",
    ".ci/run",
    "docs/ARCHITECTURE.md",
    "docs/INVARIANTS.md",
    "docs/GLOSSARY.md",
    "docs/design/README.md",
    "formal/README.md",
    ".cargo/config.toml",
];

const ROOT_FILES: [&str; 5] = [
    "rustfmt.toml",
    ".gitignore",
    ".git",
    ".gitattributes",
    "CONTRIBUTING.md",
];

const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "misc", "helper", "helpers", "stuff", "v2",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{LayerLine, Member};

    fn rules(workspace: &Workspace, tree: &Tree) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        check(workspace, tree, &mut findings);
        findings
            .into_iter()
            .map(|finding| (finding.check, finding.path))
            .collect()
    }

    #[track_caller]
    fn assert_caught(found: &[(&str, String)], check: &str, path: &str) {
        assert!(
            found.iter().any(|(c, p)| *c == check && p == path),
            "{check} {path} in {found:?}"
        );
    }

    #[test]
    fn missing_and_stray_files_are_caught() {
        let found = rules(
            &Workspace::default(),
            &Tree::from([("REPORT.md", "x"), ("README.md", " ")]),
        );
        assert_caught(&found, "files", "CHANGELOG.md");
        assert_caught(&found, "files", "README.md");
        assert_caught(&found, "files", "REPORT.md");
    }

    #[test]
    fn names_that_say_nothing_are_caught() {
        let tree = Tree::from([
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/new_wheel/mod.rs", ""),
            ("crates/a/src/newline.rs", ""),
        ]);
        let found = rules(&Workspace::default(), &tree);
        assert_caught(&found, "names", "crates/a/src/utils.rs");
        assert_caught(&found, "names", "crates/a/src/new_wheel/mod.rs");
        assert!(
            !found
                .iter()
                .any(|(check, path)| *check == "names" && path.ends_with("newline.rs"))
        );
    }

    fn workspace(tests: &[&str], reasons: &[(&str, &str)]) -> Workspace {
        let mut member = Member {
            name: "asupersync-a".to_owned(),
            folder: "crates/a".to_owned(),
            ..Member::default()
        };
        member.tests = tests.iter().map(|&test| test.to_owned()).collect();
        member.test_binaries = reasons
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let line = LayerLine {
            charter: "Does a.".to_owned(),
            ..LayerLine::default()
        };
        let lines = [(member.name.clone(), line)].into();
        Workspace {
            members: vec![member],
            lines,
            ..Workspace::default()
        }
    }

    #[test]
    fn a_further_test_binary_needs_a_reason_and_a_reason_needs_a_binary() {
        let count = |tests: &[&str], reasons: &[(&str, &str)]| {
            let found = rules(&workspace(tests, reasons), &Tree::default());
            found
                .iter()
                .filter(|(check, _)| *check == "test-binary")
                .count()
        };
        assert_eq!(count(&["it", "loom"], &[]), 0);
        assert_eq!(count(&["wheel"], &[]), 1);
        assert_eq!(
            count(
                &["alloc"],
                &[("alloc", "counts allocations of the process")]
            ),
            0
        );
        assert_eq!(
            count(&["it"], &[("alloc", "counts allocations of the process")]),
            1
        );
    }

    #[test]
    fn an_outdated_crate_table_is_caught_and_mended() {
        let workspace = workspace(&[], &[]);
        let old = format!("# Map\n{TABLE_OPEN}\nold\n{TABLE_CLOSE}\nend\n");
        let found = rules(&workspace, &Tree::from([(ARCHITECTURE, old.as_str())]));
        assert_caught(&found, "crate-table", ARCHITECTURE);
        let new = with_table(&old, &crate_table(&workspace)).expect("has markers");
        assert!(new.contains("| 0 | [`a`](../crates/a) | Does a. |") && new.ends_with("end\n"));
        let found = rules(&workspace, &Tree::from([(ARCHITECTURE, new.as_str())]));
        assert!(!found.iter().any(|(check, _)| *check == "crate-table"));
        assert_caught(
            &rules(&workspace, &Tree::default()),
            "crate-table",
            ARCHITECTURE,
        );
    }
}
