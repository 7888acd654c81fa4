//! What the simulated network does is decided by the schedule: replayed, made smaller, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use asupersync_core::{Cancelled, IntoOutcome as _, Outcome, join_outcomes};
use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{
    Faults, LabConfig, LabNet, LabRuntime, Latency, NetConfig, Schedule, Search, Strategy, Var,
};
use asupersync_net::{NetError, TcpListenOptions, TcpListener, TcpStream};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 80))
}

fn varied() -> LabConfig {
    let net = NetConfig::default()
        .latency(Latency::uniform(
            Duration::from_millis(1),
            Duration::from_millis(9),
        ))
        .short_probability(0.5);
    LabConfig::default().net(net)
}

/// Bytes through one of two listeners, and a reset of one of two connections at the end.
async fn talk(cx: Cx) -> Result<(), TestError> {
    let shared = TcpListenOptions::new().reuse_port(true);
    let first = TcpListener::bind_with(&cx, address(), &shared).await?;
    let second = TcpListener::bind_with(&cx, address(), &shared).await?;
    let mut client = TcpStream::connect(&cx, address()).await?;
    let _other = TcpStream::connect(&cx, address()).await?;
    client.write_all(&[7; 100]).await?;
    cx.sleep(Duration::from_secs(1)).await?;
    LabNet::of(&cx)
        .expect("the lab has a network")
        .reset_random();
    drop((first, second));
    Ok(())
}

#[test]
fn a_schedule_alone_replays_the_network_whatever_the_seed() {
    let mut seen = 0;
    for seed in 0..20 {
        let report = LabRuntime::new(varied().seed(seed)).run(talk);
        assert!(report.is_clean(), "{}", report.failure());
        seen += report.schedule.faults().len();
        let config = varied().seed(seed + 1000).replay(report.schedule.clone());
        let again = LabRuntime::new(config).run(talk);
        assert_eq!(report.trace.divergence(&again.trace), None, "seed {seed}");
        assert_eq!(again.schedule, report.schedule);
    }
    assert!(seen > 100, "only {seen} decisions");
}

#[test]
fn without_decisions_bytes_move_whole_and_take_the_shortest_time() {
    let config = varied().replay(Schedule::default());
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, address()).await?;
        let mut client = TcpStream::connect(&cx, address()).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        assert_eq!(client.write(&[7; 100]).await?, 100);
        assert_eq!(server.read(&mut [0; 200]).await?, 100);
        assert_eq!(cx.now().as_nanos(), 3_000_000);
        Ok::<_, TestError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

/// Takes one read for a whole message.
async fn desynced(cx: Cx) -> Result<(), TestError> {
    let listener = TcpListener::bind(&cx, address()).await?;
    let mut client = TcpStream::connect(&cx, address()).await?;
    let (mut server, _) = listener.accept(&cx).await?;
    for _ in 0..4 {
        client.write_all(&[7; 64]).await?;
        cx.sleep(Duration::from_secs(1)).await?;
        let count = server.read(&mut [0; 64]).await?;
        assert_eq!(count, 64, "a message came in parts");
    }
    Ok(())
}

#[test]
fn a_short_read_is_found_and_is_the_only_decision_that_is_left() {
    let search = Search::new(varied()).strategies([Strategy::Random]);
    let failure = search.run(desynced).failure.expect("it is found");
    assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    assert_eq!(failure.run.schedule.faults().last(), Some(&1), "{failure}");
}

#[test]
fn a_program_draws_the_same_numbers_whatever_was_decided_and_in_the_replay() {
    let faults = Faults::none().wake_storm(0.5);
    let program = async |cx: Cx| {
        let mut drawn = Vec::new();
        for _ in 0..10 {
            drawn.push(cx.random_u64());
            cx.yield_now().await?;
        }
        Ok::<_, Cancelled>(drawn)
    };
    let run = |config| LabRuntime::new(config).run(program);
    let plain = run(LabConfig::default());
    let disturbed = run(LabConfig::default().faults(faults));
    assert!(disturbed.schedule.decisions() > 0);
    let replayed = run(LabConfig::default()
        .faults(faults)
        .replay(disturbed.schedule.clone()));
    assert_eq!(disturbed.trace.divergence(&replayed.trace), None);
    let drawn = [plain, disturbed, replayed].map(|report| report.outcome.ok());
    assert!(drawn[0].is_some());
    assert_eq!(drawn[0], drawn[1]);
    assert_eq!(drawn[1], drawn[2]);
}

/// A client and a server that say one thing each, and then a while in which all that is under way arrives.
async fn greet(cx: Cx) -> Outcome<(), TestError> {
    let end = cx
        .region(async |scope: Scope<'_, TestError>| {
            let listener = TcpListener::bind(scope.cx(), address()).await?;
            scope.spawn(async move |cx: Cx| {
                let mut client = TcpStream::connect(&cx, address()).await?;
                client.write_all(&[7; 2]).await?;
                Ok::<_, TestError>(())
            });
            let (mut server, _) = listener.accept(scope.cx()).await?;
            let read = server.read_exact(&mut [0; 2]).await;
            read.map_err(std::io::Error::other)?;
            Ok::<_, TestError>(())
        })
        .await;
    let rest = cx.sleep(Duration::from_millis(1)).await;
    join_outcomes(end, rest.map_err(TestError::from).into_outcome()).map(|_| ())
}

/// A client that stays for a while, and shares a variable with the server; its last words are under way when the region closes.
async fn linger(cx: Cx) -> Outcome<(), TestError> {
    let shared = Arc::new(Var::new(0));
    let end = cx
        .region(async |scope: Scope<'_, TestError>| {
            let listener = TcpListener::bind(scope.cx(), address()).await?;
            let own = Arc::clone(&shared);
            scope.spawn(async move |cx: Cx| {
                let client = TcpStream::connect(&cx, address()).await?;
                own.set(&cx, 1).await?;
                cx.sleep(Duration::from_millis(1)).await?;
                drop(client);
                Ok::<_, TestError>(())
            });
            let _server = listener.accept(scope.cx()).await?;
            shared.get(scope.cx()).await?;
            Ok::<_, TestError>(())
        })
        .await;
    let rest = cx.sleep(Duration::from_millis(1)).await;
    join_outcomes(end, rest.map_err(TestError::from).into_outcome()).map(|_| ())
}

/// The systematic search meets as many classes as all interleavings together, and no class twice.
fn meets_all_classes<F, Fut>(short_probability: f64, program: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = Outcome<(), TestError>>,
{
    let net = NetConfig::default().short_probability(short_probability);
    let explore = |strategy| {
        let search = Search::new(LabConfig::default().net(net.clone())).strategies([strategy]);
        let report = search.run(&program);
        assert!(report.failure.is_none(), "{report}");
        // One network was gone through, which is a proof if nothing of it was to be decided.
        assert!(report.executions < 1_000, "{report}");
        assert!(report.is_exhausted || short_probability > 0.0, "{report}");
        report
    };
    let (all, reduced) = (explore(Strategy::All), explore(Strategy::Dpor));
    assert!(all.classes > 1, "{all}");
    assert_eq!(all.classes, reduced.classes);
    assert_eq!(reduced.executions, reduced.classes);
}

#[test]
fn a_systematic_search_meets_the_classes_of_all_interleavings_with_and_without_variation() {
    for short_probability in [0.0, 1.0] {
        meets_all_classes(short_probability, greet);
        meets_all_classes(short_probability, linger);
    }
}

#[test]
fn a_search_goes_on_for_variation_when_every_order_was_seen() {
    let config = |short| LabConfig::default().net(NetConfig::default().short_probability(short));
    let failure = Search::new(config(0.002)).run(desynced).failure;
    let failure = failure.expect("it is found");
    // The program has one order, which the systematic search has seen in its first run.
    assert!(failure.number > 20, "{failure}");
    let report = Search::new(config(0.0)).run(desynced);
    assert!(report.is_exhausted && report.executions < 20, "{report}");
}

/// Whether a wait is over, looking once.
async fn is_over<F: Future>(wait: F) -> bool {
    let mut wait = std::pin::pin!(wait);
    std::future::poll_fn(|task| Poll::Ready(wait.as_mut().poll(task).is_ready())).await
}

/// The systematic search finds the order in which somebody who looks once finds something, and the first run does not have it.
#[track_caller]
fn turned_round<F, Fut>(program: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = Outcome<(), TestError>>,
{
    let net = NetConfig::default().short_probability(0.0);
    let search = Search::new(LabConfig::default().net(net)).strategies([Strategy::Dpor]);
    let report = search.run(program);
    let failure = report.failure.as_ref().expect("it is found");
    assert!(failure.number > 0, "the first run shows it already");
    assert!(failure.to_string().contains("it was there"), "{failure}");
}

#[test]
fn a_read_that_found_nothing_may_find_something() {
    turned_round(async |cx: Cx| {
        cx.region(async |scope: Scope<'_, TestError>| {
            let listener = TcpListener::bind(scope.cx(), address()).await?;
            let mut client = TcpStream::connect(scope.cx(), address()).await?;
            let (server, _) = listener.accept(scope.cx()).await?;
            // Kept here, so that its end is no event of the task.
            let server = Arc::new(Mutex::new(server));
            let own = Arc::clone(&server);
            scope.spawn(async move |_: Cx| {
                let found = std::future::poll_fn(|task| {
                    let mut server = own.lock().expect("nobody panics");
                    let mut buf = [0; 1];
                    let mut read = std::pin::pin!(server.read(&mut buf));
                    Poll::Ready(read.as_mut().poll(task).is_ready())
                });
                assert!(!found.await, "it was there");
                Ok::<_, TestError>(())
            });
            client.write_all(&[7]).await?;
            scope.cx().sleep(Duration::from_millis(1)).await?;
            Ok::<_, TestError>(())
        })
        .await
    });
}

#[test]
fn a_listener_that_found_nobody_may_find_somebody() {
    turned_round(async |cx: Cx| {
        cx.region(async |scope: Scope<'_, TestError>| {
            let listener = TcpListener::bind(scope.cx(), address()).await?;
            scope.spawn(async move |cx: Cx| {
                let found = is_over(listener.accept(&cx)).await;
                assert!(!found, "it was there");
                cx.sleep(Duration::from_millis(1)).await?;
                drop(listener);
                Ok::<_, TestError>(())
            });
            let _connected = TcpStream::connect(scope.cx(), address()).await;
            scope.cx().sleep(Duration::from_millis(1)).await?;
            Ok::<_, TestError>(())
        })
        .await
    });
}

#[test]
fn who_was_refused_may_find_a_listener() {
    turned_round(async |cx: Cx| {
        cx.region(async |scope: Scope<'_, TestError>| {
            scope.spawn(async move |cx: Cx| {
                let connected = TcpStream::connect(&cx, address()).await;
                assert!(connected.is_err(), "it was there");
                Ok::<_, TestError>(())
            });
            for _ in 0..5 {
                scope.cx().yield_now().await?;
            }
            let listener = TcpListener::bind(scope.cx(), address()).await?;
            scope.cx().sleep(Duration::from_millis(1)).await?;
            drop(listener);
            Ok::<_, TestError>(())
        })
        .await
    });
}

#[test]
fn a_segment_may_arrive_after_the_region_that_sent_it_has_closed() {
    let net = NetConfig::default().short_probability(0.0);
    let search = Search::new(LabConfig::default().net(net)).strategies([Strategy::Dpor]);
    let report = search.run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, address()).await?;
        let mut client = TcpStream::connect(&cx, address()).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        let sent = cx
            .region(async |scope: Scope<'_, TestError>| {
                scope.spawn(async move |_: Cx| {
                    client.write_all(&[7]).await?;
                    Ok::<_, TestError>(client)
                });
                Ok::<_, TestError>(())
            })
            .await;
        assert!(sent.is_ok());
        cx.yield_now().await?;
        assert!(is_over(server.read(&mut [0; 1])).await, "it was not there");
        Ok::<_, TestError>(())
    });
    let failure = report.failure.as_ref().expect("it is found");
    assert!(failure.number > 0, "the first run shows it already");
}
