//! A client with limits and retries gets all its answers, whatever goes wrong with the network.

use std::time::Duration;

use asupersync::combinator::{Backoff, Policy, Retry};
use asupersync::io::{ReadError, ReadExt, WriteExt};
use asupersync::lab::{Faults, LabConfig, LabNet, Latency, NetConfig, NetFaults};
use asupersync::net::{NetError, TcpListener, TcpStream};
use asupersync::{Cancelled, Cx, Outcome, Scope};

const ADDRESS: &str = "10.0.0.1:7";
const CALLS: u8 = 8;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum EchoError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Short(#[from] ReadError),
}

type End<T = ()> = Outcome<T, EchoError>;

fn near() -> LabConfig {
    let ms = Duration::from_millis(1);
    LabConfig::default().net(NetConfig::default().latency(Latency::uniform(ms, ms * 5)))
}

/// Sends back what comes, until the connection ends or breaks.
async fn echo(mut stream: TcpStream) -> Result<(), EchoError> {
    let mut buf = [0; 100];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            count => stream.write_all(&buf[..count]).await?,
        }
    }
}

async fn serve(cx: Cx, listener: TcpListener) -> End {
    cx.region(
        async |scope: Scope<'_, EchoError>| -> Result<(), EchoError> {
            loop {
                let (stream, _) = listener.accept(scope.cx()).await?;
                scope.spawn(async move |_: Cx| {
                    // A broken connection is the client's business.
                    let _broken = echo(stream).await;
                    Ok::<_, EchoError>(())
                });
            }
        },
    )
    .await
}

/// One question over a connection of its own.
async fn call(cx: &Cx, number: u8) -> Result<(), EchoError> {
    let mut stream = TcpStream::connect(cx, ADDRESS).await?;
    let asked: Vec<u8> = (0..=255).map(|place: u8| place ^ number).collect();
    stream.write_all(&asked).await?;
    let mut answer = vec![0; asked.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, asked, "the bytes of an answer were changed");
    Ok(())
}

/// Asks until every question is answered.
async fn survives(cx: Cx) -> End {
    let retry = Retry::new(30, Backoff::exponential(SECOND / 20, SECOND * 2));
    let policy = Policy::builder()
        .with(retry.attempt_timeout(SECOND * 5))
        .build();
    let policy = &policy;
    cx.region(
        async |scope: Scope<'_, EchoError>| -> Result<(), EchoError> {
            let cx = scope.cx();
            let listener = TcpListener::bind(cx, ADDRESS).await?;
            let server = scope.spawn(|cx| serve(cx, listener));
            for number in 0..CALLS {
                let answered = policy.run(cx, async |cx: Cx| call(&cx, number).await).await;
                assert!(answered.is_ok(), "call {number}: {answered:?}");
            }
            server.cancel();
            let _cancelled = server.join(cx).await;
            let net = LabNet::of(cx).expect("the lab has a network");
            assert!(net.connections().is_empty(), "{:?}", net.connections());
            Ok(())
        },
    )
    .await
}

const fn some(net: NetFaults) -> Faults {
    Faults::none().net(net).at_most(10)
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().loss(0.1)))]
async fn losses(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().duplicate(0.2)))]
async fn copies(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().reorder(0.2, SECOND)))]
async fn segments_that_are_overtaken(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().slow_peer(0.3, SECOND)))]
async fn slow_peers(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().refuse(0.4)))]
async fn refused_connections(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().reset(0.2)))]
async fn resets(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().partition(0.1, SECOND * 20)))]
async fn partitions(cx: Cx) -> End {
    survives(cx).await
}

#[asupersync::test(seeds = 30, config = near(), faults = some(NetFaults::none().half_open(0.1, SECOND * 20)))]
async fn ends_that_vanish(cx: Cx) -> End {
    survives(cx).await
}

/// Everything at once, and tasks held back on top.
fn all() -> Faults {
    let net = NetFaults::none()
        .loss(0.05)
        .duplicate(0.05)
        .reorder(0.05, SECOND)
        .slow_peer(0.05, SECOND)
        .refuse(0.05)
        .reset(0.05)
        .partition(0.02, SECOND * 10)
        .half_open(0.02, SECOND * 10);
    Faults::none()
        .net(net)
        .delay(0.01, SECOND)
        .clock_jump(0.01, SECOND)
        .at_most(15)
}

#[asupersync::test(seeds = 60, config = near(), faults = all())]
async fn all_of_them(cx: Cx) -> End {
    survives(cx).await
}
