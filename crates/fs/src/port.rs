//! What a host's disk must do.
//!
//! The traits are for hosts and for tests that bring a disk of their own; programs use [`File`](crate::File) and the functions of this crate, or [`FsPort`] and [`BlockingFile`] within one job.
//!
//! # Rules
//! - Every call may block, and is made where that is allowed.
//! - Calls on one file may come from several threads at once.
//! - Cancellation is not known here.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use asupersync_kernel::Cx;

use crate::error::FsError;
use crate::metadata::{DirEntry, Metadata};
use crate::options::OpenOptions;
use crate::os::OsFs;

/// A host's files, found with `cx.port::<FsPort>()`.
///
/// # Examples
/// One job that writes, syncs, and makes the name durable:
/// ```
/// use asupersync_fs::{FsError, FsPort, OpenOptions};
/// use asupersync_lab::{LabConfig, LabRuntime};
/// use std::io::Write;
/// use std::path::Path;
///
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
///     let fs = FsPort::of(&cx)?.clone();
///     let written = cx.blocking(move || {
///         let mut file = fs.open(Path::new("log"), &OpenOptions::new().append(true).create(true))?;
///         file.write_all(b"one\n")?;
///         file.sync_data()?;
///         fs.driver().sync_dir(Path::new("."))
///     });
///     Ok::<_, FsError>(written.await?)
/// });
/// report.assert_clean();
/// assert!(report.outcome.ok().unwrap().is_ok());
/// ```
#[derive(Clone)]
pub struct FsPort(Arc<dyn FsDriver>);

impl FsPort {
    /// Files of the host's own.
    #[must_use]
    pub fn new(driver: impl FsDriver) -> Self {
        Self(Arc::new(driver))
    }

    /// The operating system's files.
    #[must_use]
    pub fn os() -> Self {
        Self::new(OsFs)
    }

    /// The files of the host that drives this context.
    ///
    /// # Errors
    /// [`FsError::NoFiles`] if it has none.
    pub fn of<C>(cx: &Cx<C>) -> Result<&Self, FsError> {
        cx.port().ok_or(FsError::NoFiles)
    }

    /// What drives it.
    #[must_use]
    pub fn driver(&self) -> &dyn FsDriver {
        &*self.0
    }

    /// Opens a file from within a job; blocks the thread.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<BlockingFile> {
        self.0.open(path, options).map(BlockingFile)
    }
}

impl fmt::Debug for FsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsPort").finish_non_exhaustive()
    }
}

/// Opens files and changes names.
pub trait FsDriver: Send + Sync + 'static {
    /// Opens or makes a file.
    ///
    /// # Errors
    /// What the disk says; `InvalidInput` if the options contradict each other.
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<Arc<dyn FileIo>>;

    /// Makes a folder, and those above it that do not exist; one that exists is no error.
    ///
    /// # Errors
    /// What the disk says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or folder another name; a file of that name is replaced, in one step that others see whole.
    ///
    /// # Errors
    /// What the disk says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// What the disk says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// What the disk says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// What the disk says.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// What a name stands for.
    ///
    /// # Errors
    /// What the disk says; `NotFound` if there is no such name.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Makes the names in a folder durable: those that were made, changed and removed.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file; dropping it closes it and gives its lock back.
pub trait FileIo: Send + Sync + 'static {
    /// Takes bytes from the file's place on; 0 into a non-empty buffer is the end.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Gives bytes to the file; the number says how many it took.
    ///
    /// # Errors
    /// What the disk says.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Moves the place at which it is read and written, and gives it.
    ///
    /// # Errors
    /// What the disk says.
    fn seek(&self, to: SeekFrom) -> io::Result<u64>;

    /// Cuts the file, or fills it with zeros, to so many bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes what is in the file durable, and its length.
    ///
    /// # Errors
    /// What the disk says; what was to be synced is then in an unknown state, and a later sync that succeeds says nothing of it.
    fn sync_data(&self) -> io::Result<()>;

    /// As [`sync_data`](Self::sync_data), and everything else that is kept of the file; not its name.
    ///
    /// # Errors
    /// As [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// Takes the file's lock for this handle; false if another has it.
    ///
    /// # Errors
    /// What the disk says.
    fn try_lock(&self) -> io::Result<bool>;

    /// What it is, and how long.
    ///
    /// # Errors
    /// What the disk says.
    fn metadata(&self) -> io::Result<Metadata>;
}

/// An open file in the hands of a job; each call blocks the thread.
pub struct BlockingFile(pub(crate) Arc<dyn FileIo>);

impl BlockingFile {
    /// Cuts the file, or fills it with zeros, to so many bytes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    /// Makes what is in the file durable, and its length.
    ///
    /// # Errors
    /// What the disk says; see [`FileIo::sync_data`].
    pub fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// As [`sync_data`](Self::sync_data), and everything else that is kept of the file; not its name.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Takes the file's lock until the file is closed; false if another has it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }

    /// What it is, and how long.
    ///
    /// # Errors
    /// What the disk says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }
}

impl fmt::Debug for BlockingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingFile").finish_non_exhaustive()
    }
}

impl Read for BlockingFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Read for &BlockingFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for BlockingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Does nothing: what was written is with the disk, and durable only after a sync.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &BlockingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for BlockingFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}
