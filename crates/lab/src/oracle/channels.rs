//! What goes into a channel comes out, and what is asked is answered once.
//!
//! A channel of several messages at once tells of each; every other channel also says what it holds by its own account, and that has to be what was there before and what moved.

use asupersync_kernel::Subject;

use super::count::Count;
use super::law::Law;
use super::ledger::{Book, Ledger};

#[derive(Debug, Default)]
struct Channel {
    sent: u64,
    received: u64,
    /// Some operations were done outside every task.
    is_partial: bool,
}

/// One call of a session.
#[derive(Clone, Copy, Debug)]
struct Call {
    resource: u64,
    server: Option<Subject>,
    is_settled: bool,
    /// The caller has its answer, or has left.
    is_over: bool,
    is_partial: bool,
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    queues: Book<u64, Channel>,
    held: Book<u64, Count>,
    calls: Book<u64, Call>,
}

impl Channels {
    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.held.clear();
        self.calls.clear();
    }

    /// Something was done to the resource outside every task.
    pub(super) fn set_partial(&mut self, resource: u64) {
        self.queues.entry(resource, Channel::default).is_partial = true;
        *self.held.entry(resource, Count::default) = Count::Partial;
        self.calls
            .entry(resource, || Call::new(resource))
            .is_partial = true;
    }

    /// An operation on a channel that tells of each message.
    pub(super) fn queue(&mut self, ledger: &mut Ledger, resource: u64, operation: &str) {
        let channel = self.queues.entry(resource, Channel::default);
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

    /// Messages went in or came out of a channel that says what it holds.
    pub(super) fn moved(&mut self, ledger: &mut Ledger, resource: u64, change: i64, held: u64) {
        let count = self.held.entry(resource, Count::default);
        if let Some(expected) = count.contradicts(change, held) {
            let message = format!(
                "channel {resource} holds {held} messages after {change:+}, and should hold {expected}"
            );
            ledger.broken(Law::ChannelConservation, message);
        }
    }

    /// An operation on one call of a session: it is taken once at most, and then answered or given up, once.
    pub(super) fn call(
        &mut self,
        ledger: &mut Ledger,
        resource: u64,
        subject: Option<Subject>,
        operation: &str,
    ) {
        let call = self.calls.entry(resource, || Call::new(resource));
        let is_legal = match operation {
            "take" => call.server.is_none(),
            "answer" | "give_up" => call.server.is_some() && !call.is_settled,
            _ => true,
        };
        match operation {
            "take" => call.server = subject,
            "answer" | "give_up" => call.is_settled = true,
            "end" | "leave" => call.is_over = true,
            _ => {}
        }
        if !is_legal && !call.is_partial {
            call.is_partial = true;
            let message =
                format!("call {resource}: {operation} when that had been done, or could not be");
            ledger.broken(Law::ChannelConservation, message);
        }
    }

    pub(super) fn end(&mut self, ledger: &mut Ledger) {
        let open = |call: &&Call| !call.is_settled && !call.is_over && !call.is_partial;
        for call in self.calls.iter().filter(open) {
            if let Some(server) = call.server {
                let message = format!("{server:?} took call {} and left it open", call.resource);
                ledger.broken(Law::ChannelConservation, message);
            }
        }
    }
}

impl Call {
    const fn new(resource: u64) -> Self {
        Self {
            resource,
            server: None,
            is_settled: false,
            is_over: false,
            is_partial: false,
        }
    }
}
