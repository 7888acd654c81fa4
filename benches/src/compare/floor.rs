//! The floor of the echo: one thread, both ends of every connection, and the system's readiness queue, with no runtime between.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{CONNECTIONS, ECHO};
use crate::meter::{Sample, Size, batches_blocking};

/// Sends there and back on all connections at once, as often as there are operations.
pub(crate) fn tcp_echo(size: Size) -> Sample {
    let mut pairs = Pairs::connect();
    batches_blocking(size, |ops| pairs.run(ops))
}

/// Connections with both ends in one queue: the client's end at an even place, its server's behind it.
struct Pairs {
    queue: rustix::fd::OwnedFd,
    ends: Vec<TcpStream>,
}

impl Pairs {
    fn connect() -> Self {
        let queue = epoll::create(CreateFlags::CLOEXEC).expect("the system has epoll");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("is bound");
        let mut ends = Vec::new();
        for _ in 0..CONNECTIONS {
            ends.push(TcpStream::connect(address).expect("the listener takes as many"));
            ends.push(listener.accept().expect("a client connects").0);
        }
        for (place, end) in (0..).zip(&ends) {
            end.set_nodelay(true).expect("takes the option");
            end.set_nonblocking(true).expect("takes the option");
            let wanted = EventFlags::IN | EventFlags::ET;
            epoll::add(&queue, end, EventData::new_u64(place), wanted).expect("is taken in");
        }
        Self { queue, ends }
    }

    fn run(&mut self, ops: u64) {
        let rounds = ops / CONNECTIONS;
        let mut left = vec![rounds; self.ends.len()];
        let mut open = CONNECTIONS;
        for client in self.ends.iter_mut().step_by(2) {
            client.write_all(&ECHO).expect("the other end is open");
        }
        let mut events: Vec<Event> = Vec::with_capacity(self.ends.len());
        while open > 0 {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.queue, spare, None).expect("the queue is open");
            for event in &events {
                let place = event.data.u64() as usize;
                if !heard(&mut self.ends[place]) {
                    continue;
                }
                let is_client = place.is_multiple_of(2);
                left[place] -= 1;
                if is_client && left[place] == 0 {
                    open -= 1;
                } else {
                    self.ends[place]
                        .write_all(&ECHO)
                        .expect("the other end is open");
                }
            }
        }
        assert!(left.iter().all(|left| *left == 0));
    }
}

/// Whether there was something to read; it comes in one piece.
fn heard(end: &mut TcpStream) -> bool {
    let mut heard = [0; ECHO.len()];
    match end.read(&mut heard) {
        Ok(bytes) => {
            assert_eq!(heard[..bytes], ECHO);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}
