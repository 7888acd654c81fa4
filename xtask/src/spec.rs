//! Every law names the code that enforces it and the test that attacks it, and both exist.
//!
//! `docs/INVARIANTS.md` holds one table with the head `| id | law | enforced by | attacked by |`.
//! A cell of the last two columns names one or more items, each in back quotes, as `path/to/file.rs#item` or `path/to/file.rs#Type::function`.
//! An item exists if the file defines that name in code; an attack must moreover be a test.
//! The README's promises, a table with the head `| promise | in short | attacked by |`, name tests in the same way, and so do the bugs of `docs/bugs.md`, under `| bug | elsewhere | here | case |`.
//! The rows of `docs/migration.md` name code that is compiled: see [`crate::migration`].
//! A law that is cited in code (``the law `I4` ``) must stand in the table.

use std::collections::BTreeSet;

use crate::Verdict;
use crate::migration;
use crate::report::{self, Finding};
use crate::source::{Source, leading_word, words};
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Prints the table and the violations.
pub(crate) fn run() -> Verdict {
    let workspace = Workspace::load()?;
    let tree = Tree::load(&workspace.root)?;
    let laws = laws(tree.get(INVARIANTS).unwrap_or_default());
    let rows: Vec<_> = laws
        .iter()
        .map(|law| {
            vec![
                law.id.clone(),
                law.text.clone(),
                law.enforced.join(" "),
                law.attacked.join(" "),
            ]
        })
        .collect();
    print!(
        "{}",
        report::table(&["id", "law", "enforced by", "attacked by"], &rows)
    );
    println!("spec: {} laws", laws.len());
    let mut findings = check(&tree);
    let is_due = workspace.member("asupersync").is_some();
    findings.extend(check_rows(&tree, &PROMISES, is_due));
    let is_due = workspace.member("asupersync-conformance").is_some();
    findings.extend(check_rows(&tree, &BUGS, is_due));
    findings.extend(migration::check(&tree));
    if laws.is_empty() && workspace.member("asupersync-kernel").is_some() {
        findings.push(Finding::new(
            "spec",
            INVARIANTS,
            0,
            "there is a kernel, but no law",
        ));
    }
    Ok(report::conclude("spec", &findings))
}

/// One row of the table.
struct Law {
    id: String,
    text: String,
    enforced: Vec<String>,
    attacked: Vec<String>,
    /// Where the row stands, from 1.
    line: usize,
    cells: usize,
}

fn laws(text: &str) -> Vec<Law> {
    let mut laws = Vec::new();
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        let Some(inside) = line
            .trim()
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            in_table = false;
            continue;
        };
        let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
        if cells == HEAD {
            in_table = true;
        } else if in_table && !cells[0].starts_with("---") {
            let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
            laws.push(Law {
                id: cell(0).trim_matches('`').to_owned(),
                text: cell(1).to_owned(),
                enforced: quoted(cell(2)),
                attacked: quoted(cell(3)),
                line: index + 1,
                cells: cells.len(),
            });
        }
    }
    laws
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Every breach in the table and in what it names.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = tree.get(INVARIANTS).unwrap_or_default();
    if !text.lines().any(|line| {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .eq(HEAD)
    }) {
        findings.push(Finding::new(
            "spec",
            INVARIANTS,
            0,
            "the table with its four columns is missing",
        ));
    }
    let laws = laws(text);
    let mut ids = BTreeSet::new();
    for law in &laws {
        let mut report = |what: String| {
            findings.push(Finding::new(
                "spec",
                INVARIANTS,
                law.line,
                format!("{}: {what}", law.id),
            ));
        };
        if !is_id(&law.id) {
            report("an id is `I` and a number".to_owned());
        }
        if !ids.insert(law.id.as_str()) {
            report("the id stands twice".to_owned());
        }
        if law.cells != HEAD.len() || law.text.is_empty() {
            report("a row has four cells, and the law is a sentence".to_owned());
        }
        for (column, items) in [
            ("enforced by", &law.enforced),
            ("attacked by", &law.attacked),
        ] {
            if items.is_empty() {
                report(format!("`{column}` names nothing"));
            }
            for item in items {
                if let Err(what) = find(tree, item, column == "attacked by") {
                    report(format!("`{column}` names `{item}`: {what}"));
                }
            }
        }
    }
    check_citations(tree, &ids, &mut findings);
    findings
}

/// Tables of one page whose last column names tests, each in back quotes.
struct Rows {
    path: &'static str,
    head: &'static [&'static str],
    /// What the first column holds.
    noun: &'static str,
    /// What is wrong where there is no row, though rows are due.
    missing: &'static str,
}

/// Each row names tests that exist; once they are due there must be rows.
fn check_rows(tree: &Tree, rows: &Rows, is_due: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut count = 0;
    let mut in_table = false;
    for (index, line) in tree.get(rows.path).unwrap_or_default().lines().enumerate() {
        let cells = cells(line);
        if !line.starts_with('|') {
            in_table = false;
        } else if cells == rows.head {
            in_table = true;
        } else if in_table && !cells[0].starts_with("---") {
            count += 1;
            let subject = format!("the {} `{}`", rows.noun, cells[0]);
            let mut report =
                |what: String| findings.push(Finding::new("spec", rows.path, index + 1, what));
            let tests = quoted(cells.last().copied().unwrap_or_default());
            if cells.len() != rows.head.len() || tests.is_empty() {
                report(format!("{subject} names no test"));
            }
            for test in tests {
                if let Err(what) = find(tree, &test, true) {
                    report(format!("{subject} names `{test}`: {what}"));
                }
            }
        }
    }
    if is_due && count == 0 {
        findings.push(Finding::new("spec", rows.path, 0, rows.missing));
    }
    findings
}

/// The cells of a line of a table.
pub(crate) fn cells(line: &str) -> Vec<&str> {
    let inside = line.trim().trim_matches('|');
    inside.split('|').map(str::trim).collect()
}

fn is_id(id: &str) -> bool {
    id.strip_prefix('I')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Ok if the item is defined in its file, and is a test if it must be one.
fn find(tree: &Tree, item: &str, must_be_test: bool) -> Result<(), String> {
    let (path, name) = item.split_once('#').ok_or("write `file.rs#item`")?;
    let source = Source::new(tree.get(path).ok_or("there is no such file")?);
    let (owner, name) = match name.split_once("::") {
        Some((owner, name)) => (Some(owner), name),
        None => (None, name),
    };
    if let Some(owner) = owner {
        let of_owner = |head: &str| words(head).any(|(_, word)| word == owner);
        let mut bodies = ["impl", "enum", "trait", "mod"]
            .into_iter()
            .flat_map(|keyword| source.blocks(keyword));
        let holds = |body: &str| words(body).any(|(_, word)| word == name);
        if !bodies.any(|(head, body)| of_owner(&source.code[head]) && holds(&source.code[body])) {
            return Err(format!("`{owner}` has no `{name}` in that file"));
        }
    } else if !source.defines(name) {
        return Err("the file does not define it".to_owned());
    }
    if must_be_test && !is_test(&source, name) {
        return Err("it is not a test".to_owned());
    }
    Ok(())
}

/// True if a function of that name carries `#[test]` or `#[path::test(…)]` and is not skipped.
fn is_test(source: &Source, name: &str) -> bool {
    let functions = source.functions();
    let mut named = functions.iter().filter(|function| function.name == name);
    named.any(|function| {
        let inside = |range: &std::ops::Range<usize>| {
            range.start >= function.lead.start && range.end <= function.lead.end
        };
        let attributes: Vec<_> = source.attributes().into_iter().filter(inside).collect();
        let names: Vec<&str> = attributes
            .iter()
            .map(|range| attribute_name(&source.code[range.clone()]))
            .collect();
        names.contains(&"test") && !names.contains(&"ignore")
    })
}

fn attribute_name(attribute: &str) -> &str {
    let path = attribute.trim_start_matches(['#', '!', '[', ' ', '\n']);
    let path = path
        .split(['(', ']', '='])
        .next()
        .unwrap_or_default()
        .trim();
    path.rsplit("::").next().unwrap_or_default()
}

/// Laws that code cites must stand in the table.
fn check_citations(tree: &Tree, ids: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for (path, text) in tree
        .with_extension("rs")
        .filter(|(path, _)| path.starts_with("crates/"))
    {
        for (index, line) in text.lines().enumerate() {
            for (at, matched) in line.match_indices("law `I") {
                let id = format!("I{}", leading_word(&line[at + matched.len()..]));
                if !ids.contains(id.as_str()) {
                    let what = format!("cites the law `{id}`, which {INVARIANTS} does not have");
                    findings.push(Finding::new("spec", path, index + 1, what));
                }
            }
        }
    }
}

const INVARIANTS: &str = "docs/INVARIANTS.md";
const PROMISES: Rows = Rows {
    path: "README.md",
    head: &["promise", "in short", "attacked by"],
    noun: "promise",
    missing: "there is a facade, but no table of promises with the tests that attack them",
};
const BUGS: Rows = Rows {
    path: "docs/bugs.md",
    head: &["bug", "elsewhere", "here", "case"],
    noun: "bug",
    missing: "there are conformance tests, but no catalogue of the bugs that they try",
};
const HEAD: [&str; 4] = ["id", "law", "enforced by", "attacked by"];

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "impl Region { fn close(&mut self) {} }\nfn admit() {}\n// fn ghost() {}\n";
    const TESTS: &str = "#[test]\nfn close_waits() {}\n#[asupersync::test(seeds = 3)]\nasync fn drains() {}\nfn aid() {}\n#[test]\n#[ignore]\nfn skipped() {}\n";

    fn findings(rows: &str) -> Vec<String> {
        let text = format!(
            "# Laws\n\n| id | law | enforced by | attacked by |\n| --- | --- | --- | --- |\n{rows}\n"
        );
        let tree = Tree::from([
            ("docs/INVARIANTS.md", text.as_str()),
            ("crates/k/src/region.rs", CODE),
            ("crates/k/tests/it/region.rs", TESTS),
        ]);
        check(&tree)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[track_caller]
    fn check_row(enforced: &str, attacked: &str, expected: &str) {
        let row =
            format!("| I1 | A law. | `crates/k/src/{enforced}` | `crates/k/tests/it/{attacked}` |");
        let found = findings(&row);
        let caught = if expected.is_empty() {
            found.is_empty()
        } else {
            found.iter().any(|what| what.contains(expected))
        };
        assert!(caught, "{expected:?} in {found:?}");
    }

    #[test]
    fn a_law_with_check_and_attack_holds() {
        check_row("region.rs#Region::close", "region.rs#close_waits", "");
        check_row("region.rs#admit", "region.rs#drains", "");
        check_row(
            "region.rs#admit` `crates/k/src/region.rs#Region::close",
            "region.rs#drains",
            "",
        );
    }

    #[test]
    fn what_does_not_exist_is_caught() {
        check_row("gone.rs#admit", "region.rs#drains", "no such file");
        check_row("region.rs#ghost", "region.rs#drains", "does not define");
        check_row(
            "region.rs#Region::open",
            "region.rs#drains",
            "has no `open`",
        );
        check_row("region.rs#admit", "region.rs#missing", "does not define");
        check_row("region.rs", "region.rs#drains", "file.rs#item");
    }

    #[test]
    fn an_attack_must_be_a_test_that_runs() {
        check_row("region.rs#admit", "region.rs#aid", "not a test");
        check_row("region.rs#admit", "region.rs#skipped", "not a test");
    }

    #[test]
    fn rows_must_be_whole_and_ids_unique() {
        let good = "`crates/k/src/region.rs#admit` | `crates/k/tests/it/region.rs#drains`";
        let twice = findings(&format!("| I1 | A. | {good} |\n| I1 | B. | {good} |"));
        assert!(twice.iter().any(|what| what.contains("twice")));
        assert!(findings(&format!("| X1 | A. | {good} |"))[0].contains("an id is"));
        assert!(
            findings("| I1 | A. |  |  |")
                .iter()
                .any(|what| what.contains("names nothing"))
        );
        assert!(findings(&format!("| I1 | | {good} |"))[0].contains("four cells"));
    }

    #[test]
    fn a_missing_table_and_an_unknown_citation_are_caught() {
        assert_eq!(check(&Tree::default()).len(), 1);
        let head = "| id | law | enforced by | attacked by |\n| --- | --- | --- | --- |\n";
        let tree = Tree::from([
            ("docs/INVARIANTS.md", head),
            ("crates/k/src/a.rs", "/// The law `I77`.\nfn f() {}\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("`I77`"));
    }

    #[test]
    fn a_promise_names_a_test_that_runs() {
        let promises = |row: &str, is_due: bool| {
            let readme =
                format!("| promise | in short | attacked by |\n| --- | --- | --- |\n{row}\n");
            let tree = Tree::from([("README.md", readme.as_str()), ("t.rs", TESTS)]);
            check_rows(&tree, &PROMISES, is_due).len()
        };
        assert_eq!(
            promises("| no orphans | all end | `t.rs#close_waits` |", true),
            0
        );
        assert_eq!(promises("| no orphans | all end | `t.rs#aid` |", true), 1);
        assert_eq!(promises("| no orphans | all end |  |", true), 1);
        assert_eq!(promises("", true), 1);
        assert_eq!(promises("", false), 0);
    }
    #[test]
    fn a_bug_names_a_case_that_runs() {
        let bugs = |row: &str, is_due: bool| {
            let page = format!(
                "| bug | elsewhere | here | case |\n| --- | --- | --- | --- |\n{row}\n\n## Next\n"
            );
            let tree = Tree::from([("docs/bugs.md", page.as_str()), ("t.rs", TESTS)]);
            let found = check_rows(&tree, &BUGS, is_due);
            found.into_iter().map(|finding| finding.what).collect()
        };
        let found: Vec<String> = bugs(
            "| lost | so | not | `t.rs#close_waits` `t.rs#drains` |",
            true,
        );
        assert_eq!(found, Vec::<String>::new());
        let found = bugs("| lost | so | not | `t.rs#close_waits` `t.rs#gone` |", true);
        assert!(
            found[0].contains("the bug `lost` names `t.rs#gone`"),
            "{found:?}"
        );
        assert_eq!(bugs("| lost | so | not | `t.rs#skipped` |", true).len(), 1);
        assert_eq!(bugs("| lost | so | `t.rs#close_waits` |", true).len(), 1);
        assert_eq!(bugs("", true).len(), 1);
        assert_eq!(bugs("", false).len(), 0);
    }
}
