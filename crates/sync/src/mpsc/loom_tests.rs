//! Models of the ring and of who wakes whom.

use std::task::Waker;

use loom::sync::Arc;
use loom::thread;

use super::chan::{Chan, Enter};
use super::ring::{Consumer, Refusal};
use super::unbounded;
use crate::thread::wait;

type Value = Box<u32>;

fn channel(capacity: usize) -> (Arc<Chan<Value>>, Consumer) {
    let (chan, consumer) = Chan::new(capacity);
    (Arc::new(chan), consumer)
}

fn send(chan: &Chan<Value>, value: u32) -> Result<(), Value> {
    let mut enter = Enter::new();
    let reserved = match chan.try_send(Box::new(value)) {
        Ok(()) => return Ok(()),
        Err((value, Refusal::Closed)) => return Err(value),
        Err((_, Refusal::Full)) => wait(|task| enter.poll(chan, task.waker())),
    };
    match reserved {
        Ok(reserved) => chan
            .send_reserved(reserved, Box::new(value))
            .map_err(|(value, _)| value),
        Err(_) => Err(Box::new(value)),
    }
}

fn recv(chan: &Chan<Value>, consumer: &mut Consumer) -> Option<u32> {
    wait(|task| chan.poll_recv(consumer, task.waker(), Chan::take)).map(|value| *value)
}

#[test]
fn loom_two_senders_and_a_full_channel_lose_nothing() {
    loom::model(|| {
        let (chan, mut consumer) = channel(1);
        chan.add_sender();
        let senders = [1, 2].map(|value| {
            let chan = Arc::clone(&chan);
            thread::spawn(move || {
                send(&chan, value).unwrap();
                chan.remove_sender();
            })
        });
        let mut sum = 0;
        while let Some(value) = recv(&chan, &mut consumer) {
            sum += value;
        }
        assert_eq!(sum, 3);
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn loom_one_sender_laps_the_ring_in_order() {
    loom::model(|| {
        let (chan, mut consumer) = channel(2);
        let sender = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || {
                (0..3).for_each(|value| send(&chan, value).unwrap());
                chan.remove_sender();
            })
        };
        for expected in 0..3 {
            assert_eq!(recv(&chan, &mut consumer), Some(expected));
        }
        assert_eq!(recv(&chan, &mut consumer), None);
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_value_is_dropped_with_the_receiver_or_handed_back() {
    loom::model(|| {
        let (chan, mut consumer) = channel(1);
        let sender = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || send(&chan, 1))
        };
        // Loom reports a value that nobody dropped, and one that was dropped twice.
        chan.abandon(&mut consumer);
        let _ = sender.join().unwrap();
    });
}

#[test]
fn loom_a_waiter_that_leaves_gives_its_slot_to_the_next() {
    loom::model(|| {
        let (chan, mut consumer) = channel(1);
        send(&chan, 0).unwrap();
        let leaver = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || {
                let mut enter = Enter::new();
                if let std::task::Poll::Ready(reserved) = enter.poll(&chan, Waker::noop()) {
                    chan.give_back(reserved.unwrap());
                }
                enter.leave(&chan);
            })
        };
        let stayer = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || send(&chan, 1).unwrap())
        };
        assert_eq!(recv(&chan, &mut consumer), Some(0));
        assert_eq!(recv(&chan, &mut consumer), Some(1));
        leaver.join().unwrap();
        stayer.join().unwrap();
    });
}

#[test]
fn loom_close_waits_for_the_last_reservation() {
    loom::model(|| {
        let (chan, mut consumer) = channel(1);
        let reserved = chan.ring.reserve(1).unwrap();
        let holder = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || chan.give_back(reserved))
        };
        chan.close();
        assert_eq!(recv(&chan, &mut consumer), None);
        holder.join().unwrap();
    });
}

#[test]
fn loom_an_unbounded_channel_wakes_its_receiver() {
    loom::model(|| {
        let chan = Arc::new(unbounded::Chan::new());
        let sender = {
            let chan = Arc::clone(&chan);
            thread::spawn(move || {
                chan.send(Box::new(1)).unwrap();
                chan.remove_sender();
            })
        };
        let mut own = std::collections::VecDeque::new();
        for expected in [Some(1), None] {
            let next = wait(|task| chan.poll_recv(&mut own, task.waker(), unbounded::Chan::take));
            assert_eq!(next.map(|value: Value| *value), expected);
        }
        sender.join().unwrap();
    });
}
