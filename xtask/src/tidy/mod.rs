//! House style, as far as a machine can see it.
//!
//! Each check is a function from files to findings, and each has tests with an input that it must catch.
//! A place that has a good reason to break a rule states it in a comment above, `// tidy(<rule>): <reason>`; a file-wide reason stands anywhere in the file.
//! A reason that suppresses nothing is itself a finding, so that none outlives its cause.
//! Deliberately absent: everything clippy and rustfmt already check, except what must hold even where a lint is expected away.

mod code;
mod docs;
mod house;
mod size;
mod text;

use std::collections::BTreeSet;

use crate::Verdict;
use crate::report::{self, Finding};
use crate::source::Source;
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Checks the tree; with `--write` regenerates what is generated first.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let is_writing = match arguments {
        [] => false,
        [only] if only == "--write" => true,
        other => return Err(format!("unknown arguments {other:?}").into()),
    };
    let workspace = Workspace::load()?;
    let mut tree = Tree::load(&workspace.root)?;
    if is_writing {
        house::write_crate_table(&workspace, &tree)?;
        tree = Tree::load(&workspace.root)?;
    }
    Ok(report::conclude("tidy", &check(&workspace, &tree)))
}

/// Every finding, in path order.
pub(crate) fn check(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let files = rust_files(workspace, tree);
    let mut findings = Vec::new();
    for file in &files {
        code::check(file, &mut findings);
        size::check(file, &mut findings);
        docs::check_unsafe(file, &mut findings);
    }
    size::check_crates(workspace, &files, &mut findings);
    docs::check_cancel_safety(&files, &mut findings);
    house::check(workspace, tree, &mut findings);
    text::check(tree, &mut findings);
    let mut findings = excuse(&files, findings);
    findings.sort_by(|a, b| (&a.path, a.line, &a.what).cmp(&(&b.path, b.line, &b.what)));
    findings.dedup();
    findings
}

/// What a Rust file is for; the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Library code under `crates/`.
    Library,
    /// `xtask`, `benches`, `conformance`, binaries.
    Tool,
    Example,
    Test,
}

/// A Rust file with what the checks ask of it.
struct RustFile {
    path: String,
    /// The package it belongs to.
    package: String,
    kind: Kind,
    source: Source,
    test_ranges: Vec<std::ops::Range<usize>>,
}

impl RustFile {
    fn new(path: &str, package: &str, kind: Kind, text: &str) -> Self {
        let source = Source::new(text);
        let test_ranges = source.test_ranges();
        Self {
            path: path.to_owned(),
            package: package.to_owned(),
            kind,
            source,
            test_ranges,
        }
    }

    fn is_test_code(&self, offset: usize) -> bool {
        self.kind == Kind::Test || self.test_ranges.iter().any(|range| range.contains(&offset))
    }

    fn finding(&self, check: &'static str, offset: usize, what: impl Into<String>) -> Finding {
        Finding::new(check, &self.path, self.source.line_of(offset), what)
    }
}

fn rust_files(workspace: &Workspace, tree: &Tree) -> Vec<RustFile> {
    let test_modules = test_module_paths(tree);
    let mut files = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        let holds = |folder: &str| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let owners = workspace
            .members
            .iter()
            .filter(|member| holds(&member.folder));
        let Some(owner) = owners.max_by_key(|member| member.folder.len()) else {
            continue;
        };
        let kind = kind_of(path, &path[owner.folder.len() + 1..], &test_modules);
        files.push(RustFile::new(path, &owner.name, kind, text));
    }
    files
}

fn kind_of(path: &str, inside: &str, test_modules: &BTreeSet<String>) -> Kind {
    let parts: Vec<&str> = inside.split('/').collect();
    let is_test_module = test_modules.iter().any(|module| {
        path.strip_prefix(module.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    });
    let is_test = is_test_module
        || parts
            .iter()
            .any(|part| matches!(*part, "tests" | "tests.rs" | "fuzz" | "build.rs"));
    match parts[0] {
        _ if is_test => Kind::Test,
        "examples" => Kind::Example,
        "benches" => Kind::Tool,
        _ if path.starts_with("crates/") => Kind::Library,
        _ => Kind::Tool,
    }
}

/// Paths, without `.rs`, of modules that are declared for tests only.
fn test_module_paths(tree: &Tree) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (path, text) in tree.with_extension("rs") {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = name.trim_end_matches(".rs");
        let home = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let modules = Source::new(text).test_modules();
        paths.extend(modules.into_iter().map(|module| format!("{home}/{module}")));
    }
    paths
}

/// Removes the findings for which the file states a reason, and adds one for every idle or empty reason.
fn excuse(files: &[RustFile], mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut idle = Vec::new();
    for file in files {
        let lines: Vec<&str> = file.source.text().lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((check, reason)) = excuse_in(line) else {
                continue;
            };
            if reason.split_whitespace().count() < REASON_WORDS_MIN {
                idle.push(Finding::new(
                    "reason",
                    &file.path,
                    index + 1,
                    "a stated reason needs a sentence",
                ));
            }
            let reach = index + 1..=first_code_line(&lines, index);
            let before = findings.len();
            findings.retain(|finding| {
                let is_near = finding.line == 0 || reach.contains(&finding.line);
                !(finding.path == file.path && finding.check == check && is_near)
            });
            if findings.len() == before {
                let what = format!("nothing here breaks `{check}`; remove the reason");
                idle.push(Finding::new("reason", &file.path, index + 1, what));
            }
        }
    }
    findings.extend(idle);
    findings
}

/// The rule and the reason in a line such as `// tidy(file-length): …`.
fn excuse_in(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("// tidy(")?;
    rest.split_once("):")
}

/// The line, from 1, of the first code after the comment at `index`.
fn first_code_line(lines: &[&str], index: usize) -> usize {
    let is_code =
        |line: &&str| !line.trim_start().starts_with(['/', '#']) && !line.trim().is_empty();
    index
        + 1
        + lines[index + 1..]
            .iter()
            .position(is_code)
            .map_or(0, |at| at + 1)
}

const REASON_WORDS_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Member;

    /// Checks one file of a library crate.
    pub(super) fn library(text: &str) -> RustFile {
        RustFile::new("crates/a/src/x.rs", "asupersync-a", Kind::Library, text)
    }

    fn workspace() -> Workspace {
        let member = Member {
            name: "a".to_owned(),
            folder: "crates/a".to_owned(),
            ..Member::default()
        };
        Workspace {
            members: vec![member],
            ..Workspace::default()
        }
    }

    #[test]
    fn files_are_told_apart_by_place_and_by_declaration() {
        let tree = Tree::from([
            (
                "crates/a/src/lib.rs",
                "#[cfg(all(test, loom))]\nmod models;\n",
            ),
            ("crates/a/src/models.rs", ""),
            ("crates/a/src/wheel/tests.rs", ""),
            ("crates/a/examples/show.rs", ""),
            ("crates/a/tests/it/main.rs", ""),
        ]);
        let kinds: Vec<Kind> = rust_files(&workspace(), &tree)
            .into_iter()
            .map(|file| file.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                Kind::Example,
                Kind::Library,
                Kind::Test,
                Kind::Test,
                Kind::Test
            ]
        );
    }

    #[test]
    fn a_stated_reason_suppresses_its_rule_and_nothing_else() {
        let text = "// tidy(unwrap): the value was checked two lines above\nfn f() { g().unwrap() }\nfn h() { g().unwrap() }\n";
        let file = library(text);
        let mut findings = Vec::new();
        code::check(&file, &mut findings);
        assert_eq!(findings.len(), 2);
        let left = excuse(&[file], findings);
        assert_eq!(
            left.iter().map(|f| (f.check, f.line)).collect::<Vec<_>>(),
            [("unwrap", 3)]
        );
    }

    #[test]
    fn an_idle_reason_and_an_empty_reason_are_caught() {
        let idle = excuse(
            &[library(
                "// tidy(unwrap): there was once a call here\nfn f() {}\n",
            )],
            Vec::new(),
        );
        assert_eq!(idle.len(), 1);
        assert!(idle[0].what.contains("remove the reason"));
        let file = library("// tidy(unwrap): fine\nfn f() { g().unwrap() }\n");
        let mut findings = Vec::new();
        code::check(&file, &mut findings);
        assert!(
            excuse(&[file], findings)[0]
                .what
                .contains("needs a sentence")
        );
    }
}
