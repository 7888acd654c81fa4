//! Which resources of two executions are one.
//!
//! # Names
//! A touch of a resource is named by its process, by what that process did before, and by its place in the step.
//! Touches of one number in one execution are of one resource, so their names fall into one class; names that never met are taken to be of different resources.
//!
//! # Why that is sound
//! Two steps of two processes that are taken to commute were also taken one right after the other, in the executions that began with the first of them, where numbers can be compared.
//! If they touched one resource there, their names fell into one class, and the search begins anew with that class.
//! Classes only grow, so it begins anew no more often than there are names.

use crate::hash::{self, Map};
use crate::step::{Mode, Object, ProcessKey, Step};

/// What a step accessed; resources are named by their class.
pub(super) type Touched = Vec<(Object, Mode)>;

#[derive(Default)]
pub(super) struct Naming {
    by_name: Map<u64, u32>,
    /// The class that each class went into; itself if none.
    into: Vec<u32>,
    /// The class of each number of this execution.
    by_number: Map<u64, u32>,
    /// What each process did in this execution.
    paths: Map<ProcessKey, u64>,
    was_wrong: bool,
}

impl Naming {
    /// Another execution begins.
    pub(super) fn begin(&mut self) {
        self.by_number.clear();
        self.paths.clear();
    }

    /// Whether two classes became one since this was last asked.
    pub(super) fn was_wrong(&mut self) -> bool {
        std::mem::take(&mut self.was_wrong)
    }

    /// What a step accesses, in a form that can be compared with other executions; every step of an execution is to be handed in.
    pub(super) fn touched(&mut self, step: &Step) -> Touched {
        let path = self
            .paths
            .entry(step.process)
            .or_insert(step.process.word());
        let before = *path;
        *path = hash::pair(before, step.label());
        let mut touches = 0;
        let accesses = step.accesses.iter();
        accesses
            .map(|(object, mode)| match object {
                Object::Resource(number) => {
                    touches += 1;
                    let class = self.class(*number, hash::pair(before, touches));
                    (Object::Resource(u64::from(class)), *mode)
                }
                _ => (*object, *mode),
            })
            .collect()
    }

    fn class(&mut self, number: u64, name: u64) -> u32 {
        let by_name = self.by_name.get(&name).map(|class| self.root(*class));
        let by_number = self.by_number.get(&number).map(|class| self.root(*class));
        let class = match (by_name, by_number) {
            (Some(one), Some(other)) if one != other => {
                self.was_wrong = true;
                self.into[one.max(other) as usize] = one.min(other);
                one.min(other)
            }
            (Some(class), _) | (None, Some(class)) => class,
            (None, None) => {
                let class = self.into.len() as u32;
                self.into.push(class);
                class
            }
        };
        self.by_name.insert(name, class);
        self.by_number.insert(number, class);
        class
    }

    fn root(&self, class: u32) -> u32 {
        let mut class = class;
        while self.into[class as usize] != class {
            class = self.into[class as usize];
        }
        class
    }

    /// Whether two steps touch nothing in common in modes that do not commute.
    pub(super) fn are_apart(&self, one: &Touched, other: &Touched) -> bool {
        one.iter().all(|(object, mode)| {
            let clashes = |(known, known_mode): &(Object, Mode)| {
                !mode.commutes_with(*known_mode) && self.is_same(*object, *known)
            };
            !other.iter().any(clashes)
        })
    }

    fn is_same(&self, one: Object, other: Object) -> bool {
        match (one, other) {
            (Object::Resource(one), Object::Resource(other)) => {
                one == other || self.root(one as u32) == self.root(other as u32)
            }
            _ => one == other,
        }
    }
}
