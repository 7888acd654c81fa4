//! Every row of the migration tables has its code, before and after, and what comes after is compiled.
//!
//! `docs/migration.md` holds tables with the head `| there | here | note |`.
//! What a row has in back quotes in its first cell is the heading of a section of level three below it, which holds a `text` block with the code before and a `rust` block with the code after.
//! The page is included in a crate's doc tests, so that every `rust` block is compiled; a block that is kept from that does not count.

use std::collections::BTreeMap;

use crate::report::Finding;
use crate::spec::cells;
use crate::tree::Tree;

/// A row or a section: its name, and the line, from 1, where it stands.
type Place<'a> = (&'a str, usize);

/// What a section shows.
#[derive(Default)]
struct Shown {
    line: usize,
    is_before: bool,
    is_after: bool,
}

/// Every row without its code, and all code without its row; nothing if there is no such page.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.get(PAGE) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut report = |line, what: String| findings.push(Finding::new("spec", PAGE, line, what));
    if !is_compiled(tree) {
        report(0, "no crate includes the page in its doc tests".to_owned());
    }
    let rows = rows(text);
    if rows.is_empty() {
        report(0, format!("there is no table with the head {HEAD:?}"));
    }
    let mut sections = sections(text, &mut report);
    for (name, line) in rows {
        match sections.remove(name) {
            None if name.is_empty() => {
                report(line, "a row names its subject in back quotes".to_owned())
            }
            None => report(
                line,
                format!("`{name}` has no section with its code, or two rows"),
            ),
            Some(shown) if !shown.is_before => {
                report(
                    shown.line,
                    format!("`{name}` has no `text` block with the code before"),
                );
            }
            Some(shown) if !shown.is_after => {
                report(
                    shown.line,
                    format!("`{name}` has no `rust` block that is compiled"),
                );
            }
            Some(_) => {}
        }
    }
    for (name, shown) in sections {
        report(shown.line, format!("the section `{name}` has no row"));
    }
    findings
}

/// Whether a crate has the page in its docs.
fn is_compiled(tree: &Tree) -> bool {
    let include = format!("include_str!(\"../../../{PAGE}\")");
    tree.with_extension("rs")
        .any(|(path, text)| path.starts_with("crates/") && text.contains(&include))
}

/// What the first cell of each row has in back quotes.
fn rows(text: &str) -> Vec<Place<'_>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        let cells = cells(line);
        if !line.starts_with('|') {
            in_table = false;
        } else if cells == HEAD {
            in_table = true;
        } else if in_table && !cells[0].starts_with("---") {
            rows.push((in_quotes(cells[0]), index + 1));
        }
    }
    rows
}

fn in_quotes(text: &str) -> &str {
    text.split('`').nth(1).unwrap_or_default()
}

/// The sections of level three, with the blocks in them.
fn sections<'a>(text: &'a str, report: &mut impl FnMut(usize, String)) -> BTreeMap<&'a str, Shown> {
    let mut sections: BTreeMap<&str, Shown> = BTreeMap::new();
    let mut open = None;
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            in_block = !in_block;
            if in_block && let Some(shown) = open.and_then(|name| sections.get_mut(name)) {
                shown.is_before |= info == "text";
                shown.is_after |= COMPILED.contains(&info);
            }
        } else if !in_block && let Some(heading) = line.strip_prefix("### ") {
            let name = in_quotes(heading);
            open = Some(name);
            let line = index + 1;
            let shown = Shown {
                line,
                ..Shown::default()
            };
            if sections.insert(name, shown).is_some() {
                report(line, format!("the section `{name}` stands twice"));
            }
        } else if !in_block && line.starts_with('#') {
            open = None;
        }
    }
    sections
}

const PAGE: &str = "docs/migration.md";
const HEAD: [&str; 3] = ["there", "here", "note"];
/// Infos of blocks that a doc test compiles and that must succeed.
const COMPILED: [&str; 2] = ["rust", "rust,no_run"];

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# Moving\n\n| there | here | note |\n| --- | --- | --- |\n";
    const INCLUDE: &str = "#[doc = include_str!(\"../../../docs/migration.md\")]\nstruct Page;\n";

    #[track_caller]
    fn check_page(rows: &str, sections: &str, expected: &[&str]) {
        let page = format!("{HEADER}{rows}\n{sections}");
        let tree = Tree::from([
            ("docs/migration.md", page.as_str()),
            ("crates/door/src/page.rs", INCLUDE),
        ]);
        let found: Vec<String> = check(&tree)
            .into_iter()
            .map(|finding| finding.what)
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected:?} in {found:?}");
        }
    }

    const ROW: &str = "| `spawn` | `Scope::spawn` | owned |\n";
    const BEFORE: &str = "```text\nspawn(f);\n### not a heading\n```\n";
    const AFTER: &str = "```rust\nscope.spawn(f);\n```\n";

    #[test]
    fn a_row_with_its_code_holds() {
        check_page(ROW, &format!("### `spawn`\n{BEFORE}{AFTER}"), &[]);
        let no_run = AFTER.replace("rust", "rust,no_run");
        check_page(ROW, &format!("### `spawn`\n{BEFORE}{no_run}"), &[]);
    }

    #[test]
    fn a_row_without_its_code_is_caught() {
        check_page(ROW, "", &["`spawn` has no section"]);
        check_page(ROW, &format!("### `spawn`\n{BEFORE}"), &["no `rust` block"]);
        check_page(ROW, &format!("### `spawn`\n{AFTER}"), &["no `text` block"]);
        let ignored = AFTER.replace("rust", "rust,ignore");
        let section = format!("### `spawn`\n{BEFORE}{ignored}");
        check_page(ROW, &section, &["no `rust` block that is compiled"]);
        let elsewhere = format!("### `spawn`\n{BEFORE}## Other\n{AFTER}");
        check_page(ROW, &elsewhere, &["no `rust` block"]);
        check_page("| spawn | x | y |\n", "", &["in back quotes"]);
    }

    #[test]
    fn code_without_a_row_is_caught() {
        let both = format!("### `spawn`\n{BEFORE}{AFTER}### `join`\n{BEFORE}{AFTER}");
        check_page(ROW, &both, &["the section `join` has no row"]);
        let twice = format!("### `spawn`\n{BEFORE}{AFTER}### `spawn`\n{BEFORE}{AFTER}");
        check_page(ROW, &twice, &["stands twice"]);
    }

    #[test]
    fn a_page_that_no_doc_test_includes_is_caught() {
        let page = format!("{HEADER}{ROW}\n### `spawn`\n{BEFORE}{AFTER}");
        let found = check(&Tree::from([("docs/migration.md", page.as_str())]));
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("no crate includes"));
        assert!(check(&Tree::default()).is_empty(), "no page, no promise");
    }
}
