//! Files: opening, reading, writing and syncing them, over whatever disk the host drives.
//!
//! # Problem
//! A program names paths and moves bytes; in production the operating system keeps them, under the lab a simulated disk does.
//! Both stand behind [`FsPort`], which the host brings; nothing here differs between them.
//!
//! # Shape
//! Operating systems have no waiting that is worth the name for files: a call blocks its thread until it is done.
//! So each operation here is one job on the host's blocking pool, and takes a context.
//! Where many calls belong together, such as a batch that is written and then synced, one job does them all: [`FsPort::of`] gives what the job needs, and [`BlockingFile`] is a file in its hands.
//!
//! # Cancellation
//! An operation that finds its context cancelled begins nothing and fails with [`FsError::Cancelled`].
//! Once begun, a job runs to its end; a call that is dropped meanwhile has an *unknown* outcome, since nobody hears of it: [`FsError::effect`] says the same of errors.
//!
//! # What is durable
//! What was written survives a crash of the machine only after [`File::sync_data`], and a name that was made, changed or removed only after [`sync_dir`] of its folder.
//! After a sync that failed nothing is known, and syncing again does not help: what was to be synced may be forgotten by then.
//!
//! # Absent
//! No buffering: a job that reads or writes many small pieces puts [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter) around a [`BlockingFile`].
//! No links, permissions, times or watching.
//!
//! # Examples
//! ```
//! use asupersync_fs::{self as fs, FsError, OpenOptions};
//! use asupersync_lab::{LabConfig, LabRuntime};
//!
//! let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
//!     fs::create_dir_all(&cx, "notes").await?;
//!     let file = OpenOptions::new().append(true).create(true).open(&cx, "notes/today").await?;
//!     file.write_all(&cx, "buy milk\n").await?;
//!     file.sync_data(&cx).await?;
//!     fs::sync_dir(&cx, "notes").await?;
//!     fs::read_to_string(&cx, "notes/today").await
//! });
//! report.assert_clean();
//! assert_eq!(report.outcome.ok().unwrap(), "buy milk\n");
//! ```
#![forbid(unsafe_code)]

mod error;
mod file;
mod job;
mod metadata;
mod names;
mod options;
mod os;
mod port;

pub use error::{FsError, FsOperation};
pub use file::File;
pub use metadata::{DirEntry, FileKind, Metadata};
pub use names::{
    create_dir_all, exists, metadata, read, read_dir, read_to_string, remove_dir, remove_file,
    rename, sync_dir, write,
};
pub use options::OpenOptions;
pub use port::{BlockingFile, FileIo, FsDriver, FsPort};
