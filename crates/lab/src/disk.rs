//! Disks in memory, one for each node, that forget at a crash what was not synced.
//!
//! # Shape
//! `content` knows what is in a file and what a crash leaves of it, `state` the same of names; both know no host.
//! This file is what programs see of it, through the port of `asupersync-fs`: before each operation the schedule may decide that the node crashes, or that the operation fails.
//! A job is one step of the schedule, and its operations are places within that step at which its node may crash: then the job is unwound where it stands.
//!
//! # Invariants
//! - What a sync that succeeded made durable survives every crash.
//! - A handle that was opened before a crash does nothing after it.
//! - Which pieces survive is decided by the schedule; 0 loses most.
//!
//! # Absent
//! Operations take no time, and a disk has no end: it is full by chance only.
//! Nothing decays on its own.

mod content;
mod faults;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use asupersync_fs::{DirEntry, FileIo, FileKind, FsDriver, Metadata, OpenOptions};
use asupersync_kernel::{Cx, Event, Host};

pub use faults::DiskFaults;

use crate::faults::Faults;
use crate::host::LabHost;
use crate::node::{NODE_CRASHED, NodeId, Place};
use faults::{FULL, IO_ERROR, SYNC_FAILURE};
use state::{Disk, FileId, HandleId};

/// A disk, to look at it from within a program or after its node has crashed.
///
/// # Examples
/// ```
/// use asupersync_fs::{self as fs, FsError};
/// use asupersync_lab::{LabConfig, LabDisk, LabRuntime};
///
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
///     let file = fs::File::create(&cx, "notes").await?;
///     file.write_all(&cx, "buy milk").await?;
///     let disk = LabDisk::of(&cx).expect("the lab has disks");
///     assert_eq!(disk.read("notes").expect("it is there"), b"buy milk");
///     file.sync_data(&cx).await?;
///     assert_eq!(disk.read_durable("notes"), None, "its name is not durable yet");
///     fs::sync_dir(&cx, ".").await?;
///     assert_eq!(disk.read_durable("notes").expect("it is there"), b"buy milk");
///     Ok::<_, FsError>(())
/// });
/// report.assert_clean();
/// assert!(report.outcome.is_ok());
/// ```
#[derive(Clone)]
pub struct LabDisk {
    disks: LabDisks,
    node: NodeId,
}

impl LabDisk {
    pub(crate) const fn new(disks: LabDisks, node: NodeId) -> Self {
        Self { disks, node }
    }

    /// The disk of the node that runs now; `None` in production.
    #[must_use]
    pub fn of<C>(cx: &Cx<C>) -> Option<Self> {
        let disks: &LabDisks = cx.port()?;
        let node = disks.0.host.upgrade()?.place().node;
        Some(Self::new(disks.clone(), node))
    }

    /// What is in a file, as programs see it.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.look(path.as_ref(), false)
    }

    /// What would be in a file after a crash that keeps nothing but what was synced.
    #[must_use]
    pub fn read_durable(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.look(path.as_ref(), true)
    }

    fn look(&self, path: &Path, durable: bool) -> Option<Vec<u8>> {
        self.disks.0.lock().get(&self.node)?.look(path, durable)
    }
}

impl fmt::Debug for LabDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabDisk")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// The disks of all nodes; programs find theirs by the node that runs.
#[derive(Clone)]
pub(crate) struct LabDisks(Arc<Disks>);

struct Disks {
    host: Weak<LabHost>,
    faults: Faults,
    disks: Mutex<BTreeMap<NodeId, Disk>>,
}

impl LabDisks {
    pub(crate) fn new(host: Weak<LabHost>, faults: Faults) -> Self {
        Self(Arc::new(Disks {
            host,
            faults,
            disks: Mutex::new(BTreeMap::new()),
        }))
    }

    /// A node goes down, and its disk with it.
    pub(crate) fn crash(&self, host: &LabHost, node: NodeId) {
        let survival = self.0.faults.disk.survival;
        if let Some(disk) = self.0.lock().get_mut(&node) {
            disk.crash(&mut |most| {
                if survival > 0.0 {
                    host.decide(survival, most)
                } else {
                    0
                }
            });
        }
    }
}

/// What an operation does, as far as what may go wrong with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Look,
    Write,
    Change,
    Sync,
    /// It stays in memory, and the disk does not hear of it.
    Remember,
}

/// An operation under way.
struct Operation<'a> {
    host: &'a LabHost,
    faults: &'a Faults,
}

impl Operation<'_> {
    /// Whether this fault happens now.
    fn strikes(&self, chance: f64, fault: &'static str) -> bool {
        let strikes = self.host.fault(chance, 1) > 0;
        if strikes {
            self.host.injected(None, fault);
        }
        strikes
    }

    /// How many of so many bytes a write takes.
    fn taken(&self, bytes: usize) -> usize {
        let chance = self.faults.disk.short_writes;
        if bytes < 2 || chance <= 0.0 {
            return bytes;
        }
        let parts = self.host.decide(chance, SHORTER) as usize;
        (bytes * (SHORTER as usize + 1 - parts)).div_ceil(SHORTER as usize + 1)
    }

    /// Whether a sync fails.
    fn sync_fails(&self) -> bool {
        self.strikes(self.faults.disk.sync_failure, SYNC_FAILURE)
    }
}

impl Disks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Disk>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation on the disk of a place, which the node may not live to see.
    fn act<R>(
        &self,
        place: Option<Place>,
        does: Does,
        name: &'static str,
        act: impl FnOnce(&mut Disk, &Operation<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let Some(host) = self.host.upgrade() else {
            return Err(io::Error::other(
                "the lab's run has ended, and its disks with it",
            ));
        };
        self.may_crash(&host);
        let place = place.unwrap_or_else(|| host.place());
        if !host.is_alive(place) {
            return Err(io::Error::other(NODE_CRASHED));
        }
        self.record(&host, place.node, name);
        let operation = Operation {
            host: &host,
            faults: &self.faults,
        };
        let disk = &self.faults.disk;
        match does {
            Does::Write if operation.strikes(disk.full, FULL) => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Does::Look | Does::Write | Does::Change
                if operation.strikes(disk.io_error, IO_ERROR) =>
            {
                return Err(io::Error::other("the disk failed, as the lab decided"));
            }
            _ => {}
        }
        let mut disks = self.lock();
        let disk = disks.get_mut(&place.node);
        act(disk.ok_or(io::ErrorKind::NotFound)?, &operation)
    }

    /// Puts an operation on a node's disk into the trace; the first makes the disk.
    fn record(&self, host: &LabHost, node: NodeId, name: &'static str) {
        let mut disks = self.lock();
        let disk = disks
            .entry(node)
            .or_insert_with(|| Disk::new(host.next_number()));
        if host.config().record {
            host.record(Event::Operation {
                subject: None,
                resource: disk.resource,
                name: name.into(),
            });
        }
    }

    /// Within a job the node may crash before each operation; the job ends where it stands.
    fn may_crash(&self, host: &LabHost) {
        if !host.is_job() || std::thread::panicking() {
            return;
        }
        let place = host.place();
        if host.may_crash(&self.faults, place, None) {
            std::panic::resume_unwind(Box::new(NODE_CRASHED));
        }
    }
}

impl FsDriver for LabDisks {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<Arc<dyn FileIo>> {
        let disks = &self.0;
        let does = if options.create || options.create_new || options.truncate {
            Does::Change
        } else {
            Does::Look
        };
        let opened = disks.act(None, does, "fs.open", |disk, operation| {
            let file = disk.open(path, options)?;
            Ok((file, disk.number(), operation.host.place()))
        });
        let (file, id, place) = opened?;
        Ok(Arc::new(Handle {
            disks: Arc::clone(disks),
            place,
            file,
            id,
            options: *options,
            at: Mutex::new(0),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.act(None, Does::Change, "fs.create_dir", |disk, _| {
            disk.create_dir_all(path)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.act(None, Does::Change, "fs.rename", |disk, _| {
            disk.rename(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.act(None, Does::Change, "fs.remove", |disk, _| {
            disk.remove(path, FileKind::File)
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.act(None, Does::Change, "fs.remove", |disk, _| {
            disk.remove(path, FileKind::Folder)
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.act(None, Does::Look, "fs.read_dir", |disk, _| {
            disk.read_dir(path)
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.act(None, Does::Look, "fs.metadata", |disk, _| {
            disk.metadata(path)
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0
            .act(None, Does::Sync, "fs.sync_dir", |disk, operation| {
                if operation.sync_fails() {
                    return Err(failed_sync());
                }
                disk.sync_dir(path)
            })
    }
}

/// An open file.
struct Handle {
    disks: Arc<Disks>,
    /// The node that opened it, and which of its lives that was.
    place: Place,
    file: FileId,
    id: HandleId,
    options: OpenOptions,
    at: Mutex<usize>,
}

impl Handle {
    fn act<R>(
        &self,
        does: Does,
        name: &'static str,
        act: impl FnOnce(&mut Disk, &Operation<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.disks.act(Some(self.place), does, name, act)
    }

    fn at(&self) -> MutexGuard<'_, usize> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.options.can_write() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file was not opened for writing",
        ))
    }
}

impl FileIo for Handle {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.options.read {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file was not opened for reading",
            ));
        }
        self.act(Does::Look, "fs.read", |disk, _| {
            let mut at = self.at();
            let live = disk.content(self.file)?.live();
            let left = live.get(*at..).unwrap_or_default();
            let count = left.len().min(buf.len());
            buf[..count].copy_from_slice(&left[..count]);
            *at += count;
            Ok(count)
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.check_writable()?;
        self.act(Does::Write, "fs.write", |disk, operation| {
            let mut at = self.at();
            let content = disk.content(self.file)?;
            if self.options.append {
                *at = content.live().len();
            }
            let end = at.checked_add(bytes.len());
            if end.is_none_or(|end| end > FILE_BYTES_MAX) {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let count = operation.taken(bytes.len());
            content.write(*at, &bytes[..count]);
            *at += count;
            Ok(count)
        })
    }

    fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        self.act(Does::Remember, "fs.seek", |disk, _| {
            let mut at = self.at();
            let end = disk.content(self.file)?.live().len() as u64;
            let place = match to {
                SeekFrom::Start(place) => Some(place),
                SeekFrom::End(by) => end.checked_add_signed(by),
                SeekFrom::Current(by) => (*at as u64).checked_add_signed(by),
            };
            let place = place.ok_or(io::ErrorKind::InvalidInput)?;
            *at = usize::try_from(place).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(place)
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        self.act(Does::Change, "fs.set_len", |disk, _| {
            let len = usize::try_from(bytes).unwrap_or(usize::MAX);
            if len > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            disk.content(self.file)?.set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.act(Does::Sync, "fs.sync", |disk, operation| {
            let content = disk.content(self.file)?;
            if operation.sync_fails() {
                content.sync_fails();
                return Err(failed_sync());
            }
            content.sync();
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.act(Does::Remember, "fs.lock", |disk, _| {
            disk.try_lock(self.file, self.id)
        })
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.act(Does::Look, "fs.metadata", |disk, _| {
            disk.file_metadata(self.file)
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Of a node that has crashed nothing is left to close.
        let alive = self.disks.host.upgrade();
        if alive.is_some_and(|host| host.is_alive(self.place))
            && let Some(disk) = self.disks.lock().get_mut(&self.place.node)
        {
            disk.close(self.file, self.id);
        }
    }
}

fn failed_sync() -> io::Error {
    io::Error::other("the disk could not sync, as the lab decided")
}

/// In so many ways a write can be short.
const SHORTER: u32 = 3;
/// No file of a simulated disk is longer.
const FILE_BYTES_MAX: usize = 1 << 30;
