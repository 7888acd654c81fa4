//! How many threads a runtime has: two workers, or one.
//!
//! A process runs one workload on one runtime, so the shape is the process's.

use std::sync::atomic::{AtomicBool, Ordering};

/// The threads of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Two,
    /// One worker; on tokio the runtime of the current thread.
    One,
}

impl Shape {
    pub(crate) const fn workers(self) -> usize {
        match self {
            Self::Two => 2,
            Self::One => 1,
        }
    }

    /// What a runtime is called in this shape, if it has the shape.
    pub(crate) fn name(self, runtime: &'static str) -> Option<&'static str> {
        let mut singles = SINGLES.iter();
        match self {
            Self::Two => Some(runtime),
            Self::One => Some(singles.find(|(_, two)| *two == runtime)?.0),
        }
    }
}

/// The runtime of that name, and the shape in which it is asked for.
pub(crate) fn of(name: &str) -> (&str, Shape) {
    let mut singles = SINGLES.iter();
    match singles.find(|(single, _)| *single == name) {
        Some((_, runtime)) => (runtime, Shape::One),
        None => (name, Shape::Two),
    }
}

/// The shape of this process's runtime.
pub(crate) fn get() -> Shape {
    match IS_SINGLE.load(Ordering::Relaxed) {
        true => Shape::One,
        false => Shape::Two,
    }
}

/// Chooses the shape, before the runtime starts.
pub(crate) fn set(shape: Shape) {
    IS_SINGLE.store(shape == Shape::One, Ordering::Relaxed);
}

const SINGLES: [(&str, &str); 3] = [
    ("ours-1", "ours"),
    ("tokio-ct", "tokio"),
    ("smol-1", "smol"),
];

static IS_SINGLE: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_form_is_found_by_its_name() {
        assert_eq!(of("tokio-ct"), ("tokio", Shape::One));
        assert_eq!(of("tokio"), ("tokio", Shape::Two));
        assert_eq!(Shape::One.name("smol"), Some("smol-1"));
        assert_eq!(Shape::One.name("floor"), None);
        assert_eq!(Shape::Two.name("flume"), Some("flume"));
    }
}
