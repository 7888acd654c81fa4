//! The load by HTTP/2: the program `h2load` of nghttp2.

use std::net::SocketAddr;
use std::process::Command;

/// What is missing, if the program cannot be started.
pub(crate) fn missing() -> Option<&'static str> {
    let version = Command::new(PROGRAM).arg("--version").output();
    match version.is_ok_and(|output| output.status.success()) {
        true => None,
        false => Some("h2load is not installed (Debian: apt-get install nghttp2-client)"),
    }
}

/// Has so many answers.
pub(crate) fn run(server: SocketAddr, requests: u64) {
    let mut command = Command::new(PROGRAM);
    command.args(["-c8", "-m32", "-n", &requests.to_string()]);
    command.arg(format!("http://{server}/"));
    let output = command.output().expect("is installed, as the row asks");
    let report = String::from_utf8_lossy(&output.stdout);
    let wanted = format!(" {requests} succeeded, 0 failed,");
    assert!(
        output.status.success() && report.contains(&wanted),
        "h2load ended with {}: {report}",
        output.status
    );
}

const PROGRAM: &str = "h2load";
