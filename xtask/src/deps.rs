//! Foreign crates: no other runtime under the facade, and only allowed licences.
//!
//! `deny.toml` is the list; this reads the allowed licences from it, so that the list is enforced without a further tool.

use crate::layers::FOREIGN_RUNTIMES;
use crate::report::{self, Finding};
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process};

/// Checks the facade's tree as cargo prints it, then the licences of all packages.
pub(crate) fn run() -> Verdict {
    let workspace = Workspace::load()?;
    let mut findings = Vec::new();
    if workspace.member(FACADE).is_some() {
        let mut tree = cargo();
        tree.args([
            "tree",
            "--package",
            FACADE,
            "-e",
            "normal",
            "--all-features",
            "--prefix",
            "none",
        ]);
        let output = process::stdout_of(tree.current_dir(&workspace.root))?;
        findings.extend(foreign_runtimes(&output));
        println!(
            "deps: {} lines in the tree of `{FACADE}`",
            output.lines().count()
        );
    } else {
        println!("deps: SKIP the tree of `{FACADE}`: there is no such member yet");
    }
    let policy = std::fs::read_to_string(workspace.root.join("deny.toml"))?;
    let allowed = allowed_licences(&policy);
    let foreign = workspace
        .packages
        .iter()
        .filter(|(id, _)| !workspace.members.iter().any(|m| m.id == **id));
    let mut count = 0;
    for (_, package) in foreign {
        count += 1;
        let license = package.license.as_deref().unwrap_or("none");
        if !is_allowed(license, &allowed) {
            let what = format!(
                "`{}` has the licence {license:?}, which is not allowed",
                package.name
            );
            findings.push(Finding::new("deps", "deny.toml", 0, what));
        }
    }
    println!(
        "deps: {count} foreign packages, {} licences allowed",
        allowed.len()
    );
    Ok(report::conclude("deps", &findings))
}

/// Lines of `cargo tree` that name another runtime.
fn foreign_runtimes(tree: &str) -> Vec<Finding> {
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let foreign = names.filter(|name| FOREIGN_RUNTIMES.contains(name));
    foreign
        .map(|name| {
            Finding::new(
                "deps",
                "Cargo.lock",
                0,
                format!("`{name}` is in the facade's tree"),
            )
        })
        .collect()
}

/// The strings of the `allow = […]` list in `deny.toml`.
fn allowed_licences(policy: &str) -> Vec<String> {
    let list = policy
        .split_once("\nallow = [")
        .map_or("", |(_, rest)| rest);
    let list = list.split(']').next().unwrap_or_default();
    let without_comments = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let quoted = without_comments.flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

/// True if the SPDX expression can be met with allowed licences only.
///
/// Precedence as in SPDX: `WITH`, then `AND`, then `OR`; the old `/` means `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&tokens, &mut at, allowed);
    verdict && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut verdict = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all_of(tokens, at, allowed);
    }
    verdict
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut verdict = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= one(tokens, at, allowed);
    }
    verdict
}

fn one(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(&first) = tokens.get(*at) else {
        return false;
    };
    *at += 1;
    if first == "(" {
        let verdict = any_of(tokens, at, allowed);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    let mut name = first.to_owned();
    if let [Some(&"WITH"), Some(exception)] = [tokens.get(*at), tokens.get(*at + 1)] {
        name = format!("{first} WITH {exception}");
        *at += 2;
    }
    allowed.contains(&name)
}

const FACADE: &str = "asupersync";

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = include_str!("../../deny.toml");

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        assert_eq!(
            is_allowed(expression, &allowed_licences(POLICY)),
            expected,
            "{expression}"
        );
    }

    #[test]
    fn a_choice_needs_one_allowed_licence_and_a_sum_needs_all() {
        check("MIT OR GPL-3.0-only", true);
        check("MIT AND GPL-3.0-only", false);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("Unlicense/MIT", true);
        check("Apache-2.0 WITH LLVM-exception OR MIT", true);
    }

    #[test]
    fn a_forbidden_or_missing_licence_is_caught() {
        check("GPL-3.0-only", false);
        check("none", false);
        check("", false);
        check("MIT MIT", false);
        check("(MIT", false);
        check("Apache-2.0 WITH Some-exception", false);
    }

    #[test]
    fn a_runtime_in_the_tree_is_caught_by_its_whole_name() {
        let tree = "asupersync v0.1.0 (/w)\nmio v1.2.5\ntokio v1.54.1\ntokio-lookalike v1.0.0\n";
        let findings = foreign_runtimes(tree);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("`tokio`"));
    }

    #[test]
    fn the_policy_file_bans_every_foreign_runtime() {
        for runtime in FOREIGN_RUNTIMES {
            let entry = format!("crate = \"{runtime}\"");
            assert!(POLICY.contains(&entry), "deny.toml does not ban {runtime}");
        }
    }
}
