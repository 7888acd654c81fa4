//! SIGTERM drains the service: what it has begun is answered, and the journal is whole.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc;

use super::audit::{Acknowledged, Tail, audit, note};
use super::server::{Client, Server};
use crate::input;

#[test]
fn a_signal_under_load_leaves_a_whole_journal_with_all_that_was_acknowledged() {
    const CLIENTS: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let server = Server::start(&path);
    let address = server.address;
    let text = input::generate();
    let (tell, answers) = mpsc::channel();
    let mut acknowledged = Acknowledged::new();
    let sent: BTreeSet<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (tell, text) = (tell.clone(), &text);
                scope.spawn(move || {
                    let mut client = Client::connect(address).unwrap();
                    let mut sent = Vec::new();
                    // Clients share accounts, so a transfer may come before they are opened; that is refused.
                    for request in text.lines().skip(number).step_by(CLIENTS) {
                        let asked = client.send(format!("{request}\n").as_bytes());
                        let line: serde_json::Value = serde_json::from_str(request).unwrap();
                        sent.push(line["id"].as_str().unwrap().to_owned());
                        match asked.and_then(|()| client.receive()) {
                            Ok(Some(reply)) => tell.send(reply).unwrap(),
                            Ok(None) | Err(_) => return sent,
                        }
                    }
                    panic!("the signal came too late");
                })
            })
            .collect();
        drop(tell);
        for (count, reply) in answers.iter().enumerate() {
            if reply["ok"] == true {
                note(&mut acknowledged, &reply);
            }
            if count == 1000 {
                server.terminate();
            }
        }
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(130), "{said:?}");
    assert!(
        !said.iter().any(|line| line.contains("had not ended")),
        "{said:?}"
    );
    let journal = audit(&path, &acknowledged, Tail::Whole);
    assert!(journal.is_subset(&sent));
    // At most the one request that each client had under way is there without its knowing.
    assert!(journal.len() <= acknowledged.len() + CLIENTS);
}

/// A journal that takes one page, and the rest only when somebody reads; it cannot be synced.
#[cfg(target_os = "linux")]
struct Fifo {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    pipe: std::fs::File,
}

#[cfg(target_os = "linux")]
impl Fifo {
    const PAGE: usize = 4096;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let pipe = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        rustix::pipe::fcntl_setpipe_size(&pipe, Self::PAGE).unwrap();
        Self {
            _folder: folder,
            path,
            pipe,
        }
    }

    /// Waits until so many bytes are in it, without taking them.
    fn wait_for(&self, bytes: u64) {
        while rustix::io::ioctl_fionread(&self.pipe).unwrap() < bytes {
            std::thread::yield_now();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_acknowledged_that_could_not_be_synced() {
    let fifo = Fifo::new();
    let server = Server::start(&fifo.path);
    let mut client = Client::connect(server.address).unwrap();
    let open = r#"{"op":"open","id":"o","account":"ada","balance":100}"#;
    let reply = client.ask(open);
    // It was written.
    fifo.wait_for(open.len() as u64);
    assert_eq!(reply["error"], "storage", "{reply}");
    let reply = client.ask(r#"{"op":"balance","account":"ada"}"#);
    assert_eq!(reply["error"], "unknown_account", "{reply}");
    server.end();
}

#[cfg(target_os = "linux")]
#[test]
fn a_request_in_flight_is_answered_after_the_signal_and_before_the_end() {
    use std::io::Read;
    let fifo = Fifo::new();
    let server = Server::start(&fifo.path);
    let mut idle = Client::connect(server.address).unwrap();
    assert_eq!(idle.ask("hello")["error"], "malformed");
    let mut busy = Client::connect(server.address).unwrap();
    // Its line in the journal is longer than the request, and so than the pipe: the writer must wait.
    let name = "x".repeat(2025);
    let request = format!(r#"{{"op":"open","id":"{name}","account":"{name}","balance":1}}"#);
    assert!(request.len() <= Fifo::PAGE && request.len() + 9 > Fifo::PAGE);
    busy.send(format!("{request}\n").as_bytes()).unwrap();
    fifo.wait_for(Fifo::PAGE as u64);
    server.terminate();
    // Whoever waits for nothing is let go at once.
    assert_eq!(idle.receive().unwrap(), None);
    (&fifo.pipe)
        .read_exact(&mut vec![0; request.len() + 9])
        .unwrap();
    let reply = busy.receive().unwrap().expect("it is answered");
    assert_eq!(reply["error"], "storage", "{reply}");
    assert_eq!(busy.receive().unwrap(), None);
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(130), "{said:?}");
}
