//! What goes wrong.

use std::net::SocketAddr;

use super::Effects;
use super::connection::{ConnectionId, End};
use super::state::State;

impl State {
    pub(super) fn reset_between(
        &mut self,
        one: SocketAddr,
        other: SocketAddr,
        effects: &mut Effects<'_>,
    ) -> bool {
        let forth = self.by_addresses.get(&(one, other));
        let Some(&id) = forth.or_else(|| self.by_addresses.get(&(other, one))) else {
            return false;
        };
        self.reset(id, effects)
    }

    pub(super) fn reset_random(
        &mut self,
        effects: &mut Effects<'_>,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let standing = self.connections.iter().filter(|(_, each)| each.stands());
        let standing: Vec<_> = standing.map(|(id, each)| (*id, each.addresses())).collect();
        if standing.is_empty() {
            return None;
        }
        let count = u32::try_from(standing.len()).unwrap_or(u32::MAX);
        let (id, addresses) = standing[effects.choose(count) as usize];
        self.reset(id, effects).then_some(addresses)
    }

    /// Breaks both ends at once; whether bytes that had arrived can still be read is decided for each.
    pub(super) fn reset(&mut self, id: ConnectionId, effects: &mut Effects<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|each| each.stands()) else {
            return false;
        };
        effects.record(id, "tcp.reset");
        for end in [End::Client, End::Server] {
            let keeps = effects.choose(2) == 0;
            connection.break_end(end, keeps, effects);
        }
        true
    }
}
