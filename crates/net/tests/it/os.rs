//! The operating system's driver alone, without a host.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_net::{
    NetPort, StreamIo, TcpConnectOptions, TcpListenOptions, TcpListener, TcpOptions,
};
use asupersync_reactor::Reactor;

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(20);

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls until ready, and turns the reactor while it is not; a pending poll that is not woken fails.
fn drive<R>(reactor: &mut Reactor, mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    loop {
        if let Poll::Ready(result) = poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        while !flag.0.swap(false, Ordering::SeqCst) {
            let turn = reactor.turn(Some(HANG)).expect("the system polls");
            assert!(turn.events > 0, "nothing happened for {HANG:?}");
        }
    }
}

fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn pair(reactor: &mut Reactor, options: TcpOptions) -> (Arc<dyn StreamIo>, Arc<dyn StreamIo>) {
    let net = NetPort::os(reactor.handle());
    let listen = TcpListenOptions::new().stream(options);
    let listener = net.driver().listen(any(), &listen).expect("it listens");
    let address = listener.local_addr().expect("it has an address");
    let connect = TcpConnectOptions::new().stream(options);
    let client = net
        .driver()
        .connect(address, &connect)
        .expect("it connects");
    drive(reactor, |task| client.poll_connected(task)).expect("it is connected");
    let (server, _) = drive(reactor, |task| listener.poll_accept(task)).expect("it is accepted");
    (client, server)
}

#[test]
fn a_short_move_does_not_hide_the_bytes_that_follow() {
    let mut reactor = Reactor::new().unwrap();
    let small = TcpOptions::new()
        .send_buffer_bytes(8192)
        .recv_buffer_bytes(8192);
    let (client, server) = pair(&mut reactor, small);
    let sent: Vec<u8> = (0..500_000_u32).map(|place| (place / 7) as u8).collect();
    let mut written = 0;
    let mut heard = Vec::new();
    let mut buf = vec![0; 3000];
    while heard.len() < sent.len() {
        drive(&mut reactor, |task| {
            while written < sent.len() {
                let Poll::Ready(count) = client.poll_write(task, &sent[written..]) else {
                    break;
                };
                written += count.unwrap();
            }
            server.poll_read(task, &mut buf).map(|count| {
                heard.extend_from_slice(&buf[..count.unwrap()]);
            })
        });
    }
    assert!(heard == sent, "the bytes differ");
}

#[test]
fn more_buffers_than_one_call_takes_are_no_trouble() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    // The first event says that the socket can be written; only what the calls say counts from here.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let bytes = [b'x'; 1];
    let bufs = vec![std::io::IoSlice::new(&bytes); 3000];
    let count = drive(&mut reactor, |task| client.poll_write_vectored(task, &bufs)).unwrap();
    assert_eq!(count, 1024);
    let more = drive(&mut reactor, |task| {
        client.poll_write_vectored(task, &bufs[count..])
    })
    .unwrap();
    assert_eq!(more, 1024);
    let mut cells = vec![[0_u8; 1]; 2048];
    let mut heard = 0;
    while heard < 2048 {
        let mut bufs: Vec<_> = cells
            .iter_mut()
            .map(|cell| std::io::IoSliceMut::new(cell))
            .collect();
        heard += drive(&mut reactor, |task| {
            server.poll_read_vectored(task, &mut bufs)
        })
        .unwrap();
    }
    assert_eq!(heard, 2048);
}

#[test]
fn a_refused_connection_says_so_once_the_reactor_has_seen_it() {
    let mut reactor = Reactor::new().unwrap();
    let net = NetPort::os(reactor.handle());
    let listener = net
        .driver()
        .listen(any(), &TcpListenOptions::new())
        .unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let end = match net.driver().connect(address, &TcpConnectOptions::new()) {
        Ok(client) => drive(&mut reactor, |task| client.poll_connected(task)),
        Err(error) => Err(error),
    };
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_option_that_the_system_refuses_is_an_error_and_leaves_no_socket() {
    let reactor = Reactor::new().unwrap();
    let net = NetPort::os(reactor.handle());
    let bad = TcpOptions::new().ttl(100_000);
    let listen = TcpListenOptions::new().stream(bad);
    assert!(net.driver().listen(any(), &listen).is_err());
    let connect = TcpConnectOptions::new().stream(bad);
    assert!(net.driver().connect(any(), &connect).is_err());
    assert_eq!(reactor.handle().source_count(), 0);
}

#[test]
fn a_lookup_that_fails_says_so() {
    let reactor = Reactor::new().unwrap();
    let net = NetPort::os(reactor.handle());
    let found = net.driver().resolve("localhost", 80).unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()));
    assert!(net.driver().resolve("a name with spaces", 80).is_err());
}

#[test]
fn sockets_of_a_dropped_reactor_fail_instead_of_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let (client, _server) = pair(&mut reactor, TcpOptions::new());
    drop(reactor);
    let mut task = Context::from_waker(Waker::noop());
    let Poll::Ready(end) = client.poll_read(&mut task, &mut [0; 8]) else {
        panic!("nobody would ever wake it");
    };
    assert!(end.is_err());
}

#[test]
fn the_systems_network_can_serve_under_the_lab_too() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let lab = LabRuntime::new(LabConfig::default()).port(NetPort::os(handle.clone()));
    let report = lab.run(async |cx: Cx| {
        let listener = TcpListener::bind(&cx, any()).await?;
        assert_eq!(handle.source_count(), 1);
        drop(listener);
        assert_eq!(handle.source_count(), 0);
        Ok::<_, asupersync_net::NetError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok());
}
