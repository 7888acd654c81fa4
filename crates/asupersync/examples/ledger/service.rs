//! The ledger service: connections, the book's keeper, and the journal behind it.
//!
//! # Shape
//! The service is a region with two parts: the keeper, which alone changes the book, and a region of connections.
//! Connections send commands to the keeper; it takes as many as are waiting, applies them, writes all their lines with one sync, and only then answers.
//! When the service is cancelled, connections finish the exchange that they are in, then the keeper finds its channel closed and empty, and ends.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use asupersync::fs::{FsError, FsPort};
use asupersync::io::{BufReadExt, BufReader, LineError, WriteExt};
use asupersync::net::{NetError, TcpListener, TcpStream};
use asupersync::sync::{mpsc, oneshot};
use asupersync::{
    BlockingError, CancelKind, Cancelled, Collect, Cx, IntoOutcome, Outcome, PanicPayload,
    RegionOptions, SpawnOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::journal::{Book, Entry, Journal, Line, Refusal};

/// A longer line is refused, and skipped to its end.
pub(crate) const LINE_BYTES_MAX: usize = 4096;
/// As many commands as one sync makes durable.
const BATCH_MAX: usize = 512;
/// As many commands as wait for the keeper.
const QUEUE_MAX: usize = 1024;
/// As many entries as a statement lists unless the client asks for another number.
const STATEMENT_ENTRIES: usize = 20;
/// As many entries as a statement lists at most.
const STATEMENT_ENTRIES_MAX: usize = 1000;

/// What clients may ask for.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
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
    Balance {
        account: String,
    },
    Statement {
        account: String,
        limit: Option<usize>,
    },
}

/// A request on its way to the keeper, and where the answer goes.
struct Command {
    request: Request,
    reply: oneshot::Sender<Value>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the service was stopped")]
    Cancelled(#[from] Cancelled),
    #[error("a part of the service failed")]
    Panicked(#[from] PanicPayload),
    #[error("the journal cannot be used")]
    Journal(#[source] std::io::Error),
    #[error("a job of the journal failed")]
    Blocking(#[from] BlockingError),
    #[error("the host's files cannot be used")]
    Fs(#[from] FsError),
    #[error("the network failed")]
    Net(#[from] NetError),
    #[error("the connection broke")]
    Connection(#[from] std::io::Error),
    #[error("the keeper of the book has ended")]
    KeeperGone,
}

impl LedgerError {
    /// The error and its causes in one line.
    pub(crate) fn told(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |told, cause| format!("{told}: {cause}"))
    }
}

/// What most of the service's parts return.
pub(crate) type End = Result<(), LedgerError>;

/// What the service has seen.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) connections: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) cancelled: Mutex<Vec<(CancelKind, u64)>>,
}

impl Stats {
    fn count_end(&self, end: &Outcome<(), LedgerError>) {
        match end {
            Outcome::Ok(()) => {}
            Outcome::Err(_) | Outcome::Panicked(_) => {
                self.broken.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Cancelled(reason) => {
                let kind = reason.root_cause().kind();
                let mut counts = self
                    .cancelled
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                match counts.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((kind, 1)),
                }
            }
        }
    }
}

/// When the keeper answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Acknowledge {
    /// Once everything that the answer rests on is durable.
    #[default]
    AfterSync,
    /// At once: the defect that a test plants, to see it found.
    #[cfg(test)]
    BeforeSync,
}

/// How a service runs.
pub(crate) struct ServeOptions<'a> {
    /// The journal's path.
    pub(crate) journal: &'a Path,
    pub(crate) stats: &'a Arc<Stats>,
    pub(crate) acknowledge: Acknowledge,
}

/// Serves `listener` with the book in the journal, until cancelled.
pub(crate) async fn serve(
    cx: &Cx,
    listener: &TcpListener,
    options: ServeOptions<'_>,
) -> Outcome<(), LedgerError> {
    let ServeOptions {
        journal,
        stats,
        acknowledge,
    } = options;
    let (path, fs) = (journal.to_owned(), FsPort::of(cx).cloned());
    let fs = match fs {
        Ok(fs) => fs,
        Err(error) => return Outcome::Err(error.into()),
    };
    let opened = cx.blocking(move || Journal::open(&fs, &path)).await;
    let (journal, book) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return Outcome::Err(LedgerError::Journal(error)),
        Err(error) => return End::Err(error.into()).into_outcome(),
    };
    cx.region(async |scope| -> End {
        let (commands, waiting) = mpsc::channel(QUEUE_MAX);
        let keeper = Keeper {
            journal: Arc::new(Mutex::new(journal)),
            book,
            stats: stats.clone(),
            acknowledge,
        };
        let options = SpawnOptions::new().name("keeper");
        scope.spawn_with(options, move |cx: Cx| keeper.keep(cx, waiting));
        accept(scope.cx(), listener, commands, stats)
            .await
            .flatten()
    })
    .await
}

/// Accepts connections and gives each a task; one client's failure is nobody else's.
async fn accept(
    cx: &Cx,
    listener: &TcpListener,
    commands: mpsc::Sender<Command>,
    stats: &Arc<Stats>,
) -> Outcome<(), LedgerError> {
    cx.region_with(
        RegionOptions::new().policy(Collect),
        async |connections| -> End {
            loop {
                let (stream, _) = match listener.accept(connections.cx()).await {
                    Ok(accepted) => accepted,
                    Err(error) if error.is_transient() => {
                        connections
                            .cx()
                            .sleep(std::time::Duration::from_millis(10))
                            .await?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                stats.connections.fetch_add(1, Ordering::Relaxed);
                let (commands, stats) = (commands.clone(), Arc::clone(stats));
                connections.spawn(async move |cx: Cx| {
                    let end = converse(&cx, stream, &commands).await.into_outcome();
                    stats.count_end(&end);
                    End::Ok(())
                });
            }
        },
    )
    .await
}

/// Answers one client, line by line.
async fn converse(cx: &Cx, stream: TcpStream, commands: &mpsc::Sender<Command>) -> End {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines(LINE_BYTES_MAX);
    while let Some(line) = lines.next_line().await {
        // An exchange that has begun is finished, also while the service shuts down.
        cx.shield(async {
            let reply = match line {
                Ok(line) => answer(cx, &line, commands).await?,
                Err(LineError::TooLong { .. }) => refused(
                    "line_too_long",
                    format!("a line has at most {LINE_BYTES_MAX} bytes"),
                ),
                Err(LineError::Io(error)) => return Err(error.into()),
                Err(other) => refused("not_text", other.to_string()),
            };
            let mut text = reply.to_string();
            text.push('\n');
            write.write_all(text.as_bytes()).await?;
            End::Ok(())
        })
        .await?;
        cx.checkpoint()?;
    }
    Ok(())
}

/// Asks the keeper, and gives its reply.
async fn answer(
    cx: &Cx,
    line: &str,
    commands: &mpsc::Sender<Command>,
) -> Result<Value, LedgerError> {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return Ok(refused("malformed", error.to_string())),
    };
    let (reply, mut replied) = oneshot::channel();
    match commands.reserve(cx).await {
        Ok(permit) => permit
            .send(Command { request, reply })
            .map_err(|_| LedgerError::KeeperGone)?,
        Err(_) => {
            cx.checkpoint()?;
            return Err(LedgerError::KeeperGone);
        }
    }
    match replied.recv(cx).await {
        Ok(reply) => Ok(reply),
        Err(_) => {
            cx.checkpoint()?;
            Err(LedgerError::KeeperGone)
        }
    }
}

fn refused(code: &str, message: String) -> Value {
    json!({ "ok": false, "error": code, "message": message })
}

/// Who alone changes the book.
struct Keeper {
    /// Shared with the blocking pool, which holds it while it writes.
    journal: Arc<Mutex<Journal>>,
    book: Book,
    stats: Arc<Stats>,
    acknowledge: Acknowledge,
}

/// Gives the answers of a batch.
fn reply_to(settled: &mut Vec<Settled>) {
    for Settled { reply, answer, .. } in settled.drain(..) {
        // A client that has gone asks again under the same name.
        let _ = reply.send(answer);
    }
}

/// A command of a batch, with what it came to.
struct Settled {
    reply: oneshot::Sender<Value>,
    answer: Value,
    /// Whether the book was changed, which must be durable before the answer is given, or taken back.
    changed: bool,
}

impl Keeper {
    /// Takes commands until nobody can send any more.
    async fn keep(mut self, cx: Cx, mut waiting: mpsc::Receiver<Command>) -> End {
        // Every accepted command is answered, so cancellation only closes the connections.
        cx.shield(async {
            let mut batch = Vec::new();
            loop {
                match waiting.recv_many(&cx, &mut batch, BATCH_MAX).await {
                    Ok(_) => self.commit(&cx, &mut batch).await?,
                    Err(mpsc::RecvError::Closed) => return Ok(()),
                    // The time for cleanup is spent; a service without its keeper must end with it.
                    Err(_) => return Err(LedgerError::KeeperGone),
                }
            }
        })
        .await
    }

    /// Applies a batch, makes it durable with one sync, and then answers.
    async fn commit(&mut self, cx: &Cx, batch: &mut Vec<Command>) -> End {
        let mut lines = Vec::new();
        let mut settled: Vec<Settled> = batch
            .drain(..)
            .map(|command| self.settle(command, &mut lines))
            .collect();
        if !lines.is_empty() {
            match self.acknowledge {
                Acknowledge::AfterSync => {}
                #[cfg(test)]
                Acknowledge::BeforeSync => reply_to(&mut settled),
            }
            self.stats.syncs.fetch_add(1, Ordering::Relaxed);
            let journal = Arc::clone(&self.journal);
            let append = move || {
                let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                journal.append(&lines)
            };
            match cx.blocking(append).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.take_back(&mut settled, &error),
                Err(BlockingError::Cancelled(_)) => return Err(LedgerError::KeeperGone),
                Err(error) => return Err(error.into()),
            }
        }
        reply_to(&mut settled);
        Ok(())
    }

    fn settle(&mut self, command: Command, lines: &mut Vec<u8>) -> Settled {
        let Command { request, reply } = command;
        let before = self.book.len();
        let answer = match request {
            Request::Open {
                id,
                account,
                balance,
            } => self.enter(
                Entry::Open {
                    id,
                    account,
                    balance,
                },
                lines,
            ),
            Request::Transfer {
                id,
                from,
                to,
                amount,
            } => self.enter(
                Entry::Transfer {
                    id,
                    from,
                    to,
                    amount,
                },
                lines,
            ),
            Request::Balance { account } => {
                let balance = self.book.balance(&account);
                balance.map(|balance| json!({ "ok": true, "balance": balance }))
            }
            Request::Statement { account, limit } => {
                let limit = limit
                    .unwrap_or(STATEMENT_ENTRIES)
                    .min(STATEMENT_ENTRIES_MAX);
                let entries = self.book.statement(&account, limit);
                entries.map(|entries| json!({ "ok": true, "entries": entries }))
            }
        };
        Settled {
            reply,
            answer: answer.unwrap_or_else(|refusal| refused(refusal.code(), refusal.to_string())),
            changed: self.book.len() > before,
        }
    }

    /// Applies an entry and writes its line; one that stands in the book is acknowledged again.
    fn enter(&mut self, entry: Entry, lines: &mut Vec<u8>) -> Result<Value, Refusal> {
        let known = self.book.number_of(&entry)?;
        let seq = match known {
            Some(seq) => seq,
            None => self.book.apply(&entry)?,
        };
        let answer = json!({ "ok": true, "id": entry.id(), "seq": seq });
        if known.is_none() {
            serde_json::to_writer(&mut *lines, &Line { seq, entry })
                .expect("an entry is plain data");
            lines.push(b'\n');
        }
        Ok(answer)
    }

    /// Undoes what could not be made durable, the newest first; every answer of the batch may rest on it.
    fn take_back(&mut self, settled: &mut [Settled], error: &std::io::Error) {
        for settled in settled {
            if settled.changed {
                self.book.undo_last();
            }
            settled.answer = refused("storage", format!("nothing was changed: {error}"));
        }
    }
}
