//! Partitions of the simulated network: what stands still, what goes on, what fails and when.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{
    LabConfig, LabNet, LabNode, LabRuntime, NetConfig, NetFaults, Search, Strategy,
};
use asupersync_net::{NetError, TcpConnectOptions, TcpListener, TcpStream};

use crate::net_decisions::TestError;
use crate::net_faults::{MS, faults_in, found};

pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn connect(cx: &Cx, from: IpAddr, to: IpAddr) -> Result<TcpStream, NetError> {
    let options = TcpConnectOptions::new().local(SocketAddr::new(from, 0));
    TcpStream::connect_with(cx, SocketAddr::new(to, 80), &options).await
}

pub(crate) async fn pair(cx: &Cx) -> Result<(TcpStream, TcpStream), TestError> {
    let listener = TcpListener::bind(cx, SocketAddr::new(SERVER, 80)).await?;
    let client = connect(cx, CLIENT, SERVER).await?;
    let (server, _) = listener.accept(cx).await?;
    Ok((client, server))
}

pub(crate) fn net(cx: &Cx) -> &LabNet {
    LabNet::of(cx).expect("the lab has a network")
}

/// Runs a scenario under several seeds; each run must end, keep the laws and succeed, and follow from its schedule.
#[track_caller]
pub(crate) fn check<F, Fut>(config: NetConfig, scenario: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = Result<(), TestError>>,
{
    for seed in 0..20 {
        let config = LabConfig::default().seed(seed).net(config.clone());
        let report = LabRuntime::new(config.clone()).run(&scenario);
        report.assert_clean();
        assert!(report.outcome.is_ok(), "seed {seed}: {:?}", report.outcome);
        let again = LabRuntime::new(config.replay(report.schedule.clone())).run(&scenario);
        assert_eq!(again.trace.divergence(&report.trace), None);
    }
}

/// The kind of a failed connect.
pub(crate) fn kind(failed: Result<TcpStream, NetError>) -> ErrorKind {
    match failed {
        Err(NetError::Connect { source, .. }) => source.kind(),
        other => panic!("expected a failed connect, got {other:?}"),
    }
}

#[test]
fn a_connection_stands_still_and_goes_on_where_it_was() {
    check(NetConfig::default().latency(MS), async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        client.write_all(b"before ").await?;
        cx.sleep(MS * 2).await?;
        client.write_all(b"under way ").await?;
        let partition = net(&cx).partition(&[CLIENT], &[SERVER]);
        let start = cx.now();
        client.write_all(b"meanwhile ").await?;
        let mut heard = vec![0; 7];
        let read = server.read_exact(&mut heard).await;
        read.map_err(std::io::Error::other)?;
        assert_eq!(heard, b"before ");
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                let healer = scope.spawn(async move |cx: Cx| {
                    cx.sleep(SECOND).await?;
                    Ok::<_, TestError>(net(&cx).heal(partition))
                });
                let mut heard = vec![0; 20];
                let read = server.read_exact(&mut heard).await;
                read.map_err(std::io::Error::other)?;
                assert_eq!(heard, b"under way meanwhile ");
                // Attempts come 200, 600 and 1400 ms after the first that failed.
                let now = scope.cx().now();
                assert_eq!(now - start, MS * 1401);
                let healed = healer.join(scope.cx()).await.into_result();
                assert!(healed.expect("the healer ends"));
                client.write_all(b"after").await?;
                server.read(&mut [0; 5]).await?;
                assert_eq!(scope.cx().now() - now, MS);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        assert!(!net(&cx).heal(partition), "it is over");
        Ok(())
    });
}

#[test]
fn who_connects_across_waits_and_fails_and_others_do_not() {
    let config = NetConfig::default().connect_timeout(SECOND * 10);
    check(config, async |cx| {
        let _listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        let partition = net(&cx).partition(&[CLIENT], &[SERVER]);
        let start = cx.now();
        assert_eq!(
            kind(connect(&cx, CLIENT, SERVER).await),
            ErrorKind::TimedOut
        );
        assert_eq!(cx.now() - start, SECOND * 10);
        connect(&cx, OTHER, SERVER).await?;
        assert_eq!(cx.now() - start, SECOND * 10);
        assert!(net(&cx).heal(partition));
        connect(&cx, CLIENT, SERVER).await?;
        assert_eq!(cx.now() - start, SECOND * 10);
        Ok(())
    });
}

#[test]
fn a_request_to_connect_is_repeated_and_gets_through_after_the_end() {
    check(NetConfig::default(), async |cx| {
        let _listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        net(&cx).partition(&[CLIENT], &[SERVER]);
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                scope.spawn(async move |cx: Cx| {
                    cx.sleep(SECOND * 5).await?;
                    net(&cx).heal_all();
                    Ok::<_, TestError>(())
                });
                connect(scope.cx(), CLIENT, SERVER).await?;
                // After 1, 3 and 7 seconds.
                assert_eq!(scope.cx().now().as_nanos(), 7_000_000_000);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        Ok(())
    });
}

#[test]
fn an_answer_that_does_not_come_back_fails_both_ends() {
    let config = NetConfig::default().connect_timeout(SECOND * 10);
    check(config, async |cx| {
        let listener = TcpListener::bind(&cx, SocketAddr::new(SERVER, 80)).await?;
        net(&cx).partition_one_way(&[SERVER], &[CLIENT]);
        assert_eq!(
            kind(connect(&cx, CLIENT, SERVER).await),
            ErrorKind::TimedOut
        );
        let (mut server, _) = listener.accept(&cx).await?;
        let read = server.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        Ok(())
    });
}

#[test]
fn a_sender_gives_up_in_the_end_and_the_other_end_learns_it_when_it_speaks() {
    let config = NetConfig::default().stall_timeout(SECOND * 10);
    check(config, async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        client.write_all(b"kept").await?;
        cx.sleep(SECOND).await?;
        net(&cx).partition(&[CLIENT], &[SERVER]);
        server.write_all(b"lost").await?;
        let start = cx.now();
        // What had arrived can still be read.
        let mut heard = vec![0; 4];
        let read = server.read_exact(&mut heard).await;
        read.map_err(std::io::Error::other)?;
        let read = server.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(cx.now() - start, SECOND * 10);
        let written = server.write(b"x").await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);
        net(&cx).heal_all();
        // The client has not heard of it; its bytes are sent to nobody, which it is told.
        client.write_all(b"hello?").await?;
        let read = client.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn one_way_only_lets_bytes_through_and_no_acknowledgement_back() {
    let config = NetConfig::default()
        .buffer_bytes(100)
        .short_probability(0.0);
    check(config, async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        let partition = net(&cx).partition_one_way(&[SERVER], &[CLIENT]);
        // Towards the server all is well, but for what the client cannot know.
        assert_eq!(client.write(&[7; 200]).await?, 100);
        assert_eq!(server.read(&mut [0; 200]).await?, 100);
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                let writer = scope.spawn(async move |_: Cx| {
                    client.write_all(&[8; 100]).await?;
                    Ok::<_, TestError>(client)
                });
                server.write_all(b"held").await?;
                scope.cx().sleep(SECOND).await?;
                assert!(!writer.is_finished(), "its buffer has room too early");
                net(scope.cx()).heal(partition);
                let written = writer.join(scope.cx()).await.into_result();
                let mut client = written.expect("there is room");
                client.read(&mut [0; 4]).await?;
                assert_eq!(server.read(&mut [0; 100]).await?, 100);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        Ok(())
    });
}

#[test]
fn a_sender_that_is_never_acknowledged_gives_up() {
    let config = NetConfig::default().stall_timeout(SECOND * 10);
    check(config, async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        net(&cx).partition_one_way(&[SERVER], &[CLIENT]);
        let start = cx.now();
        client.write_all(b"heard").await?;
        let mut heard = vec![0; 5];
        let read = server.read_exact(&mut heard).await;
        read.map_err(std::io::Error::other)?;
        assert_eq!(cx.now(), start);
        let read = client.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(cx.now() - start, SECOND * 10);
        Ok(())
    });
}

#[test]
fn who_was_acknowledged_after_the_end_does_not_give_up_later() {
    let config = NetConfig::default().stall_timeout(SECOND * 10);
    check(config, async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        let partition = net(&cx).partition_one_way(&[SERVER], &[CLIENT]);
        client.write_all(b"a").await?;
        server.read(&mut [0; 1]).await?;
        cx.sleep(SECOND).await?;
        net(&cx).heal(partition);
        cx.sleep(SECOND * 100).await?;
        client.write_all(b"b").await?;
        assert_eq!(server.read(&mut [0; 1]).await?, 1);
        Ok(())
    });
}

#[test]
fn a_partition_by_call_is_told_and_counts_for_nothing() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        net(&cx).partition(&[CLIENT], &[SERVER]);
        Ok::<_, TestError>(())
    });
    assert_eq!(faults_in(&report.trace), ["net.partition"]);
    assert_eq!(report.schedule.decisions(), 0);
}

/// A question and an answer, in time.
async fn asks(cx: Cx) -> Result<(), TestError> {
    let (mut client, mut server) = pair(&cx).await?;
    for _ in 0..3 {
        let start = cx.now();
        client.write_all(b"?").await?;
        server.read(&mut [0; 1]).await?;
        server.write_all(b"!").await?;
        client.read(&mut [0; 1]).await?;
        assert!(cx.now() - start < MS * 300, "the answer came too late");
    }
    Ok(())
}

#[test]
fn a_partition_by_chance_is_found_and_ends_by_itself() {
    let faults = NetFaults::none().partition(0.05, SECOND * 8);
    let failure = found("net.partition", LabConfig::default(), faults, asks);
    // Both ways, and for the shortest time, of which an attempt at 600 ms is still a part.
    assert_eq!(failure.run.schedule.faults().last(), Some(&1), "{failure}");
}

/// Who writes hears nothing for a while, and takes it that nobody has heard it.
async fn presumes(cx: Cx) -> Result<(), TestError> {
    let (mut client, mut server) = pair(&cx).await?;
    client.write_all(b"?").await?;
    server.write_all(b"!").await?;
    cx.sleep(MS).await?;
    let end = cx
        .region(async |scope: Scope<'_, TestError>| {
            let answer = scope.spawn(async move |_: Cx| {
                client.read(&mut [0; 1]).await?;
                Ok::<_, TestError>(())
            });
            scope.cx().sleep(MS).await?;
            let is_answered = answer.is_finished();
            let question = scope.spawn(async move |_: Cx| {
                server.read(&mut [0; 1]).await?;
                Ok::<_, TestError>(())
            });
            scope.cx().sleep(MS).await?;
            let is_heard = question.is_finished();
            assert!(is_answered || !is_heard, "it was heard and not answered");
            Ok::<_, TestError>(())
        })
        .await;
    end.into_result()
        .map_err(|error| TestError::Io(std::io::Error::other(format!("{error:?}"))))
}

#[test]
fn a_partition_in_one_direction_shows_what_none_in_both_does() {
    let faults = NetFaults::none().partition(0.2, SECOND * 8);
    let failure = found("net.partition", LabConfig::default(), faults, presumes);
    let decision = failure.run.schedule.faults().last().copied();
    assert!(decision.is_some_and(|decision| decision > 8), "{failure}");
}

#[test]
fn a_systematic_search_turns_a_partition_and_an_arrival_round() {
    let report = Search::new(LabConfig::default())
        .strategies([Strategy::Dpor])
        .run(async |cx: Cx| {
            let (mut client, mut server) = pair(&cx).await?;
            let end = cx
                .region(async |scope: Scope<'_, TestError>| {
                    let start = scope.cx().now();
                    scope.spawn(async move |cx: Cx| {
                        client.write_all(b"?").await?;
                        cx.sleep(SECOND * 2).await?;
                        Ok::<_, TestError>(())
                    });
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..3 {
                            cx.yield_now().await?;
                        }
                        net(&cx).partition(&[CLIENT], &[SERVER]);
                        cx.sleep(SECOND).await?;
                        net(&cx).heal_all();
                        Ok::<_, TestError>(())
                    });
                    server.read(&mut [0; 1]).await?;
                    assert_eq!(scope.cx().now(), start, "it was parted first");
                    Ok::<_, TestError>(())
                })
                .await;
            end.into_result().expect("nothing fails");
            Ok::<_, TestError>(())
        });
    let failure = report.failure.as_ref().expect("it is found");
    assert!(failure.number > 0, "the first run shows it already");
}

#[test]
fn nodes_are_parted_by_their_addresses() {
    check(NetConfig::default(), async |cx| {
        let client = LabNode::new(&cx, "client", CLIENT);
        let server = LabNode::new(&cx, "server", SERVER);
        let end = cx
            .region(async |scope: Scope<'_, TestError>| {
                let served = server.start(&scope, async |cx: Cx| {
                    let listener = TcpListener::bind(&cx, "0.0.0.0:80").await?;
                    listener.accept(&cx).await?;
                    Ok::<_, TestError>(cx.now())
                });
                net(scope.cx()).partition(&[CLIENT], &[SERVER]);
                client.start(&scope, async |cx: Cx| {
                    TcpStream::connect(&cx, SocketAddr::new(SERVER, 80)).await?;
                    Ok::<_, TestError>(())
                });
                scope.cx().sleep(SECOND * 2).await?;
                assert!(!served.is_finished());
                net(scope.cx()).heal_all();
                let at = served.join(scope.cx()).await.into_result();
                assert_eq!(at.expect("it is reached").as_nanos(), 3_000_000_000);
                Ok::<_, TestError>(())
            })
            .await;
        end.into_result().expect("the scenario succeeds");
        Ok(())
    });
}
