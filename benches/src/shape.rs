//! How many threads a runtime has: two workers unless its name says otherwise.
//!
//! A process runs one workload on one runtime, so the shape is the process's.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As many workers, of the runtime that is made for several.
    Workers(usize),
    /// One worker; on tokio the runtime of the current thread.
    Single,
}

impl Shape {
    /// What nobody chose.
    pub(crate) const USUAL: Self = Self::Workers(2);

    pub(crate) const fn workers(self) -> usize {
        match self {
            Self::Workers(workers) => workers,
            Self::Single => 1,
        }
    }
}

/// The runtime of that name, and the shape in which it is asked for.
pub(crate) fn of(name: &str) -> (&str, Shape) {
    let mut singles = SINGLES.iter();
    match singles.find(|(single, _)| *single == name) {
        Some((_, runtime)) => (runtime, Shape::Single),
        None => (name, Shape::USUAL),
    }
}

/// What a runtime is called with one worker, if it stands there alone too.
pub(crate) fn single(runtime: &str) -> Option<&'static str> {
    let mut singles = SINGLES.iter();
    Some(singles.find(|(_, several)| *several == runtime)?.0)
}

/// The shape of this process's runtime.
pub(crate) fn get() -> Shape {
    match WORKERS.load(Ordering::Relaxed) {
        0 => Shape::Single,
        workers => Shape::Workers(workers),
    }
}

/// Chooses the shape, before the runtime starts.
pub(crate) fn set(shape: Shape) {
    let workers = match shape {
        Shape::Single => 0,
        Shape::Workers(workers) => workers,
    };
    WORKERS.store(workers, Ordering::Relaxed);
}

const SINGLES: [(&str, &str); 3] = [
    ("ours-1", "ours"),
    ("tokio-ct", "tokio"),
    ("smol-1", "smol"),
];

/// Zero for [`Shape::Single`].
static WORKERS: AtomicUsize = AtomicUsize::new(Shape::USUAL.workers());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_form_is_found_by_its_name() {
        assert_eq!(of("tokio-ct"), ("tokio", Shape::Single));
        assert_eq!(of("tokio"), ("tokio", Shape::Workers(2)));
        assert_eq!(single("smol"), Some("smol-1"));
        assert_eq!(single("floor"), None);
    }
}
