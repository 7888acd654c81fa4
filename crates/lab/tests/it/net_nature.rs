//! The simulated network's nature: how long segments take, and what is found by varying it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabNet, LabRuntime, Latency, NetConfig, Search, Strategy};
use asupersync_net::{TcpListener, TcpStream};

use crate::net_decisions::TestError;

const MS: Duration = Duration::from_millis(1);
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 80))
}

fn whole(net: NetConfig) -> LabConfig {
    LabConfig::default().net(net.short_probability(0.0))
}

/// How long it takes until so many bytes are there, and until as many have come back.
fn there_and_back(net: NetConfig, to: SocketAddr, bytes: usize) -> (Duration, Duration) {
    let report = LabRuntime::new(whole(net)).run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, to).await?;
        let mut client = TcpStream::connect(&cx, to).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        let start = cx.now();
        let mut buf = vec![0; bytes];
        client.write_all(&buf).await?;
        server
            .read_exact(&mut buf)
            .await
            .map_err(std::io::Error::other)?;
        let there = cx.now();
        server.write_all(&buf).await?;
        client
            .read_exact(&mut buf)
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, TestError>((there - start, cx.now() - there))
    });
    report.assert_clean();
    report.outcome.ok().expect("the scenario succeeds")
}

#[test]
fn bytes_take_their_time_at_the_bandwidth_in_each_direction() {
    let net = NetConfig::default().bandwidth(1_000_000).latency(MS * 3);
    assert_eq!(there_and_back(net, address(), 20_000), (MS * 23, MS * 23));
}

#[test]
fn bytes_that_are_written_later_leave_after_those_before_them() {
    let net = NetConfig::default().bandwidth(1_000_000);
    let report = LabRuntime::new(whole(net)).run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, address()).await?;
        let mut client = TcpStream::connect(&cx, address()).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        for _ in 0..10 {
            client.write_all(&[7; 1000]).await?;
        }
        let mut seen = Vec::new();
        for _ in 0..10 {
            let read = server.read_exact(&mut [0; 1000]).await;
            read.map_err(std::io::Error::other)?;
            seen.push(cx.now().as_nanos() / 1_000_000);
        }
        assert!(seen.iter().copied().eq(1..=10), "{seen:?}");
        Ok::<_, TestError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn bandwidth_can_change_under_way_and_times_without_end_do_not_overflow() {
    let report = LabRuntime::new(whole(NetConfig::default())).run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, address()).await?;
        let mut client = TcpStream::connect(&cx, address()).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        let net = LabNet::of(&cx).expect("the lab has a network");
        net.set_bandwidth(1_000);
        client.write_all(&[7; 5]).await?;
        let read = server.read_exact(&mut [0; 5]).await;
        read.map_err(std::io::Error::other)?;
        assert_eq!(cx.now().as_nanos(), 5_000_000);
        net.set_latency(Duration::MAX);
        net.slow(address().ip(), u32::MAX);
        client.write_all(&[7; 5]).await?;
        assert_eq!(server.read(&mut [0; 5]).await?, 5);
        assert_eq!(cx.now().as_nanos(), u64::MAX);
        Ok::<_, TestError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn a_slow_address_slows_its_links_and_no_others() {
    let net = NetConfig::default()
        .bandwidth(1_000_000)
        .latency(MS * 3)
        .slow(FAR, 4);
    let far = SocketAddr::new(FAR, 80);
    let expected = (MS * 92, MS * 92);
    assert_eq!(there_and_back(net.clone(), far, 20_000), expected);
    assert_eq!(there_and_back(net, address(), 20_000), (MS * 23, MS * 23));
}

#[test]
fn an_address_becomes_slow_and_recovers_under_way() {
    let report = LabRuntime::new(whole(NetConfig::default().latency(MS))).run(async |cx: Cx| {
        let net = LabNet::of(&cx).expect("the lab has a network");
        let listener = TcpListener::bind(&cx, address()).await?;
        let mut client = TcpStream::connect(&cx, address()).await?;
        let (mut server, _) = listener.accept(&cx).await?;
        for (factor, expected) in [(1, 1), (100, 100), (1, 1)] {
            net.slow(address().ip(), factor);
            let start = cx.now();
            client.write_all(&[7]).await?;
            server.read(&mut [0; 1]).await?;
            assert_eq!(cx.now() - start, MS * expected);
        }
        Ok::<_, TestError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

/// Gives an answer 100 ms, whatever the network's tail.
async fn impatient(cx: Cx) -> Result<(), TestError> {
    let listener = TcpListener::bind(&cx, address()).await?;
    let mut client = TcpStream::connect(&cx, address()).await?;
    let (mut server, _) = listener.accept(&cx).await?;
    for _ in 0..5 {
        let start = cx.now();
        client.write_all(&[7]).await?;
        server.read(&mut [0; 1]).await?;
        assert!(cx.now() - start < MS * 100, "the answer came too late");
    }
    Ok(())
}

#[test]
fn a_long_tail_is_found_and_the_one_latency_that_matters_is_left_and_is_the_least() {
    let latency = Latency::exponential(MS, MS * 14, MS * 500);
    let net = NetConfig::default().latency(latency);
    let search = Search::new(LabConfig::default().net(net)).strategies([Strategy::Random]);
    let failure = search.run(impatient).failure.expect("it is found");
    assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    // A step is 2 ms: 1 ms and 50 steps are the first time that is too long.
    assert_eq!(failure.run.schedule.faults().last(), Some(&50), "{failure}");
}
