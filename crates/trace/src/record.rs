//! What happened in a run, in order.

use std::fmt;

use asupersync_core::Time;
use asupersync_kernel::Event;

/// One event: when, after how many polls, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceEvent {
    /// The virtual time.
    pub at: Time,
    /// How many polls had begun.
    pub step: u64,
    /// What happened.
    pub event: Event,
}

/// The events of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// In the order in which they happened.
    pub events: Vec<TraceEvent>,
}

impl Trace {
    /// The trace as text, a line an event; equal traces give equal bytes on every machine.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// The events alone.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|traced| &traced.event)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for traced in &self.events {
            writeln!(f, "{} #{} {:?}", traced.at, traced.step, traced.event)?;
        }
        Ok(())
    }
}
