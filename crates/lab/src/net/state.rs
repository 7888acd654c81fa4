//! The network's decisions: state and an operation in, effects out.
//!
//! The parts of it are told by what they are of: listeners, connections, segments, trouble.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Effects;
use super::config::NetConfig;
use super::connection::{Connection, ConnectionId};
use super::faults::NetFaults;
use super::listeners::{Listener, ListenerId};
use super::stalls::Partition;

pub(super) struct State {
    pub(super) config: NetConfig,
    pub(super) faults: NetFaults,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) by_addresses: BTreeMap<(SocketAddr, SocketAddr), ConnectionId>,
    /// By their numbers.
    pub(super) partitions: BTreeMap<u64, Partition>,
    /// The addresses that have vanished, with a number for each time.
    pub(super) away: BTreeMap<IpAddr, u64>,
    pub(super) next_port: u16,
    /// The number under which the listeners' addresses are one thing that is read and written.
    table: Option<u64>,
}

impl State {
    pub(super) fn new(config: NetConfig, faults: NetFaults) -> Self {
        Self {
            config,
            faults,
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            by_addresses: BTreeMap::new(),
            partitions: BTreeMap::new(),
            away: BTreeMap::new(),
            next_port: EPHEMERAL_MIN,
            table: None,
        }
    }

    /// The number of the table of listeners' addresses.
    pub(super) fn table(&mut self, effects: &Effects<'_>) -> u64 {
        *self.table.get_or_insert_with(|| effects.number())
    }

    pub(super) fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.config.hosts.get(host) {
            Some(found) => Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the lab's network knows no such host; name it with `NetConfig::host`",
            )),
        }
    }

    /// Tries each ephemeral port once, going on where the last search ended.
    pub(super) fn free_port(
        &mut self,
        accept: impl Fn(&Self, u16) -> Option<SocketAddr>,
    ) -> io::Result<SocketAddr> {
        for _ in EPHEMERAL_MIN..=u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_MIN);
            if let Some(address) = accept(self, port) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

pub(super) fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Whether two listeners' addresses stand for a common one; the IPv6 wildcard includes IPv4.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, narrow: SocketAddr| match wide.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let same_port = one.port() == other.port();
    same_port && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

/// The first of the ports that are given out.
const EPHEMERAL_MIN: u16 = 49_152;
