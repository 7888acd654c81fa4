//! How the simulated network behaves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::latency::Latency;

/// The simulated network's nature: latency, bandwidth, buffers.
///
/// What goes wrong is told by [`Faults`](crate::Faults), and done under way by [`LabNet`](crate::LabNet).
///
/// # Examples
/// ```
/// use asupersync_lab::{LabConfig, Latency, NetConfig};
/// use std::time::Duration;
/// let net = NetConfig::default()
///     .latency(Latency::uniform(Duration::from_millis(20), Duration::from_millis(25)))
///     .bandwidth(10_000_000);
/// let config = LabConfig::default().seed(7).net(net);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct NetConfig {
    pub(super) latency: Latency,
    /// Bytes a second.
    pub(super) bandwidth: Option<NonZeroU64>,
    /// By how much the links of an address are slower; shared by the runs of a search.
    pub(super) slow: Arc<BTreeMap<IpAddr, u32>>,
    pub(super) connect_timeout: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) short_probability: f64,
    pub(super) buffer_bytes: usize,
    /// Shared by the runs of a search.
    pub(super) hosts: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

impl Default for NetConfig {
    fn default() -> Self {
        let localhost = (String::from("localhost"), vec![Ipv4Addr::LOCALHOST.into()]);
        Self {
            latency: Latency::fixed(Duration::ZERO),
            bandwidth: None,
            slow: Arc::default(),
            connect_timeout: CONNECT_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            short_probability: 0.25,
            buffer_bytes: 64 * 1024,
            hosts: Arc::new(BTreeMap::from([localhost])),
        }
    }
}

impl NetConfig {
    /// How long a segment is under way; zero unless set.
    ///
    /// It is decided for each segment; order within a direction is kept.
    /// With zero a segment arrives in a step of its own that the schedule draws among the runnable tasks.
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.latency = latency.into();
        self
    }

    /// How many bytes a second each direction of a connection carries; without a limit unless set.
    ///
    /// Bytes leave one after another, and what is written meanwhile waits for its turn.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        let bandwidth = NonZeroU64::new(bytes_per_second);
        assert!(bandwidth.is_some(), "a bandwidth of 0 lets nothing through");
        self.bandwidth = bandwidth;
        self
    }

    /// By how much an address is slower than others: segments to and from it take so many times as long, in latency and in bandwidth.
    ///
    /// Of two slow addresses the slower one counts.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    pub fn slow(mut self, address: IpAddr, factor: u32) -> Self {
        self.set_slow(address, factor);
        self
    }

    pub(super) fn set_slow(&mut self, address: IpAddr, factor: u32) {
        assert!(factor > 0, "a factor of 0 would make time stand still");
        Arc::make_mut(&mut self.slow).insert(address, factor);
    }

    /// After how long a connection that is not answered fails; 127 s unless set, as Linux has it.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long an end whose segments do not get through gives its connection up; 924 s unless set, as Linux has it.
    ///
    /// An end that has sent nothing waits for ever.
    #[must_use]
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
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

/// What six repetitions of a request, after 1, 2, 4 seconds and so on, take until the last has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// What fifteen repetitions take.
const STALL_TIMEOUT: Duration = Duration::from_secs(924);
