//! The operating system's driver alone, without a host.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
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
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

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

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn pair(reactor: &mut Reactor, options: TcpOptions) -> (Arc<dyn StreamIo>, Arc<dyn StreamIo>) {
    let net = NetPort::os(reactor.handle());
    let listen = TcpListenOptions::new().stream(options);
    let listener = net
        .driver()
        .listen(any_port(), &listen)
        .expect("it listens");
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

/// Reads until `limit` bytes are there or the stream has ended.
fn hear(
    reactor: &mut Reactor,
    stream: &dyn StreamIo,
    limit: usize,
    room: usize,
) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    while heard.len() < limit {
        let mut buf = vec![0; room];
        match drive(reactor, |task| stream.poll_read(task, &mut buf))? {
            0 => break,
            count => heard.extend_from_slice(&buf[..count]),
        }
    }
    Ok(heard)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_arrive_in_order_whatever_the_sizes_of_reads_and_writes(
        writes in vec(vec(0_usize..700, 1..4), 1..12),
        reads in vec((1_usize..1200, any::<bool>()), 1..12),
    ) {
        let mut reactor = Reactor::new().unwrap();
        let (client, server) = pair(&mut reactor, TcpOptions::new().nodelay(true));
        let mut sent = Vec::new();
        let mut heard = Vec::new();
        let mut reads = reads.into_iter().cycle();
        for sizes in writes {
            let parts: Vec<Vec<u8>> = sizes
                .iter()
                .map(|&size| (0..size).map(|place| (sent.len() + 7 * place) as u8).collect())
                .collect();
            let bufs: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let count = drive(&mut reactor, |task| client.poll_write_vectored(task, &bufs)).unwrap();
            let all = parts.concat();
            prop_assert_eq!(count, all.len(), "so little fits into any buffer of the system");
            sent.extend(all);
            while heard.len() < sent.len() {
                let (room, split) = reads.next().expect("it goes round");
                let mut buf = vec![0; room];
                let (front, back) = buf.split_at_mut(if split { room / 3 } else { 0 });
                let count = drive(&mut reactor, |task| {
                    let mut bufs = [IoSliceMut::new(front), IoSliceMut::new(back)];
                    server.poll_read_vectored(task, &mut bufs)
                })
                .unwrap();
                prop_assert!(count > 0, "the peer has not ended");
                heard.extend_from_slice(&buf[..count]);
            }
            prop_assert_eq!(&heard, &sent);
        }
        client.shutdown(Shutdown::Write).unwrap();
        let end = drive(&mut reactor, |task| server.poll_read(task, &mut [0; 8])).unwrap();
        prop_assert_eq!(end, 0);
    }
}

fn check_reset_behind(sent: &'static [u8]) {
    let mut reactor = Reactor::new().expect("the system has a reactor");
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, sent)).expect("the connection stands");
    let heard = hear(&mut reactor, &*server, 1, 1).expect("the connection stands");
    assert_eq!(heard, sent[..1]);
    client
        .set_options(&TcpOptions::new().linger(Some(Duration::ZERO)))
        .expect("the connection stands");
    drop(client);
    // The reset is there once the system says so.
    reactor.turn(Some(HANG)).expect("the connection stands");
    let rest = sent.len() - 1;
    let heard = hear(&mut reactor, &*server, rest, 8).expect("it was there before the reset");
    assert_eq!(heard, sent[1..]);
    let end = drive(&mut reactor, |task| server.poll_read(task, &mut [0; 8]));
    assert_eq!(
        end.expect_err("the connection was reset").kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn what_has_come_is_read_before_the_error_that_followed_it() {
    check_reset_behind(b"a");
    check_reset_behind(b"ab");
    check_reset_behind(b"abc");
}

#[test]
fn a_list_of_buffers_gets_its_bytes_in_order() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, b"abcdef")).unwrap();
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"a");
    let (mut front, mut back) = ([0; 2], [0; 3]);
    let mut heard = Vec::new();
    while heard.len() < 5 {
        let count = drive(&mut reactor, |task| {
            let mut bufs = [IoSliceMut::new(&mut front), IoSliceMut::new(&mut back)];
            server.poll_read_vectored(task, &mut bufs)
        })
        .unwrap();
        heard.extend_from_slice(&[&front[..], &back].concat()[..count]);
    }
    assert_eq!(heard, b"bcdef");
}

#[test]
fn the_end_is_read_behind_the_last_byte() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, b"ab")).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"a");
    assert_eq!(hear(&mut reactor, &*server, 9, 9).unwrap(), b"b");
    let end = drive(&mut reactor, |task| server.poll_read(task, &mut [0; 9])).unwrap();
    assert_eq!(end, 0);
}

#[test]
fn a_read_into_nothing_takes_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, b"ab")).unwrap();
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"a");
    let none = drive(&mut reactor, |task| server.poll_read(task, &mut [])).unwrap();
    assert_eq!(none, 0);
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"b");
}

#[test]
fn dropping_a_stream_with_a_byte_that_nobody_read_resets_the_connection() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, b"ab")).unwrap();
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"a");
    drop(server);
    let end = drive(&mut reactor, |task| client.poll_read(task, &mut [0; 8]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn dropping_a_stream_that_was_read_to_the_last_byte_ends_it() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    drive(&mut reactor, |task| client.poll_write(task, b"ab")).unwrap();
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"a");
    assert_eq!(hear(&mut reactor, &*server, 1, 1).unwrap(), b"b");
    drop(server);
    let end = drive(&mut reactor, |task| client.poll_read(task, &mut [0; 8])).unwrap();
    assert_eq!(end, 0);
}

#[test]
fn more_buffers_than_one_call_takes_are_no_trouble() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = pair(&mut reactor, TcpOptions::new());
    // The first event says that the socket can be written; only what the calls say counts from here.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let bytes = [b'x'; 1];
    let bufs = vec![IoSlice::new(&bytes); 3000];
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
        let mut bufs: Vec<_> = cells.iter_mut().map(|cell| IoSliceMut::new(cell)).collect();
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
        .listen(any_port(), &TcpListenOptions::new())
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
    assert!(net.driver().listen(any_port(), &listen).is_err());
    let connect = TcpConnectOptions::new().stream(bad);
    assert!(net.driver().connect(any_port(), &connect).is_err());
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
        let listener = TcpListener::bind(&cx, any_port()).await?;
        assert_eq!(handle.source_count(), 1);
        drop(listener);
        assert_eq!(handle.source_count(), 0);
        Ok::<_, asupersync_net::NetError>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok());
}
