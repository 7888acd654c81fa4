//! What may go wrong with a disk.

use crate::faults::checked;

/// What may go wrong with the disks of a lab, and how likely each is; see [`Faults::disk`](crate::Faults::disk).
///
/// # Examples
/// ```
/// use asupersync_lab::{DiskFaults, Faults};
/// let disk = DiskFaults::none().sync_failure(0.05).short_writes(0.2);
/// let faults = Faults::none().crash(0.01).disk(disk).at_most(3);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DiskFaults {
    pub(crate) short_writes: f64,
    pub(crate) io_error: f64,
    pub(crate) full: f64,
    pub(crate) sync_failure: f64,
    pub(crate) survival: f64,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl DiskFaults {
    /// Nothing goes wrong; of what was not synced, each piece survives a crash with the chance of one half.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short_writes: 0.0,
            io_error: 0.0,
            full: 0.0,
            sync_failure: 0.0,
            survival: SURVIVAL,
        }
    }

    /// How likely a write takes fewer bytes than it could, which is no fault.
    ///
    /// # Panics
    /// If the chance is not from 0 to 1; so with all others.
    #[must_use]
    pub const fn short_writes(mut self, chance: f64) -> Self {
        self.short_writes = checked(chance);
        self
    }

    /// How likely a read, a write, or a change of a name or length fails, and changes nothing.
    #[must_use]
    pub const fn io_error(mut self, chance: f64) -> Self {
        self.io_error = checked(chance);
        self
    }

    /// How likely a write finds the disk full.
    #[must_use]
    pub const fn full(mut self, chance: f64) -> Self {
        self.full = checked(chance);
        self
    }

    /// How likely a sync fails; what it should have made durable is then forgotten, and the next sync says nothing of it.
    #[must_use]
    pub const fn sync_failure(mut self, chance: f64) -> Self {
        self.sync_failure = checked(chance);
        self
    }

    /// How likely each piece that was not synced survives a crash, whole or torn; one half unless set.
    #[must_use]
    pub const fn survival(mut self, chance: f64) -> Self {
        self.survival = checked(chance);
        self
    }

    /// Whether nothing but a crash disturbs a disk.
    pub(crate) fn never_happen(&self) -> bool {
        let chances = [self.io_error, self.full, self.sync_failure];
        chances.iter().all(|chance| *chance <= 0.0)
    }
}

/// How likely each piece that was not synced survives, unless it is said otherwise.
const SURVIVAL: f64 = 0.5;
/// What the trace calls a write that finds the disk full.
pub(super) const FULL: &str = "disk.full";
/// What the trace calls an operation that fails.
pub(super) const IO_ERROR: &str = "disk.io_error";
/// What the trace calls a sync that fails.
pub(super) const SYNC_FAILURE: &str = "disk.sync_failure";
