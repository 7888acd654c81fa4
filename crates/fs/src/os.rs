//! The operating system's files.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::metadata::{DirEntry, FileKind, Metadata};
use crate::options::OpenOptions;
use crate::port::{FileIo, FsDriver};

pub(crate) struct OsFs;

impl FsDriver for OsFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<Arc<dyn FileIo>> {
        let file = fs::OpenOptions::new()
            .read(options.read)
            .write(options.write)
            .append(options.append)
            .truncate(options.truncate)
            .create(options.create)
            .create_new(options.create_new)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            Ok(DirEntry {
                name: entry?.file_name(),
            })
        };
        let mut entries = fs::read_dir(path)?
            .map(entry)
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_unstable();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(path).map(|known| described(&known))
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let here = path == Path::new("");
        let folder = if here { Path::new(".") } else { path };
        File::open(folder)?.sync_all()
    }

    /// A folder is no file here; its names are durable when the file system says so.
    #[cfg(not(unix))]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::metadata(path).map(|_| ())
    }
}

impl FileIo for File {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut file = self;
        Read::read(&mut file, buf)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        Write::write(&mut file, bytes)
    }

    fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let mut file = self;
        Seek::seek(&mut file, to)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match Self::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn metadata(&self) -> io::Result<Metadata> {
        Self::metadata(self).map(|known| described(&known))
    }
}

fn described(known: &fs::Metadata) -> Metadata {
    let kind = match () {
        () if known.is_file() => FileKind::File,
        () if known.is_dir() => FileKind::Folder,
        () => FileKind::Other,
    };
    Metadata {
        kind,
        len: known.len(),
    }
}
