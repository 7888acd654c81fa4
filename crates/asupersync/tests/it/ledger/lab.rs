//! The service under the lab: resets, cancelled clients and restarts at moments drawn from a seed.
//!
//! All 200 seeds run each time; `ASUPERSYNC_SEED=<seed>` runs one of them.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync::io::{BufReadExt, BufReader, Lines, WriteExt};
use asupersync::kernel::Event;
use asupersync::lab::{Faults, LabDisk, LabNet, LabReport, Latency, NetConfig, NetFaults};
use asupersync::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use asupersync::{CancelKind, Cx, JoinHandle, LabConfig, LabRuntime, Outcome, Scope, SpawnOptions};
use serde_json::Value;

use super::audit::{Acknowledged, Tail, audit_bytes, note};
use crate::service::{Acknowledge, End, LedgerError, ServeOptions, Stats, serve};

const SEEDS: u64 = 200;
const CLIENTS: usize = 5;
const REQUESTS: usize = 24;
const MISHAPS: u64 = 14;
/// The time for cleanup after a cancelled parent, and the grace.
const CLEANUP: Duration = Duration::from_secs(11);
const ADDRESS: &str = "127.0.0.1:7070";
const JOURNAL: &str = "journal";

/// What outlives clients and services.
#[derive(Default)]
struct World {
    /// What the journal held at the end.
    journal: Mutex<Vec<u8>>,
    /// Each client's requests that were not answered.
    work: Vec<Mutex<VecDeque<String>>>,
    acknowledged: Mutex<Acknowledged>,
    refused: Mutex<BTreeSet<String>>,
    stats: Arc<Stats>,
    seen: Seen,
}

/// How often things happened, so that a test in which nothing happens fails.
#[derive(Default, Debug)]
struct Seen {
    resets: AtomicU64,
    cancelled_clients: AtomicU64,
    restarts: AtomicU64,
    cuts: AtomicU64,
    broken: AtomicU64,
    asked_again: AtomicU64,
    stopped_in_flight: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A client's day: accounts of its own and one that all open, then transfers and questions.
fn requests(client: usize) -> VecDeque<String> {
    let mut requests = VecDeque::from([
        format!(r#"{{"op":"open","id":"o{client}","account":"a{client}","balance":1000}}"#),
        r#"{"op":"open","id":"shared","account":"shared","balance":50}"#.to_owned(),
    ]);
    for n in 0..REQUESTS {
        let other = (client + 1 + n % (CLIENTS - 1)) % CLIENTS;
        requests.push_back(match n % 8 {
            6 => format!(r#"{{"op":"balance","account":"a{other}"}}"#),
            7 => format!(r#"{{"op":"statement","account":"a{client}"}}"#),
            5 => format!(r#"{{"op":"transfer","id":"t{client}-{n}","from":"shared","to":"a{client}","amount":30}}"#),
            _ => format!(r#"{{"op":"transfer","id":"t{client}-{n}","from":"a{client}","to":"a{other}","amount":90}}"#),
        });
    }
    requests
}

/// Runs the whole story under a seed, and audits.
#[track_caller]
fn run(seed: u64) -> (LabReport<(), LedgerError>, Arc<World>) {
    let world = Arc::new(World {
        work: (0..CLIENTS)
            .map(|client| Mutex::new(requests(client)))
            .collect(),
        ..World::default()
    });
    let net = NetConfig::default().latency(Latency::uniform(
        Duration::from_millis(1),
        Duration::from_millis(3),
    ));
    let faults = Faults::none()
        .net(NetFaults::none().reset(0.005))
        .at_most(u32::MAX);
    let config = LabConfig::default().seed(seed).net(net).faults(faults);
    let report = LabRuntime::new(config).run(async |cx| {
        let end = story(&cx, &world).await;
        let disk = LabDisk::of(&cx).expect("the lab has disks");
        *world.journal.lock().unwrap() = disk.read(JOURNAL).unwrap_or_default();
        end
    });
    report.assert_clean();
    match &report.outcome {
        Outcome::Ok(()) | Outcome::Cancelled(_) => {}
        Outcome::Err(error) => panic!("seed {seed}: {}", error.told()),
        Outcome::Panicked(payload) => panic!("seed {seed}: {payload}"),
    }
    let journal = audit_bytes(
        &world.journal.lock().unwrap(),
        &world.acknowledged.lock().unwrap(),
        Tail::Whole,
    );
    // Who was refused at last had not been served before.
    let refused = world.refused.lock().unwrap();
    assert!(journal.is_disjoint(&refused), "seed {seed}: {refused:?}");
    drop(refused);
    (report, world)
}

async fn story(cx: &Cx, world: &Arc<World>) -> Outcome<(), LedgerError> {
    cx.region(async |scope| -> End {
        let cx = scope.cx();
        let mut listener = Arc::new(TcpListener::bind(cx, ADDRESS).await?);
        let address = listener.local_addr()?;
        let mut service = start(&scope, &listener, world);
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|number| Some(hire(&scope, number, address, world)))
            .collect();
        for _ in 0..MISHAPS {
            cx.sleep(Duration::from_micros(cx.random_u64() % 12_000))
                .await?;
            match cx.random_u64() % 7 {
                0..3 => {
                    let net = LabNet::of(cx).expect("the lab has a network");
                    net.reset_random()
                        .iter()
                        .for_each(|_| count(&world.seen.resets));
                }
                3..5 => {
                    let number = cx.random_u64() as usize % CLIENTS;
                    let client = clients[number]
                        .take()
                        .expect("a client is replaced at once");
                    client.cancel();
                    let end = client.join(cx).await;
                    if let Outcome::Err(_) | Outcome::Panicked(_) = end {
                        return end.flatten();
                    }
                    count(&world.seen.cancelled_clients);
                    clients[number] = Some(hire(&scope, number, address, world));
                }
                _ => {
                    let kinds = [CancelKind::User, CancelKind::Deadline, CancelKind::Shutdown];
                    service.cancel_with(kinds[cx.random_u64() as usize % kinds.len()]);
                    let end = service.join(cx).await;
                    assert!(end.is_cancelled(), "the service ended with {end:?}");
                    count(&world.seen.restarts);
                    if cx.random_u64() % 2 == 0 {
                        // Nobody listens for a while.
                        drop(listener);
                        cx.sleep(Duration::from_micros(cx.random_u64() % 5_000))
                            .await?;
                        listener = Arc::new(TcpListener::bind(cx, ADDRESS).await?);
                    }
                    service = start(&scope, &listener, world);
                }
            }
        }
        if cx.random_u64() % 2 == 0 {
            if world
                .work
                .iter()
                .any(|work| !work.lock().unwrap().is_empty())
            {
                count(&world.seen.stopped_in_flight);
            }
            scope.cancel(CancelKind::Shutdown);
            cx.checkpoint()?;
        }
        for client in clients.into_iter().flatten() {
            client.join(cx).await.flatten()?;
        }
        service.cancel();
        let end = service.join(cx).await;
        assert!(end.is_cancelled(), "the service ended with {end:?}");
        Ok(())
    })
    .await
}

type Task = JoinHandle<(), LedgerError>;

fn start(scope: &Scope<'_, LedgerError>, listener: &Arc<TcpListener>, world: &Arc<World>) -> Task {
    let (listener, world) = (Arc::clone(listener), Arc::clone(world));
    scope.spawn_with(SpawnOptions::new().name("service"), async move |cx: Cx| {
        let options = ServeOptions {
            journal: Path::new(JOURNAL),
            stats: &world.stats,
            acknowledge: Acknowledge::AfterSync,
        };
        serve(&cx, &listener, options).await
    })
}

fn hire(
    scope: &Scope<'_, LedgerError>,
    number: usize,
    address: SocketAddr,
    world: &Arc<World>,
) -> Task {
    let world = Arc::clone(world);
    scope.spawn_with(SpawnOptions::new().name("client"), async move |cx: Cx| {
        client(&cx, number, address, &world).await
    })
}

pub(super) struct Connection {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

/// Asks for each thing until it is answered; a client that is cancelled leaves the rest to its successor.
async fn client(cx: &Cx, number: usize, address: SocketAddr, world: &World) -> End {
    let mut connection = None;
    loop {
        let request = world.work[number].lock().unwrap().front().cloned();
        let Some(request) = request else {
            return Ok(());
        };
        if cx.random_u64() % 12 == 0 {
            let mut cut = connect_once(cx, address, &mut connection).await;
            if let Ok(cut) = &mut cut {
                let bytes = cx.random_u64() as usize % (request.len() + 1);
                let _ = cut.write.write_all(&request.as_bytes()[..bytes]).await;
                count(&world.seen.cuts);
            }
            connection = None;
        }
        match exchange(cx, address, &mut connection, &request).await {
            Ok(reply) => {
                hear(world, &request, &reply);
                if cx.random_u64() % 10 == 0 {
                    // It may have been lost on the way, for all that the client knows.
                    count(&world.seen.asked_again);
                } else {
                    world.work[number].lock().unwrap().pop_front();
                }
            }
            Err(_) => {
                count(&world.seen.broken);
                connection = None;
                cx.sleep(Duration::from_millis(2)).await?;
            }
        }
    }
}

fn hear(world: &World, request: &str, reply: &Value) {
    let request: Value = serde_json::from_str(request).unwrap();
    let id = request["id"].as_str();
    match reply["error"].as_str() {
        None => {
            assert_eq!(reply["ok"], true, "{reply}");
            assert_eq!(
                reply["id"], request["id"],
                "the answer is another request's"
            );
            if let Some(id) = id {
                world.refused.lock().unwrap().remove(id);
                note(&mut world.acknowledged.lock().unwrap(), reply);
            }
        }
        Some("overdraft" | "unknown_account") => {
            if let Some(id) = id {
                let known = world.acknowledged.lock().unwrap().contains_key(id);
                assert!(!known, "{id} was acknowledged and is now refused");
                world.refused.lock().unwrap().insert(id.to_owned());
            }
        }
        Some(_) => panic!("{request}: {reply}"),
    }
}

async fn connect_once<'a>(
    cx: &Cx,
    address: SocketAddr,
    connection: &'a mut Option<Connection>,
) -> Result<&'a mut Connection, LedgerError> {
    if connection.is_none() {
        let (read, write) = TcpStream::connect(cx, address).await?.into_split();
        *connection = Some(Connection {
            lines: BufReader::new(read).lines(1 << 20),
            write,
        });
    }
    connection.as_mut().ok_or(LedgerError::KeeperGone)
}

pub(super) async fn exchange(
    cx: &Cx,
    address: SocketAddr,
    connection: &mut Option<Connection>,
    request: &str,
) -> Result<Value, LedgerError> {
    let connection = connect_once(cx, address, connection).await?;
    connection
        .write
        .write_all(format!("{request}\n").as_bytes())
        .await?;
    match connection.lines.next_line().await {
        Some(Ok(line)) => Ok(serde_json::from_str(&line).map_err(std::io::Error::from)?),
        Some(Err(_)) | None => Err(LedgerError::KeeperGone),
    }
}

#[test]
fn the_audit_holds_under_resets_cancellations_and_restarts() {
    let seeds = match std::env::var("ASUPERSYNC_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("the seed is a number");
            seed..=seed
        }
        Err(_) => 0..=SEEDS - 1,
    };
    let all = seeds.start() != seeds.end();
    let total = Seen::default();
    for seed in seeds {
        let (_, world) = run(seed);
        let seen = &world.seen;
        for (sum, one) in [
            (&total.resets, &seen.resets),
            (&total.cancelled_clients, &seen.cancelled_clients),
            (&total.restarts, &seen.restarts),
            (&total.cuts, &seen.cuts),
            (&total.broken, &seen.broken),
            (&total.asked_again, &seen.asked_again),
            (&total.stopped_in_flight, &seen.stopped_in_flight),
        ] {
            sum.fetch_add(one.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    println!("{total:?}");
    for counter in [
        &total.resets,
        &total.cancelled_clients,
        &total.restarts,
        &total.cuts,
        &total.broken,
        &total.asked_again,
        &total.stopped_in_flight,
    ] {
        assert!(
            !all || counter.load(Ordering::Relaxed) >= SEEDS / 4,
            "too little happened: {total:?}"
        );
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 4] {
        let (first, again) = (run(seed).0, run(seed).0);
        assert!(
            first.trace.to_text() == again.trace.to_text(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_client_that_never_reads_holds_up_nobody_and_ends_with_the_service() {
    let world = Arc::new(World::default());
    let report = LabRuntime::new(LabConfig::default().seed(1)).run(async |cx| {
        let end = cx
            .region(async |scope| -> End {
                let cx = scope.cx();
                let listener = Arc::new(TcpListener::bind(cx, ADDRESS).await?);
                let address = listener.local_addr()?;
                let service = start(&scope, &listener, &world);
                let flooding = scope.spawn(async move |cx: Cx| -> End {
                    let mut stream = TcpStream::connect(&cx, address).await?;
                    while stream.write_all(b"answer this, and this\n").await.is_ok() {}
                    Ok(())
                });
                // By then it is stuck, since nobody takes the answers.
                cx.sleep(Duration::from_secs(60)).await?;
                assert!(!flooding.is_finished());
                let mut connection = None;
                let reply = exchange(cx, address, &mut connection, "hello").await?;
                assert_eq!(reply["error"], "malformed");
                let asked = cx.now();
                service.cancel();
                let end = service.join(cx).await;
                assert!(end.is_cancelled(), "the service ended with {end:?}");
                let took = cx.now() - asked;
                assert!(took <= CLEANUP, "it took {took:?}");
                flooding.join(cx).await.flatten()
            })
            .await;
        end.flatten()
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

/// A client that counts its answers, and those that came after `stopping`, until the connection ends.
async fn count_answers(
    cx: &Cx,
    number: usize,
    address: SocketAddr,
    (stopping, answers, late): &(AtomicU64, AtomicU64, AtomicU64),
) -> End {
    let mut connection = None;
    for n in 0.. {
        let request =
            format!(r#"{{"op":"open","id":"{number}-{n}","account":"{number}-{n}","balance":1}}"#);
        match exchange(cx, address, &mut connection, &request).await {
            Ok(reply) => assert_eq!(reply["ok"], true, "{reply}"),
            Err(_) => break,
        }
        count(answers);
        late.fetch_add(stopping.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn every_request_that_the_service_took_is_answered_before_it_ends() {
    let mut late = 0;
    for seed in 0..60 {
        let world = Arc::new(World::default());
        let counts = Arc::new(<(AtomicU64, AtomicU64, AtomicU64)>::default());
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx| {
            let end = cx
                .region(async |scope| -> End {
                    let cx = scope.cx();
                    let listener = Arc::new(TcpListener::bind(cx, ADDRESS).await?);
                    let address = listener.local_addr()?;
                    let service = start(&scope, &listener, &world);
                    for number in 0..12 {
                        let counts = Arc::clone(&counts);
                        scope.spawn(async move |cx: Cx| {
                            count_answers(&cx, number, address, &counts).await
                        });
                    }
                    for _ in 0..100 + cx.random_u64() % 400 {
                        cx.yield_now().await?;
                    }
                    counts.0.store(1, Ordering::Relaxed);
                    service.cancel_with(CancelKind::Shutdown);
                    let end = service.join(cx).await;
                    assert!(end.is_cancelled(), "the service ended with {end:?}");
                    Ok(())
                })
                .await;
            end.flatten()
        });
        report.assert_clean();
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        let is_send = |event: &&Event| matches!(event, Event::Operation { name, .. } if **name == *"mpsc.send");
        let taken = report.trace.iter().filter(is_send).count() as u64;
        assert_eq!(counts.1.load(Ordering::Relaxed), taken, "seed {seed}");
        late += counts.2.load(Ordering::Relaxed);
    }
    assert!(
        late > 60,
        "only {late} answers came after the service was told to stop"
    );
}
