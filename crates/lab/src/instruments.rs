//! What steers and watches runs, kept from one run to the next.

use asupersync_trace::{Fingerprinter, StepReader, TraceEvent};

use crate::strategy::Chooser;

/// What a run borrows: who picks, and memory that was used before.
pub(crate) struct Instruments {
    pub(crate) chooser: Box<dyn Chooser>,
    pub(crate) reader: StepReader,
    pub(crate) fingerprinter: Fingerprinter,
    /// Empty, with room.
    pub(crate) events: Vec<TraceEvent>,
}

impl Instruments {
    pub(crate) fn new(chooser: Box<dyn Chooser>) -> Self {
        Self {
            chooser,
            reader: StepReader::new(),
            fingerprinter: Fingerprinter::new(),
            events: Vec::new(),
        }
    }

    /// Ready for the next run.
    pub(crate) fn clear(&mut self) {
        self.reader.clear();
        self.fingerprinter.clear();
        self.events.clear();
    }
}
