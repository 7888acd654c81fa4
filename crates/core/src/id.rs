//! Names of regions, tasks and obligations.
//!
//! An id is unique within its host for the host's whole life and never reused.
//! Under the lab host the ids of a run are a function of the seed.

use std::fmt;

/// Names a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(u64);

impl RegionId {
    /// The region with number `index`; the root region of a host is number 0.
    #[must_use]
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// The region's number.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0
    }
}

/// Names a task: the region that owns it and its place among the tasks spawned there.
///
/// # Examples
/// ```
/// use asupersync_core::{RegionId, TaskId};
/// assert_eq!(TaskId::new(RegionId::new(3), 17).to_string(), "T3.17");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    region: RegionId,
    index: u32,
}

impl TaskId {
    /// The task number `index` of `region`.
    #[must_use]
    pub const fn new(region: RegionId, index: u32) -> Self {
        Self { region, index }
    }

    /// The region that owns the task.
    #[must_use]
    pub const fn region(self) -> RegionId {
        self.region
    }

    /// The task's place among the tasks spawned in its region, from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// Names an obligation: a number counted per host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObligationId(u64);

impl ObligationId {
    /// The obligation with number `index`.
    #[must_use]
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// The obligation's number.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}.{}", self.region.0, self.index)
    }
}

impl fmt::Display for ObligationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O{}", self.0)
    }
}

impl fmt::Debug for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ObligationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
