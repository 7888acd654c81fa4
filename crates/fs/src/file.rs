//! An open file.

use std::fmt;
use std::io::{self, Read as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasIo;

use crate::error::{FsError, FsOperation};
use crate::job;
use crate::metadata::Metadata;
use crate::options::OpenOptions;
use crate::port::{BlockingFile, FileIo};

/// An open file; dropping it closes it and gives its lock back.
///
/// Each operation is one job on the host's blocking pool.
/// Two operations of which one is not awaited before the other begins may happen in either order.
#[derive(Clone)]
pub struct File {
    io: Arc<dyn FileIo>,
    path: Arc<Path>,
}

impl File {
    pub(crate) fn new(io: Arc<dyn FileIo>, path: &Path) -> Self {
        Self {
            io,
            path: Arc::from(path),
        }
    }

    /// Opens a file that exists, to read it.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Safe: a dropped call has changed nothing.
    pub async fn open<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<Self, FsError> {
        OpenOptions::new().read(true).open(cx, path).await
    }

    /// Makes a file, or empties one that exists, to write it.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have made or emptied the file.
    pub async fn create<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<Self, FsError> {
        let options = OpenOptions::new().write(true).create(true).truncate(true);
        options.open(cx, path).await
    }

    /// Reads at most `bytes_max` bytes; none are the end.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have moved the file's place over bytes that nobody gets.
    pub async fn read<C: HasIo>(&self, cx: &Cx<C>, bytes_max: usize) -> Result<Vec<u8>, FsError> {
        self.run(cx, FsOperation::Read, move |io| {
            let mut bytes = vec![0; bytes_max];
            let count = io.read(&mut bytes)?;
            bytes.truncate(count);
            Ok(bytes)
        })
        .await
    }

    /// Reads up to the end.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said; `FileTooLarge` if more than `bytes_max` bytes are left.
    /// # Cancel safety
    /// Lossy: as [`read`](Self::read).
    pub async fn read_to_end<C: HasIo>(
        &self,
        cx: &Cx<C>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, FsError> {
        self.run(cx, FsOperation::Read, move |io| {
            let mut bytes = Vec::new();
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
            let mut limited = BlockingFile(io).take(limit.saturating_add(1));
            limited.read_to_end(&mut bytes)?;
            if bytes.len() > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(bytes)
        })
        .await
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said; a part may have been written.
    /// # Cancel safety
    /// Lossy: a dropped call may have written all, a part or none.
    pub async fn write_all<C: HasIo>(
        &self,
        cx: &Cx<C>,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<(), FsError> {
        let bytes = bytes.into();
        self.run(cx, FsOperation::Write, move |io| {
            BlockingFile(io).write_all(&bytes)
        })
        .await
    }

    /// Moves the place at which the file is read and written, and gives it.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have moved it.
    pub async fn seek<C: HasIo>(&self, cx: &Cx<C>, to: SeekFrom) -> Result<u64, FsError> {
        self.run(cx, FsOperation::Seek, move |io| io.seek(to)).await
    }

    /// Cuts the file, or fills it with zeros, to so many bytes.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have done it.
    pub async fn set_len<C: HasIo>(&self, cx: &Cx<C>, bytes: u64) -> Result<(), FsError> {
        self.run(cx, FsOperation::SetLength, move |io| io.set_len(bytes))
            .await
    }

    /// Makes what is in the file durable, and its length.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// What was to be synced is then in an unknown state, and a later sync that succeeds says nothing of it: write it again.
    /// # Cancel safety
    /// Lossy: a dropped call may have made it durable.
    pub async fn sync_data<C: HasIo>(&self, cx: &Cx<C>) -> Result<(), FsError> {
        self.run(cx, FsOperation::Sync, |io| io.sync_data()).await
    }

    /// As [`sync_data`](Self::sync_data), and everything else that is kept of the file.
    ///
    /// The file's name is no part of it: see [`sync_dir`](crate::sync_dir).
    /// # Errors
    /// As [`sync_data`](Self::sync_data).
    /// # Cancel safety
    /// Lossy: a dropped call may have made it durable.
    pub async fn sync_all<C: HasIo>(&self, cx: &Cx<C>) -> Result<(), FsError> {
        self.run(cx, FsOperation::Sync, |io| io.sync_all()).await
    }

    /// Takes the file's lock until the file is closed; false if another has it.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Lossy: a dropped call may have taken the lock, which closing the file gives back.
    pub async fn try_lock<C: HasIo>(&self, cx: &Cx<C>) -> Result<bool, FsError> {
        self.run(cx, FsOperation::Lock, |io| io.try_lock()).await
    }

    /// What it is, and how long.
    ///
    /// # Errors
    /// [`FsError::Failed`] with what the disk said.
    /// # Cancel safety
    /// Safe: a dropped call has changed nothing.
    pub async fn metadata<C: HasIo>(&self, cx: &Cx<C>) -> Result<Metadata, FsError> {
        self.run(cx, FsOperation::Inspect, |io| io.metadata()).await
    }

    /// The same open file, for a job that makes several calls.
    #[must_use]
    pub fn blocking(&self) -> BlockingFile {
        BlockingFile(Arc::clone(&self.io))
    }

    async fn run<C: HasIo, T: Send + 'static>(
        &self,
        cx: &Cx<C>,
        operation: FsOperation,
        job: impl FnOnce(Arc<dyn FileIo>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, FsError> {
        let io = Arc::clone(&self.io);
        job::run(cx, operation, &self.path, move || job(io)).await
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
