//! Obligations: what a task owes between a reserve and its commit or abort.
//!
//! # States
//! `Reserved → Committed | Aborted | Leaked`, each final.
//! Dropping the guard aborts.
//! An obligation that is still reserved when its holder ends is leaked, wherever its guard went.
//!
//! # Invariants
//! - A holder's open obligations are counted on the holder; the count is closed when the holder ends, and whoever settles later learns that the obligation was leaked.
//! - Records with creation sites are kept only if the host asks for them, or if leaks are to be recovered.
//! - A resource on whose answer somebody else waits is told of a leak in any case.

mod quiet;

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use asupersync_core::{LeakResponse, ObligationId, ObligationKind, PanicPayload};

use crate::account::{Account, Closing};
use crate::current;
use crate::cx::Cx;
use crate::event::{Event, Settlement};
use crate::extra::Extra;
use crate::host::{KernelConfig, LeakEscalation, Owed, Report};
use crate::mutation::{Mutation, is_on};
use crate::node::{Header, NodeRef};
use crate::tagged::Tagged;

/// The resource behind an obligation, which can take back what a leaked guard still holds.
pub trait Recover: Send + Sync {
    /// Releases what the obligation with this ticket held, as if it had been aborted.
    fn recover(&self, ticket: u64);
}

/// The obligation was leaked: its holder ended before it was settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the obligation was leaked: the task that reserved it ended before it was settled")]
pub struct Leaked {
    recovered: bool,
}

impl Leaked {
    /// Whether the resource was told to take back what was held, by [`Recover::recover`].
    ///
    /// If not, the guard still holds it and must give it back; exactly one of the two happens.
    #[must_use]
    pub const fn is_recovered(&self) -> bool {
        self.recovered
    }
}

/// A recorded obligation.
pub(crate) struct Record {
    id: ObligationId,
    owed: Owed,
    recover: Option<(Weak<dyn Recover>, u64)>,
    /// Whether the resource is told whatever the response to leaks is.
    is_told_always: bool,
}

/// The guard of one obligation, held by whatever permit or ticket a primitive gives out.
///
/// # Examples
/// ```
/// # use asupersync_kernel::{Cx, Obligation};
/// # use asupersync_core::ObligationKind;
/// fn begin(cx: &Cx) -> Obligation {
///     Obligation::reserve(cx, ObligationKind::Transaction)
/// }
/// ```
#[must_use = "dropping an obligation aborts it"]
pub struct Obligation {
    /// Alive while the obligation counts among the open ones.
    holder: NonNull<Header>,
    /// Only where more is wanted than a count: a name under which the host is told of it, or all that is kept of it.
    detail: Tagged<Full>,
}

/// What an obligation has where it is recorded, gauged or reported.
struct Full {
    holder: NodeRef,
    /// Not so if the holder had ended before.
    is_counted: bool,
    owed: Owed,
    place: Option<(u32, ObligationId)>,
    is_told_always: bool,
}

// SAFETY: the holder's account is atomic, and everything else of it is reached through a `NodeRef`.
unsafe impl Send for Obligation {}
// SAFETY: as above.
unsafe impl Sync for Obligation {}

impl Obligation {
    /// Makes `cx`'s task or region owe something of the given kind.
    ///
    /// Cost: a few instructions on the holder's own memory; an exchange there if somebody else than the holder reserves; an allocation and a lock where records are kept.
    #[track_caller]
    #[inline]
    pub fn reserve<C>(cx: &Cx<C>, kind: ObligationKind) -> Self {
        Self::new(cx.node(), kind, Location::caller(), false, || None)
    }

    /// Like [`reserve`](Self::reserve); if the obligation is leaked and the host recovers leaks, `resource` is told with `ticket`.
    #[track_caller]
    pub fn reserve_recoverable<C, R: Recover + 'static>(
        cx: &Cx<C>,
        kind: ObligationKind,
        resource: &Arc<R>,
        ticket: u64,
    ) -> Self {
        Self::reserve_recoverable_at(cx, kind, resource, ticket, Location::caller())
    }

    /// Like [`reserve_recoverable`](Self::reserve_recoverable), for a future that was made at `site` and reserves when it is polled.
    #[inline]
    pub fn reserve_recoverable_at<C, R: Recover + 'static>(
        cx: &Cx<C>,
        kind: ObligationKind,
        resource: &Arc<R>,
        ticket: u64,
        site: &'static Location<'static>,
    ) -> Self {
        Self::new(cx.node(), kind, site, false, || {
            let weak: Weak<R> = Arc::downgrade(resource);
            Some((weak, ticket))
        })
    }

    /// Like [`reserve_recoverable_at`](Self::reserve_recoverable_at); `resource` is told of a leak whatever the host does about leaks.
    ///
    /// For what somebody else waits for, such as a reply: it must be told that nothing will come.
    /// Cost: a lock with an entry, in any case.
    pub fn reserve_awaited_at<C, R: Recover + 'static>(
        cx: &Cx<C>,
        kind: ObligationKind,
        resource: &Arc<R>,
        ticket: u64,
        site: &'static Location<'static>,
    ) -> Self {
        Self::new(cx.node(), kind, site, true, || {
            let weak: Weak<R> = Arc::downgrade(resource);
            Some((weak, ticket))
        })
    }

    #[inline]
    fn new(
        holder: &NodeRef,
        kind: ObligationKind,
        site: &'static Location<'static>,
        is_told_always: bool,
        recover: impl FnOnce() -> Option<(Weak<dyn Recover>, u64)>,
    ) -> Self {
        let is_counted = holder
            .obligations()
            .add(current::is_polling(holder.as_non_null()));
        let is_plain = is_counted && !is_told_always && !holder.nature.details_obligations();
        let owed = Owed { kind, site };
        Self {
            holder: holder.as_non_null(),
            detail: if is_plain {
                Tagged::NOTHING
            } else {
                Full::or_name(holder, owed, is_counted, is_told_always, recover)
            },
        }
    }

    /// Settles the obligation: its effect took place.
    ///
    /// # Errors
    /// [`Leaked`] if the holder has ended before.
    #[inline]
    pub fn commit(self) -> Result<(), Leaked> {
        self.end(|this| this.settle(Settlement::Committed))
    }

    /// Settles the obligation: it is given back.
    ///
    /// # Errors
    /// [`Leaked`] if the holder has ended before.
    #[inline]
    pub fn abort(self) -> Result<(), Leaked> {
        self.end(|this| this.settle(Settlement::Aborted))
    }

    /// Settles the obligation as dropping it does, and says what dropping cannot.
    ///
    /// # Errors
    /// [`Leaked`] if the holder has ended before.
    pub fn discard(self) -> Result<(), Leaked> {
        self.end(Self::settle_dropped)
    }

    /// Settles without the destructor, which would do so again.
    #[inline]
    fn end(self, settle: impl FnOnce(&mut Self) -> Result<(), Leaked>) -> Result<(), Leaked> {
        let mut this = ManuallyDrop::new(self);
        let settled = settle(&mut this);
        drop(std::mem::replace(&mut this.detail, Tagged::NOTHING));
        settled
    }

    /// Whether the holder has ended, which makes the obligation leaked.
    #[must_use]
    pub fn is_leaked(&self) -> bool {
        !self.is_counted() || self.account().is_closed()
    }

    fn is_counted(&self) -> bool {
        self.detail.as_box().is_none_or(|full| full.is_counted)
    }

    /// For an obligation that counts, and is not settled.
    #[inline]
    fn account(&self) -> Account<'_, Header> {
        // SAFETY: what is open is counted by its holder, and a holder whose count is not zero is not freed.
        let holder = unsafe { self.holder.as_ref() };
        holder.obligations()
    }

    #[inline]
    fn settle(&mut self, settlement: Settlement) -> Result<(), Leaked> {
        if !self.detail.is_nothing() {
            return self.settle_told(settlement);
        }
        if self.account().remove(current::is_polling(self.holder)) {
            return Ok(());
        }
        Err(self.late())
    }

    #[cold]
    fn settle_told(&mut self, settlement: Settlement) -> Result<(), Leaked> {
        if !self.is_counted() {
            return Err(Leaked { recovered: false });
        }
        let named = self.detail.as_number().map(|number| {
            // SAFETY: a name came with this reference, and an obligation is settled once.
            let holder = unsafe { NodeRef::from_owned(self.holder) };
            (holder, ObligationId::new(number))
        });
        // After this the holder may be gone, unless it is held.
        if !self.account().remove(current::is_polling(self.holder)) {
            return Err(self.late());
        }
        if let Some((holder, id)) = named {
            tell_settled(&holder, id, settlement);
        }
        if let Some(full) = self.detail.as_box_mut() {
            gauge(&full.holder, -1);
            let settled = if is_on(Mutation::SettledIsKept) {
                full.place.take().map(|(_, id)| id)
            } else {
                full.take_record().map(|record| record.id)
            };
            if let Some(id) = settled {
                tell_settled(&full.holder, id, settlement);
            }
        }
        Ok(())
    }

    #[inline]
    fn settle_dropped(&mut self) -> Result<(), Leaked> {
        self.settle(Settlement::Dropped)?;
        if let Some(full) = self.detail.as_box()
            && full.holder.host().config().strict_obligations
        {
            let owed = full.owed;
            let holder = full.holder.subject();
            full.holder
                .host()
                .report(Report::ObligationDropped { holder, owed });
        }
        Ok(())
    }

    /// What a settlement after the holder's end is told; the last of them lets the holder go.
    #[cold]
    fn late(&mut self) -> Leaked {
        let full = self.detail.as_box_mut();
        let recovered = full.is_some_and(Full::is_recovered);
        if self.account().heard() {
            // SAFETY: `settle_leaks` kept this reference for the last to hear of the end, which is this one.
            drop(unsafe { NodeRef::from_owned(self.holder) });
        }
        Leaked { recovered }
    }
}

impl Full {
    /// All that is kept of an obligation; or only a name, if the host wants nothing else.
    #[cold]
    fn or_name(
        holder: &NodeRef,
        owed: Owed,
        is_counted: bool,
        is_told_always: bool,
        recover: impl FnOnce() -> Option<(Weak<dyn Recover>, u64)>,
    ) -> Tagged<Self> {
        if is_counted && !is_told_always && !wants_records(holder.host().config()) {
            return tell_reserved(holder, owed.kind);
        }
        Tagged::boxed(Self::new(holder, owed, is_counted, is_told_always, recover))
    }

    fn new(
        holder: &NodeRef,
        owed: Owed,
        is_counted: bool,
        is_told_always: bool,
        recover: impl FnOnce() -> Option<(Weak<dyn Recover>, u64)>,
    ) -> Box<Self> {
        if is_counted {
            gauge(holder, 1);
        }
        let is_recorded = is_told_always || keeps_records(holder.host().config());
        let place =
            (is_counted && is_recorded).then(|| record(holder, owed, recover(), is_told_always));
        Box::new(Self {
            holder: holder.clone(),
            is_counted,
            owed,
            place,
            is_told_always,
        })
    }

    /// Whether the resource was told of the leak.
    ///
    /// Whoever takes the record out of the list has the word: this guard, or the holder's end.
    fn is_recovered(&mut self) -> bool {
        let recorded = self.place.is_some();
        let kept = self.take_record().is_some();
        let all_told = || {
            let inner = self.holder.lock();
            inner.more.extra().is_some_and(|extra| extra.recovered)
        };
        recorded && !kept && (self.is_told_always || all_told())
    }

    fn take_record(&mut self) -> Option<Record> {
        let (place, id) = self.place.take()?;
        let mut inner = self.holder.lock();
        let owed = &mut inner.more.extra_mut()?.owed;
        // The list starts anew at the holder's end, and its numbers with it.
        owed.get(place).filter(|record| record.id == id)?;
        owed.remove(place)
    }
}

impl Drop for Obligation {
    #[inline]
    fn drop(&mut self) {
        if is_on(Mutation::GuardSettlesNothing) {
            return;
        }
        let _ = self.settle_dropped();
    }
}

/// Enters an obligation in its holder's list; its place there.
fn record(
    holder: &NodeRef,
    owed: Owed,
    recover: Option<(Weak<dyn Recover>, u64)>,
    is_told_always: bool,
) -> (u32, ObligationId) {
    let id = ObligationId::new(holder.host().next_number());
    holder.record_structure(|| reserved(holder, id, owed.kind));
    let record = Record {
        id,
        owed,
        recover,
        is_told_always,
    };
    let mut inner = holder.lock();
    let list = &mut inner.more.extra_or_new().owed;
    (list.insert(record), id)
}

/// Names an obligation, which comes with a reference to its holder, and tells the host of it; one whose name does not fit beside its holder is not told.
fn tell_reserved(holder: &NodeRef, kind: ObligationKind) -> Tagged<Full> {
    let number = holder.host().next_number();
    let Some(name) = Tagged::number(number) else {
        return Tagged::NOTHING;
    };
    holder.record_structure(|| reserved(holder, ObligationId::new(number), kind));
    let _ = holder.clone().into_raw();
    name
}

fn reserved(holder: &Header, obligation: ObligationId, kind: ObligationKind) -> Event {
    Event::ObligationReserved {
        obligation,
        holder: holder.subject(),
        kind,
    }
}

fn tell_settled(holder: &Header, obligation: ObligationId, settlement: Settlement) {
    holder.record_structure(|| Event::ObligationSettled {
        obligation,
        settlement,
    });
}

/// Tells a host that governs how many obligations are open more or less.
fn gauge(holder: &Header, change: i64) {
    let host = holder.host();
    if host.config().gauge_obligations {
        host.obligations_changed(change);
    }
}

/// Whether the obligations of a host are more than a count.
pub(crate) const fn wants_details(config: &KernelConfig) -> bool {
    config.record_structure || wants_records(config)
}

/// Whether more of them is wanted than to be told.
const fn wants_records(config: &KernelConfig) -> bool {
    config.gauge_obligations || config.strict_obligations || keeps_records(config)
}

const fn keeps_records(config: &KernelConfig) -> bool {
    config.record
        || config.record_obligations
        || matches!(config.leak_response, LeakResponse::Recover)
        || matches!(
            config.leak_escalation,
            Some(LeakEscalation {
                response: LeakResponse::Recover,
                ..
            })
        )
}

/// Closes a holder's account at its end; gives the panic that the configured response demands.
#[inline]
pub(crate) fn settle_leaks(node: &NodeRef) -> Option<PanicPayload> {
    if is_out_of_reach(node) && !is_on(Mutation::SettledIsKept) {
        node.obligations().close_alone();
        return None;
    }
    settle_within_reach(node)
}

/// As [`settle_leaks`], where something may be open or reserved meanwhile.
fn settle_within_reach(node: &NodeRef) -> Option<PanicPayload> {
    let Closing { open, is_kept } = close(node);
    if open > 0 {
        return respond(node, open);
    }
    if is_on(Mutation::SettledIsKept) {
        settle_kept(node);
    }
    if is_kept {
        // SAFETY: `close` has just kept this reference, and nobody is left who would let it go.
        drop(unsafe { NodeRef::from_owned(node.as_non_null()) });
    }
    None
}

/// Settles what stands in the list of a holder that owes nothing: there is something only under a mutation.
fn settle_kept(node: &NodeRef) {
    let kept: Vec<Record> = {
        let mut inner = node.lock();
        let extra = inner.more.extra_mut();
        extra.map_or_else(Vec::new, |extra| extra.owed.take_all().collect())
    };
    for record in kept {
        tell_settled(node, record.id, Settlement::Leaked);
    }
}

/// Ends a node's account; what is open then keeps the node until the last has heard of it.
fn close(node: &NodeRef) -> Closing {
    node.obligations().close(|| {
        let _ = node.clone().into_raw();
    })
}

/// Whether the node owes nothing and nobody is left who could make it owe something: that takes a context, which holds a reference.
#[inline]
fn is_out_of_reach(node: &NodeRef) -> bool {
    node.state.is_known_to_owners_only() && node.obligations().is_clear()
}

/// For a node whose last reference was released: whether something open keeps it.
///
/// That is so if it never ended by the protocol, or if its context was used after its end.
#[cold]
pub(crate) fn keep(node: NonNull<Header>) -> bool {
    // SAFETY: the caller has released the last reference and has not freed the node.
    let header = unsafe { node.as_ref() };
    let Closing { open, is_kept } = header.obligations().close(|| header.state.revive());
    let is_settled = open == 0;
    if is_settled && is_kept {
        header.state.release();
    }
    !is_settled
}

#[cold]
fn respond(node: &NodeRef, count: u32) -> Option<PanicPayload> {
    let host = node.host();
    gauge(node, -i64::from(count));
    let leaks = host.count_leaks(count);
    let config = host.config();
    let response = match config.leak_escalation {
        Some(escalation) if leaks >= escalation.threshold => escalation.response,
        Some(_) | None => config.leak_response,
    };
    let records: Vec<Record> = node.lock().more.extra_mut().map_or_else(Vec::new, |extra| {
        extra.recovered = response == LeakResponse::Recover;
        extra.owed.take_all().collect()
    });
    for record in &records {
        tell_settled(node, record.id, Settlement::Leaked);
    }
    let owed: Vec<Owed> = records.iter().map(|record| record.owed).collect();
    let told = |record: &&Record| response == LeakResponse::Recover || record.is_told_always;
    let recover = || {
        for (resource, ticket) in records
            .iter()
            .filter(told)
            .filter_map(|r| r.recover.as_ref())
        {
            if let Some(resource) = resource.upgrade() {
                recover_contained(node, resource, *ticket);
            }
        }
    };
    let report = || Report::ObligationLeaked {
        holder: node.subject(),
        owed: owed.clone(),
        count,
    };
    if matches!(response, LeakResponse::Log | LeakResponse::Recover) {
        host.report(report());
    }
    recover();
    match response {
        LeakResponse::Silent | LeakResponse::Log | LeakResponse::Recover => None,
        LeakResponse::Panic if std::thread::panicking() => {
            host.report(report());
            None
        }
        LeakResponse::Panic => Some(PanicPayload::from_message(leak_message(node, &owed, count))),
    }
}

/// What stands open in a holder's list.
pub(crate) fn owed(extra: &Extra) -> Vec<Owed> {
    extra.owed.iter().map(|record| record.owed).collect()
}

/// Tells a resource; a panic in it is reported, and the other resources are told all the same.
fn recover_contained(node: &NodeRef, resource: Arc<dyn Recover>, ticket: u64) {
    let told = catch_unwind(AssertUnwindSafe(move || resource.recover(ticket)));
    if let Err(payload) = told {
        let message = PanicPayload::new(payload).message().to_owned();
        node.host().report(Report::PanicContained {
            place: "the recovery of a leaked obligation",
            message,
        });
    }
}

fn leak_message(node: &Header, owed: &[Owed], count: u32) -> String {
    use std::fmt::Write as _;
    let mut message = format!(
        "{:?} ended while it owed {count} obligation(s)",
        node.subject()
    );
    for Owed { kind, site } in owed {
        // Writing to a `String` does not fail.
        let _ = write!(message, "; a {kind} reserved at {site}");
    }
    message
}
