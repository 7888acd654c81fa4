//! What the lab's network promises beyond what every network does.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use asupersync_core::{Cancelled, OutcomeError, PanicPayload};
use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabEnd, LabNet, LabReport, LabRuntime, Latency, NetConfig};
use asupersync_net::{
    NetError, TcpConnectOptions, TcpListenOptions, TcpListener, TcpStream, resolve,
};
use futures_util::future::{join, join_all};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Panicked(#[from] PanicPayload),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<OutcomeError<Self>> for TestError {
    fn from(error: OutcomeError<Self>) -> Self {
        match error {
            OutcomeError::Err(error) => error,
            OutcomeError::Cancelled(reason) => Cancelled::new(reason).into(),
            OutcomeError::Panicked(payload) => payload.into(),
        }
    }
}

pub(crate) type End<T = ()> = Result<T, TestError>;

const SEEDS: u64 = 20;

fn run<F, Fut>(seed: u64, net: NetConfig, body: F) -> LabReport<(), TestError>
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End>,
{
    LabRuntime::new(LabConfig::default().seed(seed).net(net)).run(body)
}

/// Runs a scenario under several seeds; each run must end, keep the laws and succeed.
#[track_caller]
fn check<F, Fut>(net: NetConfig, scenario: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = End>,
{
    for seed in 0..SEEDS {
        let report = run(seed, net.clone(), &scenario);
        report.assert_clean();
        assert!(report.outcome.is_ok(), "seed {seed}: {:?}", report.outcome);
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn a_round_trip_takes_twice_the_latency_and_nothing_else_takes_time() {
    let latency = Duration::from_millis(30);
    check(NetConfig::default().latency(latency), async |cx| {
        let listener = TcpListener::bind(&cx, local(80)).await?;
        let start = cx.now();
        let (client, accepted) =
            join(TcpStream::connect(&cx, local(80)), listener.accept(&cx)).await;
        let (mut client, (mut server, _)) = (client?, accepted?);
        assert_eq!(cx.now().saturating_since(start), latency * 2);
        client.write_all(b"ping").await?;
        assert_eq!(cx.now().saturating_since(start), latency * 2);
        server.read_exact(&mut [0; 4]).await?;
        assert_eq!(cx.now().saturating_since(start), latency * 3);
        server.write_all(b"pong").await?;
        client.read_exact(&mut [0; 4]).await?;
        assert_eq!(cx.now().saturating_since(start), latency * 4);
        Ok(())
    });
}

#[test]
fn latency_can_change_under_way_and_order_is_kept() {
    check(
        NetConfig::default().latency(Duration::from_millis(50)),
        async |cx| {
            let listener = TcpListener::bind(&cx, local(80)).await?;
            let mut client = TcpStream::connect(&cx, local(80)).await?;
            let (mut server, _) = listener.accept(&cx).await?;
            client.write_all(b"slow ").await?;
            let net = LabNet::of(&cx).expect("the lab has a network");
            net.set_latency(Duration::ZERO);
            client.write_all(b"fast").await?;
            client.close().await?;
            let mut heard = Vec::new();
            server.read_to_end(&mut heard, 64).await?;
            assert_eq!(heard, b"slow fast");
            Ok(())
        },
    );
}

#[test]
fn varying_latency_keeps_the_order_of_a_direction_and_differs_by_seed() {
    let net = NetConfig::default().latency(Latency::uniform(
        Duration::from_millis(5),
        Duration::from_millis(25),
    ));
    let mut elapsed = Vec::new();
    for seed in 0..SEEDS {
        let report = run(seed, net.clone(), async |cx| {
            let listener = TcpListener::bind(&cx, local(80)).await?;
            let mut client = TcpStream::connect(&cx, local(80)).await?;
            let (mut server, _) = listener.accept(&cx).await?;
            for byte in 0..100_u8 {
                client.write_all(&[byte]).await?;
            }
            let mut heard = [0; 100];
            server.read_exact(&mut heard).await?;
            assert!(heard.iter().copied().eq(0..100));
            Ok(())
        });
        report.assert_clean();
        assert!(report.outcome.is_ok());
        elapsed.push(report.elapsed);
    }
    elapsed.sort_unstable();
    elapsed.dedup();
    assert!(elapsed.len() > 1, "every seed took {elapsed:?}");
}

#[test]
fn arrivals_interleave_with_tasks_that_never_wait_for_time() {
    // A spinning reader sees the bytes without the clock moving, so a segment is a step like any other.
    check(NetConfig::default(), async |cx| {
        let listener = TcpListener::bind(&cx, local(80)).await?;
        let mut client = TcpStream::connect(&cx, local(80)).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        client.write_all(b"x").await?;
        let end = cx
            .region(async |scope| {
                let spinner = scope.spawn(async |cx: Cx| {
                    loop {
                        cx.yield_now().await?;
                    }
                    #[expect(unreachable_code, reason = "it names the error type")]
                    End::Ok(())
                });
                assert_eq!(server.read(&mut [0; 8]).await?, 1);
                spinner.cancel();
                let _cancelled = spinner.join(scope.cx()).await;
                End::Ok(())
            })
            .await;
        end.into_result()?;
        Ok(())
    });
}

#[test]
fn reads_and_writes_are_short_now_and_then() {
    let mut short = (0, 0);
    for seed in 0..SEEDS {
        let net = NetConfig::default().short_probability(0.5);
        let report = LabRuntime::new(LabConfig::default().seed(seed).net(net)).run(async |cx| {
            let listener = TcpListener::bind(&cx, local(80)).await?;
            let mut client = TcpStream::connect(&cx, local(80)).await?;
            let (mut server, _) = listener.accept(&cx).await?;
            let written = client.write(&[1; 1000]).await?;
            cx.sleep(Duration::from_millis(1)).await?;
            let read = server.read(&mut [0; 1000]).await?;
            assert!(0 < read && read <= written && written <= 1000);
            Ok::<_, TestError>((written < 1000, read < written))
        });
        report.assert_clean();
        let (write, read) = report.outcome.ok().expect("the scenario succeeds");
        short.0 += u32::from(write);
        short.1 += u32::from(read);
    }
    assert!(short.0 > 0 && short.1 > 0, "{short:?}");
}

#[test]
fn a_full_buffer_makes_the_writer_wait_and_holds_no_more() {
    let net = NetConfig::default()
        .buffer_bytes(1000)
        .short_probability(0.0);
    check(net, async |cx| {
        let listener = TcpListener::bind(&cx, local(80)).await?;
        let mut client = TcpStream::connect(&cx, local(80)).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        assert_eq!(client.write(&[7; 5000]).await?, 1000);
        let end = cx
            .region(async |scope| {
                let writer = scope.spawn(async move |_: Cx| {
                    let count = client.write(&[8; 5000]).await?;
                    End::Ok((client, count))
                });
                scope.cx().sleep(Duration::from_millis(1)).await?;
                assert!(!writer.is_finished());
                assert_eq!(server.read(&mut [0; 300]).await?, 300);
                let (_client, count) = writer.join(scope.cx()).await.into_result()?;
                assert_eq!(count, 300);
                End::Ok(())
            })
            .await;
        end.into_result()?;
        Ok(())
    });
}

#[test]
fn a_full_backlog_lets_connections_wait_and_accepting_admits_them() {
    check(NetConfig::default(), async |cx| {
        let options = TcpListenOptions::new().backlog(2);
        let listener = TcpListener::bind_with(&cx, local(80), &options).await?;
        let end = cx
            .region(async |scope| {
                let clients: Vec<_> = (0..5)
                    .map(|_| {
                        scope.spawn(async |cx: Cx| {
                            End::Ok(TcpStream::connect(&cx, local(80)).await?)
                        })
                    })
                    .collect();
                scope.cx().sleep(Duration::from_secs(1)).await?;
                let connected = clients.iter().filter(|client| client.is_finished()).count();
                assert_eq!(connected, 2);
                let mut accepted = Vec::new();
                for _ in 0..5 {
                    accepted.push(listener.accept(scope.cx()).await?);
                }
                for client in clients {
                    client.join(scope.cx()).await.into_result()?;
                }
                End::Ok(())
            })
            .await;
        end.into_result()?;
        Ok(())
    });
}

#[test]
fn dropping_a_listener_ends_those_that_wait_for_it() {
    check(NetConfig::default(), async |cx| {
        let options = TcpListenOptions::new().backlog(1);
        let listener = TcpListener::bind_with(&cx, local(80), &options).await?;
        let mut first = TcpStream::connect(&cx, local(80)).await?;
        let connecting = join_all((0..3).map(|_| TcpStream::connect(&cx, local(80))));
        let dropping = async {
            cx.sleep(Duration::from_millis(1)).await?;
            drop(listener);
            End::Ok(())
        };
        let (ends, dropped) = join(connecting, dropping).await;
        dropped?;
        for end in ends {
            match end.expect_err("nobody accepts") {
                NetError::Connect { source, .. } => {
                    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
                }
                other => panic!("expected a refusal, got {other:?}"),
            }
        }
        let error = first
            .read(&mut [0; 1])
            .await
            .expect_err("nobody accepted it");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn a_client_that_gives_up_leaves_nothing_behind() {
    let net = NetConfig::default().latency(Duration::from_millis(10));
    check(net, async |cx| {
        let listener = TcpListener::bind(&cx, local(80)).await?;
        {
            let mut connect = Box::pin(TcpStream::connect(&cx, local(80)));
            let given_up = futures_util::future::select(
                &mut connect,
                // The request has arrived and its answer is under way.
                Box::pin(cx.sleep(Duration::from_millis(15))),
            );
            assert!(matches!(
                given_up.await,
                futures_util::future::Either::Right(_)
            ));
        }
        let (mut server, _) = listener.accept(&cx).await?;
        let error = server
            .read(&mut [0; 1])
            .await
            .expect_err("the client is gone");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        drop(server);
        let net = LabNet::of(&cx).expect("the lab has a network");
        assert!(net.connections().is_empty());
        Ok(())
    });
}

#[test]
fn a_wildcard_listener_hears_every_address_and_an_exact_one_comes_first() {
    check(NetConfig::default(), async |cx| {
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        let wildcard = TcpListener::bind(&cx, unspecified).await?;
        let taken = TcpListener::bind(&cx, local(80)).await;
        assert!(matches!(taken, Err(NetError::Bind { .. })), "{taken:?}");
        let other = SocketAddr::from(([10, 1, 2, 3], 80));
        let client = TcpStream::connect(&cx, other).await?;
        let (server, _) = wildcard.accept(&cx).await?;
        assert_eq!(server.local_addr()?, other);
        assert_eq!(client.peer_addr()?, other);
        let client = TcpStream::connect(&cx, unspecified).await?;
        assert_eq!(client.peer_addr()?, local(80));
        Ok(())
    });
}

#[test]
fn names_come_from_the_configuration_only() {
    const DB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
    check(
        NetConfig::default().host("db", [DB]).host("void", []),
        async |cx| {
            assert_eq!(resolve(&cx, "db:5432").await?, [SocketAddr::new(DB, 5432)]);
            let unknown = resolve(&cx, "example.com:80")
                .await
                .expect_err("it is unknown");
            assert!(matches!(unknown, NetError::Resolve { .. }), "{unknown:?}");
            let void = resolve(&cx, "void:80")
                .await
                .expect_err("it has no address");
            assert!(matches!(void, NetError::NoAddress { .. }), "{void:?}");
            Ok(())
        },
    );
}

#[test]
fn ephemeral_ports_run_out_with_an_error_and_come_back() {
    let config = LabConfig::default().seed(1).capture_trace(false);
    let report = LabRuntime::new(config).run(async |cx| {
        let options = TcpListenOptions::new().backlog(u32::MAX);
        let listener = TcpListener::bind_with(&cx, local(80), &options).await?;
        let mut clients = Vec::new();
        let error = loop {
            match TcpStream::connect(&cx, local(80)).await {
                Ok(client) => clients.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!(clients.len(), 1 << 14);
        match error {
            NetError::Connect { source, .. } => {
                assert_eq!(source.kind(), ErrorKind::AddrNotAvailable);
            }
            other => panic!("expected an exhausted network, got {other:?}"),
        }
        let taken = TcpConnectOptions::new().local(clients[0].local_addr()?);
        assert!(
            TcpStream::connect_with(&cx, local(80), &taken)
                .await
                .is_err()
        );
        clients.pop();
        // The server's end holds the place until it is gone too.
        drop(listener);
        let _listener = TcpListener::bind(&cx, local(80)).await?;
        TcpStream::connect(&cx, local(80)).await?;
        End::Ok(())
    });
    assert_eq!(report.end, LabEnd::Finished);
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn a_stream_that_outlives_its_run_fails_instead_of_waiting() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
        let listener = TcpListener::bind(&cx, local(80)).await?;
        let client = TcpStream::connect(&cx, local(80)).await?;
        Ok::<_, TestError>((listener, client))
    });
    let (listener, mut client) = report.outcome.ok().expect("the scenario succeeds");
    assert!(client.peer_addr().is_err());
    let again = LabRuntime::new(LabConfig::default()).run(async move |_| {
        assert!(client.read(&mut [0; 1]).await.is_err());
        assert!(client.write(&[0; 1]).await.is_err());
        drop((listener, client));
        End::Ok(())
    });
    again.assert_clean();
}

#[test]
fn a_network_of_the_programs_own_replaces_the_simulated_one() {
    use asupersync_net::{ListenIo, NetDriver, NetPort, StreamIo};
    struct Broken;
    impl NetDriver for Broken {
        fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
            panic!("the lookup is broken")
        }
        fn connect(
            &self,
            _: SocketAddr,
            _: &TcpConnectOptions,
        ) -> std::io::Result<std::sync::Arc<dyn StreamIo>> {
            Err(ErrorKind::NetworkDown.into())
        }
        fn listen(
            &self,
            _: SocketAddr,
            _: &TcpListenOptions,
        ) -> std::io::Result<std::sync::Arc<dyn ListenIo>> {
            Err(ErrorKind::NetworkDown.into())
        }
    }
    let lab = LabRuntime::new(LabConfig::default()).port(NetPort::new(Broken));
    let report = lab.run(async |cx| {
        assert!(LabNet::of(&cx).is_none());
        match TcpStream::connect(&cx, local(80)).await {
            Err(NetError::Connect { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::NetworkDown);
            }
            other => panic!("expected a network that is down, got {other:?}"),
        }
        resolve(&cx, "name:80").await?;
        End::Ok(())
    });
    // A panic in the lookup is the caller's panic.
    assert_eq!(
        report.outcome.severity(),
        asupersync_core::Severity::Panicked
    );
}
