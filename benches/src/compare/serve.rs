//! Servers whose clients are another process: of an echo, and of HTTP with hyper on each runtime.
//!
//! The runtime is what is compared, so the protocol is hyper's everywhere; only reading, writing and spawning differ.

pub(crate) mod floor;
pub(crate) mod ours;
pub(crate) mod smol;
pub(crate) mod tokio;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};

use super::{CONNECTIONS, HELLO};
use crate::wire::{Load, Talk};

/// Where a server listens: a free port of the loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Requests by HTTP/1.1, each once the answer to the one before has come.
const HTTP1: Load = Load::Wire {
    talk: Talk::Http1,
    connections: CONNECTIONS,
    active: CONNECTIONS,
};

/// The page that every request gets.
async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO))))
}
