//! What steers and watches runs, kept from one run to the next.

use asupersync_trace::{Fingerprinter, ProcessKey, StepReader, TraceEvent};

use crate::host::Choice;
use crate::process::Processes;
use crate::script::Decided;
use crate::strategy::Chooser;

/// What a run borrows: who picks, and memory that was used before.
pub(crate) struct Instruments {
    pub(crate) chooser: Box<dyn Chooser>,
    pub(crate) reader: StepReader,
    pub(crate) fingerprinter: Fingerprinter,
    /// Empty, with room.
    pub(crate) events: Vec<TraceEvent>,
    pub(crate) room: Room,
    /// What was decided in the last run.
    pub(crate) decided: Decided,
    /// Whether anything but who goes next was to be decided in it.
    pub(crate) has_asked: bool,
}

/// Memory for what a run keeps of who is runnable; empty between runs.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) choices: Vec<Choice>,
    pub(crate) runnable: Vec<ProcessKey>,
    pub(crate) places: Vec<usize>,
    pub(crate) processes: Processes,
}

impl Instruments {
    pub(crate) fn new(chooser: Box<dyn Chooser>) -> Self {
        Self {
            chooser,
            reader: StepReader::new(),
            fingerprinter: Fingerprinter::new(),
            events: Vec::new(),
            room: Room::default(),
            decided: Decided::default(),
            has_asked: false,
        }
    }

    /// Ready for the next run.
    pub(crate) fn clear(&mut self) {
        self.reader.clear();
        self.fingerprinter.clear();
        self.events.clear();
        self.room.choices.clear();
        self.room.runnable.clear();
        self.room.places.clear();
        self.room.processes.clear();
    }
}
