//! Rules about single places in code: silenced lints, skipped tests, unfinished code, panics, contents pages.

use super::{Kind, RustFile};
use crate::report::Finding;
use crate::source::{leading_word, words};

/// All rules of this module.
pub(super) fn check(file: &RustFile, findings: &mut Vec<Finding>) {
    check_attributes(file, findings);
    check_macros(file, findings);
    if file.kind != Kind::Test {
        check_unwrap(file, findings);
        check_expect(file, findings);
    }
    if file.path.starts_with("crates/") && file.path.ends_with("/src/lib.rs") {
        check_contents_page(file, findings);
    }
}

fn check_attributes(file: &RustFile, findings: &mut Vec<Finding>) {
    for range in file.source.attributes() {
        let code = &file.source.code[range.clone()];
        let inside = code.trim_start_matches(['#', '!', '[', ' ', '\n']);
        for (at, word) in words(inside) {
            let is_call = inside[at + word.len()..].trim_start().starts_with('(');
            if word == "allow" && is_call {
                let what = "use `#[expect(…, reason = \"…\")]`, which ends with its cause";
                findings.push(file.finding("allow", range.start, what));
            }
        }
        if leading_word(inside) == "ignore" {
            let what = "no test is skipped; assert the wrong behaviour and mark it FIXME";
            findings.push(file.finding("ignore", range.start, what));
        }
    }
}

fn check_macros(file: &RustFile, findings: &mut Vec<Finding>) {
    let code = &file.source.code;
    for (at, word) in file.source.words() {
        let is_call = code[at + word.len()..].starts_with('!');
        if is_call && matches!(word, "todo" | "unimplemented" | "dbg") {
            findings.push(file.finding("unfinished", at, format!("`{word}!` is not for the tree")));
        }
    }
}

fn check_unwrap(file: &RustFile, findings: &mut Vec<Finding>) {
    for (at, _) in file.source.code.match_indices(".unwrap()") {
        if !file.is_test_code(at) {
            let what = "return the error, or say with `expect` why it cannot happen";
            findings.push(file.finding("unwrap", at, what));
        }
    }
}

fn check_expect(file: &RustFile, findings: &mut Vec<Finding>) {
    for (at, matched) in file.source.code.match_indices(".expect(\"") {
        let from = at + matched.len();
        let message = file.source.text()[from..]
            .split('"')
            .next()
            .unwrap_or_default();
        if !file.is_test_code(at) && message.split_whitespace().count() < 2 {
            let what = format!("`expect({message:?})` does not say why it holds");
            findings.push(file.finding("expect", at, what));
        }
    }
}

/// `lib.rs` holds docs, private modules and re-exports; each public item has one path.
fn check_contents_page(file: &RustFile, findings: &mut Vec<Finding>) {
    let code = &file.source.code;
    let is_macro_crate = code.contains("proc_macro");
    let mut depth = 0_usize;
    let mut at = 0;
    for (start, word) in file.source.words() {
        for byte in code[at..start].bytes() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        at = start;
        let is_item = matches!(word, "fn" | "struct" | "enum" | "trait" | "impl" | "union");
        if depth > 0 || file.is_test_code(start) || is_macro_crate {
            continue;
        }
        if is_item {
            let what = format!("`lib.rs` is a contents page; move this `{word}` into a module");
            findings.push(file.finding("contents-page", start, what));
        }
        let is_public = code[..start].trim_end().ends_with("pub");
        let name_at = start + 4;
        if word == "mod" && is_public && code.len() > name_at {
            let rest =
                code[name_at..].trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            if rest.trim_start().starts_with(';') {
                let what = "modules are private; re-export their items, so that each has one path";
                findings.push(file.finding("contents-page", start, what));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::library;
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let mut findings = Vec::new();
        check(&library(text), &mut findings);
        let rules: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(rules, expected, "{text}");
    }

    #[test]
    fn silenced_lints_are_caught_in_every_spelling() {
        check_text("#[allow(dead_code)]\nfn f() {}", &["allow"]);
        check_text("#![allow(missing_docs)]", &["allow"]);
        check_text("#[cfg_attr(test, allow(dead_code))]\nfn f() {}", &["allow"]);
        check_text(
            "#[expect(dead_code, reason = \"allow(x)\")]\nfn f() { allow(3); }",
            &[],
        );
    }

    #[test]
    fn skipped_tests_are_caught() {
        check_text(
            "#[cfg(test)]\nmod tests { #[test]\n#[ignore]\nfn f() {} }",
            &["ignore"],
        );
        check_text(
            "#[cfg(test)]\nmod tests { #[test]\n#[ignore = \"slow\"]\nfn f() {} }",
            &["ignore"],
        );
    }

    #[test]
    fn unfinished_code_is_caught_even_in_tests() {
        check_text("fn f() { todo!() }", &["unfinished"]);
        check_text("#[test]\nfn f() { unimplemented!(\"x\") }", &["unfinished"]);
        check_text("fn f() { dbg!(3); }", &["unfinished"]);
        check_text("// todo!() later\nfn todo() {}", &[]);
    }

    #[test]
    fn unwrap_is_caught_outside_tests_only() {
        check_text("fn f() { g().unwrap(); }", &["unwrap"]);
        check_text("/// g().unwrap()\nfn f() { g().unwrap_or(3); }", &[]);
        check_text("#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }", &[]);
    }

    #[test]
    fn expect_states_a_proof() {
        check_text("fn f() { g().expect(\"\"); }", &["expect"]);
        check_text("fn f() { g().expect(\"bug\"); }", &["expect"]);
        check_text(
            "fn f() { g().expect(\"the list was checked above\"); }",
            &[],
        );
    }

    #[track_caller]
    fn check_page(text: &str, expected: usize) {
        let file = RustFile::new("crates/a/src/lib.rs", "a", Kind::Library, text);
        let mut findings = Vec::new();
        check(&file, &mut findings);
        assert_eq!(findings.len(), expected, "{text}: {findings:?}");
    }

    #[test]
    fn a_contents_page_holds_no_code_and_no_public_module() {
        check_page(
            "mod a;\npub use a::A;\npub mod prelude { pub use super::A; }\n",
            0,
        );
        check_page("mod a;\npub fn f() {}\n", 1);
        check_page("struct S;\nimpl S {}\n", 2);
        check_page("pub mod a;\n", 1);
        check_page("#[cfg(test)]\nmod tests { fn f() {} }\n", 0);
    }
}
