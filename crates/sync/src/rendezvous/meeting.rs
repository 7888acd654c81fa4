//! Where senders and receivers meet: two lines, and who of them has met.
//!
//! # Invariants
//! - Tickets count up; a line is ordered by ticket, so who goes back into a line goes back to its place.
//! - After [`State::turn`] no reservation stands first while a receiver waits, and a receiver that stands first while there is something to take has been woken.
//! - A sender's ticket stands in `senders` or in `settled`, a receiver's in `receivers` or in `bound`, until it leaves.
//! - No code of the program runs under the lock: wakers and values go out to be woken and dropped.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Poll, Waker};

use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Recover, Resource};

use crate::primitive::{Mutex, lock};
use crate::waiters::{Grant, WaitList, Wakers};

/// A place in one of the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(pub(super) u64);

/// A sender in line: with a value to be taken, or with none, to bind a receiver.
struct Bid<T> {
    value: Option<T>,
    /// None once it has been woken.
    waker: Option<Waker>,
}

/// How a sender left its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settled {
    Taken,
    Bound(u64),
}

/// A receiver that a permit has bound.
struct Bound<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

pub(super) struct State<T> {
    next_ticket: u64,
    senders: BTreeMap<u64, Bid<T>>,
    settled: BTreeMap<u64, Settled>,
    /// A receiver without a waker has been woken.
    receivers: BTreeMap<u64, Option<Waker>>,
    bound: BTreeMap<u64, Bound<T>>,
    returned: VecDeque<T>,
    sender_handles: usize,
    receiver_handles: usize,
    is_closed: bool,
    pub(super) gone: WaitList,
}

pub(super) struct Meeting<T> {
    pub(super) state: Mutex<State<T>>,
    pub(super) resource: Resource,
}

/// What a wait in line found.
pub(super) enum Met {
    Taken,
    Bound(Ticket),
    Closed,
}

impl<T> State<T> {
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed || self.receiver_handles == 0
    }

    /// Whether there is something to take for who stands first.
    fn has_value(&self) -> bool {
        let first = self.senders.first_key_value();
        !self.returned.is_empty() || first.is_some_and(|(_, bid)| bid.value.is_some())
    }

    /// Takes what is to be taken first.
    fn take(&mut self, wakers: &mut Wakers) -> Option<T> {
        if let Some(value) = self.returned.pop_front() {
            return Some(value);
        }
        let first = self.senders.first_entry()?;
        first.get().value.as_ref()?;
        let (ticket, bid) = first.remove_entry();
        self.settled.insert(ticket, Settled::Taken);
        wakers.push(bid.waker);
        bid.value
    }

    /// Lets those who stand first meet.
    fn turn(&mut self, wakers: &mut Wakers) {
        while let Some(mut receiver) = self.receivers.first_entry() {
            if !self.returned.is_empty() {
                wakers.push(receiver.get_mut().take());
                return;
            }
            let Some(sender) = self.senders.first_entry() else {
                return;
            };
            if sender.get().value.is_some() {
                wakers.push(receiver.get_mut().take());
                return;
            }
            if self.is_closed {
                return;
            }
            let (from, bid) = sender.remove_entry();
            let (to, waker) = receiver.remove_entry();
            self.settled.insert(from, Settled::Bound(to));
            self.bound.insert(to, Bound { value: None, waker });
            wakers.push(bid.waker);
        }
    }

    /// Lets a bound receiver go on waiting; what it was given is returned.
    fn unbind(&mut self, ticket: u64, stays: bool) -> Option<Waker> {
        let Bound { value, waker } = self.bound.remove(&ticket)?;
        self.returned
            .extend(value.filter(|_| !is_on(Mutation::HandOverIsDropped)));
        if stays {
            self.receivers.insert(ticket, waker);
            return None;
        }
        waker
    }

    fn is_over(&self) -> bool {
        self.sender_handles == 0 || self.is_closed
    }

    /// How many values were brought and neither received nor taken back.
    fn held(&self) -> u64 {
        let offered = self.senders.values().filter(|bid| bid.value.is_some());
        let given = self.bound.values().filter(|bound| bound.value.is_some());
        (offered.count() + given.count() + self.returned.len()) as u64
    }

    /// Wakes everybody to see the end.
    fn end(&mut self, wakers: &mut Wakers) {
        for waker in self.receivers.values_mut() {
            wakers.push(waker.take());
        }
    }
}

impl<T> Meeting<T> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next_ticket: 0,
                senders: BTreeMap::new(),
                settled: BTreeMap::new(),
                receivers: BTreeMap::new(),
                bound: BTreeMap::new(),
                returned: VecDeque::new(),
                sender_handles: 1,
                receiver_handles: 1,
                is_closed: false,
                gone: WaitList::new(),
            }),
            resource: Resource::new(),
        }
    }

    /// Gets in line with a value, or without one to bind a receiver.
    ///
    /// # Errors
    /// The value, if the channel is closed.
    pub(super) fn enter(&self, value: Option<T>, waker: Waker) -> Result<Ticket, Option<T>> {
        let mut wakers = Wakers::default();
        let mut state = lock(&self.state);
        if state.is_closed() {
            drop(state);
            return Err(value);
        }
        let ticket = state.ticket();
        let waker = Some(waker);
        let is_offer = value.is_some();
        state.senders.insert(ticket, Bid { value, waker });
        state.turn(&mut wakers);
        drop(state);
        if is_offer {
            self.tell_moved("rendezvous.offer", 1);
        } else {
            self.resource.trace("rendezvous.bid");
        }
        if !is_on(Mutation::OfferIsSilent) {
            wakers.wake();
        }
        Ok(Ticket(ticket))
    }

    /// Tells that values went in, or came out.
    fn tell_moved(&self, operation: impl Into<Option<&'static str>>, change: i64) {
        self.resource
            .trace_messages(operation.into(), change, || lock(&self.state).held());
    }

    /// How a sender in line stands.
    pub(super) fn poll_sender(&self, ticket: Ticket, waker: &Waker) -> Poll<Met> {
        let mut spare: Option<Waker> = None;
        loop {
            let mut state = lock(&self.state);
            match state.settled.remove(&ticket.0) {
                Some(Settled::Taken) => return Poll::Ready(Met::Taken),
                Some(Settled::Bound(receiver)) => {
                    return Poll::Ready(Met::Bound(Ticket(receiver)));
                }
                None => {}
            }
            if state.is_closed() {
                return Poll::Ready(Met::Closed);
            }
            let bid = state.senders.get_mut(&ticket.0);
            let bid = bid.expect("a sender that is not settled is in line");
            let known = bid.waker.as_ref();
            if known.is_some_and(|known| known.will_wake(waker)) {
                return Poll::Pending;
            }
            if let Some(fresh) = spare.take() {
                let old = bid.waker.replace(fresh);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            spare = Some(waker.clone());
        }
    }

    /// A sender leaves: with its value, if nobody took it; otherwise says that it was taken.
    pub(super) fn leave_sender(&self, ticket: Ticket) -> Result<(), Option<T>> {
        let mut wakers = Wakers::default();
        let mut state = lock(&self.state);
        let settled = state.settled.remove(&ticket.0);
        let bid = state.senders.remove(&ticket.0);
        if let Some(Settled::Bound(receiver)) = settled {
            let _stays = state.unbind(receiver, true);
        }
        state.turn(&mut wakers);
        drop(state);
        let value = bid.and_then(|bid| bid.value);
        if value.is_some() {
            self.tell_moved("rendezvous.take_back", -1);
        } else {
            self.resource.trace("rendezvous.leave");
        }
        wakers.wake();
        match settled {
            Some(Settled::Taken) => Ok(()),
            Some(Settled::Bound(_)) | None => Err(value),
        }
    }

    /// Gives a value to the first receiver in line, if nobody stands before.
    ///
    /// # Errors
    /// The value, and whether the channel is closed.
    pub(super) fn try_send(&self, value: T) -> Result<(), (T, bool)> {
        let mut state = lock(&self.state);
        if state.is_closed() {
            return Err((value, true));
        }
        if !state.senders.is_empty() || !state.returned.is_empty() {
            return Err((value, false));
        }
        let Some((ticket, mut waker)) = state.receivers.pop_first() else {
            return Err((value, false));
        };
        let woken = waker.take();
        let value = Some(value);
        state.bound.insert(ticket, Bound { value, waker });
        drop(state);
        self.tell_moved("rendezvous.send", 1);
        woken
            .into_iter()
            .for_each(asupersync_kernel::wake_contained);
        Ok(())
    }

    /// Gives a bound receiver its value.
    ///
    /// # Errors
    /// The value, and whether the channel is closed; the receiver has left.
    pub(super) fn give(&self, receiver: Ticket, value: T) -> Result<(), (T, bool)> {
        let mut state = lock(&self.state);
        let is_closed = state.receiver_handles == 0;
        let Some(bound) = state.bound.get_mut(&receiver.0) else {
            drop(state);
            return Err((value, is_closed));
        };
        bound.value = Some(value);
        let waker = bound.waker.take();
        drop(state);
        self.tell_moved("rendezvous.give", 1);
        waker
            .into_iter()
            .for_each(asupersync_kernel::wake_contained);
        Ok(())
    }

    /// Lets a bound receiver go on waiting, in its old place.
    pub(super) fn unbind(&self, receiver: Ticket) {
        let mut wakers = Wakers::default();
        let mut state = lock(&self.state);
        let _stays = state.unbind(receiver.0, true);
        state.turn(&mut wakers);
        if state.is_over()
            && let Some(waker) = state.receivers.get_mut(&receiver.0)
        {
            wakers.push(waker.take());
        }
        drop(state);
        wakers.wake();
    }

    /// Takes a value, or gets in line for one; `None` is the end.
    pub(super) fn poll_recv(&self, place: &mut Option<Ticket>, waker: &Waker) -> Poll<Option<T>> {
        let mut spare: Option<Waker> = None;
        loop {
            let mut wakers = Wakers::default();
            let mut state = lock(&self.state);
            let senders = state.senders.len();
            if let Some(end) = state.look(place, &mut wakers) {
                let is_offer = state.senders.len() < senders;
                let own = place.take();
                let old = own.and_then(|own| state.receivers.remove(&own.0).flatten());
                state.turn(&mut wakers);
                drop(state);
                self.tell_received(end.is_some(), is_offer);
                if !(is_offer && is_on(Mutation::TakingIsSilent)) {
                    wakers.wake();
                }
                drop(old);
                return Poll::Ready(end);
            }
            if let Some(known) = state.waker_of(*place)
                && known.as_ref().is_some_and(|known| known.will_wake(waker))
            {
                return Poll::Pending;
            }
            if let Some(fresh) = spare.take() {
                let old = match state.waker_of(*place) {
                    Some(known) => known.replace(fresh),
                    None => {
                        let ticket = state.ticket();
                        state.receivers.insert(ticket, Some(fresh));
                        *place = Some(Ticket(ticket));
                        None
                    }
                };
                state.turn(&mut wakers);
                drop(state);
                drop(old);
                self.resource.trace("rendezvous.wait");
                wakers.wake();
                return Poll::Pending;
            }
            drop(state);
            spare = Some(waker.clone());
        }
    }

    /// Takes a value without waiting; `None` within is the end.
    pub(super) fn try_recv(&self) -> Option<Option<T>> {
        let mut wakers = Wakers::default();
        let mut state = lock(&self.state);
        let senders = state.senders.len();
        let end = state.look(&None, &mut wakers);
        let is_offer = state.senders.len() < senders;
        state.turn(&mut wakers);
        drop(state);
        if let Some(end) = &end {
            self.tell_received(end.is_some(), is_offer);
        }
        wakers.wake();
        end
    }

    /// Tells what a receiver got: a value that a sender waits with, one that was given to it or returned, or the end.
    fn tell_received(&self, is_value: bool, is_offer: bool) {
        match (is_value, is_offer) {
            (true, true) => self.tell_moved("rendezvous.take", -1),
            (true, false) => self.tell_moved("rendezvous.recv", -1),
            (false, _) => self.resource.trace("rendezvous.end"),
        }
    }

    /// A receiver leaves its line; what it was given goes to the next.
    pub(super) fn leave_receiver(&self, place: &mut Option<Ticket>) {
        let Some(Ticket(ticket)) = place.take() else {
            return;
        };
        let mut wakers = Wakers::default();
        let mut state = lock(&self.state);
        let bound = state.unbind(ticket, false);
        let old = state.receivers.remove(&ticket);
        state.turn(&mut wakers);
        drop(state);
        self.tell_moved("rendezvous.leave", 0);
        wakers.wake();
        drop((bound, old));
    }

    pub(super) fn add_sender(&self) {
        lock(&self.state).sender_handles += 1;
    }

    pub(super) fn revive_sender(&self) -> bool {
        let mut state = lock(&self.state);
        let is_alive = state.sender_handles > 0;
        state.sender_handles += usize::from(is_alive);
        is_alive
    }

    pub(super) fn remove_sender(&self) {
        let mut wakers = Wakers::default();
        let is_last = {
            let mut state = lock(&self.state);
            state.sender_handles -= 1;
            let is_last = state.sender_handles == 0;
            if is_last {
                state.end(&mut wakers);
            }
            is_last
        };
        if is_last {
            self.resource.trace("rendezvous.close");
        }
        wakers.wake();
    }

    pub(super) fn add_receiver(&self) {
        lock(&self.state).receiver_handles += 1;
    }

    pub(super) fn remove_receiver(&self) {
        let is_last = {
            let mut state = lock(&self.state);
            state.receiver_handles -= 1;
            state.receiver_handles == 0
        };
        if is_last {
            self.close();
            let returned = std::mem::take(&mut lock(&self.state).returned);
            let count = i64::try_from(returned.len()).unwrap_or(i64::MAX);
            self.tell_moved(None, -count);
            drop(returned);
        }
    }

    /// Refuses everybody who waits to send; bound receivers still get their values.
    pub(super) fn close(&self) {
        let mut wakers = Wakers::default();
        let mut gone = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            // The senders take their values along when they see the end.
            for bid in state.senders.values_mut() {
                wakers.push(bid.waker.take());
            }
            state.end(&mut wakers);
            state.gone.grant_all(Grant::All)
        };
        self.resource.trace("rendezvous.close");
        wakers.wake();
        gone.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed()
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).is_over()
    }

    /// How many senders wait with a value, and how many values were returned.
    pub(super) fn len(&self) -> usize {
        let state = lock(&self.state);
        let offered = state.senders.values().filter(|bid| bid.value.is_some());
        offered.count() + state.returned.len()
    }

    pub(super) fn sender_count(&self) -> usize {
        lock(&self.state).sender_handles
    }

    pub(super) fn receiver_count(&self) -> usize {
        lock(&self.state).receiver_handles
    }
}

impl<T> State<T> {
    /// What a receiver finds: a value, the end, or nothing yet.
    fn look(&mut self, place: &Option<Ticket>, wakers: &mut Wakers) -> Option<Option<T>> {
        if let Some(Ticket(own)) = place
            && let Some(bound) = self.bound.get_mut(own)
        {
            let value = bound.value.take()?;
            self.bound.remove(own);
            return Some(Some(value));
        }
        let first = self.receivers.first_key_value().map(|(first, _)| *first);
        let is_first = first.is_none() || first == place.map(|Ticket(own)| own);
        if is_first && self.has_value() && !(self.is_closed && self.returned.is_empty()) {
            return self.take(wakers).map(Some);
        }
        (self.is_over() && self.returned.is_empty()).then_some(None)
    }

    /// Where the waker of a receiver in line stands.
    fn waker_of(&mut self, place: Option<Ticket>) -> Option<&mut Option<Waker>> {
        let Ticket(own) = place?;
        match self.bound.get_mut(&own) {
            Some(bound) => Some(&mut bound.waker),
            None => self.receivers.get_mut(&own),
        }
    }
}

impl<T: Send + 'static> Recover for Meeting<T> {
    fn recover(&self, ticket: u64) {
        self.unbind(Ticket(ticket));
    }
}
