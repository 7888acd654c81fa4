//! `kill -9` at any moment loses nothing that was acknowledged, and doubles nothing.
//!
//! It kills the process, not the machine: that nothing is acknowledged before its sync is what `shutdown` shows, with a journal that cannot be synced.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use serde_json::Value;

use super::audit::{Acknowledged, Tail, audit, note};
use super::server::{Client, Server, start_and_kill};
use crate::input;

const KILLS: u64 = 20;
const CLIENTS: usize = 4;
/// As many requests as a client has under way.
const WINDOW: usize = 8;

/// Draws moments; the runs differ anyway, since real processes race.
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Sends requests until the service has gone or none is left; what was not answered goes back to the front.
fn work(address: SocketAddr, requests: &Mutex<VecDeque<String>>, answers: &Sender<Value>) -> usize {
    let mut under_way: VecDeque<String> = VecDeque::new();
    let Ok(mut client) = Client::connect(address) else {
        return 0;
    };
    loop {
        while under_way.len() < WINDOW
            && let Some(request) = requests.lock().unwrap().pop_front()
        {
            let sent = client.send(format!("{request}\n").as_bytes());
            under_way.push_back(request);
            if sent.is_err() {
                break;
            }
        }
        if under_way.is_empty() {
            return 0;
        }
        let Ok(Some(reply)) = client.receive() else {
            break;
        };
        let request = under_way.pop_front().unwrap();
        check_reply(&request, &reply);
        answers.send(reply).unwrap();
    }
    let broken_off = under_way.len();
    let mut requests = requests.lock().unwrap();
    under_way
        .into_iter()
        .rev()
        .for_each(|request| requests.push_front(request));
    broken_off
}

#[track_caller]
fn check_reply(request: &str, reply: &Value) {
    let request: Value = serde_json::from_str(request).unwrap();
    if reply["ok"] == true {
        assert_eq!(reply["id"], request["id"]);
    } else {
        assert_eq!(reply["error"], "overdraft", "{request}: {reply}");
    }
}

/// Runs clients until `stop`, which sees their answers and then ends the service; gives how many requests were broken off.
fn round(
    server: Server,
    requests: &Mutex<VecDeque<String>>,
    acknowledged: &mut Acknowledged,
    stop: impl FnOnce(Server, &mut dyn FnMut() -> bool),
) -> usize {
    let (tell, answers) = mpsc::channel::<Value>();
    let mut hear = |reply: Value| {
        if reply["ok"] == true {
            note(acknowledged, &reply);
        }
    };
    std::thread::scope(|scope| {
        let address = server.address;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let tell = tell.clone();
                scope.spawn(move || work(address, requests, &tell))
            })
            .collect();
        drop(tell);
        let mut next = || answers.recv().map(&mut hear).is_ok();
        stop(server, &mut next);
        while next() {}
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    })
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.ndjson");
    let text = input::generate();
    let (opens, transfers): (VecDeque<_>, VecDeque<_>) = text
        .lines()
        .map(str::to_owned)
        .partition(|line| line.contains(r#""op":"open""#));
    let mut acknowledged = Acknowledged::new();
    let mut moments = Moments(u64::from(std::process::id()) | 1 << 40);
    let opens = Mutex::new(opens);
    let broken_off = round(
        Server::start(&path),
        &opens,
        &mut acknowledged,
        |server, next| {
            while next() {}
            server.kill();
        },
    );
    assert_eq!((broken_off, acknowledged.len()), (0, 200));

    let transfers = Mutex::new(transfers);
    let mut broken_off = 0;
    for kill in 0..KILLS {
        let (answers, lag) = (
            moments.below(120),
            Duration::from_micros(moments.below(2000)),
        );
        broken_off += round(
            Server::start(&path),
            &transfers,
            &mut acknowledged,
            |server, next| {
                for _ in 0..answers {
                    assert!(next(), "the service ended by itself");
                }
                // A moment that has nothing to do with an answer.
                let (_silent, never) = mpsc::channel::<()>();
                let _ = never.recv_timeout(lag);
                server.kill();
            },
        );
        audit(&path, &acknowledged, Tail::MayBeTorn);
        if kill % 5 == 0 {
            // Also while it recovers.
            start_and_kill(&path);
            audit(&path, &acknowledged, Tail::MayBeTorn);
        }
    }
    assert!(broken_off > 0, "no kill came in full flight");

    // What was broken off is asked again, under the same names.
    transfers.lock().unwrap().truncate(broken_off.max(500));
    round(
        Server::start(&path),
        &transfers,
        &mut acknowledged,
        |server, next| {
            while next() {}
            server.end();
        },
    );
    let journal = audit(&path, &acknowledged, Tail::Whole);
    // Every request was answered in the end, so nothing stands there that nobody was told of.
    assert_eq!(journal.len(), acknowledged.len());
}
