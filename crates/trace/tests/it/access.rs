//! The table of operations and the sources of the workspace say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use asupersync_trace::{access_of, known_operations};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of every crate that records operations; the tools and this crate only read them.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Literals of the form `noun.verb`.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.split('"').filter(move |literal| {
        let parts = literal.split_once('.');
        parts.is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
    })
}

/// What a resource is given directly, whatever its form; `Cx::trace` takes any text.
fn traced(code: &str) -> impl Iterator<Item = &str> {
    let calls = code.split("esource.trace(\"").skip(1);
    calls.filter_map(|rest| rest.split('"').next())
}

fn operations() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(crates()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let reads_only = ["trace", "cli", "asupersync", "macros"];
        let source = folder.join("src");
        if reads_only.contains(&name.as_str()) || !source.exists() {
            continue;
        }
        let mut files = Vec::new();
        sources(&source, &mut files);
        for file in files {
            let code = code(&fs::read_to_string(&file).unwrap());
            found.extend(traced(&code).map(str::to_owned));
            // Names that go through a table or a `match` stand in files that speak of resources.
            if ["esource", "Operations", "effects.record("]
                .iter()
                .any(|word| code.contains(word))
            {
                found.extend(names(&code).map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn every_operation_that_the_workspace_records_has_an_access() {
    let operations = operations();
    // Named directly, through a `match`, through a table, and by the network.
    for witness in ["mutex.lock", "rwlock.upgradable", "pool.grant", "tcp.write"] {
        assert!(operations.contains(witness), "{witness} was not found");
    }
    let unknown: Vec<_> = operations
        .iter()
        .filter(|name| access_of(name).is_none())
        .collect();
    assert!(
        unknown.is_empty(),
        "add these to crates/trace/src/access.rs: {unknown:?}"
    );
}

#[test]
fn every_operation_of_the_table_is_recorded_by_somebody() {
    let operations = operations();
    let dead: Vec<_> = known_operations()
        .filter(|name| !operations.contains(*name))
        .collect();
    assert!(dead.is_empty(), "nobody records {dead:?}");
}
