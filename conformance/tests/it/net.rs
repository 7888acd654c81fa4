//! TCP behaves the same over the operating system and over the lab's network.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Cancelled, IntoOutcome, Outcome, OutcomeError, PanicPayload};
use asupersync_io::{BufReadExt, BufReader, Framed, LinesCodec, ReadExt, WriteExt};
use asupersync_kernel::Cx;
use asupersync_net::{
    Keepalive, NetError, TcpConnectOptions, TcpListenOptions, TcpListener, TcpOptions, TcpStream,
    resolve,
};
use futures_util::future::{join, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::support::{FOREVER, TICK, reason_of};

#[derive(Debug, thiserror::Error)]
enum NetTestError {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("a child panicked")]
    Panicked(#[from] PanicPayload),
    #[error("no connection")]
    Net(#[from] NetError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no line")]
    Line(#[from] asupersync_io::LineError),
    #[error("no frame")]
    Frame(#[from] asupersync_io::FrameError),
}

impl From<OutcomeError<Self>> for NetTestError {
    fn from(error: OutcomeError<Self>) -> Self {
        match error {
            OutcomeError::Err(error) => error,
            OutcomeError::Cancelled(reason) => Self::Cancelled(Cancelled::new(reason)),
            OutcomeError::Panicked(payload) => Self::Panicked(payload),
        }
    }
}

type End<T = ()> = Result<T, NetTestError>;

const ANY: &str = "127.0.0.1:0";
const LIMIT: usize = 16 << 20;

/// Runs a scenario whose failure is a failure of the test.
#[track_caller]
fn check<F, Fut>(scenario: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = End>,
{
    let scenario = &scenario;
    on_both_hosts(async move |cx| {
        let end = scenario(cx).await;
        assert!(end.is_ok(), "the scenario failed: {end:?}");
    });
}

/// A connected pair: the client's end and the server's.
async fn pair(cx: &Cx) -> End<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(cx, ANY).await?;
    let client = TcpStream::connect(cx, listener.local_addr()?).await?;
    let (server, peer) = listener.accept(cx).await?;
    assert_eq!(peer, client.local_addr()?);
    assert_eq!(server.local_addr()?, client.peer_addr()?);
    Ok((client, server))
}

/// Bytes that tell their place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|place| (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

async fn echo(mut stream: TcpStream) -> End<usize> {
    let mut buf = [0; 1000];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buf).await?;
        if count == 0 {
            stream.close().await?;
            return Ok(total);
        }
        stream.write_all(&buf[..count]).await?;
        total += count;
    }
}

#[test]
fn what_is_sent_comes_back() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        let end = cx
            .region(async |scope| {
                let served = scope.spawn(async move |_: Cx| echo(server).await);
                for len in [1, 10, 100, 1000, 5000] {
                    let sent = pattern(len);
                    client.write_all(&sent).await?;
                    let mut heard = vec![0; len];
                    client.read_exact(&mut heard).await?;
                    assert_eq!(heard, sent);
                }
                client.close().await?;
                assert_eq!(client.read(&mut [0; 8]).await?, 0);
                let total = served.join(scope.cx()).await.flatten()?;
                assert_eq!(total, 6111);
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn many_clients_are_served_at_once() {
    const CLIENTS: u32 = 40;
    check(async |cx| {
        let listener = TcpListener::bind(&cx, ANY).await?;
        let address = listener.local_addr()?;
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    cx.region(async |inner| {
                        for _ in 0..CLIENTS {
                            let (stream, _) = listener.accept(inner.cx()).await?;
                            inner.spawn(async move |_: Cx| echo(stream).await);
                        }
                        End::Ok(())
                    })
                    .await
                    .flatten()
                });
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|number| {
                        scope.spawn(async move |cx: Cx| {
                            let mut stream = TcpStream::connect(&cx, address).await?;
                            for round in 0..5_u32 {
                                let sent = (number * 1000 + round).to_be_bytes();
                                stream.write_all(&sent).await?;
                                let mut heard = [0; 4];
                                stream.read_exact(&mut heard).await?;
                                assert_eq!(heard, sent);
                            }
                            End::Ok(number)
                        })
                    })
                    .collect();
                let mut sum = 0;
                for client in clients {
                    sum += client.join(scope.cx()).await.flatten()?;
                }
                assert_eq!(sum, CLIENTS * (CLIENTS - 1) / 2);
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn a_closed_direction_ends_the_peers_reading_and_leaves_the_other_open() {
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        client.write_all(b"request").await?;
        client.close().await?;
        let error = client.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let mut request = Vec::new();
        server.read_to_end(&mut request, LIMIT).await?;
        assert_eq!(request, b"request");
        server.write_all(b"response").await?;
        server.shutdown(Shutdown::Both)?;
        let mut response = Vec::new();
        client.read_to_end(&mut response, LIMIT).await?;
        assert_eq!(response, b"response");
        // Ending what has ended is no error.
        client.close().await?;
        server.close().await?;
        Ok(())
    });
}

#[test]
fn a_dropped_peer_is_the_end_of_the_stream() {
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        server.write_all(b"last words").await?;
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard, LIMIT).await?;
        assert_eq!(heard, b"last words");
        Ok(())
    });
}

#[test]
fn a_peer_dropped_while_one_reads_wakes_the_reader() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        let end = cx
            .region(async |scope| {
                let reader =
                    scope.spawn(async move |_: Cx| End::Ok(client.read(&mut [0; 8]).await?));
                scope.cx().sleep(TICK).await?;
                drop(server);
                assert_eq!(reader.join(scope.cx()).await.flatten()?, 0);
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn dropping_unread_bytes_resets_the_connection() {
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        client.write_all(b"nobody reads this").await?;
        server.read_exact(&mut [0; 1]).await?;
        // The rest may come in a segment of its own, and a connection without unread bytes ends without a reset.
        cx.sleep(TICK).await?;
        drop(server);
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn zero_linger_resets_the_connection() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        server.set_options(&TcpOptions::new().linger(Some(Duration::ZERO)))?;
        drop(server);
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn a_writer_learns_that_its_peer_is_gone() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        drop(server);
        let chunk = vec![7; 100_000];
        let error = loop {
            if let Err(error) = client.write_all(&chunk).await {
                break error;
            }
        };
        let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(gone.contains(&error.kind()), "{error:?}");
        Ok(())
    });
}

#[test]
fn nobody_listening_refuses_the_connection() {
    check(async |cx| {
        let listener = TcpListener::bind(&cx, ANY).await?;
        let address = listener.local_addr()?;
        drop(listener);
        let error = TcpStream::connect(&cx, address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        match error {
            NetError::Connect {
                address: tried,
                source,
            } => {
                assert_eq!(tried, address);
                assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        Ok(())
    });
}

#[test]
fn addresses_are_tried_in_order_until_one_answers() {
    check(async |cx| {
        let closed = TcpListener::bind(&cx, ANY).await?;
        let nobody = closed.local_addr()?;
        drop(closed);
        let listener = TcpListener::bind(&cx, ANY).await?;
        let address = listener.local_addr()?;
        let stream = TcpStream::connect(&cx, vec![nobody, address]).await?;
        assert_eq!(stream.peer_addr()?, address);
        let none: Vec<SocketAddr> = Vec::new();
        let error = TcpStream::connect(&cx, none).await.unwrap_err();
        assert!(matches!(error, NetError::NoAddress { .. }), "{error:?}");
        Ok(())
    });
}

#[test]
fn a_name_is_looked_up() {
    check(async |cx| {
        let listener = TcpListener::bind(&cx, ANY).await?;
        let port = listener.local_addr()?.port();
        let found = resolve(&cx, ("localhost", port)).await?;
        assert!(found.iter().all(|address| address.port() == port));
        let stream = TcpStream::connect(&cx, format!("localhost:{port}")).await?;
        assert_eq!(stream.peer_addr()?.port(), port);
        let error = TcpStream::connect(&cx, "no port here").await.unwrap_err();
        assert!(
            matches!(error, NetError::InvalidAddress { .. }),
            "{error:?}"
        );
        Ok(())
    });
}

#[test]
fn an_address_in_use_cannot_be_bound_again_until_it_is_free() {
    check(async |cx| {
        let listener = TcpListener::bind(&cx, ANY).await?;
        let address = listener.local_addr()?;
        match TcpListener::bind(&cx, address).await.unwrap_err() {
            NetError::Bind {
                address: tried,
                source,
            } => {
                assert_eq!(tried, address);
                assert_eq!(source.kind(), ErrorKind::AddrInUse);
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        drop(listener);
        TcpListener::bind(&cx, address).await?;
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn listeners_that_agree_share_a_port() {
    check(async |cx| {
        let options = TcpListenOptions::new().reuse_port(true).backlog(16);
        let one = TcpListener::bind_with(&cx, ANY, &options).await?;
        let address = one.local_addr()?;
        let other = TcpListener::bind_with(&cx, address, &options).await?;
        assert_eq!(other.local_addr()?, address);
        let alone = TcpListener::bind(&cx, address).await;
        assert!(matches!(alone, Err(NetError::Bind { .. })), "{alone:?}");
        let mut client = TcpStream::connect(&cx, address).await?;
        let accepting = [&one, &other].map(|listener| Box::pin(listener.accept(&cx)));
        let mut accepting: FuturesUnordered<_> = accepting.into_iter().collect();
        let (mut server, _) = accepting.next().await.expect("two listeners")?;
        client.write_all(b"x").await?;
        assert_eq!(server.read(&mut [0; 8]).await?, 1);
        Ok(())
    });
}

#[test]
fn options_are_set_and_told() {
    check(async |cx| {
        let probing = Keepalive::after(Duration::from_secs(30))
            .interval(Duration::from_secs(5))
            .retries(4);
        let wanted = TcpOptions::new()
            .nodelay(true)
            .ttl(42)
            .linger(Some(Duration::from_secs(0)))
            .keepalive(Some(probing))
            .send_buffer_bytes(50_000)
            .recv_buffer_bytes(50_000);
        let listen = TcpListenOptions::new().stream(wanted);
        let listener = TcpListener::bind_with(&cx, ANY, &listen).await?;
        let connect = TcpConnectOptions::new().stream(wanted);
        let client = TcpStream::connect_with(&cx, listener.local_addr()?, &connect).await?;
        let (server, _) = listener.accept(&cx).await?;
        for stream in [&client, &server] {
            let told = stream.options()?;
            assert_eq!(told.nodelay, wanted.nodelay);
            assert_eq!(told.ttl, wanted.ttl);
            assert_eq!(told.linger, wanted.linger);
            assert_eq!(told.keepalive, wanted.keepalive);
            assert!(told.send_buffer_bytes >= wanted.send_buffer_bytes);
            assert!(told.recv_buffer_bytes >= wanted.recv_buffer_bytes);
        }
        client.set_nodelay(false)?;
        client.set_options(&TcpOptions::new().linger(None).keepalive(None))?;
        let told = client.options()?;
        assert_eq!(
            (told.nodelay, told.linger, told.keepalive),
            (Some(false), Some(None), Some(None))
        );
        assert_eq!(told.ttl, Some(42));
        Ok(())
    });
}

#[test]
fn a_connection_has_the_local_address_asked_for() {
    check(async |cx| {
        let listener = TcpListener::bind(&cx, ANY).await?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = TcpConnectOptions::new().local(local).reuse_address(true);
        let address = listener.local_addr()?;
        let client = TcpStream::connect_with(&cx, address, &options).await?;
        let own = client.local_addr()?;
        assert_eq!(own.ip(), local.ip());
        assert_ne!(own.port(), 0);
        let again = TcpConnectOptions::new().local(own);
        assert!(TcpStream::connect_with(&cx, address, &again).await.is_err());
        Ok(())
    });
}

#[test]
fn halves_work_in_two_tasks_and_become_whole_again() {
    const LEN: usize = 300_000;
    check(async |cx| {
        let (client, server) = pair(&cx).await?;
        let sent = Arc::new(pattern(LEN));
        let expected = Arc::clone(&sent);
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |_: Cx| echo(server).await);
                let (mut read, mut write) = client.into_split();
                let writer = scope.spawn(async move |_: Cx| {
                    write.write_all(&sent).await?;
                    End::Ok(write)
                });
                let reader = scope.spawn(async move |_: Cx| {
                    let mut heard = vec![0; LEN];
                    read.read_exact(&mut heard).await?;
                    assert!(heard == *expected, "the bytes differ");
                    End::Ok(read)
                });
                let write = writer.join(scope.cx()).await.flatten()?;
                let read = reader.join(scope.cx()).await.flatten()?;
                let mut whole = read.reunite(write).expect("they belong together");
                whole.write_all(b"!").await?;
                whole.read_exact(&mut [0; 1]).await?;
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn halves_of_two_streams_do_not_become_one() {
    check(async |cx| {
        let (client, server) = pair(&cx).await?;
        let (client_read, client_write) = client.into_split();
        let (mut server_read, server_write) = server.into_split();
        let error = client_read.reunite(server_write).unwrap_err();
        drop(error);
        // Both halves came back, and dropping them closed the server's write direction only.
        drop(client_write);
        assert_eq!(server_read.read(&mut [0; 8]).await?, 0);
        Ok(())
    });
}

#[test]
fn dropping_the_write_half_ends_the_peers_reading() {
    check(async |cx| {
        let (client, mut server) = pair(&cx).await?;
        let (mut read, write) = client.into_split();
        drop(write);
        assert_eq!(server.read(&mut [0; 8]).await?, 0);
        server.write_all(b"still heard").await?;
        read.read_exact(&mut [0; 11]).await?;
        Ok(())
    });
}

#[test]
fn borrowed_halves_work_at_once_within_a_task() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        let sent = pattern(200_000);
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |_: Cx| echo(server).await);
                let (mut read, mut write) = client.split();
                let mut heard = vec![0; sent.len()];
                let (written, got) =
                    join(write.write_all(&sent), read.read_exact(&mut heard)).await;
                written?;
                got?;
                assert!(heard == sent, "the bytes differ");
                client.close().await?;
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn a_writer_waits_for_a_slow_reader_and_no_byte_is_lost() {
    const LEN: usize = 3_000_000;
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        let sent = Arc::new(pattern(LEN));
        let expected = Arc::clone(&sent);
        let end = cx
            .region(async |scope| {
                let writer = scope.spawn(async move |_: Cx| {
                    client.write_all(&sent).await?;
                    client.close().await?;
                    End::Ok(client)
                });
                scope.cx().sleep(TICK).await?;
                let mut heard = Vec::new();
                let mut buf = vec![0; 50_000];
                loop {
                    let count = server.read(&mut buf).await?;
                    if count == 0 {
                        break;
                    }
                    heard.extend_from_slice(&buf[..count]);
                    scope.cx().yield_now().await?;
                }
                assert!(heard == *expected, "the bytes differ");
                writer.join(scope.cx()).await.flatten()?;
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

#[test]
fn vectored_writes_keep_their_order() {
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        let parts: [&[u8]; 4] = [b"one ", b"", b"two ", b"three"];
        let mut bufs = parts.map(IoSlice::new);
        client.write_all_vectored(&mut bufs).await?;
        client.close().await?;
        let mut heard = Vec::new();
        server.read_to_end(&mut heard, LIMIT).await?;
        assert_eq!(heard, b"one two three");
        Ok(())
    });
}

#[test]
fn lines_and_frames_go_over_tcp() {
    check(async |cx| {
        let (client, server) = pair(&cx).await?;
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |_: Cx| {
                    let mut framed = Framed::new(server, LinesCodec::new(1024));
                    while let Some(line) = framed.next().await {
                        let line = line?;
                        framed.send(format!("{line}, {line}")).await?;
                    }
                    framed.close().await?;
                    End::Ok(())
                });
                let (read, mut write) = client.into_split();
                let mut lines = BufReader::new(read).lines(1024);
                for number in 0..50 {
                    write
                        .write_all(format!("line {number}\n").as_bytes())
                        .await?;
                    let answer = lines.next_line().await.expect("an answer")?;
                    assert_eq!(answer, format!("line {number}, line {number}"));
                }
                write.close().await?;
                assert!(lines.next_line().await.is_none());
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}

/// Cancels a task that runs `body`, once it waits, and wants it to end as cancelled for that reason.
async fn check_cancel<F, Fut>(cx: &Cx, what: &str, body: F)
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = End> + Send + 'static,
{
    let end: Outcome<_, NetTestError> = cx
        .region(async |scope| {
            let task = scope.spawn(body);
            scope.cx().sleep(TICK).await?;
            task.cancel_with(CancelKind::Timeout);
            End::Ok(task.join(scope.cx()).await)
        })
        .await;
    let end = end.ok().expect("the region's body does not fail");
    let reason = reason_of(end);
    assert_eq!(reason.kind(), CancelKind::Timeout, "{what}");
    // The request itself was heard; nobody had to be stopped by force.
    assert!(!reason.escalated(), "{what}: {reason}");
}

#[test]
fn a_request_reaches_an_accept_and_the_connection_is_left_for_the_next() {
    check(async |cx| {
        let listener = Arc::new(TcpListener::bind(&cx, ANY).await?);
        let own = Arc::clone(&listener);
        check_cancel(&cx, "alone", async move |cx| {
            own.accept(&cx).await?;
            Ok(())
        })
        .await;
        let own = Arc::clone(&listener);
        check_cancel(&cx, "below join_all", async move |cx| {
            for end in join_all((0..40).map(|_| own.accept(&cx))).await {
                end?;
            }
            Ok(())
        })
        .await;
        let own = Arc::clone(&listener);
        check_cancel(&cx, "below FuturesUnordered", async move |cx| {
            let mut accepting: FuturesUnordered<_> = (0..3).map(|_| own.accept(&cx)).collect();
            while let Some(end) = accepting.next().await {
                end?;
            }
            Ok(())
        })
        .await;
        let client = TcpStream::connect(&cx, listener.local_addr()?).await?;
        let (_server, peer) = listener.accept(&cx).await?;
        assert_eq!(peer, client.local_addr()?);
        Ok(())
    });
}

#[test]
fn a_request_reaches_a_read_and_leaves_the_bytes() {
    check(async |cx| {
        let (client, mut server) = pair(&cx).await?;
        let (read, _write) = client.into_split();
        let kept = Arc::new(std::sync::Mutex::new(Some(read)));
        for below in ["alone", "below FuturesUnordered"] {
            let slot = Arc::clone(&kept);
            check_cancel(&cx, below, async move |_| {
                let mut read = slot.lock().unwrap().take().expect("the half is back");
                let mut buf = [0; 8];
                let end = match below {
                    "alone" => read.read(&mut buf).await,
                    _ => {
                        let mut reads: FuturesUnordered<_> =
                            [read.read(&mut buf)].into_iter().collect();
                        reads.next().await.expect("one read")
                    }
                };
                // Level-triggered: the next fails too, at once.
                let again = read.read(&mut [0; 8]).await;
                *slot.lock().unwrap() = Some(read);
                let again = again.unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Other);
                assert!(Cancelled::find_in(&again).is_some());
                end?;
                Ok(())
            })
            .await;
        }
        server.write_all(b"kept").await?;
        let mut read = kept.lock().unwrap().take().expect("the half is back");
        let mut buf = [0; 4];
        read.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"kept");
        Ok(())
    });
}

#[test]
fn a_request_reaches_many_reads_below_join_all() {
    check(async |cx| {
        let mut ends = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..35 {
            let (client, server) = pair(&cx).await?;
            ends.push(client);
            peers.push(server);
        }
        check_cancel(&cx, "below join_all", async move |_| {
            let mut bufs = vec![[0; 8]; ends.len()];
            let reads = ends.iter_mut().zip(&mut bufs);
            let ends = join_all(reads.map(|(end, buf)| end.read(buf))).await;
            for end in ends {
                assert!(end.is_err());
                end?;
            }
            Ok(())
        })
        .await;
        Ok(())
    });
}

#[test]
fn a_request_reaches_a_write_that_waits_for_room() {
    check(async |cx| {
        for below in ["alone", "below FuturesUnordered"] {
            let (mut client, mut server) = pair(&cx).await?;
            let chunk = vec![1; 300_000];
            let counted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = Arc::clone(&counted);
            check_cancel(&cx, below, async move |_| {
                loop {
                    let end = match below {
                        "alone" => client.write(&chunk).await,
                        _ => {
                            let mut writes: FuturesUnordered<_> =
                                [client.write(&chunk)].into_iter().collect();
                            writes.next().await.expect("one write")
                        }
                    };
                    let written = end.inspect_err(|error| {
                        assert!(Cancelled::find_in(error).is_some(), "{error:?}");
                    })?;
                    count.fetch_add(written, std::sync::atomic::Ordering::SeqCst);
                }
            })
            .await;
            // What was said to be written arrives, and the cancelled write has added nothing.
            let mut heard = Vec::new();
            server.read_to_end(&mut heard, 64 << 20).await?;
            assert_eq!(
                heard.len(),
                counted.load(std::sync::atomic::Ordering::SeqCst)
            );
        }
        Ok(())
    });
}

#[test]
fn a_cancelled_task_begins_nothing_and_can_still_close() {
    check(async |cx| {
        let (mut client, mut server) = pair(&cx).await?;
        let listener = TcpListener::bind(&cx, ANY).await?;
        let address = listener.local_addr()?;
        check_cancel(&cx, "all of them", async move |cx| {
            let slept = cx.sleep(FOREVER).await;
            assert!(slept.is_err());
            assert!(matches!(
                TcpStream::connect(&cx, address).await,
                Err(NetError::Cancelled(_))
            ));
            assert!(matches!(
                TcpListener::bind(&cx, ANY).await,
                Err(NetError::Cancelled(_))
            ));
            assert!(matches!(
                resolve(&cx, "localhost:1").await,
                Err(NetError::Cancelled(_))
            ));
            assert!(matches!(
                listener.accept(&cx).await,
                Err(NetError::Cancelled(_))
            ));
            let write: End = client.write_all(b"lost").await.map_err(NetTestError::from);
            assert!(write.into_outcome().is_cancelled());
            // Under a shield it works again.
            cx.shield(client.write_all(b"kept")).await?;
            client.close().await?;
            slept?;
            Ok(())
        })
        .await;
        let mut heard = Vec::new();
        server.read_to_end(&mut heard, LIMIT).await?;
        assert_eq!(heard, b"kept");
        Ok(())
    });
}

#[test]
fn a_request_reaches_a_connect_that_nobody_answers() {
    check(async |cx| {
        // A full backlog leaves the handshake hanging.
        let options = TcpListenOptions::new().backlog(1);
        let listener = TcpListener::bind_with(&cx, ANY, &options).await?;
        let address = listener.local_addr()?;
        for below in ["alone", "below join_all"] {
            check_cancel(&cx, below, async move |cx| {
                if below == "alone" {
                    let mut held = Vec::new();
                    loop {
                        held.push(TcpStream::connect(&cx, address).await?);
                    }
                }
                for end in join_all((0..40).map(|_| TcpStream::connect(&cx, address))).await {
                    end?;
                }
                Ok(())
            })
            .await;
        }
        drop(listener);
        Ok(())
    });
}

#[test]
fn a_stream_moves_between_tasks_below_combinators() {
    check(async |cx| {
        let (mut client, server) = pair(&cx).await?;
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |_: Cx| echo(server).await);
                for round in 0..5_u8 {
                    let task = scope.spawn(async move |_: Cx| {
                        client.write_all(&[round]).await?;
                        let mut buf = [0; 1];
                        for end in join_all([client.read_exact(&mut buf)]).await {
                            end?;
                        }
                        assert_eq!(buf, [round]);
                        End::Ok(client)
                    });
                    client = task.join(scope.cx()).await.flatten()?;
                }
                client.close().await?;
                End::Ok(())
            })
            .await;
        end.flatten()
    });
}
