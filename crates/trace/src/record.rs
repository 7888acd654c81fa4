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

/// The first place at which two traces differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// How many events they have in common.
    pub index: usize,
    /// What follows in the first, unless it ends here.
    pub left: Option<TraceEvent>,
    /// What follows in the second, unless it ends here.
    pub right: Option<TraceEvent>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |event: &Option<TraceEvent>| match event {
            Some(event) => event.to_string(),
            None => "its end".to_owned(),
        };
        let (left, right) = (text(&self.left), text(&self.right));
        write!(
            f,
            "event {} is {left} in one, {right} in the other",
            self.index
        )
    }
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

    /// Where two traces part; `None` if they are equal.
    ///
    /// # Examples
    /// ```
    /// use asupersync_core::{RegionId, Time};
    /// use asupersync_kernel::Event;
    /// use asupersync_trace::{Trace, TraceEvent};
    /// let closed = |index| Event::RegionClosed { region: RegionId::new(index) };
    /// let trace = |indices: &[u64]| Trace {
    ///     events: indices.iter().map(|i| TraceEvent { at: Time::ZERO, step: 1, event: closed(*i) }).collect(),
    /// };
    /// assert_eq!(trace(&[1, 2]).divergence(&trace(&[1, 2])), None);
    /// assert_eq!(trace(&[1, 2]).divergence(&trace(&[1, 3])).unwrap().index, 1);
    /// assert_eq!(trace(&[1, 2]).divergence(&trace(&[1])).unwrap().right, None);
    /// ```
    #[must_use]
    pub fn divergence(&self, other: &Self) -> Option<Divergence> {
        let length = self.events.len().max(other.events.len());
        let index = (0..length).find(|i| self.events.get(*i) != other.events.get(*i))?;
        Some(Divergence {
            index,
            left: self.events.get(index).cloned(),
            right: other.events.get(index).cloned(),
        })
    }

    /// The events alone.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|traced| &traced.event)
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} {:?}", self.at, self.step, self.event)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for traced in &self.events {
            writeln!(f, "{traced}")?;
        }
        Ok(())
    }
}
