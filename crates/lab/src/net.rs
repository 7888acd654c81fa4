//! A network in memory, driven by the lab's time and by decisions of the schedule.
//!
//! # Shape
//! `state` decides, with its parts `listeners`, `connections`, `segments`, `wire`, `stalls` and `trouble`: who is connected to whom, what is under way, and what an operation does; it knows no host and no lock, and says what is to happen in `Effects`.
//! This file carries that out: a segment that takes time arrives by a timer of the host, one that takes none by a step of its own, which the schedule draws like any other.
//! `socket` is what programs see of it, through the port of `asupersync-net`.
//!
//! # Invariants
//! - Segments of one direction arrive in the order in which they were sent, each once.
//! - Bytes under way, bytes not yet read, and bytes of whose reading the sender has not heard together never exceed the direction's buffer.
//! - Whatever could be otherwise is a decision of the schedule, and 0 the plain answer: bytes move whole and segments take their shortest time.
//! - No waker is called or dropped under the lock.
//!
//! # Absent
//! Datagrams: `asupersync-net` has no UDP; loss, copies and reordering show as delay only, as a stream hides them.
//! Probes of idle connections: a half-open connection is noticed by who writes.

mod config;
mod connection;
mod connections;
mod faults;
mod latency;
mod listeners;
mod segments;
mod socket;
mod stalls;
mod state;
mod trouble;
mod wire;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use asupersync_core::{PanicPayload, Time};
use asupersync_kernel::{Cx, Event, Host, Report};

pub use config::NetConfig;
pub use faults::NetFaults;
pub use latency::Latency;

use crate::host::LabHost;
use connection::Alarm;
use faults::Trouble;
use stalls::Partition;
use state::State;

/// The lab's network, to look at it and disturb it from within a program.
///
/// # Examples
/// ```
/// use asupersync_io::ReadExt;
/// use asupersync_lab::{LabConfig, LabNet, LabRuntime};
/// use asupersync_net::{NetError, TcpListener, TcpStream};
///
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
///     let listener = TcpListener::bind(&cx, "127.0.0.1:80").await?;
///     let mut client = TcpStream::connect(&cx, "127.0.0.1:80").await?;
///     let (_server, peer) = listener.accept(&cx).await?;
///     let net = LabNet::of(&cx).expect("the lab has a network");
///     assert_eq!(net.connections(), [(peer, "127.0.0.1:80".parse().expect("it is an address"))]);
///     assert!(net.reset_random().is_some());
///     let end = client.read(&mut [0; 8]).await;
///     assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
///     Ok::<_, NetError>(())
/// });
/// report.assert_clean();
/// assert!(report.outcome.is_ok());
/// ```
#[derive(Clone)]
pub struct LabNet(Arc<Net>);

impl LabNet {
    pub(crate) fn new(host: Weak<LabHost>, config: NetConfig, faults: NetFaults) -> Self {
        Self(Arc::new(Net {
            host,
            state: Mutex::new(State::new(config, faults)),
        }))
    }

    /// The network of the lab that this context runs under; `None` in production, or if the program brought a network of its own.
    #[must_use]
    pub fn of<C>(cx: &Cx<C>) -> Option<&Self> {
        cx.port()
    }

    /// The connections that stand, oldest first: the client's address and the server's.
    #[must_use]
    pub fn connections(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.0
            .act(|state, _| state.connections())
            .unwrap_or_default()
    }

    /// Breaks the connection between two addresses, in either order: both ends see a reset at once and bytes under way are lost.
    ///
    /// Says whether there was one.
    pub fn reset(&self, one: SocketAddr, other: SocketAddr) -> bool {
        let reset = self
            .0
            .act(|state, effects| state.reset_between(one, other, effects));
        reset.unwrap_or_default()
    }

    /// Breaks one of the connections, which the schedule decides, and says which: the client's address and the server's.
    pub fn reset_random(&self) -> Option<(SocketAddr, SocketAddr)> {
        let reset = self.0.act(|state, effects| state.reset_random(effects));
        reset.ok().flatten()
    }

    /// From now on segments take this long; order within a direction is kept.
    pub fn set_latency(&self, latency: impl Into<Latency>) {
        let latency = latency.into();
        // Without a host nothing will be sent any more; so with all that follow.
        let _gone = self.0.act(|state, _| state.config.latency = latency);
    }

    /// From now on each direction of a connection carries so many bytes a second; see [`NetConfig::bandwidth`].
    ///
    /// # Panics
    /// If it is zero.
    pub fn set_bandwidth(&self, bytes_per_second: u64) {
        let changed = |config: &NetConfig| config.clone().bandwidth(bytes_per_second);
        let _gone = self.0.act(|state, _| state.config = changed(&state.config));
    }

    /// From now on the links of an address are slower by this factor, and with 1 as fast as others; see [`NetConfig::slow`].
    ///
    /// # Panics
    /// If it is zero.
    pub fn slow(&self, address: IpAddr, factor: u32) {
        let _gone = self
            .0
            .act(|state, _| state.config.set_slow(address, factor));
    }

    /// The machine of an address goes down: nobody listens there any more, its connections are broken, and their peers are told.
    pub(crate) fn crash(&self, ip: IpAddr) {
        let _gone = self.0.act(|state, effects| state.crash(ip, effects));
    }
}

impl LabNet {
    /// Parts two sets of addresses: from now on nothing gets from one to the other, in both directions.
    ///
    /// What was under way and has not arrived is lost and sent again, as is all that is sent meanwhile: connections stand still, and go on when the partition is [healed](Self::heal) and the next attempt gets through.
    /// Attempts come after 200 ms and then after twice as long each time, up to a minute; for [`NetConfig::stall_timeout`], after which an end gives up without a word.
    /// Who connects across it waits for [`NetConfig::connect_timeout`].
    /// An address in both sets cannot reach itself.
    ///
    /// # Examples
    /// ```
    /// use asupersync_lab::{LabConfig, LabNet, LabRuntime};
    /// use asupersync_net::{NetError, TcpConnectOptions, TcpListener, TcpStream};
    ///
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
    ///     let net = LabNet::of(&cx).expect("the lab has a network");
    ///     let _listener = TcpListener::bind(&cx, "10.0.0.2:80").await?;
    ///     let partition = net.partition(&[[10, 0, 0, 1].into()], &[[10, 0, 0, 2].into()]);
    ///     let from = TcpConnectOptions::new().local(([10, 0, 0, 1], 0).into());
    ///     let failed = TcpStream::connect_with(&cx, "10.0.0.2:80", &from).await;
    ///     assert!(failed.is_err());
    ///     assert!(net.heal(partition));
    ///     TcpStream::connect_with(&cx, "10.0.0.2:80", &from).await?;
    ///     Ok::<_, NetError>(())
    /// });
    /// report.assert_clean();
    /// assert!(report.outcome.is_ok());
    /// assert_eq!(report.elapsed.as_secs(), 127);
    /// ```
    pub fn partition(&self, one: &[IpAddr], other: &[IpAddr]) -> PartitionId {
        self.part(one, other, true)
    }

    /// As [`partition`](Self::partition), in one direction: nothing gets from the first to the second, and everything back.
    ///
    /// What gets through is not acknowledged, so its sender's buffer fills, and in the end it gives up as well.
    pub fn partition_one_way(&self, from: &[IpAddr], to: &[IpAddr]) -> PartitionId {
        self.part(from, to, false)
    }

    fn part(&self, from: &[IpAddr], to: &[IpAddr], both_ways: bool) -> PartitionId {
        let partition = Partition {
            from: from.iter().copied().collect(),
            to: to.iter().copied().collect(),
            both_ways,
        };
        let id = self.0.act(|state, effects| {
            effects.tell(Trouble::Partition);
            state.part(partition, effects)
        });
        // No partition has the number 0.
        PartitionId(id.unwrap_or_default())
    }

    /// Ends a partition; says whether it still stood.
    pub fn heal(&self, partition: PartitionId) -> bool {
        let healed = self
            .0
            .act(|state, effects| state.heal(partition.0, effects));
        healed.unwrap_or_default()
    }

    /// The machine of an address is gone without a word, as if its power had failed; says whether it was there.
    ///
    /// Its listeners and its ends of connections are lost, with what they had sent and not read; whoever still holds them sees that they were aborted.
    /// The other ends are not told: their reads wait, and their writes go into their buffers until these are full, until they give up as in a [partition](Self::partition).
    /// What comes after [`restore`](Self::restore) is answered by a reset.
    pub fn vanish(&self, address: IpAddr) -> bool {
        let vanished = self.0.act(|state, effects| {
            let vanished = state.vanish(address, effects);
            if vanished {
                effects.tell(Trouble::Vanish);
            }
            vanished
        });
        vanished.unwrap_or_default()
    }

    /// The machine of an address is back, and knows nothing of its connections; says whether it was away.
    pub fn restore(&self, address: IpAddr) -> bool {
        let restored = self.0.act(|state, effects| state.restore(address, effects));
        restored.unwrap_or_default()
    }

    /// Ends all partitions, also those that came by chance.
    pub fn heal_all(&self) {
        let _gone = self.0.act(|state, effects| state.heal_all(effects));
    }
}

/// Names a partition, so that it can be healed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PartitionId(u64);

impl fmt::Debug for LabNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabNet").finish_non_exhaustive()
    }
}

struct Net {
    host: Weak<LabHost>,
    state: Mutex<State>,
}

/// What the state wants done, once its lock is released.
struct Effects<'a> {
    now: Time,
    host: &'a LabHost,
    wake: Vec<Waker>,
    /// Dropped outside the lock, since a waker may own a task and that task a socket.
    forget: Vec<Waker>,
    later: Vec<(Time, Alarm)>,
    record: Vec<(u64, &'static str)>,
}

impl Effects<'_> {
    /// A number for a new socket.
    fn number(&self) -> u64 {
        self.host.next_number()
    }

    /// How long a segment is under way.
    fn latency(&self, latency: &Latency) -> Duration {
        match latency.count() {
            1 => latency.time(0),
            count => latency.time(self.host.decide_by(count, |rng| latency.draw(rng))),
        }
    }

    /// One of so many, each with equal chance; 0 unless the schedule says another.
    fn choose(&self, count: u32) -> u32 {
        if count < 2 {
            return 0;
        }
        self.host.decide_by(count, |rng| rng.u32(..count))
    }

    /// Whether something other than the usual happens, and which of so many; 0 is the usual.
    fn decide(&self, chance: f64, others: u32) -> u32 {
        if chance <= 0.0 || others == 0 {
            return 0;
        }
        self.host.decide(chance, others)
    }

    /// Whether something goes wrong, and in which of so many ways; 0 is no.
    fn fault(&self, chance: f64, ways: u32, trouble: Trouble) -> u32 {
        let decision = self.host.fault(chance, ways);
        if decision > 0 {
            self.tell(trouble);
        }
        decision
    }

    /// Says in the trace that something goes wrong.
    fn tell(&self, trouble: Trouble) {
        self.host.injected(None, trouble.name());
    }

    fn record(&mut self, resource: u64, name: &'static str) {
        self.record.push((resource, name));
    }
}

impl Net {
    /// Changes the state and carries out what follows.
    ///
    /// Fails if the run has ended.
    fn act<R>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, &mut Effects<'_>) -> R,
    ) -> io::Result<R> {
        let Some(host) = self.host.upgrade() else {
            return Err(io::Error::other(
                "the lab's run has ended, and its network with it",
            ));
        };
        let mut effects = Effects {
            now: host.now(),
            host: &host,
            wake: Vec::new(),
            forget: Vec::new(),
            later: Vec::new(),
            record: Vec::new(),
        };
        let result = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state, &mut effects)
        };
        self.perform(effects);
        Ok(result)
    }

    fn perform(self: &Arc<Self>, effects: Effects<'_>) {
        let host = effects.host;
        if host.config().record {
            for (resource, name) in effects.record {
                host.record(Event::Operation {
                    subject: None,
                    resource,
                    name: name.into(),
                });
            }
        }
        for (at, alarm) in effects.later {
            if at > effects.now {
                let clock = Clock {
                    net: Arc::downgrade(self),
                    alarm,
                };
                // What is to happen stands whatever becomes of the timer, so nobody needs its key.
                let _key = host.timer_insert(at, Waker::from(Arc::new(clock)));
            } else {
                let net = Arc::clone(self);
                host.run_anywhere(Box::new(move || net.come(alarm)));
            }
        }
        drop(effects.forget);
        for waker in effects.wake {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                host.report(Report::PanicContained {
                    place: "the waker of a socket",
                    message: PanicPayload::new(payload).to_string(),
                });
            }
        }
    }

    fn come(self: &Arc<Self>, alarm: Alarm) {
        // Without a host there is nobody left whom it concerns.
        let _gone = self.act(|state, effects| state.come(alarm, effects));
    }
}

/// Calls when the time has come.
struct Clock {
    net: Weak<Net>,
    alarm: Alarm,
}

impl Wake for Clock {
    fn wake(self: Arc<Self>) {
        if let Some(net) = self.net.upgrade() {
            net.come(self.alarm);
        }
    }
}
