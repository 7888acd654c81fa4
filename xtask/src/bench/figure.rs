//! What the rounds of one runtime gave, as one figure.

use super::summary::{median, spread};

#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) min: f64,
    /// (max - min) / median.
    pub(super) spread: f64,
}

impl Figure {
    /// # Panics
    /// If there is no round.
    pub(super) fn of(mut rounds: Vec<f64>) -> Self {
        let median = median(&mut rounds);
        Self {
            median,
            min: rounds[0],
            spread: spread(&rounds, median),
        }
    }

    /// Of something that was counted once.
    pub(super) const fn once(count: f64) -> Self {
        Self {
            median: count,
            min: count,
            spread: 0.0,
        }
    }
}

/// Three digits or so.
pub(super) fn short(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}
