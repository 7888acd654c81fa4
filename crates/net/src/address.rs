//! Where to connect to or listen on, and how names become addresses.

use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use asupersync_kernel::caps::HasIo;
use asupersync_kernel::{BlockingError, CancelWait, Cx};

use crate::error::NetError;
use crate::port::NetPort;

/// One or more socket addresses, or a name that stands for some.
///
/// It is made from a [`SocketAddr`], `(ip, port)`, `(host, port)`, a list of addresses, or a text `host:port`.
/// # Examples
/// ```
/// use asupersync_net::Address;
/// use std::net::Ipv4Addr;
/// for address in [Address::from("127.0.0.1:80"), (Ipv4Addr::LOCALHOST, 80).into(), ("127.0.0.1", 80).into()] {
///     assert_eq!(address.to_string(), "127.0.0.1:80");
/// }
/// assert_eq!(Address::from("example.com:443").to_string(), "example.com:443");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address(Kind);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Socket(SocketAddr),
    List(Vec<SocketAddr>),
    Name { host: String, port: u16 },
    Invalid(String),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Socket(address))
    }
}

impl From<&SocketAddr> for Address {
    fn from(address: &SocketAddr) -> Self {
        Self::from(*address)
    }
}

impl From<Vec<SocketAddr>> for Address {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Kind::List(addresses))
    }
}

impl From<&[SocketAddr]> for Address {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::from(addresses.to_vec())
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from((ip, port): (IpAddr, u16)) -> Self {
        Self::from(SocketAddr::new(ip, port))
    }
}

impl From<(Ipv4Addr, u16)> for Address {
    fn from((ip, port): (Ipv4Addr, u16)) -> Self {
        Self::from(SocketAddr::from((ip, port)))
    }
}

impl From<(Ipv6Addr, u16)> for Address {
    fn from((ip, port): (Ipv6Addr, u16)) -> Self {
        Self::from(SocketAddr::from((ip, port)))
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::from((ip, port)),
            Err(_) if is_host(host) => Self(Kind::Name {
                host: host.to_owned(),
                port,
            }),
            Err(_) => Self(Kind::Invalid(format!("{host}:{port}"))),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::from(address);
        }
        let parts = text
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parts {
            Some((host, port)) if is_host(host) => Self(Kind::Name {
                host: host.to_owned(),
                port,
            }),
            _ => Self(Kind::Invalid(text.to_owned())),
        }
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Socket(address) => address.fmt(f),
            Kind::List(addresses) => f.debug_list().entries(addresses).finish(),
            Kind::Name { host, port } => write!(f, "{host}:{port}"),
            Kind::Invalid(text) => f.write_str(text),
        }
    }
}

/// Finds the socket addresses that `address` stands for.
///
/// Only names need a lookup: in production `getaddrinfo` on the blocking pool, under the lab the table of its network.
/// # Errors
/// [`NetError::InvalidAddress`], [`NetError::Resolve`], [`NetError::NoAddress`], [`NetError::Cancelled`] or [`NetError::NoNetwork`].
/// # Cancel safety
/// Safe: nothing happened.
/// A lookup that has begun cannot be stopped; the caller does not wait for it any longer, but its region does.
pub async fn resolve<C: HasIo>(
    cx: &Cx<C>,
    address: impl Into<Address>,
) -> Result<Vec<SocketAddr>, NetError> {
    let address = address.into();
    find(cx, NetPort::of(cx)?, address).await
}

pub(crate) async fn find<C: HasIo>(
    cx: &Cx<C>,
    net: &NetPort,
    address: Address,
) -> Result<Vec<SocketAddr>, NetError> {
    cx.checkpoint()?;
    let shown = address.to_string();
    let found = match address.0 {
        Kind::Socket(address) => vec![address],
        Kind::List(addresses) => addresses,
        Kind::Name { host, port } => look_up(cx, net.clone(), host, port).await?,
        Kind::Invalid(text) => return Err(NetError::InvalidAddress { text }),
    };
    if found.is_empty() {
        return Err(NetError::NoAddress { address: shown });
    }
    Ok(found)
}

async fn look_up<C: HasIo>(
    cx: &Cx<C>,
    net: NetPort,
    host: String,
    port: u16,
) -> Result<Vec<SocketAddr>, NetError> {
    let name = host.clone();
    let mut job = pin!(cx.blocking(move || net.driver().resolve(&name, port)));
    let mut cancel = CancelWait::new();
    let found = poll_fn(|task| match job.as_mut().poll(task) {
        Poll::Ready(found) => Poll::Ready(found),
        Poll::Pending => cancel
            .poll(task)
            .map(|stop| Err(BlockingError::Cancelled(stop))),
    })
    .await?;
    found.map_err(|source| NetError::Resolve { host, source })
}

/// Whether a text can be a host's name; a colon means a mistyped address, a zero byte is nothing the lookup takes.
fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '\0', '[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Kind) {
        assert_eq!(Address::from(text).0, expected, "{text:?}");
    }

    fn name(host: &str, port: u16) -> Kind {
        Kind::Name {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn a_literal_needs_no_lookup() {
        check("127.0.0.1:80", Kind::Socket(([127, 0, 0, 1], 80).into()));
        let v6 = SocketAddr::new("::1".parse().unwrap(), 8080);
        check("[::1]:8080", Kind::Socket(v6));
        assert_eq!(Address::from(("::1", 8080)).0, Kind::Socket(v6));
    }

    #[test]
    fn a_name_has_a_host_and_a_port() {
        check("localhost:80", name("localhost", 80));
        check("a.b-c.example:65535", name("a.b-c.example", 65535));
        assert_eq!(Address::from(("db", 1)).0, name("db", 1));
    }

    #[test]
    fn what_is_no_address_is_kept_for_the_message() {
        for text in [
            "",
            ":80",
            "host",
            "host:",
            "host:65536",
            "::1:80",
            "[::1]",
            "a\0b:1",
            "host:-1",
        ] {
            check(text, Kind::Invalid(text.into()));
        }
        assert_eq!(Address::from(("", 7)).0, Kind::Invalid(":7".into()));
    }
}
