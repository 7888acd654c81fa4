//! A service over connections that break at random points never hangs and never loses what it acknowledged.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::Cx;
use asupersync_lab::{
    Faults, LabConfig, LabNet, LabReport, LabRuntime, Latency, NetConfig, NetFaults,
};
use asupersync_net::{TcpListener, TcpStream};

use crate::lab_network::{End, TestError};

const SEEDS: u64 = 100;
const CLIENTS: u32 = 4;
const RECORDS: u32 = 30;
const BLOB: usize = 3000;

/// How often each record was stored, under its client and number.
type Store = Arc<Mutex<BTreeMap<(u32, u32), u32>>>;

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 4000))
}

/// A record: client, number, and bytes that follow from them.
fn record(client: u32, number: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOB);
    bytes.extend(client.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    let fill = client.wrapping_mul(31).wrapping_add(number);
    bytes.resize(BLOB, fill.to_be_bytes()[3]);
    bytes
}

async fn serve_one(mut stream: TcpStream, store: Store) -> Result<(), std::io::Error> {
    let mut bytes = vec![0; BLOB];
    loop {
        stream
            .read_exact(&mut bytes)
            .await
            .map_err(std::io::Error::other)?;
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (client, number) = (word(0), word(4));
        assert!(bytes == record(client, number), "bytes were lost or mixed");
        *store
            .lock()
            .expect("nobody panics")
            .entry((client, number))
            .or_default() += 1;
        stream.write_all(&number.to_be_bytes()).await?;
    }
}

async fn serve(cx: Cx, listener: TcpListener, store: Store) -> End {
    let end = cx
        .region(async |scope| {
            loop {
                let (stream, _) = listener.accept(scope.cx()).await?;
                let store = Arc::clone(&store);
                scope.spawn(async move |_: Cx| {
                    // A broken connection is the client's business.
                    let _broken = serve_one(stream, store).await;
                    End::Ok(())
                });
            }
            #[expect(unreachable_code, reason = "it names the error type")]
            End::Ok(())
        })
        .await;
    Ok(end.into_result()?)
}

/// Sends its records in order, over a new connection whenever one breaks; gives what was acknowledged and how often a connection broke.
async fn client(cx: Cx, name: u32) -> End<u32> {
    let mut next = 0;
    let mut broken = 0;
    while next < RECORDS {
        let mut stream = match TcpStream::connect(&cx, address()).await {
            Ok(stream) => stream,
            Err(error) => {
                cx.checkpoint()?;
                broken += 1;
                assert!(broken < 10_000, "{error}");
                continue;
            }
        };
        while next < RECORDS {
            let mut answer = [0; 4];
            let sent = async {
                stream.write_all(&record(name, next)).await?;
                stream
                    .read_exact(&mut answer)
                    .await
                    .map_err(std::io::Error::other)
            };
            if sent.await.is_err() {
                cx.checkpoint()?;
                broken += 1;
                break;
            }
            assert_eq!(u32::from_be_bytes(answer), next);
            next += 1;
        }
    }
    Ok(broken)
}

fn run(seed: u64) -> (LabReport<u32, TestError>, Store) {
    let shortest = Duration::from_micros(300 * (seed % 3));
    let net = NetConfig::default()
        .latency(Latency::uniform(
            shortest,
            shortest + Duration::from_micros(200 * (seed % 5)),
        ))
        .buffer_bytes(1024);
    let faults = Faults::none()
        .net(NetFaults::none().reset(0.01))
        .at_most(u32::MAX);
    let store = Store::default();
    let kept = Arc::clone(&store);
    let lab = LabRuntime::new(LabConfig::default().seed(seed).net(net).faults(faults));
    let report = lab.run(async |cx| {
        let listener = TcpListener::bind(&cx, address()).await?;
        let end = cx
            .region(async |scope| {
                let server = scope.spawn(async move |cx| serve(cx, listener, store).await);
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|name| scope.spawn(async move |cx| client(cx, name).await))
                    .collect();
                let trouble = scope.spawn(async |cx: Cx| {
                    loop {
                        cx.sleep(Duration::from_micros(500 + cx.random_u64() % 5000))
                            .await?;
                        LabNet::of(&cx)
                            .expect("the lab has a network")
                            .reset_random();
                    }
                    #[expect(unreachable_code, reason = "it names the error type")]
                    End::Ok(())
                });
                let mut broken = 0;
                for client in clients {
                    broken += client.join(scope.cx()).await.into_result()?;
                }
                trouble.cancel();
                server.cancel();
                let _cancelled = (
                    trouble.join(scope.cx()).await,
                    server.join(scope.cx()).await,
                );
                let net = LabNet::of(scope.cx()).expect("the lab has a network");
                assert!(net.connections().is_empty(), "{:?}", net.connections());
                End::Ok(broken)
            })
            .await;
        End::Ok(end.into_result()?)
    });
    (report, kept)
}

#[test]
fn resets_at_random_points_neither_hang_nor_lose_what_was_acknowledged() {
    let mut broken = 0;
    let mut repeated = 0;
    for seed in 0..SEEDS {
        let (report, store) = run(seed);
        report.assert_clean();
        let failure = format!("seed {seed}: {:?}", report.outcome);
        broken += report.outcome.ok().expect(&failure);
        let store = store.lock().expect("nobody panics");
        for client in 0..CLIENTS {
            for number in 0..RECORDS {
                let stored = store.get(&(client, number)).copied().unwrap_or_default();
                assert!(
                    stored > 0,
                    "seed {seed}: record {number} of client {client} is lost"
                );
                repeated += u32::from(stored > 1);
            }
        }
    }
    // The faults did strike, also between a record's arrival and its acknowledgement.
    assert!(broken > 1000, "only {broken} connections broke");
    assert!(repeated > 10, "only {repeated} acknowledgements were lost");
}

#[test]
fn a_seed_gives_the_same_faults_byte_for_byte() {
    for seed in [3, 14] {
        let text = |(report, _): (LabReport<u32, TestError>, Store)| report.trace.to_text();
        let (first, second) = (text(run(seed)), text(run(seed)));
        assert!(first.contains("tcp.reset"));
        assert!(first == second, "two runs of seed {seed} differ");
    }
    let (one, other) = (run(1).0, run(2).0);
    assert!(one.trace.to_text() != other.trace.to_text());
}
