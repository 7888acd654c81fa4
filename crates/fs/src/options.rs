//! How a file is opened.

use std::path::Path;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasIo;

use crate::error::{FsError, FsOperation};
use crate::file::File;
use crate::job;
use crate::port::FsPort;

/// How a file is opened; the words mean what they mean in [`std::fs::OpenOptions`].
///
/// # Examples
/// ```
/// use asupersync_fs::OpenOptions;
/// let options = OpenOptions::new().read(true).append(true).create(true);
/// assert!(options.append && !options.truncate);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// It is read.
    pub read: bool,
    /// It is written, from the start on.
    pub write: bool,
    /// Each write goes to the end.
    pub append: bool,
    /// What it holds is thrown away first.
    pub truncate: bool,
    /// It is made if it does not exist.
    pub create: bool,
    /// It is made, and must not exist.
    pub create_new: bool,
}

impl OpenOptions {
    /// Nothing is allowed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is read.
    #[must_use]
    pub const fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Whether it is written, from the start on.
    #[must_use]
    pub const fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Whether each write goes to the end.
    #[must_use]
    pub const fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// Whether what it holds is thrown away first.
    #[must_use]
    pub const fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Whether it is made if it does not exist.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether it is made, and must not exist.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// Whether writing is allowed.
    #[must_use]
    pub const fn can_write(&self) -> bool {
        self.write || self.append
    }

    /// Opens the file.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have made or emptied the file.
    pub async fn open<C: HasIo>(self, cx: &Cx<C>, path: impl AsRef<Path>) -> Result<File, FsError> {
        let path = path.as_ref();
        let (port, owned) = (FsPort::of(cx)?.clone(), path.to_owned());
        let open = move || port.driver().open(&owned, &self);
        let io = job::run(cx, FsOperation::Open, path, open).await?;
        Ok(File::new(io, path))
    }
}
