//! What cargo knows about the workspace: members, their edges, and the layer table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The workspace as the checks see it.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo writes build output.
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Member>,
    /// `[workspace.metadata.layers]`, by package name.
    pub(crate) lines: BTreeMap<String, LayerLine>,
    /// Every package of the resolved graph, by cargo's package id.
    pub(crate) packages: BTreeMap<String, Package>,
}

/// One package of this workspace.
#[derive(Clone, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Folder from the workspace root.
    pub(crate) folder: String,
    pub(crate) description: String,
    pub(crate) edges: Vec<Edge>,
    /// Root files of the library and the binaries, from the workspace root.
    pub(crate) roots: Vec<String>,
    pub(crate) is_macro: bool,
    pub(crate) examples: Vec<String>,
    pub(crate) tests: Vec<String>,
    pub(crate) benches: Vec<String>,
    /// `[package.metadata.tidy.test-binaries]`: a further test binary and why it must be one.
    pub(crate) test_binaries: BTreeMap<String, String>,
}

/// A dependency as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) kind: EdgeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    Normal,
    Build,
    Dev,
}

/// One line of the layer table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerLine {
    pub(crate) layer: u64,
    pub(crate) charter: String,
    pub(crate) is_unsafe: bool,
    /// Keys that the table does not know.
    pub(crate) unknown_keys: Vec<String>,
}

/// A package of the resolved graph, ours or foreign.
#[derive(Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) license: Option<String>,
    /// Package ids reached by normal dependencies.
    pub(crate) normal: Vec<String>,
}

impl Workspace {
    /// Asks cargo, with every feature of every member on.
    pub(crate) fn load() -> Result<Self, Box<dyn std::error::Error>> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--all-features"])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    /// Reads the answer of `cargo metadata`.
    pub(crate) fn parse(metadata: &Value) -> Result<Self, Box<dyn std::error::Error>> {
        let root = text(&metadata["workspace_root"]);
        let ours: BTreeSet<String> = strings(&metadata["workspace_members"]).collect();
        let mut workspace = Self {
            root: PathBuf::from(&root),
            target: PathBuf::from(text(&metadata["target_directory"])),
            lines: parse_lines(&metadata["metadata"]["layers"])?,
            ..Self::default()
        };
        for package in array(&metadata["packages"]) {
            let id = text(&package["id"]);
            if ours.contains(&id) {
                workspace.members.push(parse_member(package, &root));
            }
            let license = package["license"].as_str().map(str::to_owned);
            let name = text(&package["name"]);
            workspace.packages.insert(
                id,
                Package {
                    name,
                    license,
                    normal: Vec::new(),
                },
            );
        }
        for node in array(&metadata["resolve"]["nodes"]) {
            let is_normal = |dep: &&Value| {
                array(&dep["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null())
            };
            let normal = array(&node["deps"])
                .iter()
                .filter(is_normal)
                .map(|dep| text(&dep["pkg"]));
            if let Some(package) = workspace.packages.get_mut(&text(&node["id"])) {
                package.normal = normal.collect();
            }
        }
        workspace.members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(workspace)
    }

    /// The member of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Members in the order of the layer table: layer, then name.
    pub(crate) fn by_layer(&self) -> Vec<(&Member, &LayerLine)> {
        let listed = |member: &Member| self.lines.get(&member.name);
        let pairs = self
            .members
            .iter()
            .filter_map(|member| Some((member, listed(member)?)));
        let mut rows: Vec<_> = pairs.collect();
        rows.sort_by(|a, b| (a.1.layer, &a.0.name).cmp(&(b.1.layer, &b.0.name)));
        rows
    }

    /// A way from the package `id` to a package called `name` over normal dependencies, as names.
    pub(crate) fn normal_path(&self, id: &str, name: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([id]);
        while let Some(current) = queue.pop_front() {
            let package = self.packages.get(current)?;
            if package.name == name {
                let mut path = vec![package.name.clone()];
                let mut at = current;
                while let Some(previous) = came_from.get(at).filter(|_| at != id) {
                    path.push(self.packages[*previous].name.clone());
                    at = previous;
                }
                path.reverse();
                return Some(path);
            }
            for next in &package.normal {
                if next != id && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, current);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

/// The cargo that runs us, so that the toolchain stays the same.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn parse_lines(layers: &Value) -> Result<BTreeMap<String, LayerLine>, Box<dyn std::error::Error>> {
    let table = layers
        .as_object()
        .ok_or("[workspace.metadata.layers] is missing")?;
    let mut lines = BTreeMap::new();
    for (name, line) in table {
        let layer = line["layer"]
            .as_u64()
            .ok_or_else(|| format!("{name}: `layer` is not a number"))?;
        let charter = line["charter"]
            .as_str()
            .ok_or_else(|| format!("{name}: `charter` is missing"))?;
        let known = ["layer", "charter", "unsafe"];
        let keys = line
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone());
        let line = LayerLine {
            layer,
            charter: charter.to_owned(),
            is_unsafe: line["unsafe"].as_bool().unwrap_or(false),
            unknown_keys: keys.filter(|key| !known.contains(&key.as_str())).collect(),
        };
        lines.insert(name.clone(), line);
    }
    Ok(lines)
}

fn parse_member(package: &Value, root: &str) -> Member {
    let relative = |path: String| {
        path.strip_prefix(root)
            .unwrap_or(&path)
            .trim_start_matches('/')
            .to_owned()
    };
    let manifest = relative(text(&package["manifest_path"]));
    let mut member = Member {
        name: text(&package["name"]),
        id: text(&package["id"]),
        folder: manifest
            .trim_end_matches("Cargo.toml")
            .trim_end_matches('/')
            .to_owned(),
        description: text(&package["description"]),
        edges: array(&package["dependencies"])
            .iter()
            .map(parse_edge)
            .collect(),
        ..Member::default()
    };
    for target in array(&package["targets"]) {
        let name = text(&target["name"]);
        for kind in strings(&target["kind"]) {
            match kind.as_str() {
                "example" => member.examples.push(name.clone()),
                "test" => member.tests.push(name.clone()),
                "bench" => member.benches.push(name.clone()),
                "custom-build" => {}
                _ => {
                    member.is_macro |= kind == "proc-macro";
                    member.roots.push(relative(text(&target["src_path"])));
                }
            }
        }
    }
    let reasons = &package["metadata"]["tidy"]["test-binaries"];
    for (name, reason) in reasons.as_object().into_iter().flatten() {
        member.test_binaries.insert(name.clone(), text(reason));
    }
    member
}

fn parse_edge(dependency: &Value) -> Edge {
    let kind = match dependency["kind"].as_str() {
        Some("dev") => EdgeKind::Dev,
        Some("build") => EdgeKind::Build,
        _ => EdgeKind::Normal,
    };
    Edge {
        to: text(&dependency["name"]),
        kind,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> impl Iterator<Item = String> + '_ {
    array(value).iter().map(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Value {
        json!({
            "workspace_root": "/w", "target_directory": "/t", "workspace_members": ["a 1"],
            "metadata": { "layers": { "a": { "layer": 3, "charter": "C.", "colour": "red" } } },
            "packages": [
                { "id": "a 1", "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "description": "C.", "license": "MIT",
                  "dependencies": [{ "name": "b", "kind": null }, { "name": "c", "kind": "dev" }],
                  "targets": [{ "kind": ["lib"], "name": "a", "src_path": "/w/crates/a/src/lib.rs" },
                              { "kind": ["example"], "name": "show", "src_path": "/w/crates/a/examples/show.rs" }] },
                { "id": "b 1", "name": "b" }, { "id": "c 1", "name": "c" }, { "id": "tokio 1", "name": "tokio" }
            ],
            "resolve": { "nodes": [
                { "id": "a 1", "deps": [{ "pkg": "b 1", "dep_kinds": [{ "kind": null }] }, { "pkg": "c 1", "dep_kinds": [{ "kind": "dev" }] }] },
                { "id": "b 1", "deps": [{ "pkg": "tokio 1", "dep_kinds": [{ "kind": null }] }] }
            ] }
        })
    }

    #[test]
    fn members_edges_and_lines_are_read() {
        let workspace = Workspace::parse(&metadata()).expect("well-formed");
        let member = workspace.member("a").expect("listed");
        assert_eq!(member.folder, "crates/a");
        assert_eq!(member.roots, ["crates/a/src/lib.rs"]);
        assert_eq!(member.examples, ["show"]);
        assert_eq!(
            member.edges[1],
            Edge {
                to: "c".into(),
                kind: EdgeKind::Dev
            }
        );
        assert_eq!(workspace.lines["a"].unknown_keys, ["colour"]);
    }

    #[test]
    fn a_foreign_runtime_is_found_with_the_way_to_it() {
        let workspace = Workspace::parse(&metadata()).expect("well-formed");
        let path = workspace
            .normal_path("a 1", "tokio")
            .expect("reached through b");
        assert_eq!(path, ["a", "b", "tokio"]);
        assert_eq!(workspace.normal_path("a 1", "c"), None);
    }

    #[test]
    fn a_missing_layer_table_is_an_error() {
        let mut without = metadata();
        without["metadata"] = Value::Null;
        assert!(Workspace::parse(&without).is_err());
    }
}
