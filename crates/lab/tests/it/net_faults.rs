//! Faults of the simulated network: each shows what nothing else shows, is replayed, and is all that is left of its schedule.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{Cx, Event};
use asupersync_lab::{
    Failure, Faults, LabConfig, LabRuntime, NetConfig, NetFaults, Search, Strategy, Trace, replay,
};
use asupersync_net::{TcpListener, TcpStream};

use crate::net_decisions::TestError;

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 80))
}

/// The names of what went wrong.
pub(crate) fn faults_in(trace: &Trace) -> Vec<String> {
    let named = trace.iter().filter_map(|event| match event {
        Event::FaultInjected { fault, .. } => Some(fault.to_string()),
        _ => None,
    });
    named.collect()
}

/// A program that fails under these faults only: that is found, one fault of this name is left, and its schedule replays it.
#[track_caller]
pub(crate) fn found<F, Fut>(name: &str, config: LabConfig, faults: NetFaults, program: F) -> Failure
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = Result<(), TestError>>,
{
    let search = |config| {
        let search = Search::new(config).strategies([Strategy::Random]);
        search.schedules(300).run(&program).failure
    };
    if let Some(without) = search(config.clone()) {
        panic!("without faults: {without}");
    }
    let config = config.faults(Faults::none().net(faults));
    let failure = *search(config.clone()).expect("it is found");
    assert_eq!(faults_in(&failure.run.trace), [name], "{failure}");
    assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    let again = replay(
        &config.seed(failure.run.seed + 1),
        failure.run.schedule.clone(),
        &program,
    );
    assert_eq!(again.trace.divergence(&failure.run.trace), None);
    assert_eq!(again.finding, failure.run.finding);
    failure
}

/// One fault among many others: the other chances are there and nothing of them is left.
fn with_noise(faults: NetFaults) -> NetFaults {
    faults.duplicate(0.2).slow_peer(0.2, MS)
}

fn plain() -> LabConfig {
    LabConfig::default().net(NetConfig::default().latency(MS))
}

/// Messages of one size, each of which is to be there in time.
async fn messages(cx: Cx, bytes: usize, in_time: Duration) -> Result<(), TestError> {
    let listener = TcpListener::bind(&cx, address()).await?;
    let mut client = TcpStream::connect(&cx, address()).await?;
    let (mut server, _) = listener.accept(&cx).await?;
    for _ in 0..4 {
        let start = cx.now();
        client.write_all(&vec![7; bytes]).await?;
        client.write_all(&[8]).await?;
        let mut heard = vec![0; bytes + 1];
        let read = server.read_exact(&mut heard).await;
        read.map_err(std::io::Error::other)?;
        assert_eq!(heard[bytes], 8, "bytes came in another order");
        assert!(heard[..bytes].iter().all(|byte| *byte == 7));
        assert!(cx.now() - start <= in_time, "a message came too late");
    }
    Ok(())
}

#[test]
fn a_lost_segment_comes_later() {
    let failure = found(
        "net.loss",
        plain(),
        with_noise(NetFaults::none().loss(0.1)),
        |cx| messages(cx, 10, MS * 150),
    );
    assert_eq!(failure.run.schedule.faults().last(), Some(&1), "{failure}");
}

#[test]
fn a_segment_lost_twice_comes_later_still() {
    let failure = found("net.loss", plain(), NetFaults::none().loss(0.1), |cx| {
        messages(cx, 10, MS * 450)
    });
    assert_eq!(failure.run.schedule.faults().last(), Some(&2), "{failure}");
}

#[test]
fn a_segment_that_is_overtaken_holds_back_those_behind_it() {
    let faults = with_noise(NetFaults::none().reorder(0.1, MS * 80));
    let failure = found("net.reorder", plain(), faults, |cx| {
        messages(cx, 10, MS * 45)
    });
    // In eighths of 80 ms: 50 ms is the least that is too late.
    assert_eq!(failure.run.schedule.faults().last(), Some(&5), "{failure}");
}

#[test]
fn a_copy_takes_its_time_on_the_wire_and_is_thrown_away() {
    let net = NetConfig::default()
        .bandwidth(1_000_000)
        .short_probability(0.0);
    let faults = NetFaults::none().duplicate(0.1);
    found(
        "net.duplicate",
        LabConfig::default().net(net),
        faults,
        |cx| messages(cx, 20_000, MS * 30),
    );
}

#[test]
fn a_slow_server_is_slow_for_every_segment() {
    let faults = NetFaults::none().slow_peer(0.3, MS * 80).duplicate(0.1);
    let failure = found("net.slow_peer", plain(), faults, |cx| {
        messages(cx, 10, MS * 45)
    });
    assert_eq!(failure.run.schedule.faults(), [5], "{failure}");
}

#[test]
fn a_refused_connection_is_told() {
    let faults = with_noise(NetFaults::none().refuse(0.3));
    let failure = found("net.refuse", plain(), faults, |cx| {
        messages(cx, 10, MS * 900)
    });
    let told = failure.to_string();
    assert!(told.contains("ConnectionRefused"), "{told}");
}

#[test]
fn a_reset_is_told() {
    let faults = with_noise(NetFaults::none().reset(0.1));
    let failure = found("net.reset", plain(), faults, |cx| {
        messages(cx, 10, MS * 900)
    });
    let told = failure.to_string();
    assert!(told.contains("ConnectionReset"), "{told}");
}

#[test]
fn no_more_goes_wrong_than_was_allowed_whatever_it_is() {
    let net = NetFaults::none().loss(0.5).duplicate(0.5).reorder(0.5, MS);
    for limit in 0..4 {
        let faults = Faults::none().net(net).wake_storm(0.5).at_most(limit);
        for seed in 0..10 {
            let lab = LabRuntime::new(plain().seed(seed).faults(faults));
            let report = lab.run(|cx| messages(cx, 10, MS * 10_000));
            report.assert_clean();
            assert_eq!(faults_in(&report.trace).len(), limit as usize);
        }
    }
}
