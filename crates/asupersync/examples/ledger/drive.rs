//! The demonstration: clients, mishaps, a signal, and an audit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asupersync::fs::FsPort;
use asupersync::io::{BufReadExt, BufReader, Lines, WriteExt};
use asupersync::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use asupersync::{Cx, FlightConfig, JoinHandle, Outcome, Runtime, RuntimeBuilder, SpawnOptions};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::journal::{Entry, Journal, Line};
use crate::service::{Acknowledge, End, LedgerError, ServeOptions, Stats, serve};

const CLIENTS: usize = 48;
/// Of three clients, one is cut off now and then.
const CUT_CLIENTS: usize = 3;
/// A client that is cut off loses one request of so many.
const CUT_ONE_OF: u64 = 20;

/// What the clients know.
#[derive(Default)]
struct Seen {
    acknowledged: Mutex<BTreeSet<String>>,
    latencies: Mutex<Vec<Duration>>,
    answered: AtomicU64,
    refused: AtomicU64,
    cuts: AtomicU64,
}

/// What the run was like.
#[derive(Default)]
struct Story {
    seen: Arc<Seen>,
    stats: Arc<Stats>,
    restart: Mutex<Duration>,
    running: Mutex<Duration>,
}

/// Runs everything and gives 0 if the audit holds; the flight record goes into a file, if one is named.
pub(crate) fn demonstrate(record: Option<&Path>) -> ExitCode {
    let folder = std::env::temp_dir().join(format!("asupersync-ledger-{}", std::process::id()));
    let end = std::fs::create_dir_all(&folder)
        .map_err(LedgerError::Connection)
        .and_then(|()| drive_and_audit(&folder.join("journal.ndjson"), record));
    // The folder is in the system's place for temporary files; one that stays does no harm.
    let _ = std::fs::remove_dir_all(&folder);
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", error.told());
            ExitCode::from(1)
        }
    }
}

fn drive_and_audit(journal: &Path, record: Option<&Path>) -> Result<bool, LedgerError> {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ledger/transfers.ndjson");
    let input = std::fs::read_to_string(input)?;
    let story = Arc::new(Story::default());
    let mut builder = RuntimeBuilder::new();
    if record.is_some() {
        builder = builder.flight_recorder(FlightConfig::default());
    }
    let mut runtime = builder.build().map_err(std::io::Error::other)?;
    let end = runtime.block_on(async |cx| {
        conduct(&cx, &input, journal.to_owned(), &story)
            .await
            .into_result()
    });
    match end {
        Outcome::Cancelled(_) => {}
        Outcome::Ok(()) => eprintln!("ledger: the signal came too late to interrupt anything"),
        Outcome::Err(error) => return Err(error),
        Outcome::Panicked(payload) => return Err(payload.into()),
    }
    print_table(&runtime, &story);
    if let (Some(path), Some(recorder)) = (record, runtime.flight_recorder()) {
        recorder.save(path).map_err(std::io::Error::other)?;
    }
    audit(
        journal,
        &story.seen,
        runtime.last_shutdown().unfinished.len(),
    )
}

/// Starts the service and the clients, and lets things happen to them.
async fn conduct(
    cx: &Cx,
    input: &str,
    journal: PathBuf,
    story: &Arc<Story>,
) -> Outcome<(), LedgerError> {
    let lines: Vec<&str> = input.lines().collect();
    let opens = lines
        .iter()
        .take_while(|line| line.contains(r#""op":"open""#))
        .count();
    let (opens, transfers) = lines.split_at(opens);
    cx.region(async |scope| -> End {
        let cx = scope.cx();
        let listener = Arc::new(TcpListener::bind(cx, "127.0.0.1:0").await?);
        let address = listener.local_addr()?;
        let start = || {
            let (listener, journal, stats) = (
                Arc::clone(&listener),
                journal.clone(),
                Arc::clone(&story.stats),
            );
            scope.spawn_with(SpawnOptions::new().name("service"), async move |cx: Cx| {
                let options = ServeOptions {
                    journal: &journal,
                    stats: &stats,
                    acknowledge: Acknowledge::AfterSync,
                };
                serve(&cx, &listener, options).await
            })
        };
        let mut service: JoinHandle<(), LedgerError> = start();
        // Accounts first: a transfer needs both of its own.
        send_all(cx, address, opens, 8, &story.seen)
            .await
            .flatten()?;
        let begun = cx.now();
        let clients = split(transfers, CLIENTS);
        let seen = Arc::clone(&story.seen);
        let total = lines.len() as u64;
        scope.spawn(async move |cx: Cx| show_progress(&cx, &seen, total).await);
        for (number, share) in clients.into_iter().enumerate() {
            let seen = Arc::clone(&story.seen);
            let cuts = number % CUT_CLIENTS == 0;
            scope.spawn(async move |cx: Cx| client(&cx, address, share, cuts, &seen).await);
        }
        wait_for(cx, &story.seen, total / 3).await?;
        let restarted = cx.now();
        service.cancel();
        let _ = service.join(cx).await;
        service = start();
        *lock(&story.restart) = cx.now() - restarted;
        wait_for(cx, &story.seen, total * 3 / 4).await?;
        *lock(&story.running) = cx.now() - begun;
        interrupt_self()?;
        service.join(cx).await.flatten()
    })
    .await
}

/// Sends this process the signal that a service manager would send.
fn interrupt_self() -> End {
    use rustix::process::{Signal, getpid, kill_process};
    kill_process(getpid(), Signal::TERM).map_err(|error| LedgerError::Connection(error.into()))
}

async fn wait_for(cx: &Cx, seen: &Seen, answered: u64) -> End {
    while seen.answered.load(Ordering::Relaxed) < answered {
        cx.sleep(Duration::from_millis(2)).await?;
    }
    Ok(())
}

async fn show_progress(cx: &Cx, seen: &Seen, total: u64) -> End {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests answered, {elapsed}")
        .expect("the template is valid");
    let bar = ProgressBar::new(total).with_style(style);
    while cx.sleep(Duration::from_millis(50)).await.is_ok() {
        bar.set_position(seen.answered.load(Ordering::Relaxed));
    }
    bar.abandon();
    Ok(())
}

fn split(lines: &[&str], shares: usize) -> Vec<Vec<String>> {
    let mut split = vec![Vec::new(); shares];
    for (n, line) in lines.iter().enumerate() {
        split[n % shares].push((*line).to_owned());
    }
    split
}

async fn send_all(
    cx: &Cx,
    address: std::net::SocketAddr,
    lines: &[&str],
    clients: usize,
    seen: &Arc<Seen>,
) -> Outcome<(), LedgerError> {
    cx.region(async |scope| -> End {
        for share in split(lines, clients) {
            let seen = Arc::clone(seen);
            scope.spawn(async move |cx: Cx| client(&cx, address, share, false, &seen).await);
        }
        Ok(())
    })
    .await
}

/// One client's connection.
struct Connection {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

/// Sends requests one by one, each until it is answered.
async fn client(
    cx: &Cx,
    address: std::net::SocketAddr,
    requests: Vec<String>,
    cuts: bool,
    seen: &Seen,
) -> End {
    let mut connection = None;
    for request in requests {
        if cuts && cx.random_u64() % CUT_ONE_OF == 0 {
            cut_off(cx, address, &mut connection, &request).await?;
            seen.cuts.fetch_add(1, Ordering::Relaxed);
        }
        let begun = cx.now();
        loop {
            match exchange(cx, address, &mut connection, &request).await {
                Ok(reply) if reply["error"] == "storage" => {}
                Ok(reply) => {
                    note(seen, &reply, cx.now() - begun);
                    break;
                }
                // The connection broke: nobody knows whether the request was done, so it is asked again.
                Err(_) => connection = None,
            }
            cx.sleep(Duration::from_millis(5)).await?;
        }
    }
    Ok(())
}

async fn connect(cx: &Cx, address: std::net::SocketAddr) -> Result<Connection, LedgerError> {
    let stream = TcpStream::connect(cx, address).await?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok(Connection {
        lines: BufReader::new(read).lines(1 << 16),
        write,
    })
}

async fn exchange(
    cx: &Cx,
    address: std::net::SocketAddr,
    connection: &mut Option<Connection>,
    request: &str,
) -> Result<Value, LedgerError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(cx, address).await?),
    };
    connection
        .write
        .write_all(format!("{request}\n").as_bytes())
        .await?;
    match connection.lines.next_line().await {
        Some(Ok(line)) => serde_json::from_str(&line).map_err(|_| LedgerError::KeeperGone),
        Some(Err(_)) | None => Err(LedgerError::KeeperGone),
    }
}

/// Breaks off in the middle of a request, or before its answer.
async fn cut_off(
    cx: &Cx,
    address: std::net::SocketAddr,
    connection: &mut Option<Connection>,
    request: &str,
) -> End {
    let mut broken = match connection.take() {
        Some(connection) => connection,
        None => connect(cx, address).await?,
    };
    let whole = format!("{request}\n");
    let bytes = if cx.random_u64().is_multiple_of(2) {
        whole.len()
    } else {
        whole.len() / 2
    };
    // Whether it arrives is just what this client will never know.
    let _ = broken.write.write_all(&whole.as_bytes()[..bytes]).await;
    Ok(())
}

fn note(seen: &Seen, reply: &Value, latency: Duration) {
    match reply["id"].as_str() {
        Some(id) => {
            lock(&seen.acknowledged).insert(id.to_owned());
        }
        None => {
            seen.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
    lock(&seen.latencies).push(latency);
    seen.answered.fetch_add(1, Ordering::Relaxed);
}

fn print_table(runtime: &Runtime, story: &Story) {
    let (seen, stats) = (&story.seen, &story.stats);
    let mut latencies = lock(&seen.latencies).clone();
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len().saturating_sub(1) as f64 * share) as usize;
        latencies.get(index).copied().unwrap_or_default()
    };
    let running = *lock(&story.running);
    let answered = seen.answered.load(Ordering::Relaxed);
    let per_second = answered as f64 / running.as_secs_f64().max(f64::EPSILON);
    let cancelled: Vec<String> = lock(&stats.cancelled)
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    println!();
    println!(
        "requests answered       {answered} ({} refused)",
        seen.refused.load(Ordering::Relaxed)
    );
    println!("throughput              {per_second:.0} requests/s");
    println!("latency p50 / p99       {:.2?} / {:.2?}", at(0.5), at(0.99));
    println!(
        "syncs of the journal    {}",
        stats.syncs.load(Ordering::Relaxed)
    );
    println!(
        "clients cut off         {}",
        seen.cuts.load(Ordering::Relaxed)
    );
    println!(
        "connections             {}",
        stats.connections.load(Ordering::Relaxed)
    );
    println!("connections cancelled   {}", cancelled.join(", "));
    println!("restart of the service  {:.2?}", *lock(&story.restart));
    println!(
        "shutdown                {:.2?}",
        runtime.last_shutdown().took
    );
    println!("processor time          {:.3} s", processor_seconds());
}

/// Of all threads of the process, so far.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Compares what was acknowledged with what the journal holds.
fn audit(journal: &Path, seen: &Seen, tasks_left: usize) -> Result<bool, LedgerError> {
    let (_, book) = Journal::open(&FsPort::os(), journal).map_err(LedgerError::Journal)?;
    let text = std::fs::read_to_string(journal)?;
    let (mut names, mut duplicated, mut opened) = (BTreeSet::new(), 0, 0_u128);
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).map_err(std::io::Error::from)?;
        if let Entry::Open { balance, .. } = &line.entry {
            opened += u128::from(*balance);
        }
        duplicated += usize::from(!names.insert(line.entry.id().to_owned()));
    }
    let acknowledged = lock(&seen.acknowledged);
    let lost = acknowledged.difference(&names).count();
    let sum = if book.total() == opened {
        "unchanged"
    } else {
        "CHANGED"
    };
    println!(
        "ledger: {} acknowledged, {} in the journal, {lost} lost, {duplicated} duplicated, \
         {tasks_left} tasks left, sum of balances {sum}",
        acknowledged.len(),
        book.len(),
    );
    Ok(lost == 0 && duplicated == 0 && tasks_left == 0 && book.total() == opened)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
