//! The ledger's memory: an append-only file, and the book that it adds up to.
//!
//! An entry is one line of JSON with a number one higher than the line before.
//! A batch of entries is durable when [`Journal::append`] returns; if it fails, the file is cut back to what was durable.
//! A torn last line, as a crash leaves it, is cut off at the next start; any other damage is an error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

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
            Self::Overdraft { .. } => "overdraft",
            Self::SameAccount(_) => "same_account",
            Self::Overflow => "overflow",
        }
    }
}

/// All accounts, and the numbers of all entries by their names.
#[derive(Default)]
pub(crate) struct Book {
    balances: BTreeMap<String, u64>,
    numbers: BTreeMap<String, u64>,
    history: BTreeMap<String, Vec<Entry>>,
    next: u64,
}

impl Book {
    /// The number of an entry that was applied before under this name.
    pub(crate) fn number_of(&self, id: &str) -> Option<u64> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn balance(&self, account: &str) -> Result<u64, Refusal> {
        let balance = self.balances.get(account).copied();
        balance.ok_or_else(|| Refusal::UnknownAccount(account.to_owned()))
    }

    /// The latest entries of an account, the newest first.
    pub(crate) fn statement(&self, account: &str, limit: usize) -> Result<Vec<Entry>, Refusal> {
        self.balance(account)?;
        let entries = self.history.get(account).map_or(&[][..], Vec::as_slice);
        Ok(entries.iter().rev().take(limit).cloned().collect())
    }

    pub(crate) fn total(&self) -> u128 {
        self.balances
            .values()
            .map(|balance| u128::from(*balance))
            .sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Applies an entry and gives its number.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<u64, Refusal> {
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
        let number = self.next;
        self.next += 1;
        self.numbers.insert(entry.id().to_owned(), number);
        for account in entry.accounts() {
            self.history
                .entry(account.to_owned())
                .or_default()
                .push(entry.clone());
        }
        Ok(number)
    }

    /// Takes back the entry that was applied last.
    pub(crate) fn undo(&mut self, entry: &Entry) {
        match entry {
            Entry::Open { account, .. } => {
                self.balances.remove(account);
            }
            Entry::Transfer {
                from, to, amount, ..
            } => {
                self.move_money(to, from, *amount)
                    .expect("what was moved can be moved back");
            }
        }
        self.next -= 1;
        self.numbers.remove(entry.id());
        for account in entry.accounts() {
            self.history.get_mut(account).map(Vec::pop);
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
    file: File,
    durable_bytes: u64,
    /// The file may hold more than what is durable, since cutting it back failed.
    ragged: bool,
}

impl Journal {
    /// Opens or makes the file, and adds it up.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Book)> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let is_file = file.metadata()?.is_file();
        let (book, durable_bytes) = if is_file {
            recover(&mut file)?
        } else {
            Default::default()
        };
        if is_file {
            file.set_len(durable_bytes)?;
        }
        Ok((
            Self {
                file,
                durable_bytes,
                ragged: false,
            },
            book,
        ))
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
                // A device has no length to cut; the next append tries again before it writes.
                self.ragged = self.cut_back().is_err() && self.file.metadata()?.is_file();
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

/// Adds up the whole lines of a file; gives the book and where its last whole line ends.
fn recover(file: &mut File) -> io::Result<(Book, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let (mut book, mut end) = (Book::default(), 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let bytes = reader.read_until(b'\n', &mut text)?;
        if !text.ends_with(b"\n") {
            return Ok((book, end));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| damaged(end, error))?;
        if line.seq != book.next {
            return Err(damaged(
                end,
                format!("number {} follows {}", line.seq, book.next),
            ));
        }
        book.apply(&line.entry)
            .map_err(|refusal| damaged(end, refusal))?;
        end += bytes as u64;
    }
}

fn damaged(offset: u64, why: impl std::fmt::Display) -> io::Error {
    let message = format!("the journal is damaged at byte {offset}: {why}; restore it from a copy");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
