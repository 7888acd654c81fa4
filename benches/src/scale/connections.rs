//! The rows over connections: an echo on each runtime, and by the system's calls alone; the clients are another process.

use crate::compare::serve::{floor, ours, tokio};
use crate::meter::{Sample, Size};
use crate::wire::{Load, Talk, allow_connections};

pub(crate) fn all_ours(size: Size) -> Sample {
    ours::echo(size, all(size))
}

pub(crate) fn all_tokio(size: Size) -> Sample {
    tokio::echo(size, all(size))
}

pub(crate) fn all_floor(size: Size) -> Sample {
    floor::echo(size, all(size))
}

pub(crate) fn some_ours(size: Size) -> Sample {
    ours::echo(size, some(size))
}

pub(crate) fn some_tokio(size: Size) -> Sample {
    tokio::echo(size, some(size))
}

pub(crate) fn some_floor(size: Size) -> Sample {
    floor::echo(size, some(size))
}

/// Every connection sends.
fn all(size: Size) -> Load {
    load(size.live, size.live)
}

/// A few send, beside many that are open.
fn some(size: Size) -> Load {
    load(size.live, ACTIVE.min(size.live))
}

fn load(connections: u64, active: u64) -> Load {
    allow_connections(connections);
    Load::Wire {
        talk: Talk::Echo,
        connections,
        active,
    }
}

const ACTIVE: u64 = 64;
