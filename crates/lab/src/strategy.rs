//! Which of the runnable goes next.
//!
//! # Strategies
//! A strategy sees who is runnable, by names that do not depend on the schedule, and picks one.
//! Some learn from the runs before: how long runs are, and how many steps each process takes.

mod all;
mod follow;
mod pct;
mod pos;
mod random;
mod systematic;
mod urw;

use std::fmt;
use std::str::FromStr;

use asupersync_trace::{ProcessKey, Step};

pub(crate) use follow::Without;
use systematic::Systematic;

/// How a lab picks who goes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Strategy {
    /// Each of the runnable with equal chance.
    #[default]
    Random,
    /// The one that has been runnable for longest; one run, always the same.
    Fifo,
    /// Priorities drawn at random, with `depth - 1` moments at which the running process loses its own.
    ///
    /// Source: Burckhardt, Kothari, Musuvathi, Nagarakatte: *A randomized scheduler with probabilistic guarantees of finding bugs*, ASPLOS 2010.
    Pct {
        /// How many ordering constraints the bugs looked for have.
        depth: u32,
    },
    /// A priority for each step, drawn anew where steps conflict.
    ///
    /// Source: Yuan, Yang, Gu: *Partial order aware concurrency sampling*, CAV 2018.
    Pos,
    /// Each of the runnable by how many steps it and what it spawns have left, so that each interleaving is about as likely as any other.
    ///
    /// Source: Zhao, Wolff, Mathur, Roychoudhury: *Selectively uniform concurrency testing*, ASPLOS 2025.
    Urw,
    /// Every interleaving, until none is left; for programs of a few steps.
    All,
    /// Every class of equivalent interleavings, until none is left; most in one run, some in more.
    ///
    /// Source: Abdulla, Aronis, Jonsson, Sagonas: *Source sets: a foundation for optimal dynamic partial order reduction*, J. ACM 64(4), 2017.
    Dpor,
}

impl Strategy {
    /// Whether it tries schedules one after another in an order of its own, which one worker does under one seed.
    pub(crate) const fn is_in_order(self) -> bool {
        matches!(self, Self::Fifo | Self::All | Self::Dpor)
    }

    /// What a search uses unless told otherwise: several strategies in turn, since each is blind for some bugs.
    pub const PORTFOLIO: [Self; 6] = [
        Self::Random,
        Self::Pct { depth: 2 },
        Self::Pos,
        Self::Dpor,
        Self::Urw,
        Self::Pct { depth: 3 },
    ];

    pub(crate) fn chooser(self, seed: u64) -> Box<dyn Chooser> {
        match self {
            Self::Random => Box::new(random::Random::new(seed)),
            Self::Fifo => Box::new(follow::Fifo::default()),
            Self::Pct { depth } => Box::new(pct::Pct::new(seed, depth)),
            Self::Pos => Box::new(pos::Pos::new(seed)),
            Self::Urw => Box::new(urw::Urw::new(seed)),
            Self::All => Box::new(all::All::default()),
            Self::Dpor => Box::new(Systematic::default()),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::Fifo => f.write_str("fifo"),
            Self::Pct { depth } => write!(f, "pct{depth}"),
            Self::Pos => f.write_str("pos"),
            Self::Urw => f.write_str("urw"),
            Self::All => f.write_str("all"),
            Self::Dpor => f.write_str("dpor"),
        }
    }
}

/// A text names no strategy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is no strategy; there are random, fifo, pct2 (with any depth), pos, urw, dpor and all"
)]
pub struct UnknownStrategy {
    text: String,
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let unknown = || UnknownStrategy { text: text.into() };
        Ok(match text {
            "random" => Self::Random,
            "fifo" => Self::Fifo,
            "pos" => Self::Pos,
            "urw" => Self::Urw,
            "dpor" => Self::Dpor,
            "all" => Self::All,
            _ => {
                let depth = text.strip_prefix("pct").ok_or_else(unknown)?;
                let depth: u32 = depth.parse().map_err(|_| unknown())?;
                Self::Pct {
                    depth: depth.max(1),
                }
            }
        })
    }
}

/// What picks, for many runs one after another.
pub(crate) trait Chooser: Send {
    /// A run begins, the `number`-th of this chooser; false if there is nothing left to try.
    fn begin(&mut self, number: u64) -> bool;
    /// Which of these goes next, the one that has been runnable for longest first; `None` gives the run up.
    ///
    /// There is at least one.
    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize>;
    /// The step that has just ended, if [`wants_steps`](Self::wants_steps).
    fn ran(&mut self, _step: &Step) {}
    /// The run is over.
    fn end(&mut self) {}
    /// Whether every schedule was tried, once there is nothing left to begin.
    fn is_exhausted(&self) -> bool {
        self.systematic().is_some_and(Systematic::is_proof)
    }
    /// The systematic search, if it is one.
    fn systematic(&self) -> Option<&Systematic> {
        None
    }
    /// Whether [`ran`](Self::ran) is to be told of every step.
    fn wants_steps(&self) -> bool {
        false
    }
}
