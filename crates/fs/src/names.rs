//! Names: whole files by their paths, and folders.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasIo;

use crate::error::{FsError, FsOperation};
use crate::job;
use crate::metadata::{DirEntry, Metadata};
use crate::options::OpenOptions;
use crate::port::FsPort;

/// Reads a whole file.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said.
/// # Cancel safety
/// Safe: a dropped call has changed nothing.
pub async fn read<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<Vec<u8>, FsError> {
    on(cx, FsOperation::Read, path.as_ref(), |port, path| {
        let mut bytes = Vec::new();
        let mut file = port.open(path, &OpenOptions::new().read(true))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .await
}

/// Reads a whole file of UTF-8.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said; `InvalidData` if it is no UTF-8.
/// # Cancel safety
/// Safe: a dropped call has changed nothing.
pub async fn read_to_string<C: HasIo>(
    cx: &Cx<C>,
    path: impl AsRef<Path>,
) -> Result<String, FsError> {
    on(cx, FsOperation::Read, path.as_ref(), |port, path| {
        let mut text = String::new();
        let mut file = port.open(path, &OpenOptions::new().read(true))?;
        file.read_to_string(&mut text)?;
        Ok(text)
    })
    .await
}

/// Makes a file with these bytes, or puts them in the place of what it held; nothing of that is durable yet.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said; the file may be there, with a part.
/// # Cancel safety
/// Lossy: a dropped call may have written all, a part or none.
pub async fn write<C: HasIo>(
    cx: &Cx<C>,
    path: impl AsRef<Path>,
    bytes: impl Into<Vec<u8>>,
) -> Result<(), FsError> {
    let bytes = bytes.into();
    on(cx, FsOperation::Write, path.as_ref(), move |port, path| {
        let options = OpenOptions::new().write(true).create(true).truncate(true);
        port.open(path, &options)?.write_all(&bytes)
    })
    .await
}

/// Makes a folder, and those above it that do not exist; one that exists is no error.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said.
/// # Cancel safety
/// Lossy: a dropped call may have made all, some or none.
pub async fn create_dir_all<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<(), FsError> {
    on(
        cx,
        FsOperation::CreateFolder,
        path.as_ref(),
        |port, path| port.driver().create_dir_all(path),
    )
    .await
}

/// Gives a file or folder another name; a file of that name is replaced, in one step that others see whole.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said, and the first path.
/// # Cancel safety
/// Lossy: a dropped call may have done it.
pub async fn rename<C: HasIo>(
    cx: &Cx<C>,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
) -> Result<(), FsError> {
    let to = to.as_ref().to_owned();
    on(cx, FsOperation::Rename, from.as_ref(), move |port, from| {
        port.driver().rename(from, &to)
    })
    .await
}

/// Removes a file's name.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said.
/// # Cancel safety
/// Lossy: a dropped call may have done it.
pub async fn remove_file<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<(), FsError> {
    on(cx, FsOperation::Remove, path.as_ref(), |port, path| {
        port.driver().remove_file(path)
    })
    .await
}

/// Removes an empty folder.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said.
/// # Cancel safety
/// Lossy: a dropped call may have done it.
pub async fn remove_dir<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<(), FsError> {
    on(cx, FsOperation::Remove, path.as_ref(), |port, path| {
        port.driver().remove_dir(path)
    })
    .await
}

/// The names in a folder, sorted.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said.
/// # Cancel safety
/// Safe: a dropped call has changed nothing.
pub async fn read_dir<C: HasIo>(
    cx: &Cx<C>,
    path: impl AsRef<Path>,
) -> Result<Vec<DirEntry>, FsError> {
    on(cx, FsOperation::List, path.as_ref(), |port, path| {
        port.driver().read_dir(path)
    })
    .await
}

/// What a name stands for.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said; of the kind `NotFound` if there is no such name.
/// # Cancel safety
/// Safe: a dropped call has changed nothing.
pub async fn metadata<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<Metadata, FsError> {
    on(cx, FsOperation::Inspect, path.as_ref(), |port, path| {
        port.driver().metadata(path)
    })
    .await
}

/// Whether a name exists.
///
/// # Errors
/// [`FsError::Failed`] if the disk could not say.
/// # Cancel safety
/// Safe: a dropped call has changed nothing.
pub async fn exists<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<bool, FsError> {
    match metadata(cx, path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable: those that were made, changed and removed.
///
/// # Errors
/// [`FsError::Failed`] with what the disk said; the names are then in an unknown state.
/// # Cancel safety
/// Lossy: a dropped call may have made them durable.
pub async fn sync_dir<C: HasIo>(cx: &Cx<C>, path: impl AsRef<Path>) -> Result<(), FsError> {
    on(cx, FsOperation::SyncFolder, path.as_ref(), |port, path| {
        port.driver().sync_dir(path)
    })
    .await
}

async fn on<C: HasIo, T: Send + 'static>(
    cx: &Cx<C>,
    operation: FsOperation,
    path: &Path,
    job: impl FnOnce(&FsPort, &Path) -> io::Result<T> + Send + 'static,
) -> Result<T, FsError> {
    let (port, owned) = (FsPort::of(cx)?.clone(), path.to_owned());
    job::run(cx, operation, path, move || job(&port, &owned)).await
}
