//! Every public function that waits has a program that cuts it short at every await.
//!
//! A function waits if its docs have a section `# Cancel safety`; `tidy` sees to it that each that returns a future has one.
//! The program is a call of `every_await("name", ..)` in the tests of the same crate, where the name is the function's path: `Semaphore::acquire`, or `mpsc::Sender::send` below a public module.
//! Deliberately absent: whether the program checks anything; the harness refuses one whose operation never waits.

use std::collections::BTreeSet;

use crate::Verdict;
use crate::report::{self, Finding};
use crate::source::{Source, leading_word, path_of_head, words};
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Prints what no program cuts short.
pub(crate) fn run() -> Verdict {
    let workspace = Workspace::load()?;
    let tree = Tree::load(&workspace.root)?;
    let mut count = 0;
    let mut findings = Vec::new();
    for folder in CRATES {
        let waits = waits(&tree, folder);
        count += waits.len();
        findings.extend(check(&tree, folder, &waits));
    }
    println!("awaits: {count} operations that wait");
    Ok(report::conclude("awaits", &findings))
}

/// The crates whose every wait is attacked.
const CRATES: [&str; 4] = [
    "crates/sync",
    "crates/stream",
    "crates/combinator",
    "crates/time",
];

/// A public function that waits.
struct Wait {
    name: String,
    path: String,
    line: usize,
}

fn waits(tree: &Tree, folder: &str) -> Vec<Wait> {
    let root = format!("{folder}/src");
    let public = public_modules(tree.get(&format!("{root}/lib.rs")).unwrap_or_default());
    let mut waits = Vec::new();
    for (path, text) in tree.rust_under(&root) {
        let source = Source::new(text);
        let tests = source.test_ranges();
        let owners: Vec<_> = [("impl", false), ("trait", true)]
            .into_iter()
            .flat_map(|(word, is_trait)| {
                let blocks = source.blocks(word).into_iter();
                blocks.map(move |(head, body)| (head, body, is_trait))
            })
            .collect();
        for function in source.functions() {
            let lead = &source.text()[function.lead.clone()];
            let owner = owners
                .iter()
                .find(|(_, body, _)| body.contains(&function.start));
            let in_public_trait = owner.is_some_and(|(head, _, is_trait)| {
                *is_trait && is_public(&source.code[source.lead(head.start)])
            });
            let counts = lead.contains("/// # Cancel safety")
                && (is_public(&source.code[function.lead.clone()]) || in_public_trait)
                && !tests.iter().any(|range| range.contains(&function.start));
            if !counts {
                continue;
            }
            let owner = owner.map(|(head, _, _)| path_of_head(&source.code[head.clone()]));
            let module = path[root.len() + 1..].split(['/', '.']).next();
            let module = module.filter(|module| public.contains(*module));
            let parts = [module, owner, Some(function.name.as_str())];
            waits.push(Wait {
                name: parts.into_iter().flatten().collect::<Vec<_>>().join("::"),
                path: path.to_owned(),
                line: source.line_of(function.start),
            });
        }
    }
    waits
}

fn is_public(lead: &str) -> bool {
    words(lead).any(|(at, word)| word == "pub" && !lead[at + 3..].trim_start().starts_with('('))
}

fn public_modules(root: &str) -> BTreeSet<String> {
    let modules = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    modules.map(|rest| leading_word(rest).to_owned()).collect()
}

/// The names that the tests of a crate cut short.
fn probed(tree: &Tree, folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.rust_under(&format!("{folder}/tests")) {
        for (at, call) in text.match_indices(CALL) {
            let arguments = text[at + call.len()..].trim_start();
            let name = arguments
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'));
            names.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

const CALL: &str = "every_await(";

fn check(tree: &Tree, folder: &str, waits: &[Wait]) -> Vec<Finding> {
    let probed = probed(tree, folder);
    let known: BTreeSet<&str> = waits.iter().map(|wait| wait.name.as_str()).collect();
    let missing = waits.iter().filter(|wait| !probed.contains(&wait.name));
    let missing = missing.map(|wait| {
        let what = format!(
            "`{0}` waits, and no test has `every_await(\"{0}\", ..)`",
            wait.name
        );
        Finding::new("awaits", &wait.path, wait.line, what)
    });
    let stale = probed.iter().filter(|name| !known.contains(name.as_str()));
    let stale = stale.map(|name| {
        let what = format!("`every_await(\"{name}\", ..)` names no public function that waits");
        Finding::new("awaits", format!("{folder}/tests"), 0, what)
    });
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str = "/// # Cancel safety\n/// Safe: nothing happened.\n";

    fn whats(source: &str, tests: &str) -> Vec<String> {
        let tree = Tree::from([
            ("crates/sync/src/lib.rs", "pub mod mpsc;\nmod lock;\n"),
            ("crates/sync/src/mpsc/ends.rs", source),
            ("crates/sync/src/lock.rs", "struct Own;"),
            ("crates/sync/tests/it/main.rs", tests),
        ]);
        let waits = waits(&tree, "crates/sync");
        let findings = check(&tree, "crates/sync", &waits);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_wait_without_a_program_is_found() {
        let source =
            format!("impl<T: Send + 'static> Sender<T> {{\n{SAFE}pub fn send(&self) {{}}\n}}");
        let found = whats(&source, "fn other() {}");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`mpsc::Sender::send` waits"), "{found:?}");
        let program = "fn t() { every_await(\n    \"mpsc::Sender::send\", p) }";
        assert!(whats(&source, program).is_empty());
    }

    #[test]
    fn functions_of_public_traits_and_free_ones_count_and_private_ones_do_not() {
        let source = format!(
            "pub trait Ext {{\n{SAFE}fn each(&self);\n}}\n{SAFE}pub async fn join() {{}}\n{SAFE}pub(crate) fn own() {{}}"
        );
        let found = whats(&source, "");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`mpsc::Ext::each`"), "{found:?}");
        assert!(found[1].contains("`mpsc::join`"), "{found:?}");
    }

    #[test]
    fn a_program_for_nothing_is_found() {
        let found = whats("", "fn t() { every_await(\"mpsc::Sender::sned\", p) }");
        assert!(found[0].contains("names no public function"), "{found:?}");
    }
}
