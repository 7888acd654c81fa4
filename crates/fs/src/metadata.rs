//! What a name stands for.

use std::ffi::OsString;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A file: bytes that are kept.
    File,
    /// A folder of names.
    Folder,
    /// Anything else, such as a pipe or a device.
    Other,
}

/// What is known of a file or folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// How many bytes a file has; of anything else it says nothing.
    pub len: u64,
}

impl Metadata {
    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Folder
    }
}

/// A name in a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DirEntry {
    /// The name, without the folder's path.
    pub name: OsString,
}
