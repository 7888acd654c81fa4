//! The example as a process of its own, and clients for it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The example's program, which `cargo test` builds beside the tests.
#[track_caller]
pub(super) fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join("ledger");
    assert!(
        program.exists(),
        "{} is missing; build it with `cargo build -p asupersync --example ledger`, \
         with the profile of these tests",
        program.display()
    );
    program
}

/// A running `ledger serve`.
pub(super) struct Server {
    child: Child,
    stderr: Receiver<String>,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub(super) fn start(journal: &Path) -> Self {
        Self::start_with(Command::new(program()), journal)
    }

    /// Starts it by a command to which its arguments are added.
    #[track_caller]
    pub(super) fn start_with(command: Command, journal: &Path) -> Self {
        let (child, stderr) = spawn(command, journal);
        let line = stderr
            .recv_timeout(PATIENCE)
            .expect("the service says where it listens");
        let address = line.strip_prefix("ledger: listening on ");
        let address = address.unwrap_or_else(|| panic!("instead it said: {line}"));
        Self {
            address: address.parse().unwrap(),
            child,
            stderr,
        }
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end; gives its status and what it said last.
    #[track_caller]
    pub(super) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        wait(&mut self.child, &self.stderr)
    }

    /// Asks it to end, and expects that it does so in order.
    #[track_caller]
    pub(super) fn end(self) {
        self.terminate();
        let (status, said) = self.wait();
        assert_eq!(status.code(), Some(130), "{said:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the service and kills it at once, wherever it is by then.
pub(super) fn start_and_kill(journal: &Path) {
    let (mut child, _stderr) = spawn(Command::new(program()), journal);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs it where it cannot go on; gives its status and what it said.
#[track_caller]
pub(super) fn run_to_its_end(journal: &Path) -> (ExitStatus, Vec<String>) {
    let (mut child, stderr) = spawn(Command::new(program()), journal);
    wait(&mut child, &stderr)
}

fn spawn(mut command: Command, journal: &Path) -> (Child, Receiver<String>) {
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--journal"])
        .arg(journal);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pipe = BufReader::new(child.stderr.take().unwrap());
    let (tell, stderr) = mpsc::channel();
    let listen = move || {
        for line in pipe.lines().map_while(Result::ok) {
            // The test may have what it wants; the pipe is emptied all the same.
            let _ = tell.send(line);
        }
    };
    std::thread::Builder::new().spawn(listen).unwrap();
    (child, stderr)
}

#[track_caller]
fn wait(child: &mut Child, stderr: &Receiver<String>) -> (ExitStatus, Vec<String>) {
    let mut said = Vec::new();
    loop {
        match stderr.recv_timeout(PATIENCE) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Disconnected) => return (child.wait().unwrap(), said),
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("the service did not end; it said {said:?}");
            }
        }
    }
}

/// A client's connection.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next answer; `None` at the end.
    pub(super) fn receive(&mut self) -> io::Result<Option<Value>> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_str(&line)?)),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.0.get_ref().shutdown(std::net::Shutdown::Write)
    }

    /// Sends one line and gives its answer.
    #[track_caller]
    pub(super) fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.send(&[line.as_ref(), b"\n"].concat()).unwrap();
        let reply = self.receive().unwrap();
        reply.expect("the service answers")
    }
}
