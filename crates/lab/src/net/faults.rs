//! What may go wrong with the simulated network, by chance.

use std::time::Duration;

use crate::faults::checked;

/// What may go wrong with the simulated network, and how likely each is; see [`Faults::net`](crate::Faults::net).
///
/// A stream hides what happens to its segments: of one that is lost, doubled or overtaken a program sees only that bytes come later.
///
/// # Examples
/// ```
/// use asupersync_lab::{Faults, NetFaults};
/// use std::time::Duration;
/// let net = NetFaults::none().loss(0.02).reset(0.01).slow_peer(0.1, Duration::from_secs(1));
/// let faults = Faults::none().net(net).at_most(3);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NetFaults {
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) reorder_max: Duration,
    pub(super) slow_peer: f64,
    pub(super) slow_peer_max: Duration,
    pub(super) refuse: f64,
    pub(super) reset: f64,
    pub(super) partition: f64,
    pub(super) partition_max: Duration,
    pub(super) half_open: f64,
    pub(super) half_open_max: Duration,
}

impl Default for NetFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl NetFaults {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_max: Duration::ZERO,
            slow_peer: 0.0,
            slow_peer_max: Duration::ZERO,
            refuse: 0.0,
            reset: 0.0,
            partition: 0.0,
            partition_max: Duration::ZERO,
            half_open: 0.0,
            half_open_max: Duration::ZERO,
        }
    }

    /// How likely a segment is lost, once or up to three times; it is sent again after 200 ms and then after twice as long each time, and after 1 s if it opens a connection.
    ///
    /// The segments behind it are held back meanwhile.
    ///
    /// # Panics
    /// If the chance is not from 0 to 1; so with all others.
    #[must_use]
    pub const fn loss(mut self, chance: f64) -> Self {
        self.loss = checked(chance);
        self
    }

    /// How likely a segment is sent twice; the copy takes its time on the wire and is thrown away where it arrives.
    #[must_use]
    pub const fn duplicate(mut self, chance: f64) -> Self {
        self.duplicate = checked(chance);
        self
    }

    /// How likely a segment is overtaken by those behind it, and how much longer it takes at most; they are held back until it is there.
    #[must_use]
    pub const fn reorder(mut self, chance: f64, max: Duration) -> Self {
        self.reorder = checked(chance);
        self.reorder_max = max;
        self
    }

    /// How likely a connection has a slow server, and how much longer each of its segments then takes at most, in both directions.
    #[must_use]
    pub const fn slow_peer(mut self, chance: f64, max: Duration) -> Self {
        self.slow_peer = checked(chance);
        self.slow_peer_max = max;
        self
    }

    /// How likely a connection is refused although somebody listens.
    #[must_use]
    pub const fn refuse(mut self, chance: f64) -> Self {
        self.refuse = checked(chance);
        self
    }

    /// How likely a write finds its connection broken: both ends see a reset, and bytes under way are lost.
    #[must_use]
    pub const fn reset(mut self, chance: f64) -> Self {
        self.reset = checked(chance);
        self
    }

    /// How likely the addresses of a connection are parted when a program connects or writes, and for how long at most: both ways, or one of the two.
    ///
    /// If both ends have one address, that address cannot reach itself.
    #[must_use]
    pub const fn partition(mut self, chance: f64, max: Duration) -> Self {
        self.partition = checked(chance);
        self.partition_max = max;
        self
    }

    /// How likely the peer of an end that writes, or waits for bytes, is gone without a word, and for how long at most nothing reaches it.
    ///
    /// The end that is left hears nothing: its reads wait, and its writes go into its buffer until that is full.
    /// Once something of it reaches the other machine again, that answers by a reset; an end that only reads is never told.
    /// Where the peer was, its program sees that its connection was aborted.
    #[must_use]
    pub const fn half_open(mut self, chance: f64, max: Duration) -> Self {
        self.half_open = checked(chance);
        self.half_open_max = max;
        self
    }

    /// Whether none of it ever happens.
    pub(crate) fn never_happen(&self) -> bool {
        let segments = [self.loss, self.duplicate, self.reorder, self.slow_peer];
        let connections = [self.refuse, self.reset, self.partition, self.half_open];
        let mut chances = segments.iter().chain(&connections);
        chances.all(|chance| *chance <= 0.0)
    }
}

/// Something that went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Loss,
    Duplicate,
    Reorder,
    SlowPeer,
    Refuse,
    Reset,
    Partition,
    HalfOpen,
    Vanish,
}

impl Trouble {
    /// Its name in the trace.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Loss => "net.loss",
            Self::Duplicate => "net.duplicate",
            Self::Reorder => "net.reorder",
            Self::SlowPeer => "net.slow_peer",
            Self::Refuse => "net.refuse",
            Self::Reset => "net.reset",
            Self::Partition => "net.partition",
            Self::HalfOpen => "net.half_open",
            Self::Vanish => "net.vanish",
        }
    }
}
