//! What happened in a run: recordings, bounded or whole, and what follows from them.
//!
//! A [`Trace`] is what a host recorded of a run; [`access_of`] says what its operations do with their resources.
//! [`Holds`] follows who holds a lock and who waits for it; the lab asks it of a whole run, the runtime of the present moment.
//! [`EventRings`] keep the newest events of a running program in bounded memory; all else here are pure functions.
//! [`StepReader`] reads the [steps](Step) of a run, [`Order`] what had to come before what, [`fingerprint`] and [`canonical`] which runs are equivalent.
#![forbid(unsafe_code)]

mod access;
mod codec;
mod dpor;
mod hash;
mod holds;
mod order;
mod primitive;
mod reader;
mod record;
mod rings;
mod step;
mod structure;
mod tables;
mod trail;

pub use access::{Access, access_of, known_operations};
pub use codec::{BODY_BYTES_MAX, DecodeError, EncodeError, VERSION, fuzz_decode};
pub use dpor::{Dpor, Estimate, Mismatch, MismatchKind, Pick};
pub use holds::{Hold, Holds};
pub use order::{Canonical, Fingerprint, Fingerprinter, Order, StepLabel, canonical, fingerprint};
pub use reader::{StepReader, steps};
pub use record::{Divergence, Trace, TraceEvent};
pub use rings::{EventRings, LastEvents, Polled};
pub use step::{Mode, Object, ProcessKey, Step, StepKind, Wake};
pub use structure::{
    Asking, Fault, Owing, RegionPhase, RegionState, RunState, Structure, StructureError, TaskState,
    Timer, Waiting, WaitsFor,
};
