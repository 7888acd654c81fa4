//! Simulated machines: who runs where, and what happens when one of them goes down.
//!
//! # How
//! What a process makes runs where the process runs, so a node is its first tasks and all that came of them.
//! A crash takes effect at the end of the step in which it was asked for or decided: the node's connections break, its jobs that wait are dropped, its tasks are dropped where they stand, and its disk keeps what it keeps.
//! A job that is running is unwound at its next operation on the disk.
//!
//! # Invariants
//! - From the crash on, nothing that ran on the node before has an effect on its disk or its network, finalizers included.
//! - Nothing of a node is polled after its crash, except what the kernel needs to close its regions.
//! - A node that is down starts with what its disk has kept, and with nothing else.
//!
//! # Absent
//! Memory that tasks of several nodes share is not taken apart: what outlives a crash there is the program's own doing.

mod clock;
mod pause;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use asupersync_core::{Cancelled, ErrOf, IntoOutcome, OkOf, Time};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, Host, JoinHandle, Scope, SpawnOptions, Subject};
use asupersync_net::TcpConnectOptions;

use crate::disk::{LabDisk, LabDisks};
use crate::faults::Faults;
use crate::host::LabHost;
use crate::lab::wake_all;
use crate::net::LabNet;
use clock::Clock;
pub(crate) use pause::PAUSE;

/// A simulated machine with a name, an address and a disk.
///
/// What its tasks spawn runs on it too.
/// Its tasks listen on its address and connect from it, and there `localhost` and the unspecified address mean itself; their files are on its disk.
/// It crashes by [`crash`](Self::crash), or by chance with [`Faults::crash`](crate::Faults::crash).
///
/// # Examples
/// ```
/// use asupersync_fs::{self as fs, FsError};
/// use asupersync_lab::{LabConfig, LabNode, LabRuntime};
///
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
///     let node = LabNode::new(&cx, "store", [10, 0, 0, 1]);
///     cx.region(async |scope| -> Result<String, FsError> {
///         let cx = scope.cx();
///         let writer = node.start(&scope, async |cx| {
///             let file = fs::File::create(&cx, "notes").await?;
///             fs::sync_dir(&cx, ".").await?;
///             file.write_all(&cx, "durable").await?;
///             file.sync_data(&cx).await?;
///             file.write_all(&cx, ", and this is not").await
///         });
///         writer.join(cx).await.flatten()?;
///         node.crash();
///         node.wait_down(cx).await?;
///         node.restart();
///         let reader = node.start(&scope, async |cx| fs::read_to_string(&cx, "notes").await);
///         reader.join(cx).await.flatten()
///     })
///     .await
/// });
/// report.assert_clean();
/// let left = report.outcome.ok().unwrap();
/// assert!(left.starts_with("durable"));
/// ```
#[derive(Clone)]
pub struct LabNode {
    host: Weak<LabHost>,
    disks: LabDisks,
    id: NodeId,
    name: Arc<str>,
}

impl LabNode {
    /// A machine that is up and on which nothing runs yet.
    ///
    /// Its clock is as wrong as [`LabConfig::clock_skew`](crate::LabConfig::clock_skew) allows.
    ///
    /// # Panics
    /// If the context is not of a lab, or another node has the address.
    #[must_use]
    pub fn new<C>(cx: &Cx<C>, name: impl Into<String>, ip: impl Into<IpAddr>) -> Self {
        let nodes: &Nodes = cx.port().expect("a node is simulated by a lab");
        let disks: &LabDisks = cx.port().expect("a lab has disks");
        let ip = ip.into();
        let add = |host: Arc<LabHost>| {
            let clock_number = host.next_number();
            let id = host.with_nodes(|book, _| book.add(ip, clock_number))?;
            host.skew_clock(id);
            Some(id)
        };
        let id = nodes.0.upgrade().and_then(add);
        Self {
            host: nodes.0.clone(),
            disks: disks.clone(),
            id: id.unwrap_or_else(|| panic!("the address {ip} is another node's or nobody's")),
            name: Arc::from(name.into()),
        }
    }

    /// Spawns a task on this node.
    ///
    /// If the node is down it never runs: its outcome is a cancellation, as that of a task which is running when the node crashes.
    #[track_caller]
    pub fn start<F, Fut, E, C>(
        &self,
        scope: &Scope<'_, E, C>,
        task: F,
    ) -> JoinHandle<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx<C>) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
        ErrOf<Fut>: Into<E>,
        C: HasSpawn,
    {
        let options = SpawnOptions::new().name(&*self.name);
        let Some(host) = self.host.upgrade() else {
            return scope.spawn_with(options, task);
        };
        let elsewhere = Elsewhere::new(&host, self.id);
        let handle = scope.spawn_with(options, task);
        drop(elsewhere);
        // On a node that is down it is stopped as a task that the crash has found.
        if host.with_nodes(|book, _| book.fall_again(self.id)) {
            host.injected(None, IS_DOWN);
        }
        handle
    }

    /// The machine goes down, at the end of the step that is running; without effect if it is down.
    pub fn crash(&self) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        if host.with_nodes(|book, _| book.fall(self.id)) {
            host.injected(None, CRASH);
        }
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state() == Some(NodeState::Up)
    }

    /// Waits until it is down: nothing of it runs any more, and its disk holds what was kept.
    ///
    /// # Errors
    /// [`Cancelled`] if the caller must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub async fn wait_down<C>(&self, cx: &Cx<C>) -> Result<(), Cancelled> {
        std::future::poll_fn(|task| {
            if let Err(cancelled) = cx.checkpoint() {
                return Poll::Ready(Err(cancelled));
            }
            let host = self.host.upgrade();
            let waits = host.is_some_and(|host| {
                host.with_nodes(|book, _| book.wait_down(self.id, task.waker()))
            });
            if waits {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        })
        .await
    }

    /// Brings it up again, with what its disk has kept; nothing runs on it yet.
    ///
    /// # Panics
    /// If it is not down; see [`wait_down`](Self::wait_down).
    pub fn restart(&self) {
        if let Some(host) = self.host.upgrade() {
            let is_up = host.with_nodes(|book, _| book.restart(self.id));
            assert!(is_up, "{self:?} is not down; wait for that first");
        }
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> LabDisk {
        LabDisk::new(self.disks.clone(), self.id)
    }

    fn state(&self) -> Option<NodeState> {
        let host = self.host.upgrade()?;
        Some(host.with_nodes(|book, _| book.state(self.id)))
    }
}

impl fmt::Debug for LabNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabNode")
            .field("name", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// The host, for who makes nodes.
pub(crate) struct Nodes(Weak<LabHost>);

impl Nodes {
    pub(crate) const fn new(host: Weak<LabHost>) -> Self {
        Self(host)
    }
}

/// Names a node; what belongs to none is nowhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct NodeId(u32);

impl NodeId {
    pub(crate) const NOWHERE: Self = Self(0);
}

/// A node, in one of its lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    life: u32,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self {
        node: NodeId::NOWHERE,
        life: 0,
    };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NodeState {
    Up,
    /// It crashes at the end of the step.
    Falling,
    Down,
}

/// The nodes of a run.
#[derive(Default)]
pub(crate) struct NodeBook(Vec<Node>);

struct Node {
    ip: IpAddr,
    state: NodeState,
    life: u32,
    waiting: Vec<Waker>,
    paused_until: Time,
    clock: Clock,
    clock_number: u64,
}

impl NodeBook {
    fn add(&mut self, ip: IpAddr, clock_number: u64) -> Option<NodeId> {
        let is_free = !ip.is_unspecified() && !ip.is_loopback() && !self.is_node(ip);
        let number = u32::try_from(self.0.len() + 1).ok().filter(|_| is_free)?;
        self.0.push(Node {
            ip,
            state: NodeState::Up,
            life: 0,
            waiting: Vec::new(),
            paused_until: Time::ZERO,
            clock: Clock::TRUE,
            clock_number,
        });
        Some(NodeId(number))
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.0.get((id.0 as usize).checked_sub(1)?)
    }

    fn get(&mut self, id: NodeId) -> &mut Node {
        let index = (id.0 as usize).checked_sub(1);
        index
            .and_then(|index| self.0.get_mut(index))
            .expect("a node that has a name was added")
    }

    fn is_node(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|node| node.ip == ip)
    }

    /// The node in the life that it has.
    fn place(&self, node: NodeId) -> Place {
        let life = self.node(node).map_or(0, |known| known.life);
        Place { node, life }
    }

    fn state(&self, id: NodeId) -> NodeState {
        self.node(id).map_or(NodeState::Up, |node| node.state)
    }

    /// Whether that life of the node goes on.
    fn is_alive(&self, place: Place) -> bool {
        match self.node(place.node) {
            None => true,
            Some(node) => node.state == NodeState::Up && node.life == place.life,
        }
    }

    /// It is to go down; false if it was not up.
    fn fall(&mut self, id: NodeId) -> bool {
        let node = self.get(id);
        let was_up = node.state == NodeState::Up;
        if was_up {
            node.state = NodeState::Falling;
        }
        was_up
    }

    /// What was started on it while it was down is to be stopped; false if it was not down.
    fn fall_again(&mut self, id: NodeId) -> bool {
        let node = self.get(id);
        let was_down = node.state == NodeState::Down;
        if was_down {
            node.state = NodeState::Falling;
        }
        was_down
    }

    /// Whether it is not down yet; then the waker is called when it is.
    fn wait_down(&mut self, id: NodeId, waker: &Waker) -> bool {
        let node = self.get(id);
        if node.state == NodeState::Down {
            return false;
        }
        if !node.waiting.iter().any(|known| known.will_wake(waker)) {
            node.waiting.push(waker.clone());
        }
        true
    }

    fn restart(&mut self, id: NodeId) -> bool {
        let node = self.get(id);
        if node.state != NodeState::Down {
            return false;
        }
        node.state = NodeState::Up;
        node.life += 1;
        true
    }

    fn falling(&self) -> Option<(NodeId, IpAddr)> {
        let index = self
            .0
            .iter()
            .position(|node| node.state == NodeState::Falling)?;
        let id = NodeId(u32::try_from(index).ok()? + 1);
        Some((id, self.0[index].ip))
    }
}

impl LabHost {
    /// Whether what runs at this place may still do something.
    pub(crate) fn is_alive(&self, place: Place) -> bool {
        self.with_nodes(|book, _| book.is_alive(place))
    }

    /// Asks what happens to a node after a step of its own, if it is one: it crashes, stands still, or its clock is set.
    pub(crate) fn may_strike(&self, faults: &Faults, place: Place, subject: Option<Subject>) {
        if self.is_alive(place) && !self.may_crash(faults, place, subject) {
            self.may_pause(faults, place, subject);
            self.may_step_clock(faults, place, subject);
        }
    }

    /// Asks whether a node crashes now, if it is one and up.
    pub(crate) fn may_crash(
        &self,
        faults: &Faults,
        place: Place,
        subject: Option<Subject>,
    ) -> bool {
        if place.node == NodeId::NOWHERE || !self.is_alive(place) {
            return false;
        }
        let crashes = self.fault(faults.crash, 1) > 0;
        if crashes {
            self.injected(subject, CRASH);
            self.with_nodes(|book, _| book.fall(place.node));
        }
        crashes
    }

    /// Where a listener on this address stands, if who runs now runs on a node.
    pub(crate) fn placed_listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let place = self.place();
        self.with_nodes(|book, _| match book.node(place.node) {
            None => Ok(address),
            Some(_) if !book.is_alive(place) => Err(io::Error::other(NODE_CRASHED)),
            Some(node) => {
                own_address(node.ip, address).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
            }
        })
    }

    /// Whither and from where a connection goes.
    ///
    /// What runs on no node has the loopback address towards nodes.
    pub(crate) fn placed_connect(
        &self,
        address: SocketAddr,
        options: &TcpConnectOptions,
    ) -> io::Result<(SocketAddr, TcpConnectOptions)> {
        let (place, mut options) = (self.place(), *options);
        self.with_nodes(|book, _| {
            let Some(node) = book.node(place.node) else {
                if options.local.is_none() && book.is_node(address.ip()) {
                    options.local = Some(loopback(address));
                }
                return Ok((address, options));
            };
            if !book.is_alive(place) {
                return Err(io::Error::other(NODE_CRASHED));
            }
            let local = options.local.unwrap_or(SocketAddr::new(node.ip, 0));
            let local = own_address(node.ip, local);
            options.local = Some(local.ok_or(io::ErrorKind::AddrNotAvailable)?);
            let address = own_address(node.ip, address).unwrap_or(address);
            Ok((address, options))
        })
    }
}

/// The node's own address, if this one means it.
fn own_address(ip: IpAddr, address: SocketAddr) -> Option<SocketAddr> {
    let given = address.ip();
    let is_own = given == ip || given.is_unspecified() || given.is_loopback();
    is_own.then(|| SocketAddr::new(ip, address.port()))
}

fn loopback(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, 0).into(),
    }
}

/// While it lives, what is made runs on a node, in the life that the node has.
struct Elsewhere<'a>(&'a LabHost);

impl<'a> Elsewhere<'a> {
    fn new(host: &'a LabHost, node: NodeId) -> Self {
        host.with_nodes(|book, all| all.make_elsewhere(Some(book.place(node))));
        Self(host)
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        self.0.with_nodes(|_, all| all.make_elsewhere(None));
    }
}

/// Carries out the crashes that the step has brought.
pub(crate) fn crash_nodes(host: &LabHost) {
    while let Some((node, ip)) = host.with_nodes(|book, _| book.falling()) {
        // Who closes regions of the node belongs to the life that has ended.
        let elsewhere = Elsewhere::new(host, node);
        host.note_stopped_node();
        if let Some(net) = port::<LabNet>(host) {
            net.crash(ip);
        }
        // What is dropped here is the program's, and may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(host.take_jobs_of(node))));
        stop_tasks(host, node);
        if let Some(disks) = port::<LabDisks>(host) {
            disks.crash(host, node);
        }
        drop(elsewhere);
        let waiting = host.with_nodes(|book, _| {
            let node = book.get(node);
            node.state = NodeState::Down;
            node.paused_until = Time::ZERO;
            std::mem::take(&mut node.waiting)
        });
        wake_all(waiting);
    }
}

/// Drops the tasks of a node where they stand, the newest first; who closes regions is the kernel's own.
fn stop_tasks(host: &LabHost, node: NodeId) {
    for task in host.with_nodes(|_, all| all.tasks_of(node)) {
        if !host.is_heir(task.task_id()) {
            task.stop();
        }
    }
}

fn port<P: 'static>(host: &LabHost) -> Option<&P> {
    host.port(std::any::TypeId::of::<P>())?.downcast_ref()
}

/// What the trace calls a crash.
const CRASH: &str = "node.crash";
/// What the trace says when a clock is set.
const CLOCK_STEP: &str = "node.clock_step";
/// What the trace says when something is started on a node that is down.
const IS_DOWN: &str = "node.is_down";
/// What is said to whatever goes on after it.
pub(crate) const NODE_CRASHED: &str = "the node has crashed";
