//! Crates depend strictly downwards, say what they are, and mark their unsafe code.
//!
//! The table is `[workspace.metadata.layers]` in the root manifest.
//! Normal and build dependencies lead to strictly lower layers.
//! Development dependencies may also stay on the same layer or name the lab, because tests drive libraries through it.

use crate::Verdict;
use crate::report::{self, Finding};
use crate::source::{Source, words};
use crate::tree::Tree;
use crate::workspace::{EdgeKind, LayerLine, Member, Workspace};

/// Prints the table and the violations.
pub(crate) fn run() -> Verdict {
    let workspace = Workspace::load()?;
    let tree = Tree::load(&workspace.root)?;
    print!("{}", table(&workspace));
    Ok(report::conclude("layers", &check(&workspace, &tree)))
}

fn table(workspace: &Workspace) -> String {
    let row = |(member, line): (&Member, &LayerLine)| {
        let internal = |kind: EdgeKind| {
            let edges = member.edges.iter().filter(move |edge| edge.kind == kind);
            let names = edges.filter(|edge| workspace.member(&edge.to).is_some());
            names
                .map(|edge| short(&edge.to))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mark = if line.is_unsafe { "unsafe" } else { "" };
        vec![
            line.layer.to_string(),
            member.name.clone(),
            mark.to_owned(),
            internal(EdgeKind::Normal),
            internal(EdgeKind::Dev),
        ]
    };
    let rows: Vec<_> = workspace.by_layer().into_iter().map(row).collect();
    report::table(
        &["layer", "crate", "mark", "stands on", "tests with"],
        &rows,
    )
}

/// The crate's noun.
pub(crate) fn short(name: &str) -> String {
    name.strip_prefix("asupersync-").unwrap_or(name).to_owned()
}

/// Every breach of the table.
pub(crate) fn check(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |what: String| findings.push(Finding::new("layers", "Cargo.toml", 0, what));
    for name in workspace.lines.keys() {
        if workspace.member(name).is_none() {
            report(format!(
                "the layer table names `{name}`, which is no member"
            ));
        }
    }
    for member in &workspace.members {
        let name = &member.name;
        let Some(line) = workspace.lines.get(name) else {
            report(format!(
                "member `{name}` has no line in [workspace.metadata.layers]"
            ));
            continue;
        };
        for key in &line.unknown_keys {
            report(format!("`{name}` has the unknown key `{key}`"));
        }
        check_edges(workspace, member, line, &mut report);
        check_place(member, line, &mut report);
        check_charter(tree, member, line, &mut report);
        check_unsafe(tree, member, line, &mut report);
        check_runtimes(workspace, member, line, &mut report);
    }
    findings
}

fn check_edges(ws: &Workspace, member: &Member, line: &LayerLine, report: &mut impl FnMut(String)) {
    for edge in &member.edges {
        let Some(to) = ws.lines.get(&edge.to) else {
            continue;
        };
        let allowed = match edge.kind {
            EdgeKind::Normal | EdgeKind::Build => to.layer < line.layer,
            EdgeKind::Dev => to.layer <= line.layer || edge.to == LAB,
        };
        let host_names_library = line.layer == HOST_LAYER && to.layer > HOST_REACH;
        let (from, target) = (&member.name, &edge.to);
        if !allowed {
            report(format!(
                "`{from}` (layer {}) depends on `{target}` (layer {}), which is not below it",
                line.layer, to.layer
            ));
        } else if host_names_library && edge.kind != EdgeKind::Dev {
            report(format!(
                "`{from}` is a host and names layers 0 to {HOST_REACH} only, not `{target}`"
            ));
        }
    }
}

fn check_place(member: &Member, line: &LayerLine, report: &mut impl FnMut(String)) {
    let (name, folder) = (&member.name, &member.folder);
    if line.layer > TOOL_LAYER {
        report(format!(
            "`{name}` stands on layer {}; the last is {TOOL_LAYER}",
            line.layer
        ));
    }
    let expected = format!("crates/{}", short(name));
    let is_conformance = line.layer > HOST_LAYER && folder.starts_with(CONFORMANCE);
    if line.layer < TOOL_LAYER && *folder != expected && !is_conformance {
        report(format!("`{name}` lives in `{folder}`, not in `{expected}`"));
    }
}

fn check_charter(tree: &Tree, member: &Member, line: &LayerLine, report: &mut impl FnMut(String)) {
    let name = &member.name;
    if member.description != line.charter {
        report(format!(
            "`{name}`: description {:?} is not the charter",
            member.description
        ));
    }
    if !line.charter.ends_with('.') {
        report(format!("`{name}`: the charter is not a sentence"));
    }
    let Some(root) = member.roots.first() else {
        return report(format!("`{name}` has neither a library nor a binary"));
    };
    let text = tree.get(root).unwrap_or_default();
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("//!"))
        .unwrap_or_default()
        .trim();
    if first != line.charter {
        report(format!(
            "`{name}`: the first doc line of {root} is {first:?}, not the charter"
        ));
    }
}

fn check_unsafe(tree: &Tree, member: &Member, line: &LayerLine, report: &mut impl FnMut(String)) {
    let name = &member.name;
    let says = |text: &str, wanted: [&str; 2]| {
        let source = Source::new(text);
        let squeezed = |range: std::ops::Range<usize>| {
            source.code[range].split_whitespace().collect::<String>()
        };
        let mut attributes = source.attributes().into_iter().map(squeezed);
        attributes.any(|attribute| wanted.iter().any(|start| attribute.starts_with(start)))
    };
    for root in &member.roots {
        let text = tree.get(root).unwrap_or_default();
        if !line.is_unsafe && !says(text, ["#![forbid(unsafe_code)]"; 2]) {
            report(format!(
                "`{name}` is not marked unsafe, so {root} must say `#![forbid(unsafe_code)]`"
            ));
        }
    }
    let opt_in = ["#![expect(unsafe_code,", "#[expect(unsafe_code,"];
    if line.is_unsafe
        && !tree
            .rust_under(&member.folder)
            .any(|(_, text)| says(text, opt_in))
    {
        report(format!(
            "`{name}` is marked unsafe, but nothing in it says `#![expect(unsafe_code, reason = …)]`"
        ));
    }
    let has_unsafe = |text: &str| words(&Source::new(text).code).any(|(_, word)| word == "unsafe");
    let mut files = tree.rust_under(&member.folder);
    let first = files.find(|(_, text)| has_unsafe(text));
    match first {
        Some((path, _)) if !line.is_unsafe => {
            report(format!(
                "`{name}` is not marked unsafe, but {path} has unsafe code"
            ));
        }
        None if line.is_unsafe => report(format!("`{name}` is marked unsafe without need")),
        _ => {}
    }
}

fn check_runtimes(
    ws: &Workspace,
    member: &Member,
    line: &LayerLine,
    report: &mut impl FnMut(String),
) {
    if line.layer >= TOOL_LAYER {
        return;
    }
    for runtime in FOREIGN_RUNTIMES {
        if let Some(path) = ws.normal_path(&member.id, runtime) {
            report(format!(
                "`{}` reaches a foreign runtime: {}",
                member.name,
                path.join(" -> ")
            ));
        }
    }
}

/// Runtimes that must not stand in a library's normal dependency tree.
pub(crate) const FOREIGN_RUNTIMES: [&str; 4] = ["tokio", "async-std", "smol", "async-io"];

/// The crate that tests of every layer may name.
const LAB: &str = "asupersync-lab";

/// What stands above the hosts may live here, so that a tool can name it.
const CONFORMANCE: &str = "conformance/";

/// Hosts stand here and may name nothing above [`HOST_REACH`].
const HOST_LAYER: u64 = 8;
const HOST_REACH: u64 = 4;

/// Tools may depend on everything; foreign runtimes are peers there.
pub(crate) const TOOL_LAYER: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Edge, Package};

    const GOOD: &str = "//! Does a.\n#![forbid(unsafe_code)]\n";

    fn member(name: &str, edges: &[(&str, EdgeKind)]) -> Member {
        let folder = format!("crates/{}", short(name));
        let edges = edges.iter().map(|(to, kind)| Edge {
            to: (*to).to_owned(),
            kind: *kind,
        });
        Member {
            name: name.to_owned(),
            id: name.to_owned(),
            roots: vec![format!("{folder}/src/lib.rs")],
            folder,
            description: "Does a.".to_owned(),
            edges: edges.collect(),
            ..Member::default()
        }
    }

    fn workspace(members: Vec<(Member, u64)>) -> Workspace {
        let mut ws = Workspace::default();
        for (member, layer) in members {
            let line = LayerLine {
                layer,
                charter: "Does a.".to_owned(),
                ..LayerLine::default()
            };
            ws.lines.insert(member.name.clone(), line);
            let package = Package {
                name: member.name.clone(),
                ..Package::default()
            };
            ws.packages.insert(member.id.clone(), package);
            ws.members.push(member);
        }
        ws
    }

    fn check_two(kind: EdgeKind, from: u64, to: u64) -> Vec<Finding> {
        let a = member("asupersync-a", &[("asupersync-b", kind)]);
        let ws = workspace(vec![(a, from), (member("asupersync-b", &[]), to)]);
        check(
            &ws,
            &Tree::from([("crates/a/src/lib.rs", GOOD), ("crates/b/src/lib.rs", GOOD)]),
        )
    }

    #[track_caller]
    fn assert_caught(findings: &[Finding], needle: &str) {
        let caught = findings.iter().any(|finding| finding.what.contains(needle));
        assert!(caught, "nothing about {needle:?} in {findings:?}");
    }

    #[test]
    fn a_downward_edge_is_fine() {
        assert_eq!(check_two(EdgeKind::Normal, 1, 0), []);
        assert_eq!(check_two(EdgeKind::Dev, 1, 1), []);
    }

    #[test]
    fn level_and_upward_edges_are_caught() {
        assert_caught(&check_two(EdgeKind::Normal, 1, 1), "not below it");
        assert_caught(&check_two(EdgeKind::Build, 1, 1), "not below it");
        assert_caught(&check_two(EdgeKind::Normal, 1, 2), "not below it");
        assert_caught(&check_two(EdgeKind::Dev, 1, 2), "not below it");
    }

    #[test]
    fn a_host_names_no_library_above_its_reach() {
        assert_caught(&check_two(EdgeKind::Normal, 8, 5), "is a host");
        assert_eq!(check_two(EdgeKind::Normal, 8, 4), []);
    }

    #[test]
    fn the_lab_may_be_named_by_tests_of_every_layer() {
        let a = member("asupersync-a", &[("asupersync-lab", EdgeKind::Dev)]);
        let ws = workspace(vec![(a, 1), (member("asupersync-lab", &[]), 8)]);
        let tree = Tree::from([
            ("crates/a/src/lib.rs", GOOD),
            ("crates/lab/src/lib.rs", GOOD),
        ]);
        assert_eq!(check(&ws, &tree), []);
    }

    fn check_one(edit: impl FnOnce(&mut Workspace), source: &str) -> Vec<Finding> {
        let mut ws = workspace(vec![(member("asupersync-a", &[]), 0)]);
        edit(&mut ws);
        check(&ws, &Tree::from([("crates/a/src/lib.rs", source)]))
    }

    fn line(ws: &mut Workspace) -> &mut LayerLine {
        ws.lines.get_mut("asupersync-a").expect("listed")
    }

    #[test]
    fn an_unlisted_member_and_an_unknown_line_are_caught() {
        let findings = check_one(
            |ws| {
                let line = ws.lines.remove("asupersync-a").expect("listed");
                ws.lines.insert("asupersync-ghost".to_owned(), line);
            },
            GOOD,
        );
        assert_caught(&findings, "has no line");
        assert_caught(&findings, "which is no member");
    }

    #[test]
    fn three_places_carry_the_same_charter() {
        assert_caught(
            &check_one(|_| (), "//! Does b.\n#![forbid(unsafe_code)]\n"),
            "first doc line",
        );
        let findings = check_one(|ws| ws.members[0].description = "Does b.".to_owned(), GOOD);
        assert_caught(&findings, "is not the charter");
        let findings = check_one(|ws| line(ws).unknown_keys.push("colour".to_owned()), GOOD);
        assert_caught(&findings, "unknown key");
    }

    #[test]
    fn the_unsafe_mark_agrees_with_the_source() {
        assert_caught(&check_one(|_| (), "//! Does a.\n"), "forbid(unsafe_code)");
        let sneaky = "//! Does a.\n#![forbid(unsafe_code)]\nunsafe fn f() {}\n";
        assert_caught(&check_one(|_| (), sneaky), "has unsafe code");
        assert_caught(
            &check_one(|ws| line(ws).is_unsafe = true, GOOD),
            "without need",
        );
        let without = "//! Does a.\nunsafe fn f() {}\n";
        assert_caught(
            &check_one(|ws| line(ws).is_unsafe = true, without),
            "nothing in it says",
        );
        let marked = "//! Does a.\n#![expect(unsafe_code, reason = \"r\")]\nunsafe fn f() {}\n";
        assert_eq!(check_one(|ws| line(ws).is_unsafe = true, marked), []);
    }

    #[test]
    fn unsafe_in_a_comment_or_an_attribute_name_is_no_unsafe_code() {
        let source =
            "//! Does a.\n#![forbid(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";\n";
        assert_eq!(check_one(|_| (), source), []);
    }

    #[test]
    fn a_foreign_runtime_below_a_library_is_caught() {
        let tokio = Package {
            name: "tokio".to_owned(),
            ..Package::default()
        };
        let add = |ws: &mut Workspace| {
            ws.packages.insert("tokio".to_owned(), tokio);
            let own = ws.packages.get_mut("asupersync-a").expect("listed");
            own.normal.push("tokio".to_owned());
        };
        assert_caught(&check_one(add, GOOD), "asupersync-a -> tokio");
    }

    #[test]
    fn a_crate_lives_where_its_name_says() {
        let moved = |ws: &mut Workspace| ws.members[0].folder = "crates/b".to_owned();
        assert_caught(&check_one(moved, GOOD), "not in `crates/a`");
    }

    #[test]
    fn only_what_stands_above_the_hosts_may_live_with_the_conformance_suites() {
        let moved = |layer| {
            move |ws: &mut Workspace| {
                ws.members[0].folder = "conformance/a".to_owned();
                line(ws).layer = layer;
            }
        };
        assert_eq!(check_one(moved(HOST_LAYER + 1), GOOD), []);
        assert_caught(&check_one(moved(HOST_LAYER), GOOD), "not in `crates/a`");
    }
}
