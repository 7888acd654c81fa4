//! The reactor with real sockets on loopback.
#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail by panicking, like the tests"
)]

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use asupersync_reactor::os::{Interest, TcpListener, TcpStream, UnixDatagram, UnixStream};
use asupersync_reactor::{Direction, IoSource, Reactor, ReactorError, ReactorHandle};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Long enough that reaching it means a hang.
const HANG: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

#[derive(Default)]
struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Runs a future on this thread while another turns the reactor.
fn block_on<F: Future>(future: F) -> F::Output {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let woken = signal.woken.lock().unwrap();
        let (mut woken, _) = signal
            .changed
            .wait_timeout_while(woken, HANG, |woken| !*woken)
            .unwrap();
        assert!(*woken, "nobody woke the task");
        *woken = false;
    }
}

/// Turns the reactor on a thread of its own while `body` runs, and stops also when `body` panics.
fn while_turning<R>(mut reactor: Reactor, body: impl FnOnce() -> R) -> R {
    struct Stop<'a>(&'a AtomicBool, ReactorHandle);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            self.1.wake().unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    let handle = reactor.handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                reactor.turn(None).unwrap();
            }
        });
        let _stop = Stop(&stop, handle);
        body()
    })
}

/// Runs a future on this thread, which turns the reactor itself.
fn drive<F: Future>(reactor: &mut Reactor, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let (count, waker) = counter();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while count.get() == 0 {
            reactor.turn(Some(HANG)).unwrap();
        }
    }
}

async fn accept(listener: &IoSource<TcpListener>) -> io::Result<TcpStream> {
    poll_fn(|cx| listener.poll_io(Direction::Read, cx, TcpListener::accept))
        .await
        .map(|(stream, _)| stream)
}

async fn connect(handle: &ReactorHandle, address: SocketAddr) -> io::Result<IoSource<TcpStream>> {
    let stream = handle.register(TcpStream::connect(address)?, BOTH)?;
    poll_fn(|cx| {
        stream.poll_io(Direction::Write, cx, |stream| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                result => result,
            }
        })
    })
    .await?;
    Ok(stream)
}

async fn read(stream: &IoSource<TcpStream>, buf: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_io(Direction::Read, cx, |mut stream| stream.read(buf))).await
}

async fn write_all(stream: &IoSource<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n =
            poll_fn(|cx| stream.poll_io(Direction::Write, cx, |mut stream| stream.write(bytes)))
                .await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

fn listen(handle: &ReactorHandle) -> (IoSource<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (
        handle.register(listener, Interest::READABLE).unwrap(),
        address,
    )
}

fn tcp_pair(reactor: &mut Reactor) -> (IoSource<TcpStream>, IoSource<TcpStream>) {
    let handle = reactor.handle();
    let (listener, address) = listen(&handle);
    let client = drive(reactor, connect(&handle, address)).unwrap();
    let server = drive(reactor, accept(&listener)).unwrap();
    (client, handle.register(server, BOTH).unwrap())
}

fn unix_pair(handle: &ReactorHandle) -> (IoSource<UnixDatagram>, UnixDatagram) {
    let (a, b) = UnixDatagram::pair().unwrap();
    (handle.register(a, BOTH).unwrap(), b)
}

fn poll_recv(socket: &IoSource<UnixDatagram>, waker: &Waker) -> Poll<io::Result<usize>> {
    let mut buf = [0; 8];
    socket.poll_io(Direction::Read, &mut Context::from_waker(waker), |socket| {
        socket.recv(&mut buf)
    })
}

fn reactor_error(error: &io::Error) -> Option<ReactorError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Turns until the count has been reached.
fn turn_until(reactor: &mut Reactor, count: &Count, at_least: usize) {
    while count.get() < at_least {
        reactor.turn(Some(HANG)).unwrap();
    }
}

#[test]
fn a_reader_is_woken_when_data_arrives_and_not_before() {
    let mut reactor = Reactor::new().unwrap();
    let (socket, peer) = unix_pair(&reactor.handle());
    let (count, waker) = counter();
    assert!(poll_recv(&socket, &waker).is_pending());
    // The socket's first event says writable; nobody waits for that.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(count.get(), 0);
    peer.send(b"abc").unwrap();
    turn_until(&mut reactor, &count, 1);
    assert_eq!(
        poll_recv(&socket, &waker).map(Result::unwrap),
        Poll::Ready(3)
    );
    assert!(poll_recv(&socket, &waker).is_pending());
}

#[test]
fn connect_accept_read_write_and_end_of_stream() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = tcp_pair(&mut reactor);
    drive(&mut reactor, write_all(&client, b"hello")).unwrap();
    let mut buf = [0; 16];
    assert_eq!(drive(&mut reactor, read(&server, &mut buf)).unwrap(), 5);
    drop(client);
    assert_eq!(drive(&mut reactor, read(&server, &mut buf)).unwrap(), 0);
    assert_eq!(
        drive(&mut reactor, read(&server, &mut buf)).unwrap(),
        0,
        "the end can be read again"
    );
}

#[test]
fn the_end_of_stream_is_seen_after_a_short_read_was_declared_drained() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = tcp_pair(&mut reactor);
    let (count, waker) = counter();
    let mut buf = [0; 64];
    let mut cx = Context::from_waker(&waker);
    assert!(
        server
            .poll_io(Direction::Read, &mut cx, |mut s| s.read(&mut buf))
            .is_pending()
    );
    client.get_ref().write_all(b"last words").unwrap();
    drop(client);
    turn_until(&mut reactor, &count, 1);
    // Data and end may come as one event or as two.
    let mut total = 0;
    loop {
        let token = drive(
            &mut reactor,
            poll_fn(|cx| server.poll_ready(Direction::Read, cx)),
        )
        .unwrap();
        match server.get_ref().read(&mut buf) {
            Ok(0) => break,
            Ok(n) => {
                total += n;
                server.clear_drained(token);
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                server.clear_blocked(token);
            }
        }
    }
    assert_eq!(total, 10);
}

#[test]
fn a_refused_connection_is_an_error() {
    let mut reactor = Reactor::new().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let handle = reactor.handle();
    let error = drive(&mut reactor, connect(&handle, unused)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_reset_wakes_reader_and_writer() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = tcp_pair(&mut reactor);
    let block = vec![7; 1 << 16];
    let ((reads, reader), (writes, writer)) = (counter(), counter());
    let mut buf = [0; 16];
    assert!(
        client
            .poll_io(
                Direction::Read,
                &mut Context::from_waker(&reader),
                |mut s| s.read(&mut buf)
            )
            .is_pending()
    );
    while client
        .poll_io(
            Direction::Write,
            &mut Context::from_waker(&writer),
            |mut s| s.write(&block),
        )
        .is_ready()
    {}
    // Closing with unread data resets the connection.
    drop(server);
    turn_until(&mut reactor, &reads, 1);
    turn_until(&mut reactor, &writes, 1);
    assert!(drive(&mut reactor, read(&client, &mut buf)).is_err());
}

#[test]
fn reader_and_writer_tasks_share_a_stream() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = tcp_pair(&mut reactor);
    const BYTES: usize = 8 << 20;
    let received = while_turning(reactor, || {
        thread::scope(|scope| {
            // The server sends back what it gets; the client writes and reads from two tasks.
            scope.spawn(|| {
                block_on(async {
                    let mut buf = vec![0; 1 << 15];
                    loop {
                        let n = read(&server, &mut buf).await.unwrap();
                        if n == 0 {
                            break;
                        }
                        write_all(&server, &buf[..n]).await.unwrap();
                    }
                    server
                        .get_ref()
                        .shutdown(std::net::Shutdown::Write)
                        .unwrap();
                });
            });
            scope.spawn(|| {
                block_on(write_all(&client, &vec![1; BYTES])).unwrap();
                client
                    .get_ref()
                    .shutdown(std::net::Shutdown::Write)
                    .unwrap();
            });
            block_on(async {
                let (mut buf, mut total) = (vec![0; 1 << 15], 0);
                loop {
                    match read(&client, &mut buf).await.unwrap() {
                        0 => break total,
                        n => total += n,
                    }
                }
            })
        })
    });
    assert_eq!(received, BYTES);
}

#[test]
fn ten_thousand_ping_pongs_between_threads_lose_no_edge() {
    let mut reactor = Reactor::new().unwrap();
    let (client, server) = tcp_pair(&mut reactor);
    client.get_ref().set_nodelay(true).unwrap();
    server.get_ref().set_nodelay(true).unwrap();
    let rounds = 10_000_u32;
    while_turning(reactor, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(async {
                    for _ in 0..rounds {
                        let mut buf = [0; 4];
                        assert_eq!(read(&server, &mut buf).await.unwrap(), 4);
                        write_all(&server, &buf).await.unwrap();
                    }
                });
            });
            block_on(async {
                for round in 0..rounds {
                    write_all(&client, &round.to_le_bytes()).await.unwrap();
                    let mut buf = [0; 4];
                    assert_eq!(read(&client, &mut buf).await.unwrap(), 4);
                    assert_eq!(u32::from_le_bytes(buf), round);
                }
            });
        });
    });
}

#[test]
fn wake_interrupts_a_turn_that_sleeps_without_limit() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..1_000 {
                handle.wake().unwrap();
                thread::yield_now();
            }
            handle.wake().unwrap();
        });
        let mut turn = reactor.turn(None).unwrap();
        while !turn.woken {
            turn = reactor.turn(None).unwrap();
        }
    });
}

#[test]
fn wakes_between_turns_are_one_wake_for_the_next_turn() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    for _ in 0..10 {
        handle.wake().unwrap();
    }
    assert!(reactor.turn(None).unwrap().woken);
    assert!(!reactor.turn(Some(Duration::ZERO)).unwrap().woken);
    handle.wake().unwrap();
    assert!(
        reactor.turn(Some(Duration::ZERO)).unwrap().woken,
        "also by a turn that does not sleep"
    );
}

#[test]
fn dropping_a_source_wakes_its_waiters_and_lets_go_of_them() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (socket, peer) = unix_pair(&handle);
    let (count, waker) = counter();
    assert!(poll_recv(&socket, &waker).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 2, "the source holds the waker");
    drop(socket);
    assert_eq!(count.get(), 1);
    assert_eq!(Arc::strong_count(&count), 1, "nobody holds it any more");
    assert_eq!(handle.source_count(), 0);
    assert!(peer.send(b"x").is_err());
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().events, 0);
}

#[test]
fn into_inner_gives_a_source_that_can_be_registered_again() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (socket, peer) = unix_pair(&handle);
    let socket = socket.into_inner().unwrap();
    assert_eq!(handle.source_count(), 0);
    let socket = handle.register(socket, BOTH).unwrap();
    let (count, waker) = counter();
    assert!(poll_recv(&socket, &waker).is_pending());
    peer.send(b"x").unwrap();
    turn_until(&mut reactor, &count, 1);
}

#[test]
fn a_source_in_a_used_place_does_not_see_its_predecessors_events() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    for _ in 0..100 {
        let (old, old_peer) = unix_pair(&handle);
        let (_, waker) = counter();
        assert!(poll_recv(&old, &waker).is_pending());
        old_peer.send(b"old").unwrap();
        drop(old);
        let (new, _peer) = unix_pair(&handle);
        let (count, waker) = counter();
        assert!(poll_recv(&new, &waker).is_pending());
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(count.get(), 0);
        assert_eq!(handle.source_count(), 1);
    }
}

#[test]
fn a_dropped_reactor_wakes_waiters_and_fails_them_with_a_reason() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (client, server) = tcp_pair(&mut reactor);
    let (socket, _peer) = unix_pair(&handle);
    let (count, waker) = counter();
    assert!(poll_recv(&socket, &waker).is_pending());
    drop(reactor);
    assert_eq!(count.get(), 1);
    assert!(handle.is_closed());
    let Poll::Ready(Err(error)) = poll_recv(&socket, &waker) else {
        panic!("must fail")
    };
    assert_eq!(reactor_error(&error), Some(ReactorError::Closed));
    let error = socket
        .try_io(Direction::Write, |socket| socket.send(b"x"))
        .unwrap_err();
    assert_eq!(reactor_error(&error), Some(ReactorError::Closed));
    let (late, _) = UnixStream::pair().unwrap();
    assert_eq!(
        reactor_error(&handle.register(late, BOTH).unwrap_err()),
        Some(ReactorError::Closed)
    );
    handle.wake().unwrap();
    drop((client, server));
}

#[test]
fn a_panicking_waker_does_not_keep_the_others_asleep() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics");
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let (socket, peer) = unix_pair(&reactor.handle());
    let (count, waker) = counter();
    assert!(poll_recv(&socket, &Waker::from(Arc::new(Bomb))).is_pending());
    assert!(poll_recv(&socket, &waker).is_pending());
    peer.send(b"x").unwrap();
    let mut panicked = 0;
    while count.get() == 0 {
        panicked += reactor.turn(Some(HANG)).unwrap().panicked_wakers;
    }
    assert_eq!(panicked, 1);
}

#[test]
fn try_io_never_waits_and_relies_on_the_reactor_afterwards() {
    let mut reactor = Reactor::new().unwrap();
    let (socket, peer) = unix_pair(&reactor.handle());
    let mut calls = 0;
    let mut attempt = || {
        socket.try_io(Direction::Read, |socket| {
            calls += 1;
            socket.recv(&mut [0; 8])
        })
    };
    for _ in 0..3 {
        assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    peer.send(b"abcd").unwrap();
    while reactor.turn(Some(HANG)).unwrap().events == 0 {}
    assert_eq!(attempt().unwrap(), 4);
    assert_eq!(calls, 2, "without an event no call is made");
}

#[cfg(target_os = "linux")]
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the promise is about the real clock"
)]
fn short_timeouts_are_met_below_a_millisecond() {
    use std::time::Instant;
    let mut reactor = Reactor::new().unwrap();
    let timeout = Duration::from_micros(300);
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            let turn = reactor.turn(Some(timeout)).unwrap();
            let slept = start.elapsed();
            assert_eq!((turn.events, turn.woken), (0, false));
            assert!(slept >= timeout, "early: {slept:?}");
            slept
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(1), "late: {best:?}");
    // A turn that leaves its timer behind must not end a later one early.
    let (socket, peer) = unix_pair(&reactor.handle());
    assert!(poll_recv(&socket, Waker::noop()).is_pending());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    peer.send(b"x").unwrap();
    reactor.turn(Some(Duration::from_micros(2_500))).unwrap();
    let start = Instant::now();
    let turn = reactor.turn(Some(Duration::from_millis(8))).unwrap();
    assert_eq!(turn.events, 0);
    assert!(start.elapsed() >= Duration::from_millis(8));
}

/// The waker is made by the first turn that sleeps, while others wake already.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a turn that is not woken reports the wake at the end of its timeout"
)]
fn a_wake_during_the_first_turn_is_not_lost() {
    let start = std::time::Instant::now();
    for round in 0..2000 {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let is_going = Arc::new(AtomicBool::new(false));
        let goes = Arc::clone(&is_going);
        let other = thread::spawn(move || {
            while !goes.load(Ordering::Acquire) {}
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            handle.wake().unwrap();
        });
        is_going.store(true, Ordering::Release);
        let turn = reactor.turn(Some(HANG)).unwrap();
        assert!(turn.woken);
        assert!(start.elapsed() < HANG, "lost in round {round}");
        other.join().unwrap();
    }
}

/// In a process of its own, from which descriptors are withheld.
#[cfg(target_os = "linux")]
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the promise is about the real clock"
)]
fn without_a_descriptor_for_the_timer_short_timeouts_are_rounded_up() {
    use std::time::Instant;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    const NAME: &str = "without_a_descriptor_for_the_timer_short_timeouts_are_rounded_up";
    if !is_own_process(NAME) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    reactor.turn(Some(Duration::from_millis(1))).unwrap();
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let mut best = HANG;
    for micros in [300, 1700, 2999].repeat(10) {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        let turn = reactor.turn(Some(timeout)).unwrap();
        let late = start.elapsed().checked_sub(timeout);
        best = best.min(late.expect("a turn ends early"));
        assert_eq!((turn.events, turn.woken), (0, false));
    }
    assert!(best < Duration::from_millis(2), "late: {best:?}");
    // A wake and a readiness still end such a turn.
    reactor.handle().wake().unwrap();
    assert!(
        reactor
            .turn(Some(Duration::from_micros(300)))
            .unwrap()
            .woken
    );
    setrlimit(Resource::Nofile, limit).unwrap();
    // As soon as there is a descriptor the timer is made.
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    reactor.turn(Some(Duration::from_micros(300))).unwrap();
    assert_eq!(descriptors(), before + 1);
}

/// Whether this process runs but the one test; otherwise such a process is started, and has to succeed.
#[cfg(target_os = "linux")]
#[track_caller]
fn is_own_process(test: &str) -> bool {
    const CHILD: &str = "ASUPERSYNC_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
    false
}
