//! What an operation does with its resource: read, write, or wait for others.
//!
//! A search needs it to tell which steps commute: two reads of one resource do, and any other pair may not.
//! The table knows the operations of this project's own crates; of any other name nothing is known, and who asks has to expect a write.
//! Deliberately absent: finer relations, such as two sends on a channel with room for both.

/// What an operation does with its resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// It looks, and changes nothing that others see.
    Read,
    /// It changes what others find.
    Write,
    /// It enters the line and waits for others; entering changes the line.
    Block,
}

impl Access {
    /// Whether two operations on one resource give the same in either order: only two reads do.
    #[must_use]
    pub const fn commutes_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Read, Self::Read))
    }
}

/// What the operation of this name does; `None` for a name that no crate of this project uses.
///
/// Cost: one search in a sorted table.
/// # Examples
/// ```
/// use asupersync_trace::{Access, access_of};
/// assert_eq!(access_of("mutex.wait"), Some(Access::Block));
/// assert_eq!(access_of("latch.pass"), Some(Access::Read));
/// assert_eq!(access_of("mine.poke"), None);
/// assert!(!Access::Read.commutes_with(Access::Write));
/// ```
#[must_use]
pub fn access_of(operation: &str) -> Option<Access> {
    let found = OPERATIONS.binary_search_by(|(name, _)| (*name).cmp(operation));
    found.ok().map(|index| OPERATIONS[index].1)
}

/// The names that [`access_of`] knows, sorted.
pub fn known_operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, _)| *name)
}

use Access::{Block, Read, Write};

/// Sorted by name.
#[rustfmt::skip]
const OPERATIONS: &[(&str, Access)] = &[
    ("barrier.lead", Write),
    ("barrier.leave", Write),
    ("barrier.pass", Write),
    ("barrier.wait", Block),
    ("breaker.enter", Write),
    ("breaker.leave", Write),
    ("breaker.reject", Write),
    ("breaker.set", Write),
    ("broadcast.close", Write),
    ("broadcast.end", Read),
    ("broadcast.lag", Write),
    ("broadcast.leave", Write),
    ("broadcast.recv", Write),
    ("broadcast.send", Write),
    ("broadcast.wait", Block),
    ("clock.read", Read),
    ("clock.set", Write),
    ("condvar.all", Write),
    ("condvar.leave", Write),
    ("condvar.one", Write),
    ("condvar.wait", Block),
    ("fs.create_dir", Write),
    ("fs.lock", Write),
    ("fs.metadata", Read),
    ("fs.open", Write),
    ("fs.read", Read),
    ("fs.read_dir", Read),
    ("fs.remove", Write),
    ("fs.rename", Write),
    ("fs.seek", Read),
    ("fs.set_len", Write),
    ("fs.sync", Write),
    ("fs.sync_dir", Write),
    ("fs.write", Write),
    ("latch.count_down", Write),
    ("latch.leave", Write),
    ("latch.open", Write),
    ("latch.pass", Read),
    ("latch.wait", Block),
    ("mpsc.close", Write),
    ("mpsc.end", Write),
    ("mpsc.leave", Write),
    ("mpsc.look", Read),
    ("mpsc.recv", Write),
    ("mpsc.reserve", Write),
    ("mpsc.send", Write),
    ("mpsc.wait", Block),
    ("mutex.give_back", Write),
    ("mutex.grant", Write),
    ("mutex.leave", Write),
    ("mutex.lock", Write),
    ("mutex.look", Read),
    ("mutex.unlock", Write),
    ("mutex.wait", Block),
    ("notify.all", Write),
    ("notify.enable", Block),
    ("notify.last", Write),
    ("notify.leave", Write),
    ("notify.notified", Write),
    ("notify.one", Write),
    ("notify.wait", Block),
    ("once_cell.acquire", Write),
    ("once_cell.give_back", Write),
    ("once_cell.grant", Write),
    ("once_cell.leave", Write),
    ("once_cell.release", Write),
    ("once_cell.wait", Block),
    ("oneshot.close", Write),
    ("oneshot.look", Block),
    ("oneshot.recv", Write),
    ("oneshot.send", Write),
    ("pool.acquire", Write),
    ("pool.close", Write),
    ("pool.give_back", Write),
    ("pool.grant", Write),
    ("pool.leave", Write),
    ("pool.release", Write),
    ("pool.wait", Block),
    ("rate_limit.leave", Write),
    ("rate_limit.take", Write),
    ("rate_limit.wait", Block),
    ("rendezvous.bid", Block),
    ("rendezvous.close", Write),
    ("rendezvous.end", Read),
    ("rendezvous.give", Write),
    ("rendezvous.leave", Write),
    ("rendezvous.offer", Block),
    ("rendezvous.recv", Write),
    ("rendezvous.reserve", Write),
    ("rendezvous.send", Write),
    ("rendezvous.take", Write),
    ("rendezvous.take_back", Write),
    ("rendezvous.wait", Block),
    ("resource.untraced", Write),
    ("rwlock.acquire", Write),
    ("rwlock.downgrade", Write),
    ("rwlock.give_back", Write),
    ("rwlock.grant", Write),
    ("rwlock.keep", Write),
    ("rwlock.leave", Write),
    ("rwlock.look", Read),
    ("rwlock.promote", Write),
    ("rwlock.read", Read),
    ("rwlock.release", Read),
    ("rwlock.unlock", Write),
    ("rwlock.upgradable", Write),
    ("rwlock.upgrade", Write),
    ("rwlock.upgraded", Write),
    ("rwlock.wait", Block),
    ("rwlock.wait_read", Block),
    ("rwlock.wait_upgradable", Block),
    ("rwlock.write", Write),
    ("semaphore.acquire", Write),
    ("semaphore.add", Write),
    ("semaphore.close", Write),
    ("semaphore.give_back", Write),
    ("semaphore.grant", Write),
    ("semaphore.leave", Write),
    ("semaphore.release", Write),
    ("semaphore.wait", Block),
    ("session.answer", Write),
    ("session.call", Write),
    ("session.end", Write),
    ("session.give_up", Write),
    ("session.leave", Write),
    ("session.look", Read),
    ("session.miss", Read),
    ("session.refuse", Write),
    ("session.take", Write),
    ("session.wait", Block),
    ("single_flight.land", Write),
    ("single_flight.lead", Write),
    ("single_flight.wait", Block),
    ("tcp.abort", Write),
    ("tcp.accept", Write),
    ("tcp.arrive", Write),
    ("tcp.bind", Write),
    ("tcp.blocked", Read),
    ("tcp.close", Write),
    ("tcp.connect", Write),
    ("tcp.connected", Write),
    ("tcp.deliver", Write),
    ("tcp.end", Write),
    ("tcp.find", Read),
    ("tcp.heal", Write),
    ("tcp.listen", Write),
    ("tcp.miss", Write),
    ("tcp.partition", Write),
    ("tcp.read", Write),
    ("tcp.refused", Write),
    ("tcp.reset", Write),
    ("tcp.restore", Write),
    ("tcp.shutdown", Write),
    ("tcp.stall", Write),
    ("tcp.timeout", Write),
    ("tcp.unbind", Write),
    ("tcp.vanish", Write),
    ("tcp.wait", Block),
    ("tcp.write", Write),
    ("var.read", Read),
    ("var.update", Write),
    ("var.write", Write),
    ("watch.changed", Read),
    ("watch.close", Write),
    ("watch.end", Read),
    ("watch.leave", Write),
    ("watch.send", Write),
    ("watch.wait", Block),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_name_is_found() {
        assert!(OPERATIONS.is_sorted_by(|a, b| a.0 < b.0));
        for (name, access) in OPERATIONS {
            assert_eq!(access_of(name), Some(*access), "{name}");
        }
    }

    #[test]
    fn only_reads_commute() {
        for first in [Read, Write, Block] {
            for second in [Read, Write, Block] {
                let both_read = first == Read && second == Read;
                assert_eq!(first.commutes_with(second), both_read);
            }
        }
    }
}
