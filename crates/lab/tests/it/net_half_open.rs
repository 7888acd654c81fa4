//! Ends and machines that vanish without a word.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, NetConfig, NetFaults};
use asupersync_net::{NetError, TcpListenOptions, TcpListener, TcpStream};

use crate::net_decisions::TestError;
use crate::net_faults::{MS, faults_in, found};
use crate::net_partitions::{CLIENT, SERVER, check, connect, kind, net, pair};

const SECOND: Duration = Duration::from_secs(1);

/// A buffer for a hundred bytes.
fn small() -> NetConfig {
    NetConfig::default()
        .buffer_bytes(100)
        .short_probability(0.0)
}

#[test]
fn who_is_left_writes_until_its_buffer_is_full_hears_nothing_and_is_reset_at_last() {
    check(small(), async |cx| {
        let (client, _server) = pair(&cx).await?;
        assert!(net(&cx).vanish(SERVER));
        assert!(!net(&cx).vanish(SERVER), "it is away already");
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                let (mut reader, mut writer) = client.into_split();
                let reads = scope.spawn(async move |_: Cx| {
                    let read = reader.read(&mut [0; 1]).await;
                    Ok::<_, TestError>(read.unwrap_err().kind())
                });
                assert_eq!(writer.write(&[7; 60]).await?, 60);
                assert_eq!(writer.write(&[7; 60]).await?, 40);
                let writes = scope.spawn(async move |_: Cx| {
                    let written = writer.write(&[7; 60]).await;
                    Ok::<_, TestError>(written.unwrap_err().kind())
                });
                scope.cx().sleep(SECOND * 100).await?;
                assert!(!reads.is_finished() && !writes.is_finished());
                let restored = scope.cx().now();
                assert!(net(scope.cx()).restore(SERVER));
                assert!(!net(scope.cx()).restore(SERVER), "it is back");
                let read = reads.join(scope.cx()).await.into_result();
                let written = writes.join(scope.cx()).await.into_result();
                assert_eq!(read.expect("it ends"), ErrorKind::ConnectionReset);
                assert_eq!(written.expect("it ends"), ErrorKind::ConnectionReset);
                // No wait between two attempts is longer than a minute.
                assert!(scope.cx().now() - restored <= SECOND * 60);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        Ok(())
    });
}

#[test]
fn a_machine_that_is_gone_takes_its_ends_and_listeners_along() {
    check(NetConfig::default(), async |cx| {
        let listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        let _client = connect(&cx, CLIENT, SERVER).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        net(&cx).vanish(SERVER);
        let read = server.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        let written = server.write(&[0; 1]).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert!(listener.accept(&cx).await.is_err());
        drop((server, listener));
        // It can do nothing on the network while it is away, and nobody reaches it.
        let unreachable = connect(&cx, SERVER, CLIENT).await;
        assert_eq!(kind(unreachable), ErrorKind::NetworkUnreachable);
        let bound = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await;
        assert!(matches!(bound, Err(NetError::Bind { .. })), "{bound:?}");
        let start = cx.now();
        assert_eq!(
            kind(connect(&cx, CLIENT, SERVER).await),
            ErrorKind::TimedOut
        );
        assert_eq!(cx.now() - start, SECOND * 127);
        net(&cx).restore(SERVER);
        let refused = connect(&cx, CLIENT, SERVER).await;
        assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        connect(&cx, CLIENT, SERVER).await?;
        listener.accept(&cx).await?;
        Ok(())
    });
}

#[test]
fn who_connects_meanwhile_gets_through_once_somebody_listens_again() {
    check(NetConfig::default(), async |cx| {
        let options = TcpListenOptions::new().backlog(1);
        let listener = TcpListener::bind_with(&cx, SocketAddr::new(SERVER, 80), &options).await?;
        let lost = connect(&cx, CLIENT, SERVER).await?;
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                let cx = scope.cx();
                // One waits in the line when it happens, the other comes when it has happened.
                let early = scope.spawn(async |cx: Cx| connect(&cx, CLIENT, SERVER).await);
                cx.sleep(SECOND / 10).await?;
                net(cx).vanish(SERVER);
                drop(listener);
                let late = scope.spawn(async |cx: Cx| connect(&cx, CLIENT, SERVER).await);
                cx.sleep(SECOND * 2).await?;
                assert!(!early.is_finished() && !late.is_finished());
                net(cx).restore(SERVER);
                let _listener = TcpListener::bind(cx, SocketAddr::new(SERVER, 80)).await?;
                for waited in [early, late] {
                    let connected = waited.join(cx).await.into_result();
                    connected.expect("it gets through");
                }
                assert_eq!(cx.now().as_nanos(), 3_100_000_000);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        drop(lost);
        assert_eq!(net(&cx).connections(), []);
        Ok(())
    });
}

#[test]
fn an_end_that_was_let_go_is_as_silent_as_one_that_is_held() {
    check(NetConfig::default(), async |cx| {
        let (mut client, server) = pair(&cx).await?;
        net(&cx).vanish(SERVER);
        drop(server);
        cx.sleep(SECOND).await?;
        net(&cx).restore(SERVER);
        // Nothing was said when it was dropped, so writing still works, once.
        client.write_all(b"hello?").await?;
        let read = client.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let start = cx.now();
        assert!(client.write(b"x").await.is_err());
        assert_eq!(cx.now(), start);
        Ok(())
    });
}

#[test]
fn who_only_reads_is_never_told() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let (mut client, _server) = pair(&cx).await?;
        net(&cx).vanish(SERVER);
        net(&cx).restore(SERVER);
        client.read(&mut [0; 1]).await?;
        Ok::<_, TestError>(())
    });
    assert!(matches!(report.end, LabEnd::Stalled(_)), "{:?}", report.end);
    assert_eq!(faults_in(&report.trace), ["net.vanish"]);
}

async fn ticks(server: &mut TcpStream, cx: &Cx) -> Result<(), TestError> {
    for _ in 0..3 {
        server.write_all(b"tick").await?;
        cx.sleep(SECOND).await?;
    }
    Ok(())
}

/// Waits for what is to come, without a limit.
async fn subscribes(cx: Cx) -> Result<(), TestError> {
    let (mut client, mut server) = pair(&cx).await?;
    let end = cx
        .region(async |scope: Scope<'_, TestError>| {
            scope.spawn(async move |cx: Cx| {
                // Whoever has gone is no longer served.
                let _gone = ticks(&mut server, &cx).await;
                Ok::<_, TestError>(())
            });
            let heard = client.read_exact(&mut [0; 12]).await;
            heard.map_err(std::io::Error::other)?;
            Ok::<_, TestError>(())
        })
        .await;
    let told = |error| TestError::Io(std::io::Error::other(format!("{error:?}")));
    end.into_result().map_err(told)
}

#[test]
fn a_subscriber_without_a_limit_waits_for_ever_and_one_decision_shows_it() {
    let faults = NetFaults::none().half_open(0.2, SECOND).loss(0.1);
    let failure = found("net.half_open", LabConfig::default(), faults, subscribes);
    assert!(failure.to_string().contains("stalled"), "{failure}");
    assert_eq!(failure.run.schedule.faults().last(), Some(&1), "{failure}");
}

/// Sends and takes it that what was written has arrived.
async fn presumes(cx: Cx) -> Result<(), TestError> {
    let (mut client, mut server) = pair(&cx).await?;
    for number in 0..3 {
        client.write_all(&[number]).await?;
        cx.sleep(MS).await?;
        let read = server.read(&mut [0; 1]).await;
        assert!(read.is_ok(), "what was written has not arrived");
    }
    Ok(())
}

#[test]
fn a_write_into_a_connection_that_is_half_open_succeeds_and_is_lost() {
    let faults = NetFaults::none().half_open(0.2, SECOND);
    let failure = found("net.half_open", LabConfig::default(), faults, presumes);
    let told = failure.to_string();
    assert!(told.contains("has not arrived"), "{told}");
}
