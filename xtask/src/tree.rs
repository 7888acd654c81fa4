//! The workspace's text files, held in memory.
//!
//! Checks read this and nothing else, so that a test can hand them any tree it likes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Text files by their path from the root, with `/` between parts.
#[derive(Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads every text file under `root`, leaving out build output and hidden version-control data.
    pub(crate) fn load(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.load_folder(root, "")?;
        Ok(tree)
    }

    fn load_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                self.load_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file()
                && entry.metadata()?.len() <= FILE_BYTES_MAX
                && let Ok(text) = String::from_utf8(std::fs::read(entry.path())?)
            {
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    /// The file's text, if it is there.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All files in path order.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// All files whose name ends in `.<extension>`.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = (&str, &str)> {
        let suffix = format!(".{extension}");
        self.files()
            .filter(move |(path, _)| path.ends_with(&suffix))
    }

    /// Rust files under `folder`.
    pub(crate) fn rust_under(&self, folder: &str) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("{folder}/");
        self.with_extension("rs")
            .filter(move |(path, _)| path.starts_with(&prefix))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.to_owned(), text.to_owned()));
        Self {
            files: files.collect(),
        }
    }
}

/// Build output, version control, measured output, and folders of foreign data.
const SKIPPED_FOLDERS: [&str; 6] = [
    ".git",
    "target",
    "bench-out",
    "node_modules",
    "data",
    "corpus",
];

/// Larger files are data, not text that somebody reads.
const FILE_BYTES_MAX: u64 = 1 << 20;
