//! The ledger's memory: an append-only file, and the book that it adds up to.
//!
//! An entry is one line of JSON with a number one higher than the line before.
//! A batch of entries is durable when [`Journal::append`] returns; if it fails, the file is cut back to what was durable.
//! A torn last line, as a crash leaves it, is cut off at the next start; any other damage is an error.
//! The file is locked while it is open, so that two services never write to one journal.
//! All of it blocks, and is called within jobs of the blocking pool.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use asupersync::fs::{BlockingFile, FsPort, OpenOptions};
use serde::{Deserialize, Serialize};

/// No line of a journal is longer.
const JOURNAL_LINE_BYTES_MAX: u64 = 1 << 16;
/// How often the lock is tried, and how long in between: a service that was just killed is given a moment to vanish.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What happened, with the name that the client gave it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Entry {
    Open {
        id: String,
        account: String,
        balance: u64,
    },
    Transfer {
        id: String,
        from: String,
        to: String,
        amount: u64,
    },
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

/// Why an entry is refused; nothing is changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no account `{0}`")]
    UnknownAccount(String),
    #[error("account `{0}` exists already")]
    AccountExists(String),
    #[error("`{0}` is the id of another request; use a new one")]
    IdTaken(String),
    #[error("account `{account}` holds {balance}, which is less than {amount}")]
    Overdraft {
        account: String,
        balance: u64,
        amount: u64,
    },
    #[error("a transfer goes from one account to another, not from `{0}` to itself")]
    SameAccount(String),
    #[error("the account would hold more than can be counted")]
    Overflow,
}

impl Refusal {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::UnknownAccount(_) => "unknown_account",
            Self::AccountExists(_) => "account_exists",
            Self::IdTaken(_) => "id_taken",
            Self::Overdraft { .. } => "overdraft",
            Self::SameAccount(_) => "same_account",
            Self::Overflow => "overflow",
        }
    }
}

/// All entries, and the accounts that they add up to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    balances: BTreeMap<String, u64>,
    /// The numbers of entries, which are their places in `entries`, by their ids.
    numbers: BTreeMap<String, usize>,
    /// The numbers of the entries that touched an account.
    history: BTreeMap<String, Vec<usize>>,
}

impl Book {
    /// The number of this entry, if it was applied before.
    pub(crate) fn number_of(&self, entry: &Entry) -> Result<Option<u64>, Refusal> {
        match self.numbers.get(entry.id()) {
            None => Ok(None),
            Some(&number) if self.entries[number] == *entry => Ok(Some(number as u64)),
            Some(_) => Err(Refusal::IdTaken(entry.id().to_owned())),
        }
    }

    pub(crate) fn balance(&self, account: &str) -> Result<u64, Refusal> {
        let balance = self.balances.get(account).copied();
        balance.ok_or_else(|| Refusal::UnknownAccount(account.to_owned()))
    }

    /// The latest entries of an account, the newest first.
    pub(crate) fn statement(&self, account: &str, limit: usize) -> Result<Vec<Entry>, Refusal> {
        self.balance(account)?;
        let numbers = self.history.get(account).map_or(&[][..], Vec::as_slice);
        let latest = numbers.iter().rev().take(limit);
        Ok(latest.map(|&number| self.entries[number].clone()).collect())
    }

    pub(crate) fn total(&self) -> u128 {
        self.balances
            .values()
            .map(|balance| u128::from(*balance))
            .sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Applies an entry and gives its number.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<u64, Refusal> {
        if self.numbers.contains_key(entry.id()) {
            return Err(Refusal::IdTaken(entry.id().to_owned()));
        }
        match entry {
            Entry::Open {
                account, balance, ..
            } => {
                if self.balances.contains_key(account) {
                    return Err(Refusal::AccountExists(account.clone()));
                }
                self.balances.insert(account.clone(), *balance);
            }
            Entry::Transfer {
                from, to, amount, ..
            } => self.move_money(from, to, *amount)?,
        }
        let number = self.entries.len();
        self.numbers.insert(entry.id().to_owned(), number);
        for account in entry.accounts() {
            self.history
                .entry(account.to_owned())
                .or_default()
                .push(number);
        }
        self.entries.push(entry.clone());
        Ok(number as u64)
    }

    /// Takes back the entry that was applied last.
    pub(crate) fn undo_last(&mut self) {
        let Some(entry) = self.entries.pop() else {
            return;
        };
        self.numbers.remove(entry.id());
        for account in entry.accounts() {
            self.history.get_mut(account).map(Vec::pop);
        }
        match entry {
            Entry::Open { account, .. } => {
                self.balances.remove(&account);
                self.history.remove(&account);
            }
            Entry::Transfer {
                from, to, amount, ..
            } => self
                .move_money(&to, &from, amount)
                .expect("what was moved can be moved back"),
        }
    }

    fn move_money(&mut self, from: &str, to: &str, amount: u64) -> Result<(), Refusal> {
        if from == to {
            return Err(Refusal::SameAccount(from.to_owned()));
        }
        let (source, target) = (self.balance(from)?, self.balance(to)?);
        let Some(left) = source.checked_sub(amount) else {
            let account = from.to_owned();
            return Err(Refusal::Overdraft {
                account,
                balance: source,
                amount,
            });
        };
        let sum = target.checked_add(amount).ok_or(Refusal::Overflow)?;
        self.balances.insert(from.to_owned(), left);
        self.balances.insert(to.to_owned(), sum);
        Ok(())
    }
}

impl Entry {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Open { id, .. } | Self::Transfer { id, .. } => id,
        }
    }

    fn accounts(&self) -> Vec<&str> {
        match self {
            Self::Open { account, .. } => vec![account],
            Self::Transfer { from, to, .. } => vec![from, to],
        }
    }
}

/// The file.
pub(crate) struct Journal {
    file: BlockingFile,
    /// Anything else, such as a pipe or `/dev/full`, has no length and remembers nothing.
    is_file: bool,
    durable_bytes: u64,
    /// The file may hold more than what is durable, since cutting it back failed.
    ragged: bool,
}

impl Journal {
    /// Opens or makes the file, and adds it up.
    pub(crate) fn open(fs: &FsPort, path: &Path) -> io::Result<(Self, Book)> {
        let options = OpenOptions::new().read(true).append(true).create(true);
        let file = fs.open(path, &options)?;
        let mut journal = Self {
            is_file: file.metadata()?.is_file(),
            file,
            durable_bytes: 0,
            ragged: false,
        };
        if !journal.is_file {
            return Ok((journal, Book::default()));
        }
        lock(&journal.file)?;
        let (book, durable_bytes) = recover(&mut journal.file)?;
        journal.durable_bytes = durable_bytes;
        if journal.file.metadata()?.len > durable_bytes {
            journal.cut_back()?;
        }
        if book.entries.is_empty() {
            sync_name(fs, path)?;
        }
        Ok((journal, book))
    }

    /// Writes lines and waits until they are on the disk; blocks the thread.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.ragged {
            self.cut_back()?;
        }
        let written = self
            .file
            .write_all(lines)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.durable_bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // If this fails too, the next append tries again before it writes.
                self.ragged = self.is_file && self.cut_back().is_err();
                Err(error)
            }
        }
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.durable_bytes)?;
        self.file.sync_data()?;
        self.ragged = false;
        Ok(())
    }
}

/// Keeps other services away from the file until it is closed.
fn lock(file: &BlockingFile) -> io::Result<()> {
    for _ in 1..LOCK_TRIES {
        if file.try_lock()? {
            return Ok(());
        }
        pause();
    }
    if file.try_lock()? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another service uses this journal; stop it, or choose another file",
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal is opened on the blocking pool, where no context is polled"
)]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

/// Makes the name of a new file as durable as what will be in it.
fn sync_name(fs: &FsPort, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs.driver().sync_dir(folder)
}

/// Adds up the whole lines of a file; gives the book and where its last whole line ends.
fn recover(file: &mut BlockingFile) -> io::Result<(Book, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let (mut book, mut end) = (Book::default(), 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let mut limited = reader.by_ref().take(JOURNAL_LINE_BYTES_MAX);
        let bytes = limited.read_until(b'\n', &mut text)? as u64;
        if !text.ends_with(b"\n") {
            if bytes == JOURNAL_LINE_BYTES_MAX {
                return Err(damaged(end, "the line does not end"));
            }
            return Ok((book, end));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| damaged(end, error))?;
        if line.seq != book.len() as u64 {
            let why = format!("number {} stands where {} should", line.seq, book.len());
            return Err(damaged(end, why));
        }
        book.apply(&line.entry)
            .map_err(|refusal| damaged(end, refusal))?;
        end += bytes;
    }
}

fn damaged(offset: u64, why: impl std::fmt::Display) -> io::Error {
    let message = format!("it is damaged at byte {offset}: {why}; restore it from a copy");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = br#"{"seq":0,"op":"open","id":"one","account":"ada","balance":1}
"#;
    const TWO: &[u8] = br#"{"seq":1,"op":"open","id":"two","account":"alan","balance":2}
"#;

    #[test]
    fn what_could_not_be_cut_back_is_cut_before_the_next_append() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let fs = FsPort::os();
        let (mut journal, _) = Journal::open(&fs, &path).unwrap();
        journal.append(ONE).unwrap();
        // A handle that can neither write nor cut, as if the disk refused everything for a while.
        let deaf = fs.open(&path, &OpenOptions::new().read(true)).unwrap();
        let good = std::mem::replace(&mut journal.file, deaf);
        journal.append(TWO).unwrap_err();
        assert!(journal.ragged);
        journal.append(TWO).unwrap_err();
        (&good).write_all(&TWO[..20]).unwrap();
        journal.file = good;
        journal.append(TWO).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [ONE, TWO].concat());
        assert!(!journal.ragged);
    }
}
