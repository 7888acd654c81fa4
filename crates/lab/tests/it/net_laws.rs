//! What no mixture of faults breaks: a stream's bytes are those that were written, in their order, up to some point; and a schedule replays them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{
    Faults, LabConfig, LabEnd, LabReport, LabRuntime, Latency, NetConfig, NetFaults,
};
use asupersync_net::{TcpListener, TcpStream};
use proptest::prelude::*;

use crate::net_decisions::TestError;
use crate::net_faults::{MS, faults_in};
use crate::net_partitions::{CLIENT, SERVER, connect};

/// What one connection's ends have written and heard.
#[derive(Clone, Default, Debug)]
struct Talk {
    asked: Vec<u8>,
    heard: Vec<u8>,
    echoed: Vec<u8>,
    answered: Vec<u8>,
}

/// By the client's address.
type Talks = Arc<Mutex<BTreeMap<SocketAddr, Talk>>>;

fn note(talks: &Talks, client: SocketAddr, change: impl FnOnce(&mut Talk)) {
    let mut talks = talks.lock().expect("nobody panics");
    change(talks.entry(client).or_default());
}

/// A byte that tells its connection and place from others.
fn byte(client: SocketAddr, place: usize) -> u8 {
    let word = (u64::from(client.port()) << 32 | place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word.to_be_bytes()[0]
}

async fn echo(mut stream: TcpStream, client: SocketAddr, talks: Talks) -> Result<(), TestError> {
    let mut buf = [0; 64];
    loop {
        let count = stream.read(&mut buf).await?;
        if count == 0 {
            return Ok(());
        }
        note(&talks, client, |talk| talk.heard.extend(&buf[..count]));
        let mut rest = &buf[..count];
        while !rest.is_empty() {
            let written = stream.write(rest).await?;
            note(&talks, client, |talk| talk.echoed.extend(&rest[..written]));
            rest = &rest[written..];
        }
    }
}

/// Writes, with pauses, while another task hears the answers.
async fn ask(cx: &Cx, talks: &Talks) -> Result<(), TestError> {
    let stream = connect(cx, CLIENT, SERVER).await?;
    let own = stream.local_addr()?;
    let (mut reader, mut writer) = stream.into_split();
    let answers = Arc::clone(talks);
    let end = cx.region(async |scope: Scope<'_, TestError>| {
        scope.spawn(async move |_: Cx| {
            let mut buf = [0; 64];
            loop {
                let count = reader.read(&mut buf).await?;
                if count == 0 {
                    return Ok::<_, TestError>(());
                }
                note(&answers, own, |talk| talk.answered.extend(&buf[..count]));
            }
        });
        let mut place = 0;
        for round in 0..4 {
            let bytes: Vec<u8> = (0..50).map(|index| byte(own, place + index)).collect();
            let count = writer.write(&bytes).await?;
            note(talks, own, |talk| talk.asked.extend(&bytes[..count]));
            place += count;
            if round % 2 == 1 {
                scope.cx().sleep(MS * 10).await?;
            }
        }
        writer.close().await?;
        Ok::<_, TestError>(())
    });
    let told = |error| TestError::Io(std::io::Error::other(format!("{error:?}")));
    end.await.into_result().map_err(told)
}

fn run(config: LabConfig) -> (LabReport<(), TestError>, Vec<Talk>) {
    let talks = Talks::default();
    let lab = LabRuntime::new(config);
    let report = lab.run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        cx.region(async |scope: Scope<'_, TestError>| {
            let all = Arc::clone(&talks);
            let server = scope.spawn(async move |cx: Cx| {
                let accepts = cx.region(async |scope: Scope<'_, TestError>| {
                    loop {
                        let (stream, client) = listener.accept(scope.cx()).await?;
                        let talks = Arc::clone(&all);
                        scope.spawn(async move |_: Cx| {
                            let _broken = echo(stream, client, talks).await;
                            Ok::<_, TestError>(())
                        });
                    }
                    #[expect(unreachable_code, reason = "it names the error type")]
                    Ok::<(), TestError>(())
                });
                accepts.await
            });
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    let talks = Arc::clone(&talks);
                    scope.spawn(async move |cx: Cx| {
                        let _broken = ask(&cx, &talks).await;
                        Ok::<_, TestError>(())
                    })
                })
                .collect();
            for client in clients {
                let _ended = client.join(scope.cx()).await;
            }
            server.cancel();
            let _cancelled = server.join(scope.cx()).await;
            Ok::<_, TestError>(())
        })
        .await
        .into_result()
        .map_err(|error| TestError::Io(std::io::Error::other(error.to_string())))
    });
    let talks = talks.lock().expect("nobody panics");
    let talks = talks.values().cloned().collect();
    (report, talks)
}

fn mixture() -> impl Strategy<Value = (NetFaults, u32)> {
    let chance = || prop_oneof![2 => Just(0.0), 1 => 0.01..0.3_f64];
    let max = || (1..3_000_u64).prop_map(Duration::from_millis);
    let segments = (chance(), chance(), (chance(), max()), (chance(), max()));
    let connections = (chance(), chance(), (chance(), max()), (chance(), max()));
    (segments, connections, 0..30_u32).prop_map(|(segments, connections, limit)| {
        let (loss, duplicate, reorder, slow) = segments;
        let (refuse, reset, partition, half_open) = connections;
        let faults = NetFaults::none()
            .loss(loss)
            .duplicate(duplicate)
            .reorder(reorder.0, reorder.1)
            .slow_peer(slow.0, slow.1)
            .refuse(refuse)
            .reset(reset)
            .partition(partition.0, partition.1)
            .half_open(half_open.0, half_open.1);
        (faults, limit)
    })
}

fn nature() -> impl Strategy<Value = NetConfig> {
    let bandwidth = prop_oneof![Just(None), (1_000..1_000_000_u64).prop_map(Some)];
    (0..20_u32, 1..40_u32, 1..200_usize, bandwidth).prop_map(|(least, mean, buffer, bandwidth)| {
        let latency = Latency::exponential(MS * least, MS * mean, MS * 1_000);
        let net = NetConfig::default()
            .latency(latency)
            .buffer_bytes(buffer)
            .stall_timeout(Duration::from_secs(30));
        match bandwidth {
            Some(bandwidth) => net.bandwidth(bandwidth),
            None => net,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bytes_are_a_beginning_of_what_was_written_whatever_goes_wrong(
        (faults, limit) in mixture(),
        net in nature(),
        seed: u64,
    ) {
        let faults = Faults::none().net(faults).at_most(limit);
        let config = LabConfig::default().seed(seed).net(net).faults(faults);
        let (report, talks) = run(config.clone());
        prop_assert!(report.violations.is_empty(), "{}", report.failure());
        let struck = faults_in(&report.trace).len();
        prop_assert!(struck <= limit as usize);
        for talk in &talks {
            prop_assert!(talk.asked.starts_with(&talk.heard), "{talk:?}");
            prop_assert!(talk.heard.starts_with(&talk.echoed), "{talk:?}");
            prop_assert!(talk.echoed.starts_with(&talk.answered), "{talk:?}");
            if struck == 0 {
                prop_assert_eq!(talk.asked.len(), talk.answered.len());
            }
        }
        if struck == 0 {
            prop_assert_eq!(&report.end, &LabEnd::Finished);
            prop_assert_eq!(talks.len(), 3);
        }
        let (again, _) = run(config.seed(!seed).replay(report.schedule.clone()));
        prop_assert_eq!(again.trace.divergence(&report.trace), None);
    }
}
