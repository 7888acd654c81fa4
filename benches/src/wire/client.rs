//! The client of the echo and of HTTP/1.1: one thread and the system's readiness queue.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::Talk;
use crate::compare::{ECHO, HELLO};

/// Connections to one server, some of which send.
pub(crate) struct Client {
    queue: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    active: usize,
    request: &'static [u8],
    /// How the last answer on every connection has to end.
    ending: &'static [u8],
    /// All answers are as long.
    answer_bytes: usize,
}

struct Connection {
    stream: TcpStream,
    /// Of the answer that is under way.
    heard_bytes: usize,
    /// Answers that are still to come.
    left: u64,
}

impl Client {
    /// Connects, and has an answer on each connection.
    pub(crate) fn connect(server: SocketAddr, talk: Talk, connections: u64, active: u64) -> Self {
        super::allow_connections(connections);
        let (request, ending): (&'static [u8], &'static [u8]) = match talk {
            Talk::Echo => (&ECHO, &ECHO),
            Talk::Http1 => (REQUEST, HELLO),
        };
        let queue = epoll::create(CreateFlags::CLOEXEC).expect("the system has epoll");
        let mut client = Self {
            queue,
            connections: Vec::new(),
            active: active as usize,
            request,
            ending,
            answer_bytes: 0,
        };
        for place in 0..connections {
            client.add(server, place);
        }
        client
    }

    fn add(&mut self, server: SocketAddr, place: u64) {
        let mut stream = TcpStream::connect(server).expect("the server takes as many");
        stream.set_nodelay(true).expect("takes the option");
        stream.write_all(self.request).expect("the server reads");
        let mut answer = Vec::new();
        let mut page = [0; PAGE_BYTES];
        while !answer.ends_with(self.ending) {
            let bytes = stream.read(&mut page).expect("the server answers");
            assert!(bytes > 0, "the server closed after {answer:?}");
            answer.extend_from_slice(&page[..bytes]);
        }
        assert!(self.answer_bytes == 0 || self.answer_bytes == answer.len());
        self.answer_bytes = answer.len();
        stream.set_nonblocking(true).expect("takes the option");
        let wanted = EventFlags::IN | EventFlags::ET;
        epoll::add(&self.queue, &stream, EventData::new_u64(place), wanted).expect("is taken in");
        self.connections.push(Connection {
            stream,
            heard_bytes: 0,
            left: 0,
        });
    }

    /// Has so many answers, as many on each active connection.
    pub(crate) fn run(&mut self, requests: u64) {
        let mut open = self.active;
        for connection in &mut self.connections[..self.active] {
            connection.left = requests / open as u64;
            assert!(
                connection.left > 0,
                "a request for each connection at least"
            );
            connection.send(self.request);
        }
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        while open > 0 {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.queue, spare, None).expect("the queue is open");
            for event in &events {
                let connection = &mut self.connections[event.data.u64() as usize];
                if connection.is_answered(self.answer_bytes, self.ending) {
                    connection.left -= 1;
                    match connection.left {
                        0 => open -= 1,
                        _ => connection.send(self.request),
                    }
                }
            }
        }
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) {
        self.heard_bytes = 0;
        self.stream.write_all(request).expect("the server reads");
    }

    /// Reads what there is; whether the answer is whole now.
    fn is_answered(&mut self, answer_bytes: usize, ending: &[u8]) -> bool {
        let mut page = [0; PAGE_BYTES];
        let before = self.heard_bytes;
        let bytes = match self.stream.read(&mut page) {
            Ok(bytes) => bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return false;
            }
        };
        assert!(bytes > 0, "the server closed before it had answered");
        self.heard_bytes += bytes;
        assert!(self.heard_bytes <= answer_bytes, "one answer at a time");
        if self.heard_bytes < answer_bytes {
            return false;
        }
        // Where an answer comes in pieces, the last may be shorter than the ending.
        let last = &page[..bytes];
        assert!(before > 0 || last.ends_with(ending), "the answer differs");
        true
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const PAGE_BYTES: usize = 4096;
const EVENTS_AT_ONCE: usize = 1024;
