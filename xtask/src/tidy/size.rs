//! Sizes at which a function, a file or a crate must stop growing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Kind, RustFile};
use crate::report::Finding;
use crate::workspace::Workspace;

/// Function, file and surface of one file.
pub(super) fn check(file: &RustFile, findings: &mut Vec<Finding>) {
    if file.kind == Kind::Test {
        return;
    }
    for function in file.source.functions() {
        let Some(body) = &function.body else { continue };
        let lines = file.source.line_count(&(function.start..body.end));
        if lines > FUNCTION_LINES_MAX && !file.is_test_code(function.start) {
            let what = format!(
                "`{}` has {lines} lines; the stop is {FUNCTION_LINES_MAX}",
                function.name
            );
            findings.push(file.finding("function-length", function.start, what));
        }
    }
    let lines = lines_without_tests(file);
    if lines > FILE_LINES_MAX {
        let what = format!("{lines} lines, tests aside; the stop is {FILE_LINES_MAX}");
        findings.push(Finding::new("file-length", &file.path, 0, what));
    }
    let items = public_items(file);
    if items > PUBLIC_ITEMS_MAX {
        let what = format!("{items} public items; the stop is {PUBLIC_ITEMS_MAX}");
        findings.push(Finding::new("public-items", &file.path, 0, what));
    }
}

/// Lines of each crate's sources, tests aside.
pub(super) fn check_crates(workspace: &Workspace, files: &[RustFile], findings: &mut Vec<Finding>) {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.kind != Kind::Test) {
        *lines.entry(&file.package).or_default() += lines_without_tests(file);
    }
    for member in &workspace.members {
        let count = lines.get(member.name.as_str()).copied().unwrap_or_default();
        if count > CRATE_LINES_MAX {
            let what = format!("{count} lines, tests aside; the stop is {CRATE_LINES_MAX}");
            findings.push(Finding::new(
                "crate-length",
                format!("{}/src/lib.rs", member.folder),
                0,
                what,
            ));
        }
    }
}

fn lines_without_tests(file: &RustFile) -> usize {
    let all = file.source.text().lines().count();
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in &file.test_ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range.clone()),
        }
    }
    let tests: usize = merged
        .iter()
        .map(|range| file.source.line_count(range))
        .sum();
    all.saturating_sub(tests)
}

/// `pub` items at the top level of a file; re-exports do not count.
fn public_items(file: &RustFile) -> usize {
    let code = &file.source.code;
    let mut depth = 0_usize;
    let mut at = 0;
    let mut count = 0;
    for (start, word) in file.source.words() {
        for byte in code[at..start].bytes() {
            match byte {
                b'{' | b'(' => depth += 1,
                b'}' | b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        at = start;
        let rest = code[start + word.len()..].trim_start();
        let is_export = rest.starts_with("use ") || rest.starts_with('(');
        if depth == 0 && word == "pub" && !is_export {
            count += 1;
        }
    }
    count
}

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const PUBLIC_ITEMS_MAX: usize = 20;
const CRATE_LINES_MAX: usize = 15_000;

#[cfg(test)]
mod tests {
    use super::super::tests::library;
    use super::*;
    use crate::workspace::Member;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let mut findings = Vec::new();
        check(&library(text), &mut findings);
        let rules: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(rules, expected);
    }

    #[test]
    fn a_function_stops_at_seventy_lines() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
        check_text(&body(70), &[]);
        check_text(&body(71), &["function-length"]);
        check_text(&format!("#[cfg(test)]\nmod tests {{ {} }}", body(90)), &[]);
    }

    #[test]
    fn a_file_stops_at_eight_hundred_lines_without_its_tests() {
        check_text(&"// a\n".repeat(800), &[]);
        check_text(&"// a\n".repeat(801), &["file-length"]);
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    // b\n".repeat(500)
        );
        check_text(&format!("{}{tests}", "// a\n".repeat(700)), &[]);
    }

    #[test]
    fn a_file_stops_at_twenty_public_items() {
        check_text(&"pub struct S;\n".repeat(20), &[]);
        check_text(&"pub struct S;\n".repeat(21), &["public-items"]);
        check_text(&"pub use a::B;\n".repeat(30), &[]);
        check_text(&"pub(crate) struct S;\n".repeat(30), &[]);
        check_text(
            &format!("pub struct S {{ {} }}", "pub a: u8,\n".repeat(30)),
            &[],
        );
    }

    #[test]
    fn a_crate_stops_at_fifteen_thousand_lines() {
        let member = Member {
            name: "asupersync-a".to_owned(),
            folder: "crates/a".to_owned(),
            ..Member::default()
        };
        let workspace = Workspace {
            members: vec![member],
            ..Workspace::default()
        };
        let files = [library(&"// a\n".repeat(15_001))];
        let mut findings = Vec::new();
        check_crates(&workspace, &files, &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].check, "crate-length");
    }
}
