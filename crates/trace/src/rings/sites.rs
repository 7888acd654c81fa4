//! Names that stand in the program's text, and their numbers.

use std::sync::OnceLock;

use asupersync_kernel::Name;

use crate::hash::mix;

/// A table that only grows, up to its bound.
///
/// A text is known by its place in memory, so a look-up reads nothing of it.
pub(super) struct Sites(Box<[OnceLock<&'static str>]>);

impl Sites {
    pub(super) fn new() -> Self {
        Self((0..SITES_MAX).map(|_| OnceLock::new()).collect())
    }

    /// The number of a name; 0 for one that was made at run time, or finds no place any more.
    #[inline]
    pub(super) fn number_of(&self, name: &Name) -> u64 {
        let Some(text) = name.as_static() else {
            return 0;
        };
        let first = mix(text.as_ptr().addr() as u64) as usize;
        for probe in 0..SITES_MAX {
            let index = (first + probe) % SITES_MAX;
            if std::ptr::eq(*self.0[index].get_or_init(|| text), text) {
                return index as u64 + 1;
            }
        }
        0
    }

    /// The name of a number.
    pub(super) fn name_of(&self, number: u64) -> Name {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let known = index.and_then(|index| self.0.get(index)?.get());
        known.map_or(Name::from(UNKNOWN), |text| Name::from(*text))
    }
}

/// As many source files as may spawn tasks under their own name.
const SITES_MAX: usize = 256;
/// What stands for the others.
const UNKNOWN: &str = "?";

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_full_table_says_so() {
        let sites = Sites::new();
        let text: &'static str = Box::leak("x".repeat(SITES_MAX + 1).into_boxed_str());
        let part = |n: usize| Name::from(&text[n..]);
        let numbers: Vec<u64> = (0..SITES_MAX).map(|n| sites.number_of(&part(n))).collect();
        for (n, number) in numbers.iter().enumerate() {
            assert_ne!(*number, 0);
            assert_eq!(sites.number_of(&part(n)), *number);
            assert_eq!(sites.name_of(*number), part(n));
        }
        assert_eq!(sites.number_of(&part(SITES_MAX)), 0);
        assert_eq!(&*sites.name_of(0), UNKNOWN);
        assert_eq!(&*sites.name_of(u64::MAX), UNKNOWN);
    }

    #[test]
    fn a_name_made_at_run_time_has_no_number() {
        assert_eq!(Sites::new().number_of(&Name::shared("made")), 0);
    }
}
