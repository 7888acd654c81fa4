//! The other end of the wire, in a process of its own: so the processor time of the process that is measured is the server's alone.
//!
//! The server starts it with its address; it connects, has one answer on each connection, and says so.
//! Then it reads numbers: for each it sends so many requests, each once the answer to the one before has come, on all active connections at once, and says when the last answer has come.
//! It is one thread with the system's readiness queue, the same for every runtime.

mod client;
mod h2load;

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::Child;

use crate::meter::{Sample, Size, batches_blocking};

pub(crate) use h2load::missing as h2load_missing;

/// What is sent, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// 64 bytes, and the same again.
    Echo,
    /// A request by HTTP/1.1, and a page that says hello.
    Http1,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Connections that stay, and how many of them send.
    Wire {
        talk: Talk,
        connections: u64,
        active: u64,
    },
    /// The program `h2load`, with 8 connections and 32 requests on each at a time.
    H2load,
}

impl Load {
    /// Begins, from a thread that may wait: the server has to answer meanwhile.
    pub(crate) fn begin(self, server: SocketAddr) -> Loading {
        match self {
            Self::Wire {
                talk,
                connections,
                active,
            } => Loading::Wire(Peer::connect(server, talk, connections, active)),
            Self::H2load => Loading::H2load(server),
        }
    }
}

/// A load that has begun; when it is dropped, its connections close.
pub(crate) enum Loading {
    Wire(Peer),
    H2load(SocketAddr),
}

impl Loading {
    /// One batch to warm up, then the batches that are measured; from a thread that may wait.
    pub(crate) fn measure(&mut self, size: Size) -> Sample {
        batches_blocking(size, |ops| self.run(ops))
    }

    fn run(&mut self, ops: u64) {
        match self {
            Self::Wire(peer) => peer.run(ops),
            Self::H2load(server) => h2load::run(*server, ops),
        }
    }
}

/// The process at the other end.
pub(crate) struct Peer {
    // Closed before the process is waited for, which ends it.
    to: Option<Box<dyn Write + Send>>,
    from: Box<dyn BufRead + Send>,
    process: Option<Child>,
}

impl Peer {
    fn connect(server: SocketAddr, talk: Talk, connections: u64, active: u64) -> Self {
        let mut peer = Self::start(server, talk, connections, active);
        peer.hear(CONNECTED);
        peer
    }

    #[cfg(not(test))]
    fn start(server: SocketAddr, talk: Talk, connections: u64, active: u64) -> Self {
        use std::process::{Command, Stdio};
        let own = std::env::current_exe().expect("the system knows what runs");
        let mut command = Command::new(own);
        command.args(["talk", talk.name(), &server.to_string()]);
        command.args([connections.to_string(), active.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program can be started");
        let to = process.stdin.take().expect("was asked for");
        let from = process.stdout.take().expect("was asked for");
        Self {
            to: Some(Box::new(to)),
            from: Box::new(BufReader::new(from)),
            process: Some(process),
        }
    }

    /// In a test this program is another one, so the other end is a thread.
    #[cfg(test)]
    fn start(server: SocketAddr, talk: Talk, connections: u64, active: u64) -> Self {
        let (heard, to) = io::pipe().expect("the system has pipes");
        let (from, said) = io::pipe().expect("the system has pipes");
        std::thread::spawn(move || {
            let client = client::Client::connect(server, talk, connections, active);
            let end = converse(client, BufReader::new(heard), said);
            end.expect("whoever asks reads the answers");
        });
        Self {
            to: Some(Box::new(to)),
            from: Box::new(BufReader::new(from)),
            process: None,
        }
    }

    fn run(&mut self, ops: u64) {
        let to = self.to.as_mut().expect("is open until it is dropped");
        writeln!(to, "{ops}").expect("the other end reads");
        self.hear(ANSWERED);
    }

    fn hear(&mut self, wanted: &str) {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the pipe is open");
        assert_eq!(line.trim_end(), wanted, "what the other end says");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.to = None;
        // It has ended, or ends now that nobody asks; whether well was seen by its answers.
        let _ = self.process.as_mut().map(Child::wait);
    }
}

impl Talk {
    const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http1 => "http1",
        }
    }
}

/// The other end as a process; returns when nobody asks any more.
pub(crate) fn talk(arguments: &[&str]) -> Result<String, String> {
    let [talk, server, connections, active] = arguments else {
        return Err("`talk TALK ADDRESS CONNECTIONS ACTIVE`".to_owned());
    };
    let mut talks = [Talk::Echo, Talk::Http1].into_iter();
    let talk = talks.find(|known| known.name() == *talk);
    let talk = talk.ok_or("the talks are echo and http1")?;
    let server = server.parse().map_err(|error| format!("{error}"))?;
    let number = |text: &str| text.parse().map_err(|error| format!("`{text}`: {error}"));
    let client = client::Client::connect(server, talk, number(connections)?, number(active)?);
    converse(client, io::stdin().lock(), io::stdout().lock()).map_err(|error| error.to_string())?;
    Ok("closed".to_owned())
}

fn converse(
    mut client: client::Client,
    asked: impl BufRead,
    mut answer: impl Write,
) -> io::Result<()> {
    writeln!(answer, "{CONNECTED}")?;
    answer.flush()?;
    for line in asked.lines() {
        client.run(line?.parse().map_err(io::Error::other)?);
        writeln!(answer, "{ANSWERED}")?;
        answer.flush()?;
    }
    Ok(())
}

/// Raises the number of files that this process may have open to what the system lets it, and says whether `files` fit.
pub(crate) fn allow_files(files: u64) -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it cannot be raised, what there is may do.
    let limit = setrlimit(Resource::Nofile, raised).map_or(limit, |()| raised);
    limit.current.is_none_or(|most| most >= files)
}

/// Asserts that so many connections can be open, with some files beside them.
pub(crate) fn allow_connections(connections: u64) {
    assert!(
        allow_files(connections + FILES_BESIDE),
        "{connections} connections need as many open files; raise the limit (`ulimit -n`)"
    );
}

const FILES_BESIDE: u64 = 64;
const CONNECTED: &str = "connected";
const ANSWERED: &str = "answered";
