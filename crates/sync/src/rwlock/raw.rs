//! The lock without its value.
//!
//! # States
//! One word: `WRITER`, held exclusively; a number of readers; `UPGRADABLE`, one of the readers may become the writer; `UPGRADING`, it waits to; `WAITERS`, somebody is in line; `HANDED`, somebody got what it waited for and has not run since; `POISONED`.
//!
//! # Invariants
//! - `WRITER` excludes readers, and the other way round.
//! - `WAITERS`, `UPGRADING` and `HANDED` are set and taken back under the lock of the lines; while one of the first two stands nobody gets in without that lock, so nobody overtakes.
//! - Whoever leaves lets go first and looks at the flags of the same word after; whoever waits sets its flag first and looks at who is in after.
//! - The line is served from its front: readers up to the next writer together, a writer alone.
//! - An upgrade goes before the line, which could not move without it: its reader does not let go.
//!
//! Short critical sections are waited for by looking again a few times, but only while nobody is in line and all holders are known to run; on one worker that never delays a holder.
//! Who comes while a holder has yet to run gives it a turn, once, before it gets in line.
//! Otherwise all who use the lock often stay in line for ever, once they are: each hands the lock to one that does not run, and finds it held when it comes again.

use std::task::{Poll, Waker};

use asupersync_kernel::Resource;
use asupersync_kernel::mutation::{Mutation, is_on};

use crate::primitive::{AtomicU64, Mutex, Ordering, lock};
use crate::spot::Spot;
use crate::waiters::{Grant, WaitList, Wakers};

const WRITER: u64 = 1;
const WAITERS: u64 = 2;
const UPGRADABLE: u64 = 4;
const UPGRADING: u64 = 8;
const POISONED: u64 = 16;
const HANDED: u64 = 32;
const READER: u64 = 64;
const READERS: u64 = !(READER - 1);

/// How often a busy lock is looked at again before its waiter gets in line.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 16 };

/// What a waiter wants, and what a guard holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Read,
    Upgradable,
    Write,
}

impl Mode {
    /// What stands in the way, besides the line.
    const fn barred_by(self) -> u64 {
        match self {
            Self::Read => WRITER | UPGRADING,
            Self::Upgradable => WRITER | UPGRADING | UPGRADABLE,
            Self::Write => READERS | WRITER | UPGRADING | UPGRADABLE,
        }
    }

    /// What the holder has in the word.
    const fn share(self) -> u64 {
        match self {
            Self::Read => READER,
            Self::Upgradable => READER | UPGRADABLE,
            Self::Write => WRITER,
        }
    }

    const fn from_need(need: u32) -> Self {
        match need {
            0 => Self::Read,
            1 => Self::Upgradable,
            _ => Self::Write,
        }
    }

    const fn need(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Upgradable => 1,
            Self::Write => 2,
        }
    }

    /// The name under which taking it is recorded, whether it was free or handed over in line.
    ///
    /// Who has it handed over changes what others find, so a reader says which it was.
    pub(super) const fn operation(self, was_in_line: bool) -> &'static str {
        match self {
            Self::Read if was_in_line => "rwlock.acquire",
            Self::Read => "rwlock.read",
            Self::Upgradable => "rwlock.upgradable",
            Self::Write => "rwlock.write",
        }
    }

    /// The name under which waiting for it is recorded.
    pub(super) const fn wait(self) -> &'static str {
        match self {
            Self::Read => "rwlock.wait_read",
            Self::Upgradable => "rwlock.wait_upgradable",
            Self::Write => "rwlock.wait",
        }
    }
}

#[derive(Debug)]
struct Lines {
    line: WaitList<u32>,
    /// At most one waits to upgrade, as there is one upgradable reader.
    upgrader: WaitList,
}

impl Lines {
    /// Whether somebody got what it waited for and has not seen it.
    const fn is_handed(&self) -> bool {
        self.line.has_granted() || self.upgrader.has_granted()
    }
}

#[derive(Debug)]
pub(super) struct Raw {
    state: AtomicU64,
    lines: Mutex<Lines>,
    pub(super) resource: Resource,
    is_poisoning: bool,
}

impl Raw {
    crate::primitive::const_unless_loom! {
        pub(super) fn new(is_poisoning: bool) -> Self {
            Self {
                state: AtomicU64::new(0),
                lines: Mutex::new(Lines {
                    line: WaitList::new(),
                    upgrader: WaitList::new(),
                }),
                resource: Resource::new(),
                is_poisoning,
            }
        }
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & POISONED != 0
    }

    pub(super) fn clear_poison(&self) {
        self.state.fetch_and(!POISONED, Ordering::AcqRel);
    }

    /// Marks the value as half-changed, if a panic is allowed to do that.
    pub(super) fn poison(&self) {
        if self.is_poisoning {
            self.state.fetch_or(POISONED, Ordering::AcqRel);
        }
    }

    /// Takes the lock if that overtakes nobody.
    #[inline]
    pub(super) fn try_take(&self, mode: Mode) -> bool {
        let overtakes = mode == Mode::Read && is_on(Mutation::WriterIsOvertaken);
        let line = if overtakes { 0 } else { WAITERS };
        self.admit(mode, mode.barred_by() | line)
    }

    /// The name under which letting go is recorded; a reader beside whom nobody waits lets nobody in, in whatever order readers come and go.
    pub(super) fn unlock_operation(&self, mode: Mode) -> &'static str {
        let waits = self.state.load(Ordering::Relaxed) & (WAITERS | UPGRADING) != 0;
        if mode == Mode::Read && !waits {
            "rwlock.release"
        } else {
            "rwlock.unlock"
        }
    }

    fn try_take_for_a_moment(&self, mode: Mode) -> bool {
        for _ in 0..LOOKS {
            let state = self.state.load(Ordering::Relaxed);
            if state & (WAITERS | UPGRADING | HANDED) != 0 {
                return false;
            }
            if state & mode.barred_by() == 0 && self.try_take(mode) {
                return true;
            }
            crate::primitive::spin_loop();
        }
        false
    }

    fn is_handed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & HANDED != 0
    }

    /// Somebody has seen what it got, or left it; under the lock of the lines.
    fn has_seen(&self, lines: &Lines) {
        if !lines.is_handed() {
            self.state.fetch_and(!HANDED, Ordering::AcqRel);
        }
    }

    #[inline]
    fn admit(&self, mode: Mode, barred_by: u64) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & barred_by == 0 {
            match self.state.compare_exchange_weak(
                state,
                state + mode.share(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }

    /// Lets go; called by who holds it in this mode.
    #[inline]
    pub(super) fn release(&self, mode: Mode) {
        let before = self.state.fetch_sub(mode.share(), Ordering::AcqRel);
        if before & (WAITERS | UPGRADING) != 0 {
            self.released_with_waiters(mode, before);
        }
    }

    #[cold]
    fn released_with_waiters(&self, mode: Mode, before: u64) {
        // A plain reader that leaves others behind lets nobody in; the last one, or the last beside an upgrade, may.
        if mode == Mode::Read && before & READERS > 2 * READER {
            return;
        }
        let mut wakers = Wakers::default();
        self.serve(&mut lock(&self.lines), &mut wakers);
        if !is_on(Mutation::RwLockIsSilent) {
            wakers.wake();
        }
    }

    /// From writer to reader or upgradable reader, letting others read.
    pub(super) fn downgrade(&self, to: Mode) {
        let before = self.state.fetch_add(to.share() - WRITER, Ordering::AcqRel);
        if before & WAITERS != 0 {
            let mut wakers = Wakers::default();
            self.serve(&mut lock(&self.lines), &mut wakers);
            wakers.wake();
        }
    }

    /// From upgradable reader to plain reader, letting another be upgradable.
    pub(super) fn give_up_upgrade(&self) {
        let before = self.state.fetch_sub(UPGRADABLE, Ordering::AcqRel);
        if before & WAITERS != 0 {
            let mut wakers = Wakers::default();
            self.serve(&mut lock(&self.lines), &mut wakers);
            wakers.wake();
        }
    }

    /// From upgradable reader to writer, if there is no other reader.
    pub(super) fn try_upgrade(&self) -> bool {
        self.upgrade_from(READER | UPGRADABLE)
    }

    /// Turns the share of the only reader into the writer's.
    fn upgrade_from(&self, share: u64) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        while state & READERS == READER {
            match self.state.compare_exchange_weak(
                state,
                state - share + WRITER,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }

    /// Lets in who may now come in, under the lock of the lines.
    fn serve(&self, lines: &mut Lines, wakers: &mut Wakers) {
        if !lines.upgrader.is_empty() {
            if self.upgrade_from(READER | UPGRADABLE | UPGRADING) {
                wakers.push(lines.upgrader.grant_front(Grant::One));
                self.state.fetch_or(HANDED, Ordering::AcqRel);
                self.resource.trace("rwlock.promote");
            }
            return;
        }
        while let Some(need) = lines.line.front_need() {
            let mode = Mode::from_need(need);
            if !self.admit(mode, mode.barred_by()) {
                return;
            }
            wakers.push(lines.line.grant_front(Grant::One));
            self.state.fetch_or(HANDED, Ordering::AcqRel);
            self.resource.trace("rwlock.grant");
            if mode == Mode::Read && !lines.line.is_empty() && is_on(Mutation::ReadersGoOneByOne) {
                return;
            }
        }
        self.state.fetch_and(!WAITERS, Ordering::AcqRel);
    }
}

/// One wait for the lock, without its context.
#[derive(Debug)]
pub(super) struct Seize {
    mode: Mode,
    /// It has given a holder its turn.
    has_come_back: bool,
    place: Spot,
}

impl Seize {
    pub(super) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            has_come_back: false,
            place: Spot::new(),
        }
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) const fn is_in_line(&self) -> bool {
        self.place.is_in_line()
    }

    /// Ready once the lock is the caller's.
    pub(super) fn poll(&mut self, raw: &Raw, waker: &Waker) -> Poll<()> {
        if self.is_in_line() {
            let looked = self.place.look_and(
                &raw.lines,
                |lines| &mut lines.line,
                waker,
                |lines| raw.has_seen(lines),
            );
            return looked.map(drop);
        }
        if raw.try_take(self.mode) {
            return Poll::Ready(());
        }
        if !self.has_come_back {
            if raw.try_take_for_a_moment(self.mode) {
                return Poll::Ready(());
            }
            if raw.is_handed() {
                self.has_come_back = true;
                waker.wake_by_ref();
                return Poll::Pending;
            }
        }
        let waker = waker.clone();
        let mut lines = lock(&raw.lines);
        raw.state.fetch_or(WAITERS, Ordering::AcqRel);
        if lines.line.is_empty() && raw.admit(self.mode, self.mode.barred_by()) {
            raw.state.fetch_and(!WAITERS, Ordering::AcqRel);
            drop(lines);
            return Poll::Ready(());
        }
        self.place.enter(&mut lines.line, waker, self.mode.need());
        // Under the line's lock, as a grant is, so that they are told in the order in which they happen.
        raw.resource.trace(self.mode.wait());
        Poll::Pending
    }

    /// Leaves the line; what was granted is let go, and who may now come in comes in.
    pub(super) fn leave(&mut self, raw: &Raw) {
        if !self.is_in_line() {
            return;
        }
        let mut wakers = Wakers::default();
        let old = {
            let mut lines = lock(&raw.lines);
            let (grant, old) = self.place.leave(&mut lines.line);
            if grant.is_some() {
                raw.resource.trace("rwlock.give_back");
                raw.has_seen(&lines);
                raw.state.fetch_sub(self.mode.share(), Ordering::AcqRel);
            } else {
                raw.resource.trace("rwlock.leave");
            }
            // Also if nothing was granted: a writer that goes lets the readers behind it in.
            raw.serve(&mut lines, &mut wakers);
            old
        };
        drop(old);
        wakers.wake();
    }
}

/// One wait of the upgradable reader to become the writer.
#[derive(Debug)]
pub(super) struct Upgrade {
    place: Spot,
}

impl Upgrade {
    pub(super) const fn new() -> Self {
        Self { place: Spot::new() }
    }

    pub(super) const fn is_in_line(&self) -> bool {
        self.place.is_in_line()
    }

    /// Ready once the caller is the writer.
    pub(super) fn poll(&mut self, raw: &Raw, waker: &Waker) -> Poll<()> {
        if !self.is_in_line() {
            if raw.try_upgrade() {
                return Poll::Ready(());
            }
            let waker = waker.clone();
            let mut lines = lock(&raw.lines);
            raw.state.fetch_or(UPGRADING, Ordering::AcqRel);
            if raw.upgrade_from(READER | UPGRADABLE | UPGRADING) {
                drop(lines);
                return Poll::Ready(());
            }
            self.place.enter(&mut lines.upgrader, waker, ());
            return Poll::Pending;
        }
        let looked = self.place.look_and(
            &raw.lines,
            |lines| &mut lines.upgrader,
            waker,
            |lines| raw.has_seen(lines),
        );
        looked.map(drop)
    }

    /// Gives up waiting; the caller is the upgradable reader again.
    pub(super) fn leave(&mut self, raw: &Raw) {
        if !self.is_in_line() {
            return;
        }
        let mut wakers = Wakers::default();
        let old = {
            let mut lines = lock(&raw.lines);
            let (grant, old) = self.place.leave(&mut lines.upgrader);
            match grant {
                Some(_) => {
                    raw.has_seen(&lines);
                    let share = Mode::Upgradable.share() - WRITER;
                    raw.state.fetch_add(share, Ordering::AcqRel);
                }
                None => {
                    raw.state.fetch_and(!UPGRADING, Ordering::AcqRel);
                }
            }
            raw.serve(&mut lines, &mut wakers);
            old
        };
        drop(old);
        wakers.wake();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::thread::wait;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Model {
        raw: Raw,
        value: UnsafeCell<u32>,
    }

    // SAFETY: the value is touched as the lock allows only; that is what the model checks.
    unsafe impl Sync for Model {}
    // SAFETY: as above.
    unsafe impl Send for Model {}

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                raw: Raw::new(true),
                value: UnsafeCell::new(0),
            })
        }

        fn take(&self, mode: Mode) {
            let mut seize = Seize::new(mode);
            wait(|task| seize.poll(&self.raw, task.waker()));
        }

        fn get(&self) -> u32 {
            // SAFETY: the caller reads under the lock; loom reports a violation as a race.
            self.value.with(|value| unsafe { *value })
        }

        fn add(&self) {
            // SAFETY: the caller is the writer; loom reports a violation as a race.
            self.value.with_mut(|value| unsafe { *value += 1 });
        }

        fn write(&self) {
            self.take(Mode::Write);
            self.add();
            self.raw.release(Mode::Write);
        }

        fn read(&self) -> u32 {
            self.take(Mode::Read);
            let value = self.get();
            self.raw.release(Mode::Read);
            value
        }

        fn check(&self, expected: u32) {
            assert_eq!(self.get(), expected);
            assert_eq!(self.raw.state.load(Ordering::Acquire), 0);
        }
    }

    #[test]
    fn loom_writers_exclude_readers_and_nobody_is_left_waiting() {
        loom::model(|| {
            let model = Model::new();
            let threads = [true, false].map(|is_writer| {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    if is_writer {
                        model.write();
                    } else {
                        model.read();
                    }
                })
            });
            model.write();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            model.check(2);
        });
    }

    #[test]
    fn loom_a_writer_that_leaves_lets_the_readers_behind_it_in() {
        loom::model(|| {
            let model = Model::new();
            model.take(Mode::Read);
            let (leaver, reader) = (Arc::clone(&model), Arc::clone(&model));
            let leaver = thread::spawn(move || {
                let mut seize = Seize::new(Mode::Write);
                if seize.poll(&leaver.raw, Waker::noop()).is_ready() {
                    leaver.raw.release(Mode::Write);
                }
                seize.leave(&leaver.raw);
            });
            let reader = thread::spawn(move || reader.read());
            model.raw.release(Mode::Read);
            leaver.join().unwrap();
            reader.join().unwrap();
            model.check(0);
        });
    }

    #[test]
    fn loom_an_upgrade_waits_for_the_other_readers_and_goes_before_the_line() {
        loom::model(|| {
            let model = Model::new();
            model.take(Mode::Upgradable);
            let seen = model.get();
            let (writer, reader) = (Arc::clone(&model), Arc::clone(&model));
            let writer = thread::spawn(move || writer.write());
            let reader = thread::spawn(move || reader.read());
            let mut upgrade = Upgrade::new();
            wait(|task| upgrade.poll(&model.raw, task.waker()));
            assert_eq!(model.get(), seen, "nobody wrote in between");
            model.add();
            model.raw.downgrade(Mode::Read);
            assert_eq!(model.get(), seen + 1);
            model.raw.release(Mode::Read);
            writer.join().unwrap();
            reader.join().unwrap();
            model.check(2);
        });
    }

    #[test]
    fn loom_an_upgrade_that_is_given_up_leaves_an_upgradable_reader() {
        loom::model(|| {
            let model = Model::new();
            model.take(Mode::Upgradable);
            model.take(Mode::Read);
            let other = Arc::clone(&model);
            let reader = thread::spawn(move || other.raw.release(Mode::Read));
            let mut upgrade = Upgrade::new();
            if upgrade.poll(&model.raw, Waker::noop()).is_ready() {
                model.raw.downgrade(Mode::Upgradable);
            } else {
                upgrade.leave(&model.raw);
            }
            assert!(model.raw.try_take(Mode::Read), "readers get in again");
            assert!(!model.raw.try_take(Mode::Upgradable));
            model.raw.release(Mode::Read);
            model.raw.release(Mode::Upgradable);
            reader.join().unwrap();
            model.check(0);
        });
    }
}
