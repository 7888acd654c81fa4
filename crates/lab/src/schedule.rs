//! What was decided in a run, so that it can be made again.
//!
//! # Shape
//! A run is a function of its program, its seed, and a schedule: which of the runnable went next wherever there was more than one, what each question for a fault was answered, and where a task was cut short.
//! Zero is what happens unless something is decided: the task that has been runnable for longest goes next, and no fault happens.
//! So the shorter a schedule, and the fewer numbers in it that are not zero, the simpler the run.
//!
//! # Invariants
//! - A schedule without its trailing zeros is the same schedule.
//! - Any schedule can be followed by any program: a number that is too large is taken as the largest there is.

use std::fmt;
use std::str::FromStr;

use crate::interrupt::Way;

/// The decisions of a run.
///
/// # Examples
/// ```
/// use asupersync_lab::Schedule;
/// let schedule: Schedule = "picks=3x0,1,2;cut=cancel@7".parse()?;
/// assert_eq!(schedule.picks(), [0, 0, 0, 1, 2]);
/// assert_eq!(schedule.to_string(), "picks=3x0,1,2;cut=cancel@7");
/// assert_eq!(schedule.decisions(), 3);
/// # Ok::<_, asupersync_lab::ScheduleError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Schedule {
    picks: Vec<u32>,
    faults: Vec<u32>,
    cut: Option<Cut>,
}

/// A task cut short: what is done to it, and after which step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cut {
    /// What is done.
    pub way: Way,
    /// The step whose task it is done to, as soon as that step is over; steps count from 1.
    pub step: u64,
}

impl Schedule {
    /// A schedule of these decisions.
    #[must_use]
    pub fn new(picks: Vec<u32>, faults: Vec<u32>, cut: Option<Cut>) -> Self {
        Self {
            picks: without_trailing_zeros(picks),
            faults: without_trailing_zeros(faults),
            cut,
        }
    }

    /// At each step at which more than one task was runnable: which of them, in the order of their arrival, went next.
    #[must_use]
    pub fn picks(&self) -> &[u32] {
        &self.picks
    }

    /// The answers to each question for a fault; 0 is none.
    #[must_use]
    pub fn faults(&self) -> &[u32] {
        &self.faults
    }

    /// Which task was cut short, if one was.
    #[must_use]
    pub const fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// How many decisions differ from what happens unless something is decided.
    #[must_use]
    pub fn decisions(&self) -> usize {
        let decided = |numbers: &[u32]| numbers.iter().filter(|number| **number != 0).count();
        decided(&self.picks) + decided(&self.faults) + usize::from(self.cut.is_some())
    }

    /// How hard it is to read: first the decisions, then how far they reach.
    #[must_use]
    pub(crate) fn weight(&self) -> (usize, usize, u64) {
        let sum = |numbers: &[u32]| numbers.iter().map(|number| u64::from(*number)).sum::<u64>();
        (
            self.decisions(),
            self.picks.len() + self.faults.len(),
            sum(&self.picks) + sum(&self.faults),
        )
    }
}

fn without_trailing_zeros(mut numbers: Vec<u32>) -> Vec<u32> {
    let length = numbers.iter().rposition(|number| *number != 0);
    numbers.truncate(length.map_or(0, |last| last + 1));
    numbers
}

/// A text is no schedule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A part has no known name.
    #[error(
        "`{part}` is no part of a schedule; the parts are picks, faults and cut, as in `picks=3x0,1;cut=cancel@7`"
    )]
    UnknownPart {
        /// The part.
        part: String,
    },
    /// A number is none, or there are too many.
    #[error(
        "`{item}` is no decision; a decision is a number, or so many of one number, as in `12x0`"
    )]
    NotADecision {
        /// The item.
        item: String,
    },
    /// A cut is none.
    #[error(
        "`{cut}` is no cut; a cut is `cancel`, `drop` or `unwind` after a step, as in `cancel@7`"
    )]
    NotACut {
        /// The text.
        cut: String,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, numbers) in [("picks", &self.picks), ("faults", &self.faults)] {
            if !numbers.is_empty() {
                write!(f, "{separator}{name}=")?;
                write_numbers(f, numbers)?;
                separator = ";";
            }
        }
        if let Some(cut) = self.cut {
            write!(f, "{separator}cut={}@{}", cut.way, cut.step)?;
        }
        Ok(())
    }
}

/// Numbers, with runs of one number as `12x0`.
fn write_numbers(f: &mut fmt::Formatter<'_>, numbers: &[u32]) -> fmt::Result {
    let mut separator = "";
    for run in numbers.chunk_by(|one, next| one == next) {
        match run.len() {
            1 => write!(f, "{separator}{}", run[0])?,
            length => write!(f, "{separator}{length}x{}", run[0])?,
        }
        separator = ",";
    }
    Ok(())
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let mut schedule = Self::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("picks", numbers)) => schedule.picks = read_numbers(numbers)?,
                Some(("faults", numbers)) => schedule.faults = read_numbers(numbers)?,
                Some(("cut", cut)) => schedule.cut = Some(read_cut(cut)?),
                Some(_) | None => {
                    return Err(ScheduleError::UnknownPart { part: part.into() });
                }
            }
        }
        Ok(Self::new(schedule.picks, schedule.faults, schedule.cut))
    }
}

fn read_numbers(text: &str) -> Result<Vec<u32>, ScheduleError> {
    let mut numbers = Vec::new();
    for item in text.split(',') {
        let (count, number) = item.split_once('x').unwrap_or(("1", item));
        let count = count.parse::<usize>();
        let (Ok(count), Ok(number)) = (count, number.parse::<u32>()) else {
            return Err(ScheduleError::NotADecision { item: item.into() });
        };
        if count > DECISIONS_MAX - numbers.len() {
            return Err(ScheduleError::NotADecision { item: item.into() });
        }
        numbers.extend(std::iter::repeat_n(number, count));
    }
    Ok(numbers)
}

fn read_cut(text: &str) -> Result<Cut, ScheduleError> {
    let cut = text.split_once('@').and_then(|(way, step)| {
        Some(Cut {
            way: Way::named(way)?,
            step: step.parse().ok()?,
        })
    });
    cut.ok_or_else(|| ScheduleError::NotACut { cut: text.into() })
}

/// As many decisions of one kind as a text may hold; no run that ends by itself makes more.
const DECISIONS_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_no_decisions() {
        let schedule = Schedule::new(vec![0, 2, 0, 0], vec![0, 0], None);
        assert_eq!(schedule, Schedule::new(vec![0, 2], Vec::new(), None));
        assert_eq!(schedule.decisions(), 1);
    }

    #[test]
    fn a_text_that_is_no_schedule_says_what_it_should_be() {
        for (text, part) in [
            ("pick=1", "is no part of a schedule"),
            ("picks=1,x", "is no decision"),
            ("picks=99999999999x0", "is no decision"),
            ("picks=16777216x0,1", "is no decision"),
            ("cut=shoot@1", "is no cut"),
            ("cut=drop@", "is no cut"),
        ] {
            let error = text.parse::<Schedule>().expect_err(text);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_empty_text_is_the_schedule_without_decisions() {
        assert_eq!("".parse(), Ok(Schedule::default()));
        assert_eq!(Schedule::default().to_string(), "");
    }
}
