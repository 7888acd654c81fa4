//! What goes into a channel comes out.

use asupersync_kernel::Event;

use super::law::Law;
use super::ledger::{Book, Ledger};

#[derive(Debug, Default)]
struct Channel {
    sent: u64,
    received: u64,
    /// Some operations were done outside every task.
    is_partial: bool,
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    known: Book<u64, Channel>,
}

impl Channels {
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    pub(super) fn see(&mut self, ledger: &mut Ledger, event: &Event) {
        let Event::Operation { resource, name, .. } = event else {
            return;
        };
        let name = name.as_str();
        if name == "resource.untraced" {
            self.known.entry(*resource, Channel::default).is_partial = true;
            return;
        }
        let Some(operation) = name.strip_prefix("mpsc.") else {
            return;
        };
        let channel = self.known.entry(*resource, Channel::default);
        match operation {
            "send" => channel.sent += 1,
            "recv" => channel.received += 1,
            "end" => {}
            _ => return,
        }
        let (sent, received) = (channel.sent, channel.received);
        let is_even = received <= sent && (operation != "end" || received == sent);
        if !is_even && !channel.is_partial {
            // Said once.
            channel.is_partial = true;
            let message = format!("channel {resource} took {sent} messages and gave {received}");
            ledger.broken(Law::ChannelConservation, message);
        }
    }
}
