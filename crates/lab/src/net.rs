//! A network in memory, driven by the lab's time and by draws from the seed.
//!
//! # Shape
//! `state` decides: who is connected to whom, what is under way, and what an operation does; it knows no host and no lock, and says what is to happen in `Effects`.
//! This file carries that out: a segment that takes time arrives by a timer of the host, one that takes none by a step of its own, which the schedule draws like any other.
//! `socket` is what programs see of it, through the port of `asupersync-net`.
//!
//! # Invariants
//! - Segments of one direction arrive in the order in which they were sent.
//! - Bytes under way and bytes not yet read together never exceed the direction's buffer.
//! - No waker is called or dropped under the lock.
//!
//! # Absent
//! Loss, reordering, partitions and bandwidth: a stream hides the first two, and the others come with the lab's fault plans.

mod config;
mod connection;
mod socket;
mod state;

use std::any::{Any, TypeId};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use asupersync_core::{PanicPayload, Time};
use asupersync_kernel::{Cx, Event, Host, Report};
use asupersync_net::NetPort;

pub use config::NetConfig;

use crate::host::LabHost;
use connection::Delivery;
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
    pub(crate) fn new(host: Weak<LabHost>, seed: u64, config: NetConfig) -> Self {
        Self(Arc::new(Net {
            host,
            state: Mutex::new(State::new(seed, config)),
        }))
    }

    /// The ports with this network, unless there is one among them.
    pub(crate) fn add_to(self, mut ports: Vec<Port>) -> Vec<Port> {
        let net = TypeId::of::<NetPort>();
        if ports.iter().all(|(port, _)| *port != net) {
            ports.push((net, Box::new(NetPort::new(self.clone()))));
            ports.push((TypeId::of::<Self>(), Box::new(self)));
        }
        ports
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

    /// Breaks a connection drawn from the seed, and says which: the client's address and the server's.
    pub fn reset_random(&self) -> Option<(SocketAddr, SocketAddr)> {
        let reset = self.0.act(|state, effects| state.reset_random(effects));
        reset.ok().flatten()
    }

    /// The machine of an address goes down: nobody listens there any more, its connections are broken, and their peers are told.
    pub(crate) fn crash(&self, ip: IpAddr) {
        // Without a host there is no machine any more.
        let _gone = self.0.act(|state, effects| state.crash(ip, effects));
    }

    /// From now on each segment takes `latency` and up to `jitter` more, drawn from the seed.
    pub fn set_latency(&self, latency: Duration, jitter: Duration) {
        // Without a host nothing will be sent any more.
        let _gone = self.0.act(|state, _| state.set_latency(latency, jitter));
    }
}

impl fmt::Debug for LabNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabNet").finish_non_exhaustive()
    }
}

/// A port under its type.
type Port = (TypeId, Box<dyn Any + Send + Sync>);

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
    deliver: Vec<(Time, Delivery)>,
    record: Vec<(u64, &'static str)>,
}

impl Effects<'_> {
    /// A number for a new socket.
    fn number(&self) -> u64 {
        self.host.next_number()
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
            deliver: Vec::new(),
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
        for (at, delivery) in effects.deliver {
            if at > effects.now {
                let arrival = Arrival {
                    net: Arc::downgrade(self),
                    delivery,
                };
                // The segment stands whatever becomes of the timer, so nobody needs its key.
                let _key = host.timer_insert(at, Waker::from(Arc::new(arrival)));
            } else {
                let net = Arc::clone(self);
                host.run_anywhere(Box::new(move || net.deliver(delivery)));
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

    fn deliver(self: &Arc<Self>, delivery: Delivery) {
        // Without a host there is nobody to deliver to.
        let _gone = self.act(|state, effects| state.deliver(delivery, effects));
    }
}

/// A segment whose time has come.
struct Arrival {
    net: Weak<Net>,
    delivery: Delivery,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        if let Some(net) = self.net.upgrade() {
            net.deliver(self.delivery);
        }
    }
}
