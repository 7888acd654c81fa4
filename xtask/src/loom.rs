//! Models of the lock-free code, explored by loom in a build of its own.
//!
//! A crate with models has a test binary `loom`, or modules and functions in its library whose names start with `loom_`.
//! The preemption bound states the fraction that is explored: most bugs need two preemptions, all of them need no bound.

use std::path::Path;
use std::process::Command;

use crate::source::Source;
use crate::tree::Tree;
use crate::workspace::{Workspace, cargo};
use crate::{Verdict, process};

/// How many preemptions an explored schedule may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bound {
    /// Two: what continuous integration can afford.
    Fraction,
    /// Three: the default by hand.
    Usual,
    /// Every schedule.
    Full,
}

impl Bound {
    fn preemptions(self) -> Option<&'static str> {
        match self {
            Self::Fraction => Some("2"),
            Self::Usual => Some("3"),
            Self::Full => None,
        }
    }

    pub(crate) fn say(self) -> String {
        match self.preemptions() {
            Some(bound) => format!("schedules of up to {bound} preemptions"),
            None => "every schedule".to_owned(),
        }
    }
}

/// Runs all models with output inherited.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let bound = match arguments {
        [] => Bound::Usual,
        [only] if only == "--full" => Bound::Full,
        [only] if only == "--fraction" => Bound::Fraction,
        other => return Err(format!("unknown arguments {other:?}").into()),
    };
    let workspace = Workspace::load()?;
    let tree = Tree::load(&workspace.root)?;
    let plans = plans(&workspace, &tree);
    let mut is_success = true;
    for plan in &plans {
        is_success &= process::run_shown(&mut plan.command(&workspace.target, bound))?.success();
    }
    let word = if is_success { "hold" } else { "FAILED" };
    println!(
        "loom: {} sets of models {word}, {}",
        plans.len(),
        bound.say()
    );
    Ok(is_success)
}

/// One crate's models.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) package: String,
    arguments: &'static [&'static str],
}

impl Plan {
    pub(crate) fn command(&self, target: &Path, bound: Bound) -> Command {
        let mut command = cargo();
        command
            .args(["test", "--release", "--package", &self.package])
            .args(self.arguments);
        command
            .env("RUSTFLAGS", "--cfg loom")
            .env("CARGO_TARGET_DIR", target.join("loom"));
        if let Some(preemptions) = bound.preemptions() {
            command.env("LOOM_MAX_PREEMPTIONS", preemptions);
        }
        command
    }
}

/// Which crates have models, and how each is run.
pub(crate) fn plans(workspace: &Workspace, tree: &Tree) -> Vec<Plan> {
    let mut plans = Vec::new();
    for member in &workspace.members {
        let mut add = |arguments| {
            plans.push(Plan {
                package: member.name.clone(),
                arguments,
            })
        };
        if member.tests.iter().any(|test| test == "loom") {
            add(&["--test", "loom"][..]);
        }
        let folder = format!("{}/src", member.folder);
        if tree.rust_under(&folder).any(|(_, text)| names_model(text)) {
            add(&["--lib", "loom_"]);
        }
    }
    plans
}

fn names_model(text: &str) -> bool {
    let source = Source::new(text);
    let words: Vec<&str> = source.words().map(|(_, word)| word).collect();
    words
        .windows(2)
        .any(|pair| matches!(pair[0], "mod" | "fn") && pair[1].starts_with("loom_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Member;

    fn member(name: &str, tests: &[&str]) -> Member {
        let tests = tests.iter().map(|&test| test.to_owned()).collect();
        Member {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            tests,
            ..Member::default()
        }
    }

    #[test]
    fn models_are_found_in_a_binary_or_by_name() {
        let members = vec![
            member("a", &["it", "loom"]),
            member("b", &[]),
            member("c", &["it"]),
        ];
        let workspace = Workspace {
            members,
            ..Workspace::default()
        };
        let tree = Tree::from([
            (
                "crates/b/src/state.rs",
                "#[cfg(all(test, loom))]\nmod loom_models;\n",
            ),
            (
                "crates/c/src/lib.rs",
                "// mod loom_models;\nuse loom::thread;\n",
            ),
        ]);
        let found: Vec<_> = plans(&workspace, &tree)
            .into_iter()
            .map(|p| (p.package, p.arguments))
            .collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), &["--test", "loom"][..]),
                ("b".to_owned(), &["--lib", "loom_"][..])
            ]
        );
    }

    #[test]
    fn the_fraction_is_bounded_and_the_whole_is_not() {
        let plan = Plan {
            package: "a".to_owned(),
            arguments: &[],
        };
        let bound = |bound| {
            let command = plan.command(Path::new("/t"), bound);
            let value = command
                .get_envs()
                .find(|(key, _)| *key == "LOOM_MAX_PREEMPTIONS");
            value
                .and_then(|(_, value)| value)
                .map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(bound(Bound::Fraction).as_deref(), Some("2"));
        assert_eq!(bound(Bound::Full), None);
    }
}
