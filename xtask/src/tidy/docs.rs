//! Documentation that must exist: cancel safety of everything that waits, and the proof of everything unsafe.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Kind, RustFile};
use crate::report::Finding;
use crate::source::{Function, leading_word, words};

/// Every public function of a library that returns a future says what a dropped call leaves behind.
pub(super) fn check_cancel_safety(files: &[RustFile], findings: &mut Vec<Finding>) {
    let mut futures: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        futures
            .entry(&file.package)
            .or_default()
            .extend(future_types(&file.source.code));
    }
    for file in files.iter().filter(|file| file.kind == Kind::Library) {
        let own = &futures[file.package.as_str()];
        let public_traits = public_traits(file);
        for function in file.source.functions() {
            let lead = &file.source.code[function.lead.clone()];
            let is_public = is_public(lead)
                || public_traits
                    .iter()
                    .any(|block| block.contains(&function.start));
            let is_async = words(lead).any(|(_, word)| word == "async");
            let waits = is_async || returns_future(&function, own);
            let is_hidden = lead.contains("doc(hidden)");
            if is_public && waits && !is_hidden && !file.is_test_code(function.start) {
                check_section(file, &function, findings);
            }
        }
    }
}

fn check_section(file: &RustFile, function: &Function, findings: &mut Vec<Finding>) {
    let docs = doc_lines(&file.source.text()[function.lead.clone()]);
    let mut lines = docs
        .iter()
        .skip_while(|line| !line.eq_ignore_ascii_case("# Cancel safety"));
    let name = &function.name;
    if lines.next().is_none() {
        let what = format!("`{name}` waits, so its docs need `# Cancel safety`");
        return findings.push(file.finding("cancel-safety", function.start, what));
    }
    let first = lines
        .find(|line| !line.is_empty())
        .map_or("", |line| leading_word(line));
    if !CANCEL_WORDS.contains(&first) {
        let what =
            format!("`{name}`: Cancel safety opens with one of {CANCEL_WORDS:?}, not {first:?}");
        findings.push(file.finding("cancel-safety", function.start, what));
    }
}

/// Docs as text: `///` taken away, blanks trimmed.
fn doc_lines(lead: &str) -> Vec<&str> {
    lead.lines()
        .filter_map(|line| line.trim().strip_prefix("///"))
        .map(str::trim)
        .collect()
}

fn is_public(lead: &str) -> bool {
    words(lead).any(|(at, word)| word == "pub" && !lead[at + 3..].trim_start().starts_with('('))
}

/// Bodies of `pub trait`s: their functions are public without saying so.
fn public_traits(file: &RustFile) -> Vec<Range<usize>> {
    let blocks = file.source.blocks("trait").into_iter();
    let public =
        blocks.filter(|(head, _)| is_public(&file.source.code[file.source.lead(head.start)]));
    public.map(|(_, body)| body).collect()
}

/// Types that implement `Future` in this code.
fn future_types(code: &str) -> BTreeSet<String> {
    let all: Vec<(usize, &str)> = words(code).collect();
    let mut types = BTreeSet::new();
    for (index, pair) in all.windows(2).enumerate() {
        if pair[0].1 != "Future" || pair[1].1 != "for" {
            continue;
        }
        let after = &code[pair[1].0 + 3..];
        let head = after.split(['<', '{']).next().unwrap_or_default();
        let name = words(head).take_while(|(_, word)| *word != "where").last();
        if let Some((_, name)) = name.filter(|_| index + 2 < all.len()) {
            types.insert(name.to_owned());
        }
    }
    types
}

fn returns_future(function: &Function, own: &BTreeSet<String>) -> bool {
    let returns = &function.returns;
    if returns.starts_with("impl") || returns.starts_with("Pin") || returns.starts_with("BoxFuture")
    {
        return words(returns).any(|(_, word)| matches!(word, "Future" | "BoxFuture"));
    }
    let head = returns.split('<').next().unwrap_or_default();
    words(head)
        .last()
        .is_some_and(|(_, word)| own.contains(word))
}

/// Each unsafe block and implementation has `SAFETY:` above it, each unsafe function `# Safety`.
///
/// Private functions of one file, such as those of a vtable, may share a section in the module's docs.
pub(super) fn check_unsafe(file: &RustFile, findings: &mut Vec<Finding>) {
    let code = &file.source.code;
    let in_attribute = |at: usize| {
        file.source
            .attributes()
            .iter()
            .any(|range| range.contains(&at))
    };
    for (at, _) in file.source.words().filter(|(_, word)| *word == "unsafe") {
        let after = code[at + 6..].trim_start();
        let next = leading_word(after);
        let needs_proof = after.starts_with('{') || next == "impl";
        if needs_proof && !in_attribute(at) && !has_safety_comment(file, at) {
            let what = "say `// SAFETY:` above: who upholds which precondition";
            findings.push(file.finding("safety", at, what));
        }
    }
    let is_shared = file
        .source
        .text()
        .lines()
        .any(|line| line.trim() == "//! # Safety");
    for function in file.source.functions() {
        let lead = &file.source.code[function.lead.clone()];
        let is_unsafe = words(lead).any(|(_, word)| word == "unsafe");
        let docs = &file.source.text()[function.lead.clone()];
        let is_stated = is_shared || is_in_trait_impl(file, function.start);
        let is_stated = is_stated && !is_public(lead);
        let is_doc_bound = is_unsafe && !is_stated && !file.is_test_code(function.start);
        if is_doc_bound && !doc_lines(docs).contains(&"# Safety") {
            let what = format!("unsafe `{}` needs `# Safety` in its docs", function.name);
            findings.push(file.finding("safety", function.start, what));
        }
    }
}

/// The trait documents the contract; an implementation does not repeat it.
fn is_in_trait_impl(file: &RustFile, at: usize) -> bool {
    file.source.blocks("impl").into_iter().any(|(head, body)| {
        body.contains(&at) && words(&file.source.code[head]).any(|(_, word)| word == "for")
    })
}

/// Looks at the same line and at the comment lines right above the statement.
fn has_safety_comment(file: &RustFile, at: usize) -> bool {
    let lines: Vec<&str> = file.source.text().lines().collect();
    let code: Vec<&str> = file.source.code.lines().collect();
    let mut line = file.source.line_of(at) - 1;
    if lines[line].contains("SAFETY:") {
        return true;
    }
    // A block may stand in the middle of a statement: go up to the statement's first line.
    while line > 0 {
        line -= 1;
        if lines[line].contains("SAFETY:") {
            return true;
        }
        let above = code[line].trim_end();
        let is_comment = above.trim().is_empty() && lines[line].trim_start().starts_with("//");
        if !is_comment && (above.trim().is_empty() || above.ends_with([';', '}'])) {
            return false;
        }
    }
    false
}

const CANCEL_WORDS: [&str; 4] = ["Safe", "Requeues", "Drains", "Lossy"];

#[cfg(test)]
mod tests {
    use super::super::tests::library;
    use super::*;

    #[track_caller]
    fn check_waits(text: &str, expected: usize) {
        let mut findings = Vec::new();
        check_cancel_safety(&[library(text)], &mut findings);
        assert_eq!(findings.len(), expected, "{text}: {findings:?}");
    }

    #[test]
    fn a_public_async_function_needs_the_section() {
        check_waits("/// Waits.\npub async fn f() {}", 1);
        check_waits(
            "/// Waits.\n/// # Cancel safety\n/// Safe: nothing was taken.\npub async fn f() {}",
            0,
        );
        check_waits("async fn f() {}\npub(crate) async fn g() {}", 0);
        check_waits("#[doc(hidden)]\npub async fn f() {}", 0);
    }

    #[test]
    fn the_section_opens_with_one_of_four_words() {
        check_waits(
            "/// # Cancel safety\n/// Probably fine.\npub async fn f() {}",
            1,
        );
        check_waits(
            "/// # Cancel safety\n///\n/// Requeues: the place is lost.\npub async fn f() {}",
            0,
        );
    }

    #[test]
    fn functions_that_return_a_future_need_it_too() {
        check_waits("pub fn f() -> impl Future<Output = u8> { g() }", 1);
        check_waits(
            "pub fn f<'a>() -> Pin<Box<dyn Future<Output = ()> + 'a>> { g() }",
            1,
        );
        check_waits(
            "impl Future for Recv<'_> {}\npub fn f() -> Recv<'static> { g() }",
            1,
        );
        check_waits(
            "impl std::future::Future for Recv {}\nimpl A { pub fn f(&self) -> Recv { g() } }",
            1,
        );
        check_waits("pub fn f(g: impl Future<Output = u8>) -> u8 { 3 }", 0);
    }

    #[test]
    fn functions_of_a_public_trait_are_public() {
        check_waits(
            "pub trait T { fn f(&self) -> impl Future<Output = ()>; }",
            1,
        );
        check_waits("pub trait T { async fn f(&self) { } }", 1);
        check_waits("trait T { async fn f(&self); }", 0);
    }

    #[track_caller]
    fn check_proof(text: &str, expected: usize) {
        let mut findings = Vec::new();
        check_unsafe(&library(text), &mut findings);
        assert_eq!(findings.len(), expected, "{text}: {findings:?}");
    }

    #[test]
    fn an_unsafe_block_without_proof_is_caught() {
        check_proof("fn f() {\n    unsafe { g() };\n}", 1);
        check_proof(
            "fn f() {\n    // SAFETY: g has no precondition.\n    unsafe { g() };\n}",
            0,
        );
        check_proof(
            "fn f() {\n    // SAFETY: the caller\n    // holds the lock.\n    let a =\n        unsafe { g() };\n}",
            0,
        );
        check_proof(
            "fn f() {\n    // SAFETY: first.\n    unsafe { g() };\n    unsafe { g() };\n}",
            1,
        );
        check_proof("unsafe impl Send for S {}", 1);
    }

    #[test]
    fn an_unsafe_function_states_its_contract() {
        check_proof("/// Does it.\npub unsafe fn f() {}", 1);
        check_proof(
            "/// # Safety\n/// The pointer is valid.\npub unsafe fn f() {}",
            0,
        );
        check_proof(
            "// SAFETY: forwards.\nunsafe impl A for S { unsafe fn f() {} }",
            0,
        );
    }
}
