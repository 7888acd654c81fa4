//! Some nodes in a row.

use std::vec;

use super::NodeRef;

/// References to some nodes, to be taken one after another; one alone takes no memory of its own.
pub(crate) struct Nodes {
    first: Option<NodeRef>,
    others: vec::IntoIter<NodeRef>,
}

impl Nodes {
    /// The first, if there are any, and those behind it.
    pub(super) fn new(first: Option<NodeRef>, others: Vec<NodeRef>) -> Self {
        debug_assert!(first.is_some() || others.is_empty(), "some follow nobody");
        Self {
            first,
            others: others.into_iter(),
        }
    }

    pub(crate) fn is_one(&self) -> bool {
        self.len() == 1
    }
}

impl Iterator for Nodes {
    type Item = NodeRef;

    fn next(&mut self) -> Option<NodeRef> {
        self.first.take().or_else(|| self.others.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = usize::from(self.first.is_some()) + self.others.len();
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Nodes {
    fn next_back(&mut self) -> Option<NodeRef> {
        self.others.next_back().or_else(|| self.first.take())
    }
}

impl ExactSizeIterator for Nodes {}
