//! The floor of the servers: one thread and the system's readiness queue, with no runtime and no protocol.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{HTTP1, LOOPBACK};
use crate::compare::ECHO;
use crate::meter::{Sample, Size};
use crate::wire::Load;

/// HTTP/1.1 by one fixed answer, as long as hyper's.
pub(crate) fn http1(size: Size) -> Sample {
    serve(size, HTTP1, |asked| {
        assert!(asked.ends_with(b"\r\n\r\n"), "a request comes in one piece");
        ANSWER
    })
}

/// The echo.
pub(crate) fn echo(size: Size, load: Load) -> Sample {
    serve(size, load, |asked| {
        assert_eq!(asked, ECHO, "what is sent comes in one piece");
        &ECHO
    })
}

/// Answers until all connections that there were have closed.
fn serve(size: Size, load: Load, answer: fn(&[u8]) -> &'static [u8]) -> Sample {
    let listener = TcpListener::bind(LOOPBACK).expect("the loopback has a free port");
    let address = listener.local_addr().expect("is bound");
    listener.set_nonblocking(true).expect("takes the option");
    let measuring = std::thread::spawn(move || load.begin(address).measure(size));
    let queue = epoll::create(CreateFlags::CLOEXEC).expect("the system has epoll");
    epoll::add(
        &queue,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )
    .expect("is taken in");
    let mut streams: BTreeMap<u64, TcpStream> = BTreeMap::new();
    let (mut next, mut page) = (LISTENER + 1, [0; PAGE_BYTES]);
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
    while !(measuring.is_finished() && streams.is_empty()) {
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&queue, spare, Some(&TURN)).expect("the queue is open");
        for event in &events {
            let place = event.data.u64();
            if place == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).expect("takes the option");
                    stream.set_nonblocking(true).expect("takes the option");
                    let (wanted, data) =
                        (EventFlags::IN | EventFlags::ET, EventData::new_u64(next));
                    epoll::add(&queue, &stream, data, wanted).expect("is taken in");
                    streams.insert(next, stream);
                    next += 1;
                }
            } else if is_closed(&streams[&place], &mut page, answer) {
                streams.remove(&place);
            }
        }
    }
    measuring.join().expect("the load is carried")
}

/// Answers what was asked, if anything; whether the client has gone.
fn is_closed(mut stream: &TcpStream, page: &mut [u8], answer: fn(&[u8]) -> &'static [u8]) -> bool {
    match stream.read(page) {
        Ok(0) => true,
        Ok(bytes) => {
            let answer = answer(&page[..bytes]);
            stream.write_all(answer).expect("the client reads");
            false
        }
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, World!";

/// The listener's place; connections have the places behind it.
const LISTENER: u64 = 0;
const PAGE_BYTES: usize = 4096;
const EVENTS_AT_ONCE: usize = 1024;
/// How often it looks whether the load is over.
const TURN: rustix::time::Timespec = rustix::time::Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
