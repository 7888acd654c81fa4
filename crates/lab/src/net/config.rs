//! How the simulated network behaves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The simulated network's latency, buffers and faults.
///
/// # Examples
/// ```
/// use asupersync_lab::{LabConfig, NetConfig};
/// use std::time::Duration;
/// let net = NetConfig::default()
///     .latency(Duration::from_millis(20))
///     .jitter(Duration::from_millis(5))
///     .reset_probability(0.001);
/// let config = LabConfig::default().seed(7).net(net);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct NetConfig {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) reset_probability: f64,
    pub(super) short_probability: f64,
    pub(super) buffer_bytes: usize,
    /// Shared by the runs of a search.
    pub(super) hosts: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

impl Default for NetConfig {
    fn default() -> Self {
        let localhost = (String::from("localhost"), vec![Ipv4Addr::LOCALHOST.into()]);
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            reset_probability: 0.0,
            short_probability: 0.25,
            buffer_bytes: 64 * 1024,
            hosts: Arc::new(BTreeMap::from([localhost])),
        }
    }
}

impl NetConfig {
    /// How long a segment is under way; zero unless set.
    ///
    /// With zero it arrives in a step of its own that the schedule draws among the runnable tasks.
    #[must_use]
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// How much longer at most, decided for each segment in eighths; zero unless set. Order within a direction is kept.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How likely a write is to find its connection broken, from 0 to 1; 0 unless set.
    ///
    /// # Panics
    /// If it is out of range.
    #[must_use]
    pub fn reset_probability(mut self, probability: f64) -> Self {
        self.reset_probability = checked(probability);
        self
    }

    /// How likely a read or write is to move fewer bytes than it could, from 0 to 1; 0.25 unless set.
    ///
    /// # Panics
    /// If it is out of range.
    #[must_use]
    pub fn short_probability(mut self, probability: f64) -> Self {
        self.short_probability = checked(probability);
        self
    }

    /// How many bytes of a direction may be under way or unread, unless a socket's options say otherwise; 64 KiB unless set.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a buffer of 0 bytes would let nothing through");
        self.buffer_bytes = bytes;
        self
    }

    /// What the lookup finds for a name; only `localhost` is known from the start.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>, addresses: impl Into<Vec<IpAddr>>) -> Self {
        Arc::make_mut(&mut self.hosts).insert(name.into(), addresses.into());
        self
    }
}

fn checked(probability: f64) -> f64 {
    assert!(
        (0.0..=1.0).contains(&probability),
        "a probability is from 0 to 1, not {probability}"
    );
    probability
}
