//! One operation, as one job of the blocking pool.

use std::io;
use std::path::Path;

use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasIo;

use crate::error::{FsError, FsOperation};

/// Runs `job` where it may block, and names what it did in its error.
pub(crate) async fn run<C, T>(
    cx: &Cx<C>,
    operation: FsOperation,
    path: &Path,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FsError>
where
    C: HasIo,
    T: Send + 'static,
{
    let done = cx.blocking(job).await?;
    done.map_err(|source| FsError::Failed {
        operation,
        path: path.to_owned(),
        source,
    })
}
