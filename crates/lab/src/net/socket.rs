//! The network's sockets, as the port of `asupersync-net` wants them.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use asupersync_net::{
    Accepted, ListenIo, NetDriver, StreamIo, TcpConnectOptions, TcpListenOptions, TcpOptions,
};

use super::connection::{ConnectionId, End};
use super::listeners::ListenerId;
use super::{LabNet, Net};

struct Stream {
    net: Arc<Net>,
    connection: ConnectionId,
    end: End,
}

struct Listener {
    net: Arc<Net>,
    id: ListenerId,
}

impl NetDriver for LabNet {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.act(|state, _| state.resolve(host, port))?
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: &TcpConnectOptions,
    ) -> io::Result<Arc<dyn StreamIo>> {
        let connection = self.0.act(|state, effects| {
            let (address, options) = effects.host.placed_connect(address, options)?;
            state.connect(address, &options, effects)
        })??;
        let net = Arc::clone(&self.0);
        Ok(Arc::new(Stream {
            net,
            connection,
            end: End::Client,
        }))
    }

    fn listen(
        &self,
        address: SocketAddr,
        options: &TcpListenOptions,
    ) -> io::Result<Arc<dyn ListenIo>> {
        let id = self.0.act(|state, effects| {
            let address = effects.host.placed_listen(address)?;
            state.listen(address, options, effects)
        })??;
        let net = Arc::clone(&self.0);
        Ok(Arc::new(Listener { net, id }))
    }
}

/// A poll fails if the run has ended; nobody would ever wake it.
fn flat<R>(result: io::Result<Poll<io::Result<R>>>) -> Poll<io::Result<R>> {
    result.unwrap_or_else(|gone| Poll::Ready(Err(gone)))
}

impl StreamIo for Stream {
    fn poll_connected(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waker = task.waker().clone();
        flat(
            self.net
                .act(|state, effects| state.connected(self.connection, self.end, waker, effects)),
        )
    }

    fn poll_read(&self, task: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let waker = task.waker().clone();
        flat(
            self.net
                .act(|state, effects| state.read(self.connection, self.end, buf, waker, effects)),
        )
    }

    fn poll_write(&self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waker = task.waker().clone();
        flat(
            self.net.act(|state, effects| {
                state.write(self.connection, self.end, bytes, waker, effects)
            }),
        )
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.net
            .act(|state, effects| state.shutdown(self.connection, self.end, how, effects))?
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let addresses = self
            .net
            .act(|state, _| state.addresses(self.connection, self.end))??;
        Ok(addresses.0)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        let addresses = self
            .net
            .act(|state, _| state.addresses(self.connection, self.end))??;
        Ok(addresses.1)
    }

    fn options(&self) -> io::Result<TcpOptions> {
        self.net
            .act(|state, _| state.options(self.connection, self.end))?
    }

    fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        self.net
            .act(|state, effects| state.set_options(self.connection, self.end, options, effects))?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Without a host nobody is left to be told.
        let _gone = self
            .net
            .act(|state, effects| state.close(self.connection, self.end, effects));
    }
}

impl ListenIo for Listener {
    fn poll_accept(&self, task: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let waker = task.waker().clone();
        let accepted = flat(
            self.net
                .act(|state, effects| state.accept(self.id, waker, effects)),
        );
        let (connection, peer) = ready!(accepted)?;
        let net = Arc::clone(&self.net);
        let stream = Stream {
            net,
            connection,
            end: End::Server,
        };
        Poll::Ready(Ok((Arc::new(stream), peer)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.net.act(|state, _| state.listener_address(self.id))?
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Without a host nobody is left to be told.
        let _gone = self
            .net
            .act(|state, effects| state.close_listener(self.id, effects));
    }
}
