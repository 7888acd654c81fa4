//! What programs find by its type: drivers that were brought, and those of the simulated machines.

use std::any::{Any, TypeId};
use std::sync::{OnceLock, Weak};

use asupersync_fs::FsPort;
use asupersync_net::NetPort;

use crate::disk::LabDisks;
use crate::faults::Faults;
use crate::host::LabHost;
use crate::net::{LabNet, NetConfig};
use crate::node::Nodes;

/// A driver under its type.
pub(crate) type Port = (TypeId, Box<dyn Any + Send + Sync>);

fn port<P: Send + Sync + 'static>(port: P) -> Port {
    (TypeId::of::<P>(), Box::new(port))
}

pub(crate) struct Ports {
    brought: Vec<Port>,
    /// Made when a program first asks for what was not brought, which most runs of a search never do.
    simulated: OnceLock<Vec<Port>>,
    host: Weak<LabHost>,
    net: NetConfig,
    chaos: Faults,
}

impl Ports {
    pub(crate) fn new(
        brought: Vec<Port>,
        host: Weak<LabHost>,
        net: NetConfig,
        chaos: Faults,
    ) -> Self {
        Self {
            brought,
            simulated: OnceLock::new(),
            host,
            net,
            chaos,
        }
    }

    pub(crate) fn get(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.find_brought(id).or_else(|| {
            let simulated = self.simulated.get_or_init(|| self.simulate());
            find(simulated, id)
        })
    }

    fn find_brought(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        find(&self.brought, id)
    }

    /// The simulated network, unless the program brought one of its own, the disks, and the nodes.
    fn simulate(&self) -> Vec<Port> {
        let disks = LabDisks::new(self.host.clone(), self.chaos);
        let mut ports = vec![
            port(FsPort::new(disks.clone())),
            port(disks),
            port(Nodes::new(self.host.clone())),
        ];
        if self.find_brought(TypeId::of::<NetPort>()).is_none() {
            let net = LabNet::new(self.host.clone(), self.net.clone(), self.chaos.net);
            ports.push(port(NetPort::new(net.clone())));
            ports.push(port(net));
        }
        ports
    }
}

fn find(ports: &[Port], id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
    let mut ports = ports.iter();
    ports.find(|(own, _)| *own == id).map(|(_, port)| &**port)
}
