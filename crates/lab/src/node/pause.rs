//! Machines that stand still for a while, as a virtual machine does that is moved or a process that its collector stops.

use std::time::Duration;

use asupersync_core::Time;
use asupersync_kernel::{Host, Subject};

use super::{LabNode, Place};
use crate::faults::{Faults, PARTS, part_of};
use crate::host::LabHost;

impl LabNode {
    /// It stands still for so long, from the end of the step that is running: nothing of it is polled, and its time goes on.
    ///
    /// What is sent to it waits in its buffers, and what it slept for is over when it goes on.
    /// A crash ends it; a second call prolongs it if that is longer, and one on a node that is down does nothing.
    ///
    /// # Examples
    /// ```
    /// use asupersync_core::{Cancelled, Time};
    /// use asupersync_kernel::Scope;
    /// use asupersync_lab::{LabConfig, LabNode, LabRuntime};
    /// use std::time::Duration;
    ///
    /// let report = LabRuntime::new(LabConfig::default()).run(async |cx| {
    ///     let node = LabNode::new(&cx, "slow", [10, 0, 0, 1]);
    ///     cx.region(async |scope: Scope<'_, Cancelled>| {
    ///         node.start(&scope, async |cx| {
    ///             cx.sleep(Duration::from_secs(1)).await?;
    ///             assert_eq!(cx.now(), Time::from_secs(30));
    ///             Ok::<_, Cancelled>(())
    ///         });
    ///         scope.cx().yield_now().await?;
    ///         node.pause(Duration::from_secs(30));
    ///         Ok::<_, Cancelled>(())
    ///     })
    ///     .await
    /// });
    /// report.assert_clean();
    /// ```
    pub fn pause(&self, time: Duration) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        let place = host.with_nodes(|book, _| book.place(self.id));
        if host.is_alive(place) {
            host.pause(place, time, None);
        }
    }
}

impl LabHost {
    fn pause(&self, place: Place, time: Duration, subject: Option<Subject>) {
        let until = self.now() + time;
        let is_longer = self.with_nodes(|book, _| {
            let paused = &mut book.get(place.node).paused_until;
            let is_longer = until > *paused;
            *paused = until.max(*paused);
            is_longer
        });
        if is_longer {
            self.injected(subject, PAUSE);
            self.hold_node(place.node, until);
        }
    }

    /// Asks whether a node stands still from now on, if it is one.
    pub(crate) fn may_pause(&self, faults: &Faults, place: Place, subject: Option<Subject>) {
        if place == Place::NOWHERE {
            return;
        }
        let part = self.fault(faults.pause, PARTS);
        if part > 0 {
            self.pause(place, part_of(faults.pause_max, part), subject);
        }
    }
}

impl super::NodeBook {
    /// Until when what runs there stands still, if that is later than `now`.
    pub(crate) fn paused_until(&self, place: Place, now: Time) -> Option<Time> {
        let until = self.node(place.node)?.paused_until;
        (until > now).then_some(until)
    }
}

/// What the trace says when a node stands still.
pub(crate) const PAUSE: &str = "node.pause";
